use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Config;
use crate::finding::Severity;
use crate::ids::DocPath;

fn config() -> Config {
    let text = "
version: 1
systems:
  medical: {connector: http, url: 'http://a.example', kinds: [AccessGrant, IpBlock]}
  voicedrive: {connector: http, url: 'http://a.example', kinds: [AccessGrant]}
  edge: {connector: http, url: 'http://a.example', kinds: [IpBlock]}
  payroll: {connector: http, url: 'http://a.example', kinds: []}
";
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let kinds = [GRANT, BLOCK].map(|k| k.parse().unwrap());
    let (config, findings) = crate::config::read::read(&path, text, &kinds);
    assert_eq!(findings, []);
    config
}

fn check(text: &str) -> String {
    let config = config();
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = "config/access-control.json".parse().unwrap();
    let reading = AccessForm.read(Source { path: &path, text }, context);
    let mut lines = Vec::new();
    for declared in &reading.resources {
        let systems: Vec<&str> = declared.systems.iter().map(|s| s.as_str()).collect();
        lines.push(format!(
            "{} -> {} {:?}",
            declared.id,
            systems.join("+"),
            declared.spec
        ));
    }
    for f in &reading.findings {
        let span = f.location.span.unwrap();
        let under = &text[span.start..span.end];
        let hint = f.hint.as_deref().unwrap_or("-");
        let mark = if f.severity == Severity::Error {
            ""
        } else {
            "~"
        };
        lines.push(format!(
            "{}:{} {mark}{}: {} ({under}) {hint}",
            span.line, span.column, f.rule, f.message
        ));
    }
    lines.join("\n")
}

#[test]
fn both_forms_of_an_entry_are_read() {
    insta::assert_snapshot!(check(r#"アクセス制御
{
  "admin_users": ["user001", {"id": "user002", "until": "2026-03-31", "reason": "locum"}],
  "readonly_users": [{"id": "user003", "systems": ["voicedrive"]}],
  "blocked_ips": ["192.168.1.100", "10.0.0.0/8", "::ffff:172.16.0.0/108", "2001:db8::1", {"cidr": "203.0.113.7", "until": "2026-03-31T18:00+09:00", "systems": ["edge"]}],
}"#), @r##"
    AccessGrant/admin/user001 -> medical+voicedrive {"id":"user001","role":"admin"}
    AccessGrant/admin/user002 -> medical+voicedrive {"id":"user002","reason":"locum","role":"admin","until":"2026-03-31"}
    AccessGrant/readonly/user003 -> voicedrive {"id":"user003","role":"readonly"}
    IpBlock/192.168.1.100/32 -> edge+medical {"cidr":"192.168.1.100/32"}
    IpBlock/10.0.0.0/8 -> edge+medical {"cidr":"10.0.0.0/8"}
    IpBlock/172.16.0.0/12 -> edge+medical {"cidr":"172.16.0.0/12"}
    IpBlock/2001:db8::1/128 -> edge+medical {"cidr":"2001:db8::1/128"}
    IpBlock/203.0.113.7/32 -> edge {"cidr":"203.0.113.7/32","until":"2026-03-31T18:00+09:00"}
    "##);
}

#[test]
fn systems_at_the_top_hold_for_all_that_say_nothing() {
    insta::assert_snapshot!(check(r#"{
  "systems": ["medical", "voicedrive", "payroll", "medcal"],
  "admin_users": ["a", {"id": "b", "systems": ["medical"]}],
  "blocked_ips": ["192.0.2.1"]
}"#), @r##"
    AccessGrant/admin/a -> medical+voicedrive {"id":"a","role":"admin"}
    AccessGrant/admin/b -> medical {"id":"b","role":"admin"}
    IpBlock/192.0.2.1/32 -> medical {"cidr":"192.0.2.1/32"}
    2:40 reference/kind-not-taken: the system `payroll` does not take AccessGrant ("payroll") add AccessGrant to its `kinds` in lockstep.yaml, or leave it out here
    2:51 reference/unknown-system: there is no system `medcal` ("medcal") did you mean `medical`?
    "##);
    insta::assert_snapshot!(check(r#"{"systems": ["voicedrive"], "blocked_ips": ["192.0.2.1"]}"#), @r##"
    IpBlock/192.0.2.1/32 ->  {"cidr":"192.0.2.1/32"}
    1:45 ~reference/no-system: no system takes IpBlock, so this reaches none ("192.0.2.1") add IpBlock to the `kinds` of a system in lockstep.yaml
    "##);
}

#[test]
fn every_fault_is_reported_in_one_pass() {
    insta::assert_snapshot!(check(r#"{
  "admin_users": ["a", "a", "b c", "", 5, {"id": "d", "untill": "2026-01-01", "until": "tomorrow"}, {"reason": "x"}, {"id": "e", "systems": ["edge"]}],
  "readonly_users": ["a"],
  "readonly": [],
  "blocked_ips": ["192.168.1.5/24", "192.168.1.256", "fe80::1%eth0", "192.0.2.1", "::ffff:192.0.2.1/128", {"cidr": 5}, {"id": "192.0.2.3"}, ["x"]],
  "systems": "medical"
}"#), @r##"
    AccessGrant/admin/a -> medical+voicedrive {"id":"a","role":"admin"}
    AccessGrant/admin/d -> medical+voicedrive {"id":"d","role":"admin"}
    AccessGrant/admin/e ->  {"id":"e","role":"admin"}
    AccessGrant/readonly/a -> medical+voicedrive {"id":"a","role":"readonly"}
    IpBlock/192.0.2.1/32 -> edge+medical {"cidr":"192.0.2.1/32"}
    2:24 document/duplicate-resource: `AccessGrant/admin/a` is declared twice ("a") keep one of the two
    2:29 document/bad-name: "b c" is not a resource name: not empty, at most 512 bytes, no white space ("b c") -
    2:36 document/bad-name: "" is not a resource name: not empty, at most 512 bytes, no white space ("") -
    2:40 document/wrong-type: a user must be a string, not a number (5) -
    2:55 document/unknown-field: a user has no field `untill` ("untill") did you mean `until`?
    2:88 date/invalid: "tomorrow" is not a date or a time with its offset ("tomorrow") write it like 2026-03-31 or 2026-03-31T18:00+09:00
    2:101 document/missing-field: a user has no `id` ({) add "id": …
    2:142 reference/kind-not-taken: the system `edge` does not take AccessGrant ("edge") add AccessGrant to its `kinds` in lockstep.yaml, or leave it out here
    3:22 access/two-roles: `a` is in `admin_users` too ("a") a person has one role: keep one of the two
    4:3 document/unknown-field: an access document has no field `readonly` ("readonly") known: $schema, admin_users, blocked_ips, readonly_users, systems
    5:19 access/host-bits: "192.168.1.5/24" is an address inside a network ("192.168.1.5/24") write 192.168.1.5/32 for the one address or 192.168.1.0/24 for all of it
    5:37 access/bad-address: "192.168.1.256" is not an IP address or network ("192.168.1.256") write it like 192.168.1.100, 192.168.1.0/24 or 2001:db8::/32
    5:54 access/bad-address: "fe80::1%eth0" is not an IP address or network ("fe80::1%eth0") write it like 192.168.1.100, 192.168.1.0/24 or 2001:db8::/32
    5:83 document/duplicate-resource: `IpBlock/192.0.2.1/32` is declared twice ("::ffff:192.0.2.1/128") keep one of the two
    5:116 document/wrong-type: `cidr` must be a string, not a number (5) -
    5:120 document/missing-field: a blocked address has no `cidr` ({) add "cidr": …
    5:121 document/unknown-field: a blocked address has no field `id` ("id") known: cidr, from, reason, systems, until
    5:141 document/wrong-type: a blocked address must be a string, not a list ([) -
    6:14 document/wrong-type: `systems` must be a list of strings, not a string ("medical") write ["medical"]
    "##);
    assert!(check("[]").contains("document/wrong-type"));
}

#[test]
fn an_entry_is_found_by_what_names_it() {
    let text = "{\"blocked_ips\": [\"192.0.2.1\"],\n \"admin_users\": [{\"reason\": \"x\", \"id\": \"a\"}]}";
    let config = config();
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = "config/access-control.json".parse().unwrap();
    let source = Source { path: &path, text };
    let at = |id: &str| {
        let span = AccessForm
            .locate(source, context, &id.parse().unwrap())
            .unwrap();
        &text[span.start..span.end]
    };
    assert_eq!(at("AccessGrant/admin/a"), "\"a\"");
    assert_eq!(at("IpBlock/192.0.2.1/32"), "\"192.0.2.1\"");
}

#[test]
fn networks_have_one_form() {
    let canonical = |text: &str| address::network(text).map(|n| n.to_string());
    assert_eq!(
        canonical("192.168.1.100").as_deref(),
        Ok("192.168.1.100/32")
    );
    assert_eq!(canonical("2001:DB8:0::1").as_deref(), Ok("2001:db8::1/128"));
    assert_eq!(canonical("::ffff:1.2.3.4").as_deref(), Ok("1.2.3.4/32"));
    assert_eq!(canonical("0.0.0.0/0").as_deref(), Ok("0.0.0.0/0"));
    assert!(matches!(
        canonical("::ffff:1.2.3.4/120"),
        Err(address::NoNetwork::HostBits { .. })
    ));
    for wrong in [
        "",
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4/33",
        "1.2.3.4/",
        "localhost",
        " 1.2.3.4",
    ] {
        assert_eq!(
            canonical(wrong),
            Err(address::NoNetwork::Unreadable),
            "{wrong}"
        );
    }
}

#[test]
fn changes_are_told_in_two_languages() {
    let plain = json!({"id": "user001", "role": "admin"});
    let ends = json!({"id": "user001", "role": "admin", "until": "2026-03-31", "reason": "locum"});
    let mut lines = Vec::new();
    for language in [Language::English, Language::Japanese] {
        for (before, after) in [
            (None, Some(&ends)),
            (Some(&plain), None),
            (Some(&plain), Some(&ends)),
        ] {
            lines.push(AccessGrant.describe("admin/user001", before, after, language));
            lines.push(IpBlock.describe("192.0.2.1/32", before, after, language));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    user001: admin access granted, until 2026-03-31
    192.0.2.1/32: blocked, until 2026-03-31
    user001: admin access revoked
    192.0.2.1/32: unblocked
    user001: admin access, until none → 2026-03-31, reason none → locum
    192.0.2.1/32: until none → 2026-03-31, reason none → locum
    user001: 管理者権限を付与、期限 2026-03-31
    192.0.2.1/32: ブロック、期限 2026-03-31
    user001: 管理者権限を取消
    192.0.2.1/32: ブロック解除
    user001: 管理者権限、期限 なし → 2026-03-31、理由 なし → locum
    192.0.2.1/32: 期限 なし → 2026-03-31、理由 なし → locum
    "##);
}

#[test]
fn a_grant_widens_and_a_block_narrows() {
    use Direction::{Narrowing, Neutral, Widening};
    let spec = |until: Option<&str>| match until {
        Some(until) => json!({"id": "a", "until": until}),
        None => json!({"id": "a"}),
    };
    let (short, long, forever) = (
        spec(Some("2026-03-31")),
        spec(Some("2026-04-01T00:00Z")),
        spec(None),
    );
    let cases = [
        (None, Some(&short), Widening),
        (Some(&short), Some(&long), Widening),
        (Some(&long), Some(&forever), Widening),
        (Some(&forever), Some(&short), Narrowing),
        (Some(&short), None, Narrowing),
        (Some(&short), Some(&short), Neutral),
    ];
    for (before, after, expected) in cases {
        assert_eq!(AccessGrant.direction(before, after), expected);
        assert_eq!(IpBlock.direction(before, after), expected.reversed());
    }
}

proptest! {
    #[test]
    fn directions_are_antisymmetric(
        before in prop::option::of(prop::option::of("20[0-9]{2}-0[1-9]-1[0-9]")),
        after in prop::option::of(prop::option::of("20[0-9]{2}-0[1-9]-1[0-9]")),
    ) {
        let spec = |until: &Option<Option<String>>| until.as_ref().map(|until| json!({"until": until}));
        let (before, after) = (spec(&before), spec(&after));
        for kind in [&AccessGrant as &dyn Kind, &IpBlock] {
            let forth = kind.direction(before.as_ref(), after.as_ref());
            prop_assert_eq!(forth, kind.direction(after.as_ref(), before.as_ref()).reversed());
        }
    }

    #[test]
    fn a_canonical_network_stays_as_it_is(address in any::<u32>(), prefix in 0..=32_u8) {
        let net = ipnet::Ipv4Net::new(address.into(), prefix).unwrap().trunc();
        let text = address::network(&net.to_string()).unwrap().to_string();
        prop_assert_eq!(&text, &net.to_string());
        let mapped = format!("::ffff:{}/{}", net.addr(), 96 + net.prefix_len());
        prop_assert_eq!(address::network(&mapped).unwrap().to_string(), text);
    }
}
