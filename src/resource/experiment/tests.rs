use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::resource::page::tests::{read, told};

fn check(text: &str) -> String {
    read(&ExperimentForm, "experiments/button-colour.md", text)
}

#[test]
fn shares_in_japanese() {
    insta::assert_snapshot!(check("# 予約ボタンの色\n\n- バリアントA（青いボタン）: CTR 12%\n- バリアントＢ（色：緑）：ＣＴＲ　１５．５％　←　勝者\n\n推奨: 緑にする\n\n二週間続けた。\n"), @r#"
    Experiment/button-colour [medical] line 1
      body: "二週間続けた。"
      recommendation: "緑にする"
      title: "予約ボタンの色"
      variants: [{"label":"青いボタン","metric":"CTR","name":"A","value":12},{"label":"色：緑","metric":"CTR","name":"B","value":15.5,"winner":true}]
    "#);
}

#[test]
fn counts_in_english() {
    insta::assert_snapshot!(check("---\nflag: new_button\nperiod: 2025-08-01/2025-08-14\nsystems: medical\n---\n# Button colour\n\n- Variant A (blue): 120/1,000\n- Variant B (green): conversion 15% (150/1,000) <- winner\n\n## Recommendation\n\nUse green.\n"), @r#"
    Experiment/button-colour [medical] line 6
      flag: "new_button"
      period: "2025-08-01/2025-08-14"
      recommendation: "Use green."
      title: "Button colour"
      variants: [{"label":"blue","name":"A","successes":120,"trials":1000},{"label":"green","metric":"conversion","name":"B","successes":150,"trials":1000,"value":15,"winner":true}]
    "#);
}

#[test]
fn results_in_many_words() {
    insta::assert_snapshot!(check("# 題\n- パターンA: 7日継続率 45%（90/200人）\n- パターンB: 継続率：50％ ⇐ 採用\n- グループC（対照）： CTR12.25% \n"), @r#"
    Experiment/button-colour [medical] line 1
      title: "題"
      variants: [{"metric":"7日継続率","name":"A","successes":90,"trials":200,"value":45},{"metric":"継続率","name":"B","value":50,"winner":true},{"label":"対照","metric":"CTR","name":"C","value":12.25}]
    "#);
}

#[test]
fn every_fault_at_once() {
    insta::assert_snapshot!(check("# 題\n- バリアントA: CTR 12% ← 勝者\n- バリアントB: CTR 120% ← 勝者\n- バリアントB: 3/4\n- バリアントC: まだ\n- バリアントD: 5/4\n- バリアント: 1/2\n- バリアントE: 12\n"), @r#"
    Experiment/button-colour [medical] line 1
      title: "題"
      variants: [{"metric":"CTR","name":"A","value":12,"winner":true},{"metric":"CTR","name":"B","value":120,"winner":true},{"metric":"まだ","name":"C"},{"name":"D","successes":5,"trials":4},{"metric":"12","name":"E"}]
    error experiment/bad-result 3:3 "バリアントB: CTR 120% ← 勝者"
      120% is more than all
      → write a share such as `CTR 12%`, or successes of trials such as `120/1000`; mark the winner with `← 勝者` or `← winner`
    error experiment/two-winners 3:20 "← 勝者"
      `B` is marked as the winner, and `A` is too
      → leave one mark `← 勝者` or `← winner`, or none
    error experiment/duplicate-variant 4:8 "B"
      there is a variant `B` already
    error experiment/bad-result 5:3 "バリアントC: まだ"
      `まだ` holds neither a share nor a count
      → write a share such as `CTR 12%`, or successes of trials such as `120/1000`; mark the winner with `← 勝者` or `← winner`
    error experiment/bad-result 6:3 "バリアントD: 5/4"
      there can't be 5 successes of 4 trials
      → write a share such as `CTR 12%`, or successes of trials such as `120/1000`; mark the winner with `← 勝者` or `← winner`
    error experiment/no-name 7:3 "バリアント: 1/2"
      the variant has no name
      → write `- バリアントA（名前）: CTR 12%` or `- Variant A (label): 120/1000`
    error experiment/bad-result 8:3 "バリアントE: 12"
      `12` holds neither a share nor a count
      → write a share such as `CTR 12%`, or successes of trials such as `120/1000`; mark the winner with `← 勝者` or `← winner`
    "#);
    insta::assert_snapshot!(check("本文\n"), @r#"
    Experiment/button-colour [medical] line 1
      body: "本文"
      variants: []
    error markdown/no-heading 1:1 "本文"
      the document has no heading
      → begin with a line `# <title>`
    error experiment/no-variants 1:1 "本文"
      an experiment compares at least two variants; there are 0
      → add a line for each: `- バリアントA（名前）: CTR 12%` or `- Variant A (label): 120/1000`
    "#);
    insta::assert_snapshot!(check("---\nsystems: voicedrive\nflags: x\n---\n# 題\n- Variant A: 1/2\n- Variant B: 1/3 ← loser\n"), @r#"
    Experiment/button-colour [] line 5
      title: "題"
      variants: [{"name":"A","successes":1,"trials":2},{"name":"B","successes":1,"trials":3}]
    error reference/kind-not-taken 2:10 "voicedrive"
      the system voicedrive does not take Experiment
      → add Experiment to its `kinds:` in lockstep.yaml, or name another system
    error document/unknown-field 3:1 "flags"
      `flags` is no field of this document
      → did you mean `flag`?
    error experiment/bad-result 7:3 "Variant B: 1/3 ← loser"
      `← loser` is no mark that is known here
      → write a share such as `CTR 12%`, or successes of trials such as `120/1000`; mark the winner with `← 勝者` or `← winner`
    "#);
}

#[test]
fn changes_in_words() {
    let old = json!({"title": "色", "variants": [{"name": "A"}, {"name": "B", "winner": true}]});
    let mut new = old.clone();
    new["recommendation"] = "緑".into();
    new["variants"] = json!([{"name": "A", "winner": true}]);
    let told = |before, after| told(&Experiment, "button-colour", before, after);
    insta::assert_snapshot!(told(None, Some(&old)), @r"
    button-colour: “色” published, winner B
    button-colour: 「色」を公開、勝者 B
    ");
    insta::assert_snapshot!(told(Some(&old), Some(&new)), @r"
    button-colour: “色” results rewritten, recommendation — → 緑
    button-colour: 「色」 結果を改訂、推奨 — → 緑
    ");
    insta::assert_snapshot!(told(Some(&old), None), @r"
    button-colour: “色” removed from the record
    button-colour: 「色」 記録から削除
    ");
}

proptest! {
    #[test]
    fn any_experiment_is_read(lines in prop::collection::vec("(- )?(バリアント|Variant |Ｖariant)?[AＡ]?(（\\PC{0,4}）)?[:：]?\\PC{0,12}(%|/|←|<- winner)?", 0..6)) {
        check(&format!("# t\n{}", lines.join("\n")));
    }
}
