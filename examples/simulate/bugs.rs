//! Bugs planted on purpose, one behind each name, to show that the simulator sees what it is there to see. They live here alone: around the
//! library's state machine, in the simulated shell, store and systems. The library has no switch for any of them.

use std::str::FromStr;

use jiff::Timestamp;
use lockstep::config::OnFailure;
use lockstep::ids::{Fence, Stage};
use lockstep::protocol::{self, Answer, Call, Effect, Event};
use lockstep::record::{ConnectorError, Decision, Member, MemberState, Outcome, Phase, Run};

use super::invariants::Promise;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    PrepareNotAwaited,
    RefusalTakenForYes,
    CommitBeforeDecision,
    DecisionNotSynced,
    SentBeforeSaved,
    DecisionForgotten,
    OpenRunsForgotten,
    WaitsForEver,
    SilentTakenForUntouched,
    AbortLeftOut,
    SuccessUnverified,
    DigestTrusted,
    SuccessUnseen,
    SpeaksAfterEnd,
    EndsTwice,
    HoldsInsteadOfRollingBack,
    LeftUnnamed,
    TimesNotStored,
    StoreIgnoresFences,
    SystemsIgnoreFences,
    FenceNotRaised,
    FenceKeptInDoubt,
    CommitTakesEffectAgain,
    ProposalTakenForMain,
    MovesBackwards,
    PartialTakenForWhole,
    CeilingIgnored,
    ReleaseForAnyPlan,
    OthersDeleted,
    OthersOverwritten,
    LedgerEntryDropped,
    LedgerNumberLost,
    OutboxOutsideTransaction,
    DeliveredBeforeSent,
    DeliveryNotRecognised,
    DeliveriesOvertake,
    FailedIsFinal,
}

/// What is known of a bug: how it is called, what it is, and the promises of which it breaks at least one.
pub(crate) struct Planted {
    pub(crate) bug: Bug,
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) breaks: &'static [Promise],
}

use Promise as P;

#[rustfmt::skip]
pub(crate) const ALL: [Planted; 37] = [
    planted(Bug::PrepareNotAwaited, "prepare-not-awaited", "decides when the first system has prepared", &[P::InStep]),
    planted(Bug::RefusalTakenForYes, "refusal-taken-for-yes", "takes a refused prepare for a prepared one", &[P::InStep]),
    planted(Bug::CommitBeforeDecision, "commit-before-decision", "commits first and writes the decision down after", &[P::DecidedFirst]),
    planted(Bug::DecisionNotSynced, "decision-not-synced", "writes the decision without syncing it", &[P::DecidedFirst]),
    planted(Bug::SentBeforeSaved, "sent-before-saved", "prepares before the run is in the store", &[P::SavedFirst]),
    planted(Bug::DecisionForgotten, "decision-forgotten", "recovers a decided run as one that was not", &[P::AllOrNone, P::Truthful, P::Justified, P::Counted]),
    planted(Bug::OpenRunsForgotten, "open-runs-forgotten", "starts anew without taking up what was left open", &[P::OneAtATime, P::Ends]),
    planted(Bug::WaitsForEver, "waits-for-ever", "asks nothing a second time and knows no deadline", &[P::Ends]),
    planted(Bug::SilentTakenForUntouched, "silent-taken-for-untouched", "takes a system that does not answer for one that has not committed", &[P::AllOrNone, P::Truthful]),
    planted(Bug::AbortLeftOut, "abort-left-out", "says that changes were dropped without asking for it", &[P::Truthful]),
    planted(Bug::SuccessUnverified, "success-unverified", "takes a system's word for its commit", &[P::Counted]),
    planted(Bug::DigestTrusted, "digest-trusted", "takes an announced digest for the state", &[P::Counted]),
    planted(Bug::SuccessUnseen, "success-unseen", "takes a system that can't be observed for one in step", &[P::Counted]),
    planted(Bug::SpeaksAfterEnd, "speaks-after-end", "goes on asking when the outcome is known", &[P::QuietAfterEnd]),
    planted(Bug::EndsTwice, "ends-twice", "writes the end of a run that has ended again", &[P::OneOutcome, P::Ledger]),
    planted(Bug::HoldsInsteadOfRollingBack, "holds-instead-of-rolling-back", "calls a person where it should take back", &[P::Justified]),
    planted(Bug::LeftUnnamed, "left-unnamed", "does not name who was left behind", &[P::AllOrNone]),
    planted(Bug::TimesNotStored, "times-not-stored", "leaves out of a stored run when systems prepared", &[P::ReadBack]),
    planted(Bug::StoreIgnoresFences, "store-ignores-fences", "the store takes writes of a holder that was passed", &[P::Fenced]),
    planted(Bug::SystemsIgnoreFences, "systems-ignore-fences", "systems do what a holder asks that was passed", &[P::Fenced]),
    planted(Bug::FenceNotRaised, "fence-not-raised", "a new holder gets the number of the one before", &[P::Fenced]),
    planted(Bug::FenceKeptInDoubt, "fence-kept-in-doubt", "goes on under the fence of a run that left a system in doubt", &[P::InStep]),
    planted(Bug::CommitTakesEffectAgain, "commit-takes-effect-again", "a commit that is repeated is done again", &[P::OnceOnly]),
    planted(Bug::ProposalTakenForMain, "proposal-taken-for-main", "applies the newest revision, merged or not", &[P::MergedOnly]),
    planted(Bug::MovesBackwards, "moves-backwards", "goes to the main branch as it knows it, though the group is further", &[P::NeverBackwards]),
    planted(Bug::PartialTakenForWhole, "partial-taken-for-whole", "takes a listing cut short for all there is", &[P::CompleteOrError]),
    planted(Bug::CeilingIgnored, "ceiling-ignored", "applies what goes past a ceiling", &[P::Ceilings]),
    planted(Bug::ReleaseForAnyPlan, "release-for-any-plan", "lets one plan pass on the release of another", &[P::Ceilings]),
    planted(Bug::OthersDeleted, "others-deleted", "deletes what the repo does not speak of", &[P::OnlyItsOwn]),
    planted(Bug::OthersOverwritten, "others-overwritten", "puts a state in place as a whole", &[P::OnlyItsOwn]),
    planted(Bug::LedgerEntryDropped, "ledger-entry-dropped", "now and then leaves an entry out", &[P::Ledger]),
    planted(Bug::LedgerNumberLost, "ledger-number-lost", "takes an entry's number before it is known to be written", &[P::Ledger]),
    planted(Bug::OutboxOutsideTransaction, "outbox-outside-transaction", "owes a status only after the run has ended", &[P::Outbox]),
    planted(Bug::DeliveredBeforeSent, "delivered-before-sent", "notes a delivery as made before it is", &[P::Outbox]),
    planted(Bug::DeliveryNotRecognised, "delivery-not-recognised", "sends without the key that tells a repetition", &[P::Outbox]),
    planted(Bug::DeliveriesOvertake, "deliveries-overtake", "sends the next status while the one before is owed", &[P::Outbox]),
    planted(Bug::FailedIsFinal, "failed-is-final", "tries nothing again once a revision has failed", &[P::Converges]),
];

const fn planted(
    bug: Bug,
    name: &'static str,
    what: &'static str,
    breaks: &'static [Promise],
) -> Planted {
    Planted {
        bug,
        name,
        what,
        breaks,
    }
}

impl FromStr for Bug {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = ALL.iter().find(|planted| planted.name == text);
        known.map(|planted| planted.bug).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|planted| planted.name).collect();
            format!(
                "{text:?} is no planted bug; there are: {}",
                names.join(", ")
            )
        })
    }
}

/// Begins a run, as [`protocol::start`] does.
pub(crate) fn start(bug: Option<Bug>, run: Run, at: Timestamp) -> (Run, Vec<Effect>) {
    if bug == Some(Bug::SentBeforeSaved) {
        return protocol::step(run, Event::Saved, at);
    }
    protocol::start(run, at)
}

/// Continues a stored run, as [`protocol::recover`] does.
pub(crate) fn recover(bug: Option<Bug>, mut run: Run, fence: Fence) -> (Run, Vec<Effect>) {
    if bug == Some(Bug::DecisionForgotten) {
        run.decision = None;
    }
    protocol::recover(run, fence)
}

/// Moves a run on, as [`protocol::step`] does.
pub(crate) fn step(bug: Option<Bug>, run: Run, event: Event, at: Timestamp) -> (Run, Vec<Effect>) {
    let Some(bug) = bug else {
        return protocol::step(run, event, at);
    };
    let (mut run, mut event) = (run, event);
    let on_failure = run.on_failure;
    if bug == Bug::RefusalTakenForYes
        && let Event::Answered(_, Answer::Prepared(answer)) = &mut event
        && matches!(answer, Err(ConnectorError::Refused { .. }))
    {
        *answer = Ok(());
    }
    if bug == Bug::HoldsInsteadOfRollingBack {
        run.on_failure = OnFailure::Hold;
    }
    let was_over = run.outcome.is_some();
    let (mut run, effects) = protocol::step(run, event, at);
    run.on_failure = on_failure;
    let mut turned = Turned { run, effects, at };
    match turned.run.phase {
        Phase::Preparing if bug == Bug::PrepareNotAwaited => turned.prepare_by_one(),
        Phase::Deciding if bug == Bug::CommitBeforeDecision => turned.commit_first(),
        Phase::Aborting if bug == Bug::AbortLeftOut => {
            turned.invent(Call::Abort, &MemberState::Aborting, Answer::Aborted(Ok(())));
        }
        Phase::Compensating if bug == Bug::SilentTakenForUntouched => {
            turned.invent(
                Call::Abort,
                &MemberState::Withdrawing,
                Answer::Aborted(Ok(())),
            );
        }
        Phase::Verifying if bug == Bug::SuccessUnverified => turned.take_its_word(),
        Phase::Finished if bug == Bug::SpeaksAfterEnd && !was_over => turned.ask_all(Call::Abort),
        Phase::Finished if bug == Bug::LeftUnnamed => turned.name_nobody(),
        Phase::Planned
        | Phase::Preparing
        | Phase::Aborting
        | Phase::Deciding
        | Phase::Committing
        | Phase::Verifying
        | Phase::Compensating
        | Phase::Finished
        | Phase::Yielded => {}
    }
    if bug == Bug::WaitsForEver {
        let again = |e: &Effect| matches!(e, Effect::Ask { attempt, .. } if *attempt > 0);
        let timed = |e: &Effect| matches!(e, Effect::Arm(_));
        turned.effects.retain(|e| !again(e) && !timed(e));
    }
    (turned.run, turned.effects)
}

/// A step that was taken, to be spoilt.
struct Turned {
    run: Run,
    effects: Vec<Effect>,
    at: Timestamp,
}

impl Turned {
    fn prepare_by_one(&mut self) {
        let is_prepared = |m: &Member| m.state == MemberState::Prepared;
        if self.run.members.values().any(is_prepared) {
            let yes = Answer::Prepared(Ok(()));
            self.hear(&MemberState::Preparing, |_| yes.clone());
        }
    }

    fn commit_first(&mut self) {
        if self.effects.contains(&Effect::Decide(Decision::Commit)) {
            let decide = std::mem::take(&mut self.effects);
            self.ask_all(Call::Commit);
            self.effects.extend(decide);
        }
    }

    fn ask_all(&mut self, call: Call) {
        let asks = self.run.members.keys().map(|system| Effect::Ask {
            system: system.clone(),
            call,
            attempt: 0,
        });
        self.effects.extend(asks);
    }

    fn name_nobody(&mut self) {
        if let Some(Outcome::RolledBack { left, .. } | Outcome::Stuck { systems: left }) =
            &mut self.run.outcome
        {
            left.clear();
        }
    }

    fn take_its_word(&mut self) {
        self.do_not_ask(Call::Observe(Stage::Forward));
        let members = self.run.members.values();
        let committed: Vec<MemberState> = members
            .map(|m| m.state.clone())
            .filter(|s| matches!(s, MemberState::Committed { .. }))
            .collect();
        for state in committed {
            self.hear(&state, |m| Answer::Observed(Stage::Forward, Ok(m.target)));
        }
    }

    /// Answers for every member that is in a state, instead of asking it.
    fn invent(&mut self, instead_of: Call, state: &MemberState, answer: Answer) {
        self.do_not_ask(instead_of);
        self.hear(state, |_| answer.clone());
    }

    fn do_not_ask(&mut self, asked: Call) {
        let is_ask = |e: &Effect| matches!(e, Effect::Ask { call, .. } if *call == asked);
        self.effects.retain(|e| !is_ask(e));
    }

    fn hear(&mut self, state: &MemberState, answer: impl Fn(&Member) -> Answer) {
        let members = self.run.members.iter();
        let answers: Vec<_> = members
            .filter(|(_, member)| member.state == *state)
            .map(|(system, member)| (system.clone(), answer(member)))
            .collect();
        for (system, answer) in answers {
            let event = Event::Answered(system, answer);
            let (run, more) = protocol::step(self.run.clone(), event, self.at);
            self.run = run;
            self.effects.extend(more);
        }
    }
}
