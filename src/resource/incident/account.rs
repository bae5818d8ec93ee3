//! What a document says of an incident, field by field.

use std::sync::Arc;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use super::INCIDENT;
use crate::document::date;
use crate::document::markdown::{Field, Fields, Phrase, Tick, folded};
use crate::ids::SystemName;
use crate::resource::SystemSet;
use crate::resource::page::{Page, spec, texts};
use crate::resource::severity;

/// From the first to the last, each with the words that mean it.
const STATUSES: &[(&str, &[&str])] = &[
    (
        "investigating",
        &["investigating", "open", "調査中", "対応中", "発生中"],
    ),
    (
        "identified",
        &["identified", "原因特定", "特定", "特定済み", "原因判明"],
    ),
    (
        "monitoring",
        &["monitoring", "監視中", "経過観察", "経過観察中"],
    ),
    (
        "resolved",
        &[
            "resolved",
            "closed",
            "解決",
            "解決済み",
            "復旧",
            "復旧済み",
            "対応完了",
            "完了",
        ],
    ),
];

/// A file name begins with the day on which it happened.
pub(super) fn check_name(page: &mut Page<'_>, name: &str) {
    let file = name.rsplit('/').next().unwrap_or(name);
    let dated = file
        .get(..10)
        .is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok())
        && file
            .get(10..)
            .is_some_and(|rest| rest.starts_with('-') && rest.len() > 1);
    if !dated {
        let message = format!("the file name {file:?} does not begin with the incident's date");
        let hint = "rename the file: `2025-09-15-db-pool.md`".to_owned();
        page.faults
            .error("incident/file-name", 0..0, message, Some(hint));
    }
}

/// What an incident's document must say: how grave it is, where it stands, and whom it hits.
pub(super) fn happened(
    page: &mut Page<'_>,
    fields: &Fields,
    title: Option<Value>,
) -> (Map<String, Value>, SystemSet) {
    let severity = word(
        page,
        fields,
        "severity",
        "incident/severity",
        severity::EXPECTED,
        severity::parse,
    );
    let status = word(
        page,
        fields,
        "status",
        "incident/status",
        "investigating, identified, monitoring or resolved (調査中, 原因特定, 監視中, 解決済み)",
        |text| {
            let word = folded(text);
            STATUSES
                .iter()
                .find(|(_, words)| words.contains(&word.as_str()))
                .map(|(name, _)| *name)
        },
    );
    let (names, systems) = match fields
        .get("affected")
        .filter(|field| !field.list().is_empty())
    {
        Some(field) => affected(page, field),
        None => {
            if !page.is_broken() {
                let hint = "add `affected: [medical]` to the front matter".to_owned();
                let at = page.outline.beginning();
                page.faults.error(
                    "incident/affected",
                    at,
                    "the document does not say which systems are affected",
                    Some(hint),
                );
            }
            (Vec::new(), page.directory.takers(INCIDENT))
        }
    };
    let teams = fields.get("teams").map(Field::list).unwrap_or_default();
    let detected = moment(page, fields, "detected");
    let resolved = moment(page, fields, "resolved");
    let personal = page.yes(fields, "personal_data");
    let retracted = page.yes(fields, "retracted").filter(|yes| *yes);
    let mut spec = spec([
        ("title", title),
        ("severity", severity.map(Value::from)),
        ("status", status.map(Value::from)),
        ("affected", texts(names.iter().map(SystemName::as_str))),
        ("teams", texts(teams.into_iter().map(|team| team.text))),
        ("detected", detected.map(Value::from)),
        ("resolved", resolved.map(Value::from)),
        ("personal_data", personal.map(Value::from)),
        (
            "supersedes",
            fields.text("supersedes").map(|t| t.text.into()),
        ),
        ("retracted", retracted.map(Value::from)),
    ]);
    spec.extend(analysis(page, fields));
    (spec, systems)
}

/// What a postmortem must say.
pub(super) fn learned(page: &mut Page<'_>, fields: &Fields) -> Map<String, Value> {
    let missing: Vec<&str> = [
        ("cause", "`原因:` (`Cause:`)"),
        ("impact", "`影響:` (`Impact:`)"),
        ("actions", "`対策:` (`Actions:`)"),
    ]
    .into_iter()
    .filter(|(name, _)| fields.text(name).is_none())
    .map(|(_, label)| label)
    .collect();
    if !missing.is_empty() && !page.is_broken() {
        let hint = format!("add {}", missing.join(", "));
        let at = page.outline.beginning();
        page.faults.warning(
            "incident/postmortem",
            at,
            "the postmortem is not complete",
            Some(hint),
        );
    }
    analysis(page, fields)
}

fn analysis(page: &mut Page<'_>, fields: &Fields) -> Map<String, Value> {
    let actions: Vec<Value> = fields
        .get("actions")
        .into_iter()
        .flat_map(|field| &field.values)
        .map(|value| {
            let done = value
                .tick
                .map(|tick| Value::from(matches!(tick, Tick::Done)));
            Value::Object(spec([
                ("action", Some(value.phrase.text.clone().into())),
                ("done", done),
            ]))
        })
        .collect();
    let body = page.body(fields, |_| false);
    spec([
        ("cause", fields.text("cause").map(|t| t.text.into())),
        ("impact", fields.text("impact").map(|t| t.text.into())),
        (
            "actions",
            (!actions.is_empty()).then_some(Value::Array(actions)),
        ),
        ("body", body.map(Value::from)),
    ])
}

/// A field that takes one of a few words. Absent, or another word, is a finding.
fn word(
    page: &mut Page<'_>,
    fields: &Fields,
    name: &str,
    rule: &'static str,
    expected: &str,
    parse: impl Fn(&str) -> Option<&'static str>,
) -> Option<&'static str> {
    let hint = Some(format!("write {expected}"));
    let Some(given) = fields.text(name) else {
        if !page.is_broken() {
            let at = fields
                .get(name)
                .map_or(page.outline.beginning(), |f| f.label.span.clone());
            page.faults.error(
                rule,
                at,
                format!("the document does not say its {name}"),
                hint,
            );
        }
        return None;
    };
    let word = parse(&given.text);
    if word.is_none() {
        page.faults.error(
            rule,
            given.span,
            format!("`{}` is no {name}", given.text),
            hint,
        );
    }
    word
}

/// The systems that it happened to, and those of them that can be told: what happened is true of a system that takes no
/// incidents too.
pub(super) fn affected(page: &mut Page<'_>, field: &Field) -> (Vec<SystemName>, SystemSet) {
    let mut names: Vec<SystemName> = field
        .list()
        .iter()
        .filter_map(|p| page.known_system(p))
        .collect();
    names.sort();
    names.dedup();
    let told = names
        .iter()
        .filter(|name| page.directory.takes(name, INCIDENT))
        .cloned();
    let told = Arc::new(told.collect());
    (names, told)
}

/// A date, with or without a time of day: `2025-09-15 22:10`.
fn moment(page: &mut Page<'_>, fields: &Fields, name: &str) -> Option<String> {
    let given = fields.text(name)?;
    let plain: String = given.text.nfkc().collect();
    let (day, time) = plain.split_once([' ', 'T']).unwrap_or((&plain, ""));
    if date::parse(day).is_none() && date::parse(&plain).is_none() {
        let phrase = Phrase {
            text: given.text.clone(),
            span: given.span,
        };
        return page.date_in(&phrase, "date/invalid");
    }
    match date::parse(&plain) {
        Some(date) => Some(date.to_string()),
        None => date::parse(day).map(|date| format!("{date} {}", time.trim()).trim().to_owned()),
    }
}
