//! Connectors to systems with interfaces of their own, through the built program and real servers.

use serde_json::Value;

use crate::world::World;

mod postgres;
mod redis;
mod scim;
mod unleash;

/// Puts a credential where the settings say that it is, for its owner alone.
pub(crate) fn secret(world: &World, name: &str, value: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = world.path(name);
    std::fs::write(&path, value).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The reasons that a system gave in the last run, a line each.
pub(crate) async fn refusal(world: &World, system: &str) -> String {
    let ended = world.entries("run.finished").await;
    let outcome = &ended.last().unwrap().body["outcome"];
    let reasons = outcome["systems"][system]["error"]["reasons"].as_array();
    let reasons = reasons.unwrap_or_else(|| panic!("no reasons in {outcome}"));
    let line = |text: &Value| text.as_str().unwrap().to_owned();
    let lines = reasons
        .iter()
        .map(|r| format!("{}: {}", line(&r["id"]), line(&r["message"])));
    lines.collect::<Vec<_>>().join("\n")
}
