//! A system's own audit feed, page by page. It is the word of another party: what is out of order, repeated, outside the time that was asked for, or
//! goes in circles makes the feed one that is not whole, and is said so.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::connector::{ConnectorError, Observe};
use crate::ids::{Digest, ResourceRef, SystemName};
use crate::system_api::{AuditEvent, op_from_word};

/// Pages without an event in a row.
const EMPTY: usize = 100;
/// How often a page is asked for before it counts as lost, and how long between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Events of one moment that are remembered, to know one that comes again.
const REMEMBERED: usize = 10_000;

/// Events of one system, from a time until before another, in order. Asking it blocks.
pub struct Feed {
    pub system: SystemName,
    link: Arc<dyn Observe>,
    runtime: Handle,
    span: (Timestamp, Timestamp),
    page: VecDeque<AuditEvent>,
    cursor: Cursor,
    /// The moment of the last event, and the events of that moment.
    last: Timestamp,
    moment: BTreeSet<Digest>,
    /// How many events were given.
    pub events: u64,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    /// Why it is not whole.
    Failed(String),
}

/// Where to go on, and what shows that it goes in circles: one cursor of before, kept twice as long each time (Brent), so that a circle of any
/// length is found and memory does not grow.
#[derive(Debug, Default)]
struct Cursor {
    next: Option<String>,
    kept: Option<String>,
    steps: u64,
    until: u64,
}

impl Cursor {
    /// Goes on to the next page; `false` where it was there before.
    fn step(&mut self, next: String) -> bool {
        if self.kept.as_ref() == Some(&next) || self.next.as_ref() == Some(&next) {
            return false;
        }
        self.steps += 1;
        if self.steps >= self.until {
            self.kept = Some(next.clone());
            self.until = self.steps * 2 + 1;
        }
        self.next = Some(next);
        true
    }
}

impl Feed {
    pub fn new(
        system: SystemName,
        link: Arc<dyn Observe>,
        runtime: Handle,
        span: (Timestamp, Timestamp),
    ) -> Self {
        Self {
            system,
            link,
            runtime,
            span,
            page: VecDeque::new(),
            cursor: Cursor::default(),
            last: span.0,
            moment: BTreeSet::new(),
            events: 0,
            state: State::Open,
        }
    }

    /// When its next event was; `None` at its end, whole or not.
    pub fn peek(&mut self) -> Option<Timestamp> {
        let mut empty = 0;
        while self.page.is_empty() && self.state == State::Open {
            empty += 1;
            if empty > EMPTY {
                self.fail(format!("sent {EMPTY} pages without an event"));
                return None;
            }
            self.turn();
        }
        self.page.front().map(|event| event.at)
    }

    /// Its next event, once it was looked at. Checked: `None` where it may not be what it says, and then the feed is not whole.
    pub fn take_next(&mut self) -> Option<AuditEvent> {
        let event = self.page.pop_front()?;
        match self.check(&event) {
            Ok(()) => {
                self.events += 1;
                Some(event)
            }
            Err(why) => {
                self.fail(why);
                None
            }
        }
    }

    /// Why it is not whole.
    pub fn failure(&self) -> Option<&str> {
        match &self.state {
            State::Failed(why) => Some(why),
            State::Open | State::Ended => None,
        }
    }

    /// The moment up to which it is known.
    pub fn reached(&self) -> Timestamp {
        self.last
    }

    fn fail(&mut self, why: String) {
        self.page.clear();
        self.state = State::Failed(why);
    }

    /// Asks for the next page.
    fn turn(&mut self) {
        let mut tries = 1;
        let answer = loop {
            let asked = self.link.audit(self.span, self.cursor.next.as_deref());
            match self.runtime.block_on(asked) {
                Err(ConnectorError::Transient { .. }) if tries < TRIES => {
                    tries += 1;
                    self.runtime.block_on(tokio::time::sleep(PAUSE));
                }
                other => break other,
            }
        };
        match answer {
            Err(error) => self.fail(error.to_string()),
            Ok(answer) => {
                self.page = answer.events.into();
                match answer.next {
                    None => self.state = State::Ended,
                    Some(next) => {
                        if !self.cursor.step(next) {
                            // What came with it is known to be there already.
                            self.fail("its pages go in circles: a cursor came again".to_owned());
                        }
                    }
                }
            }
        }
    }

    fn check(&mut self, event: &AuditEvent) -> Result<(), String> {
        let at = event.at;
        if at < self.span.0 || at >= self.span.1 {
            return Err(format!("sent an event of {at}, which was not asked for"));
        }
        if at < self.last {
            return Err(format!(
                "sent an event of {at} after one of {}: they are not in order",
                self.last
            ));
        }
        if ResourceRef::new(&event.kind, &event.name).is_err()
            || op_from_word(&event.action).is_none()
        {
            return Err(format!(
                "sent an event of {at} whose action, kind or name is none"
            ));
        }
        if at > self.last {
            self.moment.clear();
            self.last = at;
        }
        let bytes = serde_json::to_vec(event).unwrap_or_default();
        if self.moment.len() < REMEMBERED && !self.moment.insert(Digest::of(&bytes)) {
            return Err(format!("sent an event of {at} twice"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
