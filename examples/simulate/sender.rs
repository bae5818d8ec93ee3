//! Sending statuses: what the store owes is posted until the forge has it, to each destination in order.

use std::collections::VecDeque;

use super::bugs::Bug;
use super::faults::Fault;
use super::invariants::Fact;
use super::store::{Answer, Call, Delivery, No};
use super::world::{Event, Token, World, say};

/// How long until somebody looks whether a status is owed that nobody told of.
pub(crate) const LOOK_FOR_OWED: u64 = 30_000;
const POST_LIMIT: u64 = 5_000;
/// The group in the token of whoever sends statuses.
const SENDER: usize = usize::MAX;

/// What the sender of statuses is doing.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    pass: u64,
    is_at_work: bool,
    todo: VecDeque<Delivery>,
    at: Option<Delivery>,
}

impl World {
    fn sender_token(&self, replica: usize) -> Token {
        let is = &self.replicas[replica];
        Token {
            replica,
            inc: is.inc,
            group: SENDER,
            pass: is.sender.pass,
            turn: 0,
        }
    }

    pub(crate) fn is_for_sender(to: Token) -> bool {
        to.group == SENDER
    }

    /// Looks for statuses that are owed.
    pub(crate) fn send_owed(&mut self, replica: usize) {
        let inc = self.replicas[replica].inc;
        if self.replicas[replica].sender.is_at_work {
            return;
        }
        self.replicas[replica].sender.is_at_work = true;
        let now = self.store_clock();
        let to = self.sender_token(replica);
        self.ask_store(to, Call::Owed { now });
        self.queue
            .push(self.now + LOOK_FOR_OWED, Event::SendOwed { replica, inc });
    }

    pub(crate) fn sender_hears(&mut self, to: Token, answer: Result<Answer, No>) {
        let sender = &mut self.replicas[to.replica].sender;
        if sender.pass != to.pass {
            return;
        }
        match answer {
            Ok(Answer::Owed(due)) => sender.todo = due.into(),
            Ok(_) => {}
            Err(_) => {
                self.sender_rests(to.replica);
                return;
            }
        }
        self.post_next(to.replica);
    }

    fn sender_rests(&mut self, replica: usize) {
        let sender = &mut self.replicas[replica].sender;
        sender.is_at_work = false;
        sender.pass += 1;
        sender.todo.clear();
    }

    fn post_next(&mut self, replica: usize) {
        let sender = &mut self.replicas[replica].sender;
        let Some(delivery) = sender.todo.pop_front() else {
            self.sender_rests(replica);
            return;
        };
        sender.pass += 1;
        sender.at = Some(delivery.clone());
        let to = self.sender_token(replica);
        if self.bug == Some(Bug::DeliveredBeforeSent) {
            self.ask_store(to, Call::Delivered { id: delivery.id });
            if self.strikes(Fault::PostLost) {
                return;
            }
            self.queue.push(
                self.now + 20,
                Event::AtForge {
                    delivery,
                    from: None,
                    limit: 0,
                },
            );
            return;
        }
        self.post(to, delivery);
    }

    fn post(&mut self, to: Token, delivery: Delivery) {
        let limit = self.now + POST_LIMIT;
        let (id, way) = (delivery.id, self.chance.between(5, 200));
        if self.strikes(Fault::PostLost) {
            self.queue.push(
                limit,
                Event::FromForge {
                    to,
                    id,
                    is_done: false,
                },
            );
            return;
        }
        if self.strikes(Fault::PostTwice) {
            let again = self.now + way + self.chance.between(1, 60_000);
            let delivery = delivery.clone();
            self.queue.push(
                again,
                Event::AtForge {
                    delivery,
                    from: None,
                    limit: again,
                },
            );
        }
        let is_heard = !self.strikes(Fault::PostUnheard);
        if !is_heard {
            self.queue.push(
                limit,
                Event::FromForge {
                    to,
                    id,
                    is_done: false,
                },
            );
        }
        let from = is_heard.then_some(to);
        self.queue.push(
            self.now + way,
            Event::AtForge {
                delivery,
                from,
                limit,
            },
        );
    }

    pub(crate) fn at_forge(&mut self, delivery: &Delivery, from: Option<Token>, _limit: u64) {
        let recognised = self.bug != Some(Bug::DeliveryNotRecognised);
        if self.forge.post(delivery.id, recognised) {
            let (destination, status) = (delivery.group, delivery.id);
            self.facts.push(Fact::Shown {
                destination,
                status,
            });
        }
        say!(
            self,
            "forge   shows status {} of g{}",
            delivery.id,
            delivery.group
        );
        self.tally.deliveries += 1;
        if let Some(to) = from {
            let back = self.now + self.chance.between(5, 200);
            let id = delivery.id;
            self.queue.push(
                back,
                Event::FromForge {
                    to,
                    id,
                    is_done: true,
                },
            );
        }
    }

    pub(crate) fn forge_says(&mut self, to: Token, id: usize, is_done: bool) {
        let sender = &mut self.replicas[to.replica].sender;
        if sender.pass != to.pass {
            return;
        }
        let attempts = sender.at.take().map_or(1, |d| d.attempts.saturating_add(1));
        let call = if is_done {
            Call::Delivered { id }
        } else {
            let pause = self.backoff(attempts);
            let next = self.store_clock() + pause;
            Call::Failed { id, next }
        };
        self.ask_store(to, call);
    }
}
