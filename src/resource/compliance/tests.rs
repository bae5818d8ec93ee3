use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::resource::page::tests::{read, told};

fn check(text: &str) -> String {
    read(&ComplianceForm, "compliance/appi-2025.md", text)
}

#[test]
fn a_requirement_and_its_items() {
    insta::assert_snapshot!(check(
        "# 個人情報保護法への対応\n\n- 施行日: 2025-10-01\n- 出典: 個人情報保護委員会\n\n年次で見直す。\n\n- [ ] medical: アクセスログの監査を実施する\n- [x] VoiceDrive：Review retention settings @sato due:2026-12-01\n- [ ] 医療システム: 研修 <!-- id: training -->\n"
    ), @r#"
    ComplianceItem/appi-2025/medical/ca21b16a [medical] line 8
      action: "アクセスログの監査を実施する"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    ComplianceItem/appi-2025/voicedrive/review-retention-settings [voicedrive] line 9
      action: "Review retention settings"
      done: true
      due: "2026-12-01"
      effective: "2025-10-01"
      owner: "sato"
      requirement: "appi-2025"
    ComplianceItem/appi-2025/medical/training [medical] line 10
      action: "研修"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    Requirement/appi-2025 [medical voicedrive] line 1
      description: "年次で見直す。"
      effective: "2025-10-01"
      source: "個人情報保護委員会"
      title: "個人情報保護法への対応"
    "#);
}

#[test]
fn english_and_slashes_and_full_width() {
    insta::assert_snapshot!(check(
        "# APPI\nEffective： ２０２５／１０／０１\nSource: <https://www.ppc.go.jp/>\n\n1. ［ｘ］ ＭＥＤＩＣＡＬ：Encrypt backups\n"
    ), @r#"
    ComplianceItem/appi-2025/medical/encrypt-backups [medical] line 5
      action: "Encrypt backups"
      done: true
      effective: "2025-10-01"
      requirement: "appi-2025"
    Requirement/appi-2025 [medical] line 1
      effective: "2025-10-01"
      source: "https://www.ppc.go.jp/"
      title: "APPI"
    "#);
    insta::assert_snapshot!(check(
        "---\neffective: 令和7年10月1日\nowner: 総務部\n---\n# 題\n- [ ] medical: a\n  続き\n"
    ), @r#"
    ComplianceItem/appi-2025/medical/949d1cd9 [medical] line 6
      action: "a 続き"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    Requirement/appi-2025 [medical] line 5
      effective: "2025-10-01"
      owner: "総務部"
      title: "題"
    "#);
}

#[test]
fn items_in_items_are_for_the_same_system() {
    insta::assert_snapshot!(check(
        "# 題\n- 施行日: 2025-10-01\n- medical:\n  - [ ] 一つ目: 詳細\n  - [ ] voicedrive: 二つ目\n- [ ] voicedrive: 親\n  - [ ] 子\n"
    ), @r#"
    ComplianceItem/appi-2025/medical/35e82915 [medical] line 4
      action: "一つ目: 詳細"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    ComplianceItem/appi-2025/voicedrive/142dcd4d [voicedrive] line 5
      action: "二つ目"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    ComplianceItem/appi-2025/voicedrive/48c518de [voicedrive] line 6
      action: "親"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    ComplianceItem/appi-2025/voicedrive/a6b71dae [voicedrive] line 7
      action: "子"
      done: false
      effective: "2025-10-01"
      requirement: "appi-2025"
    Requirement/appi-2025 [medical voicedrive] line 1
      effective: "2025-10-01"
      title: "題"
    "#);
}

#[test]
fn every_fault_at_once() {
    insta::assert_snapshot!(check(
        "施行日: 10/01/2025\n\n- [ ] medicl: ログ\n- [ ] 全員で確認\n- [ ] payroll: 確認\n- [ ] medical:\n- [x] medical: 同じ\n- [ ] Medical： 同じ\n- [ ] medical: 別 <!-- id: a b -->\n- [ ] medical: 期限つき due:いつか\n"
    ), @r#"
    ComplianceItem/appi-2025/medical/e6f3a3ce [medical] line 7
      action: "同じ"
      done: true
      requirement: "appi-2025"
    ComplianceItem/appi-2025/medical/26303f47 [medical] line 10
      action: "期限つき"
      done: false
      requirement: "appi-2025"
    Requirement/appi-2025 [medical] line 1
    error markdown/no-heading 1:1 "施行日: 10/01/2025"
      the document has no heading
      → begin with a line `# <title>`
    error compliance/bad-date 1:6 "10/01/2025"
      `10/01/2025` is no date
      → write the year first: 2025-10-01, 2025/10/01 or 2025年10月1日
    error reference/unknown-system 3:7 "medicl"
      there is no system `medicl`
      → did you mean `medical`?
    error compliance/no-system 4:7 "全員で確認"
      the item does not say which system it is for
      → write `- [ ] <system>: <action>`; systems: medical, voicedrive
    error reference/kind-not-taken 5:7 "payroll"
      the system payroll does not take ComplianceItem
      → add ComplianceItem to its `kinds:` in lockstep.yaml, or name another system
    error compliance/no-action 6:7 "medical:"
      the item says nothing to do
      → write `- [ ] <system>: <action>`
    error compliance/duplicate-item 8:7 "Medical： 同じ"
      this item is in the list already, on line 7
      → remove one of them, or tell them apart with `<!-- id: name -->`
    error compliance/bad-id 9:18 "<!-- id: a b -->"
      `a b` can't be the id of an item
      → use letters, digits, '-', '_' and '.'
    error compliance/bad-date 10:21 "due:いつか"
      `いつか` is no date
      → write the year first: 2025-10-01, 2025/10/01 or 2025年10月1日
    "#);
    insta::assert_snapshot!(check("# 題\n本文だけ\n"), @r#"
    Requirement/appi-2025 [] line 1
      description: "本文だけ"
      title: "題"
    error compliance/bad-date 1:3 "題"
      the document does not say from when it holds
      → add a line `- 施行日: 2025-10-01` or `- Effective: 2025-10-01`
    error compliance/no-items 1:3 "題"
      the document has no checklist
      → add lines `- [ ] <system>: <action>`
    "#);
    insta::assert_snapshot!(read(&ComplianceForm, "compliance/個人 情報.md", "# 題\n- 施行日: 2025-10-01\n- [ ] medical: a\n"), @r#"
    error document/bad-name 1:1 ""
      the file name "個人 情報" can't be the name of a Requirement
      → rename the file: no spaces, and not longer than 500 bytes
    "#);
    insta::assert_snapshot!(check("---\nefective: 2025-10-01\n---\n# 題\n- [ ] medical: a\n"), @r#"
    ComplianceItem/appi-2025/medical/a [medical] line 5
      action: "a"
      done: false
      requirement: "appi-2025"
    Requirement/appi-2025 [medical] line 4
      title: "題"
    error document/unknown-field 2:1 "efective"
      `efective` is no field of this document
      → did you mean `effective`?
    error compliance/bad-date 4:3 "題"
      the document does not say from when it holds
      → add a line `- 施行日: 2025-10-01` or `- Effective: 2025-10-01`
    "#);
}

#[test]
fn changes_in_words() {
    let open = json!({"requirement": "appi-2025", "action": "ログの監査", "done": false, "effective": "2025-10-01"});
    let mut done = open.clone();
    done["done"] = true.into();
    let mut owned = open.clone();
    owned["owner"] = "sato".into();
    let told = |before, after| told(&ComplianceItem, "appi-2025/medical/1", before, after);
    insta::assert_snapshot!(told(Some(&open), Some(&done)), @r"
    appi-2025: “ログの監査” done
    appi-2025: 「ログの監査」 実施済みに
    ");
    insta::assert_snapshot!(told(Some(&done), Some(&open)), @r"
    appi-2025: “ログの監査” open again
    appi-2025: 「ログの監査」 未実施に戻す
    ");
    insta::assert_snapshot!(told(Some(&open), Some(&owned)), @r"
    appi-2025: “ログの監査” owner — → sato
    appi-2025: 「ログの監査」 担当 — → sato
    ");
    insta::assert_snapshot!(told(None, Some(&open)), @r"
    appi-2025: “ログの監査” added
    appi-2025: 「ログの監査」 追加
    ");
    insta::assert_snapshot!(told(Some(&open), None), @r"
    appi-2025: “ログの監査” removed
    appi-2025: 「ログの監査」 削除
    ");
    let law = json!({"title": "個人情報保護法", "effective": "2025-10-01"});
    let later = json!({"title": "個人情報保護法", "effective": "2026-04-01"});
    let told =
        |before, after| crate::resource::page::tests::told(&Requirement, "appi", before, after);
    insta::assert_snapshot!(told(Some(&law), Some(&later)), @r"
    appi: in force from 2025-10-01 → 2026-04-01
    appi: 施行日 2025-10-01 → 2026-04-01
    ");
    insta::assert_snapshot!(told(None, Some(&law)), @r"
    appi: “個人情報保護法” in force from 2025-10-01
    appi: 「個人情報保護法」 2025-10-01 施行
    ");
    insta::assert_snapshot!(told(Some(&law), None), @r"
    appi: “個人情報保護法” withdrawn
    appi: 「個人情報保護法」 取り下げ
    ");
}

proptest! {
    #[test]
    fn a_tick_does_not_rename_the_item(action in "[\\PC&&[^<>\\\\`*_&!\\[\\]#@:]]{1,40}") {
        let ids = |tick: char| {
            let text = format!("# t\n- 施行日: 2025-10-01\n- [{tick}] medical: x{action}\n");
            let outline = Outline::new(&text);
            let config = crate::resource::page::tests::config();
            items(&outline, &Directory::new(&config)).iter().map(Item::slug).collect::<Vec<_>>()
        };
        prop_assert_eq!(ids(' ').len(), 1);
        prop_assert_eq!(ids(' '), ids('x'));
    }

    #[test]
    fn any_checklist_is_read(lines in prop::collection::vec("(- \\[[ x]\\] |  - \\[ \\] |- |)(medical|医療システム|x|)[:：]?\\PC{0,10}", 0..12)) {
        check(&format!("# t\n{}", lines.join("\n")));
    }
}
