//! What came of a run, who it was due to, and what follows from it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ConnectorError;
use crate::ids::{Digest, PlanDigest, SystemName};
use crate::plan::safety::Breach;

/// Why one system did not do its part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum Failure {
    /// It answered so, or its connector did.
    Said { error: ConnectorError },
    /// No answer before the deadline; what the last try failed with, where one did.
    Silent { last: Option<String> },
    /// Observed at another digest than its answer leads to.
    Mismatch { expected: Digest, observed: Digest },
    /// Asked to drop what it had staged, it says that it has committed, which it was never told to.
    CommittedUnasked { error: ConnectorError },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said { error } => error.fmt(f),
            Self::Silent { last: None } => f.write_str("no answer before the deadline"),
            Self::Silent { last: Some(last) } => {
                write!(f, "no answer before the deadline ({last})")
            }
            Self::Mismatch { expected, observed } => write!(
                f,
                "its state has the digest {}, but what it says it did leads to {}",
                observed.short(),
                expected.short()
            ),
            Self::CommittedUnasked { error } => {
                write!(f, "has committed without being told to: {error}")
            }
        }
    }
}

/// Who failed, and why.
pub type Failures = BTreeMap<SystemName, Failure>;

/// What came of a run. Exactly one is recorded, and it always says why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Zero of zero changes: every system was where it should be.
    InStep,
    /// Every planned change was verified on its system.
    Applied { changes: usize },
    /// Systems said no; all stay where they were.
    Refused { systems: Failures },
    /// Systems could not be reached; all stay where they were.
    Unreachable { systems: Failures },
    /// Credentials, settings or a system's answers are wrong; all stay where they were.
    Misconfigured { systems: Failures },
    /// Systems had changed since they were observed; all stay where they were.
    Stale { systems: Failures },
    /// The engine stopped before it had decided; all stay where they were.
    Interrupted,
    /// Waits for a named person to release this very plan.
    Held {
        plan: PlanDigest,
        breaches: Vec<Breach>,
    },
    /// Decided, then taken back because of `cause`. Systems in `left` were out of reach while that happened.
    RolledBack { cause: Failures, left: Failures },
    /// These systems are not where the others are, or not known to be; a person must look.
    Stuck { systems: Failures },
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Nothing.
    Done,
    /// Observe and plan again at once.
    Replan,
    /// The same with backoff.
    Retry,
    /// The same revision won't do; wait for another.
    NewRevision,
    /// Wait for a person.
    Person,
}

impl Outcome {
    /// The outcome of a run that was aborted. The gravest failure names it: who waits for an answer must first hear what only they can mend.
    pub(crate) fn aborted(cause: Failures) -> Self {
        let grade = |failure: &Failure| match failure {
            Failure::Said {
                error: ConnectorError::Refused { .. },
            }
            | Failure::CommittedUnasked { .. } => 3,
            Failure::Said {
                error: ConnectorError::Terminal { .. },
            }
            | Failure::Mismatch { .. } => 2,
            Failure::Said {
                error: ConnectorError::Transient { .. } | ConnectorError::Fenced { .. },
            }
            | Failure::Silent { .. } => 1,
            Failure::Said {
                error: ConnectorError::Stale { .. },
            } => 0,
        };
        let Some(worst) = cause.values().map(grade).max() else {
            return Self::Interrupted;
        };
        let systems = cause
            .into_iter()
            .filter(|(_, failure)| grade(failure) == worst)
            .collect();
        match worst {
            0 => Self::Stale { systems },
            1 => Self::Unreachable { systems },
            2 => Self::Misconfigured { systems },
            _ => Self::Refused { systems },
        }
    }

    /// What the engine does next, in one place for all outcomes.
    pub fn next(&self) -> Next {
        match self {
            Self::InStep | Self::Applied { .. } => Next::Done,
            Self::Stale { .. } | Self::Interrupted => Next::Replan,
            Self::Unreachable { .. } => Next::Retry,
            // To apply what was just taken back would only swing to and fro.
            Self::Refused { .. } | Self::RolledBack { .. } => Next::NewRevision,
            Self::Misconfigured { .. } | Self::Held { .. } | Self::Stuck { .. } => Next::Person,
        }
    }

    /// Whether every planned change is on its system.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::InStep | Self::Applied { .. })
    }

    /// Whom it is due to, and why; empty where nothing failed.
    pub fn failures(&self) -> Failures {
        match self {
            Self::InStep | Self::Applied { .. } | Self::Interrupted | Self::Held { .. } => {
                Failures::new()
            }
            Self::Refused { systems }
            | Self::Unreachable { systems }
            | Self::Misconfigured { systems }
            | Self::Stale { systems }
            | Self::Stuck { systems } => systems.clone(),
            Self::RolledBack { cause, left } => {
                let mut all = left.clone();
                all.extend(cause.clone());
                all
            }
        }
    }

    /// Its name as stored: `applied`, `rolled_back`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::Applied { .. } => "applied",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Stale { .. } => "stale",
            Self::Interrupted => "interrupted",
            Self::Held { .. } => "held",
            Self::RolledBack { .. } => "rolled_back",
            Self::Stuck { .. } => "stuck",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InStep => f.write_str("already in step"),
            Self::Applied { changes: 1 } => f.write_str("applied: 1 change verified"),
            Self::Applied { changes } => write!(f, "applied: {changes} changes verified"),
            Self::Refused { systems } => write!(f, "refused by {}", Listed(systems)),
            Self::Unreachable { systems } => write!(f, "could not reach {}", Listed(systems)),
            Self::Misconfigured { systems } => write!(f, "misconfigured: {}", Listed(systems)),
            Self::Stale { systems } => write!(f, "changed meanwhile: {}", Listed(systems)),
            Self::Interrupted => {
                f.write_str("interrupted before the decision; nothing was changed")
            }
            Self::Held { plan, breaches } => {
                write!(f, "held until plan {} is released", plan.0.short())?;
                breaches.iter().enumerate().try_for_each(|(i, breach)| {
                    f.write_str(if i == 0 { ": " } else { "; " })?;
                    breach.fmt(f)
                })
            }
            Self::RolledBack { cause, left } => {
                write!(f, "rolled back because of {}", Listed(cause))?;
                if left.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; not reached: {}", Listed(left))
                }
            }
            Self::Stuck { systems } => write!(f, "a person must look at {}", Listed(systems)),
        }
    }
}

/// `medical: reason; voicedrive: reason`.
struct Listed<'a>(&'a Failures);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(i, (system, failure))| {
                let separator = if i == 0 { "" } else { "; " };
                write!(f, "{separator}{system}: {failure}")
            })
    }
}
