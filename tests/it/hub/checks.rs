//! What the emulator's check runs lack: whose they are, and annotations that are added to those that are there.

use axum::http::Method;
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::front::paged;
use super::{APP, Shared, git};

/// The front's own answers; `None` leaves it to the emulator.
pub(super) fn answer(
    shared: &Shared,
    ask: &Ask,
    repository: &str,
    rest: &[&str],
) -> Option<Answer> {
    match rest {
        ["check-runs"] if ask.method == Method::POST => {
            let asked = ask.json();
            let sha = asked["head_sha"].as_str().unwrap_or_default();
            let is_known = git::resolve(&shared.bare(repository), sha).is_some();
            (!is_known).then(|| Answer::refused(422, &format!("No commit found for SHA: {sha}")))
        }
        ["check-runs", id, "annotations"] if ask.is_read() => {
            let all = shared.state().runs.get(&id.parse().ok()?)?.clone();
            Some(paged(shared, ask, &all))
        }
        _ => None,
    }
}

/// Keeps the annotations of a run that was made or changed.
pub(super) fn learn(shared: &Shared, ask: &Ask, parts: &[&str], run: &Value) {
    let (["repos", _, _, "check-runs"] | ["repos", _, _, "check-runs", _]) = parts else {
        return;
    };
    let Some(id) = run["id"].as_u64().filter(|_| !ask.is_read()) else {
        return;
    };
    let asked = ask.json();
    let more = asked["output"]["annotations"].as_array().cloned();
    let mut state = shared.state();
    let all = state.runs.entry(id).or_default();
    all.extend(more.unwrap_or_default());
}

/// Only Apps make check runs, so this one has.
pub(super) fn complete(shared: &Shared, parts: &[&str], value: &mut Value) {
    match parts {
        ["repos", _, _, "check-runs"] | ["repos", _, _, "check-runs", _] => of_app(shared, value),
        ["repos", _, _, "commits", .., "check-runs"] => {
            let runs = value["check_runs"].as_array_mut();
            runs.into_iter()
                .flatten()
                .for_each(|run| of_app(shared, run));
        }
        _ => {}
    }
}

fn of_app(shared: &Shared, run: &mut Value) {
    let state = shared.state();
    let annotations = run["id"].as_u64().and_then(|id| state.runs.get(&id));
    if let Some(annotations) = annotations {
        run["output"]["annotations_count"] = json!(annotations.len());
        run["app"] = json!({"id": APP, "slug": "lockstep", "name": "Lockstep"});
    }
}
