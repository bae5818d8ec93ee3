//! A ward's database in one lockstep group with a system over HTTP.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::world::postgres::{Server, Sort, database, preparing_database};
use crate::world::proxy::Side;
use crate::world::{Layout, SETTINGS, Settings, World, eventually};

mod drifted;

/// What the ward's own program has: flags, and beds that may name one.
const WARD: &str = "CREATE TABLE flags (name text PRIMARY KEY, enabled boolean NOT NULL, rollout int CHECK (rollout <= 90), teams text[], \
     owner text, expires date, screen text NOT NULL DEFAULT 'wide'); \
     CREATE TABLE beds (id int PRIMARY KEY, flag text REFERENCES flags);";

fn flag(name: &str, rollout: u32) -> String {
    format!(
        "  \"{name}\": {{ \"enabled\": true, \"rollout\": {rollout}, \"teams\": [\"medical\", \"ward\"], \"owner\": \"sato\", \"expires\": \"2027-12-31\" }},\n"
    )
}

struct Ward {
    world: World,
    url: String,
}

impl Ward {
    async fn new(url: Option<String>) -> Option<Self> {
        let url = url?;
        let world = World::bare(Layout {
            systems: &["medical".to_owned()],
            groups: "  hospital: {systems: [medical, ward], consistency: lockstep, urgent: []}\n",
            store: "store.db",
        })
        .await;
        let ward = Self { world, url };
        ward.by_hand(WARD).await;
        let system = format!(
            "  ward:\n    connector: postgres\n    url: {}\n    kinds: [FeatureFlag, AccessGrant]\n    notify: true\n    tables:\n      \
             FeatureFlag:\n        table: flags\n        key: name\n        columns: {{enabled: enabled, rollout: rollout, teams: teams, owner: owner, expires: expires}}\ngroups:\n",
            ward.url
        );
        let config = ward.world.config("").replacen("groups:\n", &system, 1);
        ward.world.write("lockstep.yaml", &config);
        ward.flags(&[("ai_assistant", 10), ("night_mode", 20)]);
        ward.world.write(
            "config/access-control.json",
            "{ \"admin_users\": [\"user001\"] }\n",
        );
        ward.world.commit("start");
        ward.world.settings(&SETTINGS);
        Some(ward)
    }

    async fn in_step(url: Option<String>) -> Option<Self> {
        let ward = Self::new(url).await?;
        ward.world.ok(&["apply"]).await;
        ward.world.forget_requests();
        Some(ward)
    }

    /// Writes the flags; not committed yet.
    fn flags(&self, flags: &[(&str, u32)]) {
        let lines: String = flags.iter().map(|(name, n)| flag(name, *n)).collect();
        self.world
            .write("config/feature-flags.json", &format!("{{\n{lines}}}\n"));
    }

    async fn by_hand(&self, statements: &'static str) {
        let mut on = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut on).await.unwrap();
        on.close().await.unwrap();
    }

    async fn rollout(&self, name: &str) -> Option<i32> {
        let mut on = PgConnection::connect(&self.url).await.unwrap();
        let query = sqlx::query_scalar("SELECT rollout FROM flags WHERE name = $1").bind(name);
        let found = query.fetch_optional(&mut on).await.unwrap();
        on.close().await.unwrap();
        found
    }

    async fn medical(&self, name: &str) -> Option<u64> {
        let resources = self.world.system("medical").resources().await;
        resources.get(&format!("FeatureFlag/{name}"))?["rollout"].as_u64()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_follow_the_documents_and_what_the_program_has_stays() {
    let Some(ward) = Ward::in_step(database()).await else {
        return;
    };
    assert_eq!(ward.rollout("ai_assistant").await, Some(10));
    ward.by_hand("UPDATE flags SET screen = 'narrow'").await;
    let again = ward.world.apply().await;
    assert!(again.out.contains("already in step"), "{again:?}");
    ward.flags(&[("ai_assistant", 25), ("night_mode", 20)]);
    ward.world.commit("raise the rollout");
    assert_eq!(ward.world.apply().await.code, Some(0));
    assert_eq!(ward.rollout("ai_assistant").await, Some(25));
    assert_eq!(ward.medical("ai_assistant").await, Some(25));
    let mut on = PgConnection::connect(&ward.url).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM flags WHERE screen = 'narrow'")
        .fetch_one(&mut on)
        .await
        .unwrap();
    let granted: String =
        sqlx::query_scalar("SELECT spec FROM lockstep.resources WHERE kind = 'AccessGrant'")
            .fetch_one(&mut on)
            .await
            .unwrap();
    on.close().await.unwrap();
    assert_eq!(kept, 2);
    serde_json::from_str::<serde_json::Value>(&granted).unwrap();

    // A row that somebody changes is put back, and told of.
    ward.by_hand("UPDATE flags SET rollout = 77 WHERE name = 'night_mode'")
        .await;
    assert_eq!(ward.world.apply().await.code, Some(0));
    assert_eq!(ward.rollout("night_mode").await, Some(20));
    let found = ward.world.entries("drift.found").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body["changes"][0]["found"]["rollout"], 77);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_put_back_long_before_the_next_look_is_due() {
    let Some(ward) = Ward::in_step(database()).await else {
        return;
    };
    ward.world.settings(&Settings {
        systems: "1h",
        ..SETTINGS
    });
    let mut lockstep = ward.world.start(&["run"], "run.log");
    eventually(
        "the first pass is over and edits are put back",
        async || {
            ward.by_hand(
                "UPDATE flags SET rollout = 77 WHERE name = 'night_mode' AND rollout = 20",
            )
            .await;
            let found = ward.world.entries("drift.found").await;
            (found.len() > 1).then_some(())
        },
    )
    .await;
    eventually("the last edit too", async || {
        (ward.rollout("night_mode").await == Some(20)).then_some(())
    })
    .await;
    lockstep.terminate();
    assert_eq!(lockstep.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_others_refer_to_is_not_deleted_and_the_status_says_why() {
    let Some(ward) = Ward::in_step(database()).await else {
        return;
    };
    ward.by_hand("INSERT INTO beds VALUES (1, 'night_mode')")
        .await;
    // One is referred to, the other breaks a check; the third would be fine.
    ward.flags(&[("ai_assistant", 95), ("shift_swap", 5)]);
    let commit = ward.world.commit("night mode goes");
    let ended = ward.world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (_, why) = ward.world.standing("ward").await;
    assert!(why.contains("FeatureFlag/night_mode: update or delete on table \"flags\" violates foreign key constraint"), "{why}");
    assert!(
        why.contains(
            "FeatureFlag/ai_assistant: new row for relation \"flags\" violates check constraint"
        ),
        "{why}"
    );
    assert!(!why.contains("shift_swap"), "{why}");
    // In step: neither system has moved.
    for (name, rollout) in [("ai_assistant", 10), ("night_mode", 20)] {
        assert_eq!(ward.rollout(name).await, Some(rollout));
        assert_eq!(ward.medical(name).await, u64::try_from(rollout).ok());
    }
    let said = ward.world.statuses(&commit);
    let (state, why) = &said["lockstep/apply/ward"];
    assert_eq!(state, "failure");
    assert!(why.contains("night_mode"), "{why}");
    ward.by_hand("DELETE FROM beds").await;
    ward.flags(&[("ai_assistant", 90), ("shift_swap", 5)]);
    ward.world.commit("within bounds");
    ward.world.ok(&["apply"]).await;
    assert_eq!(ward.rollout("night_mode").await, None);
    assert_eq!(ward.medical("ai_assistant").await, Some(90));
}

/// Killed when both systems have prepared: before the decision, and after it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_prepare_and_commit_both_systems_end_in_step() {
    for url in [database(), preparing_database()] {
        let Some(ward) = Ward::in_step(url).await else {
            return;
        };
        let mut rollout = 10;
        // Medical is asked for its digests, its items, to prepare, and to commit: then the ward has prepared.
        for (nth, side) in [(3, Side::After), (4, Side::Before), (4, Side::After)] {
            rollout += 1;
            ward.flags(&[("ai_assistant", rollout), ("night_mode", 20)]);
            ward.world.commit(&format!("rollout {rollout}"));
            let proxy = &ward.world.system("medical").proxy;
            proxy.hold(nth, side);
            let mut lockstep = ward.world.start(&["run"], "run.log");
            proxy.stopped().await;
            lockstep.kill();
            proxy.release();
            let ended = ward.world.apply().await;
            assert_eq!(ended.code, Some(0), "{nth} {side:?}: {ended:?}");
            assert_eq!(
                ward.rollout("ai_assistant").await,
                i32::try_from(rollout).ok()
            );
            assert_eq!(ward.medical("ai_assistant").await, Some(u64::from(rollout)));
            let again = ward.world.apply().await;
            assert!(again.out.contains("already in step"), "{again:?}");
        }
        let mut on = PgConnection::connect(&ward.url).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) + (SELECT count(*) FROM lockstep.staged)")
            .fetch_one(&mut on)
            .await
            .unwrap();
        on.close().await.unwrap();
        assert_eq!(left, 0);
        ward.world.ok(&["audit", "verify"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_after_it_prepared_commits_when_it_is_back() {
    for sort in [Sort::Plain, Sort::Preparing] {
        let Some(mut server) = Server::start(sort) else {
            return;
        };
        let Some(ward) = Ward::in_step(Some(server.database())).await else {
            return;
        };
        ward.flags(&[("ai_assistant", 30), ("night_mode", 20)]);
        ward.world.commit("raise the rollout");
        let proxy = &ward.world.system("medical").proxy;
        proxy.hold(4, Side::Before);
        let mut lockstep = ward.world.start(&["run"], "run.log");
        proxy.stopped().await;
        server.crash();
        proxy.release();
        eventually("both systems have it", async || {
            let both = (
                ward.rollout("ai_assistant").await,
                ward.medical("ai_assistant").await,
            );
            (both == (Some(30), Some(30))).then_some(())
        })
        .await;
        eventually("the run is over", async || {
            let outcomes = ward.world.outcomes().await;
            (outcomes.len() == 2).then_some(())
        })
        .await;
        lockstep.terminate();
        assert_eq!(lockstep.ended().await.code(), Some(0));
        assert_eq!(ward.world.outcomes().await, ["applied", "applied"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_flags_arrive_in_one_changeset_and_a_plan_reads_them() {
    let Some(ward) = Ward::in_step(database()).await else {
        return;
    };
    let names: Vec<String> = (0..10_000).map(|n| format!("flag_{n:05}")).collect();
    let mut flags = vec![("ai_assistant", 10), ("night_mode", 20)];
    flags.extend(names.iter().map(|name| (name.as_str(), 5)));
    ward.flags(&flags);
    ward.world.commit("many flags");
    ward.world.ok(&["apply"]).await;
    let mut on = PgConnection::connect(&ward.url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM flags WHERE rollout = 5")
        .fetch_one(&mut on)
        .await
        .unwrap();
    on.close().await.unwrap();
    assert_eq!(rows, 10_000);
    ward.by_hand("UPDATE flags SET rollout = 6 WHERE name = 'flag_04711'")
        .await;
    let plan = ward.world.ok(&["plan", "--live", "--format", "json"]).await;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let changes = plan["systems"]["ward"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["name"], json!("flag_04711"));
}
