//! How the demo speaks: in two languages, in colour on a terminal.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::stage::Stage;
use crate::cli::print;
use crate::resource::Language;

const HEADING: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WAIT: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// One sentence in both languages.
pub(super) struct Text<'a> {
    pub(super) en: &'a str,
    pub(super) ja: &'a str,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self { en: text, ja: text }
    }
}

/// Tells the story to stdout.
pub(super) struct Teller {
    pub(super) language: Language,
    chapter: std::cell::Cell<u32>,
}

impl Teller {
    pub(super) fn new(language: Language) -> Self {
        Self {
            language,
            chapter: std::cell::Cell::new(0),
        }
    }

    pub(super) fn choose<'a>(&self, text: &Text<'a>) -> &'a str {
        match self.language {
            Language::English => text.en,
            Language::Japanese => text.ja,
        }
    }

    fn line(&self, text: &str) {
        // Whoever closed the pipe has seen enough; the demo itself goes on and says how it ended by its exit code.
        let _ = print(&format!("{text}\n"));
    }

    pub(super) fn chapter(&self, text: &Text<'_>) {
        self.chapter.set(self.chapter.get() + 1);
        self.line(&format!(
            "\n{HEADING}{}. {}{HEADING:#}",
            self.chapter.get(),
            self.choose(text)
        ));
    }

    pub(super) fn say(&self, text: &str) {
        self.line(&format!("   {}", crate::view::printable(text)));
    }

    pub(super) fn command(&self, text: &str) {
        self.line(&format!("   {DIM}$ {text}{DIM:#}"));
    }

    pub(super) fn done(&self, text: &Text<'_>) {
        self.line(&format!("   {GOOD}✓{GOOD:#} {}", self.choose(text)));
    }

    pub(super) fn refused(&self, text: &str) {
        self.line(&format!(
            "   {BAD}✗{BAD:#} {}",
            crate::view::printable(text)
        ));
    }

    pub(super) fn waiting(&self, text: &str) {
        self.line(&format!(
            "   {WAIT}…{WAIT:#} {}",
            crate::view::printable(text)
        ));
    }

    /// Text that a view has made, indented.
    pub(super) fn show(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(&format!("   {line}"));
        }
    }

    pub(super) fn end(&self, taken: Duration) {
        let seconds = taken.as_secs_f64();
        self.line(&match self.language {
            Language::English => {
                format!("\n{GOOD}Every step came true, in {seconds:.1} s.{GOOD:#}")
            }
            Language::Japanese => {
                format!("\n{GOOD}すべての段階が確かめられました（{seconds:.1} 秒）。{GOOD:#}")
            }
        });
    }

    pub(super) fn addresses(&self, stage: &Stage) {
        self.line(self.choose(&Text {
            en: "\nIt stays up. Look at the systems, change something there, or propose a change of your own:",
            ja: "\nこのまま動き続けます。システムを見て、何かを変えてみるか、自分で変更を提案してみてください:",
        }));
        for system in &stage.systems {
            self.say(&format!("{:<11} {}", system.name, system.url()));
        }
        self.say(&format!("cd {}", stage.path().display()));
        self.command("lockstep --repo config.git --settings lockstep.toml propose --as sato --set flag.ai_assistant.rollout=50");
        self.line(self.choose(&Text {
            en: "Ctrl-C ends it.",
            ja: "Ctrl-C で終わります。",
        }));
    }
}
