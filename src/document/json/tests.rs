use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn path() -> DocPath {
    "config/feature-flags.json".parse().unwrap()
}

/// `line:column rule: message (text underlined)` for each finding.
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

#[test]
fn comments_trailing_commas_and_a_title_are_read_over() {
    let text = "機能フラグ設定\n// flags\n{\n  \"a\": [1, 2, /* three */], // \"x\"\n  \"b\": \"// no /* comment */ ,]\",\n}\n";
    let (value, findings) = check(text);
    assert_eq!(findings, "");
    assert_eq!(
        value.unwrap(),
        json!({"a": [1, 2], "b": "// no /* comment */ ,]"})
    );
    let strict = blank(text);
    assert_eq!(strict.len(), text.len());
    assert!(serde_json::from_str::<Value>(&strict).is_ok());
}

#[test]
fn titles_come_in_several_shapes() {
    for text in [
        "Feature flags\n{\"a\": 1}",
        "Access [draft]\n\n{\"a\": 1}",
        "# 機能フラグ {\n\"a\": 1}",
        "/* c */ Flags: {\"a\": 1}",
        "Flags\r\n// c\r\n{\"a\": 1}",
    ] {
        let (value, findings) = check(text);
        assert_eq!(findings, "", "{text}");
        assert_eq!(value, Some(json!({"a": 1})), "{text}");
    }
    let (value, findings) = check("One line\nanother line\n{\"a\": 1}");
    assert_eq!(value, None);
    assert!(findings.starts_with("1:1 json/syntax"), "{findings}");
}

#[test]
fn strict_json_is_borrowed() {
    assert!(matches!(
        blank("{\"a\": [1, \"/*\", {}]}"),
        Cow::Borrowed(_)
    ));
}

#[test]
fn a_second_key_is_reported_where_it_stands_and_the_first_kept() {
    let (value, findings) = check("{\"a\": 1,\n \"b\": {\"é\": 1, \"é\": 2},\n \"a\": 3}");
    assert_eq!(value, Some(json!({"a": 1, "b": {"é": 1}})));
    insta::assert_snapshot!(findings, @r#"
    2:16 json/duplicate-key: `é` is here a second time ("é")
    3:2 json/duplicate-key: `a` is here a second time ("a")
    "#);
}

#[test]
fn syntax_errors_say_what_was_expected() {
    let findings: Vec<String> = [
        "",
        "{\"a\": 1 \"b\": 2}",
        "{\"a\" 1}",
        "{a: 1}",
        "{'a': 1}",
        "{\"a\": yes}",
        "{\"a\": [1, 2}",
        "{\"a\": [1, 2]",
        "[1,,2]",
        "[,]",
        "{\"a\": 01}",
        "{\"a\": \"\u{1}\"}",
        "{\"a\": \"\\ud800\"}",
        "{} {}",
        "/* open",
        "{\"a\": }",
        "\"",
        "[1] ]",
    ]
    .iter()
    .map(|text| {
        let (value, findings) = check(text);
        assert_eq!(value, None, "{text}");
        findings
    })
    .collect();
    insta::assert_snapshot!(findings.join("\n"), @r##"
    1:1 json/syntax: the document is empty; expected an object or a list ()
    1:8 json/syntax: expected a comma ( )
    1:6 json/syntax: expected a colon after the key (1)
    1:2 json/syntax: expected a key in double quotes (a)
    1:2 json/syntax: expected double quotes (')
    1:7 json/syntax: expected a value: text in double quotes, a number, true, false, null, { or [ (yes)
    1:12 json/syntax: } is not expected here; a value or a ] is missing before it (})
    1:1 json/syntax: this { is never closed; expected } ({)
    1:4 json/syntax: expected a value before the comma (,)
    1:2 json/syntax: expected a value before the comma (,)
    1:8 json/syntax: expected a comma (1)
    1:7 json/syntax: control character (\u0000-\u001F) found while parsing a string (")
    1:8 json/syntax: invalid unicode escape sequence. 'd800 (unpaired high surrogate)' is not a valid UTF8 character (\ud800")
    1:4 json/syntax: expected the end of the document: it holds one object or one list ({)
    1:1 json/syntax: this comment is never closed; expected */ (/)
    1:7 json/syntax: } is not expected here; a value or a ] is missing before it (})
    1:1 json/syntax: unterminated string literal (")
    1:5 json/syntax: expected the end of the document: it holds one object or one list (])
    "##);
}

#[test]
fn numbers_that_would_change_are_reported() {
    let (value, findings) = check(
        "[9007199254740992, 9007199254740993, -9007199254740993, 1e400, 123456789012345678901234567890, 0.1, 1e20, 1e15]",
    );
    insta::assert_snapshot!(findings, @r##"
    1:20 json/number: the number 9007199254740993 is too large; numbers go up to 2^53 (9007199254740993)
    1:38 json/number: the number -9007199254740993 is too large; numbers go up to 2^53 (-9007199254740993)
    1:57 json/number: the number 1e400 is too large; numbers go up to 2^53 (1e400)
    1:64 json/number: the number 123456789012345678901234567890 is too large; numbers go up to 2^53 (123456789012345678901234567890)
    1:101 json/number: the number 1e20 is too large; numbers go up to 2^53 (1e20)
    "##);
    assert_eq!(
        value,
        Some(json!([9_007_199_254_740_992_u64, 1, 1, 1, 1, 0.1, 1, 1e15]))
    );
}

#[test]
fn deep_nesting_is_a_finding() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(check(&deep(limits::NESTING)).1, "");
    let (value, findings) = check(&deep(limits::NESTING + 1));
    assert_eq!(value, None);
    assert_eq!(
        findings,
        "1:65 json/nesting: values nest deeper than 64 levels ([)"
    );
    assert_eq!(check(&"[{\"a\":".repeat(200_000)).0, None);
}

#[test]
fn a_strict_value_refuses_what_is_reported() {
    let strict = |text: &str| serde_json::from_str::<StrictValue>(text).ok();
    assert_eq!(
        strict("{\"a\": [1, null]}"),
        Some(StrictValue(json!({"a": [1, null]})))
    );
    assert_eq!(strict("{\"a\": {\"b\": 1, \"b\": 1}}"), None);
    assert_eq!(strict("[9007199254740993]"), None);
    assert_eq!(
        strict(&format!("{}{}", "[".repeat(65), "]".repeat(65))),
        None
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z/*,\"\\\\漢{}\\[\\]]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c/*]{0,3}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// JSON with comments and trailing commas strewn in.
fn write(value: &Value, out: &mut String, noise: &mut impl Iterator<Item = u8>) {
    match noise.next().unwrap_or(0) % 4 {
        0 => out.push_str(" /* c, \" */ "),
        1 => out.push_str("// d ]\n"),
        _ => {}
    }
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                write(item, out, noise);
                let last = i + 1 == items.len();
                if !last || noise.next().unwrap_or(0).is_multiple_of(2) {
                    out.push(',');
                }
            }
            out.push_str(" /**/ ]");
        }
        Value::Object(members) => {
            out.push('{');
            for (i, (key, item)) in members.iter().enumerate() {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(item, out, noise);
                let last = i + 1 == members.len();
                if !last || noise.next().unwrap_or(0).is_multiple_of(2) {
                    out.push(',');
                }
            }
            out.push_str("\n}");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

proptest! {
    #[test]
    fn both_readers_see_what_was_written(value in value(), noise in prop::collection::vec(any::<u8>(), 64)) {
        let mut text = String::new();
        write(&value, &mut text, &mut noise.into_iter());
        let (read, findings) = check(&text);
        prop_assert_eq!(findings, "");
        prop_assert_eq!(read.as_ref(), Some(&value));
        prop_assert_eq!(serde_json::from_str::<StrictValue>(&blank(&text)).unwrap().0, value);
    }

    #[test]
    fn anything_can_be_read(text in "[\\[\\]{}:,\"'/*\\\\ \n\ra1e.-漢]{0,40}") {
        let (value, findings) = check(&text);
        let strict = blank(&text);
        prop_assert_eq!(strict.len(), text.len());
        let typed = serde_json::from_str::<StrictValue>(&strict).ok();
        if findings.is_empty() {
            prop_assert_eq!(typed.map(|v| v.0), value);
        } else {
            prop_assert!(typed.is_none(), "{} but {:?}", findings, typed);
        }
    }
}
