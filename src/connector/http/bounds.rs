//! How much of a system's answers is taken, and how often it is believed: the one place for it. `docs/bounds.md` says the same for people.

use reqwest::StatusCode;

use super::answer::Doing;
use crate::system_api::BODY_LIMIT;

/// 256 digests are 17 KB.
const DIGESTS: usize = 1 << 20;

/// A refusal has a reason for each change; ten thousand of them are a few megabytes.
const REPLY: usize = 16 << 20;

/// Events on one page of an audit feed, and bytes of the cursor for the next.
pub(super) const EVENTS: usize = 10_000;
pub(super) const CURSOR: usize = 2 << 10;

/// Of an answer whose status says it all, only this much is read for the words in it. What follows is left.
const WORDS: usize = 64 << 10;

/// Characters kept of any text that comes from a system.
pub(super) const TEXT: usize = 500;

/// Connections to one system that are kept open for the next request.
pub(super) const IDLE: usize = 4;

/// How often in a row a system is believed that nothing changed. Then it is asked without the condition: one that answers so whatever
/// happens would otherwise hide a change for ever.
pub(super) const BELIEVED: u32 = 60;

/// What is done with a body that is longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// It is an error: half of it means nothing.
    Whole(usize),
    /// The rest is not read.
    Beginning(usize),
}

/// How much of an answer is read.
pub(super) fn of(doing: Doing, status: StatusCode) -> Limit {
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        return Limit::Whole(REPLY);
    }
    if !status.is_success() {
        return Limit::Beginning(WORDS);
    }
    Limit::Whole(match doing {
        Doing::Digests => DIGESTS,
        Doing::State => BODY_LIMIT,
        Doing::Prepare | Doing::Commit | Doing::Abort | Doing::Audit => REPLY,
    })
}
