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
    assert_snapshot!(annotations::annotations(&in_shared_config(&view)), @r#"
    ::error file=shared-config/a%2Cb%3Ac/%25.json,title=x/y::100%25 wrong,%0Asee: here%0A::stop-commands::x
    ::warning file=shared-config/a.json,line=2,col=19,endLine=3,title=x/z::two lines
    ::error file=shared-config/a.json,line=4,col=13,endLine=4,endColumn=16,title=x/y::one line
    "#);
}

#[test]
fn sarif_has_what_readers_ask_for() {
    let report = Report::new(vec![
        Finding::error("x/y", &path("設定/a b.json"), at(SOURCE, "\"百\""), "one").with_hint("two"),
        Finding::error("a/b", &path("c.json"), None, "whole file").warning(),
    ]);
    let view = ReportView::new(&report, |_| Some(SOURCE));
    assert_snapshot!(sarif::sarif(&in_shared_config(&view)), @r#"
    {
      "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
      "runs": [
        {
          "columnKind": "unicodeCodePoints",
          "results": [
            {
              "level": "warning",
              "locations": [
                {
                  "physicalLocation": {
                    "artifactLocation": {
                      "uri": "shared-config/c.json",
                      "uriBaseId": "%SRCROOT%"
                    }
                  }
                }
              ],
              "message": {
                "text": "whole file"
              },
              "ruleId": "a/b",
              "ruleIndex": 0
            },
            {
              "level": "error",
              "locations": [
                {
                  "physicalLocation": {
                    "artifactLocation": {
                      "uri": "shared-config/%E8%A8%AD%E5%AE%9A/a%20b.json",
                      "uriBaseId": "%SRCROOT%"
                    },
                    "region": {
                      "endColumn": 16,
                      "endLine": 4,
                      "startColumn": 13,
                      "startLine": 4
                    }
                  }
                }
              ],
              "message": {
                "text": "one\ntwo"
              },
              "ruleId": "x/y",
              "ruleIndex": 1
            }
          ],
          "tool": {
            "driver": {
              "name": "Lockstep",
              "rules": [
                {
                  "id": "a/b",
                  "shortDescription": {
                    "text": "a b"
                  }
                },
                {
                  "id": "x/y",
                  "shortDescription": {
                    "text": "x y"
                  }
                }
              ],
              "version": "0.1.0"
            }
          }
        }
      ],
      "version": "2.1.0"
    }
    "#);
}

fn in_shared_config(view: &ReportView) -> ReportView {
    view.with_paths(|path| format!("shared-config/{path}"))
}
