use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::document::json::StrictValue;

fn path() -> DocPath {
    "config/feature-flags.yaml".parse().unwrap()
}

fn check(text: &str) -> (Option<Value>, String) {
    let path = path();
    let (node, findings) = parse(&path, text);
    let lines: Vec<String> = findings
        .iter()
        .map(|f| {
            let span = f.location.span.unwrap();
            let under = text.get(span.start..span.end).unwrap();
            format!(
                "{}:{} {}: {} ({under})",
                span.line, span.column, f.rule, f.message
            )
        })
        .collect();
    (node.map(|n| n.to_value()), lines.join("\n"))
}

/// Every key and value with the text its span covers.
fn places(text: &str) -> String {
    fn walk(text: &str, node: &Node, depth: usize, out: &mut String) {
        match &node.value {
            NodeValue::Object(members) => {
                for m in members {
                    let key = &text[m.key_span.clone()];
                    let value = &text[m.value.span.clone()];
                    out.push_str(&format!("{}{key:?}: {value:?}\n", "  ".repeat(depth)));
                    walk(text, &m.value, depth + 1, out);
                }
            }
            NodeValue::Array(items) => {
                for item in items {
                    let value = &text[item.span.clone()];
                    out.push_str(&format!("{}- {value:?}\n", "  ".repeat(depth)));
                    walk(text, item, depth + 1, out);
                }
            }
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {}
        }
    }
    let path = path();
    let (node, findings) = parse(&path, text);
    assert_eq!(findings, []);
    let mut out = String::new();
    walk(text, &node.unwrap(), 0, &mut out);
    out
}

#[test]
fn every_key_and_value_knows_its_place() {
    let text = "フラグ:\n  enabled: true\n  \"teams\": [medical, 'voice']\n  list:\n    - 1\n    - {a: null}\n";
    insta::assert_snapshot!(places(text), @r##"
    "フラグ": "enabled: true\n  \"teams\": [medical, 'voice']\n  list:\n    - 1\n    - {a: null"
      "enabled": "true"
      "\"teams\"": "[medical, 'voice'"
        - "medical"
        - "'voice'"
      "list": "- 1\n    - {a: null"
        - "1"
        - "{a: null"
          "a": "null"
    "##);
}

#[test]
fn words_and_odd_numbers_stay_text() {
    let (value, findings) = check(
        "a: no\nb: on\nc: 017\nd: 1_000\ne: yes\nf: ~\ng: 12\nh: 2026-01-01\ni: 1.5\nj: 12:30\n1: x\ntrue: y\n",
    );
    assert_eq!(findings, "");
    assert_eq!(
        value.unwrap(),
        json!({"a": "no", "b": "on", "c": "017", "d": "1_000", "e": "yes", "f": null, "g": 12,
            "h": "2026-01-01", "i": 1.5, "j": "12:30", "1": "x", "true": "y"})
    );
}

#[test]
fn what_is_not_read_is_reported() {
    let findings: Vec<String> = [
        "a: 1\nb: {c: 1, c: 2}\na: 3\n",
        "a: &x {b: 1}\nc:\n  <<: *x\n",
        "a: !secret x\n",
        "a: 1\n---\nb: 2\n",
        "a: .inf\n",
        "a: 9007199254740993\nb: 123456789012345678901234567890\n",
        "a: [1, 2\n",
        "a: 1\n b: 2\n",
        "a: \"x\n",
        "? [a, b]\n: c\n",
        "\ta: 1\n",
        "a: *nowhere\n",
    ]
    .iter()
    .map(|text| check(text).1)
    .collect();
    insta::assert_snapshot!(findings.join("\n"), @r#"
    2:11 yaml/duplicate-key: `c` is here a second time (c)
    3:1 yaml/duplicate-key: `a` is here a second time (a)
    3:3 yaml/merge-key: merge keys (<<) are not read (<<)
    1:4 yaml/tag: tags (!name) are not read (!secret)
    2:1 yaml/syntax: expected one document; here a second one begins (---)
    1:4 yaml/number: the number is not finite or too large (.inf)
    1:4 yaml/number: the number 9007199254740993 is too large; numbers go up to 2^53 (9007199254740993)
    2:4 yaml/number: the number 123456789012345680000000000000 is too large; numbers go up to 2^53 (123456789012345678901234567890)
    1:4 yaml/syntax: the bracket [ is never closed ([)
    2:3 yaml/syntax: a : where no value can follow (:)
    1:4 yaml/syntax: a quote is never closed (")
    1:3 yaml/syntax: expected a plain text here ([)

    1:4 yaml/syntax: this alias names no anchor that stands before it (*)
    "#);
}

/// The engine's words are for programmers. Every fault that people make has words of ours, with its place.
#[test]
fn every_slip_is_said_in_our_own_words() {
    let found: Vec<String> = [
        "a: [1, 2}\n",
        "a: 1]\n",
        "a: {b: 1\n",
        "a: {b: 1 c: 2}\n",
        "a: [\"x\" \"y\"]\n",
        "a: 'it's'\n",
        "a: \"x\" y\n",
        "a: 'x\n",
        "a: \"\\q\"\n",
        "a: \"\\xZZ\"\n",
        "a:\n  b: 1\n c: 2\n",
        "a: 1\n  - b\n",
        "a: - b\n",
        "a: b: c\n",
        "a\nb: 1\n",
        "a:\n\tb: 1\n",
        "a: @x\n",
        "a: `x`\n",
        "a: %x\n",
        "%FOO\n---\na: 1\n",
        "a: &\n",
        "a: |x\n  b\n",
        "a: >\n   b\n  c\n",
        "a: !\n",
        "a: !x!y z\n",
        "a: 1\n... b\n",
        "- a\nb: 1\n",
        "a: \"x\"#c\n",
        "{a: 1}: 2\n",
        "a: [-]\n",
        "a: 1\n---\nb: 2\n",
    ]
    .iter()
    .map(|text| format!("{text:?}\n  {}", check(text).1.replace('\n', "\n  ")))
    .collect();
    let found = found.join("\n");
    assert!(!found.contains("can't be read as YAML"), "{found}");
    insta::assert_snapshot!(found, @r##"
    "a: [1, 2}\n"
      1:4 yaml/syntax: the bracket [ is closed by } ([)
    "a: 1]\n"
      
    "a: {b: 1\n"
      1:4 yaml/syntax: the bracket { is never closed ({)
    "a: {b: 1 c: 2}\n"
      1:11 yaml/syntax: expected , or } here (:)
    "a: [\"x\" \"y\"]\n"
      1:9 yaml/syntax: something follows the closing quote (")
    "a: 'it's'\n"
      1:8 yaml/syntax: something follows the closing quote (s)
    "a: \"x\" y\n"
      1:8 yaml/syntax: something follows the closing quote (y)
    "a: 'x\n"
      1:4 yaml/syntax: a quote is never closed (')
    "a: \"\\q\"\n"
      1:4 yaml/syntax: an escape that YAML does not know (")
    "a: \"\\xZZ\"\n"
      1:4 yaml/syntax: an escape that YAML does not know (")
    "a:\n  b: 1\n c: 2\n"
      3:2 yaml/syntax: expected `key: value` here (c)
    "a: 1\n  - b\n"
      
    "a: - b\n"
      1:4 yaml/syntax: a - where no list can begin (-)
    "a: b: c\n"
      1:5 yaml/syntax: a : where no value can follow (:)
    "a\nb: 1\n"
      2:2 yaml/syntax: a : where no value can follow (:)
    "a:\n\tb: 1\n"
      2:2 yaml/syntax: a tab where YAML takes only spaces (b)
    "a: @x\n"
      1:4 yaml/syntax: @ can't begin a value (@)
    "a: `x`\n"
      1:4 yaml/syntax: ` can't begin a value (`)
    "a: %x\n"
      1:4 yaml/syntax: % can't begin a value (%)
    "%FOO\n---\na: 1\n"
      
    "a: &\n"
      1:4 yaml/syntax: an & or * without a name (&)
    "a: |x\n  b\n"
      1:4 yaml/syntax: the lines of a text after | or > are not indented alike (|)
    "a: >\n   b\n  c\n"
      3:3 yaml/syntax: expected `key: value` here (c)
    "a: !\n"
      
    "a: !x!y z\n"
      1:4 yaml/tag: tags (!name) are not read (!)
    "a: 1\n... b\n"
      2:5 yaml/syntax: something follows the end of the document (...) (b)
    "- a\nb: 1\n"
      2:1 yaml/syntax: this line is not indented like the ones it belongs to (b)
    "a: \"x\"#c\n"
      1:7 yaml/syntax: a # where no comment can begin (#)
    "{a: 1}: 2\n"
      1:1 yaml/syntax: expected a plain text here ({)
    "a: [-]\n"
      1:5 yaml/syntax: a - where no list can begin (-)
    "a: 1\n---\nb: 2\n"
      2:1 yaml/syntax: expected one document; here a second one begins (---)
    "##);
}

#[test]
fn deep_nesting_and_alias_bombs_are_findings() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(check(&deep(limits::NESTING)).1, "");
    assert!(
        check(&deep(limits::NESTING + 1)).1.contains("yaml/nesting"),
        "{:?}",
        check(&deep(limits::NESTING + 1))
    );
    assert_eq!(check(&"[".repeat(100_000)).0, None);
    let block: String = (0..2_000)
        .map(|i| format!("{}a:\n", " ".repeat(i)))
        .collect();
    assert!(check(&block).1.contains("yaml/nesting"));
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in ('a'..'i').zip('b'..='i') {
        let items = vec![format!("*{from}"); 9].join(", ");
        bomb.push_str(&format!("{to}: &{to} [{items}]\n"));
    }
    assert!(check(&bomb).1.contains("yaml/limits"), "{:?}", check(&bomb));
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(100_000),
        vec!["*a"; 2_000].join(", ")
    );
    assert!(check(&long).1.contains("yaml/limits"));
    let mixed = format!("a:\n  b: {}{}\n", "[".repeat(30), "]".repeat(30));
    assert_eq!(check(&mixed).1, "");
    assert!(from_str::<StrictValue>(&mixed).is_ok());
}

#[test]
fn an_alias_is_shown_where_it_is_used() {
    let text = "a: &x [medical]\nb: *x\n";
    let path = path();
    let (node, findings) = parse(&path, text);
    assert_eq!(findings, []);
    let node = node.unwrap();
    let b = &node.get("b").unwrap().value;
    assert_eq!(&text[b.span.clone()], "*x");
    assert_eq!(b.to_value(), json!(["medical"]));
}

#[test]
fn what_is_long_is_no_bomb() {
    let comments = format!(
        "a: 1\n{}b: 2\n",
        format!("# {}\n", "漢".repeat(60)).repeat(20_000)
    );
    assert_eq!(check(&comments).1, "");
    let scalar = format!(
        "a: {}\nb: |\n{}",
        "x".repeat(3_000_000),
        "  line\n".repeat(100_000)
    );
    assert_eq!(check(&scalar).1, "");
    let aliases = format!(
        "a: &all [x, y]\n{}",
        (0..5_000)
            .map(|i| format!("k{i}: {{teams: *all}}\n"))
            .collect::<String>()
    );
    assert_eq!(check(&aliases).1, "");
    let anchors: String = (0..5_000).map(|i| format!("k{i}: &a{i} x\n")).collect();
    assert_eq!(check(&anchors).1, "");
    let key = format!("{}: 1\n", "k".repeat(900));
    assert_eq!(check(&key).1, "");
}

#[test]
fn many_nodes_are_no_bomb() {
    let text: String = (0..100_000).map(|i| format!("k{i}: [1, 2, a]\n")).collect();
    assert_eq!(check(&text).1, "");
}

proptest! {
    #[test]
    fn anything_can_be_read(text in "[\\[\\]{}:,\"'&*!|>?#\\\\ \n\t<a1e.-漢]{0,40}") {
        let (value, findings) = check(&text);
        let typed = from_str::<StrictValue>(&text).ok();
        if findings.is_empty() {
            prop_assert_eq!(typed.map(|v| v.0), value);
        }
    }

    #[test]
    fn json_is_yaml(items in prop::collection::btree_map("[a-z漢]{1,5}", any::<i32>(), 0..6)) {
        let value = serde_json::to_value(&items).unwrap();
        let text = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(check(&text).0, Some(value));
    }
}
