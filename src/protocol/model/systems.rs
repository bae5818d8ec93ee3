//! A connected system that keeps the System API's promises, as far as it isn't told to break one.

use super::super::*;

/// Where a system's users are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum At {
    Base,
    Target,
    /// Somebody else has changed it.
    Elsewhere,
}

/// What became of a changeset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Changeset {
    Unseen,
    Staged,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct System {
    pub(super) at: At,
    pub(super) forward: Changeset,
    pub(super) undo: Changeset,
    /// The newest fence it has seen.
    fence: u64,
    /// Says that it commits, and doesn't.
    lies: bool,
    /// Whether an observation has ever shown it at the target.
    pub(super) seen_at_target: bool,
}

/// How a system breaks its word when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    Refused,
    Stale,
    Terminal,
}

pub(super) fn digest_of(at: At) -> Digest {
    Digest::of(format!("{at:?}").as_bytes())
}

impl System {
    pub(super) fn new(lies: bool) -> Self {
        Self {
            at: At::Base,
            forward: Changeset::Unseen,
            undo: Changeset::Unseen,
            fence: 0,
            lies,
            seen_at_target: false,
        }
    }

    pub(super) fn has_prepared(&self) -> bool {
        matches!(self.forward, Changeset::Staged | Changeset::Committed)
    }

    /// Whether a request could still make a difference, now or later: these states are never left.
    pub(super) fn can_change(&self, call: Call, fence: u64) -> bool {
        if fence != self.fence {
            return fence > self.fence;
        }
        let over = matches!(self.forward, Changeset::Committed | Changeset::Aborted);
        match call {
            Call::Prepare => self.forward == Changeset::Unseen,
            Call::Commit | Call::Abort => !over,
            Call::Undo => self.undo != Changeset::Committed,
            Call::Observe(_) => false,
        }
    }

    /// Does what is asked, and answers.
    pub(super) fn answer(&mut self, call: Call, fence: u64) -> Answer {
        if let Call::Observe(stage) = call {
            self.seen_at_target |= self.at == At::Target;
            return Answer::Observed(stage, Ok(digest_of(self.at)));
        }
        if fence < self.fence {
            let message = String::new();
            return fail(call, ConnectorError::Fenced { message });
        }
        self.fence = fence;
        let done = match call {
            Call::Prepare => self.prepare(),
            Call::Commit => self.commit(),
            Call::Abort => self.abort(),
            Call::Undo => self.undo(),
            Call::Observe(_) => Ok(()),
        };
        let receipt = |at| Receipt {
            digest: digest_of(at),
            reference: None,
        };
        match (call, done) {
            (_, Err(broken)) => refuse(call, broken),
            (Call::Prepare, Ok(())) => Answer::Prepared(Ok(())),
            (Call::Commit, Ok(())) => Answer::Committed(Ok(receipt(At::Target))),
            (Call::Abort | Call::Observe(_), Ok(())) => Answer::Aborted(Ok(())),
            (Call::Undo, Ok(())) => Answer::Undone(Ok(receipt(At::Base))),
        }
    }

    fn prepare(&mut self) -> Result<(), Broken> {
        match self.forward {
            Changeset::Staged | Changeset::Committed => Ok(()),
            Changeset::Aborted => Err(Broken::Refused),
            Changeset::Unseen if self.at != At::Base => Err(Broken::Stale),
            Changeset::Unseen => {
                self.forward = Changeset::Staged;
                Ok(())
            }
        }
    }

    fn commit(&mut self) -> Result<(), Broken> {
        match self.forward {
            Changeset::Committed => Ok(()),
            Changeset::Unseen | Changeset::Aborted => Err(Broken::Refused),
            Changeset::Staged => {
                self.forward = Changeset::Committed;
                if !self.lies {
                    self.at = At::Target;
                }
                Ok(())
            }
        }
    }

    fn abort(&mut self) -> Result<(), Broken> {
        if self.forward == Changeset::Committed {
            return Err(Broken::Refused);
        }
        self.forward = Changeset::Aborted;
        Ok(())
    }

    fn undo(&mut self) -> Result<(), Broken> {
        if self.undo == Changeset::Committed {
            return Ok(());
        }
        if self.at != At::Target {
            return Err(Broken::Stale);
        }
        self.undo = Changeset::Committed;
        self.at = At::Base;
        Ok(())
    }
}

/// An answer that says no, for whatever reason.
pub(super) fn refuse(call: Call, broken: Broken) -> Answer {
    let message = String::new();
    fail(
        call,
        match broken {
            Broken::Refused => ConnectorError::Refused {
                message,
                reasons: Vec::new(),
            },
            Broken::Stale => ConnectorError::Stale { message },
            Broken::Terminal => ConnectorError::Terminal { message },
        },
    )
}

pub(super) fn fail(call: Call, error: ConnectorError) -> Answer {
    match call {
        Call::Prepare => Answer::Prepared(Err(error)),
        Call::Commit => Answer::Committed(Err(error)),
        Call::Abort => Answer::Aborted(Err(error)),
        Call::Undo => Answer::Undone(Err(error)),
        Call::Observe(stage) => Answer::Observed(stage, Err(error)),
    }
}
