//! The comment that a proposal gets, as people see it: kept in `docs/comments` and compared, in both languages.

use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep::gate::{judge_between, view_of};
use lockstep::repo::Repo;
use lockstep::resource::Language;
use lockstep::view::markdown::{COMMENT_CHARS, comment};

const CONFIG: &str = r#"version: 1
timezone: Asia/Tokyo
systems:
  medical: {title: 医療職員管理システム, connector: http, url: "https://medical.example.jp", credential: medical, kinds: [FeatureFlag]}
  voicedrive: {title: ボイスドライブ, connector: http, url: "https://voicedrive.example.jp", credential: voicedrive, kinds: [FeatureFlag]}
groups:
  hospital: {systems: [medical, voicedrive], consistency: lockstep}
people:
  sato: {name: 佐藤, forge: sato, roles: [operator], systems: [medical]}
  suzuki: {name: 鈴木, forge: suzuki, roles: [approver], systems: [voicedrive]}
  tanaka: {name: 田中, forge: tanaka, roles: [approver, security], systems: [medical]}
"#;

/// So many flags, each with this rollout, but for what `except` says of one.
fn flags(count: usize, rollout: u32, except: impl Fn(usize) -> Option<Option<u32>>) -> String {
    let lines = (0..count).filter_map(|n| {
        let rollout = except(n).unwrap_or(Some(rollout))?;
        Some(format!(
            "  \"flag_{n:03}\": {{\"enabled\": true, \"rollout\": {rollout}, \"teams\": [\"medical\", \"voicedrive\"], \"owner\": \"sato\", \"expires\": \"2027-12-31\"}}"
        ))
    });
    format!("{{\n{}\n}}\n", lines.collect::<Vec<_>>().join(",\n"))
}

struct Case {
    name: &'static str,
    before: String,
    after: String,
}

fn cases() -> Vec<Case> {
    let same = |_| None;
    vec![
        Case {
            name: "large",
            before: flags(300, 10, same),
            after: flags(300, 20, same),
        },
        Case {
            name: "delete",
            before: flags(20, 10, same),
            after: flags(20, 10, |n| (n == 7).then_some(None)),
        },
        Case {
            name: "denied",
            before: flags(20, 10, same),
            after: flags(20, 10, |n| (n == 7).then_some(Some(80))),
        },
    ]
}

/// A repository whose commits have the same names wherever and whenever it is made.
fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for (name, value) in [("AUTHOR", "sato"), ("COMMITTER", "sato")] {
        command
            .env(format!("GIT_{name}_NAME"), value)
            .env(format!("GIT_{name}_EMAIL"), "sato@example.jp")
            .env(format!("GIT_{name}_DATE"), "2026-11-02T09:00:00+09:00");
    }
    let output = command
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(folder: &Path, message: &str) -> lockstep::ids::Revision {
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "--quiet", "-m", message]);
    git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn comments_are_those_in_the_docs() {
    let mut other = Vec::new();
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        git(at, &["init", "--quiet", "--initial-branch=main"]);
        std::fs::create_dir_all(at.join("config")).unwrap();
        std::fs::create_dir_all(at.join("policies")).unwrap();
        // One file, so that the commits' names are the same whatever else is shipped.
        let policy = "package lockstep\n\ndeny contains msg if {\n\tsome change in input.changes\n\tchange.kind == \"FeatureFlag\"\n\tchange.op == \"update\"\n\tchange.after.rollout - change.before.rollout > 25\n\tmsg := sprintf(\"%s: rollout rises from %d to %d, by more than 25 points\", [change.name, change.before.rollout, change.after.rollout])\n}\n\napproval contains {\"from\": [\"approver\"], \"count\": 1, \"because\": \"every change has a second pair of eyes\"} if count(input.changes) > 0\n";
        std::fs::write(at.join("policies/rules.rego"), policy).unwrap();
        std::fs::write(at.join("lockstep.yaml"), CONFIG).unwrap();
        std::fs::write(at.join("config/feature-flags.json"), &case.before).unwrap();
        let base = commit(at, "Base");
        std::fs::write(at.join("config/feature-flags.json"), &case.after).unwrap();
        let head = commit(at, "A change of flags");
        let repo = Repo::open(at).unwrap();
        let now = "2026-11-02T00:10:00Z".parse().unwrap();
        for (language, suffix) in [(Language::English, "en"), (Language::Japanese, "ja")] {
            let judged =
                judge_between(&repo, (&base, &head), None, now, language, Vec::new()).unwrap();
            let text = comment(&view_of(&judged, language));
            assert!(text.chars().count() <= COMMENT_CHARS, "{}", case.name);
            let name = format!("docs/comments/{}.{suffix}.md", case.name);
            let kept = std::fs::read_to_string(root().join(&name)).unwrap_or_default();
            if kept != text {
                let new = root().join("target").join(name.replace('/', "-"));
                std::fs::create_dir_all(root().join("target")).unwrap();
                std::fs::write(&new, text).unwrap();
                other.push(format!("cp {} {name}", new.display()));
            }
        }
    }
    assert!(
        other.is_empty(),
        "comments have changed; if they should: {other:#?}"
    );
}
