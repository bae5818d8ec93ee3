//! What goes wrong: the sorts of faults, how often each happens in a seed, and how often each did.

use super::chance::Chance;

/// A sort of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Crash,
    Pause,
    ClockJump,
    StoreCut,
    PowerCut,
    StoreLost,
    StoreUnheard,
    StoreLate,
    CallLost,
    CallUnheard,
    CallLate,
    CallTwice,
    Silent,
    Refusal,
    BrokenWord,
    Nonsense,
    Liar,
    PartialListing,
    StaleRead,
    Drift,
    StaleMain,
    NewsLost,
    PostLost,
    PostUnheard,
    PostTwice,
}

impl Fault {
    /// All of them, with what they are called and what they are.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 25] = [
        (
            Self::Crash,
            "crash",
            "a replica dies between two effects and starts again",
        ),
        (
            Self::Pause,
            "pause",
            "a replica sleeps, often past its lease, and goes on where it was",
        ),
        (
            Self::ClockJump,
            "clock-jump",
            "a replica's clock is set elsewhere",
        ),
        (
            Self::StoreCut,
            "store-cut",
            "a replica is cut off from the store",
        ),
        (
            Self::PowerCut,
            "power-cut",
            "the store comes back with what was synced, and no more",
        ),
        (
            Self::StoreLost,
            "store-lost",
            "a write or read never reaches the store",
        ),
        (
            Self::StoreUnheard,
            "store-unheard",
            "the store does it and its answer is lost",
        ),
        (
            Self::StoreLate,
            "store-late",
            "the store does it after it was given up",
        ),
        (
            Self::CallLost,
            "call-lost",
            "a request never reaches the system",
        ),
        (
            Self::CallUnheard,
            "call-unheard",
            "the system does it and its answer is lost",
        ),
        (
            Self::CallLate,
            "call-late",
            "a request arrives long after, and after others",
        ),
        (
            Self::CallTwice,
            "call-twice",
            "a request arrives again later",
        ),
        (
            Self::Silent,
            "silent",
            "a system is not to be reached for a while",
        ),
        (
            Self::Refusal,
            "refusal",
            "a system refuses what is merged, or for a moment",
        ),
        (
            Self::BrokenWord,
            "broken-word",
            "a system has prepared and refuses to commit",
        ),
        (
            Self::Nonsense,
            "nonsense",
            "a system does what it is asked, and its answer is none",
        ),
        (
            Self::Liar,
            "liar",
            "a system says it commits, doesn't, and shows the digest it should have",
        ),
        (
            Self::PartialListing,
            "partial-listing",
            "a listing is cut short",
        ),
        (
            Self::StaleRead,
            "stale-read",
            "a system shows the state it had before",
        ),
        (Self::Drift, "drift", "somebody changes a system by hand"),
        (
            Self::StaleMain,
            "stale-main",
            "a replica sees the main branch as it was",
        ),
        (
            Self::NewsLost,
            "news-lost",
            "nobody tells a replica of a merge",
        ),
        (
            Self::PostLost,
            "post-lost",
            "a status does not reach the forge",
        ),
        (
            Self::PostUnheard,
            "post-unheard",
            "the forge's answer is lost",
        ),
        (
            Self::PostTwice,
            "post-twice",
            "a status arrives again later",
        ),
    ];
}

/// How often each sort happens in one seed, in a thousand occasions, or as a number of times for what happens by itself.
#[derive(Debug, Clone)]
pub(crate) struct Profile([u64; Fault::ALL.len()]);

impl Profile {
    /// Each seed has its own weather: most sorts of faults are missing, some are rare, some are all over the place. Everything at
    /// once would only ever show the same few early failures.
    pub(crate) fn drawn(chance: &mut Chance) -> Self {
        let stormy = chance.between(1, 4);
        let mut rates = [0; Fault::ALL.len()];
        for (fault, _, _) in Fault::ALL {
            if chance.below(5) >= stormy {
                continue;
            }
            rates[fault as usize] = match fault {
                // Before each effect.
                Fault::Crash => chance.between(1, 15),
                Fault::Pause => chance.between(1, 12),
                // Times.
                Fault::ClockJump | Fault::StoreCut | Fault::PowerCut => chance.between(0, 2),
                Fault::Silent | Fault::Liar => chance.between(0, 3),
                Fault::Drift => chance.between(0, 4),
                // Of a thousand messages.
                Fault::StoreLost | Fault::StoreUnheard | Fault::StoreLate => chance.between(2, 20),
                Fault::CallLost | Fault::CallUnheard | Fault::CallLate | Fault::CallTwice => {
                    chance.between(5, 150)
                }
                Fault::StaleRead => chance.between(5, 60),
                Fault::Refusal => chance.between(5, 80),
                Fault::BrokenWord => chance.between(20, 150),
                Fault::PartialListing => chance.between(5, 40),
                Fault::Nonsense => chance.between(2, 20),
                Fault::StaleMain => chance.between(0, 4),
                Fault::NewsLost => chance.between(20, 300),
                Fault::PostLost | Fault::PostUnheard | Fault::PostTwice => chance.between(20, 200),
            };
        }
        Self(rates)
    }

    pub(crate) fn rate(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }
}

/// How often each thing happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) runs: u64,
    pub(crate) recovered: u64,
    pub(crate) overtaken: u64,
    pub(crate) deliveries: u64,
    pub(crate) entries: u64,
    pub(crate) checks: u64,
    faults: [u64; Fault::ALL.len()],
    outcomes: [u64; OUTCOMES.len()],
}

/// What a run can come to, by the names that the record gives them.
pub(crate) const OUTCOMES: [&str; 10] = [
    "in_step",
    "applied",
    "refused",
    "unreachable",
    "misconfigured",
    "stale",
    "interrupted",
    "held",
    "rolled_back",
    "stuck",
];

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(crate) fn count_outcome(&mut self, name: &str) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == name) {
            self.outcomes[place] += 1;
        }
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::ALL
            .iter()
            .map(|(fault, name, _)| (*name, self.faults[*fault as usize]))
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.iter().copied().zip(self.outcomes)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            steps,
            runs,
            recovered,
            overtaken,
            deliveries,
            entries,
            checks,
            faults,
            outcomes,
        } = other;
        self.steps += steps;
        self.runs += runs;
        self.recovered += recovered;
        self.overtaken += overtaken;
        self.deliveries += deliveries;
        self.entries += entries;
        self.checks += checks;
        for (sum, more) in self.faults.iter_mut().zip(faults) {
            *sum += more;
        }
        for (sum, more) in self.outcomes.iter_mut().zip(outcomes) {
            *sum += more;
        }
    }
}
