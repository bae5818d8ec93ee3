//! Opening a proposal: what may be one, which commit its notes are on, and its number.

use super::Local;
use super::appraise::{self, stamp};
use super::proposals::{Record, Records};
use super::record::{self, HEADS, NUMBERS, PROPOSALS, ProposalLine, State};
use super::statuses::one_line;
use crate::forge::{ForgeError, NewProposal, Proposal, highest_number};
use crate::ids::Revision;
use crate::repo::RepoError;

const NUMBER_TRIES: usize = 100;

impl Local {
    pub(super) fn open(&self, new: &NewProposal) -> Result<Proposal, ForgeError> {
        let title = one_line(&new.title);
        if title.is_empty() || new.author.trim().is_empty() {
            return Err(ForgeError::Refused(
                "a proposal needs a title and an author".into(),
            ));
        }
        if new.branch == self.branch {
            return Err(ForgeError::Refused(format!(
                "{} is the main branch; put the change on a branch of its own",
                self.branch
            )));
        }
        let main = self.main()?;
        let head = self.repo.head(&new.branch)?.ok_or_else(|| {
            ForgeError::Refused(format!(
                "there is no branch {:?} in {}; push it first",
                new.branch,
                self.repo.path().display()
            ))
        })?;
        // What has been merged with plain git must not count as open.
        self.proposals(false)?;
        let records = self.records()?;
        if let Some(open) = records.open_on(&new.branch) {
            return Err(ForgeError::Refused(format!(
                "proposal #{} is open for {:?} already; push to that branch to change it",
                open.line.number, new.branch
            )));
        }
        let first = self.first_commit(&records, new, &main, &head)?;
        let now = self.clock.now();
        let (number, own_ref) = self.take_number(&records, &first)?;
        let line = ProposalLine {
            timestamp: stamp(now.as_second()),
            sequence: 0,
            number,
            state: State::Open,
            title,
            description: appraise::text(&new.description),
            author: new.author.clone(),
            labels: new.labels.clone(),
            branch: new.branch.clone(),
            opened_at: now,
            base: main.clone(),
            head: head.clone(),
            commit: None,
            by: None,
            v: 0,
        };
        let written = self
            .repo
            .update_note::<ForgeError>(PROPOSALS, &first, now, &mut |lines| {
                let mut lines = record::read::<ProposalLine>(lines);
                let sequence = record::next(&lines);
                // Checked again where no one can come in between.
                lines.reverse();
                let rival = lines.iter().enumerate().find(|(at, other)| {
                    other.state == State::Open
                        && !lines.iter().take(*at).any(|l| l.number == other.number)
                });
                if let Some((_, rival)) = rival {
                    return Err(ForgeError::Refused(format!(
                        "proposal #{} has just been opened for these commits",
                        rival.number
                    )));
                }
                Ok(record::write(&ProposalLine {
                    sequence,
                    ..line.clone()
                }))
            });
        if let Err(error) = written {
            self.repo.delete_ref(&own_ref)?;
            return Err(error);
        }
        // A reference that was there before its proposal says nothing about it.
        let kept = format!("{HEADS}/{number}");
        let there = self.commit_at(&kept);
        match self.repo.move_ref(&kept, there.as_ref(), &head) {
            // Another reader was quicker to notice the head.
            Ok(()) | Err(RepoError::Moved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.request(
            &Record { first, line },
            &format!("refs/heads/{}", self.branch),
        )?;
        self.proposal(number)
    }

    /// The first commit that is the proposal's alone: what git-appraise puts a review on.
    fn first_commit(
        &self,
        records: &Records,
        new: &NewProposal,
        main: &Revision,
        head: &Revision,
    ) -> Result<Revision, ForgeError> {
        if self.repo.merge_base(main, head)?.is_none() {
            return Err(ForgeError::Refused(format!(
                "{:?} and {} share no history; make the branch from {}",
                new.branch, self.branch, self.branch
            )));
        }
        let commits = self.repo.commits_between(main, head)?;
        if commits.is_empty() {
            return Err(ForgeError::Refused(format!(
                "{:?} has nothing that {} lacks; commit the change to it first",
                new.branch, self.branch
            )));
        }
        let rival = |first: &Revision| {
            records
                .iter()
                .find(|r| r.line.state == State::Open && r.first == *first)
        };
        if let Some(first) = commits.iter().find(|commit| rival(commit).is_none()) {
            return Ok(first.clone());
        }
        let number = commits.first().and_then(rival).map_or(0, |r| r.line.number);
        Err(ForgeError::Refused(format!(
            "proposal #{number} proposes these commits already"
        )))
    }

    /// The next number, which no one else has: the reference is created only if it is not there.
    fn take_number(
        &self,
        records: &Records,
        first: &Revision,
    ) -> Result<(u64, String), ForgeError> {
        let named: Vec<u64> = records.iter().map(|r| r.line.number).collect();
        for _ in 0..NUMBER_TRIES {
            let taken = self.repo.list_refs(NUMBERS)?;
            let taken = taken.iter().filter_map(|(name, _)| name.parse().ok());
            let number = highest_number(taken.chain(named.iter().copied())).saturating_add(1);
            let name = format!("{NUMBERS}/{number}");
            match self.repo.move_ref(&name, None, first) {
                Ok(()) => return Ok((number, name)),
                Err(RepoError::Moved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ForgeError::Conflict(
            "many proposals are being opened at once; try again".into(),
        ))
    }
}
