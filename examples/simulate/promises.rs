//! The promises that the simulation holds against what happens.

use std::fmt;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    InStep,
    OneAtATime,
    MergedOnly,
    NeverBackwards,
    CompleteOrError,
    Counted,
    SavedFirst,
    DecidedFirst,
    AllOrNone,
    Truthful,
    Justified,
    OneOutcome,
    QuietAfterEnd,
    OnceOnly,
    Fenced,
    ReadBack,
    Ends,
    Ceilings,
    OnlyItsOwn,
    Ledger,
    Outbox,
    Converges,
}

impl Promise {
    pub(crate) const ALL: [(Self, &'static str); 22] = [
        (
            Self::InStep,
            "no decision and no commit before every system has prepared; no older run takes effect where a newer one is prepared",
        ),
        (Self::OneAtATime, "at most one open run in a group"),
        (
            Self::MergedOnly,
            "what is not on the main branch reaches no system, and no run is for it",
        ),
        (
            Self::NeverBackwards,
            "no run for a revision before the last good one",
        ),
        (
            Self::CompleteOrError,
            "nothing is planned on a state that the system never showed in full",
        ),
        (
            Self::Counted,
            "a success was seen on every system, change for change",
        ),
        (
            Self::SavedFirst,
            "nothing is asked before the run is in the store",
        ),
        (
            Self::DecidedFirst,
            "no commit without a durable decision to commit, no undoing without one to compensate",
        ),
        (
            Self::AllOrNone,
            "at the end all are at the target or all at the base, or the outcome names the others",
        ),
        (Self::Truthful, "what a run's record says of a system is so"),
        (
            Self::Justified,
            "no one is called, and nothing given up, where the systems kept their word",
        ),
        (Self::OneOutcome, "a run ends once"),
        (Self::QuietAfterEnd, "nothing is asked after the outcome"),
        (Self::OnceOnly, "a changeset takes effect at most once"),
        (
            Self::Fenced,
            "nothing is written or done under an older fence; a new holder has a newer one",
        ),
        (Self::ReadBack, "a stored run comes back as it was"),
        (Self::Ends, "every run ends once faults stop"),
        (
            Self::Ceilings,
            "what goes past a ceiling waits for the release of that very plan",
        ),
        (
            Self::OnlyItsOwn,
            "nothing is touched or deleted that is somebody else's",
        ),
        (
            Self::Ledger,
            "an ended run has its entries, all of them, numbered without a gap",
        ),
        (
            Self::Outbox,
            "an ended run owes its status from the same moment; each arrives, in order, and takes effect once",
        ),
        (
            Self::Converges,
            "once faults stop every group comes to the newest revision",
        ),
    ];
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) promise: Promise,
    pub(crate) words: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.words)
    }
}

pub(crate) fn broken<T>(promise: Promise, words: String) -> Result<T, Broken> {
    Err(Broken { promise, words })
}
