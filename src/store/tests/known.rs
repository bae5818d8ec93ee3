//! Groups, systems, heat, releases, leases and the outbox.

use super::*;

async fn a_failed_revision_stays_until_it_is_cleared_on_purpose(place: Place) {
    let store = place.open().await;
    let failed = FailedRevision {
        revision: revision(2),
        why: "medical refused".to_owned(),
    };
    let update = |update: GroupUpdate| {
        let store = store.clone();
        async move {
            store.update_group(&group(), &update).await.unwrap();
            store.group_state(&group()).await.unwrap()
        }
    };
    let one = update(GroupUpdate {
        good: Some(revision(1)),
        failed: FailedUpdate::Set(failed.clone()),
        seen: Some(revision(2)),
    })
    .await;
    assert_eq!(one.failed, Some(failed.clone()));
    let two = update(GroupUpdate {
        good: Some(revision(1)),
        ..GroupUpdate::default()
    })
    .await;
    assert_eq!((two.failed, two.seen), (Some(failed), Some(revision(2))));
    let three = update(GroupUpdate {
        failed: FailedUpdate::Clear,
        ..GroupUpdate::default()
    })
    .await;
    assert_eq!((three.good, three.failed), (Some(revision(1)), None));
}

async fn a_silent_system_keeps_what_was_known_of_it(place: Place) {
    let store = place.open().await;
    store.finish_run(&finish(1)).await.unwrap();
    let silent = SystemState {
        system: medical(),
        revision: None,
        digest: None,
        condition: json!({"state": "unreachable"}),
        last_change_at: None,
        last_seen_at: None,
    };
    store.put_system_state(&silent).await.unwrap();
    store.seen_system(&medical(), at(90)).await.unwrap();
    let known = store.system_state(&medical()).await.unwrap().unwrap();
    assert_eq!(known.condition, json!({"state": "unreachable"}));
    assert_eq!(known.digest, Some(Digest::of(b"state")));
    assert_eq!(known.last_change_at, Some(at(59)));
    assert_eq!(known.last_seen_at, Some(at(90)));
    assert_eq!(store.system_states().await.unwrap(), [known]);
}

async fn changes_are_kept_by_resource_and_creates_are_not(place: Place) {
    let store = place.open().await;
    for n in 1..=3_u8 {
        let mut end = finish(n);
        for change in &mut end.changes {
            change.at = at(i64::from(n) * 3600);
        }
        end.changes[0].op = Op::Create;
        store.finish_run(&end).await.unwrap();
    }
    let since = async |hours: i64| {
        store
            .changes_since(&medical(), at(hours * 3600))
            .await
            .unwrap()
    };
    assert_eq!(since(0).await.len(), 6);
    assert_eq!(since(2).await.len(), 4);
    assert!(since(4).await.is_empty());
    assert!(since(0).await.iter().all(|c| c.op == Op::Update));
}

async fn a_release_serves_one_run(place: Place) {
    let store = place.open().await;
    let plan = PlanDigest(Digest::of(b"plan"));
    let release = Release {
        plan,
        by: "tanaka".parse::<Actor>().unwrap(),
        because: "移行のため".to_owned(),
        at: at(0),
    };
    assert!(!store.use_release(plan, run_id(1), at(2)).await.unwrap());
    assert!(store.release(&release).await.unwrap());
    assert!(!store.release(&release).await.unwrap(), "released already");
    assert_eq!(
        store.find_release(plan).await.unwrap(),
        Some(release.clone())
    );
    assert!(store.use_release(plan, run_id(1), at(2)).await.unwrap());
    assert!(
        store.use_release(plan, run_id(1), at(2)).await.unwrap(),
        "the same run, taken up again"
    );
    assert!(!store.use_release(plan, run_id(2), at(2)).await.unwrap());
    assert_eq!(store.find_release(plan).await.unwrap(), None);
    assert!(store.release(&release).await.unwrap(), "released anew");
    assert!(store.use_release(plan, run_id(2), at(2)).await.unwrap());
}

async fn heat_rises_by_one_and_cools_with_minutes(place: Place) {
    let store = place.open().await;
    let flag: ResourceRef = "FeatureFlag/ai_assistant".parse().unwrap();
    let add = |seconds| store.add_heat(&SYSTEM, &FLAG, at(seconds));
    static SYSTEM: std::sync::LazyLock<SystemName> = std::sync::LazyLock::new(medical);
    static FLAG: std::sync::LazyLock<ResourceRef> =
        std::sync::LazyLock::new(|| "FeatureFlag/ai_assistant".parse().unwrap());
    assert!((add(0).await.unwrap() - 1.0).abs() < 1e-9);
    assert!((add(0).await.unwrap() - 2.0).abs() < 1e-9);
    let after_a_minute = 2.0 * (-1.0_f64).exp();
    let heat = store.heat(&medical(), &flag, at(60)).await.unwrap();
    assert!((heat - after_a_minute).abs() < 1e-9);
    assert!((add(60).await.unwrap() - after_a_minute - 1.0).abs() < 1e-9);
    let back_in_time = add(0).await.unwrap();
    assert!((back_in_time - after_a_minute - 2.0).abs() < 1e-9);
    let cold: ResourceRef = "FeatureFlag/other".parse().unwrap();
    assert!(store.heat(&medical(), &cold, at(0)).await.unwrap().abs() < 1e-9);
}

#[tokio::test]
async fn a_lease_has_one_holder_and_its_fence_only_grows() {
    let store = Store::temporary().await.unwrap();
    let clock = |seconds| Fence(at(seconds).as_second().unsigned_abs());
    let take = |holder: &'static str, seconds| store.acquire("outbox", holder, at(seconds), TTL);
    assert_eq!(take("a", 0).await.unwrap(), Some(clock(0)));
    assert_eq!(take("b", 10).await.unwrap(), None);
    assert_eq!(take("a", 10).await.unwrap(), Some(clock(0)), "its own");
    assert!(
        store
            .renew("outbox", "a", clock(0), at(20), TTL)
            .await
            .unwrap()
    );
    assert_eq!(take("b", 45).await.unwrap(), None, "renewed until 50");
    assert_eq!(take("b", 51).await.unwrap(), Some(clock(51)));
    assert!(
        !store
            .renew("outbox", "a", clock(0), at(52), TTL)
            .await
            .unwrap()
    );
    assert!(
        !store
            .renew("outbox", "b", clock(51), at(90), TTL)
            .await
            .unwrap(),
        "run out"
    );
    store.release_lease("outbox", "a", clock(0)).await.unwrap();
    assert_eq!(
        take("a", 60).await.unwrap(),
        None,
        "a stale holder releases nothing"
    );
    store.release_lease("outbox", "b", clock(51)).await.unwrap();
    assert_eq!(take("a", 60).await.unwrap(), Some(clock(60)));
    assert_eq!(
        take("a", 100).await.unwrap(),
        Some(clock(100)),
        "it had run out in between"
    );
}

fn letter(destination: &str, key: &str, n: u8) -> NewDelivery {
    NewDelivery {
        destination: destination.to_owned(),
        key: key.to_owned(),
        body: json!({ "n": n }),
    }
}

/// What is due now, by its body.
async fn due(store: &Store, seconds: i64) -> Vec<Value> {
    let due = store.due(at(seconds), "forge", 10).await.unwrap();
    due.into_iter().map(|d| d.body["n"].clone()).collect()
}

async fn a_delivery_is_owed_until_it_is_acknowledged(place: Place) {
    let store = place.open().await;
    let letters = [
        letter("slack", "a", 1),
        letter("slack", "b", 2),
        letter("slack", "a", 3),
        letter("mail", "a", 4),
        letter("forge", "a", 5),
    ];
    store.enqueue(&letters, at(0)).await.unwrap();
    store
        .enqueue(&[letter("slack", "b", 6)], at(5))
        .await
        .unwrap();
    assert_eq!(store.owed().await.unwrap(), 4, "the first of a key counts");
    assert_eq!(due(&store, 0).await, [1, 4], "one for each destination");

    // A later one waits for an earlier one of the same destination, and nobody else does.
    let first = store.due(at(0), "forge", 10).await.unwrap();
    store
        .failed(first[0].id, "429 too many requests", at(30))
        .await
        .unwrap();
    store.delivered(first[1].id, at(1), None).await.unwrap();
    assert_eq!(due(&store, 29).await, [0; 0]);
    let again = store.due(at(30), "forge", 10).await.unwrap();
    assert_eq!(
        (again[0].attempts, again[0].error.as_deref()),
        (1, Some("429 too many requests"))
    );
    let said = entry("delivery.sent", json!({"key": "a"}));
    for _ in 0..2 {
        let said = Some(said.clone());
        store.delivered(first[0].id, at(31), said).await.unwrap();
    }
    let entries = store.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!(entries.len(), 1, "said once");
    store
        .failed(first[0].id, "late news of a lost answer", at(40))
        .await
        .unwrap();
    assert_eq!(due(&store, 31).await, [2]);
    assert_eq!(store.next_due("forge").await.unwrap(), Some(at(0)));
    let last = store.due(at(31), "forge", 10).await.unwrap()[0].id;
    store.delivered(last, at(32), None).await.unwrap();
    assert_eq!(store.next_due("forge").await.unwrap(), None);
    assert_eq!(store.owed_to("forge", 10).await.unwrap().len(), 1);
    store
        .enqueue(&[letter("slack", "a", 1)], at(50))
        .await
        .unwrap();
    assert_eq!(due(&store, 50).await, [0; 0], "delivered once is delivered");
}

async fn a_dead_letter_is_kept_and_sent_again_in_its_place(place: Place) {
    let store = place.open().await;
    let letters = [letter("slack", "a", 1), letter("slack", "b", 2)];
    store.enqueue(&letters, at(0)).await.unwrap();
    let first = store.due(at(0), "forge", 10).await.unwrap()[0].id;
    for _ in 0..2 {
        let dead = entry("delivery.dead", Value::Null);
        store.bury(first, "410 gone", at(9), dead).await.unwrap();
    }
    assert_eq!(due(&store, 9).await, [2], "it keeps nobody waiting");
    assert_eq!(store.owed().await.unwrap(), 1);
    let kept = store.undelivered(10).await.unwrap();
    assert_eq!(
        (kept[0].dead_at, kept[0].error.as_deref()),
        (Some(at(9)), Some("410 gone"))
    );
    let resent = |id| store.resend(id, at(20), entry("delivery.resent", Value::Null));
    assert!(!resent(first + 1).await.unwrap(), "that one is owed");
    assert!(resent(first).await.unwrap());
    assert!(!resent(first).await.unwrap(), "owed again already");
    assert_eq!(due(&store, 20).await, [1]);
    store.forget_delivered(at(1_000_000_000)).await.unwrap();
    assert_eq!(
        store.owed().await.unwrap(),
        2,
        "what is owed is not forgotten"
    );
    let entries = store.entries(&EntryFilter::default()).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|e| e.action.as_str()).collect();
    assert_eq!(actions, ["delivery.dead", "delivery.resent"]);
    store.delivered(first, at(21), None).await.unwrap();
    let long_after = at(31 * 24 * 3600);
    store.forget_delivered(long_after).await.unwrap();
    assert_eq!(due(&store, 31 * 24 * 3600).await, [2]);
}

#[tokio::test]
async fn a_holder_that_is_gone_is_followed_at_once() {
    let store = Store::temporary().await.unwrap();
    let (now, ttl) = (at(0), Duration::from_secs(30));
    // The clock stands still, so each new holder is one above the last.
    let fence = |n| Some(Fence(now.as_second().unsigned_abs() + n));
    let take = async |holder: &str| store.acquire("group/a", holder, now, ttl).await.unwrap();
    let alive = store.announce("one").unwrap();
    assert_eq!(take("one").await, fence(0));
    assert_eq!(take("two").await, None, "it lives");
    drop(alive);
    assert_eq!(take("two").await, fence(1), "it is gone");
    assert_eq!(take("three").await, None, "never announced, so it may live");

    let alive = store.announce("three").unwrap();
    store.depart("three", alive).await.unwrap();
    let alive = store.announce("two").unwrap();
    store.depart("two", alive).await.unwrap();
    assert_eq!(take("three").await, fence(2), "it was given back");
}

#[tokio::test]
async fn a_store_is_claimed_by_one_and_what_the_dead_wrote_keeps_nobody_out() {
    let store = Store::temporary().await.unwrap();
    assert_eq!(store.running().unwrap(), None);
    let claim = store.claim(at(5)).unwrap();
    let own = Running {
        process: Some(std::process::id()),
        since: Some(at(5)),
    };
    assert_eq!(store.running().unwrap(), Some(own.clone()));
    let Err(StoreError::Taken { by, .. }) = store.claim(at(6)) else {
        unreachable!("claimed twice")
    };
    assert_eq!(by, own);
    drop(claim);
    assert_eq!(store.running().unwrap(), None, "it has ended");

    // Whatever lies in the file: it is the lock that counts, and what cannot be read is not known.
    let mut file = store.file().unwrap().to_owned().into_os_string();
    file.push(".running");
    std::fs::write(&file, b"\xff".repeat(5000)).unwrap();
    assert_eq!(store.running().unwrap(), None);
    let held = std::fs::File::open(&file).unwrap();
    held.lock().unwrap();
    let unknown = store.running().unwrap().unwrap();
    assert_eq!((unknown.process, unknown.since), (None, None));
    assert_eq!(unknown.to_string(), "lockstep run (another process)");
    drop(held);
    let _claim = store.claim(at(7)).unwrap();
    let running = store.running().unwrap().unwrap();
    assert_eq!(running.since, Some(at(7)));
}

async fn what_a_connector_keeps_is_replaced_only_by_who_knows_it(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let put = async |store: &Store, name: &str, over, text: &str| {
        let put = store.put_on_shelf(&medical(), name, over, text).await;
        put.unwrap()
    };
    let read = async |store: &Store, name: &str| store.on_shelf(&medical(), name).await.unwrap();
    assert_eq!(read(&store, "journal").await, None);
    let first = put(&store, "journal", None, "{\"n\": 1}").await.unwrap();
    assert_eq!(put(&other, "journal", None, "{}").await, None);
    let second = put(&other, "journal", Some(first), "{\"n\": 2}").await;
    assert_eq!(put(&store, "journal", Some(first), "{}").await, None);
    let kept = read(&store, "journal").await.unwrap();
    assert_eq!(kept, (second.unwrap(), "{\"n\": 2}".to_owned()));
    // The same text again is no other one's.
    assert_eq!(put(&store, "journal", second, &kept.1).await, second);

    for name in ["a/2", "a/1", "a0", "a", "帳/1"] {
        put(&store, name, None, "").await.unwrap();
    }
    let names = store.shelf_names(&medical(), "a/").await.unwrap();
    assert_eq!(names, ["a/1", "a/2"]);
    let all = store.shelf_names(&medical(), "").await.unwrap();
    assert_eq!(all, ["a", "a/1", "a/2", "a0", "journal", "帳/1"]);
    let elsewhere: SystemName = "voicedrive".parse().unwrap();
    assert_eq!(store.shelf_names(&elsewhere, "").await.unwrap(), [""; 0]);
    assert_eq!(store.on_shelf(&elsewhere, "journal").await.unwrap(), None);

    for _ in 0..2 {
        store.clear_from_shelf(&medical(), "journal").await.unwrap();
        assert_eq!(read(&other, "journal").await, None);
    }
    // What was read before it was cleared is not written over what comes after.
    assert_eq!(put(&other, "journal", second, "{}").await, None);
}

on_each_engine![
    what_a_connector_keeps_is_replaced_only_by_who_knows_it,
    a_failed_revision_stays_until_it_is_cleared_on_purpose,
    a_silent_system_keeps_what_was_known_of_it,
    changes_are_kept_by_resource_and_creates_are_not,
    a_release_serves_one_run,
    heat_rises_by_one_and_cools_with_minutes,
    a_delivery_is_owed_until_it_is_acknowledged,
    a_dead_letter_is_kept_and_sent_again_in_its_place,
];
