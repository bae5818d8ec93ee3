//! What the ledger says of proposals: opened, moved, reviewed, judged, ended. Each is said once, however often a proposal is judged, and what a merge
//! rested on is said with it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CountedReview, Gate, GateError, Judgement, Standing};
use crate::forge::{Proposal, ProposalState, Review, ReviewKind};
use crate::ids::{Actor, Digest, Revision};
use crate::store::{FINAL, NewEntry, Standing as Said, Store};

/// Resources that a merge names; of more a change is found by its revision.
const RESOURCES: usize = 500;
/// Lockstep itself, where it says what it has seen.
pub(super) const GATE: &str = "lockstep/gate";

/// The open state of a proposal, as it is remembered.
const OPEN: &str = "open";

impl Gate {
    /// Records what a judgement shows that was not recorded yet.
    pub(super) async fn record(&self, j: &Judgement) -> Result<(), GateError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let number = j.proposal.number;
        let known = store.recorded(&format!("proposal/{number}")).await?;
        let has_ended = known.is_some_and(|known| known != OPEN);
        // Judged as it was listed, which a merge by somebody else may have overtaken: then it was not opened again.
        if has_ended && self.forge.proposal(number).await?.state != ProposalState::Open {
            return Ok(());
        }
        self.record_as_seen(store, j).await
    }

    /// The same of one that is known not to have been recorded as ended.
    pub(super) async fn record_as_seen(
        &self,
        store: &Store,
        j: &Judgement,
    ) -> Result<(), GateError> {
        let mut said = opened(&j.proposal);
        said.extend(reviews(j));
        said.extend(self.withdrawn(store, j).await?);
        said.push(verdict(j));
        said.push(Said {
            name: format!("merge/{}", j.proposal.number),
            said: facts(j).to_string(),
            first: None,
            changed: None,
        });
        store.record_news(&said).await?;
        Ok(())
    }

    /// Records that a proposal ended, and what it rested on as it was last known.
    pub(super) async fn record_end(
        &self,
        proposal: &Proposal,
        by: Option<&str>,
    ) -> Result<(), GateError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let number = proposal.number;
        let facts = store.recorded(&format!("merge/{number}")).await?;
        let mut body = facts
            .and_then(|facts| serde_json::from_str(&facts).ok())
            .unwrap_or_else(|| about(proposal));
        let by = by.or(proposal.merged_by.as_deref());
        let actor = by.unwrap_or(GATE);
        let (said, entry) = match &proposal.state {
            ProposalState::Open => return Ok(()),
            ProposalState::Closed => {
                let body = json!({"proposal": number, "title": proposal.title, "author": proposal.author, "head": proposal.head});
                (
                    "closed",
                    entry(actor, "proposal.closed", None, self.clock.now(), body),
                )
            }
            ProposalState::Merged { commit } => {
                body["commit"] = json!(commit);
                body["by"] = json!(by);
                let at = self.clock.now();
                (
                    FINAL,
                    entry(actor, "proposal.merged", Some(commit), at, body),
                )
            }
        };
        let standing = Said {
            name: format!("proposal/{number}"),
            said: said.to_owned(),
            first: entry.clone(),
            changed: entry,
        };
        store.record_news(&[standing]).await?;
        Ok(())
    }

    /// Looks after proposals that were open when they were last recorded and are not among those that are open now.
    pub(super) async fn record_ended(&self, open: &[Proposal]) -> Result<(), GateError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        for name in store.recorded_as("proposal", OPEN).await? {
            let number = name.strip_prefix("proposal/").and_then(|n| n.parse().ok());
            let Some(number) = number.filter(|n| !open.iter().any(|p| p.number == *n)) else {
                continue;
            };
            // One that can't be asked for keeps no other from being recorded.
            match self.forge.proposal(number).await {
                Ok(proposal) => self.record_end(&proposal, None).await?,
                Err(error) => tracing::warn!(
                    proposal = number,
                    error = &error as &dyn std::error::Error,
                    "what became of a proposal is not known yet"
                ),
            }
        }
        Ok(())
    }
}

pub(super) fn entry(
    by: &str,
    action: &str,
    revision: Option<&Revision>,
    at: Timestamp,
    body: Value,
) -> Option<NewEntry> {
    let actor: Actor = by.parse().or_else(|_| GATE.parse()).ok()?;
    Some(NewEntry {
        at,
        actor,
        action: action.to_owned(),
        group: None,
        system: None,
        run: None,
        revision: revision.cloned(),
        body,
    })
}

pub(super) fn about(proposal: &Proposal) -> Value {
    json!({
        "proposal": proposal.number,
        "title": proposal.title,
        "author": proposal.author,
        "base": proposal.base,
        "head": proposal.head,
    })
}

fn opened(proposal: &Proposal) -> Vec<Said> {
    let number = proposal.number;
    let open = entry(
        &proposal.author,
        "proposal.opened",
        None,
        proposal.opened_at,
        about(proposal),
    );
    let moved = entry(
        GATE,
        "proposal.head_changed",
        None,
        proposal.updated_at.unwrap_or(proposal.opened_at),
        about(proposal),
    );
    let again = open.as_ref().map(|entry| NewEntry {
        action: "proposal.reopened".to_owned(),
        ..entry.clone()
    });
    vec![
        Said {
            name: format!("proposal/{number}"),
            said: OPEN.to_owned(),
            first: open,
            changed: again,
        },
        Said {
            name: format!("head/{number}"),
            said: proposal.head.to_string(),
            first: None,
            changed: moved,
        },
    ]
}

/// The name by which a review is known again.
fn name_of(number: u64, counted: &CountedReview) -> String {
    name_of_review(number, &counted.review)
}

fn name_of_review(number: u64, review: &Review) -> String {
    let commit = review.commit.short();
    format!("approval/{number}/{}/{commit}/{}", review.user, review.at)
}

/// What was said of an approval that counts.
const COUNTS: &str = "counts";

fn reviews(j: &Judgement) -> Vec<Said> {
    let number = j.proposal.number;
    let of = |counted: &CountedReview| {
        let review = &counted.review;
        let action = match (review.kind, counted.standing) {
            (ReviewKind::Approve, Standing::Counts) => "approval.given",
            (ReviewKind::Approve, Standing::Replaced) => "approval.withdrawn",
            (ReviewKind::Approve, _) => "approval.voided",
            (ReviewKind::RequestChanges, _) => "changes.requested",
            (ReviewKind::Comment | ReviewKind::Withdraw, _) => return None,
        };
        let counts = counted.standing == Standing::Counts;
        let by = counted.person.as_deref().unwrap_or(&review.user);
        let body = json!({
            "proposal": number,
            "title": j.proposal.title,
            "author": j.proposal.author,
            "commit": review.commit,
            "plan": review.plan,
            "login": review.user,
            "signed": review.signature.is_some(),
            "approvals": [{"by": by, "commit": review.commit}],
        });
        // Who acts is who reviewed; that an approval does not count any more, Lockstep says.
        let is_theirs = counts || action == "changes.requested";
        let (actor, at) = match is_theirs {
            true => (by, review.at),
            false => (GATE, j.at),
        };
        let entry = entry(actor, action, None, at, body);
        Some(Said {
            name: name_of(number, counted),
            said: if counts {
                COUNTS.to_owned()
            } else {
                action.to_owned()
            },
            // One that never counted gave nothing that could be lost.
            first: entry.clone().filter(|_| is_theirs),
            changed: entry,
        })
    };
    j.reviews.iter().filter_map(of).collect()
}

impl Gate {
    /// Approvals that counted and are not there any more: dismissed on a forge that forgets them. Judged before they were given they are not
    /// there either, so it is looked once more.
    async fn withdrawn(&self, store: &Store, j: &Judgement) -> Result<Vec<Said>, GateError> {
        let gone = gone(store, j).await?;
        if gone.is_empty() {
            return Ok(gone);
        }
        let there = self.forge.reviews(j.proposal.number).await?;
        let is_there = |said: &Said| {
            there
                .iter()
                .any(|review| said.name == name_of_review(j.proposal.number, review))
        };
        Ok(gone.into_iter().filter(|said| !is_there(said)).collect())
    }
}

async fn gone(store: &Store, j: &Judgement) -> Result<Vec<Said>, GateError> {
    let number = j.proposal.number;
    let folder = format!("approval/{number}");
    let there: Vec<String> = j.reviews.iter().map(|r| name_of(number, r)).collect();
    let counted = store.recorded_as(&folder, COUNTS).await?;
    let gone = counted.into_iter().filter(|name| !there.contains(name));
    Ok(gone
        .map(|name| {
            let user = name.split('/').nth(2).unwrap_or_default();
            let body = json!({"proposal": number, "title": j.proposal.title, "author": j.proposal.author, "login": user});
            Said {
                said: "withdrawn".to_owned(),
                first: None,
                changed: entry(GATE, "approval.withdrawn", None, j.at, body),
                name,
            }
        })
        .collect())
}

fn decision(j: &Judgement) -> &'static str {
    if !j.verdict.denials.is_empty() || j.blocked() {
        "denied"
    } else if j.passes() {
        "allowed"
    } else {
        "waiting"
    }
}

/// What the policies said. The same again on another day, or on another main, is no news.
fn verdict(j: &Judgement) -> Said {
    let mut body = facts(j);
    body["denials"] = json!(j.verdict.denials);
    body["warnings"] = json!(j.verdict.warnings);
    body["needs"] = json!(j.verdict.approvals);
    if let Value::Object(fields) = &mut body {
        fields.remove("resources");
    }
    let mut news = body.clone();
    if let Value::Object(fields) = &mut news {
        fields.remove("base");
        fields.remove("input");
    }
    let entry = entry(GATE, "verdict.given", None, j.at, body);
    Said {
        name: format!("verdict/{}", j.proposal.number),
        said: Digest::of(news.to_string().as_bytes()).to_hex(),
        first: entry.clone(),
        changed: entry,
    }
}

/// What a merge would rest on.
pub(super) fn facts(j: &Judgement) -> Value {
    let mut body = about(&j.proposal);
    let approvals = j
        .reviews
        .iter()
        .filter(|r| r.standing == Standing::Counts && r.review.kind == ReviewKind::Approve);
    let approvals: Vec<Value> = approvals
        .map(|r| {
            let by = r.person.as_deref().unwrap_or(&r.review.user);
            json!({"by": by, "commit": r.review.commit, "at": r.review.at, "signed": r.review.signature.is_some()})
        })
        .collect();
    let checks = j.statuses.iter();
    let checks: Vec<Value> = checks
        .map(|s| json!({"context": s.context, "state": s.state}))
        .collect();
    let changes = j.plan.systems.values().flat_map(|s| &s.changes);
    let mut resources: Vec<&str> = changes.map(|c| c.id.as_str()).collect();
    resources.sort_unstable();
    resources.dedup();
    resources.truncate(RESOURCES);
    body["approvals"] = json!(approvals);
    body["checks"] = json!(checks);
    body["policies"] = json!(j.verdict.policies_digest);
    body["input"] = json!(j.verdict.input_digest);
    body["decision"] = json!(decision(j));
    body["resources"] = json!(resources);
    body
}
