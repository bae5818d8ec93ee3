use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::resource::page::tests::{read, told};

fn check(path: &str, text: &str) -> String {
    read(&NoticeForm, path, text)
}

#[test]
fn labelled_lines_in_both_languages() {
    insta::assert_snapshot!(check("alerts/emergency.md", "# 緊急メンテナンスのお知らせ\n\n時刻：２０２５年９月１５日　２２：００～２４：００\n影響: 全職員が\nログインできません\n対応：\n- 紙の運用に切り替える\n- 窓口に連絡する\n\n復旧後に連絡します。\n"), @r#"
    Notice/alerts/emergency [medical voicedrive] line 1
      body: "復旧後に連絡します。"
      impact: "全職員がログインできません"
      response: "紙の運用に切り替える\n窓口に連絡する"
      severity: "critical"
      title: "緊急メンテナンスのお知らせ"
      when: "２０２５年９月１５日　２２：００～２４：００"
    "#);
    insta::assert_snapshot!(check("alerts/water.md", "---\nseverity: WARNING\nsystems: [VoiceDrive]\ndue: 2026/12/01\nsupersedes: emergency\n---\n# Water off\n- **When:** tonight\n- **Impact:** ward 3\n- **Response:** use bottles\n"), @r#"
    Notice/alerts/water [voicedrive] line 7
      due: "2026-12-01"
      impact: "ward 3"
      response: "use bottles"
      severity: "medium"
      supersedes: "alerts/emergency"
      title: "Water off"
      when: "tonight"
    "#);
}

#[test]
fn one_line_is_a_notice() {
    insta::assert_snapshot!(check("security/urgent.md", "CRITICAL: CVE-2025-12345 OpenSSL を 3.0.17 に更新してください\n"), @r#"
    Notice/security/urgent [medical voicedrive] line 1
      cve: ["CVE-2025-12345"]
      severity: "critical"
      title: "CVE-2025-12345 OpenSSL を 3.0.17 に更新してください"
    "#);
    insta::assert_snapshot!(check("security/urgent.md", "今月のパッチ\n\n- HIGH： cve-2025-1111 と CVE-2025-2222\n- ＣＲＩＴＩＣＡＬ： ＣＶＥ－２０２５－３３３３\n\n期限: 2026-12-01\n"), @r#"
    Notice/security/urgent [medical voicedrive] line 1
      body: "cve-2025-1111 と CVE-2025-2222\nＣＶＥ－２０２５－３３３３"
      cve: ["CVE-2025-1111","CVE-2025-2222","CVE-2025-3333"]
      due: "2026-12-01"
      severity: "critical"
      title: "今月のパッチ"
    "#);
    insta::assert_snapshot!(check("security/urgent.md", "# 【緊急】: パスワードを変更してください\n"), @r#"
    Notice/security/urgent [medical voicedrive] line 1
      severity: "critical"
      title: "パスワードを変更してください"
    "#);
}

#[test]
fn a_retraction() {
    insta::assert_snapshot!(check("alerts/old.md", "---\nretracted: true\n---\n# 停電\n誤報でした。\n"), @r#"
    Notice/alerts/old [medical voicedrive] line 4
      body: "誤報でした。"
      retracted: true
      severity: "info"
      title: "停電"
    "#);
}

#[test]
fn every_fault_at_once() {
    insta::assert_snapshot!(check("alerts/bad.md", "---\nseverity: とても\nsystems: [medicl, payroll]\ndue: 12/01/2026\nretracted: maybe\nsupersedes: bad\nsystmes: x\n---\n# 題\n"), @r#"
    Notice/alerts/bad [] line 9
      severity: "info"
      title: "題"
    error document/unknown-value 2:11 "とても"
      `とても` is no severity
      → write critical, high, medium, low or info (緊急, 重要, 注意, 軽微, 情報)
    error reference/unknown-system 3:11 "medicl"
      there is no system `medicl`
      → did you mean `medical`?
    error reference/kind-not-taken 3:19 "payroll"
      the system payroll does not take Notice
      → add Notice to its `kinds:` in lockstep.yaml, or name another system
    error date/invalid 4:6 "12/01/2026"
      `12/01/2026` is no date
      → write the year first: 2025-10-01, 2025/10/01 or 2025年10月1日
    error document/wrong-type 5:12 "maybe"
      `maybe` is neither true nor false
      → write `true` or `false`
    error notice/supersedes 6:13 "bad"
      `bad` is no other notice
      → write the notice's path without its extension, such as `alerts/emergency`
    error document/unknown-field 7:1 "systmes"
      `systmes` is no field of this document
      → did you mean `systems`?
    error notice/no-content 9:3 "題"
      the notice says nothing
      → add lines `時刻:`, `影響:` and `対応:` (`When:`, `Impact:`, `Response:`)
    "#);
    insta::assert_snapshot!(check("alerts/bad.md", "停電です\n時刻: 今夜\n時刻: 明日\n"), @r#"
    Notice/alerts/bad [medical voicedrive] line 1
      severity: "info"
      title: "停電です"
      when: "今夜"
    error markdown/no-heading 1:1 "停電です"
      the document has no heading
      → begin with a line `# <title>`
    error markdown/repeated-label 3:1 "時刻"
      `時刻` is given a second time; the first one counts
      → leave one `時刻`
    "#);
    insta::assert_snapshot!(check("alerts/bad.md", ""), @r#"
    Notice/alerts/bad [medical voicedrive] line 1
      severity: "info"
    error markdown/no-heading 1:1 ""
      the document has no heading
      → begin with a line `# <title>`
    error notice/no-content 1:1 ""
      the notice says nothing
      → add lines `時刻:`, `影響:` and `対応:` (`When:`, `Impact:`, `Response:`)
    "#);
    insta::assert_snapshot!(check("alerts/bad.md", "CRITICAL:\n"), @r#"
    Notice/alerts/bad [medical voicedrive] line 1
      severity: "critical"
    error notice/no-content 1:1 "CRITICAL:"
      the notice says nothing
      → add lines `時刻:`, `影響:` and `対応:` (`When:`, `Impact:`, `Response:`)
    "#);
    insta::assert_snapshot!(check("alerts/bad.md", "---\nseverity: [high\n---\n# 題\n"), @r#"
    Notice/alerts/bad [medical voicedrive] line 4
      severity: "info"
      title: "題"
    error markdown/front-matter 2:1 "severity: [high"
      the front matter can't be read: the bracket [ is never closed
      → close it, or put a text that begins with a bracket in quotes
    "#);
}

#[test]
fn changes_in_words() {
    let old = json!({"title": "停電", "severity": "high", "impact": "3階"});
    let mut new = old.clone();
    new["severity"] = "critical".into();
    new["impact"] = "3階と4階の全ての病室とスタッフステーション、および手術室前の待合".into();
    let mut gone = old.clone();
    gone["retracted"] = true.into();
    let told = |before, after| told(&Notice, "alerts/power", before, after);
    insta::assert_snapshot!(told(None, Some(&old)), @r"
    alerts/power: “停電” published (high)
    alerts/power: 「停電」を掲載（high）
    ");
    insta::assert_snapshot!(told(Some(&old), Some(&new)), @r"
    alerts/power: “停電” severity high → critical, impact rewritten
    alerts/power: 「停電」 重大度 high → critical、影響を改訂
    ");
    insta::assert_snapshot!(told(Some(&old), Some(&gone)), @r"
    alerts/power: “停電” retracted
    alerts/power: 「停電」 撤回
    ");
    insta::assert_snapshot!(told(Some(&gone), Some(&old)), @r"
    alerts/power: “停電” published again
    alerts/power: 「停電」 再掲載
    ");
    insta::assert_snapshot!(told(Some(&old), None), @r"
    alerts/power: “停電” taken down
    alerts/power: 「停電」 掲載終了
    ");
}

proptest! {
    #[test]
    fn any_notice_is_read(text in "(---\n(severity|時刻|x)[:：]\\PC{0,8}\n---\n)?(# |CRITICAL[:：])?\\PC{0,20}\n(影響|Impact|なぜ)?[:：]?\\PC{0,20}") {
        check("alerts/any.md", &text);
    }
}
