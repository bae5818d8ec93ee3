//! Flags in Unleash, moving in step with a system of another sort.

use reqwest::Method;
use serde_json::{Value, json};

use crate::adopt::{flags_of, merge, proposals};
use crate::connectors::{refusal, secret};
use crate::world::unleash::{TOKEN, Unleash, take};
use crate::world::{SETTINGS, World, postgres};

/// Flags come and go here without anybody's release.
const ANY_DELETE: &str = "safety:\n  default: {deletes: {percent: 100, count: 100}, updates: {percent: 100}, window: 24h, small: 0}\n";

/// A world whose group is medical and a project of Unleash; `None` where that is not installed.
async fn world() -> Option<(World, Unleash)> {
    let unleash = take(postgres::database).await?;
    let world = World::with("").await;
    let config = world.config(ANY_DELETE);
    let system = format!(
        "  flags:\n    connector: unleash\n    url: {}\n    environment: development\n    credential: unleash\n    kinds: [FeatureFlag]\ngroups:\n",
        unleash.url
    );
    let config = config.replace("groups:\n", &system).replace(
        "systems: [medical, voicedrive]",
        "systems: [medical, voicedrive, flags]",
    );
    world.write("lockstep.yaml", &config);
    world.settings(&SETTINGS);
    let host = unleash.url.trim_start_matches("http://");
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    let credential =
        format!("[credentials.unleash]\ntoken_file = \"unleash\"\nhosts = [\"{host}\"]\n");
    std::fs::write(world.path("lockstep.toml"), settings + &credential).unwrap();
    secret(&world, "unleash", TOKEN);
    Some((world, unleash))
}

/// Writes the flags that both systems have, and commits them.
fn set(world: &World, flags: &[(&str, Value)]) -> String {
    let mut document = serde_json::Map::new();
    for (name, spec) in flags {
        let mut flag =
            json!({"teams": ["medical", "flags"], "owner": "sato", "expires": "2027-12-31"});
        let fields = spec.as_object().unwrap().clone();
        flag.as_object_mut().unwrap().extend(fields);
        document.insert((*name).to_owned(), flag);
    }
    world.write(
        "config/feature-flags.json",
        &Value::Object(document).to_string(),
    );
    world.commit("flags")
}

async fn on_medical(world: &World, name: &str) -> Value {
    let resources = world.system("medical").resources().await;
    resources
        .get(&format!("FeatureFlag/{name}"))
        .cloned()
        .unwrap_or_default()
}

async fn in_step(world: &World) {
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_reaches_the_users_of_unleash_in_step_with_the_others() {
    let Some((world, unleash)) = world().await else {
        return;
    };
    let theirs = json!({"name": "theirs", "type": "release", "description": "by hand"});
    unleash.post("/projects/default/features", theirs).await;
    set(
        &world,
        &[
            ("ai_assistant", json!({"enabled": true, "rollout": 100})),
            ("night_mode", json!({"enabled": false, "rollout": 100})),
            (
                "button",
                json!({"enabled": true, "variants": {"red": "#f00", "blue": "#00f"}, "default_variant": "blue"}),
            ),
            (
                "ward_only",
                json!({"enabled": true, "variants": {"on": true, "off": false}, "default_variant": "off",
            "targeting": {"if": [{"in": [{"var": "targetingKey"}, ["u1", "u2"]]}, "on", "off"]}}),
            ),
        ],
    );
    in_step(&world).await;
    unleash
        .user_sees("ai_assistant", "u1", true, Value::Null)
        .await;
    unleash
        .user_sees("night_mode", "u1", false, Value::Null)
        .await;
    unleash.user_sees("button", "u1", true, json!("#00f")).await;
    unleash
        .user_sees("ward_only", "u2", true, Value::Null)
        .await;
    unleash
        .user_sees("ward_only", "u3", false, Value::Null)
        .await;
    assert_eq!(on_medical(&world, "ai_assistant").await["rollout"], 100);
    // Owner and expiry, of which Unleash knows nothing, are no difference; nor is what was there before.
    in_step(&world).await;
    assert_eq!(world.outcomes().await, ["applied"]);
    assert_eq!(world.standing("flags").await.0, "in_step");
    let plan = world.ok(&["plan", "--live", "--format", "json"]).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["systems"]["flags"]["creates"], 0, "{plan}");
    let theirs = unleash.get("/projects/default/features/theirs").await;
    assert_eq!(theirs["description"], "by hand");

    // Lowered: nobody has it any more. Gone from the repo: archived, and revived when it comes back.
    set(
        &world,
        &[("ai_assistant", json!({"enabled": true, "rollout": 0}))],
    );
    in_step(&world).await;
    unleash
        .user_sees("ai_assistant", "u1", false, Value::Null)
        .await;
    unleash.user_sees("button", "u1", false, Value::Null).await;
    set(
        &world,
        &[
            ("ai_assistant", json!({"enabled": true, "rollout": 0})),
            ("button", json!({"enabled": true, "rollout": 100})),
        ],
    );
    in_step(&world).await;
    unleash.user_sees("button", "u1", true, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_unleash_by_hand_is_put_back() {
    let Some((world, unleash)) = world().await else {
        return;
    };
    set(
        &world,
        &[("ai_assistant", json!({"enabled": true, "rollout": 0}))],
    );
    in_step(&world).await;
    let feature = "/projects/default/features/ai_assistant";
    let place = format!("{feature}/environments/development");
    let strategies = unleash.get(&format!("{place}/strategies")).await;
    let id = strategies[0]["id"].as_str().unwrap();
    // The last strategy is gone, with which Unleash switches the flag off; switched on again, everybody has it.
    let gone = format!("{place}/strategies/{id}");
    unleash.call(Method::DELETE, &gone, None).await;
    unleash.post(&format!("{place}/on"), json!({})).await;
    unleash
        .user_sees("ai_assistant", "u1", true, Value::Null)
        .await;
    in_step(&world).await;
    unleash
        .user_sees("ai_assistant", "u1", false, Value::Null)
        .await;
    let now = unleash.get(&format!("{place}/strategies")).await;
    assert_eq!(now.as_array().unwrap().len(), 1, "{now}");
    assert_eq!(now[0]["parameters"]["rollout"], "0");
    assert_eq!(world.entries("drift.found").await.len(), 1);
    in_step(&world).await;
    assert_eq!(world.outcomes().await, ["applied", "applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_unleash_by_hand_is_proposed_where_that_is_said() {
    let Some((world, unleash)) = world().await else {
        return;
    };
    let config = std::fs::read_to_string(world.path("work/lockstep.yaml")).unwrap();
    let place = "    environment: development\n";
    let config = config.replace(place, &format!("{place}    drift: propose\n"));
    world.write("lockstep.yaml", &config);
    set(
        &world,
        &[("ai_assistant", json!({"enabled": true, "rollout": 10}))],
    );
    in_step(&world).await;
    let strategies = "/projects/default/features/ai_assistant/environments/development/strategies";
    let there = unleash.get(strategies).await[0].take();
    let path = format!("{strategies}/{}", there["id"].as_str().unwrap());
    let mut raised =
        json!({"name": there["name"], "constraints": [], "parameters": there["parameters"]});
    raised["parameters"]["rollout"] = json!("30");
    unleash.call(Method::PUT, &path, Some(raised)).await;
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(1));
        let now = unleash.get(strategies).await;
        assert_eq!(now[0]["parameters"]["rollout"], "30");
        assert_eq!(on_medical(&world, "ai_assistant").await["rollout"], 10);
    }
    let all = proposals(&world).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let flags: Value = serde_json::from_str(&flags_of(&world, &all[0])).unwrap();
    assert_eq!(flags["ai_assistant"]["rollout"], 30);
    // What Unleash has no place for is as it was.
    assert_eq!(flags["ai_assistant"]["owner"], "sato");

    merge(&world, "1").await;
    in_step(&world).await;
    assert_eq!(on_medical(&world, "ai_assistant").await["rollout"], 30);
    assert_eq!(world.standing("flags").await.0, "in_step");
    let now = unleash.get(strategies).await;
    assert_eq!(now[0]["parameters"]["rollout"], "30");
    in_step(&world).await;
    assert_eq!(proposals(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_unleash_cannot_have_keeps_all_where_they_are_and_names_the_field() {
    let Some((world, unleash)) = world().await else {
        return;
    };
    set(
        &world,
        &[("ai_assistant", json!({"enabled": true, "rollout": 10}))],
    );
    in_step(&world).await;
    let revision = set(
        &world,
        &[
            (
                "ai_assistant",
                json!({"enabled": true, "rollout": 20, "variants": {"a": 1, "b": 2}, "default_variant": "a",
                "targeting": {"sem_ver": [{"var": "version"}, ">=", "2.0.0"]}}),
            ),
            ("theirs", json!({"enabled": true, "rollout": 20})),
        ],
    );
    // Another repo's, under a name that this one wants too.
    let other = json!({"name": "theirs", "type": "release"});
    unleash.post("/projects/default/features", other).await;
    let tag = json!({"type": "lockstep", "value": "config repo of others"});
    unleash.post("/features/theirs/tags", tag).await;
    let ended = world.apply().await;
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let (state, why) = world.statuses(&revision)["lockstep/apply/flags"].clone();
    assert_eq!(state, "failure", "{why}");
    let refusal = refusal(&world, "flags").await;
    for part in [
        "FeatureFlag/ai_assistant: targeting: Unleash can't have `sem_ver`",
        "belongs to config repo of others",
    ] {
        assert!(refusal.contains(part), "no {part:?} in {refusal}");
    }
    assert_eq!(on_medical(&world, "ai_assistant").await["rollout"], 10);
    assert_eq!(on_medical(&world, "theirs").await, Value::Null);
    let kept =
        unleash.get("/projects/default/features/ai_assistant/environments/development/strategies");
    assert_eq!(kept.await[0]["parameters"]["rollout"], "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_made_in_unleash_is_lockstep_s_once_it_is_adopted_and_another_repo_s_is_not() {
    let Some((world, unleash)) = world().await else {
        return;
    };
    for name in ["by_hand", "of_others"] {
        let feature = json!({"name": name, "type": "release", "description": name});
        unleash.post("/projects/default/features", feature).await;
    }
    let assistant = ("ai_assistant", json!({"enabled": true, "rollout": 10}));
    set(&world, std::slice::from_ref(&assistant));
    in_step(&world).await;
    let tag = json!({"type": "lockstep", "value": "another-repo"});
    unleash.post("/features/of_others/tags", tag).await;
    let refused = world.run(&["adopt", "flags", "--only", "of_others"]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{why}");
    let part = "FeatureFlag/of_others on flags belongs to another-repo";
    assert!(why.contains(part), "{why}");
    assert!(proposals(&world).await.is_empty());

    world.ok(&["adopt", "flags", "--only", "by_hand"]).await;
    let all = proposals(&world).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let flags: Value = serde_json::from_str(&flags_of(&world, &all[0])).unwrap();
    assert_eq!(flags["by_hand"]["enabled"], false, "{flags}");
    merge(&world, "1").await;
    in_step(&world).await;
    let archived = "/search/features?project=IS:default&archived=IS:true";
    assert_eq!(unleash.get(archived).await["total"], 0);

    // What is taken out of the repo from then on is archived, as what Lockstep made; what is another's stays.
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    world.git_in("work", &["reset", "--quiet", "--hard", "origin/main"]);
    set(&world, std::slice::from_ref(&assistant));
    in_step(&world).await;
    let gone = unleash.get(archived).await;
    assert_eq!(gone["total"], 1, "{gone}");
    assert_eq!(gone["features"][0]["name"], "by_hand");
    let theirs = unleash.get("/projects/default/features/of_others").await;
    assert_eq!(theirs["archived"], false, "{theirs}");
}
