//! Findings as compilers show them: the place, the line, what is meant underlined, what to do.

use annotate_snippets::renderer::{DEFAULT_LINE_NUM_STYLE, DecorStyle};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{BOLD, GREEN, RED, YELLOW, styled};
use crate::finding::Severity;
use crate::resource::Language;
use crate::view::printable::printable;
use crate::view::report::{FindingView, Place, ReportView};
use crate::view::words::{Counts, Words, words};

/// How many findings of one file are shown in full.
pub(super) const PER_FILE: usize = 50;
/// How many are shown in full altogether.
pub(super) const IN_ALL: usize = 500;

/// All findings with their excerpts, then a line that counts them.
pub fn report(view: &ReportView, language: Language) -> String {
    let words = words(language);
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    let (mut shown, mut hidden, mut hidden_files, mut files) = (0, 0, 0, 0);
    for file in view.files() {
        files += 1;
        let here = PER_FILE.min(IN_ALL - shown);
        if here == 0 {
            hidden += file.len();
            hidden_files += 1;
            continue;
        }
        for finding in file.iter().take(here) {
            out.push_str(&render(finding, &renderer, words));
            out.push_str("\n\n");
            shown += 1;
        }
        if let (left @ 1.., Some(first)) = (file.len().saturating_sub(here), file.first()) {
            out.push_str(&(words.more_in_file)(left, &printable(first.path.as_str())));
            out.push_str("\n\n");
        }
    }
    if hidden > 0 {
        out.push_str(&(words.more_in_files)(hidden, hidden_files));
        out.push_str("\n\n");
    }
    out.push_str(&summary(view, files, words));
    out.push('\n');
    out
}

fn summary(view: &ReportView, files: usize, words: &Words) -> String {
    let counts = Counts {
        errors: view.count(Severity::Error),
        warnings: view.count(Severity::Warning),
        notes: view.count(Severity::Note),
        files,
    };
    if view.findings.is_empty() {
        return styled(GREEN, words.nothing_found);
    }
    let style = match (counts.errors, counts.warnings) {
        (0, 0) => BOLD,
        (0, _) => YELLOW.bold(),
        _ => RED.bold(),
    };
    styled(style, &(words.found)(&counts))
}

fn render(finding: &FindingView, renderer: &Renderer, words: &Words) -> String {
    let FindingView {
        rule,
        severity,
        path,
        place,
        message,
        hint,
        excerpt,
    } = finding;
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let level = level.with_name(words.severity(*severity));
    let message = printable(message);
    let title = level.clone().primary_title(&*message).id(&**rule);
    let mut out = renderer.render(&[Group::with_title(title)]);

    // The place is written here and not by the renderer, which would count columns in the excerpt: that of a long line starts
    // somewhere else.
    let gutter = place.map_or(0, |p| p.line.to_string().len());
    let mut origin = printable(path.as_str()).into_owned();
    if let Some(Place { line, column, .. }) = place {
        origin.push_str(&format!(":{line}:{column}"));
    }
    let arrow = styled(DEFAULT_LINE_NUM_STYLE, "-->");
    out.push_str(&format!("\n{}{arrow} {origin}", " ".repeat(gutter)));

    let hint = hint.as_deref().map(printable);
    let mut body = Group::with_level(level);
    if let (Some(place), Some(excerpt)) = (place, excerpt) {
        let snippet = Snippet::source(&*excerpt.text)
            .line_start(usize::try_from(place.line).unwrap_or(usize::MAX))
            .annotation(AnnotationKind::Primary.span(excerpt.mark.clone()));
        body = body.element(snippet);
    }
    if let Some(hint) = &hint {
        body = body.element(Level::HELP.with_name(words.help).message(&**hint));
    }
    if !body.is_empty() {
        out.push('\n');
        out.push_str(&renderer.render(&[body]));
    }
    out
}
