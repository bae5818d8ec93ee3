use insta::assert_snapshot;
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::*;
use crate::forge::{Status, StatusState};

pub(super) use super::super::markdown::{COMMENT_CHARS, MARKER, comment};

fn status(context: &str, state: StatusState, description: &str) -> Status {
    Status {
        context: context.to_owned(),
        state,
        description: description.to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn sample(language: Language) -> GateView {
    GateView {
        language,
        number: 7,
        title: "Raise ai_assistant to 25%".to_owned(),
        author: "sato".to_owned(),
        base: "ba5e".repeat(10).parse().unwrap(),
        head: "4ead".repeat(10).parse().unwrap(),
        report: ReportView::default(),
        verdict: VerdictView {
            denials: vec![],
            warnings: vec![MessageView {
                msg: "the flag has no expiry".to_owned(),
                code: Some("flag-expiry".to_owned()),
                resource: Some("FeatureFlag/beta".to_owned()),
            }],
            approvals: vec![ApprovalView {
                from: vec!["voicedrive".to_owned(), "security".to_owned()],
                count: 2,
                because: "it widens".to_owned(),
                have: vec!["tanaka".to_owned()],
            }],
        },
        plan: PlanView::new(&sample_plan(), &kinds(), language),
        already_adrift: None,
        on_merge: vec!["medical and voicedrive move together".to_owned()],
        statuses: vec![
            status("lockstep/check", StatusState::Success, "no findings"),
            status("lockstep/approval", StatusState::Pending, "1 of 2"),
        ],
    }
}

#[test]
fn english() {
    assert_snapshot!(comment(&sample(Language::English)), @"");
}

#[test]
fn japanese() {
    let mut view = sample(Language::Japanese);
    view.already_adrift = Some(PlanView::new(&plan_of(&[]), &kinds(), Language::Japanese));
    view.verdict.denials = vec![MessageView {
        msg: "ロールアウトは 25 ポイントまで".to_owned(),
        code: None,
        resource: None,
    }];
    view.report = sample_view();
    view.on_merge.clear();
    assert_snapshot!(comment(&view), @"");
}

#[test]
fn ready_when_nothing_is_missing() {
    let mut view = sample(Language::English);
    view.verdict = VerdictView::default();
    view.plan = PlanView::new(&plan_of(&[]), &kinds(), Language::English);
    view.already_adrift = Some(view.plan.clone());
    assert_snapshot!(comment(&view), @"");
}

#[test]
fn a_huge_comment_is_cut_and_says_so() {
    let changes: Vec<Change> = (0..3_000)
        .map(|n| {
            change(
                &format!("FeatureFlag/flag_number_{n:04}"),
                None,
                Some(json!({"rollout": n})),
                None,
            )
        })
        .collect();
    let mut view = sample(Language::Japanese);
    view.plan = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::Japanese,
    );
    view.already_adrift = Some(view.plan.clone());
    view.title = "長い".repeat(40_000);
    view.on_merge = vec!["長い".repeat(40_000); 50];
    view.verdict.denials = vec![
        MessageView {
            msg: "`".repeat(70_000),
            ..MessageView::default()
        };
        50
    ];
    let text = comment(&view);
    let chars = text.chars().count();
    assert!(
        (40_000..COMMENT_CHARS).contains(&chars),
        "{chars} characters"
    );
    assert!(
        text.lines().last().unwrap().contains("を省略しました"),
        "{text}"
    );
    assert!(text.contains("### マージすると起きること"));
}

/// Text meant to break out of wherever it is put.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "@everyone",
        "`",
        "``",
        "```",
        "````\n",
        "\n",
        "\r\n",
        "<!-- lockstep -->",
        "</details>",
        "<b>",
        "[a](http://evil.example)",
        "http://evil.example",
        "www.evil.example",
        "![i](x)",
        "# head",
        "---",
        "|",
        "\\",
        "~~~",
        "&lt;",
        "*x*",
        "_y_",
        "#12",
        "a@b.example",
        "GH-1",
        "deadbeefdeadbeef",
        " ",
        "word",
        "\u{202e}",
        "1.",
        "- ",
        "> q",
        "\t",
        "「本文」",
        "    ",
        ":+1:",
        "===",
    ]);
    prop::collection::vec(pieces, 0..8).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a proposal says: no link, no image, no mention outside code, no HTML, heading or rule but ours.
    #[test]
    fn nothing_breaks_out(texts in prop::collection::vec(hostile(), 8)) {
        let of = |n: usize| texts[n].clone();
        let mut view = sample(Language::English);
        view.title = of(0);
        view.author = of(1);
        view.verdict.denials = vec![MessageView { msg: of(2), code: Some(of(3)), resource: Some(of(4)) }];
        view.verdict.approvals[0].because = of(5);
        view.verdict.approvals[0].from = vec![of(6), of(7)];
        view.verdict.approvals[0].have = vec![of(7)];
        view.on_merge = vec![of(6)];
        view.statuses[0].description = of(7);
        let spec = json!({"rollout": 1, "note": of(2), "more": [of(3), of(4)]});
        let mut plan = PlanView::new(&plan_of(&[("medical", &[change("FeatureFlag/a", None, Some(spec), None)])]), &kinds(), Language::English);
        plan.changes[0].sentence = of(5);
        plan.changes[0].name = of(0);
        view.already_adrift = Some(plan.clone());
        view.plan = plan;
        let file: Result<DocPath, _> = of(1).parse();
        let finding = Finding::error("x/y", &file.unwrap_or_else(|_| path("a.json")), None, of(2)).with_hint(of(3));
        view.report = ReportView::new(&Report::new(vec![finding]), |_| None);
        let text = comment(&view);

        let mut headings = 0;
        let mut fenced = false;
        for event in Parser::new_ext(&text, Options::ENABLE_GFM | Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => fenced = true,
                Event::End(pulldown_cmark::TagEnd::CodeBlock) => fenced = false,
                Event::Start(Tag::Heading { .. }) => headings += 1,
                Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::Table(_) | Tag::BlockQuote(_)) => prop_assert!(false, "{text}"),
                Event::Html(html) | Event::InlineHtml(html) => {
                    let html = html.trim();
                    let ours = [MARKER, "<details><summary>Differences</summary>", "</details>", ""];
                    prop_assert!(ours.contains(&html), "{html:?} in {text}");
                }
                Event::Text(words) if !fenced => {
                    let bad = words.contains('@') || words.contains("://") || words.contains("www.") || words.contains("#1");
                    prop_assert!(!bad, "{words:?} in {text}");
                }
                Event::Rule => prop_assert!(false, "{text}"),
                _ => {}
            }
        }
        prop_assert!((7..=9).contains(&headings), "{headings} headings in {text}");
        let raw = text.chars().find(|c| *c != '\n' && printable::is_unsafe(*c));
        prop_assert_eq!(raw, None);
    }
}
