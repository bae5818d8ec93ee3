//! What a push to the config repo may do: the gate for people who push with plain git, asked by a `pre-receive` hook.
//!
//! Main goes forward only by merges that the gate would make itself, each judged at this moment against the main before it. Notes only gain
//! lines. Everything is judged as it would be after the push, so that an approval and the merge that needs it may come together. Branches
//! of proposals are anybody's: approvals are bound to what they would do.
//!
//! It does not know who pushes: git's server does, and does not say.

use super::summary::not_counted;
use super::{Gate, GateError, Refusal};
use crate::forge::{Proposal, ProposalState};
use crate::ids::Revision;
use crate::repo::{CommitInfo, MergedTree, Refs, Repo, RepoError, Steps};
use crate::resource::Language;

mod git;
mod places;
mod why;

pub use why::{Missing, Why};

/// Merges that one push may bring. Each is judged by itself.
const MERGES: usize = 50;
/// Differing files that are named.
const NAMED_FILES: usize = 5;

/// One reference that a push would move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its full name.
    pub reference: String,
    /// `None` where it is not there yet.
    pub from: Option<Revision>,
    /// `None` where it would be deleted.
    pub to: Option<Revision>,
}

/// A reference that may not be moved so. One is enough to refuse the push as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub reference: String,
    pub why: Why,
}

/// What was found about a push that may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The first push to a repository without a main branch: there was nothing to judge it by.
    Begins,
    /// Main goes forward by this many judged merges; none where it stays.
    Merges(usize),
}

/// The gate on the repository with these references as they are given, reading what was pushed.
pub type Look<'a> = &'a (dyn Fn(Refs) -> Result<Gate, RepoError> + Sync);

/// Reads the lines that git gives to a `pre-receive` hook: `OLD NEW REFERENCE`. The line that is none is the error.
pub fn updates(lines: &str) -> Result<Vec<Update>, String> {
    let commit = |hex: &str| -> Result<Option<Revision>, ()> {
        if !hex.is_empty() && hex.bytes().all(|b| b == b'0') {
            return Ok(None);
        }
        hex.parse().map(Some).map_err(|_| ())
    };
    let update = |line: &str| {
        let mut words = line.split(' ');
        let (from, to) = (commit(words.next()?).ok()?, commit(words.next()?).ok()?);
        let reference = words.next()?.to_owned();
        let whole = words.next().is_none() && reference.starts_with("refs/");
        whole.then_some(Update {
            reference,
            from,
            to,
        })
    };
    lines
        .lines()
        .map(|line| update(line).ok_or_else(|| line.to_owned()))
        .collect()
}

/// Judges a push to a repository whose main branch is `branch`.
pub async fn judge(
    branch: &str,
    updates: &[Update],
    look: Look<'_>,
) -> Result<Result<Accepted, Vec<Refused>>, GateError> {
    let main = format!("refs/heads/{branch}");
    let now = look(Refs::new())?;
    let old = blocking(&now, {
        let main = main.clone();
        move |repo| repo.read_ref(&main)
    })
    .await?;
    let moved = updates.iter().find(|u| u.reference == main);
    let mut ahead: Refs = updates
        .iter()
        .map(|u| (u.reference.clone(), u.to.clone()))
        .collect();
    // Who proposes is seen from the main that there is.
    ahead.insert(main.clone(), old.clone());
    let after = look(ahead.clone())?;

    let mut refused = {
        let (ahead, updates, branch) = (after.repo.clone(), updates.to_vec(), branch.to_owned());
        blocking(&now, move |now| {
            places::check(now, &ahead, &updates, &branch)
        })
        .await?
    };
    // Nothing more is found by reading what can't be read.
    if refused.iter().any(|r| r.why.is_unreadable()) {
        return Ok(Err(refused));
    }
    let Some(old) = old else {
        let begins = moved.is_some_and(|m| m.to.is_some());
        // A proposal is one to a main branch.
        let early = updates
            .iter()
            .filter(|u| !begins && places::tells_of_proposals(&u.reference));
        refused.extend(early.map(|update| Refused {
            reference: update.reference.clone(),
            why: Why::NoMain,
        }));
        return Ok(match (refused.is_empty(), begins) {
            (true, true) => Ok(Accepted::Begins),
            (true, false) => Ok(Accepted::Merges(0)),
            (false, _) => Err(refused),
        });
    };
    let last = moved.and_then(|m| m.to.clone()).unwrap_or(old.clone());
    let before = now.forge.proposals(true).await?;
    if updates
        .iter()
        .any(|u| places::tells_of_proposals(&u.reference))
    {
        let known = after.forge.proposals(true).await?;
        let (before, updates) = (before.clone(), updates.to_vec());
        let found = blocking(&after, move |repo| {
            places::proposals(repo, &updates, &before, &known, (&old, &last))
        });
        refused.extend(found.await?);
    }
    let mut merges = 0;
    if let Some(moved) = moved {
        let judge = Judge {
            main: &main,
            ahead,
            before: &before,
            look,
        };
        match judge.main(&now, moved).await? {
            Ok(judged) => merges = judged,
            Err(why) => refused.push(Refused {
                reference: main.clone(),
                why,
            }),
        }
    }
    Ok(if refused.is_empty() {
        Ok(Accepted::Merges(merges))
    } else {
        Err(refused)
    })
}

/// What one push of main is judged with.
struct Judge<'a> {
    main: &'a str,
    /// All references as they would be, but main.
    ahead: Refs,
    /// The proposals before the push.
    before: &'a [Proposal],
    look: Look<'a>,
}

impl Judge<'_> {
    /// How many merges main goes forward by, all of them judged, or why it may not.
    async fn main(&self, now: &Gate, update: &Update) -> Result<Result<usize, Why>, GateError> {
        let (Some(from), Some(to)) = (update.from.clone(), update.to.clone()) else {
            return Ok(Err(Why::MainGone));
        };
        if self.ahead.get(self.main) != Some(&Some(from.clone())) {
            return Ok(Err(Why::MainMoved));
        }
        let mut base = from.clone();
        let steps = blocking(now, move |repo| repo.steps(&from, &to, MERGES)).await?;
        let steps = match steps {
            // Main merged into a proposal, where the proposal was to be merged into main.
            Steps::Forward(steps) if steps.iter().any(|s| s.parents.get(1) == Some(&base)) => {
                return Ok(Err(Why::WrongWayRound));
            }
            Steps::Forward(steps) => steps,
            Steps::Beside => return Ok(Err(Why::WrongWayRound)),
            Steps::Lost => return Ok(Err(Why::MainRewritten)),
            Steps::TooMany => return Ok(Err(Why::TooMany { limit: MERGES })),
        };
        for step in &steps {
            let mut refs = self.ahead.clone();
            refs.insert(self.main.to_owned(), Some(base.clone()));
            let gate = (self.look)(refs)?;
            if let Some(why) = self.step(&gate, &base, step).await? {
                return Ok(Err(why));
            }
            base = step.revision.clone();
        }
        Ok(Ok(steps.len()))
    }

    /// Why main may not go from `base` to this commit on top of it.
    async fn step(
        &self,
        gate: &Gate,
        base: &Revision,
        step: &CommitInfo,
    ) -> Result<Option<Why>, GateError> {
        let commit = step.revision.clone();
        let head = match step.parents.as_slice() {
            [_, head] => head.clone(),
            [] | [_] => return Ok(Some(Why::NoMerge { commit })),
            [_, _, ..] => {
                let parents = step.parents.len();
                return Ok(Some(Why::Octopus { commit, parents }));
            }
        };
        let all = gate.forge.proposals(true).await?;
        let mut why = None;
        for proposal in all.iter().filter(|p| p.head == head) {
            match self.candidate(gate, base, step, proposal).await? {
                None => return Ok(None),
                Some(found) => why = why.or(Some(found)),
            }
        }
        if why.is_some() {
            return Ok(why);
        }
        let of = head.clone();
        let moved_on = blocking(gate, move |repo| {
            for proposal in all {
                if proposal.state == ProposalState::Open && repo.is_ancestor(&of, &proposal.head)? {
                    return Ok(Some(proposal));
                }
            }
            Ok(None)
        });
        Ok(Some(match moved_on.await? {
            Some(proposal) => Why::HeadMoved {
                number: proposal.number,
                merged: head,
                head: proposal.head,
            },
            None => Why::NoProposal { commit, head },
        }))
    }

    /// Why this merge is not what the gate would make of a proposal.
    async fn candidate(
        &self,
        gate: &Gate,
        base: &Revision,
        step: &CommitInfo,
        proposal: &Proposal,
    ) -> Result<Option<Why>, GateError> {
        let number = proposal.number;
        let earlier = self.before.iter().find(|p| p.number == number);
        let ended = match (earlier.map(|p| &p.state), &proposal.state) {
            (Some(ProposalState::Closed), _) | (_, ProposalState::Closed) => {
                Some(Refusal::Closed { number })
            }
            (Some(ProposalState::Merged { commit }), _) => Some(Refusal::Merged {
                number,
                commit: commit.clone(),
            }),
            // Its own notes may come along and say so already.
            (_, ProposalState::Merged { commit }) if *commit != step.revision => {
                Some(Refusal::Merged {
                    number,
                    commit: commit.clone(),
                })
            }
            (_, ProposalState::Merged { .. } | ProposalState::Open) => None,
        };
        if let Some(ended) = ended {
            return Ok(Some(Why::Gate(ended)));
        }
        let judged = gate
            .judge_as(Proposal {
                base: base.clone(),
                state: ProposalState::Open,
                ..proposal.clone()
            })
            .await?;
        if !judged.passes() {
            let told = |language| Missing {
                statuses: judged.missing(language),
                not_counted: not_counted(&judged, language),
            };
            return Ok(Some(Why::NotReady {
                number,
                english: told(Language::English),
                japanese: told(Language::Japanese),
            }));
        }
        let (base, head, commit) = (base.clone(), proposal.head.clone(), step.revision.clone());
        let files = blocking(gate, move |repo| other_files(repo, &base, &head, &commit)).await?;
        Ok((!files.is_empty()).then(|| Why::OtherContent {
            commit: step.revision.clone(),
            number,
            files,
        }))
    }
}

/// The files that a merge commit has otherwise than the merge itself would give.
fn other_files(
    repo: &Repo,
    base: &Revision,
    head: &Revision,
    commit: &Revision,
) -> Result<Vec<String>, RepoError> {
    match repo.merged_tree(base, head)? {
        MergedTree::Conflict(files) => Ok(files),
        MergedTree::Clean(tree) if tree == repo.tree_of(commit)? => Ok(Vec::new()),
        MergedTree::Clean(tree) => {
            let mut files: Vec<String> = repo.changed_paths(commit, tree)?.into_keys().collect();
            files.truncate(NAMED_FILES);
            // Trees that differ in nothing that a diff shows, such as a folder that is empty, differ all the same.
            if files.is_empty() {
                files.push("(its folders)".to_owned());
            }
            Ok(files)
        }
    }
}

/// Reads the repository off the async threads.
async fn blocking<T: Send + 'static>(
    gate: &Gate,
    work: impl FnOnce(&Repo) -> Result<T, RepoError> + Send + 'static,
) -> Result<T, GateError> {
    let repo = gate.repo.clone();
    Ok(tokio::task::spawn_blocking(move || work(&repo)).await??)
}

#[cfg(test)]
mod tests;
