use insta::assert_snapshot;
use jiff::tz::TimeZone;

use super::*;
use crate::config::{Ceiling, Mode};
use crate::plan::Op;
use crate::view::explain::*;

fn whence(file: &str, line: u32) -> Option<Whence> {
    Some(Whence {
        path: path(file),
        line: Some(line),
    })
}

fn rule(effect: Effect, text: &str, place: Option<Whence>) -> RuleView {
    RuleView {
        effect,
        text: text.to_owned(),
        code: None,
        count: None,
        from: vec![],
        eligible: vec![],
        have: vec![],
        rule: place,
    }
}

fn on(system: &str, mode: Mode, held: &[&str], used: Option<UsedView>) -> SystemView {
    SystemView {
        system: system.parse().unwrap(),
        group: Some("hospital".parse().unwrap()),
        mode,
        defined: whence("lockstep.yaml", 4),
        ceiling: CeilingView {
            under: "AccessGrant".to_owned(),
            place: whence("lockstep.yaml", 20),
            limits: Ceiling::DEFAULT,
            used,
        },
        held: held.iter().map(ToString::to_string).collect(),
    }
}

fn freeze(stops: Option<bool>, on: bool) -> FreezeView {
    FreezeView {
        name: "year-end".to_owned(),
        from: "2026-12-28T15:00:00Z".parse().unwrap(),
        until: "2027-01-03T15:00:00Z".parse().unwrap(),
        on,
        except: vec!["narrowing".to_owned(), "role:security".to_owned()],
        stops,
        place: whence("lockstep.yaml", 31),
    }
}

fn sample(language: Language) -> ExplainView {
    let used = UsedView {
        rows: 9,
        deletes: 1,
        delete_limit: 2,
        updates: 0,
        update_limit: 3,
        past_known: true,
    };
    let mut asks = rule(
        Effect::Asks,
        "it grants admin",
        whence("policies/admin_grant.rego", 9),
    );
    asks.count = Some(1);
    asks.from = vec!["security".to_owned()];
    asks.eligible = vec!["mori".to_owned(), "abe".to_owned()];
    ExplainView {
        language,
        timezone: TimeZone::fixed(jiff::tz::offset(9)),
        judged_by: Some("ba5e".repeat(10).parse().unwrap()),
        proposed: true,
        document: Some(DocumentView {
            path: path("config/access-control.json"),
            kinds: vec!["AccessGrant".parse().unwrap(), "IpBlock".parse().unwrap()],
            pattern: Some("config/access-control.{json,yaml,yml}".to_owned()),
            mapped: false,
            rules: vec![],
            policy: None,
            settings: vec![],
        }),
        resources: vec![ResourceView {
            id: "AccessGrant/admin/user001".parse().unwrap(),
            declared: whence("config/access-control.json", 3),
            pattern: Some("config/access-control.{json,yaml,yml}".to_owned()),
            changes: vec![ChangeLine {
                op: Op::Create,
                sentence: "user001: admin\u{202e}".to_owned(),
                direction: Direction::Widening,
                systems: vec!["medical".parse().unwrap(), "voicedrive".parse().unwrap()],
            }],
            owner: Some("sato".to_owned()),
            people: vec!["sato".to_owned()],
            rules: vec![
                rule(
                    Effect::Denies,
                    "not during the freeze",
                    whence("policies/freeze.rego", 9),
                ),
                rule(Effect::Warns, "nobody could approve", None),
                asks,
                rule(
                    Effect::Recuses,
                    "sato gains",
                    whence("policies/authorship.rego", 33),
                ),
            ],
            policies: vec![],
            systems: vec![
                on(
                    "medical",
                    Mode::Enforce,
                    &["medical: deletes 9 of 9 AccessGrant"],
                    Some(used),
                ),
                on(
                    "voicedrive",
                    Mode::Observe,
                    &[],
                    Some(UsedView {
                        rows: 1,
                        past_known: false,
                        ..used
                    }),
                ),
            ],
            freezes: vec![freeze(Some(true), true)],
        }],
        more: 2,
    }
}

/// Without a proposal there are no changes, and policies are told by their titles.
fn at_rest(language: Language) -> ExplainView {
    let mut view = sample(language);
    view.judged_by = None;
    view.proposed = false;
    view.document = None;
    view.more = 0;
    let resource = &mut view.resources[0];
    resource.changes.clear();
    resource.rules.clear();
    resource.policies = vec![PolicyView {
        path: path("policies/freeze.rego"),
        title: Some("Nothing widening during a freeze".to_owned()),
        owner: Some("operations".to_owned()),
    }];
    resource.systems.truncate(1);
    resource.systems[0].held.clear();
    resource.systems[0].ceiling.place = None;
    resource.freezes = vec![freeze(None, false)];
    view
}

#[test]
fn english() {
    assert_snapshot!(plain(&text::explain(&sample(Language::English))), @r#"
    Judged by the rules at ba5eba5eba.
    config/access-control.json: read as AccessGrant, IpBlock · config/access-control.{json,yaml,yml}

    AccessGrant/admin/user001  config/access-control.json:3
    + user001: admin\u{202e} on medical, voicedrive · widening
      read as: AccessGrant · config/access-control.{json,yaml,yml}
      owner: sato
      people of its systems: sato
      Policies say
        ✗ not during the freeze  policies/freeze.rego:9
        ! nobody could approve
        … 0 of 1 approvals by security: it grants admin  policies/admin_grant.rego:9
          may approve: mori, abe
        - sato gains  policies/authorship.rego:33
      Systems
        medical · enforce · group hospital  lockstep.yaml:4
          ceiling AccessGrant: deletes 20 % and 10, updates 30 %, within 24 h; below 10 rows a delete that does not narrow is asked about  lockstep.yaml:20
          used of 9 rows: 1 of 2 deletes, 0 of 3 updates
          held: medical: deletes 9 of 9 AccessGrant
        voicedrive · observe · group hospital  lockstep.yaml:4
          ceiling AccessGrant: deletes 20 % and 10, updates 30 %, within 24 h; below 10 rows a delete that does not narrow is asked about  lockstep.yaml:20
          used of 1 row: 1 of 2 deletes, 0 of 3 updates
          what was changed before is not known here
      Freezes
        year-end · on now · 2026-12-29 00:00 +09 – 2027-01-04 00:00 +09  lockstep.yaml:31
          stops this change · except narrowing, role:security

    … and 2 more
    "#);
}

#[test]
fn japanese() {
    assert_snapshot!(plain(&text::explain(&sample(Language::Japanese))), @r#"
    ba5eba5eba のルールで判定します。
    config/access-control.json：AccessGrant, IpBlock として読みます · config/access-control.{json,yaml,yml}

    AccessGrant/admin/user001  config/access-control.json:3
    + user001: admin\u{202e}（medical, voicedrive）· 拡大
      種別：AccessGrant · config/access-control.{json,yaml,yml}
      責任者：sato
      システムの担当者：sato
      ポリシーの判定
        ✗ not during the freeze  policies/freeze.rego:9
        ! nobody could approve
        … security の承認 1 件のうち 0 件：it grants admin  policies/admin_grant.rego:9
          承認できる人: mori, abe
        - sato gains  policies/authorship.rego:33
      システム
        medical · 適用 · グループ hospital  lockstep.yaml:4
          上限 AccessGrant: 24 時間以内に削除 20 % かつ 10 件、更新 30 % まで。10 件未満では、狭める削除以外は確認を求めます  lockstep.yaml:20
          9 件のうち使用済み: 削除 1/2、更新 0/3
          保留：medical: deletes 9 of 9 AccessGrant
        voicedrive · 観察のみ · グループ hospital  lockstep.yaml:4
          上限 AccessGrant: 24 時間以内に削除 20 % かつ 10 件、更新 30 % まで。10 件未満では、狭める削除以外は確認を求めます  lockstep.yaml:20
          1 件のうち使用済み: 削除 1/2、更新 0/3
          これまでの変更はここでは分かりません
      凍結期間
        year-end · 適用中 · 2026-12-29 00:00 +09 – 2027-01-04 00:00 +09  lockstep.yaml:31
          この変更を止めます · 例外 narrowing, role:security

    … ほか 2 件
    "#);
}

#[test]
fn at_rest_english() {
    assert_snapshot!(plain(&text::explain(&at_rest(Language::English))), @"
    Judged by the rules as they lie in the work tree.

    AccessGrant/admin/user001  config/access-control.json:3
      read as: AccessGrant · config/access-control.{json,yaml,yml}
      owner: sato
      people of its systems: sato
      Policies that may speak of it
        Nothing widening during a freeze  policies/freeze.rego
      Systems
        medical · enforce · group hospital  lockstep.yaml:4
          ceiling AccessGrant: deletes 20 % and 10, updates 30 %, within 24 h; below 10 rows a delete that does not narrow is asked about
          used of 9 rows: 1 of 2 deletes, 0 of 3 updates
      Freezes
        year-end · next · 2026-12-29 00:00 +09 – 2027-01-04 00:00 +09  lockstep.yaml:31
          stops what widens · except narrowing, role:security
    ");
}

#[test]
fn at_rest_japanese() {
    assert_snapshot!(plain(&text::explain(&at_rest(Language::Japanese))), @"
    作業ツリーにあるルールで判定します。

    AccessGrant/admin/user001  config/access-control.json:3
      種別：AccessGrant · config/access-control.{json,yaml,yml}
      責任者：sato
      システムの担当者：sato
      関係しうるポリシー
        Nothing widening during a freeze  policies/freeze.rego
      システム
        medical · 適用 · グループ hospital  lockstep.yaml:4
          上限 AccessGrant: 24 時間以内に削除 20 % かつ 10 件、更新 30 % まで。10 件未満では、狭める削除以外は確認を求めます
          9 件のうち使用済み: 削除 1/2、更新 0/3
      凍結期間
        year-end · 次回 · 2026-12-29 00:00 +09 – 2027-01-04 00:00 +09  lockstep.yaml:31
          広げる変更を止めます · 例外 narrowing, role:security
    ");
}

#[test]
fn what_is_left_out_is_said() {
    let mut view = sample(Language::English);
    view.document = Some(DocumentView {
        path: path("lockstep.yaml"),
        kinds: vec![],
        pattern: None,
        mapped: false,
        rules: vec![rule(
            Effect::Asks,
            "it changes the rules",
            whence("policies/governance.rego", 9),
        )],
        policy: None,
        settings: vec![],
    });
    view.resources[0].changes.clear();
    view.resources[0].rules.clear();
    view.resources[0].systems.clear();
    view.resources[0].freezes = vec![freeze(Some(false), true)];
    let mapped = ResourceView {
        freezes: vec![],
        ..view.resources[0].clone()
    };
    view.resources.push(mapped);
    assert_snapshot!(plain(&text::explain(&view)), @r#"
    Judged by the rules at ba5eba5eba.
    lockstep.yaml: systems, groups, people, ceilings and freezes that judge
      Policies say
        … it changes the rules  policies/governance.rego:9

    AccessGrant/admin/user001  config/access-control.json:3
      read as: AccessGrant · config/access-control.{json,yaml,yml}
      owner: sato
      people of its systems: sato
      The proposal does not change it.
      Systems
      Freezes
        year-end · on now · 2026-12-29 00:00 +09 – 2027-01-04 00:00 +09  lockstep.yaml:31
          lets this change pass · except narrowing, role:security

    AccessGrant/admin/user001  config/access-control.json:3
      read as: AccessGrant · config/access-control.{json,yaml,yml}
      owner: sato
      people of its systems: sato
      The proposal does not change it.
      Systems
      Freezes
        none is on, and none comes

    … and 2 more
    "#);
}

#[test]
fn json_for_programs() {
    let view: Value = serde_json::from_str(&json::explain(&sample(Language::Japanese))).unwrap();
    assert_eq!(view["judged_by"], "ba5e".repeat(10));
    let resource = &view["resources"][0];
    assert_eq!(
        resource["declared"],
        json!({"path": "config/access-control.json", "line": 3})
    );
    assert_eq!(resource["rules"][2]["effect"], "asks");
    assert_eq!(resource["rules"][2]["rule"]["line"], 9);
    let ceiling = &resource["systems"][0]["ceiling"];
    assert_eq!(ceiling["delete_percent"], 20.0);
    assert_eq!(ceiling["used"]["delete_limit"], 2);
    assert_eq!(resource["freezes"][0]["until"], "2027-01-03T15:00:00Z");
    assert_eq!(view["language"], Value::Null);
}
