//! What somebody changes in the ward's tables by hand, while Lockstep runs: the database says so itself, long before the next look is due.

use sqlx::{Connection as _, PgConnection};

use super::{Ward, flag};
use crate::adopt::{flags_of, merge, proposals};
use crate::world::postgres::database;
use crate::world::{POLICY, Process, SETTINGS, Settings, eventually};

/// Counts what Lockstep itself writes to the flag that people change.
const COUNTED: &str = "CREATE TABLE written (at timestamptz); \
     CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       IF current_setting('application_name') = 'lockstep' THEN INSERT INTO written VALUES (now()); END IF; RETURN NULL; END $$; \
     CREATE TRIGGER count_it AFTER UPDATE OR DELETE ON flags FOR EACH ROW WHEN (OLD.name = 'night_mode') EXECUTE FUNCTION count_it();";

impl Ward {
    /// In step, with this policy for what others change, and a Lockstep that would not look by itself for an hour.
    async fn watched(policy: &str) -> Option<(Self, Process)> {
        let ward = Self::in_step(database()).await?;
        ward.by_hand(COUNTED).await;
        let config = std::fs::read_to_string(ward.world.path("work/lockstep.yaml")).unwrap();
        let line = format!("    notify: true\n    drift: {policy}\n");
        let config = config.replace("    notify: true\n", &line);
        ward.world.write("lockstep.yaml", &config);
        ward.world.write("policies/approvals.rego", POLICY);
        ward.world.commit("what becomes of drift");
        ward.world.settings(&Settings {
            systems: "1h",
            ..SETTINGS
        });
        let lockstep = ward.world.start(&["run"], "run.log");
        eventually("it listens to the database", async || {
            (ward.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'").await > 0)
                .then_some(())
        })
        .await;
        // Carried out in a pass of its own, so the first one is over.
        ward.flags(&[("ai_assistant", 25), ("night_mode", 20)]);
        ward.world.commit("raise the rollout");
        eventually("a merge is carried out", async || {
            (ward.world.outcomes().await.len() >= 3).then_some(())
        })
        .await;
        assert_eq!(ward.rollout("ai_assistant").await, Some(25));
        Some((ward, lockstep))
    }

    async fn count(&self, query: &'static str) -> i64 {
        let mut on = PgConnection::connect(&self.url).await.unwrap();
        let count = sqlx::query_scalar(query).fetch_one(&mut on).await.unwrap();
        on.close().await.unwrap();
        count
    }
}

async fn ends(mut lockstep: Process) {
    lockstep.terminate();
    assert_eq!(lockstep.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_by_hand_is_proposed_and_nobody_writes_over_it() {
    let Some((ward, lockstep)) = Ward::watched("propose").await else {
        return;
    };
    ward.by_hand("UPDATE flags SET rollout = 77 WHERE name = 'night_mode'")
        .await;
    let proposed = eventually("taking it over is proposed", async || {
        proposals(&ward.world).await.into_iter().next()
    })
    .await;
    let wanted = format!(
        "{{\n{}{}}}\n",
        flag("ai_assistant", 25),
        flag("night_mode", 77)
    );
    assert_eq!(flags_of(&ward.world, &proposed), wanted);
    let said = proposed["description"].as_str().unwrap();
    for part in [
        "`night_mode: rollout 20% → 77%`",
        "changes `medical` too",
        "マージすると",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let (standing, why) = ward.world.standing("ward").await;
    assert_eq!(standing, "adrift");
    assert!(
        why.contains("FeatureFlag/night_mode; left as it is"),
        "{why}"
    );
    assert_eq!(ward.rollout("night_mode").await, Some(77));
    assert_eq!(ward.medical("night_mode").await, Some(20));

    merge(&ward.world, "1").await;
    eventually("medical has it too", async || {
        (ward.medical("night_mode").await == Some(77)).then_some(())
    })
    .await;
    eventually("all is in order", async || {
        (ward.world.standing("ward").await.0 == "in_step").then_some(())
    })
    .await;
    ends(lockstep).await;
    assert_eq!(ward.rollout("night_mode").await, Some(77));
    assert_eq!(ward.count("SELECT count(*) FROM written").await, 0);
    for action in ["drift.found", "drift.proposed"] {
        assert_eq!(ward.world.entries(action).await.len(), 1, "{action}");
    }
    assert_eq!(proposals(&ward.world).await.len(), 1);
    assert_eq!(ward.world.apply().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_keeps_changing_is_not_fought_over() {
    let Some((ward, lockstep)) = Ward::watched("heal").await else {
        return;
    };
    // Each time it is put back somebody raises it again, until nobody puts it back any more.
    let (runs, mut healed) = (ward.world.outcomes().await.len(), 0);
    for _ in 0..20 {
        ward.by_hand("UPDATE flags SET rollout = 60 + (SELECT count(*) FROM written) WHERE name = 'night_mode'")
            .await;
        let left = eventually("the row is put back or given up", async || {
            // Until the run has looked once more, it is not over.
            if ward.world.outcomes().await.len() > runs + healed {
                return Some(false);
            }
            let (standing, why) = ward.world.standing("ward").await;
            let words = "someone else keeps changing FeatureFlag/night_mode; not put back any more";
            (standing == "adrift" && why.contains(words)).then_some(true)
        })
        .await;
        if left {
            break;
        }
        assert_eq!(ward.rollout("night_mode").await, Some(20));
        healed += 1;
    }
    let healed = i64::try_from(healed).unwrap();
    assert!((4..15).contains(&healed), "put back {healed} times");
    assert_eq!(ward.count("SELECT count(*) FROM written").await, healed);
    assert_eq!(
        ward.rollout("night_mode").await,
        i32::try_from(60 + healed).ok()
    );

    let proposed = eventually("taking it over is proposed", async || {
        proposals(&ward.world).await.into_iter().next()
    })
    .await;
    let said = proposed["description"].as_str().unwrap();
    assert!(said.contains("It keeps being changed"), "{said}");
    ward.by_hand("UPDATE flags SET rollout = 88 WHERE name = 'night_mode'")
        .await;
    eventually("that is seen too", async || {
        let found = ward.world.entries("drift.found").await;
        let newest = found.last()?.body["changes"][0]["found"]["rollout"].as_u64()?;
        (newest == 88).then_some(())
    })
    .await;
    ends(lockstep).await;
    assert_eq!(ward.rollout("night_mode").await, Some(88));
    assert_eq!(ward.count("SELECT count(*) FROM written").await, healed);
    assert_eq!(proposals(&ward.world).await.len(), 1);
}
