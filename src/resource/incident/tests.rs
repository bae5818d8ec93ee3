use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::resource::page::tests::{read, told};

fn check(path: &str, text: &str) -> String {
    read(&IncidentForm, path, text)
}

#[test]
fn an_incident_in_both_languages() {
    insta::assert_snapshot!(check("incidents/2025-09-15-db-pool.md", "---\nseverity: high\naffected: [medical, VoiceDrive]\nstatus: monitoring\nteams: [基盤チーム, voicedrive-dev]\ndetected_at: 2025-09-15T22:10\npersonal_data: false\n---\n# 接続プールの枯渇\n\n影響: 面談予約が開けない\n\n22:10 に検知した。\n"), @r#"
    Incident/2025-09-15-db-pool [medical] line 9
      affected: ["medical","voicedrive"]
      body: "22:10 に検知した。"
      detected: "2025-09-15 22:10"
      impact: "面談予約が開けない"
      personal_data: false
      severity: "high"
      status: "monitoring"
      teams: ["基盤チーム","voicedrive-dev"]
      title: "接続プールの枯渇"
    "#);
    insta::assert_snapshot!(check("incidents/2025-09-15-db-pool.md", "# 接続プールの枯渇\n\n重大度： 高\n影響システム：医療システム、ＶｏｉｃｅＤｒｉｖｅ\n状態：復旧済み\n復旧日時：2025年9月15日\n"), @r#"
    Incident/2025-09-15-db-pool [medical] line 1
      affected: ["medical","voicedrive"]
      resolved: "2025-09-15"
      severity: "high"
      status: "resolved"
      title: "接続プールの枯渇"
    "#);
}

#[test]
fn a_postmortem_belongs_to_its_incident() {
    insta::assert_snapshot!(check("incidents/2025-09-15-db-pool-postmortem.md", "# 事後分析\n\n原因: 接続を返していなかった\n影響: 40分\n\n## 対策\n\n- [x] 上限を上げる\n- [ ] 監視を足す\n"), @r#"
    Incident/2025-09-15-db-pool/postmortem [medical] line 1
      actions: [{"action":"上限を上げる","done":true},{"action":"監視を足す","done":false}]
      cause: "接続を返していなかった"
      impact: "40分"
      incident: "2025-09-15-db-pool"
      title: "事後分析"
    "#);
    insta::assert_snapshot!(check("incidents/2025-09-15-db-pool-postmortem.md", "---\naffected: medical\n---\n# Postmortem\nCause: leak\n"), @r#"
    Incident/2025-09-15-db-pool/postmortem [medical] line 4
      cause: "leak"
      incident: "2025-09-15-db-pool"
      title: "Postmortem"
    warning incident/postmortem 4:3 "Postmortem"
      the postmortem is not complete
      → add `影響:` (`Impact:`), `対策:` (`Actions:`)
    "#);
}

#[test]
fn every_fault_at_once() {
    insta::assert_snapshot!(check("incidents/db-pool.md", "---\nseverity: とても\naffected: [medicl]\nstatus: resolvd\nstarted: 9/15\nteam_s: x\n---\n# 題\n"), @r#"
    Incident/db-pool [] line 8
      title: "題"
    error incident/file-name 1:1 ""
      the file name "db-pool" does not begin with the incident's date
      → rename the file: `2025-09-15-db-pool.md`
    error incident/severity 2:11 "とても"
      `とても` is no severity
      → write critical, high, medium, low or info (緊急, 重要, 注意, 軽微, 情報)
    error reference/unknown-system 3:12 "medicl"
      there is no system `medicl`
      → did you mean `medical`?
    error incident/status 4:9 "resolvd"
      `resolvd` is no status
      → write investigating, identified, monitoring or resolved (調査中, 原因特定, 監視中, 解決済み)
    error date/invalid 5:10 "9/15"
      `9/15` is no date
      → write the year first: 2025-10-01, 2025/10/01 or 2025年10月1日
    error document/unknown-field 6:1 "team_s"
      `team_s` is no field of this document
      → did you mean `teams`?
    "#);
    insta::assert_snapshot!(check("incidents/2025-02-30-x.md", "障害です\n"), @r#"
    Incident/2025-02-30-x [medical] line 1
      body: "障害です"
    error markdown/no-heading 1:1 "障害です"
      the document has no heading
      → begin with a line `# <title>`
    error incident/file-name 1:1 ""
      the file name "2025-02-30-x" does not begin with the incident's date
      → rename the file: `2025-09-15-db-pool.md`
    error incident/severity 1:1 "障害です"
      the document does not say its severity
      → write critical, high, medium, low or info (緊急, 重要, 注意, 軽微, 情報)
    error incident/status 1:1 "障害です"
      the document does not say its status
      → write investigating, identified, monitoring or resolved (調査中, 原因特定, 監視中, 解決済み)
    error incident/affected 1:1 "障害です"
      the document does not say which systems are affected
      → add `affected: [medical]` to the front matter
    "#);
}

#[test]
fn changes_in_words() {
    let old = json!({"title": "枯渇", "severity": "high", "status": "investigating", "affected": ["medical"]});
    let mut new = old.clone();
    new["status"] = "resolved".into();
    new["cause"] = "接続を返していなかったため、上限に達した時点で全ての処理が待たされた".into();
    let after = json!({"title": "事後分析", "incident": "2025-09-15-x"});
    let told = |before, after| told(&Incident, "2025-09-15-x", before, after);
    insta::assert_snapshot!(told(None, Some(&old)), @r"
    2025-09-15-x: “枯渇” recorded (high, investigating)
    2025-09-15-x: 「枯渇」を記録（high、investigating）
    ");
    insta::assert_snapshot!(told(Some(&old), Some(&new)), @r"
    2025-09-15-x: “枯渇” status investigating → resolved, cause rewritten
    2025-09-15-x: 「枯渇」 状態 investigating → resolved、原因を改訂
    ");
    insta::assert_snapshot!(told(None, Some(&after)), @r"
    2025-09-15-x: “事後分析” postmortem published
    2025-09-15-x: 「事後分析」 事後分析を公開
    ");
    insta::assert_snapshot!(told(Some(&old), None), @r"
    2025-09-15-x: “枯渇” removed from the record
    2025-09-15-x: 「枯渇」 記録から削除
    ");
}

proptest! {
    #[test]
    fn any_incident_is_read(text in "(---\n(severity|status|x)[:：]\\PC{0,8}\n---\n)?(# )?\\PC{0,20}\n(原因|復旧|対策)?[:：]?\\PC{0,20}", postmortem: bool) {
        check(if postmortem { "incidents/2025-01-01-a-postmortem.md" } else { "incidents/2025-01-01-a.md" }, &text);
    }
}
