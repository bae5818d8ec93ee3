//! What GitHub answered before, by path: asked again with the entity tag, it costs nothing where it is the same.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use tokio::time::Instant;

/// How many answers are kept.
const REMEMBERED: usize = 512;

#[derive(Default)]
pub(super) struct Remembered {
    answers: HashMap<String, Answer>,
    order: VecDeque<String>,
}

#[derive(Clone)]
pub(super) struct Answer {
    pub(super) etag: String,
    pub(super) body: Bytes,
    pub(super) next: Option<String>,
    pub(super) at: Instant,
}

impl Remembered {
    pub(super) fn get(&self, path: &str) -> Option<&Answer> {
        self.answers.get(path)
    }

    /// Answers that turned out to be none.
    pub(super) fn forget(&mut self, paths: &BTreeSet<String>) {
        self.answers.retain(|path, _| !paths.contains(path));
        self.order.retain(|path| !paths.contains(path));
    }

    pub(super) fn keep(&mut self, path: &str, answer: Answer) {
        if self.answers.insert(path.to_owned(), answer).is_none() {
            self.order.push_back(path.to_owned());
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }
}
