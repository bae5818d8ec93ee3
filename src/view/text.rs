//! The terminal. Text carries ANSI styles; whoever prints it strips them where the output is no terminal.

use anstyle::{AnsiColor, Style};

mod explain;
mod findings;
mod gate;
mod plan;
mod status;

pub use explain::explain;
pub use findings::report;
pub use gate::gate;
pub use plan::plan;
pub use status::{held, history, status};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// A change as a plan writes it.
pub fn change_line(change: &super::ChangeView, language: crate::resource::Language) -> String {
    plan::line(change, super::words::words(language))
}

/// Text in a style.
fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
