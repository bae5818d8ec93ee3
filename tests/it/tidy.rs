//! The house rules that a machine can check: which module may import which, how long files get, and what no file may contain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Layers from the bottom up: what each module may import, all of it from rows above its own.
const LAYERS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("clock", &[]),
    ("finding", &["ids"]),
    ("state", &["ids"]),
    ("tlog", &["ids"]),
    ("document", &["ids", "finding"]),
    ("config", &["ids", "finding", "document"]),
    (
        "resource",
        &["ids", "finding", "state", "document", "config"],
    ),
    ("plan", &["ids", "finding", "state", "config", "resource"]),
    (
        "compile",
        &[
            "ids", "finding", "state", "document", "config", "resource", "plan",
        ],
    ),
    (
        "policy",
        &[
            "ids", "finding", "state", "document", "config", "resource", "plan",
        ],
    ),
    ("record", &["ids", "state", "config", "resource", "plan"]),
    ("protocol", &["ids", "config", "plan", "record"]),
    ("system_api", &["ids", "state", "plan"]),
    (
        "connector",
        &["ids", "state", "config", "plan", "record", "system_api"],
    ),
    ("settings", &["tlog", "resource"]),
    ("repo", &["ids", "document"]),
    // The local forge keeps its records in the repo.
    ("forge", &["ids", "clock", "settings", "repo"]),
    ("sink", &["settings"]),
    (
        "view",
        &[
            "ids", "finding", "state", "document", "config", "resource", "plan", "policy",
            "record", "forge",
        ],
    ),
    ("store", &["ids", "state", "tlog", "plan", "record"]),
    // Speaks raw HTTP to any system, so that it tests the wire and not our own client.
    (
        "conformance",
        &["ids", "clock", "state", "plan", "system_api"],
    ),
    // The other end of the System API shares its vocabulary, and nothing of the engine.
    (
        "reference",
        &["ids", "clock", "state", "resource", "plan", "system_api"],
    ),
];

/// The shell's upper floors may import anything below them, but never these.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "gate",
        &[
            "cli",
            "app",
            "engine",
            "connector::http",
            "connector::registry",
            "forge::local",
            "forge::github",
        ],
    ),
    (
        "engine",
        &[
            "cli",
            "app",
            "gate",
            "connector::http",
            "connector::registry",
            "forge::local",
            "forge::github",
        ],
    ),
    (
        "ops",
        &[
            "cli",
            "app",
            "serve",
            "connector::registry",
            "forge::local",
            "forge::github",
        ],
    ),
    (
        "audit",
        &[
            "cli",
            "app",
            "serve",
            "gate",
            "engine",
            "ops",
            "connector::http",
            "connector::registry",
            "forge::local",
            "forge::github",
        ],
    ),
    // Of the forge it knows what a delivery is.
    (
        "serve",
        &["cli", "app", "engine", "connector", "forge::local"],
    ),
    ("app", &["cli"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            // What was installed, and what was made of it, is nobody's text here.
            let is_ours = !["node_modules", "generated"]
                .iter()
                .any(|name| path.ends_with(name));
            if path.is_dir() && is_ours {
                walk(&path, ending, found);
            } else if path.is_file() && path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(under), ending, &mut found);
    found.sort();
    found
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules of ours that a file names, as `a::b` paths, outside its tests.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let end = group.find('}').unwrap_or(group.len());
            found.extend(group[..end].split(',').map(|part| part.trim().to_owned()));
        } else {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(rest.len());
            found.push(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    found
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy().into_owned();
    text.ends_with("tests.rs")
        || text.contains("/tests/")
        || text.ends_with("/model.rs")
        || text.ends_with("/suite.rs")
        || text.contains("/suite/")
}

#[test]
fn the_layers_are_layers() {
    for (index, (module, below)) in LAYERS.iter().enumerate() {
        for import in *below {
            let row = LAYERS.iter().position(|(name, _)| name == import);
            assert!(
                row.is_some_and(|row| row < index),
                "{module} may import {import}, which is not above it in the table"
            );
        }
    }
    let known = |name: &String| {
        LAYERS.iter().any(|(module, _)| module == name)
            || FORBIDDEN.iter().any(|(module, _)| module == name)
            || ["lib", "main", "cli"].contains(&name.as_str())
    };
    let mut modules: Vec<String> = files("src", ".rs").iter().map(|p| module_of(p)).collect();
    modules.dedup();
    modules.retain(|name| !known(name));
    assert!(modules.is_empty(), "modules without a layer: {modules:?}");
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in files("src", ".rs").iter().filter(|p| !is_test(p)) {
        let module = module_of(path);
        let text = std::fs::read_to_string(path).unwrap();
        for import in imports(&text) {
            let target = import.split("::").next().unwrap_or_default();
            if target.is_empty()
                || target == module
                || !root().join(format!("src/{target}.rs")).exists()
            {
                continue;
            }
            let fine = match allowed.get(module.as_str()) {
                Some(below) => below.contains(&target),
                None => FORBIDDEN
                    .iter()
                    .find(|(name, _)| *name == module)
                    .is_none_or(|(_, never)| !never.iter().any(|n| import.starts_with(n))),
            };
            if !fine {
                wrong.push(format!(
                    "{}: crate::{import}",
                    path.strip_prefix(root()).unwrap().display()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the direction of the layers:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for path in files("src", ".rs")
        .into_iter()
        .chain(files("tests", ".rs"))
        .chain(files("benches", ".rs"))
        .chain(files("examples", ".rs"))
    {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > 600 {
            long.push(format!(
                "{}: {lines} lines",
                path.strip_prefix(root()).unwrap().display()
            ));
        }
    }
    assert!(
        long.is_empty(),
        "longer than 600 lines, cut along a seam:\n{}",
        long.join("\n")
    );
}

#[test]
fn nothing_is_left_undone_or_hushed() {
    // Written in pieces so that this file does not find itself.
    let banned = [
        ["to", "do!("],
        ["FIX", "ME"],
        ["#[all", "ow("],
        ["#![all", "ow("],
        ["unimpl", "emented!("],
    ];
    let mut found = Vec::new();
    for path in files("src", ".rs")
        .into_iter()
        .chain(files("tests", ".rs"))
        .chain(files("benches", ".rs"))
        .chain(files("examples", ".rs"))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if banned.iter().any(|parts| line.contains(&parts.concat())) {
                found.push(format!(
                    "{}:{}: {line}",
                    path.strip_prefix(root()).unwrap().display(),
                    number + 1
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_machine_paths_or_registry_hosts_are_committed() {
    let banned = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["index.cra", "tes.io"],
        ["registry.np", "mjs"],
        ["files.python", "hosted"],
    ];
    let mut found = Vec::new();
    for folder in [
        "src",
        "tests",
        "benches",
        "examples",
        "docs",
        "policies",
        "shared-config",
        ".github",
        ".ci",
    ] {
        for path in files(folder, "") {
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            for (number, line) in text.lines().enumerate() {
                if banned.iter().any(|parts| line.contains(&parts.concat())) {
                    found.push(format!(
                        "{}:{}",
                        path.strip_prefix(root()).unwrap().display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<String> = files("src", ".rs")
        .iter()
        .filter(|p| !is_test(p))
        .filter(|p| !std::fs::read_to_string(p).unwrap().starts_with("//!"))
        .map(|p| p.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    assert!(silent.is_empty(), "without a module comment: {silent:?}");
}

#[test]
fn every_test_that_the_table_of_failures_names_exists() {
    let table = std::fs::read_to_string(root().join("docs/failures.md")).unwrap();
    let sources: Vec<String> = files("src", ".rs")
        .into_iter()
        .chain(files("tests", ".rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let rows: Vec<&str> = table.lines().filter(|l| l.starts_with("| F")).collect();
    assert_eq!(rows.len(), 29);
    for row in rows {
        let names: Vec<&str> = row
            .rsplit('|')
            .nth(1)
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let is_there = |text: &String| text.contains(&format!("fn {name}("));
            assert!(sources.iter().any(is_there), "no test {name}");
        }
    }
}

/// The commands of the command line, and those below them.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let tree = <lockstep::cli::Cli as clap::CommandFactory>::command();
    tree.get_subcommands()
        .filter(|c| !c.is_hide_set())
        .map(|c| {
            let below = c.get_subcommands().map(|c| c.get_name().to_owned());
            (c.get_name().to_owned(), below.collect())
        })
        .collect()
}

/// A command that a reader is not told of is not there; one that is gone must not be looked for.
#[test]
fn both_readmes_list_every_command() {
    let commands = commands();
    for name in ["README.md", "README.ja.md"] {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        let list = text.lines().find(|l| l.starts_with("`init` `check`"));
        let list = list.unwrap_or_else(|| panic!("{name} has no list of commands"));
        let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in list.split('`').skip(1).step_by(2) {
            let (command, below) = match entry.split_once(' ') {
                Some((command, below)) => (command, Some(below.to_owned())),
                None => (entry, None),
            };
            listed.entry(command.to_owned()).or_default().extend(below);
        }
        let names = |all: &BTreeMap<String, _>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&listed), names(&commands), "{name}");
        for (command, below) in listed {
            // One word may stand for all that is below it; where one is spelt out, all are.
            assert!(
                below.is_empty() || below == commands[&command],
                "{name}: {command} has {:?}",
                commands[&command]
            );
        }
    }
}
