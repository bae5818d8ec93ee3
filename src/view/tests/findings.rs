use insta::assert_snapshot;

use super::*;

#[test]
fn english() {
    assert_snapshot!(plain(&text::report(&sample_view(), Language::English)), @r#"
    error[flag/unknown-field]: unknown field enabeld
     --> config/feature-flags.json:3:5
      |
    3 |     "enabeld": true, // 有効化
      |     ^^^^^^^^^
      |
      = help: did you mean enabled?

    error[json/type]: expected a number from 0 to 100
     --> config/feature-flags.json:4:13
      |
    4 |     "rollout": "百"
      |                ^^^^

    warning[config/missing]: no lockstep.yaml
    --> lockstep.yaml
     = help: run lockstep init

    2 errors, 1 warning in 2 files
    "#);
}

#[test]
fn japanese() {
    assert_snapshot!(plain(&text::report(&sample_view(), Language::Japanese)), @r#"
    エラー[flag/unknown-field]: unknown field enabeld
     --> config/feature-flags.json:3:5
      |
    3 |     "enabeld": true, // 有効化
      |     ^^^^^^^^^
      |
      = ヒント: did you mean enabled?

    エラー[json/type]: expected a number from 0 to 100
     --> config/feature-flags.json:4:13
      |
    4 |     "rollout": "百"
      |                ^^^^

    警告[config/missing]: no lockstep.yaml
    --> lockstep.yaml
     = ヒント: run lockstep init

    エラー 2 件、警告 1 件（2 ファイル）
    "#);
}

#[test]
fn nothing_found() {
    let view = ReportView::default();
    assert_snapshot!(plain(&text::report(&view, Language::English)), @"no findings");
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
    assert_snapshot!(plain(&one(&source, "\"typo\"", "unknown field")), @r#"
    error[x/y]: unknown field
     --> a.json:1:5011
      |
    1 | …ああああああああああああああああああああああ", "typo": 1, "b": "xxxxxxxxxxxxxxxxxxxxx…
      |                                                 ^^^^^^

    1 error in 1 file
    "#);
    let all = format!("[\"{}\"]", "y".repeat(100_000));
    assert_snapshot!(plain(&one(&all, &"y".repeat(100_000), "too long")), @r#"
    error[x/y]: too long
     --> a.json:1:3
      |
    1 | ["yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    1 error in 1 file
    "#);
}

#[test]
fn wide_characters_are_underlined_whole() {
    assert_snapshot!(plain(&one("影響: 全職員が対象\n", "全職員", "who is that?")), @r#"
    error[x/y]: who is that?
     --> a.json:1:5
      |
    1 | 影響: 全職員が対象
      |       ^^^^^^

    1 error in 1 file
    "#);
}

#[test]
fn several_lines_and_empty_spans_have_a_mark() {
    assert_snapshot!(plain(&one("{\r\n  \"a\": [\r\n  1]}", "[\r\n  1]", "not a list")), @r#"
    error[x/y]: not a list
     --> a.json:2:8
      |
    2 |   "a": [
      |        ^

    1 error in 1 file
    "#);
    let report = Report::new(vec![Finding::error(
        "x/y",
        &path("a.json"),
        Some(Span::in_source("{", 1..1)),
        "ends here",
    )]);
    let view = ReportView::new(&report, |_| Some("{"));
    assert_snapshot!(plain(&text::report(&view, Language::English)), @r#"
    error[x/y]: ends here
     --> a.json:1:2
      |
    1 | {
      |  ^

    1 error in 1 file
    "#);
}

#[test]
fn what_acts_on_terminals_is_shown_escaped() {
    let source = "{\"a\u{202e}b\": \"\u{1b}[31mred\u{7}\u{9b}\"}";
    let out = one(
        source,
        "red",
        "a \u{1b}]0;title\u{7} message\r\nwith \u{2066}more",
    );
    assert_snapshot!(plain(&out), @r#"
    error[x/y]: a \u{1b}]0;title\u{7} message\r\nwith \u{2066}more
     --> a.json:1:15
      |
    1 | {"a\u{202e}b": "\u{1b}[31mred\u{7}\u{9b}"}
      |                           ^^^

    1 error in 1 file
    "#);
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
        out.contains("… and 20 more findings in f0000.json"),
        "{out}"
    );
    let out = flood(30, 20);
    assert_eq!(out.matches("error[x/y]").count(), 500);
    assert!(
        out.contains("… and 100 more findings in 5 further files"),
        "{out}"
    );
    assert!(out.ends_with("600 errors in 30 files"), "{out}");
}

#[test]
fn json_has_the_documented_fields() {
    let counts: BTreeMap<KindName, usize> = BTreeMap::from([("FeatureFlag".parse().unwrap(), 12)]);
    assert_snapshot!(json::check(&sample_view(), &counts), @r#"
    {
      "findings": [
        {
          "rule": "flag/unknown-field",
          "severity": "error",
          "path": "config/feature-flags.json",
          "line": 3,
          "column": 5,
          "message": "unknown field enabeld",
          "hint": "did you mean enabled?"
        },
        {
          "rule": "json/type",
          "severity": "error",
          "path": "config/feature-flags.json",
          "line": 4,
          "column": 13,
          "message": "expected a number from 0 to 100",
          "hint": null
        },
        {
          "rule": "config/missing",
          "severity": "warning",
          "path": "lockstep.yaml",
          "line": null,
          "column": null,
          "message": "no lockstep.yaml",
          "hint": "run lockstep init"
        }
      ],
      "resources": {
        "FeatureFlag": 12
      }
    }
    "#);
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
    assert_snapshot!(annotations::annotations(&in_shared_config(&view), Language::English), @r#"
    ::error file=shared-config/a%2Cb%3Ac/%25.json,title=x/y::100%25 wrong,%0Asee: here%0A::stop-commands::x
    ::warning file=shared-config/a.json,line=2,col=19,endLine=3,title=x/z::two lines
    ::error file=shared-config/a.json,line=4,col=13,endLine=4,endColumn=16,title=x/y::one line
    "#);
}

#[test]
fn sarif_has_what_readers_ask_for() {
    let report = Report::new(vec![
        Finding::error("x/y", &path("設定/a b.json"), at(SOURCE, "\"百\""), "one").with_hint("two"),
        Finding::error("flag/b", &path("c.json"), None, "whole file").warning(),
    ]);
    let view = ReportView::new(&report, |_| Some(SOURCE));
    let text = sarif::sarif(&in_shared_config(&view));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    for rule in rules {
        for told in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[told]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
    }
    assert_eq!(rules[0]["id"], "flag/b");
    assert_eq!(
        run["results"],
        json!([
            {
                "level": "warning",
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": "shared-config/c.json", "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 1},
                }}],
                "message": {"text": "whole file"},
                "partialFingerprints": run["results"][0]["partialFingerprints"],
                "ruleId": "flag/b",
                "ruleIndex": 0,
            },
            {
                "level": "error",
                "locations": [{"physicalLocation": {
                    "artifactLocation": {
                        "uri": "shared-config/%E8%A8%AD%E5%AE%9A/a%20b.json",
                        "uriBaseId": "%SRCROOT%",
                    },
                    "region": {"endColumn": 16, "endLine": 4, "startColumn": 13, "startLine": 4},
                }}],
                "message": {"text": "one\ntwo"},
                "partialFingerprints": run["results"][1]["partialFingerprints"],
                "ruleId": "x/y",
                "ruleIndex": 1,
            },
        ])
    );
}

/// The fingerprints of findings at each place where a needle stands.
fn fingerprints(source: &str, needles: &[&str]) -> Vec<String> {
    let findings = needles.iter().flat_map(|needle| {
        source.match_indices(needle).map(|(start, _)| {
            let span = Span::in_source(source, start..start + needle.len());
            let message = format!("wrong at {start}");
            Finding::error("x/y", &path("a.json"), Some(span), message)
        })
    });
    let view = ReportView::new(&Report::new(findings.collect()), |_| Some(source));
    let document: Value = serde_json::from_str(&sarif::sarif(&view)).unwrap();
    let results = document["runs"][0]["results"].as_array().unwrap();
    results
        .iter()
        .map(|r| r["partialFingerprints"]["primaryLocationLineHash"].to_string())
        .collect()
}

#[test]
fn a_fingerprint_outlives_lines_that_come_and_go() {
    let before = fingerprints("{\n  bad: 1,\n  worse: 2,\n  bad: 1\n}", &["bad", "worse"]);
    let after = fingerprints(
        "{\n\n  new: 0,\n    bad: 1,\n  worse: 2,\n\n  bad: 1\n}",
        &["bad", "worse"],
    );
    assert_eq!(before.len(), 3);
    assert_eq!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
    // The same line once more is another finding.
    let different: std::collections::BTreeSet<&String> = before.iter().collect();
    assert_eq!(different.len(), 3, "{before:?}");
    assert_ne!(before[1], fingerprints("worse: 3", &["worse"])[0]);
}

#[test]
fn what_code_scanning_would_not_take_is_left_out_the_lightest_first() {
    let findings = (0..6_000).map(|n| {
        let finding = Finding::error("x/y", &path("a.json"), None, format!("{n:05}"));
        if n < 5_000 {
            finding.warning()
        } else {
            finding
        }
    });
    let view = ReportView::new(&Report::new(findings.collect()), |_| None);
    let document: Value = serde_json::from_str(&sarif::sarif(&view)).unwrap();
    let run = &document["runs"][0];
    let results = run["results"].as_array().unwrap();
    let errors = results.iter().filter(|r| r["level"] == "error");
    assert_eq!((results.len(), errors.count()), (5_000, 1_000));
    assert_eq!(run["properties"]["leftOut"], 1_000);
}

#[test]
fn annotations_that_github_does_not_show_are_counted() {
    let flood = |errors: usize| {
        let findings =
            (0..errors).map(|n| Finding::error("x/y", &path("a.json"), None, format!("{n}")));
        let view = ReportView::new(&Report::new(findings.collect()), |_| None);
        annotations::annotations(&view, Language::English)
    };
    assert!(flood(10).lines().all(|line| line.starts_with("::error ")));
    let out = flood(13);
    let last = out.lines().last().unwrap();
    assert_eq!(out.lines().count(), 14);
    assert!(last.contains("3 more errors, 0 more warnings"), "{last}");
    assert!(!last.starts_with("::"));
}

/// A denial of a change, of a delete, and one about nothing in particular.
#[test]
fn denials_stand_at_the_lines_they_are_about() {
    let mut view = markdown::sample(Language::English);
    let denial = |msg: &str, resource: Option<&str>| MessageView {
        msg: msg.to_owned(),
        code: resource.map(|_| "rollout/step".to_owned()),
        resource: resource.map(str::to_owned),
    };
    view.report = sample_view();
    view.verdict.warnings = vec![denial("mind", None)];
    view.verdict.denials = vec![
        denial("too much: 25%\n::stop", Some("FeatureFlag/ai_assistant")),
        denial("needed", Some("FeatureFlag/old_banner")),
        denial("not now", None),
    ];
    let source = format!("{}  \"ai_assistant\": 1,  \r\n}}\n", "\n".repeat(11));
    let judged = view.judged(|_| Some(&source));
    let denied: Vec<String> = annotations::annotations(&judged, Language::English)
        .lines()
        .filter(|line| line.contains("rollout/step") || line.contains("title=policy/"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        denied,
        [
            "::error file=config/feature-flags.json,title=policy/denied::not now",
            "::warning file=config/feature-flags.json,title=policy/warned::mind",
            "::error file=config/feature-flags.json,title=rollout/step::needed",
            "::error file=config/feature-flags.json,line=12,col=3,endLine=12,endColumn=21,title=rollout/step::too much: 25%25%0A::stop",
        ]
    );
    assert_eq!(judged.findings.len(), 7);
}

fn in_shared_config(view: &ReportView) -> ReportView {
    view.with_paths(|path| format!("shared-config/{path}"))
}
