//! Incidents and what was learned from them: `incidents/<date>-<name>.md` and `incidents/<date>-<name>-postmortem.md`.
//!
//! Both are records of fact. A postmortem is a resource of its own under the incident's name, since it is written later, by
//! other people, in another document.

use serde_json::Value;

use crate::document::markdown::{Labels, Outline};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef};
use crate::resource::form::{Context, Form, Reading, Source};
use crate::resource::page::{Page, document_name};
use crate::resource::wording::{Label, differences, label, quoted, text, word};
use crate::resource::{Direction, Kind, Language};

mod account;

use account::{affected, check_name, happened, learned};

#[cfg(test)]
mod tests;

/// An incident, or its postmortem.
#[derive(Debug, Clone, Copy, Default)]
pub struct Incident;

/// The documents in `incidents/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct IncidentForm;

const INCIDENT: &str = "Incident";
const FOLDER: &str = "incidents";

const LABELS: &Labels = &[
    ("title", &["title", "題名", "件名"]),
    (
        "severity",
        &["severity", "level", "重大度", "深刻度", "重要度"],
    ),
    (
        "affected",
        &[
            "affected",
            "affects",
            "systems",
            "影響システム",
            "対象システム",
            "システム",
        ],
    ),
    ("status", &["status", "state", "状態", "状況", "ステータス"]),
    ("teams", &["teams", "team", "チーム", "担当", "担当チーム"]),
    (
        "detected",
        &[
            "detected",
            "detected_at",
            "detected at",
            "started",
            "started_at",
            "発生",
            "発生日時",
            "検知",
            "検知日時",
        ],
    ),
    (
        "resolved",
        &[
            "resolved",
            "resolved_at",
            "resolved at",
            "復旧",
            "復旧日時",
            "解決日時",
        ],
    ),
    (
        "personal_data",
        &["personal_data", "personal data", "個人情報", "個人データ"],
    ),
    (
        "cause",
        &[
            "cause",
            "causes",
            "root cause",
            "原因",
            "根本原因",
            "発生原因",
        ],
    ),
    ("impact", &["impact", "影響", "影響範囲"]),
    (
        "actions",
        &[
            "actions",
            "action",
            "action items",
            "follow-up",
            "対策",
            "再発防止",
            "再発防止策",
            "対応",
            "是正処置",
        ],
    ),
    ("supersedes", &["supersedes", "差し替え", "置き換え"]),
    ("retracted", &["retracted", "撤回"]),
];

impl Kind for Incident {
    fn name(&self) -> &str {
        INCIDENT
    }

    /// What happened grants nothing and takes nothing away. That an incident is open holds up widening changes; that is
    /// for the policies to say.
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
            label("status", "status", "状態"),
            label("severity", "severity", "重大度"),
            label("affected", "affected", "影響システム"),
            label("title", "title", "題名"),
            label("teams", "teams", "チーム"),
            label("detected", "detected", "発生"),
            label("resolved", "resolved", "復旧"),
            label("cause", "cause", "原因"),
            label("impact", "impact", "影響"),
            label("actions", "actions", "対策"),
            label("body", "text", "本文"),
        ];
        let Some(shown) = after.or(before) else {
            return name.to_owned();
        };
        let title = quoted(text(shown, "title"), language);
        let verb = match (before, after) {
            (Some(before), Some(after)) => {
                return format!(
                    "{name}: {title} {}",
                    differences(before, after, FIELDS, language)
                );
            }
            (Some(_), None) => word("removed from the record", "記録から削除"),
            (None, _) if shown.get("incident").is_some() => {
                word("postmortem published", "事後分析を公開")
            }
            (None, _) => {
                let (severity, status) = (text(shown, "severity"), text(shown, "status"));
                return match language {
                    Language::English => format!("{name}: {title} recorded ({severity}, {status})"),
                    Language::Japanese => format!("{name}: {title}を記録（{severity}、{status}）"),
                };
            }
        };
        format!("{name}: {title} {}", verb.say(language))
    }

    fn is_record(&self) -> bool {
        true
    }
}

impl Form for IncidentForm {
    fn kinds(&self) -> Vec<KindName> {
        INCIDENT.parse().into_iter().collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut page = Page::open(source, context);
        let fields = page.fields(LABELS, |_, _| false);
        let heading = page.title();
        let title = fields
            .text("title")
            .or(heading)
            .map(|t| Value::from(t.text));
        let Some(name) = page.name(INCIDENT, FOLDER) else {
            return page.finish();
        };
        let (incident, postmortem) = match name.strip_suffix("-postmortem") {
            Some(incident) => (incident, true),
            None => (name.as_str(), false),
        };
        check_name(&mut page, incident);
        let at = page.outline.beginning();
        if postmortem {
            let systems = match fields.get("affected") {
                Some(field) => affected(&mut page, field).1,
                None => page.directory.takers(INCIDENT),
            };
            let mut spec = learned(&mut page, &fields);
            spec.insert("incident".to_owned(), incident.into());
            spec.extend(title.map(|title| ("title".to_owned(), title)));
            page.declare(
                INCIDENT,
                &format!("{incident}/postmortem"),
                spec,
                systems,
                at,
            );
        } else {
            let (spec, systems) = happened(&mut page, &fields, title);
            page.declare(INCIDENT, incident, spec, systems, at);
        }
        page.finish()
    }

    fn locate(&self, source: Source<'_>, _context: Context<'_>, id: &ResourceRef) -> Option<Span> {
        let name = document_name(source, FOLDER);
        let declared = match name.strip_suffix("-postmortem") {
            Some(incident) => format!("{incident}/postmortem"),
            None => name,
        };
        let here = id.kind() == INCIDENT && id.name() == declared;
        here.then(|| Span::in_source(source.text, Outline::new(source.text).beginning()))
    }
}
