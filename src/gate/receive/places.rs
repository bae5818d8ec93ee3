//! Which references there are, and what may become of each, whatever they lead to.

use super::git::Whole;
use super::{MERGES, Refused, Update, Why};
use crate::forge::{NUMBERS_AHEAD, Proposal, ProposalState, highest_number};
use crate::ids::Revision;
use crate::repo::{Repo, RepoError, Steps};
use crate::tlog;

/// Notes that only ever gain lines: Lockstep's own and git-appraise's. In their folders there are no others, which could take their places.
const KEPT_NOTES: [&str; 8] = [
    "refs/notes/devtools/analyses",
    "refs/notes/devtools/ci",
    "refs/notes/devtools/discuss",
    "refs/notes/devtools/reviews",
    "refs/notes/lockstep/approvals",
    CHECKPOINTS,
    PROPOSALS,
    "refs/notes/lockstep/statuses",
];
const KEPT_FOLDERS: [&str; 2] = ["refs/notes/devtools", "refs/notes/lockstep"];
const NUMBERS: &str = "refs/lockstep/proposals/";
const HEADS: &str = "refs/lockstep/heads/";
/// Where the ledger's signed checkpoints are. They hold nothing else: whoever verifies the ledger reads all of them.
const CHECKPOINTS: &str = "refs/notes/lockstep/checkpoints";
/// Where a proposal's number, title, author and end are told.
const PROPOSALS: &str = "refs/notes/lockstep/proposals";

/// Whether a reference has a say in which proposals there are.
pub(super) fn tells_of_proposals(reference: &str) -> bool {
    reference == PROPOSALS || reference.starts_with("refs/lockstep/")
}

/// What may not be moved, by its name and its lines alone. `after` sees the repository as the push would leave it.
pub(super) fn check(
    now: &Repo,
    after: &Repo,
    updates: &[Update],
    branch: &str,
) -> Result<Vec<Refused>, RepoError> {
    let whole = Whole::new(now, updates)?;
    let main = format!("refs/heads/{branch}");
    let mut refused = Vec::new();
    for update in updates {
        let why = if now.is_alias(&update.reference)? {
            Some(Why::Alias)
        } else {
            match one(now, after, update, branch)? {
                None => whole.refuses(update, &main)?,
                why => why,
            }
        };
        refused.extend(why.map(|why| Refused {
            reference: update.reference.clone(),
            why,
        }));
    }
    Ok(refused)
}

fn one(now: &Repo, after: &Repo, update: &Update, branch: &str) -> Result<Option<Why>, RepoError> {
    let name = update.reference.as_str();
    if let Some(short) = name.strip_prefix("refs/heads/") {
        let shadows = update.to.is_some() && is_another_s_name(after, short, branch)?;
        return Ok(shadows.then(|| Why::BranchShadows {
            branch: short.to_owned(),
        }));
    }
    if let Some(tag) = name.strip_prefix("refs/tags/") {
        return one_tag(now, after, update, tag, branch);
    }
    if KEPT_NOTES.contains(&name) {
        return Ok(match notes(now, update)? {
            None if name == CHECKPOINTS => no_checkpoint(after, update)?,
            why => why,
        });
    }
    if let Some(number) = name.strip_prefix(NUMBERS).filter(|n| is_number(n)) {
        return Ok(match (&update.from, &update.to) {
            (None, Some(to)) if !now.is_commit(to)? => Some(Why::NoCommit),
            (None, Some(_)) => None,
            _ => Some(Why::NumberGiven {
                number: number.to_owned(),
            }),
        });
    }
    if name.strip_prefix(HEADS).is_some_and(is_number) {
        return Ok(match &update.to {
            None => Some(Why::HeadGone),
            Some(to) => (!now.is_commit(to)?).then_some(Why::NoCommit),
        });
    }
    let kept = |folder: &&str| name == *folder || below(name, folder);
    let other_notes = name.starts_with("refs/notes/") && !KEPT_FOLDERS.iter().any(kept);
    Ok((!other_notes).then_some(Why::Elsewhere))
}

/// A tag that would be taken for a branch where somebody names one, or that leads to no commit, where everything that fetches all references
/// expects one.
fn one_tag(
    now: &Repo,
    after: &Repo,
    update: &Update,
    tag: &str,
    branch: &str,
) -> Result<Option<Why>, RepoError> {
    let Some(to) = &update.to else {
        return Ok(None);
    };
    let shadows = tag == branch
        || is_another_s_name(after, tag, branch)?
        || after.read_ref(&format!("refs/heads/{tag}"))?.is_some();
    Ok(if shadows {
        Some(Why::Shadows {
            tag: tag.to_owned(),
        })
    } else if now.leads_to_commit(to)? {
        None
    } else {
        Some(Why::NoCommit)
    })
}

/// Whether the name of a branch or tag, short as people write it, is a longer way to write another reference: git then says that it means two, and
/// refuses to push or to fetch by that name.
fn is_another_s_name(after: &Repo, name: &str, branch: &str) -> Result<bool, RepoError> {
    if name == "HEAD" || name.starts_with("refs/") {
        return Ok(true);
    }
    let Some(inner) = name.strip_prefix("heads/") else {
        return Ok(false);
    };
    Ok(inner == branch || after.read_ref(&format!("refs/heads/{inner}"))?.is_some())
}

fn notes(now: &Repo, update: &Update) -> Result<Option<Why>, RepoError> {
    let Some(to) = &update.to else {
        return Ok(Some(Why::NotesGone));
    };
    match now.notes_fault(update.from.as_ref(), to) {
        Ok(None) => {}
        Ok(Some(why)) => return Ok(Some(Why::NoNotes { why })),
        Err(RepoError::NotFound(why)) => return Ok(Some(Why::Unreadable { why })),
        Err(error) => return Err(error),
    }
    let lost = match &update.from {
        Some(from) => now.lost_lines(from, to),
        None => Ok(Vec::new()),
    };
    match lost {
        Ok(lost) => Ok(lost
            .into_iter()
            .next()
            .map(|(commit, line)| Why::LineLost { commit, line })),
        // What can't be compared can't be shown to keep everything.
        Err(RepoError::TooLarge(why) | RepoError::NotFound(why)) => {
            Ok(Some(Why::Unreadable { why }))
        }
        Err(error) => Err(error),
    }
}

/// The first new line that is no checkpoint. Whose it is, is for whoever has the key to say.
fn no_checkpoint(after: &Repo, update: &Update) -> Result<Option<Why>, RepoError> {
    let Some(to) = &update.to else {
        return Ok(None);
    };
    let added = after.added_lines(update.from.as_ref(), to)?;
    let wrong = |(_, line): &(Revision, String)| tlog::from_line(line).is_none();
    Ok(added
        .into_iter()
        .find(wrong)
        .map(|(commit, line)| Why::NoCheckpoint { commit, line }))
}

/// What a push says of proposals that it may not say. `before` and `after` are all of them before and after it, seen from the old main.
pub(super) fn proposals(
    repo: &Repo,
    updates: &[Update],
    before: &[Proposal],
    after: &[Proposal],
    (old, new): (&Revision, &Revision),
) -> Result<Vec<Refused>, RepoError> {
    let mut refused = Vec::new();
    let mut refuse = |reference: &str, why| {
        refused.push(Refused {
            reference: reference.to_owned(),
            why,
        });
    };
    for was in before {
        let number = was.number;
        let Some(is) = after.iter().find(|p| p.number == number) else {
            refuse(PROPOSALS, Why::Rewritten { number });
            continue;
        };
        if !same_proposal(was, is) {
            refuse(PROPOSALS, Why::Rewritten { number });
        }
        let fine = match (&was.state, &is.state) {
            (ProposalState::Open, ProposalState::Open | ProposalState::Closed) => true,
            // Its own head, not one that another proposal had merged.
            (ProposalState::Open, ProposalState::Merged { commit }) => {
                merges(repo, (old, new), commit, &is.head)?
                    && repo.is_ancestor(&was.head, &is.head)?
            }
            (was, is) => was == is,
        };
        if !fine {
            refuse(PROPOSALS, Why::Ended { number });
        }
    }
    let limit = highest_number(before.iter().map(|p| p.number)).saturating_add(NUMBERS_AHEAD);
    let known = |number: u64| before.iter().any(|p| p.number == number);
    for is in after.iter().filter(|p| !known(p.number)) {
        let number = is.number;
        if number > limit {
            refuse(PROPOSALS, Why::TooHigh { number, limit });
        }
        if let ProposalState::Merged { commit } = &is.state
            && !merges(repo, (old, new), commit, &is.head)?
        {
            refuse(PROPOSALS, Why::Ended { number });
        }
    }
    for update in updates {
        let name = update.reference.as_str();
        let number = name.strip_prefix(NUMBERS).or(name.strip_prefix(HEADS));
        let (Some(number), Some(to)) = (number.and_then(|n| n.parse::<u64>().ok()), &update.to)
        else {
            continue;
        };
        if !after.iter().any(|p| p.number == number) {
            refuse(name, Why::NoSuchProposal { number });
            continue;
        }
        if !name.starts_with(HEADS) {
            continue;
        }
        let forward = match &update.from {
            Some(from) => repo.is_ancestor(from, to)?,
            None => true,
        };
        let branch = after.iter().find(|p| p.number == number);
        let is_branch = match branch {
            Some(p) => repo.read_ref(&format!("refs/heads/{}", p.branch))?.as_ref() == Some(to),
            None => false,
        };
        // A head inside main would make a proposal that has not ended look merged.
        let ended = before
            .iter()
            .any(|p| p.number == number && p.state != ProposalState::Open);
        if !(forward || is_branch) || (!ended && repo.is_ancestor(to, old)?) {
            refuse(&update.reference, Why::HeadBack { number });
        }
    }
    Ok(refused)
}

/// Whether a commit is a step by which main goes from `old` to `new`, and merges just this head.
fn merges(
    repo: &Repo,
    (old, new): (&Revision, &Revision),
    commit: &Revision,
    head: &Revision,
) -> Result<bool, RepoError> {
    Ok(match repo.steps(old, new, MERGES)? {
        Steps::Forward(steps) => steps
            .iter()
            .any(|step| step.revision == *commit && step.parents.get(1) == Some(head)),
        Steps::Beside | Steps::Lost | Steps::TooMany => false,
    })
}

/// Whether a proposal is still the one that was opened.
fn same_proposal(was: &Proposal, is: &Proposal) -> bool {
    let Proposal {
        number,
        title,
        description,
        author,
        labels,
        branch,
        base: _,
        head: _,
        opened_at,
        updated_at: _,
        fork: _,
        merged_by: _,
        state: _,
    } = was;
    (number, title, description, author) == (&is.number, &is.title, &is.description, &is.author)
        && (labels, branch, opened_at) == (&is.labels, &is.branch, &is.opened_at)
}

fn below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// A number as it is written: without zeros in front, so that each has one name.
fn is_number(text: &str) -> bool {
    text.parse::<u64>()
        .is_ok_and(|number| number > 0 && number.to_string() == text)
}
