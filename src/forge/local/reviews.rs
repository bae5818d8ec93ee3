//! Reviews and Lockstep's comment.

use std::collections::HashSet;

use jiff::Timestamp;

use super::appraise::{self, Comment, DISCUSS, Location, go_json, seconds, stamp, time};
use super::proposals::Record;
use super::record::{self, APPROVALS, ApprovalLine, State};
use super::{LOCKSTEP, Local};
use crate::forge::{ForgeError, Review, ReviewKind};
use crate::ids::Revision;

impl Local {
    /// All reviews, in the order in which they were given, those that people gave through git-appraise among them.
    pub(super) fn reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        let (records, record) = self.find(number)?;
        let ours = self.approvals(&record)?;
        let known: HashSet<&str> = ours.iter().map(|line| line.comment.as_str()).collect();
        let lines = self.repo.read_notes(DISCUSS, &record.first)?;
        let theirs: Vec<Comment> = appraise::read::<Comment>(&lines)
            .into_iter()
            .filter(|comment| {
                comment.author != LOCKSTEP
                    && comment.original.is_empty()
                    && comment
                        .hash()
                        .is_some_and(|hash| !known.contains(hash.as_str()))
                    && records.owner(&record.first, seconds(&comment.timestamp)) == Some(number)
            })
            .collect();

        // Ours keep the order in which they were written, whatever the clock said; theirs have only the clock.
        let mut theirs = theirs.iter().peekable();
        let mut all = Vec::new();
        for line in &ours {
            while let Some(comment) =
                theirs.next_if(|comment| seconds(&comment.timestamp) < line.at.as_second())
            {
                all.push(as_review(comment, &record.first));
            }
            all.push(Review {
                user: line.user.clone(),
                kind: line.kind,
                commit: line.commit.clone(),
                plan: line.plan,
                at: line.at,
                message: line.message.clone(),
                signature: line.signature.clone(),
            });
        }
        all.extend(theirs.map(|comment| as_review(comment, &record.first)));
        Ok(all)
    }

    fn approvals(&self, record: &Record) -> Result<Vec<ApprovalLine>, ForgeError> {
        let lines = self.repo.read_notes(APPROVALS, &record.first)?;
        let mut ours = record::read::<ApprovalLine>(&lines);
        ours.retain(|line| line.number == record.line.number);
        Ok(ours)
    }

    /// Records a review on an open proposal.
    pub(super) fn review(&self, number: u64, review: &Review) -> Result<(), ForgeError> {
        if review.user.trim().is_empty() {
            return Err(ForgeError::Refused("a review needs a reviewer".into()));
        }
        self.repo.commit(&review.commit)?;
        let (_, record) = self.find(number)?;
        let proposal = self.proposal(number)?;
        open_only(number, &proposal.state)?;
        let comment = Comment {
            timestamp: stamp(review.at.as_second()),
            author: review.user.clone(),
            location: Some(Location {
                commit: review.commit.to_string(),
                ..Location::default()
            }),
            description: appraise::text(&review.message),
            resolved: match review.kind {
                ReviewKind::Approve => Some(true),
                ReviewKind::RequestChanges => Some(false),
                ReviewKind::Comment | ReviewKind::Withdraw => None,
            },
            ..Comment::default()
        };
        let hash = comment.hash().unwrap_or_default();
        // Ours first: killed in between, the review is there, and only git-appraise does not show it.
        self.repo
            .update_note::<ForgeError>(APPROVALS, &record.first, review.at, &mut |lines| {
                let lines = record::read::<ApprovalLine>(lines);
                Ok(record::write(&ApprovalLine {
                    timestamp: stamp(review.at.as_second()),
                    sequence: record::next(&lines),
                    number,
                    user: review.user.clone(),
                    commit: review.commit.clone(),
                    plan: review.plan,
                    kind: review.kind,
                    message: review.message.clone(),
                    at: review.at,
                    comment: hash.clone(),
                    signature: review.signature.clone(),
                    v: 0,
                }))
            })?;
        self.discuss(&record.first, &comment, review.at)
    }

    /// Adds a comment for git-appraise.
    pub(super) fn discuss(
        &self,
        first: &Revision,
        comment: &Comment,
        at: Timestamp,
    ) -> Result<(), ForgeError> {
        if let Some(line) = go_json(comment) {
            self.repo.append_note(DISCUSS, first, &line, at)?;
        }
        Ok(())
    }

    /// Lockstep's comment as it stands, without its mark.
    pub(super) fn comment(&self, number: u64) -> Result<Option<String>, ForgeError> {
        let (_, record) = self.find(number)?;
        let lines = self.repo.read_notes(DISCUSS, &record.first)?;
        let mark = mark(number);
        Ok(own_comment(&lines, &mark)
            .and_then(|(_, last)| last.description.strip_prefix(&mark).map(ToOwned::to_owned)))
    }

    /// Writes Lockstep's comment, or a new version of it, which readers show in its place. The same text again writes nothing.
    pub(super) fn upsert_comment(&self, number: u64, markdown: &str) -> Result<(), ForgeError> {
        let (_, record) = self.find(number)?;
        let mark = mark(number);
        let at = self.clock.now();
        self.repo
            .update_note::<ForgeError>(DISCUSS, &record.first, at, &mut |lines| {
                let mut comment = Comment {
                    timestamp: stamp(at.as_second()),
                    author: LOCKSTEP.to_owned(),
                    description: format!("{mark}{}", appraise::text(markdown)),
                    ..Comment::default()
                };
                if let Some((hash, last)) = own_comment(lines, &mark) {
                    if last.description == comment.description {
                        return Ok(Vec::new());
                    }
                    // The last by timestamp counts, whatever the clock did meanwhile.
                    comment.timestamp = stamp(at.as_second().max(seconds(&last.timestamp)));
                    comment.original = hash;
                }
                Ok(go_json(&comment).into_iter().collect())
            })?;
        Ok(())
    }
}

/// Refuses what can only be done to an open proposal.
pub(super) fn open_only(
    number: u64,
    state: &crate::forge::ProposalState,
) -> Result<(), ForgeError> {
    use crate::forge::ProposalState::{Closed, Merged, Open};
    match state {
        Open => Ok(()),
        Merged { commit } => Err(ForgeError::Refused(format!(
            "proposal #{number} is merged already, as {}",
            commit.short()
        ))),
        Closed => Err(ForgeError::Refused(format!(
            "proposal #{number} is closed; open a new one from its branch"
        ))),
    }
}

/// How Lockstep knows its comment again. Two proposals may begin with the same commit, so it names the proposal.
fn mark(number: u64) -> String {
    format!("<!-- lockstep: proposal {number} -->\n")
}

/// The hash of Lockstep's first comment, and its newest version.
fn own_comment(lines: &[String], mark: &str) -> Option<(String, Comment)> {
    let all: Vec<Comment> = appraise::read::<Comment>(lines)
        .into_iter()
        .filter(|comment| comment.author == LOCKSTEP && comment.description.starts_with(mark))
        .collect();
    let first = all.iter().find(|comment| comment.original.is_empty())?;
    let hash = first.hash()?;
    let last = all
        .iter()
        .rev()
        .find(|comment| comment.original == hash)
        .unwrap_or(first);
    Some((hash, last.clone()))
}

/// A comment of git-appraise's. One that names no commit is taken to be on the first, so that it approves nothing later.
fn as_review(comment: &Comment, first: &Revision) -> Review {
    let commit = comment
        .location
        .as_ref()
        .and_then(|location| location.commit.parse().ok())
        .unwrap_or_else(|| first.clone());
    Review {
        user: comment.author.clone(),
        kind: match comment.resolved {
            // An answer inside a thread speaks of that thread alone.
            Some(true) if comment.parent.is_empty() => ReviewKind::Approve,
            Some(false) => ReviewKind::RequestChanges,
            Some(true) | None => ReviewKind::Comment,
        },
        commit,
        plan: None,
        at: time(&comment.timestamp),
        message: comment.description.clone(),
        signature: None,
    }
}

impl super::proposals::Records {
    /// Which proposal a comment on a commit belongs to: of those that begin there, the one that was the newest at the time.
    pub(super) fn owner(&self, first: &Revision, second: i64) -> Option<u64> {
        let mut owner = None;
        for record in self.iter().filter(|record| record.first == *first) {
            if owner.is_none() || record.line.opened_at.as_second() <= second {
                owner = Some(record.line.number);
            }
        }
        owner
    }

    /// The open proposal of a branch.
    pub(super) fn open_on(&self, branch: &str) -> Option<&Record> {
        self.iter()
            .find(|record| record.line.state == State::Open && record.line.branch == branch)
    }
}
