//! True merges, in git: by a merge commit, squashed, or rebased.

use std::path::Path;
use std::sync::Arc;

use git2::{Commit, Oid, Repository, Signature};
use serde_json::{Value, json};

use super::{changes, shown};
use crate::hub::ask::{Answer, Ask};
use crate::hub::git::{Change, changed, heads, point};
use crate::hub::{Shared, events, limits};

/// What a merge is made of.
struct Merge<'a> {
    pull: &'a Value,
    onto: Oid,
    head: Oid,
    by: &'a str,
    asked: &'a Value,
}

pub(super) async fn merge(shared: &Arc<Shared>, ask: &Ask, name: &str, number: &str) -> Answer {
    let _changing = shared.changing.lock().await;
    let pull = shared.pull(name, number).await;
    let Some(number) = pull["number"].as_u64() else {
        return Answer::refused(404, "Not Found");
    };
    let asked = ask.json();
    let method = asked["merge_method"].as_str().unwrap_or("merge").to_owned();
    if let Some(refused) = unmergeable(shared, ask, name, &pull, &method).await {
        return refused;
    }
    let path = shared.bare(name);
    let before = heads(&path);
    let branch = format!(
        "refs/heads/{}",
        pull["base"]["ref"].as_str().unwrap_or_default()
    );
    let login = ask.login.clone().unwrap_or_default();
    let merge = Merge {
        pull: &pull,
        onto: Oid::from_str(&before[&branch]).unwrap(),
        head: Oid::from_str(pull["head"]["sha"].as_str().unwrap()).unwrap(),
        by: &login,
        asked: &asked,
    };
    let Some(sha) = merge.make(shared, &path, &method) else {
        return Answer::refused(405, "Pull Request is not mergeable");
    };
    let sha = sha.to_string();
    point(&path, &branch, Some(&sha));
    let body = json!({"repo": name, "number": number, "sha": sha, "login": login});
    shared.through_door("merged", &body).await;
    let change = Change {
        repository: name,
        login: &login,
        before,
    };
    changed(shared, change).await;
    let payload =
        json!({"action": "closed", "number": number, "pull_request": shown(shared, number).await});
    events::emit(shared, "pull_request", name, payload, &login);
    Answer::json(
        200,
        &json!({"sha": sha, "merged": true, "message": "Pull Request successfully merged"}),
    )
}

/// Why GitHub would not merge it.
async fn unmergeable(
    shared: &Shared,
    ask: &Ask,
    name: &str,
    pull: &Value,
    method: &str,
) -> Option<Answer> {
    if pull["state"] != "open" {
        return Some(Answer::refused(405, "Pull Request is not mergeable"));
    }
    if pull["draft"] == true {
        return Some(Answer::refused(405, "Pull Request is still a draft"));
    }
    let asked = ask.json();
    if !asked["sha"].is_null() && asked["sha"] != pull["head"]["sha"] {
        let message = "Head branch was modified. Review and try the merge again.";
        return Some(Answer::refused(409, message));
    }
    let repository = shared.look(&format!("/repos/{name}")).await;
    let (allowed, called) = match method {
        "squash" => ("allow_squash_merge", "Squash merges"),
        "rebase" => ("allow_rebase_merge", "Rebase merges"),
        _ => ("allow_merge_commit", "Merge commits"),
    };
    if repository[allowed] == false {
        return Some(Answer::refused(
            405,
            &format!("{called} are not allowed on this repository."),
        ));
    }
    let branch = pull["base"]["ref"].as_str().unwrap_or_default();
    let rules = shared
        .look(&format!("/repos/{name}/branches/{branch}/protection"))
        .await;
    let login = ask.login.as_deref().unwrap_or_default();
    if limits::role(shared, login) == "admin" && rules["enforce_admins"]["enabled"] != true {
        return None;
    }
    protected(shared, name, pull, &rules)
        .await
        .map(|message| Answer::refused(405, &message))
}

/// What the branch's protection still asks for.
async fn protected(shared: &Shared, name: &str, pull: &Value, rules: &Value) -> Option<String> {
    let sha = pull["head"]["sha"].as_str().unwrap_or_default();
    let runs = shared
        .look(&format!("/repos/{name}/commits/{sha}/check-runs"))
        .await;
    let contexts = rules["required_status_checks"]["contexts"].as_array();
    for context in contexts.into_iter().flatten().filter_map(Value::as_str) {
        let state = {
            let state = shared.state();
            let all = state.statuses.get(&format!("{name}@{sha}"));
            let newest = all.into_iter().flatten().rev().find(|one| {
                one["context"]
                    .as_str()
                    .is_some_and(|c| c.eq_ignore_ascii_case(context))
            });
            newest.map(|one| one["state"].clone())
        };
        let run = runs["check_runs"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|r| r["name"] == context);
        let is_green = state.as_ref().is_some_and(|s| s == "success")
            || run.is_some_and(|r| r["conclusion"] == "success" || r["conclusion"] == "neutral");
        if !is_green {
            let is = if state.is_none() && run.is_none() {
                "expected"
            } else {
                "failing"
            };
            return Some(format!("Required status check \"{context}\" is {is}."));
        }
    }
    let count =
        rules["required_pull_request_reviews"]["required_approving_review_count"].as_u64()?;
    let number = &pull["number"];
    let reviews = shared
        .look(&format!(
            "/repos/{name}/pulls/{number}/reviews?per_page=100"
        ))
        .await;
    let approvers: std::collections::BTreeSet<&str> = reviews
        .as_array()
        .into_iter()
        .flatten()
        .filter(|review| review["state"] == "APPROVED")
        .filter_map(|review| review["user"]["login"].as_str())
        .filter(|login| limits::role(shared, login) != "read")
        .collect();
    let is_enough = u64::try_from(approvers.len()).unwrap() >= count;
    (!is_enough).then(|| {
        format!("At least {count} approving review is required by reviewers with write access.")
    })
}

/// Whether it could be merged, and the commit that it would come to: an open pull request has one as well.
pub(super) fn test(shared: &Shared, name: &str, pull: &mut Value) {
    let path = shared.bare(name);
    let repository = Repository::open(&path).unwrap();
    let branch = format!(
        "refs/heads/{}",
        pull["base"]["ref"].as_str().unwrap_or_default()
    );
    let onto = heads(&path)
        .get(&branch)
        .map(|sha| Oid::from_str(sha).unwrap());
    let head = pull["head"]["sha"]
        .as_str()
        .and_then(|sha| Oid::from_str(sha).ok());
    let (Some(onto), Some(head)) = (onto, head) else {
        return;
    };
    let (onto, head) = (
        repository.find_commit(onto).unwrap(),
        repository.find_commit(head).unwrap(),
    );
    let tree = merged_tree(&repository, &onto, &head);
    pull["mergeable"] = json!(tree.is_some());
    pull["mergeable_state"] = json!(if tree.is_some() { "clean" } else { "dirty" });
    pull["merge_commit_sha"] = Value::Null;
    let Some(tree) = tree else { return };
    let tree = repository.find_tree(tree).unwrap();
    let by = Signature::new("GitHub", "noreply@github.com", &head.time()).unwrap();
    let message = format!("Merge {} into {}", head.id(), onto.id());
    let made = repository.commit(None, &by, &by, &message, &tree, &[&onto, &head]);
    let made = made.unwrap().to_string();
    point(
        &path,
        &format!("refs/pull/{}/merge", pull["number"]),
        Some(&made),
    );
    pull["merge_commit_sha"] = json!(made);
}

fn merged_tree(repository: &Repository, onto: &Commit<'_>, head: &Commit<'_>) -> Option<Oid> {
    let mut index = repository.merge_commits(onto, head, None).ok()?;
    (!index.has_conflicts()).then(|| index.write_tree_to(repository).unwrap())
}

impl Merge<'_> {
    /// Makes the commits in git; `None` where they would conflict.
    fn make(&self, shared: &Shared, path: &Path, method: &str) -> Option<Oid> {
        let repository = Repository::open(path).unwrap();
        let onto = repository.find_commit(self.onto).unwrap();
        let head = repository.find_commit(self.head).unwrap();
        if method == "rebase" {
            return self.rebased(shared, path, &repository, onto);
        }
        let tree = merged_tree(&repository, &onto, &head)?;
        let tree = repository.find_tree(tree).unwrap();
        let committer = signature("GitHub", "noreply@github.com");
        let (author, parents) = if method == "squash" {
            let author = self.pull["user"]["login"].as_str().unwrap_or_default();
            (person(shared, author), vec![&onto])
        } else {
            (person(shared, self.by), vec![&onto, &head])
        };
        let message = self.message(method);
        let made = repository.commit(None, &author, &committer, &message, &tree, &parents);
        Some(made.unwrap())
    }

    fn message(&self, method: &str) -> String {
        let number = &self.pull["number"];
        let title = self.pull["title"].as_str().unwrap_or_default();
        let label = self.pull["head"]["label"]
            .as_str()
            .unwrap_or_default()
            .replacen(':', "/", 1);
        let (subject, body) = if method == "squash" {
            (format!("{title} (#{number})"), String::new())
        } else {
            (
                format!("Merge pull request #{number} from {label}"),
                title.to_owned(),
            )
        };
        let subject = self.asked["commit_title"].as_str().unwrap_or(&subject);
        let body = self.asked["commit_message"].as_str().unwrap_or(&body);
        if body.is_empty() {
            format!("{subject}\n")
        } else {
            format!("{subject}\n\n{body}\n")
        }
    }

    /// Each commit again, one on top of the other.
    fn rebased<'r>(
        &self,
        shared: &Shared,
        path: &Path,
        repository: &'r Repository,
        onto: Commit<'r>,
    ) -> Option<Oid> {
        let committer = person(shared, self.by);
        let mut tip = onto;
        let commits = changes::range(path, &self.onto.to_string(), &self.head.to_string());
        for id in commits {
            let commit = repository.find_commit(id).unwrap();
            if commit.parent_count() > 1 {
                continue;
            }
            let mut index = repository.cherrypick_commit(&commit, &tip, 0, None).ok()?;
            if index.has_conflicts() {
                return None;
            }
            let tree = repository
                .find_tree(index.write_tree_to(repository).unwrap())
                .unwrap();
            let message = String::from_utf8_lossy(commit.message_raw_bytes()).into_owned();
            let made =
                repository.commit(None, &commit.author(), &committer, &message, &tree, &[&tip]);
            tip = repository.find_commit(made.unwrap()).unwrap();
        }
        Some(tip.id())
    }
}

fn person(shared: &Shared, login: &str) -> Signature<'static> {
    let name = shared
        .people
        .get(login)
        .and_then(|user| user["name"].as_str());
    signature(name.unwrap_or(login), &format!("{login}@example.org"))
}

fn signature(name: &str, email: &str) -> Signature<'static> {
    let now = git2::Time::new(limits::now().as_second(), 0);
    Signature::new(name, email, &now).unwrap()
}
