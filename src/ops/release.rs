//! A named person lets one held plan pass, by its digest.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::config::Config;
use crate::ids::{Digest, InvalidId, PlanDigest};
use crate::plan::safety::{self, Breach, Rule};
use crate::record::{Outcome, Run};
use crate::resource::Language;
use crate::store::{Reach, Release, Store, StoreError, StoredRun};

/// How many of a group's latest runs are looked through for plans that wait for a person.
const HELD_AMONG: u32 = 100;

/// The fewest digits of a digest that tell plans apart.
const DIGITS: usize = 8;

/// Why a plan was not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("{given:?} is too short for a plan's digest: give at least 8 digits")]
    Short { given: String },
    #[error("no held plan has this digest; held are: {}", listed(held))]
    NotHeld { held: Vec<PlanDigest> },
    /// Of a name that can't stand in the ledger.
    #[error("{0}")]
    Name(#[from] InvalidId),
    #[error("{person} may not release this plan: it takes the role {roles}")]
    Role { person: String, roles: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReleaseError {
    /// For a person.
    pub fn say(&self, language: Language) -> String {
        match (self, language) {
            (Self::Short { given }, Language::Japanese) => {
                format!("{given:?} は計画のダイジェストには短すぎます。8 桁以上を指定してください")
            }
            (Self::NotHeld { held }, Language::Japanese) => format!(
                "このダイジェストの計画は保留されていません。保留中: {}",
                listed(held)
            ),
            (Self::Role { person, roles }, Language::Japanese) => {
                format!("{person} にはこの計画を解放する役割がありません。必要な役割: {roles}")
            }
            (Self::Name(_) | Self::Store(_), Language::Japanese) | (_, Language::English) => {
                self.to_string()
            }
        }
    }
}

fn listed(held: &[PlanDigest]) -> String {
    if held.is_empty() {
        return "-".to_owned();
    }
    let held: Vec<String> = held.iter().map(ToString::to_string).collect();
    held.join(", ")
}

/// Who releases, and why.
#[derive(Debug, Clone, Copy)]
pub struct Releaser<'a> {
    /// The key in `people:` at the base.
    pub person: &'a str,
    pub roles: &'a [String],
    pub because: &'a str,
}

/// Releases the held plan whose digest is this or begins with it.
pub async fn release(
    store: &Store,
    config: &Config,
    digest: &str,
    by: Releaser<'_>,
    at: Timestamp,
) -> Result<PlanDigest, ReleaseError> {
    let held = held_plans(store, config).await?;
    if digest.len() < DIGITS {
        return Err(ReleaseError::Short {
            given: digest.to_owned(),
        });
    }
    let matches = |plan: &PlanDigest| match digest.parse::<Digest>() {
        Ok(digest) => plan.0 == digest,
        Err(_) => plan.to_string().starts_with(digest),
    };
    let matching: Vec<_> = held.iter().filter(|(plan, _)| matches(plan)).collect();
    let [(plan, breaches)] = matching.as_slice() else {
        let held = held.into_iter().map(|(plan, _)| plan).collect();
        return Err(ReleaseError::NotHeld { held });
    };
    if !safety::may_release(by.roles, breaches) {
        return Err(ReleaseError::Role {
            person: by.person.to_owned(),
            roles: format!("{}{}", safety::RELEASERS.join(" or "), excepted(breaches)),
        });
    }
    store
        .release(&Release {
            plan: *plan,
            by: by.person.parse()?,
            because: by.because.to_owned(),
            at,
        })
        .await?;
    Ok(*plan)
}

/// The plans that wait for a person, and why.
pub async fn held_plans(
    store: &Store,
    config: &Config,
) -> Result<Vec<(PlanDigest, Vec<Breach>)>, StoreError> {
    let mut held = Vec::new();
    for group in config.effective_groups().keys() {
        let last = store.recent_runs(group, Reach::Whole, 1).await?;
        let last = last.into_iter().next();
        let outcome = |run: &StoredRun| {
            let outcome = run.outcome.clone()?;
            serde_json::from_value::<Outcome>(outcome).ok()
        };
        // Once the group has moved as a whole, nothing of its systems' waits by itself.
        let moved = last
            .as_ref()
            .and_then(&outcome)
            .is_some_and(|o| o.is_success());
        let since = last.as_ref().filter(|_| moved).map(|run| run.run.id);
        let urgent = store.recent_runs(group, Reach::Urgent, HELD_AMONG).await?;
        let urgent = urgent.into_iter().filter(|run| Some(run.run.id) > since);
        let mut seen = BTreeSet::new();
        for stored in last.into_iter().chain(urgent) {
            // Of each system the newest counts, and the group's.
            let whose = serde_json::from_value::<Run>(stored.run.body.clone())
                .ok()
                .filter(|run| !run.scope.is_whole())
                .map(|run| run.members.into_keys().collect::<Vec<_>>());
            if !seen.insert(whose) {
                continue;
            }
            if let Some(Outcome::Held { plan, breaches }) = outcome(&stored) {
                held.push((plan, breaches));
            }
        }
    }
    Ok(held)
}

/// The roles that a freeze excepts may release what it alone holds.
fn excepted(breaches: &[Breach]) -> String {
    let roles: BTreeSet<&str> = breaches
        .iter()
        .flat_map(|breach| match &breach.rule {
            Rule::Freeze { roles, .. } => roles.as_slice(),
            Rule::Emptied
            | Rule::SmallTable { .. }
            | Rule::DeleteCount { .. }
            | Rule::DeleteShare { .. }
            | Rule::UpdateShare { .. }
            | Rule::LastAdmin
            | Rule::Lost { .. }
            | Rule::OwnAccess
            | Rule::Denied { .. } => &[],
        })
        .map(String::as_str)
        .filter(|role| safety::may_release(&[(*role).to_owned()], breaches))
        .collect();
    roles.iter().map(|role| format!(" or {role}")).collect()
}
