//! Who asks, what they may, and how often: tokens, permissions and the hourly limit, as GitHub has them.

use axum::http::Method;
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::{Shared, Token};

const EVERY_HOUR: i64 = 3600;

#[expect(
    clippy::disallowed_methods,
    reason = "GitHub's clock is its own, not that of what is tested"
)]
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// GitHub's clock as a header says it, wrong by so many seconds.
pub(super) fn http_date(wrong_by: i64) -> String {
    let then = now() + jiff::SignedDuration::from_secs(wrong_by);
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// GitHub's clock as its answers say it.
pub(super) fn timestamp() -> String {
    now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a path says about itself: whose token this is.
pub(super) fn login_of(shared: &Shared, ask: &Ask) -> Option<String> {
    let token = ask.token.as_ref()?;
    if is_jwt(token) {
        return Some("lockstep".to_owned());
    }
    let state = shared.state();
    state.tokens.get(token).map(|known| known.login.clone())
}

fn is_jwt(token: &str) -> bool {
    token.starts_with("ey") && token.matches('.').count() == 2
}

/// Refuses whom GitHub does not know.
pub(super) fn known(shared: &Shared, ask: &Ask) -> Result<(), Answer> {
    let Some(token) = &ask.token else {
        return Err(Answer::refused(401, "Requires authentication"));
    };
    if is_jwt(token) {
        let is_apps = ask.path.starts_with("/app") || ask.path.ends_with("/installation");
        return if is_apps {
            Ok(())
        } else {
            Err(Answer::refused(401, "Bad credentials"))
        };
    }
    if shared.state().tokens.contains_key(token) {
        Ok(())
    } else {
        Err(Answer::refused(401, "Bad credentials"))
    }
}

/// Refuses who has nothing left in this hour.
pub(super) fn within(shared: &Shared, ask: &Ask) -> Result<(), Answer> {
    let state = shared.state();
    let token = ask.token.as_ref().and_then(|token| state.tokens.get(token));
    if ask.path != "/rate_limit" && token.is_some_and(|t| t.used >= t.limit) {
        return Err(exhausted(EVERY_HOUR));
    }
    Ok(())
}

/// The refusal of who has nothing left, until so many seconds from now.
pub(super) fn exhausted(reset: i64) -> Answer {
    let message = "API rate limit exceeded for user ID 1. If you reach out to GitHub Support for help, please include the request ID.";
    Answer::refused(403, message)
        .with("x-ratelimit-limit", "5000")
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-used", "5000")
        .with("x-ratelimit-resource", "core")
        .with("x-ratelimit-reset", (now().as_second() + reset).to_string())
}

/// Counts a request, and says on its answer how many are left. What has not changed costs nothing.
pub(super) fn counted(shared: &Shared, ask: &Ask, answer: Answer) -> Answer {
    let needed = needed(ask);
    let mut state = shared.state();
    let token = ask
        .token
        .as_ref()
        .and_then(|token| state.tokens.get_mut(token));
    let mut answer = answer;
    if let Some(token) = token {
        if answer.status != 304 && ask.path != "/rate_limit" {
            token.used = (token.used + 1).min(token.limit);
        }
        if answer.header("x-ratelimit-limit").is_none() {
            let reset = (now().as_second() / EVERY_HOUR + 1) * EVERY_HOUR;
            answer = answer
                .with("x-ratelimit-limit", token.limit.to_string())
                .with(
                    "x-ratelimit-remaining",
                    (token.limit - token.used).to_string(),
                )
                .with("x-ratelimit-used", token.used.to_string())
                .with("x-ratelimit-resource", "core")
                .with("x-ratelimit-reset", reset.to_string());
        }
        if let Some(scopes) = &token.scopes {
            answer = answer
                .with("x-oauth-scopes", scopes.join(", "))
                .with("x-accepted-oauth-scopes", "repo");
        }
    }
    let accepted: Vec<String> = needed
        .iter()
        .map(|(name, level)| format!("{name}={level}"))
        .collect();
    answer
        .with("x-accepted-github-permissions", accepted.join("; "))
        .with(
            "x-github-request-id",
            uuid::Uuid::new_v4().simple().to_string(),
        )
        .with("x-github-media-type", "github.v3; format=json")
}

pub(super) fn shown(shared: &Shared, ask: &Ask) -> Answer {
    let state = shared.state();
    let token = ask.token.as_ref().and_then(|token| state.tokens.get(token));
    let (limit, used) = token.map_or((5000, 0), |t| (t.limit, t.used));
    let reset = (now().as_second() / EVERY_HOUR + 1) * EVERY_HOUR;
    let core = json!({"limit": limit, "used": used, "remaining": limit - used, "reset": reset});
    Answer::json(
        200,
        &json!({"resources": {"core": core, "search": core}, "rate": core}),
    )
}

/// Somebody's role in a repository.
pub(super) fn role_in(shared: &Shared, repository: &str, login: &str) -> &'static str {
    if repository.starts_with("acme/") {
        role(shared, login)
    } else if repository.starts_with(&format!("{login}/")) {
        "admin"
    } else {
        "read"
    }
}

/// Somebody's role in the organisation's repository.
pub(super) fn role(shared: &Shared, login: &str) -> &'static str {
    shared.state().roles.get(login).copied().unwrap_or("read")
}

/// A role as repositories show it.
pub(super) fn as_permissions(role: &str) -> Value {
    let (is_admin, may_write) = (role == "admin", role != "read");
    json!({"admin": is_admin, "maintain": is_admin, "push": may_write, "triage": may_write, "pull": true})
}

/// Refuses what the token, or its owner, may not.
pub(super) fn permitted(shared: &Shared, ask: &Ask) -> Result<(), Answer> {
    let needed = needed(ask);
    let state = shared.state();
    let token = ask.token.as_ref().and_then(|token| state.tokens.get(token));
    let Some(token) = token else { return Ok(()) };
    let withheld = state.withheld.get(&token.login);
    let is_granted = |(name, level): &(&str, &str)| {
        let is_withheld = withheld.is_some_and(|all| {
            all.iter()
                .any(|one| one == name || *one == format!("{name}={level}"))
        });
        let is_given = token.granted.as_ref().is_none_or(|granted| {
            granted
                .get(*name)
                .is_some_and(|has| has == level || has == "write")
        });
        is_given && !is_withheld
    };
    if !needed.is_empty() && !needed.iter().any(is_granted) {
        let who = if token.granted.is_some() {
            "integration"
        } else {
            "personal access token"
        };
        return Err(Answer::refused(
            403,
            &format!("Resource not accessible by {who}"),
        ));
    }
    if let Some(scopes) = &token.scopes
        && !ask.is_read()
        && !scopes.iter().any(|scope| scope == "repo")
    {
        return Err(Answer::refused(404, "Not Found"));
    }
    let login = token.login.clone();
    let is_app = token.granted.is_some();
    drop(state);
    if is_app {
        Ok(())
    } else {
        by_role(shared, ask, &login)
    }
}

fn by_role(shared: &Shared, ask: &Ask, login: &str) -> Result<(), Answer> {
    let parts = ask.parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["repos", owner, name, rest @ ..] = parts.as_slice() else {
        return Ok(());
    };
    if ask.is_read() {
        return Ok(());
    }
    let role = role_in(shared, &format!("{owner}/{name}"), login);
    let needs = match rest {
        [] | ["hooks" | "collaborators" | "rulesets", ..] | ["branches", .., "protection"] => {
            "admin"
        }
        ["forks"] | ["pulls"] | ["pulls", _] | ["pulls", _, "reviews" | "comments", ..] => "read",
        ["issues"] | ["issues", "comments", _] | ["issues", _, "comments"] => "read",
        _ => "write",
    };
    let is_enough = needs == "read" || role == "admin" || role == needs;
    if ask.method != Method::GET && matches!(rest, ["check-runs", ..]) {
        return Err(Answer::refused(
            403,
            "You must authenticate via a GitHub App.",
        ));
    }
    if is_enough {
        Ok(())
    } else if needs == "admin" {
        Err(Answer::refused(
            403,
            "Must have admin rights to Repository.",
        ))
    } else {
        Err(Answer::refused(
            403,
            "Resource not accessible by personal access token",
        ))
    }
}

/// The permissions of which one is needed, as GitHub's pages list them.
fn needed(ask: &Ask) -> Vec<(&'static str, &'static str)> {
    let parts = ask.parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["repos", _, _, rest @ ..] = parts.as_slice() else {
        return Vec::new();
    };
    let level = if ask.is_read() { "read" } else { "write" };
    let names: &[&str] = match rest {
        ["installation"] => return Vec::new(),
        ["statuses", ..] | ["commits", .., "status" | "statuses"] => &["statuses"],
        ["check-runs" | "check-suites", ..] | ["commits", .., "check-runs" | "check-suites"] => {
            &["checks"]
        }
        ["commits", _, "pulls"] => &["pull_requests"],
        ["pulls", _, "merge"] if !ask.is_read() => &["contents"],
        ["pulls", ..] => &["pull_requests"],
        ["issues" | "labels", ..] => &["issues", "pull_requests"],
        ["hooks", ..] => &["repository_hooks"],
        ["branches", .., "protection"] => &["administration"],
        [
            "git" | "contents" | "branches" | "commits" | "compare" | "merges",
            ..,
        ] => &["contents"],
        ["collaborators" | "rulesets", ..] | [] if !ask.is_read() => &["administration"],
        _ => &["metadata"],
    };
    let level = if names == ["metadata"] { "read" } else { level };
    names.iter().map(|name| (*name, level)).collect()
}

impl Shared {
    /// Whether a token may write to a repository by git.
    pub(super) fn may_push(&self, repository: &str, token: &Token) -> bool {
        let withheld = self
            .state()
            .withheld
            .get(&token.login)
            .cloned()
            .unwrap_or_default();
        if withheld
            .iter()
            .any(|one| one == "contents" || one == "contents=write")
        {
            return false;
        }
        match &token.granted {
            Some(granted) => {
                repository.starts_with("acme/")
                    && granted.get("contents").is_some_and(|has| has == "write")
            }
            None => role_in(self, repository, &token.login) != "read",
        }
    }
}
