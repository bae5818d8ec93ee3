//! What the emulator's pull requests lack: their files and commits, whether they can be merged, what GitHub refuses, and true
//! merges.

mod changes;
mod merge;

use std::sync::Arc;

use axum::http::Method;
use git2::{Oid, Repository};
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::front::{fill, paged};
use super::{Shared, git, limits};

pub(super) use changes::count;

/// The comments on all pull requests, which the emulator lists for each alone.
async fn comments(shared: &Arc<Shared>, ask: &Ask, repository: &str) -> Answer {
    let token = ask.token.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    for number in 1.. {
        let target = format!("/repos/{repository}/issues/{number}/comments?per_page=100");
        let found = shared
            .upstream(Method::GET, &target, token, Vec::new())
            .await;
        match found.value().as_array() {
            Some(comments) if found.is_success() => all.extend(comments.iter().cloned()),
            _ => break,
        }
    }
    let since = ask.queried("since").unwrap_or_default();
    let text = |comment: &Value, key: &str| comment[key].as_str().unwrap_or_default().to_owned();
    // Times of the same form are ordered as their texts are.
    all.retain(|comment| text(comment, "updated_at").as_str() >= since.as_str());
    all.sort_by_key(|comment| text(comment, "created_at"));
    if ask.queried("direction").as_deref() == Some("desc") {
        all.reverse();
    }
    let mut all = Value::Array(all);
    fill(&shared.base, &mut all);
    let all = all.as_array().cloned().unwrap_or_default();
    paged(shared, ask, &all)
}

/// How long a comment may be.
const LONGEST: usize = 65_536;

/// The front's own answers; `None` leaves it to the emulator.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    ask: &Ask,
    repository: &str,
    rest: &[&str],
) -> Option<Answer> {
    let is = |method: &Method| ask.method == *method;
    match rest {
        ["commits", sha, "pulls"] if ask.is_read() => {
            Some(of_commit(shared, ask, repository, sha).await)
        }
        ["issues", "comments"] if ask.is_read() => Some(comments(shared, ask, repository).await),
        ["pulls", number, "merge"] if is(&Method::PUT) => {
            Some(merge::merge(shared, ask, repository, number).await)
        }
        ["pulls", number, "merge"] if ask.is_read() => {
            let pull = shared.pull(repository, number).await;
            Some(if pull["merged"] == true {
                let nothing = Answer::json(204, &Value::Null);
                Answer {
                    body: Vec::new(),
                    ..nothing
                }
            } else {
                Answer::refused(404, "Not Found")
            })
        }
        ["pulls", number, "files"] if ask.is_read() => {
            let pull = shared.pull(repository, number).await;
            pull["number"].as_u64()?;
            let files = changes::files(shared, repository, &pull);
            Some(paged(shared, ask, &files))
        }
        ["pulls", number, "commits"] if ask.is_read() => {
            let pull = shared.pull(repository, number).await;
            pull["number"].as_u64()?;
            Some(paged(
                shared,
                ask,
                &commits(shared, repository, &pull).await,
            ))
        }
        ["issues", number] if ask.is_read() => {
            let pull = shared.pull(repository, number).await;
            pull["number"].as_u64()?;
            Some(Answer::json(200, &as_issue(shared, repository, &pull)))
        }
        ["pulls"] if is(&Method::POST) => unopenable(shared, ask, repository).await,
        ["pulls", number, "reviews"] if is(&Method::POST) => {
            let pull = shared.pull(repository, number).await;
            let is_own = pull["user"]["login"].as_str() == ask.login.as_deref();
            (is_own && ask.json()["event"] != "COMMENT").then(|| {
                let reason = json!({"message": "Unprocessable Entity", "errors": ["Review Can not approve your own pull request"]});
                Answer::json(422, &reason)
            })
        }
        ["issues", "comments", id] if !ask.is_read() => not_theirs(shared, ask, repository, id)
            .await
            .or_else(|| too_long(ask)),
        ["issues", _, "comments"] if !ask.is_read() => too_long(ask),
        _ => None,
    }
}

/// A pull request is an issue as well, which the emulator does not know.
pub(super) fn as_issue(shared: &Shared, repository: &str, pull: &Value) -> Value {
    const SAME: [&str; 17] = [
        "id",
        "node_id",
        "number",
        "title",
        "user",
        "labels",
        "state",
        "locked",
        "assignee",
        "assignees",
        "milestone",
        "comments",
        "created_at",
        "updated_at",
        "closed_at",
        "body",
        "author_association",
    ];
    let api = format!("{}/repos/{repository}", shared.base);
    let url = format!("{api}/issues/{}", pull["number"]);
    let mut issue = json!({
        "url": url, "repository_url": api, "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"), "events_url": format!("{url}/events"),
        "html_url": pull["html_url"], "timeline_url": format!("{url}/timeline"),
        "pull_request": {
            "url": pull["url"], "html_url": pull["html_url"], "diff_url": pull["diff_url"],
            "patch_url": pull["patch_url"], "merged_at": pull["merged_at"],
        },
    });
    for name in SAME {
        issue[name] = pull[name].clone();
    }
    issue
}

/// Only who may write can change what somebody else has said.
async fn not_theirs(shared: &Shared, ask: &Ask, repository: &str, id: &str) -> Option<Answer> {
    let login = ask.login.as_deref().unwrap_or_default();
    let comment = shared
        .look(&format!("/repos/{repository}/issues/comments/{id}"))
        .await;
    let author = comment["user"]["login"].as_str()?;
    let may = author == login
        || login == "lockstep[bot]"
        || limits::role_in(shared, repository, login) != "read";
    (!may).then(|| Answer::refused(403, "Must have admin rights to Repository."))
}

fn too_long(ask: &Ask) -> Option<Answer> {
    let asked = ask.json();
    let length = asked["body"].as_str()?.chars().count();
    (length > LONGEST).then(|| {
        let message = format!("body is too long (maximum is {LONGEST} characters)");
        Answer::invalid(&json!([{"resource": "IssueComment", "code": "custom", "field": "body", "message": message}]))
    })
}

/// Why GitHub would not open this pull request.
async fn unopenable(shared: &Shared, ask: &Ask, repository: &str) -> Option<Answer> {
    let asked = ask.json();
    let head = asked["head"].as_str().unwrap_or_default();
    let base = asked["base"].as_str().unwrap_or_default();
    let invalid = |field: &str| {
        Answer::invalid(&json!([{"resource": "PullRequest", "field": field, "code": "invalid"}]))
    };
    let custom = |message: String| {
        Answer::invalid(&json!([{"resource": "PullRequest", "code": "custom", "message": message}]))
    };
    let (owner, name) = repository.split_once('/')?;
    let (from, branch) = head.split_once(':').unwrap_or((owner, head));
    let there = git::heads(&shared.bare(repository));
    let Some(into) = there.get(&format!("refs/heads/{base}")) else {
        return Some(invalid("base"));
    };
    let here = shared.bare(&format!("{from}/{name}"));
    let has = |sha: &String| sha.clone();
    let sha = here
        .exists()
        .then(|| git::heads(&here))
        .and_then(|heads| heads.get(&format!("refs/heads/{branch}")).map(has));
    let Some(sha) = sha else {
        return Some(invalid("head"));
    };
    if changes::range(&shared.bare(repository), into, &sha).is_empty() {
        return Some(custom(format!("No commits between {base} and {branch}")));
    }
    let open = shared
        .look(&format!("/repos/{repository}/pulls?per_page=100"))
        .await;
    let is_same = |pull: &Value| {
        pull["head"]["label"] == format!("{from}:{branch}") && pull["base"]["ref"] == base
    };
    if open.as_array().into_iter().flatten().any(is_same) {
        return Some(custom(format!(
            "A pull request already exists for {from}:{branch}."
        )));
    }
    None
}

/// The commits of a pull request, oldest first.
async fn commits(shared: &Shared, repository: &str, pull: &Value) -> Vec<Value> {
    let (base, head) = (pull["base"]["sha"].as_str(), pull["head"]["sha"].as_str());
    let (Some(base), Some(head)) = (base, head) else {
        return Vec::new();
    };
    let compared = shared
        .look(&format!("/repos/{repository}/compare/{base}...{head}"))
        .await;
    let mut all = compared["commits"].clone();
    fill(&shared.base, &mut all);
    all.as_array().cloned().unwrap_or_default()
}

/// The pull requests that a commit belongs to. One that is on the default branch came by a merged one.
async fn of_commit(shared: &Shared, ask: &Ask, repository: &str, sha: &str) -> Answer {
    let path = shared.bare(repository);
    let Some(sha) = git::resolve(&path, sha) else {
        return Answer::refused(422, &format!("No commit found for SHA: {sha}"));
    };
    let all = shared
        .look(&format!("/repos/{repository}/pulls?state=all&per_page=100"))
        .await;
    let opened = Repository::open(&path).unwrap();
    let (id, main) = (Oid::from_str(&sha).unwrap(), git::resolve(&path, "main"));
    let is_on_main = main.is_some_and(|main| {
        let main = Oid::from_str(&main).unwrap();
        main == id || opened.graph_descendant_of(main, id).unwrap_or(false)
    });
    let mut found: Vec<Value> = Vec::new();
    for pull in all.as_array().into_iter().flatten() {
        let is_merge = !pull["merged_at"].is_null() && pull["merge_commit_sha"] == sha;
        let range = [&pull["base"]["sha"], &pull["head"]["sha"]]
            .map(|one| one.as_str().unwrap_or_default());
        let is_in = changes::range(&path, range[0], range[1]).contains(&id);
        if is_merge || (is_in && (!is_on_main || !pull["merged_at"].is_null())) {
            found.push(pull.clone());
        }
    }
    let mut found = Value::Array(found);
    fill(&shared.base, &mut found);
    found.as_array_mut().into_iter().flatten().for_each(shorten);
    paged(shared, ask, found.as_array().unwrap())
}

/// What lists of pull requests do not have.
fn shorten(pull: &mut Value) {
    const ALONE: [&str; 12] = [
        "merged",
        "mergeable",
        "rebaseable",
        "mergeable_state",
        "merged_by",
        "comments",
        "review_comments",
        "maintainer_can_modify",
        "commits",
        "additions",
        "deletions",
        "changed_files",
    ];
    if let Some(pull) = pull.as_object_mut() {
        pull.retain(|name, _| !ALONE.contains(&name.as_str()));
    }
}

/// What the emulator's answers about pull requests lack.
/// A review or comment makes a pull request's `updated_at` later at GitHub, and not in the emulator.
pub(super) fn touched(shared: &Shared, parts: &[&str]) {
    let number = match parts {
        ["repos", _, _, "pulls", number, "reviews", ..]
        | ["repos", _, _, "issues", number, "comments"] => number.parse(),
        _ => return,
    };
    if let Ok(number) = number {
        let now = limits::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
        shared.state().touched.insert(number, now.to_string());
    }
}

fn touch(shared: &Shared, pull: &mut Value) {
    let number = pull["number"].as_u64().unwrap_or_default();
    if let Some(at) = shared.state().touched.get(&number)
        && pull["updated_at"]
            .as_str()
            .is_some_and(|known| known < at.as_str())
    {
        pull["updated_at"] = json!(at);
    }
}

pub(super) async fn complete(shared: &Shared, ask: &Ask, parts: &[&str], value: &mut Value) {
    let ["repos", owner, name, "pulls", rest @ ..] = parts else {
        return;
    };
    let repository = format!("{owner}/{name}");
    match rest {
        [] if ask.is_read() => {
            for pull in value.as_array_mut().into_iter().flatten() {
                touch(shared, pull);
                shorten(pull);
            }
        }
        [] | [_] => {
            let Some(number) = value["number"].as_u64() else {
                return;
            };
            if rest.is_empty() {
                git::follow_head(shared, number).await;
            }
            touch(shared, value);
            changes::count(shared, &repository, value);
            if value["state"] == "open" {
                merge::test(shared, &repository, value);
            }
        }
        _ => {}
    }
}

/// A pull request as the API shows it.
pub(super) async fn shown(shared: &Shared, number: u64) -> Value {
    let repository = shared.now_called("acme/config");
    let mut pull = shared.pull(&repository, &number.to_string()).await;
    changes::count(shared, &repository, &mut pull);
    pull
}

impl Shared {
    /// A pull request as the emulator has it.
    pub(super) async fn pull(&self, repository: &str, number: &str) -> Value {
        let mut pull = self
            .look(&format!("/repos/{repository}/pulls/{number}"))
            .await;
        fill(&self.base, &mut pull);
        touch(self, &mut pull);
        pull
    }
}
