//! A cache of flags in one lockstep group with a system over HTTP.

use serde_json::Value;

use crate::world::proxy::Side;
use crate::world::redis::Redis;
use crate::world::{FLAGS, Layout, SETTINGS, World, eventually};

struct Cache {
    world: World,
    server: Redis,
}

impl Cache {
    async fn in_step() -> Option<Self> {
        let server = Redis::start()?;
        let world = World::bare(Layout {
            systems: &["medical".to_owned()],
            groups: "  hospital: {systems: [medical, voicedrive], consistency: lockstep, urgent: []}\n",
            store: "store.db",
        })
        .await;
        let system = format!(
            "  voicedrive:\n    connector: redis\n    url: {}\n    prefix: \"flags:\"\n    kinds: [FeatureFlag]\ngroups:\n",
            server.url()
        );
        let config = world.config("").replacen("groups:\n", &system, 1);
        world.write("lockstep.yaml", &config);
        world.write("config/feature-flags.json", FLAGS);
        world.commit("start");
        world.settings(&SETTINGS);
        world.ok(&["apply"]).await;
        world.forget_requests();
        Some(Self { world, server })
    }

    /// A flag as a program reads it.
    fn flag(&self, name: &str) -> Option<Value> {
        let key = format!("flags:resource:FeatureFlag/{name}");
        let answer = self.server.say(&["HGET", &key, "spec"]).unwrap();
        serde_json::from_str(answer.lines().nth(1)?).ok()
    }

    fn rollout(&self) -> Option<u64> {
        self.flag("ai_assistant")?["rollout"].as_u64()
    }

    async fn medical(&self) -> Option<u64> {
        self.world.rollouts().await[0]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_follow_the_documents_and_an_edit_is_put_back() {
    let Some(cache) = Cache::in_step().await else {
        return;
    };
    assert_eq!(cache.rollout(), Some(10));
    assert!(cache.flag("voice_memo").is_some());
    assert_eq!(cache.flag("shift_swap"), None);
    cache.world.set_rollout(25);
    cache.world.commit("raise the rollout");
    cache.world.ok(&["apply"]).await;
    assert_eq!(
        (cache.rollout(), cache.medical().await),
        (Some(25), Some(25))
    );

    // Past the digest key, which goes on saying what it said.
    let key = "flags:resource:FeatureFlag/ai_assistant";
    let edited = cache.flag("ai_assistant").map(|mut spec| {
        spec["rollout"] = 77.into();
        spec.to_string()
    });
    cache
        .server
        .say(&["HSET", key, "spec", &edited.unwrap()])
        .unwrap();
    assert_eq!(cache.rollout(), Some(77));
    cache.world.ok(&["apply"]).await;
    assert_eq!(cache.rollout(), Some(25));
    let found = cache.world.entries("drift.found").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body["changes"][0]["found"]["rollout"], 77);
    let again = cache.world.apply().await;
    assert!(again.out.contains("already in step"), "{again:?}");

    // A hash that is gone is nobody's wish: it is said, and nothing is done on it.
    cache.server.say(&["DEL", key]).unwrap();
    let ended = cache.world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (standing, why) = cache.world.standing("voicedrive").await;
    assert!(
        why.contains("there is no hash flags:resource:FeatureFlag/ai_assistant"),
        "{standing}: {why}"
    );
    assert_eq!(cache.flag("ai_assistant"), None);
}

/// Killed, itself and the server, around the commit of the other system.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_prepare_and_commit_both_systems_end_in_step() {
    let Some(mut cache) = Cache::in_step().await else {
        return;
    };
    let mut rollout = 10;
    // Medical is asked for its digests, its items, to prepare, and to commit: then the cache has prepared.
    for (nth, side) in [(3, Side::After), (4, Side::Before), (4, Side::After)] {
        rollout += 1;
        cache.world.set_rollout(rollout);
        cache.world.commit(&format!("rollout {rollout}"));
        let proxy = &cache.world.system("medical").proxy;
        proxy.hold(nth, side);
        let mut lockstep = cache.world.start(&["run"], "run.log");
        proxy.stopped().await;
        lockstep.kill();
        proxy.release();
        cache.server.crash();
        let ended = cache.world.apply().await;
        assert_eq!(ended.code, Some(0), "{nth} {side:?}: {ended:?}");
        let expected = Some(u64::from(rollout));
        assert_eq!(
            (cache.rollout(), cache.medical().await),
            (expected, expected)
        );
        let again = cache.world.apply().await;
        assert!(again.out.contains("already in step"), "{again:?}");
    }
    let left = cache.server.say(&["KEYS", "flags:staged:*"]).unwrap();
    assert_eq!(left, "*0\r\n");
    cache.world.ok(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_followed_again() {
    let Some(mut cache) = Cache::in_step().await else {
        return;
    };
    let mut lockstep = cache.world.start(&["run"], "run.log");
    for rollout in [20, 30] {
        cache.world.set_rollout(rollout);
        cache.world.commit(&format!("rollout {rollout}"));
        cache.server.crash();
        eventually("both systems have it", async || {
            let both = (cache.rollout(), cache.medical().await);
            let expected = Some(u64::from(rollout));
            (both == (expected, expected)).then_some(())
        })
        .await;
    }
    lockstep.terminate();
    assert_eq!(lockstep.ended().await.code(), Some(0));
}
