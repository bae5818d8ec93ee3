use insta::assert_snapshot;

use super::*;

#[test]
fn english() {
    let view = PlanView::new(&sample_plan(), &kinds(), Language::English);
    assert_snapshot!(plain(&text::plan(&view)), @"");
}

#[test]
fn japanese() {
    let view = PlanView::new(&sample_plan(), &kinds(), Language::Japanese);
    assert_snapshot!(plain(&text::plan(&view)), @"");
}

#[test]
fn nothing_to_do() {
    let view = PlanView::new(&plan_of(&[("medical", &[])]), &kinds(), Language::English);
    assert_snapshot!(plain(&text::plan(&view)), @"");
}

#[test]
fn json_has_the_documented_fields() {
    assert_snapshot!(json::plan(&sample_plan()), @"");
}

#[test]
fn a_long_plan_keeps_every_line_and_says_what_it_left_out() {
    let changes: Vec<Change> = (0..250)
        .map(|n| {
            change(
                &format!("FeatureFlag/f{n:03}"),
                None,
                Some(json!({"rollout": n})),
                None,
            )
        })
        .collect();
    let view = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::English,
    );
    let out = plain(&text::plan(&view));
    assert_eq!(out.lines().filter(|l| l.starts_with("+ f")).count(), 250);
    assert_eq!(
        out.lines()
            .filter(|l| l.starts_with("FeatureFlag/f"))
            .count(),
        100
    );
    assert!(
        out.contains("… the differences of 150 more changes are left out"),
        "{out}"
    );
}

#[test]
fn hostile_names_and_values_stay_on_their_line() {
    let spec = json!({"rollout": 1, "note": "\u{1b}[2J\u{202e}evil\nsecond"});
    let changes = [change("FeatureFlag/a\u{202e}b", None, Some(spec), None)];
    let view = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::English,
    );
    let seen = anstream::adapter::strip_str(&text::plan(&view)).to_string();
    assert!(
        !seen.chars().any(|c| c != '\n' && printable::is_unsafe(c)),
        "{seen:?}"
    );
    assert!(seen.contains("a\\u{202e}b: on at 1%"), "{seen}");
}

#[test]
fn an_enormous_spec_is_not_compared() {
    let changes = [change(
        "FeatureFlag/a",
        None,
        Some(json!({"rollout": 1, "x": "y".repeat(100_000)})),
        None,
    )];
    let view = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::English,
    );
    assert!(text::plan(&view).contains("too large to show"));
}
