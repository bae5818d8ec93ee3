use proptest::prelude::*;

use super::*;

/// `severity rule line:column` and the message of each finding.
fn found(path: &str, text: &str) -> String {
    let path: DocPath = path.parse().unwrap();
    let lines: Vec<String> = check(&path, text)
        .iter()
        .map(|f| {
            let span = f.location.span.unwrap();
            format!(
                "{} {} {}:{} {}",
                f.severity, f.rule, span.line, span.column, f.message
            )
        })
        .collect();
    lines.join("\n")
}

#[test]
fn a_name_hides_nothing_and_a_text_little() {
    insta::assert_snapshot!(found("a.json", "{\"a\u{202e}b\": {\"description\": \"x\u{200b}y\", \"owner\": \"sa\u{200b}to\"}}"), @r"
    error text/hidden-in-name 1:4 the name holds U+202E (a right-to-left override), which can't be seen
    warning text/invisible 1:27 the text holds U+200B (a zero width space), which can't be seen
    error text/hidden-in-name 1:44 the name holds U+200B (a zero width space), which can't be seen
    ");
    insta::assert_snapshot!(found("a.yaml", "a:\n  text: x\u{2066}y\u{2069}\n  url: https://a\u{ad}b.example\n"), @r"
    error text/reordered 2:10 the text holds U+2066 (a left-to-right isolate): what is approved would be read in another order than it is written
    error text/reordered 2:12 the text holds U+2069 (the end of an isolate): what is approved would be read in another order than it is written
    error text/hidden-in-name 3:17 the name holds U+00AD (a soft hyphen), which can't be seen
    ");
    insta::assert_snapshot!(found("a.md", "---\nseverity: hi\u{200b}gh\n---\n# 停電\u{202e}\n\n影響: x\0\n"), @r"
    warning text/invisible 2:13 the text holds U+200B (a zero width space), which can't be seen
    error text/reordered 4:5 the text holds U+202E (a right-to-left override): what is approved would be read in another order than it is written
    error text/control 6:6 the text holds U+0000 (a NUL), which systems store or show differently
    ");
}

#[test]
fn an_escape_hides_nothing_either() {
    insta::assert_snapshot!(found("a.json", r#"{"a\u200b": {"description": "x\u0000"}, "b": {"description": "\n\t\u3042"}}"#), @r"
    error text/hidden-in-name 1:2 the name holds U+200B (a zero width space), which can't be seen
    error text/control 1:29 the text holds U+0000 (a NUL), which systems store or show differently
    ");
    insta::assert_snapshot!(found("a.yaml", "a: \"x\\u202E\"\nb: \"\\e[1m\"\n"), @r"
    error text/reordered 1:4 the text holds U+202E (a right-to-left override): what is approved would be read in another order than it is written
    error text/control 2:4 the text holds U+001B (an escape character), which systems store or show differently
    ");
    insta::assert_snapshot!(found("a.md", "# a\n\n影響: x&#x202E;y &shy; z\n"), @"error text/reordered 3:1 the text holds U+202E (a right-to-left override): what is approved would be read in another order than it is written");
}

#[test]
fn what_a_script_or_symbol_is_written_with_is_let_pass_in_texts() {
    let text = "# ⚠️ 葛\u{e0100}城さん 👩\u{200d}⚕️\n\n影響: می\u{200c}خواهم 1\u{fe0f}\u{20e3}\n";
    assert_eq!(found("a.md", text), "");
    assert!(found("a.json", "{\"葛\u{e0100}\": 1}").starts_with("error text/hidden-in-name 1:4"),);
    assert!(found("a.md", "# a\u{200d}b\n").starts_with("warning text/invisible 1:4"));
    assert!(found("a.md", "# 漢\u{200d}字\n").starts_with("warning text/invisible 1:4"));
}

#[test]
fn ordinary_texts_are_read_once() {
    assert_eq!(found("a.json", "{\"a\": \"b\\\"c\\\\\\n\"}"), "");
    assert_eq!(found("a.md", "# 題 & more\n\n- a\n"), "");
    assert_eq!(found("a.yaml", "a: 'b\\c'\n"), "");
}

proptest! {
    #[test]
    fn nothing_hidden_is_passed_over(before in "[a-z漢 ]{0,6}", after in "[a-z漢 \n]{0,6}", c in prop::char::any()) {
        let text = format!("{before}{c}{after}");
        let path: DocPath = "a.rego".parse().unwrap();
        let found = check_plain(&path, &text);
        match hidden(c) {
            None => prop_assert!(found.is_empty()),
            Some(Hidden::Shapes) => prop_assert!(found.len() <= 1),
            Some(Hidden::Control | Hidden::Reorders | Hidden::Invisible) => {
                prop_assert_eq!(found.len(), 1);
                let span = found[0].location.span.unwrap();
                prop_assert_eq!(&text[span.start..span.end], c.to_string());
                let code = format!("U+{:04X}", u32::from(c));
                prop_assert!(found[0].message.contains(&code));
                prop_assert!(found[0].hint.as_ref().is_some_and(|h| h.contains(&code)));
            }
        }
    }
}
