//! Results of experiments: `experiments/<name>.md`.
//!
//! A result is a record of fact; the change that follows from it is a flag's, and a proposal of its own.

use serde_json::{Map, Value};

use crate::document::markdown::{Labels, Line, Outline};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef};
use crate::resource::form::{Context, Form, Reading, Source};
use crate::resource::page::{Page, document_name, spec};
use crate::resource::wording::{Label, differences, label, quoted, text, word};
use crate::resource::{Direction, Kind, Language};

mod variant;

use variant::Variant;

#[cfg(test)]
mod tests;

/// The result of an experiment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Experiment;

/// The documents in `experiments/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExperimentForm;

const EXPERIMENT: &str = "Experiment";
const FOLDER: &str = "experiments";

const LABELS: &Labels = &[
    ("title", &["title", "題名", "件名"]),
    (
        "recommendation",
        &[
            "recommendation",
            "recommended",
            "推奨",
            "推奨案",
            "提言",
            "結論",
        ],
    ),
    (
        "systems",
        &["systems", "system", "システム", "対象システム"],
    ),
    ("flag", &["flag", "feature flag", "フラグ", "機能フラグ"]),
    ("period", &["period", "期間", "実施期間"]),
    ("owner", &["owner", "担当", "責任者"]),
    ("hypothesis", &["hypothesis", "仮説"]),
    ("supersedes", &["supersedes", "差し替え", "置き換え"]),
    ("retracted", &["retracted", "撤回"]),
];

impl Kind for Experiment {
    fn name(&self) -> &str {
        EXPERIMENT
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
            label("variants", "results", "結果"),
            label("recommendation", "recommendation", "推奨"),
            label("flag", "flag", "フラグ"),
            label("period", "period", "期間"),
            label("owner", "owner", "担当"),
            label("hypothesis", "hypothesis", "仮説"),
            label("retracted", "retracted", "撤回"),
            label("body", "text", "本文"),
        ];
        let Some(shown) = after.or(before) else {
            return name.to_owned();
        };
        let title = quoted(text(shown, "title"), language);
        let winner = |spec: &Value| {
            let variants = spec
                .get("variants")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or(&[]);
            let winner = variants
                .iter()
                .find(|v| v.get("winner").and_then(Value::as_bool) == Some(true));
            winner.map(|v| text(v, "name").to_owned())
        };
        match (before, after) {
            (Some(before), Some(after)) => {
                format!(
                    "{name}: {title} {}",
                    differences(before, after, FIELDS, language)
                )
            }
            (Some(_), None) => {
                let verb = word("removed from the record", "記録から削除");
                format!("{name}: {title} {}", verb.say(language))
            }
            (None, _) => match (winner(shown), language) {
                (Some(winner), Language::English) => {
                    format!("{name}: {title} published, winner {winner}")
                }
                (Some(winner), Language::Japanese) => {
                    format!("{name}: {title}を公開、勝者 {winner}")
                }
                (None, Language::English) => format!("{name}: {title} published, no winner"),
                (None, Language::Japanese) => format!("{name}: {title}を公開、勝者なし"),
            },
        }
    }

    fn is_record(&self) -> bool {
        true
    }
}

impl Form for ExperimentForm {
    fn kinds(&self) -> Vec<KindName> {
        EXPERIMENT.parse().into_iter().collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut page = Page::open(source, context);
        let fields = page.fields(LABELS, |_, line| variant::is_variant(line));
        let heading = page.title();
        let title = fields
            .text("title")
            .or(heading)
            .map(|t| Value::from(t.text));
        let Some(name) = page.name(EXPERIMENT, FOLDER) else {
            return page.finish();
        };
        let variants = variants(&mut page);
        let retracted = page.yes(&fields, "retracted").filter(|yes| *yes);
        let systems = page.systems(fields.get("systems"), EXPERIMENT);
        let value = |name: &str| fields.text(name).map(|t| Value::from(t.text));
        let spec = spec([
            ("title", title),
            ("variants", Some(variants)),
            ("recommendation", value("recommendation")),
            ("flag", value("flag")),
            ("period", value("period")),
            ("owner", value("owner")),
            ("hypothesis", value("hypothesis")),
            ("supersedes", value("supersedes")),
            ("retracted", retracted.map(Value::from)),
            ("body", page.body(&fields, |_| false).map(Value::from)),
        ]);
        let at = page.outline.beginning();
        page.declare(EXPERIMENT, &name, spec, systems, at);
        page.finish()
    }

    fn locate(&self, source: Source<'_>, _context: Context<'_>, id: &ResourceRef) -> Option<Span> {
        let here = id.kind() == EXPERIMENT && id.name() == document_name(source, FOLDER);
        here.then(|| Span::in_source(source.text, Outline::new(source.text).beginning()))
    }
}

/// The variants' lines, each checked by itself and then against the others.
fn variants(page: &mut Page<'_>) -> Value {
    let lines: Vec<Line> = page
        .outline
        .blocks
        .iter()
        .flat_map(|block| block.lines.iter().cloned())
        .collect();
    let mut found: Vec<Variant> = Vec::new();
    let mut winner: Option<String> = None;
    for variant in lines.iter().filter_map(variant::read) {
        if variant.name.text.is_empty() {
            let hint = "write `- バリアントA（名前）: CTR 12%` or `- Variant A (label): 120/1000`"
                .to_owned();
            page.faults.error(
                "experiment/no-name",
                variant.line.span,
                "the variant has no name",
                Some(hint),
            );
            continue;
        }
        if let Some(problem) = &variant.problem {
            let hint = "write a share such as `CTR 12%`, or successes of trials such as `120/1000`; mark the winner with `← 勝者` or `← winner`"
                .to_owned();
            page.faults.error(
                "experiment/bad-result",
                variant.line.span.clone(),
                problem.clone(),
                Some(hint),
            );
        }
        if found.iter().any(|v| v.name.text == variant.name.text) {
            let message = format!("there is a variant `{}` already", variant.name.text);
            page.faults.error(
                "experiment/duplicate-variant",
                variant.name.span.clone(),
                message,
                None,
            );
            continue;
        }
        match (&winner, &variant.winner) {
            (Some(first), Some(mark)) => {
                let message = format!(
                    "`{}` is marked as the winner, and `{first}` is too",
                    variant.name.text
                );
                let hint = "leave one mark `← 勝者` or `← winner`, or none".to_owned();
                page.faults.error(
                    "experiment/two-winners",
                    mark.span.clone(),
                    message,
                    Some(hint),
                );
            }
            (None, Some(_)) => winner = Some(variant.name.text.clone()),
            (_, None) => {}
        }
        found.push(variant);
    }
    if found.len() < 2 && !page.is_broken() {
        let hint = "add a line for each: `- バリアントA（名前）: CTR 12%` or `- Variant A (label): 120/1000`".to_owned();
        let message = format!(
            "an experiment compares at least two variants; there are {}",
            found.len()
        );
        let at = page.outline.beginning();
        page.faults
            .error("experiment/no-variants", at, message, Some(hint));
    }
    let objects: Vec<Map<String, Value>> = found.into_iter().map(Variant::into_spec).collect();
    objects.into_iter().map(Value::Object).collect()
}
