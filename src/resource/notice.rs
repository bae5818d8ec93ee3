//! Notices to the people who use the systems: `alerts/<name>.md`, `security/<name>.md`.
//!
//! A notice is a record of fact: it is published, superseded or retracted. Who has seen it is live state and not here.

use std::collections::BTreeSet;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::document::markdown::{Fields, Labels, Line, Outline, Phrase, Sort, split_label};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef};
use crate::resource::form::{Context, Form, Reading, Source};
use crate::resource::page::{Page, document_name, spec, texts};
use crate::resource::severity;
use crate::resource::wording::{Label, differences, label, quoted, text, word};
use crate::resource::{Direction, Kind, Language};

#[cfg(test)]
mod tests;

/// A notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notice;

/// The documents in `alerts/` and `security/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoticeForm;

const NOTICE: &str = "Notice";

const LABELS: &Labels = &[
    ("title", &["title", "題名", "件名"]),
    (
        "severity",
        &["severity", "level", "重大度", "深刻度", "重要度", "レベル"],
    ),
    (
        "when",
        &[
            "when",
            "time",
            "date",
            "period",
            "時刻",
            "日時",
            "時間",
            "期間",
            "日程",
            "実施日時",
        ],
    ),
    ("impact", &["impact", "affects", "影響", "影響範囲", "対象"]),
    (
        "response",
        &[
            "response",
            "action",
            "actions",
            "what to do",
            "対応",
            "対処",
            "対応方法",
            "お願い",
        ],
    ),
    ("cve", &["cve", "cves"]),
    (
        "systems",
        &["systems", "system", "システム", "対象システム"],
    ),
    ("due", &["due", "deadline", "期限", "対応期限"]),
    (
        "supersedes",
        &["supersedes", "replaces", "差し替え", "置き換え"],
    ),
    ("retracted", &["retracted", "withdrawn", "撤回", "取り消し"]),
];

impl Kind for Notice {
    fn name(&self) -> &str {
        NOTICE
    }

    /// To say something grants nothing and takes nothing away. What makes notices urgent is their kind.
    fn direction(&self, _before: Option<&Value>, _after: Option<&Value>) -> Direction {
        Direction::Neutral
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        const FIELDS: &[Label] = &[
            label("severity", "severity", "重大度"),
            label("title", "title", "題名"),
            label("when", "time", "時刻"),
            label("impact", "impact", "影響"),
            label("response", "response", "対応"),
            label("due", "due", "期限"),
            label("cve", "CVE", "CVE"),
            label("supersedes", "supersedes", "置き換え"),
            label("body", "text", "本文"),
        ];
        let retracted = |spec: Option<&Value>| {
            spec.and_then(|s| s.get("retracted")?.as_bool())
                .unwrap_or(false)
        };
        let Some(shown) = after.or(before) else {
            return name.to_owned();
        };
        let title = quoted(text(shown, "title"), language);
        let verb = match (before, after) {
            (Some(_), None) => word("taken down", "掲載終了"),
            (None, _) if retracted(after) => word("published as retracted", "撤回済みとして掲載"),
            (None, _) => {
                return match language {
                    Language::English => {
                        format!("{name}: {title} published ({})", text(shown, "severity"))
                    }
                    Language::Japanese => {
                        format!("{name}: {title}を掲載（{}）", text(shown, "severity"))
                    }
                };
            }
            (Some(_), Some(_)) if retracted(before) != retracted(after) => match retracted(after) {
                true => word("retracted", "撤回"),
                false => word("published again", "再掲載"),
            },
            (Some(before), Some(after)) => {
                return format!(
                    "{name}: {title} {}",
                    differences(before, after, FIELDS, language)
                );
            }
        };
        format!("{name}: {title} {}", verb.say(language))
    }

    fn is_record(&self) -> bool {
        true
    }
}

impl Form for NoticeForm {
    fn kinds(&self) -> Vec<KindName> {
        NOTICE.parse().into_iter().collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut page = Page::open(source, context);
        let fields = page.fields(LABELS, |_, line| headline(line).is_some());
        let headlines = headlines(&page.outline);
        let given = fields.text("title").map(|title| title.text);
        let title = given
            .or_else(|| title_of(&mut page, &headlines))
            .filter(|title| !title.is_empty());
        let Some(name) = page.name(NOTICE, "") else {
            return page.finish();
        };
        let severity = severity_of(&mut page, &fields, &headlines, title.as_deref());
        let mut body: Vec<String> = Vec::new();
        for (_, rest) in &headlines {
            if !rest.text.is_empty() && Some(rest.text.as_str()) != title.as_deref() {
                body.push(rest.text.clone());
            }
        }
        let above = above(&page.outline).filter(|_| page.outline.heading().is_none());
        body.extend(page.body(&fields, |line| {
            let text = line.text.trim();
            above.as_deref() == Some(text) || title.as_deref() == Some(text)
        }));
        let value = |name: &str| fields.text(name).map(|phrase| Value::from(phrase.text));
        let says = ["when", "impact", "response"]
            .iter()
            .any(|name| value(name).is_some());
        if !says
            && headlines.iter().all(|(_, rest)| rest.text.is_empty())
            && body.is_empty()
            && !page.is_broken()
        {
            let hint = "add lines `時刻:`, `影響:` and `対応:` (`When:`, `Impact:`, `Response:`)"
                .to_owned();
            let at = page.outline.beginning();
            page.faults.error(
                "notice/no-content",
                at,
                "the notice says nothing",
                Some(hint),
            );
        }
        let due = page.date(&fields, "due", "date/invalid");
        let retracted = page.yes(&fields, "retracted").filter(|yes| *yes);
        let supersedes = supersedes(&mut page, &fields, &name);
        let systems = page.systems(fields.get("systems"), NOTICE);
        let spec = spec([
            ("title", title.map(Value::from)),
            ("severity", Some(severity.into())),
            ("when", value("when")),
            ("impact", value("impact")),
            ("response", value("response")),
            ("cve", texts(cves(source.text))),
            ("body", (!body.is_empty()).then(|| body.join("\n").into())),
            ("due", due.map(Value::from)),
            ("supersedes", supersedes.map(Value::from)),
            ("retracted", retracted.map(Value::from)),
        ]);
        let at = page.outline.beginning();
        page.declare(NOTICE, &name, spec, systems, at);
        page.finish()
    }

    fn locate(&self, source: Source<'_>, _context: Context<'_>, id: &ResourceRef) -> Option<Span> {
        let here = id.kind() == NOTICE && id.name() == document_name(source, "");
        here.then(|| Span::in_source(source.text, Outline::new(source.text).beginning()))
    }
}

/// `CRITICAL: CVE-2025-12345 …`: a severity, and what it is of.
fn headline(line: &Line) -> Option<(&'static str, Phrase)> {
    let (word, rest) = split_label(&line.text)?;
    Some((severity::parse(line.text.get(word)?)?, line.phrase(rest)))
}

fn headlines(outline: &Outline) -> Vec<(&'static str, Phrase)> {
    outline
        .blocks
        .iter()
        .flat_map(|block| &block.lines)
        .filter_map(headline)
        .collect()
}

/// The line that stands before the first severity line.
fn above(outline: &Outline) -> Option<String> {
    let line = outline
        .blocks
        .first()
        .filter(|b| b.sort == Sort::Paragraph)?
        .lines
        .first()?;
    let plain = headline(line).is_none() && split_label(&line.text).is_none();
    plain.then(|| line.text.trim().to_owned())
}

/// What a notice without a `title:` is called: its heading, the line above `CRITICAL: …`, or how it begins.
fn title_of(page: &mut Page<'_>, headlines: &[(&'static str, Phrase)]) -> Option<String> {
    if let Some((_, heading)) = page.outline.heading() {
        let line = heading.lines.first().and_then(headline);
        return Some(line.map_or_else(|| heading.phrase().text, |(_, rest)| rest.text));
    }
    if let Some((_, first)) = headlines.first() {
        return Some(above(&page.outline).unwrap_or_else(|| first.text.clone()));
    }
    page.title();
    let first = page.outline.blocks.first()?;
    first.lines.first().map(|l| l.text.trim().to_owned())
}

/// What the field says, else the gravest of the lines that begin with a severity, else what the title begins with.
fn severity_of(
    page: &mut Page<'_>,
    fields: &Fields,
    headlines: &[(&'static str, Phrase)],
    title: Option<&str>,
) -> &'static str {
    if let Some(given) = fields.text("severity") {
        if let Some(severity) = severity::parse(&given.text) {
            return severity;
        }
        let message = format!("`{}` is no severity", given.text);
        let hint = format!("write {}", severity::EXPECTED);
        page.faults
            .error("document/unknown-value", given.span, message, Some(hint));
    }
    let gravest = headlines
        .iter()
        .map(|(severity, _)| *severity)
        .reduce(severity::graver);
    gravest
        .or_else(|| title.and_then(severity::leading))
        .unwrap_or("info")
}

/// The notice that this one takes the place of, by its full name.
fn supersedes(page: &mut Page<'_>, fields: &Fields, name: &str) -> Option<String> {
    let given = fields.text("supersedes")?;
    let other = given
        .text
        .trim_start_matches("Notice/")
        .trim_end_matches(".md");
    let folder = name
        .rsplit_once('/')
        .map(|(folder, _)| folder)
        .filter(|_| !other.contains('/'));
    let other = folder.map_or_else(|| other.to_owned(), |folder| format!("{folder}/{other}"));
    if ResourceRef::new(NOTICE, &other).is_err() || other == name {
        let message = format!("`{}` is no other notice", given.text);
        let hint =
            "write the notice's path without its extension, such as `alerts/emergency`".to_owned();
        page.faults
            .error("notice/supersedes", given.span, message, Some(hint));
        return None;
    }
    Some(other)
}

/// The vulnerabilities that a text names, such as `CVE-2025-12345`, each once.
fn cves(text: &str) -> BTreeSet<String> {
    let text = text.nfkc().collect::<String>().to_uppercase();
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    parts
        .filter(|part| {
            let Some((year, number)) = part.strip_prefix("CVE-").and_then(|p| p.split_once('-'))
            else {
                return false;
            };
            let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
            year.len() == 4 && digits(year) && (4..=19).contains(&number.len()) && digits(number)
        })
        .map(str::to_owned)
        .collect()
}
