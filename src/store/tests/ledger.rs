//! The ledger: what is hashed, found again, refused and found out.

use sha2::{Digest as _, Sha256};

use super::*;

async fn the_ledger_is_found_by_what_it_speaks_of(place: Place) {
    let store = place.open().await;
    for n in 1..=6_u8 {
        let one = NewEntry {
            at: at(i64::from(n)),
            revision: Some(revision(n % 2)),
            system: (n == 4).then(medical),
            run: Some(run_id(n)),
            ..entry("run.applied", json!({ "n": n }))
        };
        store.append(&[one]).await.unwrap();
    }
    let found = |filter: EntryFilter| {
        let store = store.clone();
        async move {
            let entries = store.entries(&filter).await.unwrap();
            entries.into_iter().map(|e| e.seq).collect::<Vec<_>>()
        }
    };
    let all = EntryFilter::default;
    assert_eq!(found(all()).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        found(EntryFilter {
            since: Some(at(2)),
            until: Some(at(5)),
            ..all()
        })
        .await,
        [2, 3, 4]
    );
    assert_eq!(
        found(EntryFilter {
            revision: Some(revision(1)),
            ..all()
        })
        .await,
        [1, 3, 5]
    );
    assert_eq!(
        found(EntryFilter {
            run: Some(run_id(3)),
            ..all()
        })
        .await,
        [3]
    );
    assert_eq!(
        found(EntryFilter {
            system: Some(medical()),
            ..all()
        })
        .await,
        [4]
    );
    assert_eq!(
        found(EntryFilter {
            group: Some("other".parse().unwrap()),
            ..all()
        })
        .await,
        [0; 0]
    );
    assert_eq!(
        found(EntryFilter {
            after: Some(2),
            limit: Some(2),
            ..all()
        })
        .await,
        [3, 4]
    );
    let newest = EntryFilter {
        order: Order::NewestFirst,
        after: Some(5),
        limit: Some(2),
        ..all()
    };
    assert_eq!(found(newest).await, [4, 3]);

    let read = store
        .entries(&EntryFilter {
            run: Some(run_id(4)),
            ..all()
        })
        .await
        .unwrap();
    assert_eq!((read[0].at, &read[0].body), (at(4), &json!({"n": 4})));
    assert_eq!(read[0].actor.as_str(), "lockstep/engine");
}

async fn a_leaf_is_canonical_json_and_its_hash_is_that_of_a_merkle_leaf(place: Place) {
    let store = place.open().await;
    store
        .append(&[entry("run.applied", json!({"z": 1, "a": "承認"}))])
        .await
        .unwrap();
    let read = store.entries(&EntryFilter::default()).await.unwrap();
    let leaf = read[0].leaf.replace(&read[0].id.to_string(), "ID");
    assert_eq!(
        leaf,
        r#"{"action":"run.applied","actor":"lockstep/engine","body":{"a":"承認","z":1},"group":"hospital","id":"ID","prev":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","revision":"0000000000000000000000000000000000000001","run":"00000000-0000-0000-0000-000000000001","seq":1,"time":"2025-10-09T08:53:20Z","v":1}"#
    );
    assert_eq!(read[0].hash.to_hex(), leaf_hash(&read[0].leaf));
    assert_eq!(
        store.verify_chain().await.unwrap(),
        Chain::Intact {
            entries: 1,
            head: read[0].hash
        }
    );
}

fn leaf_hash(leaf: &str) -> String {
    hex::encode(Sha256::digest([&[0], leaf.as_bytes()].concat()))
}

async fn a_body_too_long_for_a_leaf_is_hashed_by_its_digest(place: Place) {
    let store = place.open().await;
    let body = json!({"before": "x".repeat(70_000)});
    store
        .append(&[
            entry("run.applied", body.clone()),
            entry("next", Value::Null),
        ])
        .await
        .unwrap();
    let read = store.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!((&read[0].body, &read[1].body), (&body, &Value::Null));
    assert!(read[0].leaf.len() < 1000);
    assert!(matches!(
        store.verify_chain().await.unwrap(),
        Chain::Intact { entries: 2, .. }
    ));
    tamper(
        &store,
        "UPDATE ledger SET body = replace(body, 'x', 'y') WHERE seq = 1",
    )
    .await;
    assert!(matches!(
        store.verify_chain().await.unwrap(),
        Chain::Broken { seq: 1, .. }
    ));
}

/// What somebody with the database in their hands can do.
async fn tamper(store: &Store, sql: &'static str) {
    let mut tx = unlocked(store).await;
    query(sql).execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// A write that the ledger's triggers don't stop.
async fn unlocked(store: &Store) -> Tx {
    let mut tx = store.write(Durability::Full, "tamper").await.unwrap();
    let drops: Vec<&str> = match &tx {
        Tx::Sqlite(_) => vec![
            "DROP TRIGGER ledger_no_update",
            "DROP TRIGGER ledger_no_delete",
            "DROP TRIGGER ledger_append_only",
        ],
        Tx::Postgres(_) => vec!["ALTER TABLE ledger DISABLE TRIGGER ALL"],
    };
    for drop in drops {
        query(drop).execute(&mut tx).await.unwrap();
    }
    tx
}

async fn tampering_with_the_ledger_is_found_where_it_happened(place: Place) {
    let cases = [
        (
            "UPDATE ledger SET leaf = replace(leaf, '\"n\":3', '\"n\":4') WHERE seq = 3",
            3,
        ),
        ("UPDATE ledger SET actor = 'somebody' WHERE seq = 2", 2),
        ("UPDATE ledger SET at_ms = at_ms + 1 WHERE seq = 4", 4),
        ("UPDATE ledger SET revision = NULL WHERE seq = 5", 5),
        ("UPDATE ledger SET body = '{}' WHERE seq = 1", 1),
        ("DELETE FROM ledger WHERE seq = 3", 3),
        ("DELETE FROM ledger WHERE seq = 1", 1),
        // What stands before the first is found there.
        ("UPDATE ledger SET seq = -seq WHERE seq IN (2, 3)", 1),
    ];
    for (sql, broken_at) in cases {
        let store = place.another().await;
        for n in 1..=5 {
            store
                .append(&[entry("run.applied", json!({ "n": n }))])
                .await
                .unwrap();
        }
        tamper(&store, sql).await;
        let found = store.verify_chain().await.unwrap();
        assert!(
            matches!(&found, Chain::Broken { seq, .. } if *seq == broken_at),
            "{sql}: {found:?}"
        );
    }
}

async fn an_entry_rewritten_with_a_fitting_hash_breaks_the_chain_after_it(place: Place) {
    let store = place.open().await;
    for n in 1..=3 {
        store
            .append(&[entry("run.applied", json!({ "n": n }))])
            .await
            .unwrap();
    }
    let read = store.entries(&EntryFilter::default()).await.unwrap();
    let forged = read[1].leaf.replace("\"n\":2", "\"n\":9");
    let mut tx = unlocked(&store).await;
    query("UPDATE ledger SET leaf = $1, hash = $2 WHERE seq = 2")
        .bind(&forged)
        .bind(leaf_hash(&forged))
        .execute(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = store.verify_chain().await.unwrap();
    assert!(matches!(found, Chain::Broken { seq: 3, .. }), "{found:?}");
}

async fn the_ledger_refuses_to_be_changed(place: Place) {
    let store = place.open().await;
    store
        .append(&[entry("run.applied", Value::Null)])
        .await
        .unwrap();
    let copied =
        "id, at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger";
    let tries = [
        ("UPDATE ledger SET actor = 'x'", ""),
        ("DELETE FROM ledger", ""),
        (
            "INSERT INTO ledger SELECT seq + 2, 'new', at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger",
            "",
        ),
        ("INSERT OR REPLACE INTO ledger SELECT seq, ", copied),
        ("INSERT OR REPLACE INTO ledger SELECT seq + 1, ", copied),
        ("TRUNCATE ledger", ""),
    ];
    for (sql, rest) in tries {
        let mut tx = store.write(Durability::Full, "tamper").await.unwrap();
        // Each engine has a way of its own to take rows away that no other trigger is asked about.
        let own = match &tx {
            Tx::Sqlite(_) => !sql.starts_with("TRUNCATE"),
            Tx::Postgres(_) => !sql.starts_with("INSERT OR"),
        };
        if !own {
            continue;
        }
        let mut statement = query(sql);
        statement.push(rest);
        let refused = statement.execute(&mut tx).await.unwrap_err();
        assert!(
            refused.to_string().contains("append-only"),
            "{sql}: {refused}"
        );
    }
    assert!(
        query("DELETE FROM outbox")
            .execute(store.read())
            .await
            .is_err(),
        "readers only read"
    );
}

on_each_engine![
    the_ledger_is_found_by_what_it_speaks_of,
    a_leaf_is_canonical_json_and_its_hash_is_that_of_a_merkle_leaf,
    a_body_too_long_for_a_leaf_is_hashed_by_its_digest,
    an_entry_rewritten_with_a_fitting_hash_breaks_the_chain_after_it,
    the_ledger_refuses_to_be_changed,
    tampering_with_the_ledger_is_found_where_it_happened,
];
