//! What systems answer, as far as the protocol and the record must know it: a failure with its class, a receipt.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, ResourceRef};

/// Why a system did not do what was asked. The class decides what happens next, never the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum ConnectorError {
    /// It may work later: unreachable, timed out, overloaded, 5xx. Retried with backoff.
    #[error("{message}")]
    Transient { message: String },
    /// The system understood and said no. Retrying the same will not help; each change may have a reason.
    #[error("{message}{}", Reasons(reasons))]
    Refused {
        message: String,
        reasons: Vec<Reason>,
    },
    /// Configuration or protocol is wrong: credentials, an answer that is no answer. A person must look.
    #[error("{message}")]
    Terminal { message: String },
    /// The state is not the one that was planned on: observe and plan again.
    #[error("{message}")]
    Stale { message: String },
    /// A newer holder of the lease has been here: stop.
    #[error("{message}")]
    Fenced { message: String },
}

impl ConnectorError {
    /// The same with another message: what knows the system's name puts it in front of what does not.
    #[must_use]
    pub fn map_message(self, say: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Transient { message } => Self::Transient {
                message: say(message),
            },
            Self::Refused { message, reasons } => Self::Refused {
                message: say(message),
                reasons,
            },
            Self::Terminal { message } => Self::Terminal {
                message: say(message),
            },
            Self::Stale { message } => Self::Stale {
                message: say(message),
            },
            Self::Fenced { message } => Self::Fenced {
                message: say(message),
            },
        }
    }
}

/// How many reasons a message shows; all of them are in the record.
const SHOWN: usize = 3;

/// `: FeatureFlag/a: why; FeatureFlag/b: why; and 7 more`.
struct Reasons<'a>(&'a [Reason]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Reason { id, message }) in self.0.iter().take(SHOWN).enumerate() {
            let before = if n == 0 { ": " } else { "; " };
            write!(f, "{before}{id}: {message}")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "; and {more} more"),
        }
    }
}

/// Why a system refuses one change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason {
    pub id: ResourceRef,
    pub message: String,
}

/// What a system says after a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The digest it claims to have now; verify observes it again.
    pub digest: Digest,
    /// The system's own reference (a transaction or change number), where it has one.
    pub reference: Option<String>,
}
