use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::finding::{Finding, Report, Span};
use crate::ids::{DocPath, KindName, ResourceRef, SystemName};
use crate::plan::{Change, Origin, Plan, SystemPlan};
use crate::resource::{Direction, Kind, Kinds};
use crate::state::{Item, Spec, State};

mod explain;
mod findings;
mod markdown;
mod plans;
mod standing;

/// A kind with words of its own in both languages.
struct Flag;

impl Kind for Flag {
    fn name(&self) -> &str {
        "FeatureFlag"
    }

    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        let rollout = |v: Option<&Value>| v.and_then(|v| v["rollout"].as_u64()).unwrap_or(0);
        match rollout(before).cmp(&rollout(after)) {
            std::cmp::Ordering::Less => Direction::Widening,
            std::cmp::Ordering::Greater => Direction::Narrowing,
            std::cmp::Ordering::Equal => Direction::Neutral,
        }
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        let (rollout, on, off) = match language {
            Language::English => ("rollout", "on at", "removed"),
            Language::Japanese => ("ロールアウト", "新規", "廃止"),
        };
        match (before, after) {
            (Some(b), Some(a)) => {
                format!("{name}: {rollout} {}% → {}%", b["rollout"], a["rollout"])
            }
            (None, Some(a)) => format!("{name}: {on} {}%", a["rollout"]),
            (_, None) => format!("{name}: {off}"),
        }
    }
}

fn kinds() -> Kinds {
    let flag: Arc<dyn Kind> = Arc::new(Flag);
    Arc::new(BTreeMap::from([("FeatureFlag".parse().unwrap(), flag)]))
}

fn path(text: &str) -> DocPath {
    text.parse().unwrap()
}

fn item(id: &str, spec: Value) -> Arc<Item> {
    let id: ResourceRef = id.parse().unwrap();
    Arc::new(Item::new(id, Spec::from_value(&spec).unwrap()))
}

fn change(id: &str, before: Option<Value>, after: Option<Value>, line: Option<u32>) -> Change {
    let direction = Flag.direction(before.as_ref(), after.as_ref());
    let (before, after) = (before.map(|v| item(id, v)), after.map(|v| item(id, v)));
    let mut change = Change::between(before, after, |_, _| direction).unwrap();
    change.origin = line.map(|line| Origin {
        document: path("config/feature-flags.json"),
        line: Some(line),
    });
    change
}

fn plan_of(systems: &[(&str, &[Change])]) -> Plan {
    let empty = State::default().digest();
    let systems = systems.iter().map(|(name, changes)| {
        let plan = SystemPlan {
            base: empty.into(),
            target: empty.into(),
            changes: changes.to_vec(),
            existing: BTreeMap::new(),
        };
        (name.parse::<SystemName>().unwrap(), plan)
    });
    Plan {
        revision: Some("c0ffee".repeat(7)[..40].parse().unwrap()),
        systems: systems.collect(),
    }
}

/// A delete on one system, a create and an update on both.
fn sample_plan() -> Plan {
    let gone = change(
        "FeatureFlag/old_banner",
        Some(json!({"rollout": 100})),
        None,
        Some(3),
    );
    let new = change(
        "FeatureFlag/beta",
        None,
        Some(json!({"rollout": 0, "owner": "佐藤"})),
        None,
    );
    let raised = change(
        "FeatureFlag/ai_assistant",
        Some(json!({"enabled": true, "rollout": 10})),
        Some(json!({"enabled": true, "rollout": 25})),
        Some(12),
    );
    let unknown = change("Retired/thing", Some(json!(1)), Some(json!(2)), None);
    plan_of(&[
        ("medical", &[gone, raised.clone(), new.clone(), unknown]),
        ("payroll", &[]),
        ("voicedrive", &[raised, new]),
    ])
}

const SOURCE: &str =
    "{\n  \"ai_assistant\": {\n    \"enabeld\": true, // 有効化\n\t\"rollout\": \"百\"\n  }\n}\n";

fn at(source: &str, needle: &str) -> Option<Span> {
    let start = source.find(needle).unwrap();
    Some(Span::in_source(source, start..start + needle.len()))
}

fn sample_report() -> Report {
    let flags = path("config/feature-flags.json");
    Report::new(vec![
        Finding::error(
            "flag/unknown-field",
            &flags,
            at(SOURCE, "\"enabeld\""),
            "unknown field enabeld",
        )
        .with_hint("did you mean enabled?"),
        Finding::error(
            "json/type",
            &flags,
            at(SOURCE, "\"百\""),
            "expected a number from 0 to 100",
        ),
        Finding::error(
            "config/missing",
            &path("lockstep.yaml"),
            None,
            "no lockstep.yaml",
        )
        .warning()
        .with_hint("run lockstep init"),
    ])
}

fn sample_view() -> ReportView {
    ReportView::new(&sample_report(), |p| {
        (p.as_str() == "config/feature-flags.json").then_some(SOURCE)
    })
}

/// What a reader sees, without the styles.
fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn assert_same_every_time(render: impl Fn() -> String) {
    let first = render();
    for _ in 0..10 {
        assert_eq!(render(), first);
    }
}

#[test]
fn the_same_values_give_the_same_bytes() {
    let counts: BTreeMap<KindName, usize> = BTreeMap::from([("FeatureFlag".parse().unwrap(), 12)]);
    for language in [Language::English, Language::Japanese] {
        assert_same_every_time(|| text::report(&sample_view(), language));
        assert_same_every_time(|| text::plan(&PlanView::new(&sample_plan(), &kinds(), language)));
        assert_same_every_time(|| super::markdown::comment(&markdown::sample(language)));
    }
    assert_same_every_time(|| json::check(&sample_view(), &counts));
    assert_same_every_time(|| json::plan(&sample_plan(), &[]));
    assert_same_every_time(|| sarif::sarif(&sample_view()));
    assert_same_every_time(|| annotations::annotations(&sample_view(), Language::English));
}
