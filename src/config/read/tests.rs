use super::*;
use crate::config::{Ceiling, Consistency, DriftPolicy, FieldMode, Mode, OnFailure, Percent};
use crate::finding::Severity;

const GOOD: &str = r#"
version: 1
timezone: Asia/Tokyo
systems:
  medical:
    title: 医療職員管理システム
    aliases: [医療システム, Medical]
    connector: http
    url: http://127.0.0.1:8801
    credential: medical
    kinds: [FeatureFlag, AccessGrant]
    mode: upsert
    drift: propose
  voicedrive: {connector: file, path: legacy/flags.json, kinds: [FeatureFlag]}
groups:
  hospital: {systems: [medical, voicedrive], consistency: lockstep, on_failure: hold, urgent: [narrowing, Notice]}
people:
  sato: {name: 佐藤, forge: sato-h, roles: [operator], systems: [medical], ids: [user001], signing_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr6KeWeC4gEEYo4Tx8+q43wR+yrLCZKbjPQNpZKPHaA sato}
  ito: {}
documents:
  - {path: "config/rates/*.json", kind: Rate}
safety:
  medical/FeatureFlag: {deletes: {percent: 50}}
  default: {deletes: {percent: 25, count: 5}, updates: {percent: 40.5}, window: 2d, small: 3}
freezes:
  - {name: year-end, from: 2026-12-29T00:00+09:00, until: 2027-01-04, except: [narrowing, Notice]}
"#;

fn kinds() -> Vec<KindName> {
    ["FeatureFlag", "AccessGrant", "Notice", "Rate"]
        .iter()
        .map(|k| k.parse().unwrap())
        .collect()
}

fn percent(percent: f64) -> Percent {
    Percent::new(percent).unwrap()
}

fn check(text: &str) -> (Config, String) {
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let fields_of = |kind: &KindName| {
        let flag: &[&str] = &["enabled", "rollout", "owner"];
        match kind.as_str() {
            "FeatureFlag" => KindFields {
                all: Some(flag),
                required: &["enabled"],
            },
            _ => KindFields::default(),
        }
    };
    let (config, findings) = read_with(&path, text, &kinds(), &fields_of);
    let lines: Vec<String> = findings
        .iter()
        .map(|f| {
            let span = f.location.span.unwrap();
            let under = &text[span.start..span.end];
            let hint = f.hint.as_deref().unwrap_or("-");
            let mark = if f.severity == Severity::Error {
                ""
            } else {
                "~"
            };
            format!(
                "{}:{} {mark}{}: {} ({under}) {hint}",
                span.line, span.column, f.rule, f.message
            )
        })
        .collect();
    (config, lines.join("\n"))
}

#[test]
fn everything_is_read() {
    let (config, findings) = check(GOOD);
    assert_eq!(findings, "");
    assert_eq!(config.timezone, "Asia/Tokyo");
    let medical = &config.systems["medical"];
    assert_eq!(medical.title.as_deref(), Some("医療職員管理システム"));
    assert_eq!(
        (medical.mode, medical.drift),
        (Mode::Upsert, DriftPolicy::Propose)
    );
    assert_eq!(medical.settings["url"], "http://127.0.0.1:8801");
    assert_eq!(medical.settings.len(), 1);
    assert_eq!(medical.credential.as_deref(), Some("medical"));
    let group = &config.groups["hospital"];
    assert_eq!(
        (group.consistency, group.on_failure),
        (Consistency::Lockstep, OnFailure::Hold)
    );
    assert_eq!(group.systems.len(), 2);
    assert_eq!(config.people["sato"].ids, ["user001"]);
    assert_eq!(config.people["ito"].forge, "ito");
    assert_eq!(config.documents.len(), 1);
    let default = Ceiling {
        delete_percent: percent(25.0),
        delete_count: 5,
        update_percent: percent(40.5),
        window_hours: 48,
        small: 3,
    };
    assert_eq!(config.safety.default, default);
    assert_eq!(
        config.safety.overrides["medical/FeatureFlag"],
        Ceiling {
            delete_percent: percent(50.0),
            ..default
        }
    );
    let freeze = &config.freezes[0];
    assert_eq!(freeze.from.to_string(), "2026-12-28T15:00:00Z");
    assert_eq!(freeze.until.to_string(), "2027-01-03T15:00:00Z");
}

#[test]
fn every_fault_is_reported_in_one_pass() {
    let (config, findings) = check(
        r#"
version: 2
timezone: Asia/Tokio
system: {}
systems:
  medical:
    title: Medical
    connector: htpp
    kinds: [FeatureFlg, AccessGrant]
    mode: enforced
    credental: medical
    api_token: abc
    url: https://u:p@example.org/
    nested: {client_secret: x, token_url: y}
  bad name: {connector: http, kinds: []}
  voicedrive: {aliases: [ＭＥＤＩＣＡＬ, 5], kinds: [FeatureFlag]}
  payroll: 7
groups:
  one: {systems: [medical, voicdrive]}
  two: {systems: [medical], consistency: strict, urgent: [narowing], extra: 1}
  voicedrive: {systems: []}
people:
  a: {forge: x, systems: [Medical], signing_key: "-----BEGIN"}
  b: {forge: x, roles: operator}
documents:
  - {path: "config/[", kind: FeatureFlag}
  - {kind: Ratee}
safety:
  default: {deletes: {percent: 120, count: -1}, window: soon, smal: 3}
  medcal: {}
  medical/Nothing: {}
freezes:
  - {name: x, from: 2026-12-29, until: 2026-12-28}
  - {from: yesterday}
"#,
    );
    insta::assert_snapshot!(findings, @r#"
    2:10 config/version: version 2 is not known; this Lockstep reads version 1 (2) write version: 1
    3:11 config/timezone: there is no time zone "Asia/Tokio" (Asia/Tokio) use an IANA name such as Asia/Tokyo
    4:1 document/unknown-field: lockstep.yaml has no field `system` (system) did you mean `systems`?
    8:16 document/unknown-value: `connector` can't be "htpp"; expected one of http, pull, postgres, redis, file, scim, unleash (htpp) did you mean `http`?
    9:13 reference/unknown-kind: there is no kind `FeatureFlg` (FeatureFlg) did you mean `FeatureFlag`?
    10:11 document/unknown-value: `mode` can't be "enforced"; expected one of observe, detect, upsert, enforce (enforced) did you mean `enforce`?
    11:5 ~document/unknown-field: the system `medical` has no field `credental`; it goes to the connector as it stands (credental) did you mean `credential`?
    12:5 config/secret: `api_token` is a secret, and the config repo holds none (api_token) keep it in the server's lockstep.toml and name it here: credential: NAME
    13:5 config/secret: `url` holds a password, and the config repo holds none (url) keep it in the server's lockstep.toml and name it here: credential: NAME
    14:14 config/secret: `client_secret` is a secret, and the config repo holds none (client_secret) keep it in the server's lockstep.toml and name it here: credential: NAME
    15:3 document/bad-name: "bad name" is not a name of ASCII letters, digits, '-', '_' and '.', at most 64 long (bad name) -
    15:3 document/missing-field: the system `bad name` has no `url` (bad name) add url: https://medical.example.org
    16:3 document/missing-field: the system `voicedrive` has no `connector` (voicedrive) add connector: http
    16:26 config/ambiguous-alias: `ＭＥＤＩＣＡＬ` already means the system `medical` (ＭＥＤＩＣＡＬ) a title or alias must name one system
    16:35 document/wrong-type: each item of `aliases` must be a string, not a number (5) -
    17:12 document/wrong-type: the system `payroll` must be an object, not a number (7) -
    19:28 reference/unknown-system: there is no system `voicdrive` (voicdrive) did you mean `voicedrive`?
    20:19 config/two-groups: `medical` is already in the group `one` (medical) a system moves with one group
    20:42 document/unknown-value: `consistency` can't be "strict"; expected one of lockstep, independent (strict) -
    20:59 document/unknown-value: "narowing" is no class of change; expected narrowing or a kind (narowing) did you mean `narrowing`?
    20:70 document/unknown-field: the group `two` has no field `extra` (extra) known: consistency, on_failure, systems, urgent
    21:3 config/group-name: the group `voicedrive` has the name of a system that is not in it (voicedrive) give the group another name
    23:27 reference/unknown-system: there is no system `Medical` (Medical) did you mean `medical`?
    23:50 config/signing-key: not an SSH public key ("-----BEGIN") paste the one line of a .pub file: ssh-ed25519 AAAA…
    24:14 config/duplicate-login: the login `x` is already `a`'s (x) each person has a login of their own
    24:24 document/wrong-type: `roles` must be a list of strings, not a string (operator) write ["operator"]
    26:12 config/glob: not a path pattern: unclosed character class; missing ']' ("config/[") write it like config/*.yaml
    27:5 document/missing-field: an entry of `documents` has no `path` ({) add path: config/rates.json
    27:12 reference/unknown-kind: there is no kind `Ratee` (Ratee) did you mean `Rate`?
    29:32 config/percent: 120 is not a percentage (120) give a number from 0 to 100
    29:44 config/count: `count` can't be negative (-1) -
    29:57 config/window: "soon" is not a length of time (soon) write it in hours or days: 24h, 7d
    29:63 document/unknown-field: the ceiling `default` has no field `smal` (smal) did you mean `small`?
    30:3 reference/unknown-scope: `medcal` is neither a kind, a system nor system/Kind (medcal) did you mean `medical`?
    31:3 reference/unknown-scope: `medical/Nothing` is neither a kind, a system nor system/Kind (medical/Nothing) -
    33:40 config/freeze-order: the freeze "x" ends before it begins (2026-12-28) `until` must be later than `from`
    34:5 document/missing-field: a freeze has no `name` ({) add name: year-end
    34:5 document/missing-field: a freeze has no `until` ({) add until: 2026-12-29T00:00+09:00
    34:12 date/invalid: "yesterday" is not a time (yesterday) write it like 2026-12-29T00:00+09:00
    "#);
    // What could be read is there; secrets are not.
    assert_eq!(config.systems.len(), 2);
    let settings: Vec<&String> = config.systems["medical"].settings.keys().collect();
    assert_eq!(settings, ["credental"]);
    assert_eq!(config.systems["medical"].kinds.len(), 1);
    assert_eq!(config.groups.len(), 3);
    assert_eq!(config.people.len(), 2);
}

#[test]
fn a_broken_file_is_an_empty_config_and_a_finding() {
    for text in ["", "[]", "a: [", "- x"] {
        let (config, findings) = check(text);
        assert!(config.systems.is_empty());
        assert!(!findings.is_empty(), "{text:?}");
    }
}

#[test]
fn a_url_holds_no_secret_of_any_form() {
    let found = |url: &str| {
        let text = format!(
            "version: 1\nsystems:\n  medical: {{connector: http, url: '{url}', kinds: [FeatureFlag]}}\n"
        );
        check(&text).1
    };
    for secret in [
        "https://hunter2@medical.example.jp",
        "http://hunter2:@medical.example.jp",
        "https://sato:hunter2@medical.example.jp",
        "redis://:hunter2@cache.example.jp",
        "postgres://lockstep:hunter2@db.example.jp/settings",
        "https://medical.example.jp/?key=hunter2",
        "https://medical.example.jp/#hunter2",
        "postgres://db.example.jp/settings?password=hunter2",
        "ghp_hunter2",
        "Bearer hunter2",
    ] {
        let found = found(secret);
        assert!(found.contains("config/secret"), "{secret}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    for fine in [
        "https://medical.example.jp",
        "postgres://lockstep@db.example.jp/settings",
        "postgres://lockstep@db.example.jp/settings?sslmode=require",
    ] {
        assert!(!found(fine).contains("config/secret"), "{fine}");
    }
}

#[test]
fn a_credential_is_a_name_and_not_itself() {
    let read = |credential: &str| {
        let text = format!(
            "version: 1\nsystems:\n  medical: {{connector: http, url: 'http://a.example', credential: '{credential}', kinds: [FeatureFlag]}}\n"
        );
        let (config, findings) = check(&text);
        let system = config.systems.into_values().next().unwrap();
        (system.credential, findings)
    };
    let long = format!("hunter2{}", "a".repeat(60));
    for secret in [
        "hunter2 horse",
        "Bearer hunter2",
        "ghp_hunter2",
        "github_pat_hunter2",
        "glpat-hunter2",
        "xoxb-hunter2",
        "AKIAhunter2",
        "hunter2+/=",
        "hunter2秘密",
        &long,
    ] {
        let (credential, findings) = read(secret);
        assert_eq!(credential, None, "{secret}");
        assert!(findings.contains("config/secret"), "{secret}: {findings}");
        assert!(!findings.contains("hunter2"), "{findings}");
    }
    for name in ["medical", "voicedrive-2.write_only"] {
        let (credential, findings) = read(name);
        assert_eq!(credential.as_deref(), Some(name));
        assert!(!findings.contains("config/"), "{findings}");
    }
}

#[test]
fn no_ceiling_can_be_taken_away() {
    let text = |safety: &str| {
        let freezes = GOOD.find("freezes:").unwrap();
        let start = GOOD.find("safety:").unwrap();
        format!("{}safety: {safety}\n{}", &GOOD[..start], &GOOD[freezes..])
    };
    // What is left out is as it is by default.
    for fine in [
        "{}",
        "{default: {}}",
        "{default: {deletes: {}, updates: {}}}",
    ] {
        let (config, findings) = check(&text(fine));
        assert_eq!(findings, "", "{fine}");
        assert_eq!(config.safety, crate::config::Safety::default(), "{fine}");
    }
    let zero = text("{default: {deletes: {percent: 0, count: 0}, updates: {percent: 0}}}");
    assert_eq!(check(&zero).1, "");
    for nothing in [
        "null",
        "[]",
        "off",
        "{default: null}",
        "{default: false}",
        "{default: {deletes: null}}",
        "{default: {deletes: none}}",
        "{default: {deletes: {percent: null}}}",
        "{default: {deletes: {percent: .nan}}}",
        "{default: {deletes: {percent: .inf}}}",
        "{default: {deletes: {percent: -1}}}",
        "{default: {deletes: {percent: -0.1}}}",
        "{default: {deletes: {percent: 100.5}}}",
        "{default: {deletes: {percent: 1e400}}}",
        "{default: {deletes: {percent: 20%}}}",
        "{default: {deletes: {count: null}}}",
        "{default: {deletes: {count: -1}}}",
        "{default: {deletes: {count: 1.5}}}",
        "{default: {deletes: {count: 1e30}}}",
        "{default: {deletes: {count: unlimited}}}",
        "{default: {updates: null}}",
        "{default: {updates: {percent: null}}}",
        "{default: {updates: {percent: .nan}}}",
        "{default: {updates: {percent: -5}}}",
        "{default: {updates: {count: 5}}}",
        "{default: {window: null}}",
        "{default: {window: 0h}}",
        "{default: {window: -24h}}",
        "{default: {window: 24}}",
        "{default: {window: 999999999999999999999h}}",
        "{default: {small: null}}",
        "{default: {small: -1}}",
        "{FeatureFlag: null}",
        "{FeatureFlag: {deletes: {percent: .nan}}}",
        "{medical/FeatureFlag: {updates: {percent: null}}}",
    ] {
        let (config, findings) = check(&text(nothing));
        assert!(
            findings.lines().any(|l| !l.contains(" ~")),
            "{nothing} is no finding"
        );
        // Whatever was meant, a limit is there.
        for ceiling in config
            .safety
            .overrides
            .values()
            .chain([&config.safety.default])
        {
            assert!(ceiling.delete_percent.get() <= 100.0, "{nothing}");
            assert!(ceiling.update_percent.get() <= 100.0, "{nothing}");
            assert!(ceiling.window_hours > 0, "{nothing}");
        }
    }
    for number in [f64::NAN, f64::INFINITY, -0.01, 100.01] {
        assert_eq!(Percent::new(number), None);
    }
}

#[test]
fn a_freeze_excepts_classes_and_roles() {
    let text = GOOD.replace(
        "except: [narrowing, Notice]",
        "except: [narrowing, Notice, role:operator, role:oprator, role:, roles:operator]",
    );
    let (config, findings) = check(&text);
    insta::assert_snapshot!(findings, @r#"
    26:114 ~reference/unknown-role: nobody under `people` has the role "oprator" (role:oprator) did you mean `role:operator`?
    26:128 document/wrong-type: each item of `except` must be a string, not an object (r) -
    26:135 document/unknown-value: "roles:operator" is no class of change; expected narrowing, a role as role:security or a kind (roles:operator) -
    "#);
    let roles: Vec<&str> = config.freezes[0].roles().collect();
    assert_eq!(roles, ["operator", "oprator"]);
    // A role is no class of urgent changes.
    let text = GOOD.replace("urgent: [narrowing, Notice]", "urgent: [role:operator]");
    let findings = check(&text).1;
    assert!(
        findings.ends_with(
            "\"role:operator\" is no class of change; expected narrowing or a kind (role:operator) -"
        ),
        "{findings}"
    );
}

#[test]
fn each_person_signs_with_a_key_of_their_own_that_can_be_verified() {
    let (_, findings) = check(
        r#"version: 1
timezone: Asia/Tokyo
systems: {}
people:
  a: {signing_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr6KeWeC4gEEYo4Tx8+q43wR+yrLCZKbjPQNpZKPHaA a@example.com"}
  b: {signing_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr6KeWeC4gEEYo4Tx8+q43wR+yrLCZKbjPQNpZKPHaA  b"}
  c: {signing_key: "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFPmy9PwMbS4eZ0mfkue/tW+Oqelc5Dd85GSe9m+E9OzXGL87RClhHDEuFGYA0vftM4p0sKm1w2SRdtPwjYsUSU= e"}
  d: {signing_key: "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCmFsqDe8O/hAmDIYKriRCgpJsfIbSRlvcs3Kn3jNXCvynJGyFfe0mn9m7M0SeUIPj4ESn8C4rQYoZltnNPmnuNLzCFOVQVo+ZtHZpr9Z6YCB2Oek3UWkJb1kNYoo/iKwliDYC762xM1o6XUp6Xin2rooy6B4Mr7uqlykxvRY2e8hQA/FgbHhNODwZ34EkObIb0NWOkSM8vCQvToYPPehwkMn6CZsqWAP+oH0PpRzD1+2IpmK/Bm8WfvIKOY/li5wLjBLxpcI+RglJHi+YeKPxj9p4zcIsxl0uAe4wpPeFzhGIIYeUYQHCv837tMZXr90SHAOMSV+QO/lwH/UalhzXD r"}
  e: {signing_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"}
"#,
    );
    // Each line ends with the key, which is long.
    let told: Vec<&str> = findings
        .lines()
        .filter_map(|line| line.split(" (\"ssh-").next())
        .map(str::trim)
        .collect();
    assert_eq!(
        told,
        [
            "6:20 config/duplicate-key: this key is already `a`'s",
            "8:20 config/signing-key: signatures by this sort of key are not verified, so its owner could approve nothing",
            "9:20 config/signing-key: not an SSH public key",
        ]
    );
}

/// What is beyond the limits is found at its line and not read, and what does not exist among so many gets no suggestion.
#[test]
fn systems_groups_and_people_have_a_limit_each() {
    use std::fmt::Write as _;
    let mut text = "version: 1\nsystems:\n".to_owned();
    for n in 0..1_003 {
        let _ = writeln!(
            text,
            "  s{n}: {{connector: http, url: \"http://127.0.0.1:1\", kinds: [Notice]}}"
        );
    }
    text.push_str("groups:\n");
    for n in 0..1_002 {
        let system = if n % 2 == 0 { "nobody" } else { "s" };
        let _ = writeln!(text, "  g{n}: {{systems: [{system}{n}]}}");
    }
    text.push_str("people:\n");
    for n in 0..10_001 {
        let _ = writeln!(text, "  p{n}: {{}}");
    }
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let (config, findings) = read(&path, &text, &kinds());
    assert_eq!((config.systems.len(), config.groups.len()), (1_000, 1_000));
    assert_eq!(config.people.len(), 10_000);
    let too_many: Vec<_> = findings
        .iter()
        .filter(|f| f.rule == "config/too-many")
        .map(|f| {
            (
                f.severity,
                f.location.span.unwrap().line,
                f.message.as_str(),
            )
        })
        .collect();
    let said = |key: &str, has: usize, limit: usize| {
        format!("`{key}` has {has} entries; {limit} are read, and this is the first beyond them")
    };
    assert_eq!(
        too_many,
        [
            (
                Severity::Error,
                1_003,
                said("systems", 1_003, 1_000).as_str()
            ),
            (
                Severity::Error,
                2_007,
                said("groups", 1_002, 1_000).as_str()
            ),
            (
                Severity::Error,
                12_010,
                said("people", 10_001, 10_000).as_str()
            ),
        ]
    );
    assert!(findings.iter().all(|f| {
        f.hint
            .as_deref()
            .is_none_or(|h| !h.contains("did you mean"))
    }));
}

#[test]
fn what_was_meant_is_looked_for_a_hundred_times_at_most() {
    use std::fmt::Write as _;
    let mut text = "version: 1\nsystems:\n  medical: {connector: http, url: \"http://127.0.0.1:1\", kinds: [Notice]}\ngroups:\n".to_owned();
    for n in 0..150 {
        let _ = writeln!(text, "  g{n}: {{systems: [medicl]}}");
    }
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let (_, findings) = read(&path, &text, &kinds());
    let unknown: Vec<_> = findings
        .iter()
        .filter(|f| f.rule == "reference/unknown-system")
        .collect();
    let hint = Some("did you mean `medical`?".to_owned());
    assert_eq!(unknown.len(), 150);
    assert_eq!(unknown.iter().filter(|f| f.hint == hint).count(), 100);
}

#[test]
fn field_modes_are_read_and_slips_in_them_are_said() {
    let config = |fields: &str| {
        format!(
            "version: 1\nsystems:\n  medical: {{connector: http, url: 'http://127.0.0.1:1', kinds: [FeatureFlag, Rate], fields: {fields}}}\n"
        )
    };
    let (read, findings) = check(&config(
        "{FeatureFlag: {rollout: initial, owner: observed, enabled: enforced}, Rate: {any: initial}}",
    ));
    assert_eq!(findings, "");
    let modes = &read.systems.values().next().unwrap().fields;
    let flag = modes.of("FeatureFlag").unwrap();
    assert_eq!(flag.get("rollout"), Some(&FieldMode::Initial));
    assert_eq!(flag.get("owner"), Some(&FieldMode::Observed));
    assert_eq!(flag.get("enabled"), None, "what is enforced needs no mode");
    assert_eq!(modes.of("Rate").unwrap().len(), 1);
    let (read, findings) = check(&config(
        "{FeatureFlag: {rollot: initial, owner: mine, enabled: observed}, Rate: {until: initial}, Notice: {title: initial}, Flag: {}}",
    ));
    insta::assert_snapshot!(findings, @r#"
    3:108 document/unknown-field: FeatureFlag has no field `rollot` that can have a mode; it has enabled, rollout, owner (rollot) did you mean `rollout`?
    3:132 document/unknown-value: `owner` can't be "mine"; expected one of enforced, initial, observed (mine) -
    3:147 config/fields: FeatureFlag can't be made without `enabled`, so it can't be observed alone (observed) use initial
    3:165 document/unknown-field: Rate has no field `until` that can have a mode (until) -
    3:182 config/fields: the system `medical` does not take Notice (Notice) add Notice to its `kinds`, or take this away
    3:208 reference/unknown-kind: there is no kind `Flag` (Flag) known: AccessGrant, FeatureFlag, Notice, Rate
    "#);
    assert!(read.systems.values().all(|system| system.fields.is_empty()));
}
