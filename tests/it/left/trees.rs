//! What may lie in a folder besides good documents. None of it hangs, crashes or hides the rest.

use super::*;

/// The rules and places found, as `rule path:line`.
fn found(folder: &Folder) -> Vec<String> {
    let ran = folder.run(&["check", "--format", "json"]);
    assert!(ran.code < 2, "{}", ran.err);
    let json = ran.json();
    let all = json["findings"].as_array().unwrap();
    all.iter()
        .map(|f| {
            let text = |key: &str| f[key].as_str().unwrap_or_default().to_owned();
            let line = f["line"]
                .as_u64()
                .map(|l| format!(":{l}"))
                .unwrap_or_default();
            format!("{} {}{line}", text("rule"), text("path"))
        })
        .collect()
}

fn config() -> Folder {
    let folder = Folder::new();
    write_config(folder.path());
    folder
}

#[test]
fn files_that_are_no_text_are_named() {
    let folder = config();
    folder
        .write("alerts/latin.md", b"# caf\xe9\n")
        .write("config/feature-flags.json", "")
        .write("alerts/nul.md", "# a\0b\n\n影響: x\n")
        .write("security/binary.md", [0u8, 159, 146, 150]);
    let found = found(&folder);
    assert!(
        found.contains(&"tree/not-utf8 alerts/latin.md".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"tree/not-utf8 security/binary.md".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"json/syntax config/feature-flags.json:1".to_owned()),
        "{found:?}"
    );
}

#[test]
fn every_document_may_be_empty() {
    for name in [
        "lockstep.yaml",
        "config/feature-flags.json",
        "config/feature-flags.yaml",
        "config/access-control.json",
        "config/interview-types.json",
        "alerts/a.md",
        "security/a.md",
        "compliance/a.md",
        "incidents/2025-01-01-a.md",
        "experiments/a.md",
        "kinds/Ward.schema.json",
        "policies/own.rego",
    ] {
        for content in [
            "", "\n", "\u{feff}", "---\n", "null", "[]", "{}", "\"\"", "0",
        ] {
            let folder = config();
            if name == "config/feature-flags.yaml" {
                std::fs::remove_file(folder.join("config/feature-flags.json")).unwrap();
            }
            folder.write(name, content);
            let ran = folder.run(&["check"]);
            assert!(ran.code < 2, "{name} {content:?}: {}", ran.err);
        }
    }
}

#[test]
fn links_are_reported_and_not_followed() {
    let folder = config();
    std::fs::create_dir_all(folder.join("alerts")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("alerts/passwd.md")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("alerts/up")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("alerts/dangling.md")).unwrap();
    let found = found(&folder);
    for name in ["alerts/passwd.md", "alerts/dangling.md", "alerts/up"] {
        assert!(
            found.contains(&format!("tree/symlink {name}")),
            "{name}: {found:?}"
        );
    }
    let ran = folder.run(&["check"]).code(1);
    assert!(!ran.out.contains("root:"), "{}", ran.out);
    // The same in a commit.
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "links"]);
    let ran = folder
        .run(&["check", "--rev", "HEAD", "--format", "json"])
        .code(1);
    assert!(ran.out.contains("tree/symlink"), "{}", ran.out);
}

/// What may be in a file's place, as it is said of `path` in the work tree.
fn said_of(folder: &Folder, path: &str) -> Vec<String> {
    let ran = folder.run(&["check", "--format", "json"]).code(1);
    let json = ran.json();
    let all = json["findings"].as_array().unwrap();
    all.iter()
        .filter(|f| f["path"] == path)
        .map(|f| {
            format!(
                "{}: {}",
                f["rule"].as_str().unwrap(),
                f["message"].as_str().unwrap()
            )
        })
        .collect()
}

/// Puts something at a path.
type Make<'a> = &'a dyn Fn(&Path);

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo runs").success());
}

#[test]
fn what_has_the_place_of_lockstep_yaml_is_said_as_what_it_is() {
    let link = |path: &Path| std::os::unix::fs::symlink("nowhere", path).unwrap();
    let folder_there = |path: &Path| std::fs::create_dir_all(path.join("name")).unwrap();
    let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let cases: [(Make<'_>, &str); 5] = [
        (
            &|_| {},
            "config/missing: there is no lockstep.yaml: it names the systems, groups and people",
        ),
        (
            &link,
            "tree/symlink: a symbolic link is not followed: put the file itself here",
        ),
        (
            &folder_there,
            "tree/not-a-file: this is a folder, where a file must be",
        ),
        (
            &pipe,
            "tree/not-a-file: this is a named pipe, where a file must be",
        ),
        (
            &socket,
            "tree/not-a-file: this is a socket, where a file must be",
        ),
    ];
    for (make, said) in cases {
        let folder = config();
        let path = folder.join("lockstep.yaml");
        std::fs::remove_file(&path).unwrap();
        make(&path);
        assert_eq!(said_of(&folder, "lockstep.yaml"), [said]);
    }
}

#[test]
fn a_folder_named_lockstep_yaml_is_one_in_a_commit_too() {
    let folder = config();
    let path = folder.join("lockstep.yaml");
    std::fs::remove_file(&path).unwrap();
    folder.write("lockstep.yaml/name.md", "# a\n");
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "a folder"]);
    let ran = folder.run(&["check", "--rev", "HEAD"]).code(1);
    assert!(
        ran.out.contains("this is a folder, where a file must be"),
        "{}",
        ran.out
    );
    assert!(
        !ran.out.contains("there is no lockstep.yaml"),
        "{}",
        ran.out
    );
}

#[test]
fn pipes_and_sockets_among_the_documents_are_named_as_such() {
    let folder = config();
    pipe(&folder.join("config/rates.json"));
    drop(std::os::unix::net::UnixListener::bind(folder.join("config/live.yaml")).unwrap());
    assert_eq!(
        said_of(&folder, "config/rates.json"),
        ["tree/not-a-file: this is a named pipe, where a file must be"]
    );
    assert_eq!(
        said_of(&folder, "config/live.yaml"),
        ["tree/not-a-file: this is a socket, where a file must be"]
    );
    std::fs::remove_dir_all(folder.join("policies")).unwrap();
    folder.write("policies", "no folder");
    let ran = folder.run(&["check"]).code(2);
    assert!(ran.err.contains("policies is no folder"), "{}", ran.err);
    assert!(!ran.err.contains("os error"), "{}", ran.err);
}

/// What git's library says of its insides is for its makers.
#[test]
fn a_damaged_repository_is_said_in_plain_words() {
    let folder = config();
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "all"]);
    let id = git(folder.path(), &["rev-parse", "HEAD:lockstep.yaml"]);
    let (start, rest) = id.split_at(2);
    let object = folder.join(&format!(".git/objects/{start}/{rest}"));
    std::fs::remove_file(&object).unwrap();
    let gone = folder.run(&["check", "--rev", "HEAD"]).code(2);
    std::fs::write(&object, "garbage").unwrap();
    let damaged = folder.run(&["check", "--rev", "HEAD"]).code(2);
    for (ran, what) in [(gone, "is not in the repository"), (damaged, "is damaged")] {
        assert!(
            ran.err.contains(what) && ran.err.contains("git fsck"),
            "{}",
            ran.err
        );
        for raw in ["class=", "odb", "header", &id] {
            assert!(!ran.err.contains(raw), "{raw}: {}", ran.err);
        }
    }
    for kind in ["HEAD^{tree}", "HEAD:lockstep.yaml", "", "a..b"] {
        let ran = folder.run(&["check", "--rev", kind]).code(2);
        assert!(
            ran.err.contains("there is no branch, tag or commit"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_byte_order_mark_and_windows_lines_move_no_place() {
    let folder = config();
    let flags = "\u{feff}{\r\n  \"a\": {\"enabled\": true},\r\n  \"b\": {\"enabled\": 1}\r\n}\r\n";
    folder.write("config/feature-flags.json", flags);
    let json = folder.run(&["check", "--format", "json"]).code(1).json();
    let finding = &json["findings"][0];
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&3.into(), &20.into()),
        "{finding}"
    );
    let notice = "\u{feff}# 停電\r\n\r\n時刻: 21:00\r\n影響: 検査室\r\n対応: 予備電源\r\n";
    folder
        .write("alerts/a.md", notice)
        .write("config/feature-flags.json", "{}");
    folder.run(&["check"]).code(0);
}

#[test]
fn deep_nesting_is_a_finding_in_every_syntax() {
    let deep = "[".repeat(100_000);
    let closed = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let quotes = format!("{}a", "> ".repeat(5_000));
    let folder = config();
    folder.write("config/feature-flags.json", &deep);
    assert_eq!(found(&folder), ["json/nesting config/feature-flags.json:1"]);
    folder.write("config/feature-flags.json", format!("{{\"a\": {closed}}}"));
    assert_eq!(found(&folder), ["json/nesting config/feature-flags.json:1"]);
    std::fs::remove_file(folder.join("config/feature-flags.json")).unwrap();
    folder.write("config/feature-flags.yaml", format!("a: {closed}"));
    let rules = found(&folder);
    assert!(rules.iter().any(|r| r.starts_with("yaml/")), "{rules:?}");
    folder
        .write("config/feature-flags.yaml", "{}")
        .write("alerts/a.md", &quotes);
    assert!(folder.run(&["check"]).code < 2);
    folder
        .write("alerts/a.md", "# a\n\n影響: x\n")
        .write("lockstep.yaml", format!("version: {closed}"));
    assert_eq!(folder.run(&["check"]).code, 1);
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let row = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{row}]\n"));
    }
    let folder = config();
    std::fs::remove_file(folder.join("config/feature-flags.json")).unwrap();
    folder.write("config/feature-flags.yaml", &bomb);
    let rules = found(&folder);
    assert!(
        rules
            .iter()
            .all(|r| r.contains("config/feature-flags.yaml"))
            && !rules.is_empty(),
        "{rules:?}"
    );
    folder.write("lockstep.yaml", &bomb);
    assert_eq!(folder.run(&["check"]).code, 1);
    folder.write("alerts/a.md", format!("---\n{bomb}---\n# a\n\n影響: x\n"));
    assert_eq!(folder.run(&["check"]).code, 1);
}

#[test]
fn a_pipe_under_a_document_s_name_is_not_waited_for() {
    let folder = config();
    std::fs::create_dir_all(folder.join("alerts")).unwrap();
    let made = Command::new("mkfifo")
        .arg(folder.join("alerts/pipe.md"))
        .status();
    assert!(made.unwrap().success());
    let ran = folder.run(&["check"]).code(1);
    assert!(ran.out.contains("alerts/pipe.md"), "{}", ran.out);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let folder = config();
    folder.write(
        "config/feature-flags.json",
        "{\"a\u{1b}[31mred\": {\"enabled\": true, \"x\u{202e}y\u{9b}\": 1}}",
    );
    for format in ["human", "github"] {
        let ran = folder.run(&["check", "--format", format]).code(1);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.out.contains(bad), "{format}: {:?}", ran.out);
    }
}

#[test]
fn names_that_are_none_submodules_and_giants_are_reported() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = config();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.md");
    std::fs::create_dir_all(folder.join("alerts")).unwrap();
    std::fs::write(folder.path().join("alerts").join(name), "# x\n").unwrap();
    let giant = std::fs::File::create(folder.join("config/wards.yaml")).unwrap();
    giant.set_len((16 << 20) + 1).unwrap();
    std::fs::create_dir_all(folder.join("incidents/other")).unwrap();
    git(&folder.join("incidents/other"), &["init", "-q"]);
    git(
        &folder.join("incidents/other"),
        &["commit", "-q", "--allow-empty", "-m", "x"],
    );
    let lying = found(&folder);
    git(folder.path(), &["init", "-q"]);
    git(
        folder.path(),
        &["-c", "advice.addEmbeddedRepo=false", "add", "-A"],
    );
    git(folder.path(), &["commit", "-qm", "odd"]);
    let ran = folder
        .run(&["check", "--rev", "HEAD", "--format", "json"])
        .code(1);
    for rule in ["tree/name", "tree/submodule", "tree/too-large"] {
        assert!(
            lying.iter().any(|f| f.starts_with(rule)),
            "{rule}: {lying:?}"
        );
        assert!(ran.out.contains(rule), "{rule}: {}", ran.out);
    }
    assert!(
        lying.contains(&"tree/too-large config/wards.yaml".to_owned()),
        "{lying:?}"
    );
}
