//! What the ledger keeps of other tables, and what is news to it.

use super::*;

on_each_engine!(
    a_run_its_decision_and_its_release_keep_their_digests,
    the_same_is_said_once,
);

async fn a_run_its_decision_and_its_release_keep_their_digests(place: Place) {
    let store = place.open().await;
    let plan = PlanDigest(Digest::of(b"plan"));
    let release = Release {
        plan,
        by: "tanaka".parse().unwrap(),
        because: "移行のため".to_owned(),
        at: at(0),
    };
    store.release(&release).await.unwrap();
    store.save_run(&row(1)).await.unwrap();
    store
        .record_decision(run_id(1), Fence(1), "commit", &json!({"plan": plan}), at(1))
        .await
        .unwrap();
    assert!(store.use_release(plan, run_id(1), at(2)).await.unwrap());
    assert_eq!(
        store.release_of(plan, run_id(1)).await.unwrap(),
        Some(release)
    );
    let end = Finish {
        ledger: vec![entry("run.finished", json!({"outcome": "applied"}))],
        ..finish(1)
    };
    store.finish_run(&end).await.unwrap();
    let entries = store.entries(&EntryFilter::default()).await.unwrap();
    let kept: Vec<_> = entries
        .iter()
        .map(|e| (e.action.as_str(), e.body[RECORD].is_string()))
        .collect();
    assert_eq!(
        kept,
        [
            ("plan.released", true),
            ("decision.commit", true),
            ("release.used", true),
            ("run.finished", true)
        ]
    );
    assert!(entries[3].body[CHANGES].is_string());
    assert_eq!(entries[1].body["plan"], json!(plan));
}

async fn the_same_is_said_once(place: Place) {
    let store = place.open().await;
    let standing = |said: &str| Standing {
        name: "proposal/1".to_owned(),
        said: said.to_owned(),
        first: Some(entry("proposal.opened", Value::Null)),
        changed: Some(entry("proposal.closed", Value::Null)),
    };
    let news = async |said: &str| store.record_news(&[standing(said)]).await.unwrap();
    assert_eq!(news("open").await, 1);
    assert_eq!(news("open").await, 0);
    assert_eq!(
        store.recorded_as("proposal", "open").await.unwrap(),
        ["proposal/1"]
    );
    assert_eq!(news("closed").await, 1);
    assert_eq!(news("closed").await, 0);
    assert_eq!(
        store.recorded_as("proposal", "open").await.unwrap(),
        [""; 0]
    );
    assert_eq!(news("open").await, 1);
    let entries = store.entries(&EntryFilter::default()).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|e| e.action.as_str()).collect();
    assert_eq!(
        actions,
        ["proposal.opened", "proposal.closed", "proposal.closed"]
    );
}
