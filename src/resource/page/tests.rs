//! What the tests of all Markdown kinds read their documents with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::config::{Config, System};
use crate::ids::DocPath;
use crate::resource::compliance::ComplianceForm;
use crate::resource::experiment::ExperimentForm;
use crate::resource::form::Form;
use crate::resource::incident::IncidentForm;
use crate::resource::notice::NoticeForm;
use crate::resource::{Kind, Language};

/// `medical` takes every Markdown kind, `voicedrive` all but incidents and experiments, `payroll` none.
pub(crate) fn config() -> Config {
    let system = |title: &str, aliases: &[&str], kinds: &[&str]| System {
        title: Some(title.to_owned()),
        aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
        connector: "http".to_owned(),
        settings: Map::new(),
        credential: None,
        kinds: kinds.iter().map(|k| k.parse().unwrap()).collect(),
        mode: Default::default(),
        drift: Default::default(),
        limits: crate::config::calls::CallLimits::default(),
        fields: crate::config::FieldModes::default(),
    };
    let both = ["Requirement", "ComplianceItem", "Notice"];
    let all = [
        "Requirement",
        "ComplianceItem",
        "Notice",
        "Incident",
        "Experiment",
    ];
    Config {
        systems: BTreeMap::from([
            (
                "medical".parse().unwrap(),
                system("医療職員管理システム", &["医療システム"], &all),
            ),
            (
                "voicedrive".parse().unwrap(),
                system("VoiceDrive 職員の声アプリ", &["VoiceDrive"], &both),
            ),
            (
                "payroll".parse().unwrap(),
                system("給与計算", &[], &["FeatureFlag"]),
            ),
        ]),
        ..Config::default()
    }
}

/// What a form makes of a document: its resources, then its findings with the text that they underline. Every resource
/// must be found again by `locate`.
pub(crate) fn read(form: &dyn Form, path: &str, text: &str) -> String {
    let path: DocPath = path.parse().unwrap();
    let source = Source { path: &path, text };
    let (config, kinds) = (config(), Arc::default());
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let reading = form.read(source, context);
    let mut out = String::new();
    for resource in &reading.resources {
        let systems: Vec<&str> = resource.systems.iter().map(SystemName::as_str).collect();
        let line = form
            .locate(source, context, &resource.id)
            .expect("a place")
            .line;
        out.push_str(&format!(
            "{} [{}] line {line}\n",
            resource.id,
            systems.join(" ")
        ));
        let spec = resource
            .spec
            .read::<Map<String, Value>>()
            .expect("an object");
        for (field, value) in spec {
            out.push_str(&format!("  {field}: {value}\n"));
        }
        assert!(
            form.kinds()
                .iter()
                .any(|k| k.as_str() == resource.id.kind())
        );
    }
    for finding in &reading.findings {
        let span = finding.location.span.expect("a place");
        out.push_str(&format!(
            "{} {} {}:{} {:?}\n  {}\n",
            finding.severity,
            finding.rule,
            span.line,
            span.column,
            text.get(span.start..span.end).expect("a place in the text"),
            finding.message,
        ));
        if let Some(hint) = &finding.hint {
            out.push_str(&format!("  → {hint}\n"));
        }
    }
    out
}

/// A change in both languages.
pub(crate) fn told(
    kind: &dyn Kind,
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> String {
    let mut lines = Vec::new();
    for language in [Language::English, Language::Japanese] {
        let line = kind.describe(name, before, after, language);
        assert!(!line.contains('\n'), "a description is one line");
        lines.push(line);
    }
    assert_eq!(
        kind.direction(before, after),
        kind.direction(after, before).reversed()
    );
    lines.join("\n")
}

/// The sample's documents, as its people wrote them.
#[test]
fn the_sample_is_without_fault() {
    macro_rules! sample {
        ($path:literal) => {
            (
                $path,
                include_str!(concat!("../../../shared-config/", $path)),
            )
        };
    }
    let mut config = config();
    let all = config
        .systems
        .get(&"medical".parse::<SystemName>().unwrap())
        .unwrap()
        .kinds
        .clone();
    for (name, system) in &mut config.systems {
        system.kinds.clone_from(&all);
        if name.as_str() == "voicedrive" {
            system.aliases.push("職員の声アプリ".to_owned());
        }
    }
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let mut counts = BTreeMap::new();
    for (form, path, text) in [
        (
            &ComplianceForm as &dyn Form,
            sample!("compliance/appi-2025.md"),
        ),
        (
            &ComplianceForm,
            sample!("compliance/medical-info-safety-guideline.md"),
        ),
        (&NoticeForm, sample!("alerts/emergency.md")),
        (&NoticeForm, sample!("alerts/influenza-season.md")),
        (&NoticeForm, sample!("security/urgent.md")),
        (&IncidentForm, sample!("incidents/2025-09-15-db-pool.md")),
        (
            &IncidentForm,
            sample!("incidents/2025-09-15-db-pool-postmortem.md"),
        ),
        (&ExperimentForm, sample!("experiments/booking-button.md")),
    ]
    .map(|(form, (path, text))| (form, path, text))
    {
        let path: DocPath = path.parse().unwrap();
        let reading = form.read(Source { path: &path, text }, context);
        assert_eq!(reading.findings, []);
        for resource in &reading.resources {
            assert!(
                !resource.systems.is_empty(),
                "{} is for no system",
                resource.id
            );
            *counts.entry(resource.id.kind().to_owned()).or_insert(0) += 1;
        }
    }
    let expected = [
        ("ComplianceItem", 14),
        ("Experiment", 1),
        ("Incident", 2),
        ("Notice", 3),
        ("Requirement", 2),
    ];
    assert!(
        counts
            .iter()
            .map(|(kind, n)| (kind.as_str(), *n))
            .eq(expected)
    );
}
