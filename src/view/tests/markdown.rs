use insta::assert_snapshot;
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

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

fn before(system: &str, standing: Standing) -> SystemBefore {
    SystemBefore {
        system: system.parse().unwrap(),
        standing,
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
        not_counted: vec![],
        said: vec![],
        rest: None,
        statuses: vec![
            status("lockstep/check", StatusState::Success, "no findings"),
            status("lockstep/approval", StatusState::Pending, "1 of 2"),
        ],
    }
}

#[test]
fn english() {
    assert_snapshot!(comment(&sample(Language::English)), @r#"
    <!-- lockstep -->
    ## ⏳ Lockstep: waiting for approval

    `Raise ai_assistant to 25%` · proposed by `sato` · `ba5eba5eba`…`4ead4ead4e`

    - ✅ `lockstep/check` success: no findings
    - ⏳ `lockstep/approval` pending: 1 of 2

    ### Still needed

    - 1 of 2 approvals by `voicedrive`, `security`: it widens (approved so far by `tanaka`)

    ### Warnings

    - ⚠️ the flag has no expiry (`FeatureFlag/beta` · `flag-expiry`)

    ### This proposal changes

    Plan `5709d4c45e70` · 1 to delete, 1 to create, 2 to update

    - **delete** `old_banner`: removed on `medical` · narrowing
    - create beta: on at 0% on `medical`, `voicedrive`
    - update `ai_assistant`: rollout 10% → 25% on `medical`, `voicedrive` · widening
    - update `Retired/thing`: changed on `medical`

    <details><summary>Differences</summary>

    `FeatureFlag/old_banner` · `config/feature-flags.json:3`

    ```diff
    @@ -1,3 +0,0 @@
    -{
    -  "rollout": 100
    -}
    ```

    `FeatureFlag/beta`

    ```diff
    @@ -0,0 +1,4 @@
    +{
    +  "owner": "佐藤",
    +  "rollout": 0
    +}
    ```

    `FeatureFlag/ai_assistant` · `config/feature-flags.json:12`

    ```diff
    @@ -1,4 +1,4 @@
     {
       "enabled": true,
    -  "rollout": 10
    +  "rollout": 25
     }
    ```

    `Retired/thing`

    ```diff
    @@ -1 +1 @@
    -1
    +2
    ```

    </details>

    ### Already adrift before it

    Not known: no record of the systems is at hand here.

    ### What will happen on merge

    - The changes above reach `medical`, `voicedrive`.
    - medical and voicedrive move together
    "#);
}

#[test]
fn japanese() {
    let mut view = sample(Language::Japanese);
    view.already_adrift = Some(vec![before("medical", Standing::InStep)]);
    view.verdict.denials = vec![MessageView {
        msg: "ロールアウトは 25 ポイントまで".to_owned(),
        code: None,
        resource: None,
    }];
    view.report = sample_view();
    view.on_merge.clear();
    assert_snapshot!(comment(&view), @r#"
    <!-- lockstep -->
    ## ❌ Lockstep：マージできません

    `Raise ai_assistant to 25%` · 提案者 `sato` · `ba5eba5eba`…`4ead4ead4e`

    - ✅ `lockstep/check` 成功：no findings
    - ⏳ `lockstep/approval` 待機中：1 of 2

    ### 却下の理由

    - ❌ ロールアウトは 25 ポイントまで

    ### まだ必要なもの

    - `voicedrive`、`security` の承認 2 件のうち 1 件：it widens (承認済み `tanaka`)

    ### 警告

    - ⚠️ the flag has no expiry (`FeatureFlag/beta` · `flag-expiry`)

    ### 検査の結果

    - **エラー** `config/feature-flags.json:3:5` unknown field enabeld (`flag/unknown-field`) ヒント：did you mean enabled?
    - **エラー** `config/feature-flags.json:4:13` expected a number from 0 to 100 (`json/type`)
    - **警告** `lockstep.yaml` no `lockstep.yaml` (`config/missing`) ヒント：run lockstep init

    ### この提案による変更

    計画 `5709d4c45e70` · 削除 1 件、追加 1 件、変更 2 件

    - **削除** `old_banner`: 廃止（`medical`）· 縮小
    - 追加 beta: 新規 0%（`medical`, `voicedrive`）
    - 変更 `ai_assistant`: ロールアウト 10% → 25%（`medical`, `voicedrive`）· 拡大
    - 変更 `Retired/thing`: 変更（`medical`）

    <details><summary>差分</summary>

    `FeatureFlag/old_banner` · `config/feature-flags.json:3`

    ```diff
    @@ -1,3 +0,0 @@
    -{
    -  "rollout": 100
    -}
    ```

    `FeatureFlag/beta`

    ```diff
    @@ -0,0 +1,4 @@
    +{
    +  "owner": "佐藤",
    +  "rollout": 0
    +}
    ```

    `FeatureFlag/ai_assistant` · `config/feature-flags.json:12`

    ```diff
    @@ -1,4 +1,4 @@
     {
       "enabled": true,
    -  "rollout": 10
    +  "rollout": 25
     }
    ```

    `Retired/thing`

    ```diff
    @@ -1 +1 @@
    -1
    +2
    ```

    </details>

    ### 提案の前からのずれ

    ありません。最後に確認した時点で、どのシステムも main ブランチのとおりでした。

    ### マージすると起きること

    - 上の変更が `medical`, `voicedrive` に反映されます。
    "#);
}

#[test]
fn ready_when_nothing_is_missing() {
    let mut view = sample(Language::English);
    view.verdict = VerdictView::default();
    view.plan = PlanView::new(&plan_of(&[]), &kinds(), Language::English);
    view.already_adrift = Some(vec![
        before("medical", Standing::InStep),
        before(
            "voicedrive",
            Standing::Adrift {
                why: "FeatureFlag/beta was switched off".to_owned(),
            },
        ),
        before("payroll", Standing::NeverSynced),
    ]);
    view.statuses = vec![
        status("lockstep/check", StatusState::Success, "no findings"),
        status(
            "lockstep/approval",
            StatusState::Success,
            "nobody is needed",
        ),
    ];
    assert_snapshot!(comment(&view), @r#"
    <!-- lockstep -->
    ## ✅ Lockstep: ready to merge

    `Raise ai_assistant to 25%` · proposed by `sato` · `ba5eba5eba`…`4ead4ead4e`

    - ✅ `lockstep/check` success: no findings
    - ✅ `lockstep/approval` success: nobody is needed

    ### This proposal changes

    No changes: already in step.

    ### Already adrift before it

    - voicedrive: adrift: `FeatureFlag/beta` was switched off
    - payroll: not synced yet

    ### What will happen on merge

    - medical and voicedrive move together
    "#);
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
    view.already_adrift = Some(vec![
        before(
            "medical",
            Standing::Failed {
                why: "長い".repeat(40_000),
            },
        );
        50
    ]);
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
        view.already_adrift = Some(vec![before("medical", Standing::Adrift { why: of(3) })]);
        view.plan = plan;
        let file: Result<DocPath, _> = of(1).parse();
        let finding = Finding::error("x/y", &file.unwrap_or_else(|_| path("a.json")), None, of(2)).with_hint(of(3));
        view.report = ReportView::new(&Report::new(vec![finding]), |_| None);
        let text = comment(&view);

        prop_assert_eq!(escaped(&text), Vec::<String>::new(), "{}", text);
        let raw = text.chars().find(|c| *c != '\n' && printable::is_unsafe(*c));
        prop_assert_eq!(raw, None);
    }
}

/// What a comment has that we didn't put there, as far as a Markdown reader can tell.
fn escaped(text: &str) -> Vec<String> {
    let options = Options::ENABLE_GFM | Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let ours = [
        MARKER,
        "<details><summary>Differences</summary>",
        "</details>",
        "",
    ];
    let (mut found, mut fenced, mut headings) = (Vec::new(), false, 0);
    for event in Parser::new_ext(text, options) {
        let bad = match &event {
            Event::Start(Tag::CodeBlock(_)) => {
                fenced = true;
                false
            }
            Event::End(TagEnd::CodeBlock) => {
                fenced = false;
                false
            }
            Event::Start(Tag::Heading { .. }) => {
                headings += 1;
                false
            }
            Event::Text(words) => {
                let marks = ["@", "://", "www.", "#1", "GH-"];
                let commit = |word: &str| word == "deadbeefdeadbeef";
                let linked = marks.iter().any(|mark| words.contains(mark))
                    || words.split(|c: char| !c.is_alphanumeric()).any(commit);
                !fenced && linked
            }
            Event::Html(html) | Event::InlineHtml(html) => !ours.contains(&html.trim()),
            Event::Start(tag) => !matches!(
                tag,
                Tag::Paragraph | Tag::List(None) | Tag::Item | Tag::Strong | Tag::HtmlBlock
            ),
            Event::End(_) | Event::Code(_) | Event::SoftBreak => false,
            Event::Rule
            | Event::HardBreak
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => true,
        };
        if bad {
            found.push(format!("{event:?}"));
        }
    }
    // The title, this proposal, already adrift, on merge; denied, still needed, warnings, findings.
    if headings != 8 {
        found.push(format!("{headings} headings"));
    }
    found
}
