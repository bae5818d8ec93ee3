//! Runs, their decisions and their end.

use super::*;

async fn a_run_is_saved_decided_and_found_open_until_it_ends(place: Place) {
    let store = place.open().await;
    store.save_run(&row(1)).await.unwrap();
    let later = RunRow {
        body: json!({"step": "prepare"}),
        ..row(1)
    };
    store.save_run(&later).await.unwrap();
    let body = json!({"receipts": []});
    let decide =
        |what: &'static str| store.record_decision(run_id(1), Fence(1), what, &body, at(1));
    assert_eq!(decide("commit").await.unwrap(), Decided::Now);

    let open = store.open_runs(&group()).await.unwrap();
    assert_eq!(open.len(), 1);
    let found = &open[0];
    assert_eq!(found.run, later);
    assert_eq!(found.outcome, None);
    assert_eq!(
        found.decisions,
        [Decision {
            decision: "commit".to_owned(),
            body: body.clone(),
            at: at(1)
        }]
    );

    assert_eq!(store.finish_run(&finish(1)).await.unwrap(), Finished::Now);
    assert_eq!(store.open_runs(&group()).await.unwrap(), []);
    let ended = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!(
        (ended.outcome, ended.finished_at),
        (Some(json!("applied")), Some(at(60)))
    );
    assert_eq!(ended.decisions.len(), 1);
    assert!(matches!(
        store.save_run(&row(1)).await,
        Err(StoreError::Contradiction { .. })
    ));
}

async fn a_decision_stands_and_only_compensation_follows_commit(place: Place) {
    let store = place.open().await;
    for n in 1..=3 {
        store.save_run(&row(n)).await.unwrap();
    }
    let decide = |n, what: &'static str| {
        let store = store.clone();
        async move {
            store
                .record_decision(run_id(n), Fence(1), what, &Value::Null, at(0))
                .await
        }
    };
    assert_eq!(decide(1, "commit").await.unwrap(), Decided::Now);
    assert_eq!(decide(1, "commit").await.unwrap(), Decided::Before);
    assert!(matches!(
        decide(1, "abort").await,
        Err(StoreError::Contradiction { .. })
    ));
    assert_eq!(decide(1, "compensate").await.unwrap(), Decided::Now);
    assert_eq!(decide(1, "commit").await.unwrap(), Decided::Before);
    assert_eq!(decide(1, "compensate").await.unwrap(), Decided::Before);
    assert!(decide(1, "abort").await.is_err());

    assert_eq!(decide(2, "abort").await.unwrap(), Decided::Now);
    assert!(decide(2, "commit").await.is_err());
    assert!(decide(2, "compensate").await.is_err());

    assert!(decide(3, "compensate").await.is_err());
    assert!(decide(9, "commit").await.is_err(), "a run nobody saved");
    store.finish_run(&finish(3)).await.unwrap();
    assert!(decide(3, "commit").await.is_err(), "a run that has ended");

    let decisions = store.run(run_id(1)).await.unwrap().unwrap().decisions;
    let names: Vec<_> = decisions.iter().map(|d| d.decision.as_str()).collect();
    assert_eq!(names, ["commit", "compensate"]);
}

async fn a_run_ends_once_with_everything_that_follows(place: Place) {
    let store = place.open().await;
    assert_eq!(store.finish_run(&finish(1)).await.unwrap(), Finished::Now);
    let again = Finish {
        outcome: json!("something else"),
        ..finish(1)
    };
    assert_eq!(store.finish_run(&again).await.unwrap(), Finished::Before);

    assert_eq!(
        store.entries(&EntryFilter::default()).await.unwrap().len(),
        1
    );
    assert_eq!(store.owed().await.unwrap(), 1);
    assert_eq!(
        store.group_state(&group()).await.unwrap().good,
        Some(revision(1))
    );
    assert_eq!(
        store.changes_since(&medical(), at(0)).await.unwrap().len(),
        3
    );
    let run = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!(run.outcome, Some(json!("applied")));
}

async fn an_end_that_cannot_be_recorded_whole_is_not_recorded_at_all(place: Place) {
    let store = place.open().await;
    store.save_run(&row(1)).await.unwrap();
    let mut bad = finish(1);
    bad.ledger.push(entry("too.big", json!({"n": u64::MAX})));
    assert!(matches!(
        store.finish_run(&bad).await,
        Err(StoreError::NotCanonical(_))
    ));
    assert_eq!(store.open_runs(&group()).await.unwrap().len(), 1);
    assert_eq!(store.entries(&EntryFilter::default()).await.unwrap(), []);
    assert_eq!(
        store.group_state(&group()).await.unwrap(),
        GroupState::default()
    );
    assert_eq!(store.system_state(&medical()).await.unwrap(), None);
    assert_eq!(store.finish_run(&finish(1)).await.unwrap(), Finished::Now);
}

async fn a_holder_whose_lease_has_passed_on_writes_nothing(place: Place) {
    let store = place.open().await;
    let lease = Store::group_lease(&group());
    let old = store
        .acquire(&lease, "a", at(0), TTL)
        .await
        .unwrap()
        .unwrap();
    store
        .save_run(&RunRow {
            fence: old,
            ..row(1)
        })
        .await
        .unwrap();
    run_out(&store, &lease).await;
    let new = store
        .acquire(&lease, "b", at(31), TTL)
        .await
        .unwrap()
        .unwrap();
    assert!(new > old);

    let stale = RunRow {
        fence: old,
        ..row(1)
    };
    let fenced = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Fenced { .. }));
    assert!(fenced(store.save_run(&stale).await));
    let decision = store
        .record_decision(run_id(1), old, "commit", &Value::Null, at(32))
        .await;
    assert!(fenced(decision.map(drop)));
    let end = Finish {
        run: stale,
        ..finish(1)
    };
    assert!(fenced(store.finish_run(&end).await.map(drop)));
    assert_eq!(store.entries(&EntryFilter::default()).await.unwrap(), []);

    let taken_up = RunRow {
        fence: new,
        ..row(1)
    };
    let end = Finish {
        run: taken_up,
        ..finish(1)
    };
    assert_eq!(store.finish_run(&end).await.unwrap(), Finished::Now);
}

async fn runs_are_listed_by_group_and_revision(place: Place) {
    let store = place.open().await;
    for n in 1..=3 {
        store.save_run(&row(n)).await.unwrap();
    }
    let other = RunRow {
        group: "billing".parse().unwrap(),
        revision: revision(2),
        ..row(4)
    };
    store.save_run(&other).await.unwrap();
    let ids = |runs: Vec<StoredRun>| runs.into_iter().map(|r| r.run.id).collect::<Vec<_>>();
    let recent = store.recent_runs(&group(), Reach::Whole, 2).await.unwrap();
    assert_eq!(ids(recent), [run_id(3), run_id(2)]);
    let of_revision = store.runs_of_revision(&revision(2)).await.unwrap();
    assert_eq!(ids(of_revision), [run_id(2), run_id(4)]);
    let taken_for_another_group = RunRow {
        group: group(),
        ..other
    };
    assert!(store.save_run(&taken_for_another_group).await.is_err());
    let end = Finish {
        run: taken_for_another_group,
        ..finish(4)
    };
    assert!(store.finish_run(&end).await.is_err());
}

async fn the_last_run_that_came_through_is_found_however_many_did_not(place: Place) {
    let store = place.open().await;
    let through = ["applied", "in_step"];
    let last = async || {
        let last = store.last_run_that(&group(), Reach::Whole, &through).await;
        last.unwrap().map(|stored| stored.run.id)
    };
    assert_eq!(last().await, None);
    let end = async |n: u8, run: RunRow, outcome: Value| {
        let end = Finish {
            run,
            outcome,
            ..finish(n)
        };
        assert_eq!(store.finish_run(&end).await.unwrap(), Finished::Now);
    };
    end(1, row(1), json!({"outcome": "held"})).await;
    assert_eq!(last().await, None);
    end(2, row(2), json!({"outcome": "applied", "members": 2})).await;
    end(3, row(3), json!({"outcome": "in_step"})).await;
    // Neither another group's nor one system's urgent changes, nor what is still open.
    let other = RunRow {
        group: "billing".parse().unwrap(),
        ..row(4)
    };
    end(4, other, json!({"outcome": "applied"})).await;
    let urgent = RunRow {
        reach: Reach::Urgent,
        ..row(5)
    };
    end(5, urgent, json!({"outcome": "applied"})).await;
    store.save_run(&row(6)).await.unwrap();
    // More than are looked through at a time.
    for n in 7..=120 {
        end(n, row(n), json!({"outcome": "unreachable"})).await;
    }
    assert_eq!(last().await, Some(run_id(3)));
    end(121, row(121), json!({"outcome": "applied"})).await;
    assert_eq!(last().await, Some(run_id(121)));
}

on_each_engine![
    a_run_is_saved_decided_and_found_open_until_it_ends,
    a_decision_stands_and_only_compensation_follows_commit,
    a_run_ends_once_with_everything_that_follows,
    an_end_that_cannot_be_recorded_whole_is_not_recorded_at_all,
    a_holder_whose_lease_has_passed_on_writes_nothing,
    runs_are_listed_by_group_and_revision,
    the_last_run_that_came_through_is_found_however_many_did_not,
];
