use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::policy::scan::scan;
use crate::policy::testing::{Outcome, run_tests, run_tests_within};

/// Findings as `path:line:column rule message (hint)`.
fn findings(files: &BTreeMap<DocPath, Blob>) -> String {
    let lines = PolicySet::compile(files).1.into_iter().map(|f| {
        let place = f.location.span.map(|s| format!(":{}:{}", s.line, s.column));
        let hint = f.hint.map(|h| format!(" ({h})"));
        format!(
            "{}{} {} {}{}",
            f.location.path,
            place.unwrap_or_default(),
            f.rule,
            f.message,
            hint.unwrap_or_default()
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn syntax_errors_have_their_place_and_all_files_are_read() {
    let broken = files(&[
        (
            "policies/a.rego",
            "package lockstep\n\ndeny contains \"日本\" if { 日 }\n",
        ),
        (
            "policies/b.rego",
            "package lockstep\n\ndeny contains msg if {\n\tinput.x\n}\n",
        ),
        ("policies/c.rego", "deny contains \"x\"\n"),
        (
            "policies/d.rego",
            "package lockstep\n\ndeny[msg] { msg := 1 }\n",
        ),
    ]);
    assert_snapshot!(findings(&broken), @r#"
        policies/d.rego:3:1 policy/rule-form deny must be a set of messages (write `deny contains msg if { … }`)
        policies/a.rego:3:28 policy/syntax invalid character
        policies/c.rego:1:1 policy/syntax expecting `package` Missing package declaration.
        policies/d.rego:3:11 policy/syntax `if` keyword is required before rule body
        "#);
}

#[test]
fn what_cannot_be_replayed_is_found_in_code_only() {
    let text = r##"
# time.now_ns() is not for policies
deny contains "time.now_ns()" if input.time.now_ns
deny contains `http.send({})` if input.x["time.now_ns"]
deny contains msg if { msg := time.now_ns() }
deny contains msg if { msg := time . now_ns ( ) }
deny contains msg if { msg := time["now_ns"]() }
deny contains http.send({}).body
deny contains opa.runtime().env
warn contains rand.intn("x", 6)
"##;
    assert_snapshot!(findings(&rules(text)), @r#"
        policies/a.rego:7:31 policy/not-replayable time.now_ns makes a verdict impossible to replay (the time is in `input.now`)
        policies/a.rego:8:31 policy/not-replayable time.now_ns makes a verdict impossible to replay (the time is in `input.now`)
        policies/a.rego:9:31 policy/not-replayable time.now_ns makes a verdict impossible to replay (the time is in `input.now`)
        policies/a.rego:10:15 policy/not-replayable http.send makes a verdict impossible to replay (everything that a policy may know is in the input)
        policies/a.rego:11:15 policy/not-replayable opa.runtime makes a verdict impossible to replay (everything that a policy may know is in the input)
        policies/a.rego:12:15 policy/not-replayable rand.intn makes a verdict impossible to replay (a verdict must not depend on chance)
        policies/a.rego:8:28 policy/syntax expecting `}` while parsing set
        "#);
}

#[test]
fn rules_that_would_judge_nothing_are_errors() {
    let text = r#"
deny := "x" if input.a
deny if input.a
default deny := false
deny[msg] if msg := "x"
deny_x(a) := a
approvals contains "x"
denied contains "x"
warnings contains "x"
warned(x) := x
deny contains "fine"
"#;
    assert_snapshot!(findings(&rules(text)), @r#"
        policies/a.rego:4:1 policy/rule-form deny must be a set of messages (write `deny contains msg if { … }`)
        policies/a.rego:5:1 policy/rule-form deny must be a set of messages (write `deny contains msg if { … }`)
        policies/a.rego:6:9 policy/rule-form deny must be a set of messages (write `deny contains msg if { … }`)
        policies/a.rego:7:1 policy/rule-form deny must be a set of messages (write `deny contains msg if { … }`)
        policies/a.rego:8:1 policy/rule-form deny_x must be a set of messages (write `deny_x contains msg if { … }`)
        policies/a.rego:9:1 policy/unknown-rule nothing asks for "approvals" (call it `approval`, or another name if it is a helper)
        policies/a.rego:10:1 policy/unknown-rule nothing asks for "denied" (call it `deny`, or another name if it is a helper)
        policies/a.rego:11:1 policy/unknown-rule nothing asks for "warnings" (call it `warn`, or another name if it is a helper)
        "#);
    let packages = files(&[
        ("policies/a.rego", "package main\n\ndeny contains \"x\"\n"),
        (
            "policies/b.rego",
            "package lockstep.lib\n\ndeny contains \"x\"\n\nhelper contains 1\n",
        ),
        ("policies/c.rego", "package lockstepping\n\nx := 1\n"),
        ("policies/d_test.rego", "package any.thing\n\ndeny := 1\n"),
    ]);
    assert_snapshot!(findings(&packages), @r#"
        policies/a.rego:1:1 policy/package rules in package "main" judge nothing (write `package lockstep`)
        policies/b.rego:3:1 policy/package deny is only asked for in package lockstep
        policies/c.rego:1:1 policy/package rules in package "lockstepping" judge nothing (write `package lockstep`)
        "#);
}

#[test]
fn a_package_as_a_whole_is_an_error() {
    let text = r#"
deny contains "fine" if count(data.lockstep.warn) > 0
deny contains "fine" if input.data
deny contains "a" if count(data.lockstep) > 0
deny contains "b" if data.lockstep["warn"]
deny contains "c" if data[input.x]
warn contains "x"
"#;
    assert_snapshot!(findings(&rules(text)), @r#"
        policies/a.rego:6:28 policy/whole-package a package as a whole is not evaluated reliably (name the rule, as in `data.lockstep.deny`)
        policies/a.rego:7:22 policy/whole-package a package as a whole is not evaluated reliably (name the rule, as in `data.lockstep.deny`)
        policies/a.rego:8:22 policy/whole-package a package as a whole is not evaluated reliably (name the rule, as in `data.lockstep.deny`)
        "#);
}

#[test]
fn the_kinds_that_a_policy_looks_at_are_seen_or_all_are() {
    let seen = |text: &str| {
        let found = scan(text);
        (!found.any_kind).then(|| {
            found
                .kinds
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    for (text, kinds) in [
        ("x if input.now > \"input\"", Some("")),
        ("x if input.before.A[y]; input.after.B", Some("A B")),
        ("x if input . after\n. B", Some("B")),
        ("x if y.input", Some("")),
        ("x if input.before[kind]", None),
        ("x if f(input.after)", None),
        ("x if some kind, names in input.before", None),
        ("x if input[field]", None),
        ("x if f(input)", None),
        ("import input.before as b", None),
        ("import input", None),
    ] {
        assert_eq!(seen(text).as_deref(), kinds, "{text}");
    }
}

#[test]
fn functions_that_call_themselves_are_errors() {
    let direct = "f(x) := f(x - 1) if x > 0\n\nf(0) := 1\n\ndeny contains \"x\" if f(1000000) > 1";
    assert_snapshot!(findings(&rules(direct)), @r#"
        policies/a.rego:3:1 policy/recursion the function f calls itself (Rego has no recursion; use a comprehension or `walk`)
        policies/a.rego:5:1 policy/recursion the function f calls itself (Rego has no recursion; use a comprehension or `walk`)
        "#);
    let around = files(&[
        (
            "policies/a.rego",
            "package lockstep\n\nimport data.lockstep.lib as l\n\nf(x) := l.g(x)\n\ndeny contains \"x\" if f(1)\n",
        ),
        (
            "policies/b.rego",
            "package lockstep.lib\n\nimport data.lockstep.f\n\ng(x) := h(x)\n\nh(x) := data.lockstep.f(x)\n\nk(x) := f(x)\n",
        ),
    ]);
    assert_snapshot!(findings(&around), @r#"
        policies/a.rego:5:1 policy/recursion the function f calls itself (Rego has no recursion; use a comprehension or `walk`)
        policies/b.rego:5:1 policy/recursion the function g calls itself (Rego has no recursion; use a comprehension or `walk`)
        policies/b.rego:7:1 policy/recursion the function h calls itself (Rego has no recursion; use a comprehension or `walk`)
        "#);
    let none = "count_all(x) := count(x)\n\nf(x) := g(x)\n\ng(x) := strings.count(x, \"a\")\n\ndeny contains \"x\" if f(\"a\") > count_all([1])";
    assert_eq!(findings(&rules(none)), "");
}

#[test]
fn what_the_engine_could_not_bear_never_reaches_it() {
    // Each of these would take minutes to parse, or run out of stack and end the process.
    for (opening, closing) in [
        ("[", "]"),
        ("{[", "]}"),
        ("(", ")"),
        ("{\"a\":", "}"),
        ("every x in [1] {", "}"),
    ] {
        let text = format!(
            "deny contains {}1{}",
            opening.repeat(30),
            closing.repeat(30)
        );
        assert!(findings(&rules(&text)).contains("policy/too-complex more than 12 brackets"));
    }
    for link in [" +\n1", " |\nx", " in\nx", " ==\nx", "\n- 1", " in\n[1]"] {
        let text = format!("deny contains 1{}", link.repeat(6_000));
        assert!(
            findings(&rules(&text)).contains("policy/too-complex a rule has more than 500"),
            "{link}"
        );
    }
    let many: String = (0..2_001)
        .map(|n| format!("r{n} if r{}\n\n", n + 1))
        .collect();
    assert!(findings(&rules(&many)).contains("more than 2000 rules"));
    let judged = PolicySet::compile(&rules(&many)).0.judge(&input(&[]));
    assert!(!judged.passes());
}

#[test]
fn what_the_limits_allow_the_engine_bears() {
    let chain: String = (0..1_900)
        .map(|n| format!("f{n}(x) if f{}(x)\n\n", n + 1))
        .collect();
    let operators = format!("sum := 1{}", " +\n1".repeat(490));
    let text =
        format!("{chain}f1900(x) if x == sum\n\n{operators}\n\ndeny contains \"sum\" if f0(491)");
    assert_eq!(findings(&rules(&text)), "");
    let verdict = PolicySet::compile_within(&rules(&text), std::time::Duration::from_secs(60))
        .0
        .judge(&input(&[]));
    assert_eq!(verdict.denials[0].msg, "sum");
}

#[test]
fn files_that_are_no_text_are_errors() {
    let mut set = files(&[("policies/README.md", "# not a policy")]);
    for (name, content) in [
        ("a", Content::Symlink),
        ("b", Content::Submodule),
        ("c", Content::TooLarge(1 << 40)),
        ("d", Content::Bytes(Arc::from(&b"\xff\xfe"[..]))),
    ] {
        let id = BlobId::from_digest(Digest::of(name.as_bytes()));
        set.insert(
            format!("policies/{name}.rego").parse().unwrap(),
            Blob { id, content },
        );
    }
    assert_snapshot!(findings(&set), @r#"
        policies/a.rego policy/unreadable a policy must be a file of its own, not a symbolic link
        policies/b.rego policy/unreadable a policy must be a file of this repository, not a submodule
        policies/c.rego policy/unreadable the policy is too large to be read; split it
        policies/d.rego policy/unreadable a policy must be UTF-8 text
        "#);
    assert!(!PolicySet::compile(&set).0.judge(&input(&[])).passes());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_policy() {
    let set = files(&[(
        "policies/a.rego",
        "\u{feff}package lockstep\n\ndeny contains \"x\" if false\n",
    )]);
    assert_eq!(findings(&set), "");
}

#[test]
fn tests_pass_fail_and_are_skipped() {
    let set = files(&[
        (
            "policies/a.rego",
            "package lockstep\n\ndeny contains \"big\" if input.n > 10\n\ndeny contains \"never tested\" if {\n\tinput.m\n}\n",
        ),
        (
            "policies/a_test.rego",
            r#"package lockstep_test

denied(n) := d if d := data.lockstep.deny with input as {"n": n}

test_big if denied(11) == {"big"}

test_small if denied(10) == set()

test_undefined if {
	print("n is", 10)
	"big" in denied(10)
}

test_false := false

test_fails if to_number("x")

test_twice if true

test_twice if 1 == 2

todo_test_later if false

helper_test_x := 1
"#,
        ),
    ]);
    let report = run_tests(&set);
    let lines = report.results.iter().map(|r| {
        let message = r.message.as_deref().unwrap_or_default();
        format!("{}:{} {} {:?} {message}", r.file, r.line, r.name, r.outcome)
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
        policies/a_test.rego:5 test_big Passed 
        policies/a_test.rego:7 test_small Passed 
        policies/a_test.rego:9 test_undefined Failed it is undefined: something in it does not hold
        policies/a_test.rego:10: n is 10
        policies/a_test.rego:14 test_false Failed it is false, not true
        policies/a_test.rego:16 test_fails Failed policies/a_test.rego:16: could not parse string as number
        policies/a_test.rego:18 test_twice Passed 
        policies/a_test.rego:20 test_twice Failed another test has this name; give each its own
        policies/a_test.rego:22 todo_test_later Skipped
        "#);
    assert!(!report.passed());
    assert_eq!(report.count(Outcome::Passed), 3);
    let coverage = report.coverage.values().next().unwrap();
    assert_eq!(report.coverage.len(), 1);
    assert_snapshot!(serde_json::to_string(coverage).unwrap(), @r#"{"covered":[3,6],"not_covered":[5],"percent":66.66666666666667}"#);
}

#[test]
fn tests_that_loop_are_cut_off_and_named() {
    let tests: String = (1..=7)
        .map(|n| format!("test_{n} if count(data.lockstep.deny) == 0\n\n"))
        .collect();
    let set = files(&[
        (
            "policies/a.rego",
            "package lockstep\n\ndeny contains \"x\" if {\n\tsome i in numbers.range(1, 2000)\n\tsome j in numbers.range(1, 2000)\n\ti * j < 0\n}\n",
        ),
        (
            "policies/a_test.rego",
            &format!("package lockstep_test\n\n{tests}"),
        ),
    ]);
    let report = run_tests_within(&set, std::time::Duration::from_millis(5));
    let lines = report.results.iter().map(|r| {
        let message = r.message.as_deref().unwrap_or_default();
        format!("{} {:?} {message}", r.name, r.outcome)
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    test_1 Failed cut off after 5ms, as a judgement would be; simplify what loops in it or in the rules it asks
    test_2 Failed cut off after 5ms, as a judgement would be; simplify what loops in it or in the rules it asks
    test_3 Failed cut off after 5ms, as a judgement would be; simplify what loops in it or in the rules it asks
    test_4 Failed cut off after 5ms, as a judgement would be; simplify what loops in it or in the rules it asks
    test_5 Failed cut off after 5ms, as a judgement would be; simplify what loops in it or in the rules it asks
    test_6 Skipped not run: 5 tests before it ran out of time
    test_7 Skipped not run: 5 tests before it ran out of time
    "#);
    assert!(!report.passed());
}

#[test]
fn no_tests_is_not_a_pass() {
    assert!(!run_tests(&rules("deny contains \"x\"")).passed());
    let broken = files(&[("policies/a_test.rego", "package x\n\ntest_a if {\n")]);
    let report = run_tests(&broken);
    assert!(!report.passed() && report.findings.len() == 1);
}

/// Pieces of Rego in any order: closer to what a tokenizer stumbles over than random text.
fn rego() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "package lockstep",
        "\n",
        " ",
        "deny",
        "contains",
        "if",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\"",
        "`",
        "\\",
        "#",
        "日本",
        "time",
        ".",
        "now_ns",
        "f(x)",
        ":=",
        "import data.x",
        "as",
        "default",
        "\u{feff}",
        "\t",
        "1",
        "not",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_upsets_the_scan_or_the_compiler(text in rego()) {
        let looked_over = scan(&text);
        for rule in &looked_over.rules {
            prop_assert_eq!(text.get(rule.range.clone()), Some(rule.name));
        }
        let (set, found) = PolicySet::compile(&files(&[("policies/a.rego", &text)]));
        let verdict = set.judge(&input(&[]));
        prop_assert!(found.is_empty() || !verdict.passes());
    }
}
