use insta::assert_snapshot;

use super::*;

#[test]
fn english() {
    let view = PlanView::new(&sample_plan(), &kinds(), Language::English);
    assert_snapshot!(plain(&text::plan(&view)), @r#"
    Plan 5709d4c45e70 · revision c0ffeec0ff

    - old_banner: removed on medical · narrowing
    + beta: on at 0% on medical, voicedrive
    ~ ai_assistant: rollout 10% → 25% on medical, voicedrive · widening
    ~ Retired/thing: changed on medical

    FeatureFlag/old_banner  config/feature-flags.json:3
      @@ -1,3 +0,0 @@
      -{
      -  "rollout": 100
      -}

    FeatureFlag/beta
      @@ -0,0 +1,4 @@
      +{
      +  "owner": "佐藤",
      +  "rollout": 0
      +}

    FeatureFlag/ai_assistant  config/feature-flags.json:12
      @@ -1,4 +1,4 @@
       {
         "enabled": true,
      -  "rollout": 10
      +  "rollout": 25
       }

    Retired/thing
      @@ -1 +1 @@
      -1
      +2

    medical     1 to delete, 1 to create, 2 to update
    payroll     0 to delete, 0 to create, 0 to update
    voicedrive  0 to delete, 1 to create, 1 to update
    total       1 to delete, 2 to create, 3 to update
    "#);
}

#[test]
fn japanese() {
    let view = PlanView::new(&sample_plan(), &kinds(), Language::Japanese);
    assert_snapshot!(plain(&text::plan(&view)), @r#"
    計画 5709d4c45e70 · リビジョン c0ffeec0ff

    - old_banner: 廃止（medical）· 縮小
    + beta: 新規 0%（medical, voicedrive）
    ~ ai_assistant: ロールアウト 10% → 25%（medical, voicedrive）· 拡大
    ~ Retired/thing: 変更（medical）

    FeatureFlag/old_banner  config/feature-flags.json:3
      @@ -1,3 +0,0 @@
      -{
      -  "rollout": 100
      -}

    FeatureFlag/beta
      @@ -0,0 +1,4 @@
      +{
      +  "owner": "佐藤",
      +  "rollout": 0
      +}

    FeatureFlag/ai_assistant  config/feature-flags.json:12
      @@ -1,4 +1,4 @@
       {
         "enabled": true,
      -  "rollout": 10
      +  "rollout": 25
       }

    Retired/thing
      @@ -1 +1 @@
      -1
      +2

    medical     削除 1 件、追加 1 件、変更 2 件
    payroll     削除 0 件、追加 0 件、変更 0 件
    voicedrive  削除 0 件、追加 1 件、変更 1 件
    合計        削除 1 件、追加 2 件、変更 3 件
    "#);
}

#[test]
fn nothing_to_do() {
    let view = PlanView::new(&plan_of(&[("medical", &[])]), &kinds(), Language::English);
    assert_snapshot!(plain(&text::plan(&view)), @r#"
    Plan e3b0c44298fc · revision c0ffeec0ff
    No changes: already in step.
    "#);
}

#[test]
fn json_has_the_documented_fields() {
    assert_snapshot!(json::plan(&sample_plan(), &[]), @r#"
    {
      "digest": "5709d4c45e702c531b1672d23e75f6e1c384fc7531ab5beb885850905b255646",
      "revision": "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff",
      "systems": {
        "medical": {
          "creates": 1,
          "updates": 2,
          "deletes": 1,
          "changes": [
            {
              "op": "delete",
              "kind": "FeatureFlag",
              "name": "old_banner",
              "direction": "narrowing",
              "before": {"rollout":100},
              "after": null,
              "path": "config/feature-flags.json",
              "line": 3
            },
            {
              "op": "update",
              "kind": "FeatureFlag",
              "name": "ai_assistant",
              "direction": "widening",
              "before": {"enabled":true,"rollout":10},
              "after": {"enabled":true,"rollout":25},
              "path": "config/feature-flags.json",
              "line": 12
            },
            {
              "op": "create",
              "kind": "FeatureFlag",
              "name": "beta",
              "direction": "neutral",
              "before": null,
              "after": {"owner":"佐藤","rollout":0},
              "path": null,
              "line": null
            },
            {
              "op": "update",
              "kind": "Retired",
              "name": "thing",
              "direction": "neutral",
              "before": 1,
              "after": 2,
              "path": null,
              "line": null
            }
          ]
        },
        "payroll": {
          "creates": 0,
          "updates": 0,
          "deletes": 0,
          "changes": []
        },
        "voicedrive": {
          "creates": 1,
          "updates": 1,
          "deletes": 0,
          "changes": [
            {
              "op": "update",
              "kind": "FeatureFlag",
              "name": "ai_assistant",
              "direction": "widening",
              "before": {"enabled":true,"rollout":10},
              "after": {"enabled":true,"rollout":25},
              "path": "config/feature-flags.json",
              "line": 12
            },
            {
              "op": "create",
              "kind": "FeatureFlag",
              "name": "beta",
              "direction": "neutral",
              "before": null,
              "after": {"owner":"佐藤","rollout":0},
              "path": null,
              "line": null
            }
          ]
        }
      }
    }
    "#);
}

#[test]
fn a_long_plan_keeps_every_line_and_says_what_it_left_out() {
    let changes: Vec<Change> = (0..250)
        .map(|n| {
            change(
                &format!("FeatureFlag/f{n:03}"),
                None,
                Some(json!({"rollout": n})),
                None,
            )
        })
        .collect();
    let view = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::English,
    );
    let out = plain(&text::plan(&view));
    assert_eq!(out.lines().filter(|l| l.starts_with("+ f")).count(), 250);
    assert_eq!(
        out.lines()
            .filter(|l| l.starts_with("FeatureFlag/f"))
            .count(),
        100
    );
    assert!(
        out.contains("… the differences of 150 more changes are left out"),
        "{out}"
    );
}

#[test]
fn hostile_names_and_values_stay_on_their_line() {
    let spec = json!({"rollout": 1, "note": "\u{1b}[2J\u{202e}evil\nsecond"});
    let changes = [change("FeatureFlag/a\u{202e}b", None, Some(spec), None)];
    let view = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::English,
    );
    let seen = anstream::adapter::strip_str(&text::plan(&view)).to_string();
    assert!(
        !seen.chars().any(|c| c != '\n' && printable::is_unsafe(c)),
        "{seen:?}"
    );
    assert!(seen.contains("a\\u{202e}b: on at 1%"), "{seen}");
}

#[test]
fn an_enormous_spec_is_not_compared() {
    let changes = [change(
        "FeatureFlag/a",
        None,
        Some(json!({"rollout": 1, "x": "y".repeat(100_000)})),
        None,
    )];
    let view = PlanView::new(
        &plan_of(&[("medical", &changes)]),
        &kinds(),
        Language::English,
    );
    assert!(text::plan(&view).contains("too large to show"));
}
