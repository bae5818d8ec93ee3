//! Copies: backups, bringing one back, moving between engines; and looking a store over.

use super::*;

/// A store with something in every table.
async fn used(place: &Place) -> Store {
    let store = place.open().await;
    let lease = Store::group_lease(&group());
    store.acquire(&lease, "a", at(0), TTL).await.unwrap();
    for n in 1..=3 {
        let fence = Fence(at(1_000_000_000).as_second().unsigned_abs());
        let run = RunRow { fence, ..row(n) };
        store.save_run(&run).await.unwrap();
        store
            .record_decision(run_id(n), fence, "commit", &json!({"n": n}), at(1))
            .await
            .unwrap();
        let claims = Claims {
            own: vec![ResourceRef::new("FeatureFlag", "a").unwrap()],
            ..Claims::default()
        };
        let end = Finish {
            run,
            claims: std::collections::BTreeMap::from([(medical(), claims)]),
            ..finish(n)
        };
        store.finish_run(&end).await.unwrap();
    }
    let entries: Vec<_> = (0..1_200)
        .map(|n| entry("note", json!({ "n": n })))
        .collect();
    store.append(&entries).await.unwrap();
    let release = Release {
        plan: PlanDigest(Digest::of(b"plan")),
        by: "tanaka".parse().unwrap(),
        because: "移行のため".to_owned(),
        at: at(0),
    };
    store.release(&release).await.unwrap();
    let flag: ResourceRef = "FeatureFlag/a".parse().unwrap();
    store.add_heat(&medical(), &flag, at(0)).await.unwrap();
    let kept = store.put_on_shelf(&medical(), "journal", None, "帳").await;
    assert!(kept.unwrap().is_some());
    store.take_delivery("id", at(0)).await.unwrap();
    store.first("remarks", at(0)).await.unwrap();
    let said = SaidRow {
        id: "1".to_owned(),
        proposal: 7,
        author: "sato".to_owned(),
        at: at(0),
        body: Value::Null,
    };
    store.keep_said(&said).await.unwrap();
    store
}

/// Everything that can be asked of a store.
async fn all_of(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let group_row = store.group_state(&group()).await.unwrap();
    let runs = store
        .recent_runs(&group(), Reach::Whole, 100)
        .await
        .unwrap();
    let systems = store.system_states().await.unwrap();
    let entries = store.entries(&EntryFilter::default()).await.unwrap();
    let undelivered = store.undelivered(100).await.unwrap();
    let undelivered: Vec<_> = undelivered.into_iter().map(|d| (d.key, d.body)).collect();
    let changes = store.changes_since(&medical(), at(0)).await.unwrap();
    let plan = PlanDigest(Digest::of(b"plan"));
    let release = store.find_release(plan).await.unwrap();
    let said = store.said(7).await.unwrap();
    let first = store.first("remarks", at(99)).await.unwrap();
    let shelf = store.on_shelf(&medical(), "journal").await.unwrap();
    (
        (group_row, runs, systems, entries),
        (undelivered, changes, release, said, first, shelf),
    )
}

async fn a_backup_holds_everything_and_can_be_brought_back(place: Place) {
    let store = used(&place).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.db");
    assert_eq!(store.backup(&file).await.unwrap(), 1_208);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    let again = store.backup(&file).await.unwrap_err();
    assert!(matches!(again, StoreError::Folder { .. }), "{again}");

    let backup = Store::open(&file).await.unwrap();
    assert_eq!(all_of(&backup).await, all_of(&store).await);
    let restored = place.another().await;
    backup.copy_into(&restored).await.unwrap();
    assert_eq!(all_of(&restored).await, all_of(&store).await);
    assert_eq!(restored.check().await.faults, [""; 0]);

    // Fences go on where they were, nobody holds anything, and numbers go on.
    let lease = Store::group_lease(&group());
    let before = store
        .acquire(&lease, "a", at(0), TTL)
        .await
        .unwrap()
        .unwrap();
    let after = restored
        .acquire(&lease, "b", at(0), TTL)
        .await
        .unwrap()
        .unwrap();
    assert!(after > before, "{after:?} after {before:?}");
    restored
        .append(&[entry("next", Value::Null)])
        .await
        .unwrap();
    let letter = NewDelivery {
        destination: "new".to_owned(),
        key: "k".to_owned(),
        body: Value::Null,
    };
    restored.enqueue(&[letter], at(0)).await.unwrap();

    let twice = backup.copy_into(&restored).await.unwrap_err();
    assert!(matches!(twice, StoreError::Used { .. }), "{twice}");
}

async fn every_table_is_copied_or_left_out_on_purpose(place: Place) {
    let store = place.open().await;
    let tables = match &store.pools {
        engine::Pools::Sqlite(_) => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        }
        engine::Pools::Postgres(_) => {
            "SELECT table_name::TEXT FROM information_schema.tables WHERE table_schema = current_schema()"
        }
    };
    let mut there: Vec<String> = query(tables).list(store.read()).await.unwrap();
    there.retain(|name| name != "_sqlx_migrations");
    there.sort();
    let mut known = copy::known_tables();
    known.sort_unstable();
    assert_eq!(there, known);
}

async fn checking_finds_what_is_wrong(place: Place) {
    let store = used(&place).await;
    let sound = store.check().await;
    assert_eq!(
        (sound.faults.len(), sound.entries, sound.runs),
        (0, 1_208, 3)
    );
    let wrong = [
        (
            "UPDATE runs SET body = '{' WHERE id = (SELECT MIN(id) FROM runs)",
            "can't be read",
        ),
        (
            "UPDATE _sqlx_migrations SET checksum = checksum || checksum",
            "was not made by this program",
        ),
    ];
    for (sql, said) in wrong {
        let mut tx = store.write(Durability::Full, "break it").await.unwrap();
        query(sql).execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let faults = store.check().await.faults;
        assert!(faults.iter().any(|f| f.contains(said)), "{sql}: {faults:?}");
    }
}

on_each_engine![
    a_backup_holds_everything_and_can_be_brought_back,
    every_table_is_copied_or_left_out_on_purpose,
    checking_finds_what_is_wrong,
];
