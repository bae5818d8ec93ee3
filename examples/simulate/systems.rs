//! Simulated systems: the other end of the System API, as far as it is not told to break its word.
//!
//! A changeset is staged on the digest it was planned on (409), under no older fence than was seen (412), unless it is refused (422);
//! committing and aborting may be repeated. Each counts how often a changeset took effect.

use std::collections::BTreeMap;
use std::rc::Rc;

use lockstep::ids::{Digest, Stage};
use lockstep::plan::Change;
use lockstep::record::ConnectorError;

use super::bugs::Bug;
use super::universe::{StateId, changed};

/// A run, by its number.
pub(crate) type RunKey = usize;

/// What is sent to be staged.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) revision: usize,
    pub(crate) base: Digest,
    pub(crate) target: Digest,
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Prepare(Rc<Share>),
    Commit,
    Abort,
    Look,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) run: RunKey,
    pub(crate) stage: Stage,
    pub(crate) ask: Ask,
    pub(crate) fence: u64,
}

/// What a look at a system shows: the digest that it announces, and what it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) announced: StateId,
    pub(crate) listed: StateId,
    /// The listing was not cut short.
    pub(crate) is_whole: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Done(Digest),
    Seen(Sight),
    Error(ConnectorError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Staged,
    Committed,
    Aborted,
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) status: Status,
    share: Option<Rc<Share>>,
    /// How often it took effect.
    pub(crate) effects: u32,
    /// It was staged at some time.
    pub(crate) was_staged: bool,
}

/// What a request did, for who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    Nothing,
    Staged,
    Took { before: StateId, after: StateId },
}

#[derive(Debug)]
pub(crate) struct System {
    pub(crate) state: StateId,
    before: StateId,
    /// What it pretends to have.
    pub(crate) pretends: Option<StateId>,
    pub(crate) fence: u64,
    pub(crate) kept: BTreeMap<(RunKey, Stage), Kept>,
    pub(crate) silent_until: u64,
    pub(crate) lies_until: u64,
    /// When it last broke its word or was changed by hand; it is nobody's fault where it stands after that.
    pub(crate) disturbed: Option<u64>,
    /// All states it has been in, or has announced.
    ever: [u64; 12],
}

impl System {
    pub(crate) fn new(state: StateId) -> Self {
        let mut system = Self {
            state,
            before: state,
            pretends: None,
            fence: 0,
            kept: BTreeMap::new(),
            silent_until: 0,
            lies_until: 0,
            disturbed: None,
            ever: [0; 12],
        };
        system.note(state);
        system
    }

    fn note(&mut self, state: StateId) {
        self.ever[state.index() / 64] |= 1 << (state.index() % 64);
    }

    pub(crate) fn was_ever(&self, state: StateId) -> bool {
        self.ever[state.index() / 64] & (1 << (state.index() % 64)) != 0
    }

    pub(crate) fn set(&mut self, state: StateId) {
        self.before = self.state;
        self.state = state;
        self.note(state);
    }

    /// Somebody changes it by hand.
    pub(crate) fn drift(&mut self, to: StateId, now: u64) {
        self.set(to);
        self.pretends = None;
        self.disturbed = Some(now);
    }

    /// The state it had before this one.
    pub(crate) fn earlier(&self) -> Sight {
        Sight {
            announced: self.before,
            listed: self.before,
            is_whole: true,
        }
    }

    pub(crate) fn sight(&self) -> Sight {
        Sight {
            announced: self.pretends.unwrap_or(self.state),
            listed: self.state,
            is_whole: true,
        }
    }

    /// Does what is asked. `refuses` is whether it says no to what it could do.
    pub(crate) fn serve(
        &mut self,
        request: &Request,
        now: u64,
        refuses: bool,
        bug: Option<Bug>,
    ) -> (Reply, Did) {
        if matches!(request.ask, Ask::Look) {
            return (Reply::Seen(self.sight()), Did::Nothing);
        }
        if request.fence < self.fence && bug != Some(Bug::SystemsIgnoreFences) {
            let message = format!("fence {} is older than {}", request.fence, self.fence);
            return (
                Reply::Error(ConnectorError::Fenced { message }),
                Did::Nothing,
            );
        }
        self.fence = self.fence.max(request.fence);
        let key = (request.run, request.stage);
        match &request.ask {
            Ask::Prepare(share) => self.prepare(key, share, refuses),
            Ask::Commit => self.commit(key, now, refuses, bug),
            Ask::Abort | Ask::Look => (self.abort(key), Did::Nothing),
        }
    }

    fn prepare(&mut self, key: (RunKey, Stage), share: &Rc<Share>, refuses: bool) -> (Reply, Did) {
        let known = self.kept.get(&key).map(|kept| kept.status);
        match known {
            Some(Status::Aborted) => return refuse("it was aborted"),
            Some(Status::Committed) => return (Reply::Done(share.target), Did::Nothing),
            Some(Status::Staged) | None => {}
        }
        if share.base != self.state.digest() {
            let message = "it was planned on another state".to_owned();
            return (
                Reply::Error(ConnectorError::Stale { message }),
                Did::Nothing,
            );
        }
        if known.is_some() {
            return (Reply::Done(share.target), Did::Nothing);
        }
        if refuses {
            return refuse("this can't be had here");
        }
        let reached = share.changes.iter().fold(self.state, changed);
        if reached.digest() != share.target {
            return refuse("the changes lead elsewhere");
        }
        let kept = Kept {
            status: Status::Staged,
            share: Some(share.clone()),
            effects: 0,
            was_staged: true,
        };
        self.kept.insert(key, kept);
        (Reply::Done(share.target), Did::Staged)
    }

    fn commit(
        &mut self,
        key: (RunKey, Stage),
        now: u64,
        refuses: bool,
        bug: Option<Bug>,
    ) -> (Reply, Did) {
        let Some(kept) = self.kept.get_mut(&key) else {
            return refuse("nothing of it is staged");
        };
        let Some(share) = kept.share.clone() else {
            return refuse("nothing of it is staged");
        };
        let again = kept.status == Status::Committed;
        if kept.status == Status::Aborted {
            return refuse("it was aborted");
        }
        if again && bug != Some(Bug::CommitTakesEffectAgain) {
            return (Reply::Done(share.target), Did::Nothing);
        }
        if refuses {
            return refuse("not now");
        }
        kept.status = Status::Committed;
        // Takes any state: what others changed since the prepare stays as they made it.
        let after = share.changes.iter().fold(self.state, changed);
        if now < self.lies_until {
            self.pretends = StateId::of(share.target);
            if let Some(pretended) = self.pretends {
                self.note(pretended);
            }
            self.disturbed = Some(now);
            return (Reply::Done(share.target), Did::Nothing);
        }
        kept.effects += 1;
        let before = self.state;
        self.pretends = None;
        self.set(after);
        (Reply::Done(after.digest()), Did::Took { before, after })
    }

    fn abort(&mut self, key: (RunKey, Stage)) -> Reply {
        let kept = self.kept.entry(key).or_insert(Kept {
            status: Status::Aborted,
            share: None,
            effects: 0,
            was_staged: false,
        });
        if kept.status == Status::Committed {
            return refuse("it is committed").0;
        }
        kept.status = Status::Aborted;
        Reply::Done(self.state.digest())
    }
}

fn refuse(message: &str) -> (Reply, Did) {
    let error = ConnectorError::Refused {
        message: message.to_owned(),
        reasons: Vec::new(),
    };
    (Reply::Error(error), Did::Nothing)
}
