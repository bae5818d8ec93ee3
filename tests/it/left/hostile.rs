//! What someone who means harm may put into a config repo. Each is a finding with its place, and none hangs or takes the machine's
//! memory. `hostile_names` has what is hard to see, `hostile_trees` what may be in a git tree, `trees` the rest of what may lie in a folder.

use super::*;

/// What `check` finds, as `severity rule path:line:column`.
pub(super) fn found(folder: &Folder) -> Vec<String> {
    found_with(folder, &[])
}

pub(super) fn found_with(folder: &Folder, more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["check", "--format", "json"];
    arguments.extend(more);
    let ran = folder.run(&arguments);
    assert!(ran.code < 2, "{}", ran.err);
    let json = ran.json();
    let all = json["findings"].as_array().expect("findings");
    all.iter()
        .map(|f| {
            let text = |key: &str| f[key].as_str().unwrap_or_default().to_owned();
            let number = |key: &str| f[key].as_u64().map(|n| format!(":{n}")).unwrap_or_default();
            let place = format!("{}{}", number("line"), number("column"));
            format!(
                "{} {} {}{place}",
                text("severity"),
                text("rule"),
                text("path")
            )
        })
        .collect()
}

pub(super) fn config() -> Folder {
    let folder = Folder::new();
    write_config(folder.path());
    folder
}

/// One file besides good ones, and what is found.
fn found_in(name: &str, content: impl AsRef<[u8]>) -> Vec<String> {
    let folder = config();
    if name.starts_with("config/feature-flags.") {
        std::fs::remove_file(folder.join("config/feature-flags.json")).expect("removed");
    }
    folder.write(name, content);
    found(&folder)
}

/// A hundred thousand levels, however they are written.
#[test]
fn whatever_nests_a_hundred_thousand_deep_is_told_so_where_it_does() {
    const DEEP: usize = 100_000;
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    let cases = [
        (
            "config/feature-flags.json",
            format!("{{\"a\": {open}{close}}}"),
            "json/nesting",
        ),
        ("config/feature-flags.json", open.clone(), "json/nesting"),
        (
            "config/feature-flags.json",
            "{\"a\":".repeat(DEEP),
            "json/nesting",
        ),
        (
            "config/feature-flags.yaml",
            format!("a: {open}{close}"),
            "yaml/nesting",
        ),
        (
            "config/feature-flags.yaml",
            format!("{}a\n", "- ".repeat(DEEP)),
            "yaml/nesting",
        ),
        (
            "config/feature-flags.yaml",
            "{a: ".repeat(DEEP),
            "yaml/nesting",
        ),
        (
            "lockstep.yaml",
            format!("version: {open}{close}"),
            "yaml/nesting",
        ),
        (
            "kinds/Ward.schema.json",
            format!("{}{{}}{}", "{\"not\":".repeat(1_000), "}".repeat(1_000)),
            "json/nesting",
        ),
        (
            "kinds/Ward.schema.json",
            format!("{}{{}}{}", "{\"not\":".repeat(DEEP), "}".repeat(DEEP)),
            "schema/too-large",
        ),
        (
            "alerts/a.md",
            format!("---\na: {open}{close}\n---\n# a\n\n影響: x\n"),
            "markdown/front-matter",
        ),
        (
            "alerts/a.md",
            format!("# a\n\n影響: x\n\n{}a\n", "> ".repeat(DEEP)),
            "markdown/nesting",
        ),
        (
            "alerts/a.md",
            format!("# a\n\n影響: x\n\n{}a\n", "- ".repeat(DEEP)),
            "markdown/nesting",
        ),
        (
            "alerts/a.md",
            format!("# a\n\n影響: x\n\n{open}a{close}\n"),
            "markdown/nesting",
        ),
        (
            "policies/own.rego",
            format!(
                "package lockstep\n\ndeny contains \"x\" if {}true{}\n",
                "(".repeat(DEEP),
                ")".repeat(DEEP)
            ),
            "policy/too-complex",
        ),
        (
            "policies/own.rego",
            format!(
                "package lockstep\n\ndeny contains \"x\" if {{ x := 1{} }}\n",
                " + 1".repeat(DEEP)
            ),
            "policy/too-complex",
        ),
        (
            "policies/own.rego",
            format!(
                "package lockstep\n\ndeny contains \"x\" if {}true\n",
                "not ".repeat(DEEP)
            ),
            "policy/syntax",
        ),
    ];
    for (name, content, rule) in cases {
        let found = found_in(name, &content);
        let start: String = content.chars().take(60).collect();
        let wanted = format!("error {rule} {name}:");
        assert!(
            found.iter().any(|f| f.starts_with(&wanted)),
            "{start}: {found:?}"
        );
    }
}

#[test]
fn aliases_add_as_much_as_is_written_and_no_more() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let row = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{row}]\n"));
    }
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(100_000),
        vec!["*a"; 10_000].join(", ")
    );
    for bomb in [bomb, long] {
        for name in ["config/feature-flags.yaml", "lockstep.yaml"] {
            let found = found_in(name, &bomb);
            let wanted = format!("error yaml/limits {name}:");
            assert!(found.iter().any(|f| f.starts_with(&wanted)), "{found:?}");
        }
        let notice = format!("---\n{bomb}---\n# a\n\n影響: x\n");
        let found = found_in("alerts/a.md", notice);
        assert!(
            found[0].starts_with("error markdown/front-matter alerts/a.md:"),
            "{found:?}"
        );
    }
}

#[test]
fn a_hundred_thousand_faults_are_counted_and_a_thousand_told() {
    const MANY: usize = 100_000;
    let lines = |line: &str| line.repeat(MANY);
    let listed = |item: &str| format!("[{}{item}]", format!("{item},").repeat(MANY - 1));
    let front: String = (0..MANY).map(|n| format!("k{n}: 1\n")).collect();
    let keys: Vec<String> = (0..MANY).map(|n| format!("\"k{n}\": 1")).collect();
    let cases = [
        (
            "config/feature-flags.json",
            format!("{{{}}}", keys.join(",")),
        ),
        ("config/feature-flags.yaml", front.clone()),
        (
            "config/access-control.json",
            format!("{{\"admin_users\": {}}}", listed("1")),
        ),
        ("config/interview-types.json", listed("{\"idd\": 1}")),
        (
            "compliance/a.md",
            format!(
                "# a\n\n- 施行日: 2025-10-01\n\n{}",
                lines("- [ ] nobody: x\n")
            ),
        ),
        ("alerts/a.md", format!("---\n{front}---\n# a\n\n影響: x\n")),
        (
            "alerts/b.md",
            format!("# a\n\n影響: x{}\n", "\u{202e}".repeat(MANY)),
        ),
        (
            "incidents/2025-01-01-a.md",
            format!("---\n{front}---\n# a\n"),
        ),
        (
            "experiments/a.md",
            format!("# a\n\n{}", lines("- バリアントA: CTR x%\n")),
        ),
        ("lockstep.yaml", format!("{CONFIG}{front}")),
        (
            "policies/own.rego",
            format!(
                "package lockstep\n\n{}",
                "deny contains \"x\" if time.now_ns() > 0\n".repeat(20_000)
            ),
        ),
    ];
    for (name, content) in cases {
        let found = found_in(name, content);
        let here: Vec<&String> = found.iter().filter(|f| f.contains(name)).collect();
        assert_eq!(here.len(), 1_001, "{name}: {:?}", here.first());
        let rest = format!("error document/more-findings {name}");
        assert!(found.contains(&rest), "{name}");
    }
}

/// What is too much in many files is summed up file by file.
#[test]
fn faults_in_many_files_do_not_add_up_without_end() {
    let folder = config();
    let faults = "- [ ] nobody: x\n".repeat(2_000);
    for n in 0..40 {
        let text = format!("# a\n\n- 施行日: 2025-10-01\n\n{faults}");
        folder.write(&format!("compliance/{n:02}.md"), text);
    }
    let first = found(&folder);
    assert!((20_000..21_100).contains(&first.len()), "{}", first.len());
    let last: Vec<&String> = first.iter().filter(|f| f.contains("/39.md")).collect();
    assert_eq!(last, ["error document/more-findings compliance/39.md"]);
}

#[test]
fn a_file_of_200_mb_is_named_and_not_read() {
    let cases = [
        ("config/feature-flags.json", 200_u64 << 20),
        ("config/wards.yaml", 200 << 20),
        ("alerts/a.md", 200 << 20),
        ("policies/own.rego", 200 << 20),
        ("config/access-control.json", (32 << 20) + 1),
        ("incidents/2025-01-01-a.md", (4 << 20) + 1),
    ];
    let folder = config();
    for (name, size) in cases {
        folder.write(name, "");
        let file = std::fs::File::options().write(true).open(folder.join(name));
        file.and_then(|f| f.set_len(size)).expect("a sparse file");
    }
    let found = found(&folder);
    for (name, _) in cases {
        let wanted = format!("error tree/too-large {name}");
        assert!(found.contains(&wanted), "{name}: {found:?}");
    }
}

/// Numbers that would change on their way, in every place that takes one.
#[test]
fn numbers_that_do_not_fit_are_told_where_they_stand() {
    let cases = [
        (
            "config/feature-flags.json",
            "{\"a\": {\"enabled\": true, \"rollout\": 9007199254740993}}",
            "json/number",
        ),
        (
            "config/feature-flags.json",
            "{\"a\": {\"enabled\": true, \"rollout\": 1e999}}",
            "json/number",
        ),
        (
            "config/feature-flags.yaml",
            "a: {enabled: true, rollout: 18446744073709551616}",
            "yaml/number",
        ),
        (
            "config/feature-flags.yaml",
            "a: {enabled: true, rollout: .inf}",
            "yaml/number",
        ),
        (
            "config/feature-flags.json",
            "{\"a\": {\"enabled\": true, \"rollout\": -1}}",
            "flag/rollout-range",
        ),
        (
            "lockstep.yaml",
            "version: 99999999999999999999",
            "yaml/number",
        ),
    ];
    for (name, content, rule) in cases {
        let found = found_in(name, content);
        let wanted = format!("error {rule} {name}:1:");
        assert!(found.iter().any(|f| f.starts_with(&wanted)), "{found:?}");
    }
}

/// `docs/limits.md` has a row for each limit.
#[test]
fn each_limit_is_documented() {
    let read = |path: &str| std::fs::read_to_string(here().join(path)).expect(path);
    let (code, page) = (read("src/document/limits.rs"), read("docs/limits.md"));
    let names: Vec<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| `{name}` | ")), "{name}");
    }
}
