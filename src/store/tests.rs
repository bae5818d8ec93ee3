use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::engine::{Tx, query};
use super::*;
use crate::ids::ResourceRef;
use crate::ids::{Actor, Digest, Fence, GroupName, PlanDigest, Revision, RunId, SystemName};
use crate::plan::Op;
use crate::plan::safety::PastChange;

/// Makes a test of each function, on each engine.
macro_rules! on_each_engine {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(super::Place::sqlite()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    if let Some(place) = super::Place::postgres() {
                        super::$name(place).await;
                    }
                }
            )*
        }
    };
}

mod copies;
mod known;
mod ledger;
mod mirror;
mod opening;
mod replicas;
mod runs;
#[path = "../../tests/it/world/postgres.rs"]
pub(crate) mod server;

/// Where a test's store is, on one engine or the other.
enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// None, said aloud, where PostgreSQL is not installed.
    fn postgres() -> Option<Self> {
        server::database().map(Self::Postgres)
    }

    /// The store as one more process opens it.
    async fn open(&self) -> Store {
        match self {
            Self::Sqlite(folder) => Store::open(folder.path().join("store.db")).await.unwrap(),
            Self::Postgres(url) => Store::open(url).await.unwrap(),
        }
    }

    /// A new store on the same engine.
    async fn another(&self) -> Store {
        match self {
            Self::Sqlite(_) => Store::temporary().await.unwrap(),
            Self::Postgres(_) => Store::open(server::database().unwrap()).await.unwrap(),
        }
    }
}

/// Lets a lease run out, whatever the clock says that it goes by.
async fn run_out(store: &Store, lease: &str) {
    let mut tx = store
        .write(Durability::Full, "let a lease run out")
        .await
        .unwrap();
    query("UPDATE leases SET expires_ms = 1 WHERE name = $1")
        .bind(lease)
        .execute(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

const TTL: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + seconds).unwrap()
}

fn revision(n: u8) -> Revision {
    format!("{n:040x}").parse().unwrap()
}

fn run_id(n: u8) -> RunId {
    RunId(uuid::Uuid::from_u128(u128::from(n)))
}

fn group() -> GroupName {
    "hospital".parse().unwrap()
}

fn medical() -> SystemName {
    "medical".parse().unwrap()
}

fn row(n: u8) -> RunRow {
    RunRow {
        id: run_id(n),
        group: group(),
        revision: revision(n),
        fence: Fence(1),
        reach: Reach::Whole,
        body: json!({"step": "observe"}),
    }
}

fn entry(action: &str, body: Value) -> NewEntry {
    NewEntry {
        at: at(0),
        actor: "lockstep/engine".parse().unwrap(),
        action: action.to_owned(),
        group: Some(group()),
        system: None,
        run: Some(run_id(1)),
        revision: Some(revision(1)),
        body,
    }
}

fn finish(n: u8) -> Finish {
    Finish {
        run: row(n),
        outcome: json!("applied"),
        at: at(60),
        group: Some(GroupUpdate {
            good: Some(revision(n)),
            failed: FailedUpdate::Clear,
            seen: Some(revision(n)),
        }),
        systems: vec![SystemState {
            system: medical(),
            revision: Some(revision(n)),
            digest: Some(Digest::of(b"state")),
            condition: json!({"state": "in_step"}),
            last_change_at: Some(at(59)),
            last_seen_at: Some(at(60)),
        }],
        changes: ["a", "b", "c"]
            .map(|name| PastChange {
                at: at(60),
                system: medical(),
                id: ResourceRef::new("FeatureFlag", name).unwrap(),
                op: Op::Update,
            })
            .to_vec(),
        claims: std::collections::BTreeMap::new(),
        ledger: vec![entry("run.applied", json!({"changes": 3}))],
        outbox: vec![NewDelivery {
            destination: "forge".to_owned(),
            key: format!("status/{n}"),
            body: json!({"state": "success"}),
        }],
    }
}

async fn writers_at_the_same_time_lose_nothing(place: Place) {
    const WRITERS: u8 = 8;
    const EACH: u8 = 4;
    // Two processes, four tasks in each.
    let processes = [place.open().await, place.open().await];
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let store = processes[usize::from(writer % 2)].clone();
        tasks.spawn(async move {
            for n in 0..EACH {
                let n = writer * EACH + n + 1;
                store.save_run(&row(n)).await.unwrap();
                store
                    .record_decision(run_id(n), Fence(1), "commit", &Value::Null, at(0))
                    .await
                    .unwrap();
                let ended = (
                    store.finish_run(&finish(n)).await.unwrap(),
                    store.finish_run(&finish(n)).await.unwrap(),
                );
                assert_eq!(ended, (Finished::Now, Finished::Before));
                store
                    .add_heat(&medical(), &"IpBlock/192.0.2.1/32".parse().unwrap(), at(0))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let store = place.open().await;
    let all = u64::from(WRITERS * EACH);
    assert!(
        matches!(store.verify_chain().await.unwrap(), Chain::Intact { entries, .. } if entries == 2 * all),
        "each run's decision and its end"
    );
    assert_eq!(store.owed().await.unwrap(), all);
    let past = store.changes_since(&medical(), at(0)).await.unwrap();
    assert_eq!(past.len() as u64, 3 * all);
    let heat = store
        .heat(&medical(), &"IpBlock/192.0.2.1/32".parse().unwrap(), at(0))
        .await
        .unwrap();
    assert!((heat - f64::from(WRITERS * EACH)).abs() < 1e-6);
    assert_eq!(store.open_runs(&group()).await.unwrap(), []);
}

#[test]
fn times_are_kept_to_the_millisecond() {
    let fine = at(0) + SignedDuration::from_nanos(1_234_567);
    assert_eq!(
        values::time(values::ms(fine)).unwrap(),
        at(0) + SignedDuration::from_millis(1)
    );
}

/// Every future of the store can be awaited in a spawned task.
#[test]
fn futures_may_move_between_threads() {
    fn send<T: Send>(_: T) {}
    fn check(store: &'static Store, row: &'static RunRow, end: &'static Finish) {
        send(Store::open("x"));
        send(store.save_run(row));
        send(store.record_decision(row.id, row.fence, "commit", &row.body, at(0)));
        send(store.finish_run(end));
        send(store.open_runs(&row.group));
    }
    let _ = check;
}

async fn who_owns_what_is_written_with_a_runs_end(place: Place) {
    let store = place.open().await;
    let flag = |name: &str| ResourceRef::new("FeatureFlag", name).unwrap();
    let of = |claims| std::collections::BTreeMap::from([(medical(), claims)]);
    let first = Finish {
        claims: of(Claims {
            own: vec![flag("ours")],
            other: (0..2_500).map(|n| flag(&format!("theirs_{n}"))).collect(),
            gone: Vec::new(),
        }),
        ..finish(1)
    };
    store.finish_run(&first).await.unwrap();
    let asked: Vec<_> = (0..2_500).map(|n| flag(&format!("theirs_{n}"))).collect();
    assert_eq!(store.owners(&medical(), &asked).await.unwrap().len(), 2_500);
    let asked = [flag("ours"), flag("theirs_7"), flag("nobody's")];
    let owners = store.owners(&medical(), &asked).await.unwrap();
    let of_them = asked.each_ref().map(|id| owners.get(id).copied());
    assert_eq!(of_them, [Some(Owner::Lockstep), Some(Owner::Other), None]);

    // Adopted, and deleted.
    let second = Finish {
        claims: of(Claims {
            own: vec![flag("theirs_7")],
            other: Vec::new(),
            gone: vec![flag("ours")],
        }),
        ..finish(2)
    };
    store.finish_run(&second).await.unwrap();
    let owners = store.owners(&medical(), &asked).await.unwrap();
    let of_them = asked.each_ref().map(|id| owners.get(id).copied());
    assert_eq!(of_them, [None, Some(Owner::Lockstep), None]);
}

on_each_engine![
    who_owns_what_is_written_with_a_runs_end,
    writers_at_the_same_time_lose_nothing,
];
