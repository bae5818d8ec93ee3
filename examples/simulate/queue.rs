//! What will happen, by virtual time; of two things at the same moment the one that was arranged first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// The things themselves, so that ordering moves three numbers and not a request.
    things: Vec<Option<T>>,
    free: Vec<usize>,
    arranged: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            things: Vec::new(),
            free: Vec::new(),
            arranged: 0,
        }
    }

    pub(crate) fn push(&mut self, at: u64, thing: T) {
        let place = match self.free.pop() {
            Some(place) => {
                self.things[place] = Some(thing);
                place
            }
            None => {
                self.things.push(Some(thing));
                self.things.len() - 1
            }
        };
        self.order.push(Reverse((at, self.arranged, place)));
        self.arranged += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        Some((at, self.things[place].take()?))
    }
}
