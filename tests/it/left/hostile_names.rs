//! Names and texts that are not what they look like: characters that can't be seen, and names that look like others.

use super::hostile::{config, found, found_with};
use super::*;

#[test]
fn what_can_not_be_seen_is_named_by_its_code_point() {
    let folder = config();
    folder
        .write(
            "config/feature-flags.json",
            "{\n  \"beta\u{200b}\": {\"enabled\": true, \"description\": \"for\u{202e}lla\", \"owner\": \"sato\"},\n  \"b\": {\"enabled\": true, \"description\": \"a\\u0000b\", \"owner\": \"sa\u{2066}to\"}\n}\n",
        )
        .write("config/access-control.json", "{\"admin_users\": [\"user\u{ad}001\"]}")
        .write("alerts/a.md", "# 停\u{2067}電\n\n影響: \u{200b}全員\n対応: x\0\n")
        .write("lockstep.yaml", CONFIG.replace("forge: mori-r", "forge: \"mori\\u200b\""))
        .write("policies/own.rego", "package lockstep\n\ndeny contains \"a\u{202e}b\" if input.x\n");
    insta::assert_snapshot!(found(&folder).join("\n"), @r"
    error text/reordered alerts/a.md:1:4
    warning text/invisible alerts/a.md:3:5
    error text/control alerts/a.md:4:6
    error text/hidden-in-name config/access-control.json:1:23
    error text/hidden-in-name config/feature-flags.json:2:8
    error text/reordered config/feature-flags.json:2:49
    error text/control config/feature-flags.json:3:41
    error text/hidden-in-name config/feature-flags.json:3:65
    error text/hidden-in-name lockstep.yaml:12:26
    error text/reordered policies/own.rego:3:17
    ");
    let ran = folder.run(&["check"]).code(1);
    for told in [
        "U+202E (a right-to-left override)",
        "U+200B (a zero width space)",
        "U+0000 (a NUL)",
        "take U+2066 out",
    ] {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
    let shown = |c: char| {
        matches!(
            c,
            '\u{ad}' | '\u{200b}' | '\u{202e}' | '\u{2066}' | '\u{2067}' | '\0'
        )
    };
    assert!(!ran.out.contains(shown), "{}", ran.out);
    // A text with nothing but what can be seen, and what its script needs, passes.
    let fine = config();
    fine.write(
        "alerts/a.md",
        "# ⚠️ 停電（葛\u{e0100}城棟）\n\n影響: 全員\n",
    );
    assert_eq!(found(&fine), [""; 0]);
}

#[test]
fn names_that_look_alike_are_told_apart_from_nothing() {
    let folder = config();
    let flag = |name: &str| {
        format!(
            "\"{name}\": {{\"enabled\": true, \"owner\": \"sato\", \"expires\": \"2099-12-31\"}}"
        )
    };
    let names = ["ai", "ａｉ", "AI", "ガ", "ｶﾞ"].map(flag);
    let people = "  Sato: {forge: other}\n  ito: {forge: SATO}\n  kato: {forge: mori}\n";
    let config = CONFIG.replace(
        "groups:",
        "  Medical: {connector: http, kinds: [Notice], url: 'http://127.0.0.1:3'}\ngroups:",
    );
    folder
        .write(
            "config/feature-flags.json",
            format!("{{{}}}", names.join(",\n ")),
        )
        .write("lockstep.yaml", format!("{config}{people}"))
        .write("alerts/a.md", "# a\n\n影響: x\n")
        .write("alerts/A.md", "# a\n\n影響: x\n")
        .write("alerts/ａ.md", "# a\n\n影響: x\n");
    insta::assert_snapshot!(found(&folder).join("\n"), @r"
    warning tree/look-alike alerts/A.md
    warning resource/look-alike alerts/A.md:1:3
    error tree/look-alike alerts/ａ.md
    error resource/look-alike alerts/ａ.md:1:3
    error resource/look-alike config/feature-flags.json:2:2
    warning resource/look-alike config/feature-flags.json:3:2
    error resource/look-alike config/feature-flags.json:5:2
    error config/look-alike lockstep.yaml:6:3
    error config/look-alike lockstep.yaml:14:3
    error config/duplicate-login lockstep.yaml:15:16
    error config/duplicate-login lockstep.yaml:16:17
    ");
}

/// The same names, met one after the other by a base and its proposal.
#[test]
fn names_that_come_to_look_alike_are_seen_in_a_proposal() {
    let folder = config();
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "begin"]);
    git(folder.path(), &["checkout", "-qb", "change"]);
    let more = "  \"ＡＩ_assistant\": {\"enabled\": true, \"owner\": \"sato\", \"expires\": \"2099-12-31\"},\n}\n";
    let flags = FLAGS.trim_end().trim_end_matches('}').to_owned() + more;
    folder.write("config/feature-flags.json", flags);
    git(folder.path(), &["commit", "-qam", "look"]);
    let pair = ["--base", "main", "--head", "change"];
    let found = found_with(&folder, &pair);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("error resource/look-alike config/feature-flags.json:10:3"),
        "{found:?}"
    );
    folder
        .run(&["plan", "--base", "main", "--head", "change"])
        .code(1);
}

#[test]
fn one_resource_in_two_files_is_an_error_that_names_both() {
    let folder = config();
    folder
        .write(
            "config/feature-flags.yaml",
            "ai_assistant: {enabled: false}\n",
        )
        .write(
            "config/feature-flags.yml",
            "ai_assistant: {enabled: false}\n",
        );
    let ran = folder.run(&["check", "--format", "json"]).code(1).json();
    let messages: Vec<&str> = ran["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|f| f["rule"] == "resource/duplicate")
        .filter_map(|f| f["message"].as_str())
        .collect();
    assert_eq!(
        messages,
        ["FeatureFlag/ai_assistant is declared in config/feature-flags.json already"; 2]
    );
}
