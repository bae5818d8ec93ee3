use proptest::prelude::*;

use super::*;

const LABELS: &Labels = &[
    ("when", &["時刻", "日時", "when"]),
    ("impact", &["影響", "impact"]),
    ("actions", &["対策", "actions"]),
];

/// The blocks, one a line: sort, parent, text, and the source that the text's place covers.
fn shape(text: &str) -> String {
    let outline = Outline::new(text);
    let mut out = String::new();
    for block in &outline.blocks {
        let sort = match block.sort {
            Sort::Heading(level) => format!("h{level}"),
            Sort::Paragraph => "p".to_owned(),
            Sort::Item => "item".to_owned(),
            Sort::Task(Tick::Open) => "open".to_owned(),
            Sort::Task(Tick::Done) => "done".to_owned(),
        };
        let parent = block.parent.map_or(String::new(), |p| format!(" in {p}"));
        for line in &block.lines {
            let phrase = line.phrase(0..line.text.len());
            let source = text.get(phrase.span.clone()).unwrap_or("OUTSIDE");
            out.push_str(&format!("{sort}{parent}: {:?}", phrase.text));
            if source != phrase.text {
                out.push_str(&format!(" from {source:?}"));
            }
            if let Some(id) = &block.id {
                out.push_str(&format!(" id={}", id.text));
            }
            out.push('\n');
        }
    }
    out
}

#[test]
fn blocks_lines_and_their_places() {
    insta::assert_snapshot!(shape("題名の行\n\n# 見出し *強調*\n\n影響: **全員** の\n`コード`\n\n- 一\n  続き\n\n  別の段落\n- [x] 済み\n  - [ ] 内側 <!-- id: inner-1 -->\n"), @r#"
    p: "題名の行"
    h1: "見出し 強調" from "見出し *強調"
    p: "影響: 全員 の" from "影響: **全員** の"
    p: "コード"
    item: "一"
    item: "続き"
    p in 3: "別の段落"
    done: "済み"
    open in 5: "内側" id=inner-1
    "#);
}

#[test]
fn what_only_looks_like_a_task_is_none() {
    insta::assert_snapshot!(shape("```\n- [ ] fenced\n```\n\n> - [ ] quoted\n\n    - [ ] indented\n\n<!-- - [ ] comment -->\n\n- [ ]\n- [y] no box\n- [x](https://example.jp) link\n- \\[ ] escaped\n"), @r#"
    open: ""
    item: "[y] no box"
    item: "x <https://example.jp> link" from "x](https://example.jp) link"
    item: "[ ] escaped"
    "#);
}

#[test]
fn boxes_in_loose_lists_and_of_full_width() {
    insta::assert_snapshot!(shape("- [ ] 一つ目\n\n- [X] 二つ目\n\n1. [ ] 番号つき\n\n* ［　］ 全角\n* ［ｘ］全角の済み\n* [x]空白なし\n"), @r#"
    open: "一つ目"
    done: "二つ目"
    open: "番号つき"
    open: "全角"
    done: "全角の済み"
    done: "空白なし"
    "#);
}

/// The labelled values, then the rest.
fn fields(text: &str) -> String {
    let outline = Outline::new(text);
    let fields = outline.fields(LABELS, |_, _| false);
    let mut out = String::new();
    for field in &fields.known {
        out.push_str(field.name);
        out.push('=');
        for value in &field.values {
            out.push_str(&format!("{:?}", value.phrase.text));
            assert!(
                text.get(value.phrase.span.clone()).is_some(),
                "a place outside the text"
            );
        }
        out.push('\n');
    }
    for (block, line) in &fields.rest {
        out.push_str(&format!(
            "rest {:?}\n",
            outline.blocks[*block].lines[*line].text
        ));
    }
    for label in &fields.unknown {
        out.push_str(&format!(
            "unknown {:?} at {:?}\n",
            label.text,
            &text[label.span.clone()]
        ));
    }
    for field in &fields.repeated {
        out.push_str(&format!("repeated {:?}\n", field.label.text));
    }
    for (label, near) in &fields.misspelt {
        out.push_str(&format!("misspelt {:?}, {near}\n", label.text));
    }
    for (label, sort) in &fields.nested {
        out.push_str(&format!("nested {:?}, {sort}\n", label.text));
    }
    if let Some(fault) = outline.front.and_then(|f| f.fault) {
        out.push_str(&format!(
            "fault {:?} at {:?}\n",
            fault.message, &text[fault.span]
        ));
    }
    out
}

#[test]
fn labels_in_every_dress() {
    insta::assert_snapshot!(fields("# 題\n時刻： 22：00 ～ 24：00\n・影響：全職員\n"), @r#"
    when="22：00 ～ 24：00"
    impact="全職員"
    "#);
    insta::assert_snapshot!(fields("# T\n\n- **When:** 22:00\n- IMPACT : all\n- Note: no label\n"), @r#"
    when="22:00"
    impact="all"
    rest "Note: no label"
    "#);
    insta::assert_snapshot!(fields("# 題\n【日時】 今夜\n【影響】：なし\n"), @r#"
    when="今夜"
    impact="なし"
    "#);
}

#[test]
fn values_go_on_over_lines_lists_and_sections() {
    insta::assert_snapshot!(fields("# 題\n影響: 全員が\n使えません\n\n対策:\n- 一つ\n- 二つ\n\n## 時刻\n\n夜です\n\n## ほか\n\n本文\n"), @r#"
    impact="全員が使えません"
    actions="一つ""二つ"
    when="夜です"
    rest "ほか"
    rest "本文"
    "#);
    insta::assert_snapshot!(fields("# T\n- Actions: these\n  - one\n  - two\n- after\n"), @r#"
    actions="these""one""two"
    rest "after"
    "#);
}

#[test]
fn a_field_ends_where_its_list_does() {
    insta::assert_snapshot!(fields("# 題\n対策:\n- 一つ\n\n  その続き\n  - 内側\n- 二つ\n\n本文\n"), @r#"
    actions="一つ""その続き""内側""二つ"
    rest "本文"
    "#);
    insta::assert_snapshot!(fields("# 題\n影響:\n一行目\n二行目\n\n本文\n"), @r#"
    impact="一行目""二行目"
    rest "本文"
    "#);
    insta::assert_snapshot!(fields("# 題\n- 対策:\n  - 一つ\n- ほか\n  - 内側\n"), @r#"
    actions="一つ"
    rest "ほか"
    rest "内側"
    "#);
    insta::assert_snapshot!(fields("# 題\n影響:\n\n一段落\nの続き\n\n本文\n"), @r#"
    impact="一段落の続き"
    rest "本文"
    "#);
}

#[test]
fn front_matter_and_lines_are_one_set_of_fields() {
    insta::assert_snapshot!(fields("---\nimpact: [a, b]\n時刻： \"22:00\"\nsevrity: x\nactions: {a: 1}\n---\n# T\nimpact: again\n"), @r#"
    impact="a""b"
    when="22:00"
    actions=
    unknown "sevrity" at "sevrity"
    repeated "impact"
    nested "actions", an object
    "#);
    insta::assert_snapshot!(fields("題名\n---\nimpact: no\n---\n# T\nImpcat: x\n"), @r#"
    impact="no"
    rest "Impcat: x"
    misspelt "Impcat", impact
    "#);
}

#[test]
fn front_matter_that_is_broken_says_where() {
    insta::assert_snapshot!(fields("---\nimpact: a\nimpact: b\n---\n# T\n"), @r#"fault "the front matter can't be read: `impact` is here a second time" at "impact""#);
    insta::assert_snapshot!(fields("---\nimpact: a\n# T\n"), @r#"
    impact="a"
    fault "the front matter that begins here is not closed by a line `---`" at "---"
    "#);
    insta::assert_snapshot!(fields("---\nimpact: [a\n---\n# T\n"), @r#"fault "the front matter can't be read: the bracket [ is never closed" at "impact: [a""#);
    insta::assert_snapshot!(fields("---\nimpact: !!python/object x\n---\n# T\n"), @r#"fault "the front matter can't be read: tags (!name) are not read" at "x""#);
}

/// Markdown writes a rule as front matter is fenced: the empty line after it tells them apart.
#[test]
fn what_stands_between_fences_at_the_top_is_a_mapping_or_a_fault() {
    for (text, is) in [
        ("---\n- a\n---\n# T\n", "fault"),
        ("---\njust a text\n---\n# T\n", "fault"),
        ("---\n> quoted\n---\n# T\n", "fault"),
        ("---\n5\n...\n# T\n", "fault"),
        ("---\n[a, b]\n---\n", "fault"),
        ("\n---\nseverity high\n---\n", "fault"),
        ("---\nimpact high: of all\n---\n", "front"),
        ("---\n{impact: high}\n---\n", "front"),
        ("---\n# only a comment\n---\n# T\n", "front"),
        ("---\n---\n# T\n", "front"),
        // A rule, as Markdown has it.
        ("---\n\n# T\n\n---\n\nmore\n", "text"),
        ("---\n\n- a\n\n---\n", "text"),
        ("---\n# T\n\nno second rule\n", "text"),
        ("---\n- a\n\nno second rule\n", "text"),
        ("# T\n---\n- a\n---\n", "text"),
        ("# T\n\n---\n\ntext\n\n---\n", "text"),
        ("text\n---\n", "text"),
    ] {
        let seen = match Outline::new(text).front {
            None => "text",
            Some(front) if front.fault.is_some() => "fault",
            Some(_) => "front",
        };
        assert_eq!(seen, is, "{text:?}");
    }
    insta::assert_snapshot!(fields("---\n- a\n---\n"), @r#"fault "front matter is lines of `key: value`, not a list" at "-""#);
}

#[test]
fn lists_in_one_line_keep_their_places() {
    let text = "# 題\n影響: medical、voicedrive， third\n";
    let outline = Outline::new(text);
    let fields = outline.fields(LABELS, |_, _| false);
    let words = fields.get("impact").map(Field::list).unwrap_or_default();
    let seen: Vec<_> = words
        .iter()
        .map(|w| (w.text.as_str(), &text[w.span.clone()]))
        .collect();
    assert_eq!(
        seen,
        [
            ("medical", "medical"),
            ("voicedrive", "voicedrive"),
            ("third", "third")
        ]
    );
}

proptest! {
    #[test]
    fn any_text_has_an_outline_with_places_inside(
        parts in prop::collection::vec(
            prop_oneof![
                Just("---\n"), Just("- [ ] "), Just("# "), Just("\n"), Just("  "), Just("影響："), Just("`"), Just("> "),
                Just("<!-- id: a -->"), Just("**"), Just("[x]"), Just("（"), Just("key: v\n"), Just("\r\n"), Just("&amp;"),
            ].prop_map(str::to_owned).boxed().prop_union("\\PC{0,6}".boxed()),
            0..40,
        )
    ) {
        let text = parts.concat();
        let outline = Outline::new(&text);
        for (at, block) in outline.blocks.iter().enumerate() {
            prop_assert!(block.parent.is_none_or(|p| p < at));
            let phrase = block.phrase();
            prop_assert!(text.get(phrase.span).is_some());
        }
        let fields = outline.fields(LABELS, |_, _| false);
        for value in fields.known.iter().flat_map(|f| &f.values) {
            prop_assert!(text.get(value.phrase.span.clone()).is_some());
        }
    }
}
