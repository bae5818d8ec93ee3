//! What people say to Lockstep in a comment on a proposal: five commands and nothing else.
//!
//! The grammar is closed. A comment is one command, alone on its first line; no option of the command line can be reached from here.

use serde::{Deserialize, Serialize};

use crate::resource::Language;

/// What begins a command.
const ADDRESSED: &str = "/lockstep";

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Judge the proposal again.
    Plan,
    /// Take a hold away, judge again, and try again what could not be applied.
    Retry,
    /// Release a held plan: by its digest or the beginning of it.
    Accept {
        digest: String,
    },
    /// Keep the proposal from being merged.
    Hold,
    Help,
    /// Meant for Lockstep, and none of them.
    Unknown,
}

/// What came of a command, in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub done: bool,
    pub en: String,
    pub ja: String,
}

/// A command that was given, by whom, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The login.
    pub author: String,
    pub command: Command,
    pub outcome: Outcome,
}

impl Said {
    /// Whether the comment answers it. Nobody is answered who has no business here: else anybody could make Lockstep write.
    pub(super) fn is_shown(&self) -> bool {
        self.outcome.done || !self.outcome.en.is_empty()
    }
}

/// Reads a comment. `None`: it is not meant for Lockstep.
pub fn parse(comment: &str) -> Option<Command> {
    let line = comment.trim_start().lines().next().unwrap_or_default();
    let mut words = line.split_whitespace();
    if words.next() != Some(ADDRESSED) {
        return None;
    }
    let command = match (words.next(), words.next()) {
        (Some("plan"), None) => Command::Plan,
        (Some("retry"), None) => Command::Retry,
        (Some("hold"), None) => Command::Hold,
        (Some("help") | None, None) => Command::Help,
        (Some("accept"), Some(digest)) if is_digest(digest) => Command::Accept {
            digest: digest.to_owned(),
        },
        _ => Command::Unknown,
    };
    Some(if words.next().is_some() {
        Command::Unknown
    } else {
        command
    })
}

/// Between the least that tells plans apart and all of it.
fn is_digest(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'))
}

/// What the commands are, for who asks.
pub(super) fn help(language: Language) -> &'static str {
    match language {
        Language::English => {
            "/lockstep plan judges again · /lockstep hold keeps it from being merged, /lockstep retry lets it go on and tries again \
             what could not be applied · /lockstep accept DIGEST releases a held plan · /lockstep help"
        }
        Language::Japanese => {
            "/lockstep plan 再判定 · /lockstep hold マージを止める、/lockstep retry 止めたものを解除し、反映できなかったものを再試行 · \
             /lockstep accept DIGEST 保留中の計画を解放 · /lockstep help"
        }
    }
}

/// Whose hold is on a proposal, of all that was said on it.
pub(super) fn held_by(said: &[Said]) -> Option<&str> {
    let mut held = None;
    for said in said.iter().filter(|s| s.outcome.done) {
        match said.command {
            Command::Hold => held = Some(said.author.as_str()),
            Command::Retry => held = None,
            Command::Plan | Command::Accept { .. } | Command::Help | Command::Unknown => {}
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_closed() {
        assert_eq!(parse("/lockstep plan"), Some(Command::Plan));
        assert_eq!(
            parse("  /lockstep   retry \r\nplease"),
            Some(Command::Retry)
        );
        assert_eq!(parse("/lockstep"), Some(Command::Help));
        assert_eq!(
            parse("/lockstep accept 0123abcd"),
            Some(Command::Accept {
                digest: "0123abcd".to_owned()
            })
        );
        for nothing in [
            "",
            "lgtm",
            "> /lockstep plan",
            "/lockstepper plan",
            "see /lockstep plan",
        ] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
        for unknown in [
            "/lockstep plan --repo /etc",
            "/lockstep apply",
            "/lockstep accept",
            "/lockstep accept 0123",
            "/lockstep accept 0123ABCD",
            "/lockstep accept ../../x",
            "/lockstep accept 0123abcd 0123abce",
            "/lockstep hold; rm",
        ] {
            assert_eq!(parse(unknown), Some(Command::Unknown), "{unknown}");
        }
    }

    #[test]
    fn the_last_word_counts_and_only_if_it_was_listened_to() {
        let said = |command, author: &str, done| Said {
            author: author.to_owned(),
            command,
            outcome: Outcome {
                done,
                en: String::new(),
                ja: String::new(),
            },
        };
        let (hold, retry) = (Command::Hold, Command::Retry);
        assert_eq!(held_by(&[]), None);
        let mut all = vec![said(hold.clone(), "sato", true)];
        assert_eq!(held_by(&all), Some("sato"));
        all.push(said(retry.clone(), "stranger", false));
        assert_eq!(held_by(&all), Some("sato"));
        all.push(said(retry, "suzuki", true));
        assert_eq!(held_by(&all), None);
        all.push(said(hold, "stranger", false));
        assert_eq!(held_by(&all), None);
    }
}
