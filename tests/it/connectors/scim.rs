//! Access grants in an identity provider, moving in step with a system of another sort.

use reqwest::Method;
use serde_json::{Value, json};

use crate::connectors::{refusal, secret};
use crate::world::scim::{Scim, Sort, TOKEN, store};
use crate::world::{SETTINGS, World};

/// A world whose group is medical and an identity provider; `None` where that is not installed.
async fn world(sort: Sort) -> Option<(World, Scim)> {
    let scim = store(sort).await?;
    let world = World::with("").await;
    let config = world.config("");
    let system = format!(
        "  auth:\n    connector: scim\n    url: {}\n    credential: auth\n    groups: {{admin: Administrators}}\n    kinds: [AccessGrant]\ngroups:\n",
        scim.url
    );
    let config = config
        .replace("groups:\n  hospital", "GROUPS  hospital")
        .replace("GROUPS", &system)
        .replace(
            "systems: [medical, voicedrive]",
            "systems: [medical, voicedrive, auth]",
        );
    world.write("lockstep.yaml", &config);
    world.settings(&SETTINGS);
    let host = scim
        .url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap();
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    let credential = format!("[credentials.auth]\ntoken_file = \"auth\"\nhosts = [\"{host}\"]\n");
    std::fs::write(world.path("lockstep.toml"), settings + &credential).unwrap();
    secret(&world, "auth", TOKEN);
    Some((world, scim))
}

fn grant(world: &World, admins: &[&str], readers: &[&str]) -> String {
    let document = json!({"admin_users": admins, "readonly_users": readers, "blocked_ips": []});
    world.write("config/access-control.json", &document.to_string());
    world.commit("access")
}

async fn in_step(world: &World) {
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

async fn is_active(scim: &Scim, id: &str) -> Value {
    scim.call(Method::GET, &format!("/Users/{id}"), None).await["active"].clone()
}

async fn grants_are_memberships(sort: Sort) {
    let Some((world, scim)) = world(sort).await else {
        return;
    };
    let sato = scim.user("sato", Some("staff-1"), true).await;
    let suzuki = scim.user("Suzuki", None, false).await;
    let kimura = scim.user("kimura", None, true).await;
    let theirs = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "theirs", "members": [{"value": kimura}],
    });
    scim.call(Method::POST, "/Groups", Some(theirs)).await;
    grant(&world, &["staff-1", "suzuki"], &["kimura"]);
    in_step(&world).await;
    let mut admins = scim.members("Administrators").await.unwrap();
    let mut wanted = vec![sato.clone(), suzuki.clone()];
    admins.sort();
    wanted.sort();
    assert_eq!(admins, wanted);
    assert_eq!(scim.members("readonly").await.unwrap(), [kimura.as_str()]);
    assert_eq!(
        is_active(&scim, &suzuki).await,
        true,
        "who is granted something can use it"
    );
    in_step(&world).await;
    assert_eq!(world.outcomes().await, ["applied"]);

    // Taken away by hand: put back. Revoked: gone from the group, and still a user.
    let all = scim.call(Method::GET, "/Groups", None).await;
    let of_admins = all["Resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["displayName"] == "Administrators")
        .unwrap();
    let path = format!("/Groups/{}", of_admins["id"].as_str().unwrap());
    let remove = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": format!("members[value eq \"{sato}\"]")}],
    });
    scim.call(Method::PATCH, &path, Some(remove)).await;
    in_step(&world).await;
    assert_eq!(scim.members("Administrators").await.unwrap().len(), 2);
    assert_eq!(world.entries("drift.found").await.len(), 1);
    grant(&world, &["staff-1"], &["kimura"]);
    in_step(&world).await;
    assert_eq!(
        scim.members("Administrators").await.unwrap(),
        [sato.as_str()]
    );
    assert_eq!(is_active(&scim, &suzuki).await, true);
    assert_eq!(scim.members("theirs").await.unwrap(), [kimura.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_memberships_where_versions_are_kept() {
    grants_are_memberships(Sort::Versioned).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_memberships_where_no_versions_are_kept() {
    grants_are_memberships(Sort::Unversioned).await;
}

/// Whatever is done about what somebody else changes: nobody has changed this.
async fn a_grant_waits_for_its_user(drift: &str) {
    let Some((world, scim)) = world(Sort::Versioned).await else {
        return;
    };
    let config = std::fs::read_to_string(world.path("work/lockstep.yaml")).unwrap();
    let auth = "    credential: auth\n";
    let config = config.replace(auth, &format!("{auth}    drift: {drift}\n"));
    world.write("lockstep.yaml", &config);
    let sato = scim.user("sato", None, true).await;
    let kimura = scim.user("kimura", None, true).await;
    let revision = grant(&world, &["sato", "nobody"], &["kimura"]);
    for _ in 0..3 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let part = "AccessGrant/admin/nobody: no user has the externalId or userName";
        let (standing, why) = world.standing("auth").await;
        assert_eq!(standing, "adrift");
        assert!(why.contains(part), "{why}");
        let members = scim.members("Administrators").await.unwrap();
        assert_eq!(members, [sato.as_str()]);
        let members = scim.members("readonly").await.unwrap();
        assert_eq!(members, [kimura.as_str()]);
        let statuses = world.statuses(&revision);
        let (state, said) = &statuses["lockstep/apply/auth"];
        assert_eq!(state, "failure", "{said}");
        assert!(said.contains("left out"), "{said}");
        assert_eq!(statuses["lockstep/apply/medical"].0, "success");
    }
    assert!(world.outcomes().await.contains(&"applied".to_owned()));
    let left_out = world.entries("rows.quarantined").await;
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert_eq!(
        left_out[0].body["rows"][0]["id"],
        "AccessGrant/admin/nobody"
    );

    let nobody = scim.user("nobody", None, true).await;
    in_step(&world).await;
    let members = scim.members("Administrators").await.unwrap();
    assert!(members.contains(&nobody), "{members:?}");
    assert!(world.entries("drift.found").await.is_empty());
    assert_eq!(
        world.statuses(&revision)["lockstep/apply/auth"].0,
        "success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_a_user_who_is_not_there_waits_and_the_rest_goes_on() {
    a_grant_waits_for_its_user("heal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_waited_is_not_taken_for_somebody_else_s_change() {
    a_grant_waits_for_its_user("report").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_switched_off_there_and_lost_what_was_granted_is_not_let_in_again() {
    let Some((world, scim)) = world(Sort::Versioned).await else {
        return;
    };
    let sato = scim.user("sato", None, true).await;
    let kimura = scim.user("kimura", None, true).await;
    grant(&world, &["sato", "kimura"], &[]);
    in_step(&world).await;
    // As whoever leaves is taken out by those who keep the directory.
    let off = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "active", "value": false}],
    });
    scim.call(Method::PATCH, &format!("/Users/{kimura}"), Some(off))
        .await;
    let all = scim.call(Method::GET, "/Groups?count=100", None).await;
    let mut all = all["Resources"].as_array().unwrap().iter();
    let group = all.find(|g| g["displayName"] == "Administrators").unwrap();
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let remove = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": format!("members[value eq \"{kimura}\"]")}],
    });
    scim.call(Method::PATCH, &path, Some(remove)).await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (_, why) = world.standing("auth").await;
    assert!(why.contains("\"kimura\" is switched off there"), "{why}");
    assert_eq!(is_active(&scim, &kimura).await, false);
    assert_eq!(
        scim.members("Administrators").await.unwrap(),
        [sato.as_str()]
    );
    grant(&world, &["sato"], &[]);
    in_step(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_others_is_refused_with_its_reason() {
    let Some((world, scim)) = world(Sort::Versioned).await else {
        return;
    };
    let sato = scim.user("sato", None, true).await;
    scim.user("kimura", None, true).await;
    let theirs = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "readonly", "externalId": "hr", "members": [{"value": sato}],
    });
    scim.call(Method::POST, "/Groups", Some(theirs)).await;
    grant(&world, &["sato"], &["kimura"]);
    let ended = world.apply().await;
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let why = refusal(&world, "auth").await;
    let part = "the group \"readonly\" has the externalId \"hr\", so it is somebody else's";
    assert!(why.contains(part), "{why}");
    assert_eq!(scim.members("Administrators").await, None);
    assert_eq!(scim.members("readonly").await.unwrap(), [sato.as_str()]);
}
