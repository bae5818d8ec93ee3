//! What a run asks of systems, and what is made of their answers.

use std::rc::Rc;

use lockstep::ids::{Digest, Stage};
use lockstep::protocol::{Answer as Heard, Call as Asked, Event as Step};
use lockstep::record::{ConnectorError, Receipt};

use super::bugs::Bug;
use super::carry::Came;
use super::invariants::Fact;
use super::store;
use super::systems::{Ask, Reply, Request, Share, Sight};
use super::universe::{revision_index, system_name};
use super::world::{Tag, Token, World, say};

impl World {
    pub(crate) fn call(&mut self, to: Token, system: usize, call: Asked) {
        let Some(carry) = self.carry(to.replica, to.group) else {
            return;
        };
        let (run, fence, is_over) = (
            store::key(&carry.run),
            carry.run.fence.0,
            carry.run.outcome.is_some(),
        );
        let (stage, ask, tag) = match call {
            Asked::Prepare => (
                Stage::Forward,
                self.share(to, system, Stage::Forward),
                Tag::Call(call),
            ),
            Asked::Commit => (Stage::Forward, Some(Ask::Commit), Tag::Call(call)),
            Asked::Abort => (Stage::Forward, Some(Ask::Abort), Tag::Call(call)),
            Asked::Undo => (
                Stage::Undo,
                self.share(to, system, Stage::Undo),
                Tag::UndoPrepare,
            ),
            Asked::Observe(stage) => (stage, Some(Ask::Look), Tag::Call(call)),
        };
        self.facts.push(Fact::Asked { run, call, is_over });
        say!(
            self,
            "r{} g{}   asks {}: {call:?} #{run} under fence {fence}",
            to.replica,
            to.group,
            system_name(system)
        );
        if let Some(ask) = ask {
            self.ask_system(
                to,
                tag,
                system,
                Request {
                    run,
                    stage,
                    ask,
                    fence,
                },
            );
        }
    }

    fn share(&mut self, to: Token, system: usize, stage: Stage) -> Option<Ask> {
        let carry = self.carry(to.replica, to.group)?;
        let member = carry.run.members.get(&system_name(system))?;
        let share = member.share(stage);
        Some(Ask::Prepare(Rc::new(Share {
            revision: revision_index(&carry.run.revision),
            base: share.base.get(),
            target: share.target.get(),
            changes: share.changes,
        })))
    }

    /// A system's answer to what a run asked.
    pub(crate) fn run_hears(&mut self, to: Token, tag: Tag, system: usize, reply: Reply) {
        let answer = match tag {
            Tag::UndoPrepare => match reply {
                Reply::Error(error) => Heard::Undone(Err(error)),
                Reply::Done(_) | Reply::Seen(_) => {
                    self.came(to, Came::UndoStaged(system));
                    return;
                }
            },
            Tag::Look => return,
            Tag::Call(call) => self.answer(to, call, system, reply),
        };
        say!(
            self,
            "r{} g{}   hears {}: {}",
            to.replica,
            to.group,
            system_name(system),
            words(&answer)
        );
        let event = Step::Answered(system_name(system), answer);
        self.came(to, Came::Event(event));
    }

    fn answer(&mut self, to: Token, call: Asked, system: usize, reply: Reply) -> Heard {
        let receipt = |digest| Receipt {
            digest,
            reference: None,
        };
        let result: Result<Digest, ConnectorError> = match reply {
            Reply::Done(digest) => Ok(digest),
            Reply::Error(error) => Err(error),
            Reply::Seen(sight) if !sight.is_whole => {
                let message = "a bucket does not match its digest".to_owned();
                Err(ConnectorError::Transient { message })
            }
            Reply::Seen(sight) => Ok(self.digest_now(to, call, system, sight)),
        };
        match call {
            Asked::Prepare => Heard::Prepared(result.map(|_| ())),
            Asked::Commit => Heard::Committed(result.map(receipt)),
            Asked::Abort => Heard::Aborted(result.map(|_| ())),
            Asked::Undo => Heard::Undone(result.map(receipt)),
            Asked::Observe(stage) => Heard::Observed(stage, result),
        }
    }

    /// The digest of what a system really lists, where it announces the right one.
    fn digest_now(&mut self, to: Token, call: Asked, system: usize, sight: Sight) -> Digest {
        let trusts = self.bug == Some(Bug::DigestTrusted);
        let target = self.carry(to.replica, to.group).and_then(|carry| {
            let member = carry.run.members.get(&system_name(system))?;
            Some(match call {
                Asked::Observe(Stage::Undo) => member.base,
                Asked::Observe(Stage::Forward)
                | Asked::Prepare
                | Asked::Commit
                | Asked::Abort
                | Asked::Undo => member.target,
            })
        });
        let announced = sight.announced.digest();
        if Some(announced) == target && !trusts {
            sight.listed.digest()
        } else {
            announced
        }
    }
}

fn words(answer: &Heard) -> String {
    let (word, error) = match answer {
        Heard::Prepared(result) => ("prepared", result.as_ref().err()),
        Heard::Aborted(result) => ("aborted", result.as_ref().err()),
        Heard::Committed(result) => ("committed", result.as_ref().err()),
        Heard::Undone(result) => ("undone", result.as_ref().err()),
        Heard::Observed(_, result) => ("observed", result.as_ref().err()),
    };
    error.map_or_else(|| word.to_owned(), |error| format!("not {word}: {error}"))
}
