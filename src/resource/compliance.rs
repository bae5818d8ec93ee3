//! Requirements of law and their checklists: `compliance/<name>.md`.
//!
//! A tick is a person's claim that something was done. It changes one line of the document and one field of one resource, on the
//! one system that the line names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::limits;
use crate::document::markdown::{Labels, Outline, Sort, Tick, split_label};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef, SystemName};
use crate::resource::form::{Context, Form, NotWritten, Reading, Rewrite, Source};
use crate::resource::mention::Directory;
use crate::resource::page::{Page, document_name, spec};
use crate::resource::wording::{Label, differences, label, quoted, text, word};
use crate::resource::{Direction, Kind, Language};

mod checklist;
mod tick;

use checklist::{Item, items};

#[cfg(test)]
mod tests;

/// A law or guideline with the date from which it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requirement;

/// One line of a checklist, on the system that it concerns.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComplianceItem;

/// The documents in `compliance/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComplianceForm;

const REQUIREMENT: &str = "Requirement";
const ITEM: &str = "ComplianceItem";
const FOLDER: &str = "compliance";

const LABELS: &Labels = &[
    ("title", &["title", "題名", "件名", "名称"]),
    (
        "effective",
        &[
            "effective",
            "effective date",
            "in force",
            "in force from",
            "施行日",
            "適用日",
            "発効日",
            "施行",
        ],
    ),
    (
        "source",
        &[
            "source",
            "sources",
            "reference",
            "references",
            "出典",
            "根拠",
            "参照",
            "根拠法令",
        ],
    ),
    ("owner", &["owner", "responsible", "担当", "責任者", "所管"]),
];

impl Kind for Requirement {
    fn name(&self) -> &str {
        REQUIREMENT
    }

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
            label("title", "title", "題名"),
            label("effective", "in force from", "施行日"),
            label("source", "source", "出典"),
            label("owner", "owner", "担当"),
            label("description", "description", "説明"),
        ];
        match (before, after) {
            (Some(before), Some(after)) => {
                format!("{name}: {}", differences(before, after, FIELDS, language))
            }
            (Some(gone), None) => {
                let verb = word("withdrawn", "取り下げ");
                format!(
                    "{name}: {} {}",
                    quoted(text(gone, "title"), language),
                    verb.say(language)
                )
            }
            (None, Some(new)) => {
                let title = quoted(text(new, "title"), language);
                let date = text(new, "effective");
                match language {
                    Language::English => format!("{name}: {title} in force from {date}"),
                    Language::Japanese => format!("{name}: {title} {date} 施行"),
                }
            }
            (None, None) => name.to_owned(),
        }
    }
}

impl Kind for ComplianceItem {
    fn name(&self) -> &str {
        ITEM
    }

    /// A tick gives nobody anything, and takes nothing away; nor does a line that goes.
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
            label("action", "wording", "文言"),
            label("effective", "in force from", "施行日"),
            label("owner", "owner", "担当"),
            label("due", "due", "期限"),
        ];
        let Some(shown) = after.or(before) else {
            return name.to_owned();
        };
        let (requirement, action) = (text(shown, "requirement"), text(shown, "action"));
        let is_done =
            |spec: Option<&Value>| spec.and_then(|s| s.get("done")?.as_bool()).unwrap_or(false);
        let verb = match (before, after) {
            (Some(_), None) => word("removed", "削除"),
            (None, _) if is_done(after) => word("added, done", "追加（実施済み）"),
            (None, _) => word("added", "追加"),
            (Some(_), Some(_)) if is_done(before) != is_done(after) => match is_done(after) {
                true => word("done", "実施済みに"),
                false => word("open again", "未実施に戻す"),
            },
            (Some(before), Some(after)) => {
                let changed = differences(before, after, FIELDS, language);
                return format!("{requirement}: {} {changed}", quoted(action, language));
            }
        };
        format!(
            "{requirement}: {} {}",
            quoted(action, language),
            verb.say(language)
        )
    }
}

impl Form for ComplianceForm {
    fn kinds(&self) -> Vec<KindName> {
        [REQUIREMENT, ITEM]
            .iter()
            .filter_map(|kind| kind.parse().ok())
            .collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut page = Page::open(source, context);
        let fields = page.fields(LABELS, |block, _| matches!(block.sort, Sort::Task(_)));
        let heading = page.title();
        let title = fields.text("title").or(heading);
        let effective = page.date(&fields, "effective", "compliance/bad-date");
        if fields.text("effective").is_none() && !page.is_broken() {
            let hint = "add a line `- 施行日: 2025-10-01` or `- Effective: 2025-10-01`".to_owned();
            let at = page.outline.beginning();
            page.faults.error(
                "compliance/bad-date",
                at,
                "the document does not say from when it holds",
                Some(hint),
            );
        }
        let Some(name) = page.name(REQUIREMENT, FOLDER).map(requirement_name) else {
            return page.finish();
        };
        let mut concerned = declare_items(&mut page, &name, effective.as_deref());
        // A line that only names the system of the items below it is part of the checklist.
        let body = page.body(&fields, |line| {
            split_label(&line.text).is_some_and(|(words, rest)| {
                let named = |part| line.phrase(part).text;
                named(rest).is_empty() && page.directory.find(&named(words)).is_some()
            })
        });
        let spec = spec([
            ("title", title.map(|t| t.text.into())),
            ("effective", effective.map(Value::from)),
            ("source", fields.text("source").map(|t| t.text.into())),
            ("owner", fields.text("owner").map(|t| t.text.into())),
            ("description", body.map(Value::from)),
        ]);
        concerned.retain(|system| page.directory.takes(system, REQUIREMENT));
        let at = page.outline.beginning();
        page.declare(REQUIREMENT, &name, spec, concerned.into(), at);
        page.finish()
    }

    fn locate(&self, source: Source<'_>, context: Context<'_>, id: &ResourceRef) -> Option<Span> {
        self.locate_all(source, context, std::slice::from_ref(id))
            .remove(id)
    }

    fn locate_all(
        &self,
        source: Source<'_>,
        context: Context<'_>,
        ids: &[ResourceRef],
    ) -> BTreeMap<ResourceRef, Span> {
        let outline = Outline::new(source.text);
        let directory = Directory::new(context.config);
        let name = requirement_name(document_name(source, FOLDER));
        let mut places = BTreeMap::new();
        places.extend(ResourceRef::new(REQUIREMENT, &name).map(|id| (id, outline.beginning())));
        for item in items(&outline, &directory) {
            let system = item
                .system
                .as_ref()
                .and_then(|words| directory.find(&words.text));
            let id = system
                .and_then(|s| ResourceRef::new(ITEM, &format!("{name}/{s}/{}", item.slug())).ok());
            if let Some(id) = id {
                places.entry(id).or_insert(item.line);
            }
        }
        ids.iter()
            .filter_map(|id| {
                Some((
                    id.clone(),
                    Span::in_source(source.text, places.get(id)?.clone()),
                ))
            })
            .collect()
    }

    fn rewrite(
        &self,
        source: Source<'_>,
        context: Context<'_>,
        rewrite: &Rewrite<'_>,
    ) -> Result<String, NotWritten> {
        tick::rewrite(self, source, context, rewrite)
    }
}

/// Declares what the checklist holds; which systems it concerns.
fn declare_items(page: &mut Page<'_>, name: &str, effective: Option<&str>) -> BTreeSet<SystemName> {
    let items = items(&page.outline, &page.directory);
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let mut concerned = BTreeSet::new();
    let mut lines = 0_usize;
    for item in items {
        lines += 1;
        let Some(system) = checked_system(page, &item) else {
            continue;
        };
        concerned.insert(system.clone());
        let Some(slug) = checked_slug(page, &item) else {
            continue;
        };
        let id = format!("{name}/{system}/{slug}");
        if let Some(earlier) = first.get(&id) {
            // Counting lines costs the document, so not for findings that are left out anyway.
            let message = if page.faults.len() < limits::FINDINGS {
                let line = Span::in_source(page.faults.text(), *earlier..*earlier).line;
                format!("this item is in the list already, on line {line}")
            } else {
                "this item is in the list already".to_owned()
            };
            let hint = "remove one of them, or tell them apart with `<!-- id: name -->`".to_owned();
            page.faults.error(
                "compliance/duplicate-item",
                item.line.clone(),
                message,
                Some(hint),
            );
            continue;
        }
        first.insert(id.clone(), item.line.start);
        let due = item
            .due
            .as_ref()
            .and_then(|due| page.date_in(due, "compliance/bad-date"));
        let spec = spec([
            ("requirement", Some(name.into())),
            ("action", Some(item.action.text.into())),
            ("done", Some(matches!(item.tick, Tick::Done).into())),
            ("effective", effective.map(Value::from)),
            ("owner", item.owner.map(Value::from)),
            ("due", due.map(Value::from)),
        ]);
        let systems = page.directory.alone(&system);
        page.declare(ITEM, &id, spec, systems, item.line);
    }
    if lines == 0 && !page.is_broken() {
        let hint = "add lines `- [ ] <system>: <action>`".to_owned();
        let at = page.outline.beginning();
        page.faults.error(
            "compliance/no-items",
            at,
            "the document has no checklist",
            Some(hint),
        );
    }
    concerned
}

/// A requirement's name is its file's alone: an item's name is told apart by slashes.
fn requirement_name(document: String) -> String {
    match document.rsplit_once('/') {
        Some((_, file)) => file.to_owned(),
        None => document,
    }
}

fn checked_system(page: &mut Page<'_>, item: &Item) -> Option<SystemName> {
    let example = "write `- [ ] <system>: <action>`";
    if item.action.text.is_empty() {
        let hint = Some(example.to_owned());
        page.faults.error(
            "compliance/no-action",
            item.line.clone(),
            "the item says nothing to do",
            hint,
        );
        return None;
    }
    let Some(system) = &item.system else {
        let message = "the item does not say which system it is for";
        let names: Vec<_> = page
            .directory
            .takers(ITEM)
            .iter()
            .map(ToString::to_string)
            .collect();
        let hint = match names.is_empty() {
            true => example.to_owned(),
            false => format!("{example}; systems: {}", names.join(", ")),
        };
        page.faults.error(
            "compliance/no-system",
            item.line.clone(),
            message,
            Some(hint),
        );
        return None;
    };
    page.system(system, ITEM)
}

fn checked_slug(page: &mut Page<'_>, item: &Item) -> Option<String> {
    let slug = item.slug();
    let valid = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if slug.is_empty() || slug.len() > 100 || !slug.chars().all(valid) {
        let at = item
            .given
            .as_ref()
            .map_or(item.line.clone(), |id| id.span.clone());
        let message = format!("`{slug}` can't be the id of an item");
        let hint = "use letters, digits, '-', '_' and '.'".to_owned();
        page.faults
            .error("compliance/bad-id", at, message, Some(hint));
        return None;
    }
    Some(slug)
}
