//! Listing, closing and merging proposals.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::appraise::{self, Comment, REVIEWS, Request, go_json, seconds, stamp};
use super::record::{self, HEADS, NUMBERS, PROPOSALS, ProposalLine, State};
use super::reviews::open_only;
use super::{LOCKSTEP, Local};
use crate::forge::{ForgeError, Proposal, ProposalState};
use crate::ids::Revision;
use crate::repo::{CommitInfo, Identity, Merge, MergeResult, RepoError};

/// How far back a merge made with plain git is looked for.
const MERGE_SEARCH: usize = 1_000;
/// Past any honest count; a line with more is not ours.
const HIGHEST_NUMBER: u64 = 1 << 40;

/// A proposal's newest line and the commit it is on.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// The first commit of the proposal, which all its notes are on.
    pub(super) first: Revision,
    pub(super) line: ProposalLine,
}

/// All proposals as of one commit of their notes.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<u64, Record>);

impl Records {
    /// By number.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.0.values()
    }
}

impl Local {
    pub(super) fn main(&self) -> Result<Revision, ForgeError> {
        self.repo.head(&self.branch)?.ok_or_else(|| {
            ForgeError::Refused(format!(
                "there is no branch {:?} yet; push the config repo's first commit to it",
                self.branch
            ))
        })
    }

    /// All proposals. They are read again only when their notes have moved.
    pub(super) fn records(&self) -> Result<Arc<Records>, ForgeError> {
        let Some(tip) = self.repo.read_ref(PROPOSALS)? else {
            return Ok(Arc::default());
        };
        let kept = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, records)) = &*kept
            && *at == tip
        {
            return Ok(Arc::clone(records));
        }
        drop(kept);
        let mut all = BTreeMap::new();
        for (first, lines) in self.repo.list_notes(PROPOSALS)? {
            for line in record::read::<ProposalLine>(&lines) {
                let known: Option<&Record> = all.get(&line.number);
                let elsewhere = known.is_some_and(|known| known.first != first);
                if !(1..=HIGHEST_NUMBER).contains(&line.number)
                    || (elsewhere && !self.has_number(&first, line.number))
                {
                    continue;
                }
                let first = first.clone();
                all.insert(line.number, Record { first, line });
            }
        }
        let records = Arc::new(Records(all));
        let mut kept = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // If the notes moved between the two reads this holds more than `tip` says, and is read once more than needed.
        *kept = Some((tip, Arc::clone(&records)));
        Ok(records)
    }

    /// Whether a proposal that begins here was given this number. Asked where two claim one, as after merging notes of two clones.
    fn has_number(&self, first: &Revision, number: u64) -> bool {
        self.commit_at(&format!("{NUMBERS}/{number}")).as_ref() == Some(first)
    }

    /// The commit that a reference of a proposal's leads to. One that leads to none, or can't be read, must not hide the other proposals.
    pub(super) fn commit_at(&self, name: &str) -> Option<Revision> {
        self.repo.read_ref(name).unwrap_or_else(|error| {
            tracing::warn!(name, %error, "a reference is passed over");
            None
        })
    }

    pub(super) fn find(&self, number: u64) -> Result<(Arc<Records>, Record), ForgeError> {
        let records = self.records()?;
        match records.0.get(&number) {
            Some(record) => Ok((Arc::clone(&records), record.clone())),
            None => Err(ForgeError::Refused(format!(
                "there is no proposal #{number}; `lockstep proposal list --all` shows all"
            ))),
        }
    }

    pub(super) fn proposal(&self, number: u64) -> Result<Proposal, ForgeError> {
        let (_, record) = self.find(number)?;
        self.view(&record, &self.main()?)
    }

    pub(super) fn proposals(&self, all: bool) -> Result<Vec<Proposal>, ForgeError> {
        let records = self.records()?;
        if records.0.is_empty() {
            return Ok(Vec::new());
        }
        let main = self.main()?;
        let mut found = Vec::new();
        for record in records.iter().rev() {
            if !all && record.line.state != State::Open {
                continue;
            }
            let proposal = self.view(record, &main)?;
            if all || proposal.state == ProposalState::Open {
                found.push(proposal);
            }
        }
        Ok(found)
    }

    /// A proposal as it stands, with what plain git did to it since the last look.
    fn view(&self, record: &Record, main: &Revision) -> Result<Proposal, ForgeError> {
        let line = &record.line;
        let shown = |base: &Revision, head: &Revision, state: ProposalState| Proposal {
            number: line.number,
            title: line.title.clone(),
            description: line.description.clone(),
            author: line.author.clone(),
            labels: line.labels.clone(),
            branch: line.branch.clone(),
            base: base.clone(),
            head: head.clone(),
            opened_at: line.opened_at,
            updated_at: None,
            fork: None,
            merged_by: None,
            state,
        };
        match line.state {
            State::Closed => return Ok(shown(main, &line.head, ProposalState::Closed)),
            State::Merged => {
                let commit = line.commit.clone().unwrap_or_else(|| line.head.clone());
                let state = ProposalState::Merged { commit };
                return Ok(shown(&line.base, &line.head, state));
            }
            State::Open => {}
        }
        let kept_ref = format!("{HEADS}/{}", line.number);
        let kept = self.commit_at(&kept_ref);
        let seen = kept.clone().unwrap_or_else(|| line.head.clone());
        let head = match self.repo.head(&line.branch) {
            Ok(head) => head.unwrap_or_else(|| seen.clone()),
            // A line that was not written by us must not hide the proposals of others, nor a branch that leads to no commit.
            Err(RepoError::Invalid(_) | RepoError::Git { .. }) => seen.clone(),
            Err(error) => return Err(error.into()),
        };
        let Some((merged, step)) = self.merged(record, &seen, &head, main)? else {
            // A head inside main may be a branch that was reset; what was proposed is the one before.
            if kept.as_ref() != Some(&head) && !self.in_main(&head, main)? {
                // Only so that the head outlives its branch: on a read-only repository it won't.
                let moved = self.repo.move_ref(&kept_ref, kept.as_ref(), &head);
                tracing::debug!(proposal = line.number, ?moved, "noticed a new head");
            }
            return Ok(shown(main, &head, ProposalState::Open));
        };
        let base = step.parents.first().unwrap_or(&line.base);
        let commit = step.revision.clone();
        let noticed = self.end(record, State::Merged, base, &merged, Some(&commit), None);
        tracing::debug!(proposal = line.number, ?noticed, "noticed a merge");
        Ok(shown(base, &merged, ProposalState::Merged { commit }))
    }

    /// The head of a proposal that main merged, and the merge. That main has a commit somewhere is no merge of the proposal: its branch may
    /// have been reset, or another proposal may have brought the commit along.
    fn merged(
        &self,
        record: &Record,
        seen: &Revision,
        head: &Revision,
        main: &Revision,
    ) -> Result<Option<(Revision, CommitInfo)>, ForgeError> {
        if let Some(step) = self.merge_of(seen, main)? {
            return Ok(Some((seen.clone(), step)));
        }
        // Pushed and merged between two looks. A branch that was set to the head of another proposal does not begin as its own did.
        if head != seen
            && let Some(step) = self.merge_of(head, main)?
            && let Some(base) = step.parents.first()
            && self.in_main(&record.first, head)?
            && !self.in_main(&record.first, base)?
        {
            return Ok(Some((head.clone(), step)));
        }
        Ok(None)
    }

    /// The step of main's own history that merges just this commit.
    fn merge_of(&self, head: &Revision, main: &Revision) -> Result<Option<CommitInfo>, ForgeError> {
        if !self.in_main(head, main)? {
            return Ok(None);
        }
        let step = self.repo.brought_in_by(head, main, MERGE_SEARCH)?;
        Ok(step.filter(|step| step.parents.get(1) == Some(head)))
    }

    /// Whether main has a commit. One that is not in this repository at all it has not.
    fn in_main(&self, commit: &Revision, main: &Revision) -> Result<bool, ForgeError> {
        match self.repo.commit(commit) {
            Ok(_) => Ok(self.repo.is_ancestor(commit, main)?),
            Err(RepoError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The review request as git-appraise reads it; an empty target abandons it.
    pub(super) fn request(&self, record: &Record, target: &str) -> Result<(), ForgeError> {
        let line = &record.line;
        let now = self.clock.now();
        let mut description = appraise::text(&line.title);
        if !line.description.is_empty() {
            description.push_str("\n\n");
            description.push_str(&line.description);
        }
        self.repo
            .update_note::<ForgeError>(REVIEWS, &record.first, now, &mut |lines| {
                let last = appraise::read::<Request>(lines)
                    .last()
                    .map_or(0, |last| seconds(&last.timestamp));
                let request = Request {
                    timestamp: stamp(now.as_second().max(last)),
                    review_ref: format!("refs/heads/{}", line.branch),
                    target_ref: target.to_owned(),
                    requester: line.author.clone(),
                    description: description.clone(),
                    base_commit: line.base.to_string(),
                    ..Request::default()
                };
                Ok(go_json(&request).into_iter().collect())
            })?;
        Ok(())
    }

    /// Writes what became of a proposal, once.
    fn end(
        &self,
        record: &Record,
        state: State,
        base: &Revision,
        head: &Revision,
        commit: Option<&Revision>,
        by: Option<&str>,
    ) -> Result<(), ForgeError> {
        let now = self.clock.now();
        let number = record.line.number;
        self.repo
            .update_note::<ForgeError>(PROPOSALS, &record.first, now, &mut |lines| {
                let lines = record::read::<ProposalLine>(lines);
                let last = lines.iter().rev().find(|line| line.number == number);
                if last.is_none_or(|line| line.state != State::Open) {
                    return Ok(Vec::new());
                }
                Ok(record::write(&ProposalLine {
                    timestamp: stamp(now.as_second()),
                    sequence: record::next(&lines),
                    state,
                    base: base.clone(),
                    head: head.clone(),
                    commit: commit.cloned(),
                    by: by.map(ToOwned::to_owned),
                    ..record.line.clone()
                }))
            })?;
        Ok(())
    }

    pub(super) fn close(&self, number: u64, by: &str, message: &str) -> Result<(), ForgeError> {
        let (_, record) = self.find(number)?;
        let proposal = self.proposal(number)?;
        open_only(number, &proposal.state)?;
        if !message.trim().is_empty() {
            let now = self.clock.now();
            let comment = Comment {
                timestamp: stamp(now.as_second()),
                author: by.to_owned(),
                description: appraise::text(message),
                ..Comment::default()
            };
            self.discuss(&record.first, &comment, now)?;
        }
        self.request(&record, "")?;
        self.end(
            &record,
            State::Closed,
            &proposal.base,
            &proposal.head,
            None,
            Some(by),
        )
    }

    pub(super) fn merge(&self, proposal: &Proposal, by: &str) -> Result<Revision, ForgeError> {
        let number = proposal.number;
        let (_, record) = self.find(number)?;
        let now = self.proposal(number)?;
        open_only(number, &now.state)?;
        let moved = |what: &str| {
            ForgeError::Conflict(format!(
                "{what} has moved since proposal #{number} was judged; it is judged again"
            ))
        };
        if now.head != proposal.head {
            return Err(moved(&format!("the branch {:?}", now.branch)));
        }
        if now.base != proposal.base {
            return Err(moved(&self.branch));
        }
        let mut message = format!("Merge proposal #{number}: {}\n", now.title);
        if !now.description.trim().is_empty() {
            message.push_str(&format!("\n{}\n", now.description.trim()));
        }
        let result = self.repo.merge(&Merge {
            branch: &self.branch,
            base: &proposal.base,
            head: &proposal.head,
            message: &message,
            who: &self.identity_of(by)?,
            at: self.clock.now(),
        })?;
        match result {
            MergeResult::Merged(commit) => {
                // The merge stands whatever becomes of this line: the next look notices it.
                let noted = self.end(
                    &record,
                    State::Merged,
                    &proposal.base,
                    &proposal.head,
                    Some(&commit),
                    Some(by),
                );
                tracing::debug!(proposal = number, ?noted, "merged");
                Ok(commit)
            }
            MergeResult::Moved => Err(moved(&self.branch)),
            MergeResult::UpToDate => Err(ForgeError::Refused(format!(
                "{} has all of proposal #{number} already",
                self.branch
            ))),
            MergeResult::Conflict(paths) => Err(ForgeError::Refused(format!(
                "proposal #{number} and {} both changed {}; merge {} into {:?} and push it",
                self.branch,
                paths.join(", "),
                self.branch,
                now.branch
            ))),
        }
    }

    /// The name and address a login commits under: git's own where it is the same person, else an address that nobody has.
    fn identity_of(&self, login: &str) -> Result<Identity, ForgeError> {
        if login.trim().is_empty() {
            return Err(ForgeError::Refused(
                "a merge needs someone who does it".into(),
            ));
        }
        if let Some(user) = self.repo.identity()?
            && (user.name == login || user.email == login)
        {
            return Ok(user);
        }
        if login.contains('@') {
            return Ok(Identity::new(login, login));
        }
        let local: String = login
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        Ok(Identity::new(login, format!("{local}@{LOCKSTEP}.invalid")))
    }
}
