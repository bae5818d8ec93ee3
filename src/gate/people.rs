//! Who is who: from what a forge calls somebody to their key in `people:` at the base.

use std::collections::BTreeSet;

use super::{GateError, Refusal};
use crate::config::{Config, Person};
use crate::forge::{Logins, Proposal};
use crate::repo::{Repo, RepoError};

/// The person behind a name that the forge gives.
pub fn known<'c>(config: &'c Config, who: &str, logins: Logins) -> Option<(&'c str, &'c Person)> {
    match logins {
        Logins::Own => config.person(who),
        Logins::Hosted => config.person_of_login(who),
    }
}

/// The person's key, or the name as it is; an account that is nobody's here is written so that it can't be taken for a key.
pub(super) fn key(config: &Config, who: &str, logins: Logins) -> String {
    match (known(config, who, logins), logins) {
        (Some((key, _)), _) => key.to_owned(),
        (None, Logins::Own) => who.to_owned(),
        (None, Logins::Hosted) => format!("@{who}"),
    }
}

/// The key of someone under `people:`.
pub(super) fn member<'c>(
    config: &'c Config,
    user: &str,
    logins: Logins,
) -> Result<&'c str, GateError> {
    match known(config, user, logins) {
        Some((key, _)) => Ok(key),
        None => Err(GateError::Refused(Refusal::Stranger {
            user: user.to_owned(),
            known: config.people.keys().cloned().collect(),
        })),
    }
}

/// Everyone who had a hand in a proposal: who opened it, and who made its commits, as far as they are known.
pub(super) fn authors(
    repo: &Repo,
    proposal: &Proposal,
    config: &Config,
    logins: Logins,
) -> Result<BTreeSet<String>, RepoError> {
    let mut authors = BTreeSet::from([key(config, &proposal.author, logins)]);
    for revision in repo.commits_between(&proposal.base, &proposal.head)? {
        let author = repo.commit(&revision)?.author;
        let mailbox = author.email.split('@').next().unwrap_or_default();
        // GitHub's private addresses are `<number>+<login>`.
        let login = mailbox.split_once('+').map_or(mailbox, |(_, login)| login);
        let known = config
            .person(&author.name)
            .or_else(|| config.person(mailbox))
            .or_else(|| config.person_of_login(login));
        authors.extend(known.map(|(key, _)| key.to_owned()));
    }
    Ok(authors)
}
