//! 日本語。

use super::explain::UsedView;
use super::words::{Counts, ExplainWords, Words};
use crate::config::Ceiling;
use crate::plan::Op;

pub(super) static WORDS: Words = Words {
    error: "エラー",
    warning: "警告",
    note: "参考",
    help: "ヒント",
    found: |counts| {
        let Counts {
            errors,
            warnings,
            notes,
            files,
        } = *counts;
        let parts: Vec<String> = [(errors, "エラー"), (warnings, "警告"), (notes, "参考")]
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{word} {n} 件"))
            .collect();
        format!("{}（{files} ファイル）", parts.join("、"))
    },
    nothing_found: "問題はありません",
    more_in_file: |n, path| format!("… {path} にはほかに {n} 件あります"),
    more_in_files: |n, files| format!("… ほかの {files} ファイルに {n} 件あります"),

    delete: "削除",
    create: "追加",
    update: "変更",
    widening: "拡大",
    narrowing: "縮小",
    on_systems: |sentence, systems, direction| match direction {
        Some(direction) => format!("{sentence}（{systems}）· {direction}"),
        None => format!("{sentence}（{systems}）"),
    },
    describe: |op, name| match op {
        Op::Delete => format!("{name}: 削除"),
        Op::Create => format!("{name}: 追加"),
        Op::Update => format!("{name}: 変更"),
    },
    plan: "計画",
    revision: "リビジョン",
    no_changes: "変更はありません。すでに揃っています。",
    later: "このあと日付により起こること",
    within_a_week: "1週間以内に日付により起こること",
    one_by_one: |systems| {
        format!(
            "{systems} には下準備の仕組みがないため、変更は一度にではなく1件ずつ反映されます。途中で失敗した場合は、控えておいた元の内容に戻します。"
        )
    },
    kept: |system, what| {
        format!(
            "{system} では {what} は今の値のままです。文書の値は変わりましたが、このシステムでは強制しない項目です。"
        )
    },
    total: "合計",
    totals: |deletes, creates, updates| {
        format!("削除 {deletes} 件、追加 {creates} 件、変更 {updates} 件")
    },
    diff_too_large: "大きすぎるため表示しません",
    more_diffs: |n| format!("… ほかの {n} 件の差分は省略しました"),

    gate_ready: "マージできます",
    gate_waiting: "承認待ちです",
    gate_blocked: "マージできません",
    proposed_by: |who| format!("提案者 {who}"),
    denied: "却下の理由",
    warned: "警告",
    still_needed: "まだ必要なもの",
    not_counted: "数えない承認",
    said: "コマンド",
    approvals: |have, count, from| format!("{from} の承認 {count} 件のうち {have} 件"),
    approved_by: |who| format!("承認済み {who}"),
    anyone: "いずれかの確認者",
    findings: "検査の結果",
    this_changes: "この提案による変更",
    differences: "差分",
    already_adrift: "提案の前からのずれ",
    drift_unknown: "分かりません。システムの記録がここにはありません。",
    drift_none: "ありません。最後に確認した時点で、どのシステムも main ブランチのとおりでした。",
    on_merge: "マージすると起きること",
    on_merge_applies: |systems| format!("上の変更が {systems} に反映されます。"),
    on_merge_later: "すぐに反映されるものはありません。すべて日付を待ちます。",
    on_merge_nothing: "ありません。対象のシステムがありません。",
    more_items: |n| format!("… ほか {n} 件"),
    cut: |items, chars, rest| {
        format!(
            "コメントを短く保つため {items} 件（{chars} 文字）を省略しました。すべて見るには: {rest}"
        )
    },

    in_step: "同期済み",
    never_synced: "未同期",
    behind: "遅れ",
    adrift: "ずれあり",
    held: "保留",
    unreachable: "応答なし",
    failed: "失敗",
    system: "システム",
    standing: "状態",
    mode: "モード",
    digest: "ダイジェスト",
    last_change: "最後の変更",
    never: "なし",
    no_systems: "接続されたシステムはまだありません。lockstep.yaml の systems: に追加してください。",
    observe: "観察のみ",
    detect: "検出のみ",
    upsert: "削除なし",
    enforce: "適用",
    group_in_step: |n, all| {
        if n == all {
            "同期済み".to_owned()
        } else {
            format!("{all} 件中 {n} 件が同期済み")
        }
    },
    held_plan: |group, plan| format!("{group} は人の判断を待っています: 計画 {plan}"),
    more_changes: |n| format!("… ほか {n} 件。すべて見るには: lockstep plan --live"),
    released_by: "解放するには:",
    released_by_nobody: "誰にも解放できません。リポジトリを直してください。",
    no_history: "記録はまだありません。",
    more_history: |n| format!("… これより前に {n} 件"),

    explain: ExplainWords {
        judged_by: |revision| format!("{revision} のルールで判定します。"),
        judged_by_work_tree: "作業ツリーにあるルールで判定します。",
        read_default: |kinds, pattern| format!("{kinds} として読みます · {pattern}"),
        read_mapped: |kinds, pattern| format!("{kinds} として読みます · documents: の {pattern}"),
        read_by_none: "リソースを宣言しません",
        policy: "ポリシーです",
        settings: "判定に使うシステム、グループ、人、上限、凍結期間です",
        title: "ルール",
        package: "パッケージ",
        judges_after_merge: "この提案で変わります。新しい内容で判定するのはマージの後です。",
        judges_nothing: "単独では何も判定しません。補助のルールやテストです。",
        its_rules: "判定ルール",
        tests: "テスト",
        change_asks: "変更すると次のように判定されます",
        not_written: "記載なし。Lockstep の既定値です",
        form: "種別",
        owner: "責任者",
        people: "システムの担当者",
        unchanged: "この提案では変わりません。",
        no_rules: "どのポリシーも何も求めていません。",
        rules: "ポリシーの判定",
        policies: "関係しうるポリシー",
        systems: "システム",
        freezes: "凍結期間",
        no_freeze: "現在も今後もありません",
        eligible: |people| format!("承認できる人: {people}"),
        group: |group| format!("グループ {group}"),
        ceiling: |under, limits| {
            let Ceiling {
                delete_percent,
                delete_count,
                update_percent,
                window_hours,
                small,
            } = limits;
            format!(
                "上限 {under}: {window_hours} 時間以内に削除 {} % かつ {delete_count} 件、更新 {} % まで。{small} 件未満では、狭める削除以外は確認を求めます",
                delete_percent.get(),
                update_percent.get()
            )
        },
        used: |used| {
            let UsedView {
                rows,
                deletes,
                delete_limit,
                updates,
                update_limit,
                past_known: _,
            } = used;
            format!(
                "{rows} 件のうち使用済み: 削除 {deletes}/{delete_limit}、更新 {updates}/{update_limit}"
            )
        },
        past_unknown: "これまでの変更はここでは分かりません",
        on_now: "適用中",
        next: "次回",
        stops: "この変更を止めます",
        lets_pass: "この変更は止めません",
        stops_widening: "広げる変更を止めます",
        except: |except| format!("例外 {except}"),
    },

    actions: &[
        ("run.finished", "実行:"),
        ("system.applied", "反映:"),
        ("system.unchanged", "変更なし:"),
        ("system.rolled_back", "巻き戻し:"),
        ("system.incident", "要対応:"),
        ("plan.released", "計画の解放"),
        ("decision.commit", "確定を決定:"),
        ("decision.compensate", "取り消しを決定:"),
        ("release.used", "解放を使用"),
        ("command.taken", "コメントでの指示"),
        ("ledger.upgraded", "以前の行を台帳に記録"),
        ("ledger.restored", "ストアを控えから復元"),
        ("proposal.opened", "提案"),
        ("proposal.reopened", "再提案"),
        ("proposal.head_changed", "提案の更新"),
        ("proposal.closed", "取り下げ"),
        ("proposal.merged", "マージ"),
        ("approval.given", "承認"),
        ("approval.voided", "承認は無効に"),
        ("approval.withdrawn", "承認の取り消し"),
        ("changes.requested", "修正の依頼"),
        ("verdict.given", "判定"),
        ("gate.bypassed", "ゲートを通らずに main に入った変更"),
        ("delivery.sent", "通知の送達"),
        ("delivery.dead", "通知を断念"),
        ("delivery.resent", "通知の再送"),
        ("date.reached", "日付により開始・終了:"),
        ("date.announced", "日付を予告:"),
        ("drift.found", "ずれを検出:"),
        ("rows.quarantined", "反映できない項目を除外:"),
        ("drift.proposed", "現在の値の取り込みを提案:"),
        ("drift.withdrawn", "取り込みの提案を取り下げ:"),
    ],
    succeeded: "成功",
    pending: "待機中",
    refused: "不可",
    broken: "異常",
    comma: "、",
    colon: "：",
};
