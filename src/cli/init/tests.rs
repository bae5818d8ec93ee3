use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn now() -> Timestamp {
    "2026-11-22T05:00:00Z".parse().unwrap()
}

fn empty() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn make(dir: &Path, existing: Existing) -> Result<Initialized, InitError> {
    init(dir, Language::English, existing, now())
}

fn both() -> [BTreeMap<&'static str, String>; 2] {
    [Language::English, Language::Japanese]
        .map(|l| scaffold(l, now().to_zoned(TimeZone::UTC).date()))
}

fn json(files: &BTreeMap<&'static str, String>, path: &str) -> Value {
    jsonc_parser::parse_to_serde_value(&files[path], &jsonc_parser::ParseOptions::default())
        .unwrap()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect()
}

#[test]
fn what_the_documents_name_is_in_lockstep_yaml() {
    for files in both() {
        let config: Value = serde_yaml::from_str(&files["lockstep.yaml"]).unwrap();
        let systems: BTreeSet<&str> = config["systems"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names(&config["groups"]["hospital"]["systems"]), systems);
        let aliases: Vec<&str> = config["systems"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|s| names(&s["aliases"]))
            .collect();
        for person in config["people"].as_object().unwrap().values() {
            let theirs = person.get("systems").map(names).unwrap_or_default();
            assert!(theirs.is_subset(&systems));
        }
        let mut flags = json(&files, "config/feature-flags.json");
        flags.as_object_mut().unwrap().remove("$schema");
        for flag in flags.as_object().unwrap().values() {
            assert!(names(&flag["teams"]).is_subset(&systems));
            assert!(
                config["people"]
                    .get(flag["owner"].as_str().unwrap())
                    .is_some()
            );
            assert_eq!(flag["expires"], "2027-05-31");
        }
        let tasks = files["compliance/access-review.md"]
            .lines()
            .filter_map(|l| l.strip_prefix("- [ ] "));
        let told: Vec<&str> = tasks.map(|t| t.split_once(": ").unwrap().0).collect();
        assert_eq!(told.len(), 2);
        assert!(
            told.iter().all(|t| aliases.contains(t)),
            "{told:?} of {aliases:?}"
        );
    }
}

#[test]
fn the_languages_declare_the_same() {
    let [english, japanese] = both();
    assert!(english.keys().eq(japanese.keys()));
    let [one, other] = [&english, &japanese].map(|files| {
        let flags = json(files, "config/feature-flags.json");
        let flags: Vec<String> = flags.as_object().unwrap().keys().cloned().collect();
        let types = json(files, "config/interview-types.json");
        let types: Vec<String> = types
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["id"].to_string())
            .collect();
        let mut access = json(files, "config/access-control.json");
        access.as_object_mut().unwrap().remove("$schema");
        for entries in access.as_object_mut().unwrap().values_mut() {
            for entry in entries.as_array_mut().unwrap() {
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("reason");
                }
            }
        }
        (flags, types, access)
    });
    assert_eq!(one, other);
}

#[test]
fn every_placeholder_is_filled() {
    for (path, text) in both().iter().flatten() {
        assert!(
            !text.contains("{{") || path.starts_with("policies/"),
            "{path}"
        );
    }
    let [english, _] = both();
    assert!(english["compliance/access-review.md"].contains("Effective: 2026-12-01"));
    assert!(english["alerts/welcome.md"].contains("When: from 2026-11-22"));
}

#[test]
fn a_new_folder_becomes_a_repository_with_one_commit() {
    let folder = empty();
    let dir = folder.path().join("a/b");
    let done = make(&dir, Existing::Refuse).unwrap();
    let files = both()[0].clone();
    assert_eq!(done.written, files.keys().copied().collect::<Vec<_>>());
    assert_eq!(done.kept, [""; 0]);
    let repo = git2::Repository::open(&dir).unwrap();
    let head = repo.head().unwrap();
    assert_eq!(head.name().ok(), Some("refs/heads/main"));
    let commit = head.peel_to_commit().unwrap();
    assert_eq!(
        Some(commit.id().to_string()),
        done.commit.map(|c| c.to_string())
    );
    assert_eq!(commit.time().seconds(), now().as_second());
    for (path, text) in &files {
        let entry = commit.tree().unwrap().get_path(Path::new(path)).unwrap();
        assert_eq!(
            repo.find_blob(entry.id()).unwrap().content(),
            text.as_bytes()
        );
        assert_eq!(&fs::read_to_string(dir.join(path)).unwrap(), text);
    }
    assert!(
        repo.statuses(None).unwrap().is_empty(),
        "nothing is left uncommitted"
    );
}

#[test]
fn a_folder_with_files_is_refused_and_left_as_it_is() {
    let folder = empty();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let error = make(folder.path(), Existing::Refuse).unwrap_err();
    assert!(error.to_string().contains("--fill"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn filling_keeps_every_file() {
    let folder = empty();
    fs::create_dir(folder.path().join("config")).unwrap();
    let mine = folder.path().join("config/feature-flags.json");
    fs::write(&mine, "{}").unwrap();
    let done = make(folder.path(), Existing::Fill).unwrap();
    assert_eq!(done.kept, ["config/feature-flags.json"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "{}");
    let repo = git2::Repository::open(folder.path()).unwrap();
    let tree = repo.head().unwrap().peel_to_tree().unwrap();
    assert!(tree.get_path(Path::new("lockstep.yaml")).is_ok());
    assert!(
        tree.get_path(Path::new("config/feature-flags.json"))
            .is_err(),
        "not ours to commit"
    );

    let again = make(folder.path(), Existing::Fill).unwrap();
    assert_eq!((again.written.len(), again.commit), (0, None));
}

#[test]
fn a_repository_with_commits_gets_files_and_no_commit() {
    let folder = empty();
    make(folder.path(), Existing::Refuse).unwrap();
    fs::remove_file(folder.path().join("alerts/welcome.md")).unwrap();
    let before = git2::Repository::open(folder.path())
        .unwrap()
        .head()
        .unwrap()
        .target();
    let done = make(folder.path(), Existing::Fill).unwrap();
    assert_eq!(
        (done.written, done.commit),
        (vec!["alerts/welcome.md"], None)
    );
    let after = git2::Repository::open(folder.path())
        .unwrap()
        .head()
        .unwrap()
        .target();
    assert_eq!(before, after);
}

#[test]
fn a_fresh_git_init_is_empty_and_its_first_branch_becomes_main() {
    let folder = empty();
    let mut options = git2::RepositoryInitOptions::new();
    options.initial_head("master");
    git2::Repository::init_opts(folder.path(), &options).unwrap();
    make(folder.path(), Existing::Refuse).unwrap();
    let repo = git2::Repository::open(folder.path()).unwrap();
    assert_eq!(repo.head().unwrap().name().ok(), Some("refs/heads/main"));
}

#[test]
fn a_bare_repository_is_refused() {
    let folder = empty();
    git2::Repository::init_bare(folder.path()).unwrap();
    assert!(matches!(
        make(folder.path(), Existing::Fill),
        Err(InitError::Bare { .. })
    ));
}

#[test]
fn an_identity_that_nobody_set_does_not_stop_it() {
    let own = |name: &str, email: &str| identity(Some(name.to_owned()), Some(email.to_owned()));
    assert_eq!(
        own("佐藤", "sato@example.jp"),
        ("佐藤".to_owned(), "sato@example.jp".to_owned())
    );
    assert_eq!(own(" ", ""), identity(None, None));
    assert_eq!(identity(None, None).1, "lockstep@localhost");
}

#[test]
fn it_says_what_it_did() {
    let commit = "0123456789abcdef0123456789abcdef01234567".parse().ok();
    let done = Initialized {
        written: vec!["README.md"],
        kept: vec!["lockstep.yaml"],
        commit,
    };
    insta::assert_snapshot!(report(Path::new("shared"), &done, Language::English), @r"
    Made a config repo in shared: 1 file; kept as they were: lockstep.yaml
    First commit on main: 0123456789
    Next: read README.md there, then `lockstep check`
    ");
    insta::assert_snapshot!(report(Path::new("shared"), &Initialized { commit: None, ..done }, Language::Japanese), @r"
    shared に設定リポジトリを作りました: 1 ファイル。そのまま残したもの: lockstep.yaml
    コミットはしていません。内容を確かめて main にコミットしてください
    次は: そこの README.md を読み、`lockstep check` を実行してください
    ");
}
