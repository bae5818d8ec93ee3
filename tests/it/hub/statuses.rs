//! Commit statuses with GitHub's limits, which the emulator does not have.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::front::{fill, joined, page, paged};
use super::{Shared, events, git, limits};

/// How many statuses one context may get on one commit.
const MOST: usize = 1000;
/// How many characters a description may have.
const LONGEST: usize = 140;

pub(super) fn answer(
    shared: &Shared,
    ask: &Ask,
    repository: &str,
    rest: &[&str],
) -> Option<Answer> {
    match rest {
        ["statuses", sha] if ask.method == Method::POST => Some(post(shared, ask, repository, sha)),
        ["commits", reference @ .., last @ ("status" | "statuses")]
            if ask.is_read() && !reference.is_empty() =>
        {
            let reference = joined(reference);
            let Some(sha) = git::resolve(&shared.bare(repository), &reference) else {
                return Some(Answer::refused(
                    422,
                    &format!("No commit found for SHA: {reference}"),
                ));
            };
            let all = newest_first(shared, repository, &sha);
            Some(if *last == "statuses" {
                paged(shared, ask, &all)
            } else {
                combined(shared, ask, repository, &sha, &all)
            })
        }
        _ => None,
    }
}

fn newest_first(shared: &Shared, repository: &str, sha: &str) -> Vec<Value> {
    let state = shared.state();
    let all = state.statuses.get(&format!("{repository}@{sha}"));
    all.into_iter().flatten().rev().cloned().collect()
}

/// A context's letters may be large or small.
fn context_of(status: &Value) -> String {
    status["context"]
        .as_str()
        .unwrap_or("default")
        .to_lowercase()
}

fn post(shared: &Shared, ask: &Ask, repository: &str, sha: &str) -> Answer {
    let asked = ask.json();
    if sha.len() != 40 || git::resolve(&shared.bare(repository), sha).is_none() {
        return Answer::refused(422, &format!("No commit found for SHA: {sha}"));
    }
    let description = asked["description"].as_str();
    if description.is_some_and(|text| text.chars().count() > LONGEST) {
        let message = format!("description is too long (maximum is {LONGEST} characters)");
        return Answer::invalid(
            &json!([{"resource": "Status", "code": "custom", "field": "description", "message": message}]),
        );
    }
    let context = asked["context"].as_str().unwrap_or("default");
    if context.chars().count() > 255 {
        return Answer::invalid(
            &json!([{"resource": "Status", "code": "custom", "field": "context", "message": "context is too long (maximum is 255 characters)"}]),
        );
    }
    let login = ask.login.clone().unwrap_or_default();
    let creator = shared.user(&login);
    let mut state = shared.state();
    state.next_id += 1;
    let id = state.next_id;
    let all = state
        .statuses
        .entry(format!("{repository}@{sha}"))
        .or_default();
    let so_far = all
        .iter()
        .filter(|one| context_of(one) == context.to_lowercase())
        .count();
    if so_far >= MOST {
        return Answer::invalid(
            &json!([{"resource": "Status", "code": "custom", "message": "This SHA and context has reached the maximum number of statuses."}]),
        );
    }
    let now = limits::timestamp();
    let status = json!({
        "url": format!("{}/repos/{repository}/statuses/{sha}", shared.base),
        "id": id, "node_id": format!("SC_{id}"), "state": asked["state"],
        "description": asked["description"], "target_url": asked["target_url"],
        "context": context, "created_at": now, "updated_at": now,
        "avatar_url": creator["avatar_url"], "creator": creator,
    });
    all.push(status.clone());
    drop(state);
    let mut payload = status.clone();
    payload["sha"] = json!(sha);
    payload["name"] = json!(repository);
    events::emit(shared, "status", repository, payload, &login);
    Answer::json(201, &status).with("location", status["url"].as_str().unwrap_or_default())
}

/// The newest of each context, and what they come to together.
fn combined(shared: &Shared, ask: &Ask, repository: &str, sha: &str, all: &[Value]) -> Answer {
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    for status in all {
        newest
            .entry(context_of(status))
            .or_insert_with(|| status.clone());
    }
    let mut newest: Vec<Value> = newest.into_values().collect();
    for status in &mut newest {
        // Who made it is only in the list of all.
        status.as_object_mut().unwrap().remove("creator");
    }
    let any = |states: &[&str]| {
        newest
            .iter()
            .any(|one| states.iter().any(|state| one["state"] == *state))
    };
    let state = if any(&["failure", "error"]) {
        "failure"
    } else if newest.is_empty() || any(&["pending"]) {
        "pending"
    } else {
        "success"
    };
    let (shown, link) = page(shared, ask, &newest);
    let base = format!("{}/repos/{repository}", shared.base);
    let answer = Answer::json(
        200,
        &json!({
            "state": state, "statuses": shown, "sha": sha, "total_count": newest.len(),
            "commit_url": format!("{base}/commits/{sha}"), "url": format!("{base}/commits/{sha}/status"),
        }),
    );
    match link {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

impl Shared {
    /// Somebody as answers show them.
    pub(super) fn user(&self, login: &str) -> Value {
        let mut user = self
            .people
            .get(login)
            .cloned()
            .unwrap_or_else(|| json!({"login": login, "id": super::APP, "type": "Bot"}));
        fill(&self.base, &mut user);
        user
    }
}
