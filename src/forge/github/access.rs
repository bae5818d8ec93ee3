//! What the token may do, asked once at the start, so that a missing permission is named before it is needed.

use super::api::Api;
use super::wire;
use crate::forge::ForgeError;

/// What an App needs, and what for. `docs/github.md` says the same.
const NEEDED: &[(&str, &str, &str)] = &[
    ("metadata", "read", "to see the repository"),
    (
        "contents",
        "write",
        "to read the config repo, push proposals and merge them",
    ),
    (
        "pull_requests",
        "write",
        "to open, judge and comment on proposals",
    ),
    ("statuses", "write", "to show what became of a commit"),
    (
        "issues",
        "write",
        "to read commands in comments and set labels",
    ),
    ("checks", "write", "to show findings at their lines"),
];

pub(super) async fn check(api: &Api) -> Result<(), ForgeError> {
    api.me().await?;
    if api.is_app() {
        let installation = api.installation().await?;
        let missing: Vec<String> = NEEDED
            .iter()
            .filter(|(name, level, _)| {
                !enough(
                    installation.permissions.get(*name).map(String::as_str),
                    level,
                )
            })
            .map(|(name, level, why)| format!("{name}: {level} ({why})"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        return Err(ForgeError::Refused(format!(
            "the GitHub App's installation on {} lacks {}; grant it in the App's settings and accept it for the organization",
            api.repository(),
            missing.join(", ")
        )));
    }
    let repository: wire::Repository = api.get(&api.of("")).await?;
    // An answer without permissions says nothing about them.
    if repository.permissions.get("push").copied().unwrap_or(true) {
        return Ok(());
    }
    Err(ForgeError::Refused(format!(
        "the token under [github] may only read {}: it lacks contents: write, pull_requests: write and statuses: write \
         (a classic token: the scope repo)",
        api.repository()
    )))
}

fn enough(has: Option<&str>, needed: &str) -> bool {
    matches!(
        (has, needed),
        (Some("admin" | "write"), _) | (Some("read"), "read")
    )
}
