//! Which references there are, and what may become of each, whatever they lead to.

use super::{Refused, Update, Why};
use crate::forge::{Proposal, ProposalState};
use crate::ids::Revision;
use crate::repo::{Repo, RepoError};

/// Notes that only ever gain lines.
const KEPT_NOTES: [&str; 2] = ["refs/notes/devtools", "refs/notes/lockstep"];
const NUMBERS: &str = "refs/lockstep/proposals/";
const HEADS: &str = "refs/lockstep/heads/";
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
    let mut refused = Vec::new();
    for update in updates {
        let why = if now.is_alias(&update.reference)? {
            Some(Why::Alias)
        } else {
            one(now, after, update, branch)?
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
    if name.starts_with("refs/heads/") {
        return Ok(None);
    }
    if let Some(tag) = name.strip_prefix("refs/tags/") {
        return tag_shadows(after, update, tag, branch);
    }
    if KEPT_NOTES.iter().any(|kept| below(name, kept)) {
        return notes(now, update);
    }
    if let Some(number) = name.strip_prefix(NUMBERS).filter(|n| is_number(n)) {
        let new = update.from.is_none() && update.to.is_some();
        return Ok((!new).then(|| Why::NumberGiven {
            number: number.to_owned(),
        }));
    }
    if name.strip_prefix(HEADS).is_some_and(is_number) {
        return Ok(update.to.is_none().then_some(Why::HeadGone));
    }
    let other_notes = name.starts_with("refs/notes/") && !KEPT_NOTES.contains(&name);
    Ok((!other_notes).then_some(Why::Elsewhere))
}

/// A tag that would be taken for a branch where somebody names one.
fn tag_shadows(
    after: &Repo,
    update: &Update,
    tag: &str,
    branch: &str,
) -> Result<Option<Why>, RepoError> {
    let mains = [
        branch.to_owned(),
        format!("heads/{branch}"),
        format!("refs/heads/{branch}"),
        "HEAD".to_owned(),
    ];
    let shadows = update.to.is_some()
        && (mains.iter().any(|main| main == tag)
            || after.read_ref(&format!("refs/heads/{tag}"))?.is_some());
    Ok(shadows.then(|| Why::Shadows {
        tag: tag.to_owned(),
    }))
}

fn notes(now: &Repo, update: &Update) -> Result<Option<Why>, RepoError> {
    let Some(to) = &update.to else {
        return Ok(Some(Why::NotesGone));
    };
    let lost = match &update.from {
        Some(from) => now.lost_lines(from, to),
        None => now.commit(to).map(|_| Vec::new()),
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
            (ProposalState::Open, ProposalState::Merged { commit }) => {
                // A commit that nobody has is in no history.
                repo.commit(commit).is_ok()
                    && repo.is_ancestor(commit, new)?
                    && repo.is_ancestor(&is.head, commit)?
            }
            (was, is) => was == is,
        };
        if !fine {
            refuse(PROPOSALS, Why::Ended { number });
        }
    }
    for update in updates {
        let number = update.reference.strip_prefix(HEADS);
        let (Some(number), Some(to)) = (number.and_then(|n| n.parse::<u64>().ok()), &update.to)
        else {
            continue;
        };
        let forward = match &update.from {
            Some(from) => repo.is_ancestor(from, to)?,
            None => true,
        };
        let branch = after.iter().find(|p| p.number == number);
        let is_branch = match branch {
            Some(p) => repo.read_ref(&format!("refs/heads/{}", p.branch))?.as_ref() == Some(to),
            None => false,
        };
        // A head inside main would make an open proposal look merged.
        let was_open = before
            .iter()
            .any(|p| p.number == number && p.state == ProposalState::Open);
        if !(forward || is_branch) || (was_open && repo.is_ancestor(to, old)?) {
            refuse(&update.reference, Why::HeadBack { number });
        }
    }
    Ok(refused)
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
