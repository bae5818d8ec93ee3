use insta::assert_snapshot;

use super::*;

#[test]
fn english() {
    assert_snapshot!(plain(&text::report(&sample_view(), Language::English)), @"");
}

#[test]
fn japanese() {
    assert_snapshot!(plain(&text::report(&sample_view(), Language::Japanese)), @"");
}

#[test]
fn nothing_found() {
    let view = ReportView::default();
    assert_snapshot!(plain(&text::report(&view, Language::English)), @"");
}

/// One finding at `needle` in `source`.
fn one(source: &str, needle: &str, message: &str) -> String {
    let report = Report::new(vec![Finding::error(
        "x/y",
        &path("a.json"),
        at(source, needle),
        message,
    )]);
    text::report(
        &ReportView::new(&report, |_| Some(source)),
        Language::English,
    )
}

#[test]
fn long_lines_are_trimmed_around_what_is_meant() {
    let source = format!(
        "{{\"a\": \"{}\", \"typo\": 1, \"b\": \"{}\"}}",
        "あ".repeat(5_000),
        "x".repeat(5_000)
    );
    assert_snapshot!(plain(&one(&source, "\"typo\"", "unknown field")), @"");
    let all = format!("[\"{}\"]", "y".repeat(100_000));
    assert_snapshot!(plain(&one(&all, &"y".repeat(100_000), "too long")), @"");
}

#[test]
fn wide_characters_are_underlined_whole() {
    assert_snapshot!(plain(&one("影響: 全職員が対象\n", "全職員", "who is that?")), @"");
}

#[test]
fn several_lines_and_empty_spans_have_a_mark() {
    assert_snapshot!(plain(&one("{\r\n  \"a\": [\r\n  1]}", "[\r\n  1]", "not a list")), @"");
    let report = Report::new(vec![Finding::error(
        "x/y",
        &path("a.json"),
        Some(Span::in_source("{", 1..1)),
        "ends here",
    )]);
    let view = ReportView::new(&report, |_| Some("{"));
    assert_snapshot!(plain(&text::report(&view, Language::English)), @"");
}

#[test]
fn what_acts_on_terminals_is_shown_escaped() {
    let source = "{\"a\u{202e}b\": \"\u{1b}[31mred\u{7}\u{9b}\"}";
    let out = one(
        source,
        "red",
        "a \u{1b}]0;title\u{7} message\r\nwith \u{2066}more",
    );
    assert_snapshot!(plain(&out), @"");
    let seen = anstream::adapter::strip_str(&out).to_string();
    assert!(
        !seen.chars().any(|c| c != '\n' && printable::is_unsafe(c)),
        "{seen:?}"
    );
}

#[test]
fn a_flood_of_findings_is_bounded() {
    let flood = |files: usize, each: usize| {
        let findings = (0..files * each).map(|n| {
            let file = path(&format!("f{:04}.json", n / each));
            Finding::error("x/y", &file, None, format!("finding {n}"))
        });
        let view = ReportView::new(&Report::new(findings.collect()), |_| None);
        plain(&text::report(&view, Language::English))
    };
    let out = flood(1, 70);
    assert_eq!(out.matches("error[x/y]").count(), 50);
    assert!(
        out.contains("… and 20 findings more in f0000.json"),
        "{out}"
    );
    let out = flood(30, 20);
    assert_eq!(out.matches("error[x/y]").count(), 500);
    assert!(
        out.contains("… and 100 findings more in 5 further files"),
        "{out}"
    );
    assert!(out.ends_with("600 errors in 30 files"), "{out}");
}

#[test]
fn json_has_the_documented_fields() {
    let counts: BTreeMap<KindName, usize> = BTreeMap::from([("FeatureFlag".parse().unwrap(), 12)]);
    assert_snapshot!(json::check(&sample_view(), &counts), @"");
}

#[test]
fn workflow_commands_escape_what_would_end_them() {
    let report = Report::new(vec![
        Finding::error(
            "x/y",
            &path("a,b:c/%.json"),
            None,
            "100% wrong,\r\nsee: here",
        )
        .with_hint("::stop-commands::x"),
        Finding::error("x/y", &path("a.json"), at(SOURCE, "\"百\""), "one line"),
        Finding::error(
            "x/z",
            &path("a.json"),
            at(SOURCE, "{\n    \"en"),
            "two lines",
        )
        .warning(),
    ]);
    let view = ReportView::new(&report, |_| Some(SOURCE));
    assert_snapshot!(annotations::annotations(&view, Some(&path("shared-config"))), @"");
}

#[test]
fn sarif_has_what_readers_ask_for() {
    let report = Report::new(vec![
        Finding::error("x/y", &path("設定/a b.json"), at(SOURCE, "\"百\""), "one").with_hint("two"),
        Finding::error("a/b", &path("c.json"), None, "whole file").warning(),
    ]);
    let view = ReportView::new(&report, |_| Some(SOURCE));
    assert_snapshot!(sarif::sarif(&view, Some(&path("shared-config"))), @"");
}
