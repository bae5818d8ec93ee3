//! The gate without a server: the composite action's steps run for real as a runner would, and CODEOWNERS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::left::{Folder, Ran, alone, git, here, write, write_config};

mod owners;
mod workflows;

/// A file of this repository as YAML.
fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(here().join(path)).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

/// A job's workspace: the judged repository checked out in `proposal`, the merge that the forge tried on top.
struct Job {
    folder: Folder,
}

/// What the action left behind.
struct Left {
    ran: Ran,
    summary: String,
    sarif: Value,
}

impl Job {
    /// A proposal on a branch with these files (`None`: deleted), merged into main for the try.
    fn new(files: &[(&str, Option<&str>)]) -> Self {
        let folder = Folder::new();
        let proposal = folder.join("proposal");
        write_config(&proposal);
        git(&proposal, &["init", "-q"]);
        let commit = |message| {
            git(&proposal, &["add", "-A"]);
            git(&proposal, &["commit", "-qm", message]);
        };
        commit("begin");
        git(&proposal, &["checkout", "-qb", "change"]);
        for (name, text) in files {
            match text {
                Some(text) => write(&proposal, name, text),
                None => std::fs::remove_file(proposal.join(name)).unwrap(),
            }
        }
        commit("a change\n\n::error::not from here ##[error]nor this");
        git(&proposal, &["checkout", "-q", "main"]);
        git(
            &proposal,
            &["merge", "-q", "--no-ff", "-m", "try", "change"],
        );
        Self { folder }
    }

    /// Runs each step of the action that has a script, until one fails.
    fn run(&self, inputs: &[(&str, &str)]) -> Left {
        let action = yaml(".github/actions/check/action.yml");
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for (name, input) in action["inputs"].as_object().unwrap() {
            let default = input["default"].as_str().unwrap_or_default();
            known.insert(format!("inputs.{name}"), default.to_owned());
        }
        let own = [
            ("repository", "proposal"),
            ("base", "HEAD^1"),
            ("head", "HEAD^2"),
            ("author", "sato"),
            ("binary", env!("CARGO_BIN_EXE_lockstep")),
        ];
        for (name, value) in own.iter().chain(inputs) {
            known.insert(format!("inputs.{name}"), (*value).to_owned());
        }
        let at = here().join(".github/actions/check");
        known.insert("github.action_path".into(), at.to_str().unwrap().into());
        let mut all = Ran {
            code: 0,
            out: String::new(),
            err: String::new(),
        };
        let mut summary = String::new();
        for (number, step) in action["runs"]["steps"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let Some(script) = step["run"].as_str() else {
                continue;
            };
            assert_eq!(step["shell"], "bash");
            let place = self.folder.join(&format!("step-{number}"));
            let (ran, outputs, told) = self.step(&place, script, &step["env"], &known);
            for (name, value) in outputs {
                let id = step["id"].as_str().unwrap();
                known.insert(format!("steps.{id}.outputs.{name}"), value);
            }
            all.code = ran.code;
            all.out.push_str(&ran.out);
            all.err.push_str(&ran.err);
            summary.push_str(&told);
            if ran.code != 0 {
                break;
            }
        }
        let sarif = known.get("steps.judge.outputs.sarif").map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            serde_json::from_str(&text).unwrap()
        });
        Left {
            ran: all,
            summary,
            sarif: sarif.unwrap_or_default(),
        }
    }

    /// One step: its own files, its own environment, and bash as the runner calls it.
    fn step(
        &self,
        place: &Path,
        script: &str,
        env: &Value,
        known: &BTreeMap<String, String>,
    ) -> (Ran, Vec<(String, String)>, String) {
        let temp = self.folder.join("temp");
        for folder in [place, &temp] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let file = |name: &str, text: &str| -> PathBuf {
            let path = place.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (output, summary) = (file("output", ""), file("summary", ""));
        let mut bash = alone("bash", self.folder.path());
        // Programs that a test puts there come first.
        let mut path = self.folder.join("bin").into_os_string();
        path.push(":");
        path.push(inherited_path());
        bash.env("PATH", path);
        bash.args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
            .arg(file("script.sh", script))
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_WORKSPACE", self.folder.path())
            .env("GITHUB_ACTIONS", "true")
            .env("RUNNER_TEMP", &temp);
        for (name, value) in env.as_object().into_iter().flatten() {
            let expression = value.as_str().unwrap();
            let inner = expression
                .strip_prefix("${{ ")
                .and_then(|e| e.strip_suffix(" }}"))
                .unwrap_or_else(|| panic!("{name}: {expression}"));
            bash.env(name, &known[inner]);
        }
        let ran = Ran::of(bash.output().unwrap());
        let outputs = std::fs::read_to_string(output).unwrap();
        let outputs = outputs.lines().map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        let told = std::fs::read_to_string(summary).unwrap();
        (ran, outputs.collect(), told)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "where bash and git are is the machine's to say"
)]
fn inherited_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

const FLAGS: &str = "config/feature-flags.json";

fn rollout(to: u32) -> String {
    crate::left::FLAGS.replace("10,", &format!("{to},"))
}

#[test]
fn a_good_change_passes_and_is_told_whose_approval_it_needs() {
    let left = Job::new(&[(FLAGS, Some(&rollout(25)))]).run(&[("language", "ja")]);
    let ran = left.ran.code(0);
    assert!(!ran.out.contains("::error"), "{}", ran.out);
    assert!(
        ran.out.contains("::notice title=lockstep/approval::"),
        "{}",
        ran.out
    );
    assert!(left.summary.contains("10% → 25%"), "{}", left.summary);
    assert!(left.summary.contains("承認"), "{}", left.summary);
    assert_eq!(left.sarif["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn a_wrong_change_fails_at_its_line() {
    let wrong = rollout(25).replace("\"rollout\"", "\"rolout\"");
    let left = Job::new(&[(FLAGS, Some(&wrong))]).run(&[]);
    let ran = left.ran.code(1);
    let error = "::error file=config/feature-flags.json,line=5,col=5,endLine=5,endColumn=13,title=document/unknown-field::";
    assert!(ran.out.contains(error), "{}", ran.out);
    assert!(left.summary.contains("rolout"), "{}", left.summary);
    let results = left.sarif["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<&Value> = results.iter().map(|r| &r["ruleId"]).collect();
    let fault = Value::from("document/unknown-field");
    assert!(rules.contains(&&fault), "{rules:?}");
}

#[test]
fn a_denied_change_fails_at_its_line_by_the_rules_of_the_base() {
    // It brings rules that would allow it; those at the base judge.
    let left = Job::new(&[
        (FLAGS, Some(&rollout(80))),
        ("policies/rollout.rego", None),
        ("config/::stop-commands::x ##[add-mask]y.json", Some("{}")),
    ])
    .run(&[]);
    let ran = left.ran.code(1);
    let denied = ran.out.lines().find(|l| l.contains("title=rollout/"));
    let denied = denied.unwrap_or_else(|| panic!("{}", ran.out));
    assert!(
        denied.starts_with("::error file=config/feature-flags.json,line=3,col=3,"),
        "{denied}"
    );
    // What a runner would take for a command is inside one of ours.
    for line in ran.out.lines() {
        let own = ["::error ", "::warning ", "::notice "];
        assert!(own.iter().any(|o| line.starts_with(o)), "{line}");
    }
    assert!(!ran.err.contains("##["), "{}", ran.err);
    assert!(left.summary.contains("## ❌"), "{}", left.summary);
    let results = left.sarif["runs"][0]["results"].as_array().unwrap();
    let denial = results
        .iter()
        .find(|r| r["ruleId"].as_str().unwrap().starts_with("rollout/"))
        .unwrap();
    assert_eq!(denial["level"], "error");
    let region = &denial["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 3);
}

#[test]
fn who_proposes_is_the_account_and_no_name_in_a_commit() {
    let judged = |author| {
        let job = Job::new(&[(FLAGS, Some(&rollout(25)))]);
        job.run(&[("author", author)]).summary
    };
    // A stranger's account that is called like a key of `people:` is a stranger's.
    assert!(judged("mori").contains("`mori`"));
    let wanted = |author: &str| {
        let job = Job::new(&[(FLAGS, Some(&rollout(25)))]);
        let arguments = ["gate", "--base=HEAD^1", "--head=HEAD^2", "--format=json"];
        let mut arguments = arguments.to_vec();
        let author = format!("--author={author}");
        arguments.push(&author);
        let folder = job.folder.join("proposal");
        let json = crate::left::lockstep(&folder, &arguments).code(0).json();
        json["proposal"]["author"].clone()
    };
    assert_eq!(wanted("MORI-R"), "MORI-R");
}

#[test]
fn what_can_not_be_judged_is_no_verdict() {
    let job = Job::new(&[(FLAGS, Some(&rollout(25)))]);
    let left = job.run(&[("base", "no-such-revision")]);
    let ran = left.ran.code(2);
    assert!(ran.err.contains("lockstep: error: "), "{}", ran.err);
    assert_eq!(left.sarif, Value::Null);
    let left = job.run(&[("binary", "/nonexistent/lockstep")]);
    assert_ne!(left.ran.code, 0);
    // Nothing that looks like an option is one.
    let left = job.run(&[("base", "--help")]);
    left.ran.code(2);
}

/// Without a binary it is built where the action is, whatever the judged commit brings along.
#[test]
fn the_program_is_built_from_where_the_action_is() {
    let job = Job::new(&[
        (FLAGS, Some(&rollout(25))),
        ("Cargo.toml", Some("[package]")),
    ]);
    let cargo = job.folder.join("bin/cargo");
    let script = format!(
        "#!/usr/bin/env bash\nset -eu\npwd >{0}/built-in\necho \"$*\" >{0}/built-with\nmkdir -p \"$CARGO_TARGET_DIR/release\"\ncp {1} \"$CARGO_TARGET_DIR/release/lockstep\"\n",
        job.folder.path().display(),
        env!("CARGO_BIN_EXE_lockstep"),
    );
    job.folder.write("bin/cargo", script);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&cargo, mode).unwrap();
    let left = job.run(&[("binary", "")]);
    left.ran.code(0);
    let told = |name| std::fs::read_to_string(job.folder.join(name)).unwrap();
    assert_eq!(Path::new(told("built-in").trim()), here());
    assert_eq!(
        told("built-with").trim(),
        "build --locked --release --bin lockstep"
    );
}

#[test]
fn a_conflict_fails_and_says_where() {
    let job = Job::new(&[(FLAGS, Some(&rollout(25)))]);
    let proposal = job.folder.join("proposal");
    git(&proposal, &["checkout", "-q", "-b", "other", "HEAD^1"]);
    write(&proposal, FLAGS, rollout(15));
    git(&proposal, &["commit", "-qam", "other"]);
    let ran = job
        .run(&[("base", "other"), ("head", "change")])
        .ran
        .code(1);
    assert!(ran.out.contains("config/feature-flags.json"), "{}", ran.out);
}
