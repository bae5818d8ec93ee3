//! The conformance test for people who write a connected system: what Lockstep relies on, asked over the wire.
//!
//! Each [`Behaviour`] is one thing that a system does or does not do; a report says of each: ok, failed with what was expected and what
//! came, or skipped with the reason. Nothing of the `http` connector is used, so that the bytes on the wire are judged and not our reading
//! of them. The test makes resources of its own, with names of its own, and removes them at the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::clock::Clock;
use crate::ids::{Digest, Fence, KindName};

mod audit;
mod contents;
mod ending;
mod errors;
mod fences;
mod preparing;
mod reading;
mod restart;
mod session;
mod table;
mod text;
mod wire;

#[cfg(test)]
mod tests;

use session::Session;
pub use table::{BEHAVIOURS, Behaviour};
pub use text::text;

/// Restarts the system; answers when the command has ended. Whether the system is back is waited for.
pub type Restart = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What is tested, and with what.
pub struct Options {
    /// Where the API is, without `/lockstep/v1`.
    pub url: Url,
    pub token: Option<SecretString>,
    /// The kind of the resources that are made.
    pub kind: KindName,
    /// At least two different contents that the system takes for this kind; empty for those built in.
    pub specs: Vec<Value>,
    /// Whether the system may be one that holds resources.
    pub occupied: Occupied,
    /// How many changes the large changeset has.
    pub many: usize,
    /// Where to begin looking for the highest fence that the system has seen.
    pub fence: Fence,
    pub timeout: Duration,
    pub restart: Option<Restart>,
    pub clock: Arc<dyn Clock>,
}

/// What to do with a system that holds resources already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    Refuse,
    Test,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    #[error(
        "the url starts with http:// or https://, names a host, and holds no user, password, query or fragment"
    )]
    Url,
    #[error(
        "the system cannot be asked: {0}; give the address that stands before /lockstep/v1, and start the system"
    )]
    Unreachable(String),
    #[error(
        "the system does not accept the token, or asks for one; give the right one with --token-file"
    )]
    Unauthorized,
    #[error(
        "the system holds {0} resources. The test makes and removes its own and leaves these alone, but it raises the fence, so a \
         Lockstep that is connected now may be refused until its lease has changed hands a few times: test a copy, or give --yes"
    )]
    Occupied(usize),
    #[error(
        "no built-in contents are known to be valid for {0}; give at least two different ones with --specs FILE"
    )]
    NoSpecs(KindName),
    #[error("at least two different contents are needed, with a canonical JSON form: {0}")]
    Specs(String),
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

/// What became of one behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    Ok {
        /// How, where more than one way is right.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Failed {
        expected: String,
        came: String,
    },
    Skipped {
        why: String,
    },
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub behaviour: &'static str,
    /// What a system is to do.
    pub rule: &'static str,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub url: String,
    pub ok: usize,
    pub failed: usize,
    pub skipped: usize,
    /// The highest fence that the system has seen now.
    pub fence: Fence,
    /// The digest of the state that the test found.
    pub digest: Option<Digest>,
    pub behaviours: Vec<Line>,
}

impl Report {
    /// Whether nothing failed. What was skipped was not seen to hold, but not seen to fail either.
    pub fn passes(&self) -> bool {
        self.failed == 0
    }
}

/// Why a behaviour is not seen to hold.
enum Miss {
    Failed { expected: String, came: String },
    Skipped(String),
}

/// Done, with a word on how where more than one way is right.
type Judged = Result<Option<String>, Miss>;

fn failed(expected: impl Into<String>, came: impl Into<String>) -> Miss {
    Miss::Failed {
        expected: expected.into(),
        came: came.into(),
    }
}

/// Tests a system. A report whatever it does; an error where it can't be asked at all.
pub async fn test(options: Options) -> Result<Report, ConformanceError> {
    let url = options.url.to_string();
    let mut session = Session::open(options).await?;
    let mut behaviours = Vec::with_capacity(BEHAVIOURS.len());
    let mut missing = None;
    for behaviour in BEHAVIOURS {
        let verdict = match missing {
            Some(name) if !behaviour.always => Verdict::Skipped {
                why: format!("cannot be judged while {name} does not hold"),
            },
            _ => judge(&mut session, behaviour).await,
        };
        if behaviour.needed && matches!(verdict, Verdict::Failed { .. }) {
            missing = missing.or(Some(behaviour.name));
        }
        behaviours.push(Line {
            behaviour: behaviour.name,
            rule: behaviour.rule,
            verdict,
        });
    }
    let count = |is: fn(&Verdict) -> bool| behaviours.iter().filter(|l| is(&l.verdict)).count();
    Ok(Report {
        url,
        ok: count(|v| matches!(v, Verdict::Ok { .. })),
        failed: count(|v| matches!(v, Verdict::Failed { .. })),
        skipped: count(|v| matches!(v, Verdict::Skipped { .. })),
        fence: session.fence,
        digest: session.found(),
        behaviours,
    })
}

async fn judge(session: &mut Session, behaviour: &Behaviour) -> Verdict {
    let judged = (behaviour.judge)(session).await;
    // What a behaviour leaves would be another one's trouble; what can't be removed is reported at the end.
    session.tidy().await;
    match judged {
        Ok(note) => Verdict::Ok { note },
        Err(Miss::Failed { expected, came }) => Verdict::Failed { expected, came },
        Err(Miss::Skipped(why)) => Verdict::Skipped { why },
    }
}
