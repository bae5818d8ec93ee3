//! Where the four systems are, as each of them says on its own side, and what must hold of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::ground::{Mixed, TURNS, staff};
use crate::crash::applied;

pub(super) const SYSTEMS: [&str; 4] = ["medical", "voicedrive", "auth", "flags"];

impl Mixed {
    /// At which merge each system is, read on its own side: medical from its interface, voicedrive by SQL, auth from the group's members, flags from
    /// Unleash's interface. What is at none fails the test.
    pub(super) async fn stands(&self) -> BTreeMap<&'static str, u32> {
        let at = [
            self.medical().await,
            self.voicedrive().await,
            self.in_auth().await,
            self.in_unleash().await,
        ];
        SYSTEMS.into_iter().zip(at).collect()
    }

    async fn medical(&self) -> u32 {
        let resources = self.world.system("medical").resources().await;
        let at = merge_of(&resources["FeatureFlag/ai_assistant"]["rollout"]);
        let grants = resources.keys();
        let grants = grants.filter_map(|id| id.strip_prefix("AccessGrant/admin/"));
        let mut grants: Vec<&str> = grants.collect();
        grants.sort_unstable();
        assert_eq!(grants, ["sato", &staff(at % TURNS)], "at {at}");
        at
    }

    async fn voicedrive(&self) -> u32 {
        let mut on = self.database().await;
        let query = sqlx::query_scalar("SELECT rollout FROM flags WHERE name = 'ai_assistant'");
        let rollout: i32 = query.fetch_one(&mut on).await.unwrap();
        on.close().await.unwrap();
        merge_of(&json!(rollout))
    }

    async fn in_auth(&self) -> u32 {
        let mut members = self.scim.members("Administrators").await.unwrap();
        members.sort();
        let with = |turn: u32| {
            let mut both = vec![
                self.users[TURNS as usize].clone(),
                self.users[turn as usize].clone(),
            ];
            both.sort();
            both
        };
        let newest = self.merged;
        let mut near = (newest.saturating_sub(TURNS - 1)..=newest).rev();
        let at = near.find(|n| with(n % TURNS) == members);
        at.unwrap_or_else(|| panic!("the admins are a mixture: {members:?} of {:?}", self.users))
    }

    async fn in_unleash(&self) -> u32 {
        let path = "/projects/default/features/ai_assistant/environments/development/strategies";
        let strategies = self.unleash.get(path).await;
        assert_eq!(strategies.as_array().unwrap().len(), 1, "{strategies}");
        let rollout = strategies[0]["parameters"]["rollout"].as_str().unwrap();
        merge_of(&json!(rollout.parse::<u32>().unwrap()))
    }

    pub(super) async fn all_at(&self, merge: u32, when: &str) {
        let all = SYSTEMS.map(|system| (system, merge));
        assert_eq!(self.stands().await, BTreeMap::from(all), "{when}");
    }

    /// The statuses of a commit: the whole, and each system.
    pub(super) fn states(&self, revision: &str) -> Vec<String> {
        let statuses = self.world.statuses(revision);
        let contexts = SYSTEMS.map(|system| format!("lockstep/apply/{system}"));
        let all = ["lockstep/apply".to_owned()].into_iter().chain(contexts);
        all.map(|context| {
            statuses
                .get(&context)
                .map_or("none".to_owned(), |s| s.0.clone())
        })
        .collect()
    }

    /// A pass, after which the newest merge is everywhere and said to be, and one more that finds nothing to do.
    pub(super) async fn comes_in_step(&self, revision: &str, when: &str) {
        let ended = self.world.apply().await;
        assert_eq!(ended.code, Some(0), "{when}: {ended:?}");
        self.is_in_step(revision, when).await;
    }

    pub(super) async fn is_in_step(&self, revision: &str, when: &str) {
        self.all_at(self.merged, when).await;
        assert_eq!(self.states(revision), ["success"; 5], "{when}");
        let again = self.world.apply().await;
        assert!(again.out.contains("already in step"), "{when}: {again:?}");
    }

    /// What must hold of the whole record when all is done: every merge reached every system once, counted by the systems themselves.
    pub(super) async fn nothing_was_done_twice(&mut self) {
        let merges = self.merged as usize;
        self.world.ok(&["audit", "verify"]).await;
        let applied = applied(&self.world).await;
        assert_eq!(applied.len(), merges + 1, "{applied:#?}");
        assert!(applied.values().all(|s| s.len() == 4), "{applied:#?}");

        let audit = self.world.system("medical").changes().await;
        let changes = audit.iter().filter(|e| e["name"] == "ai_assistant");
        assert_eq!(changes.count(), merges + 1, "{audit:#?}");
        let mut on = self.database().await;
        let query = sqlx::query_scalar("SELECT rollout FROM seen ORDER BY rollout");
        let seen: Vec<i32> = query.fetch_all(&mut on).await.unwrap();
        let wanted: Vec<i32> = (10..).take(merges + 1).collect();
        assert_eq!(seen, wanted, "voicedrive");
        let left: i64 = sqlx::query_scalar("SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) + (SELECT count(*) FROM lockstep.staged)")
            .fetch_one(&mut on)
            .await
            .unwrap();
        on.close().await.unwrap();
        assert_eq!(left, 0, "voicedrive still has something staged");
        // The provider counts nothing; what came through to it and was done is known on the way.
        let requests = self.auth.log();
        let done = requests
            .iter()
            .filter(|s| s.what.starts_with("PATCH ") && s.status.is_some_and(|n| n < 300));
        assert_eq!(done.count(), merges, "auth: {requests:#?}");
        let events = self.unleash.get("/search/events?limit=1000").await;
        let events = events["events"].as_array().unwrap();
        let changes = events.iter().filter(|e| {
            e["id"].as_u64() > Some(self.began)
                && e["type"] == "feature-strategy-update"
                && e["featureName"] == "ai_assistant"
        });
        assert_eq!(changes.count(), merges, "{events:#?}");
        assert_eq!(self.world.staged().await, 0, "medical");
    }
}

fn merge_of(rollout: &Value) -> u32 {
    u32::try_from(rollout.as_u64().unwrap()).unwrap() - 10
}
