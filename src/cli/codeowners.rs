//! `lockstep codeowners`: who must agree to a change of each file, as GitHub asks them.
//!
//! Nothing is guessed from roles: for each file a proposal that changes it alone is judged by the policies, and whoever they then ask by
//! name, role or system owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use similar::TextDiff;

use super::{Env, Exit, print, talk};
use crate::compile::{self, CONFIG, Compiled};
use crate::document::{Snapshot, SnapshotDelta};
use crate::ids::{DocPath, Revision};
use crate::plan::{Op, Plan};
use crate::policy::input::ProposalFacts;
use crate::policy::{PolicyInput, PolicySet};
use crate::repo::Repo;
use crate::resource::Direction;
use crate::view::codeowners::{self as file, CodeownersView, Owned};

#[derive(Debug, Args)]
pub(crate) struct CodeownersArgs {
    /// End with 1 and show the difference where the file is not what it should be.
    #[arg(long)]
    check: bool,
    /// The file to write or to compare, from here; without it, it is printed, or .github/CODEOWNERS is compared.
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// One revision: a branch, tag or commit. Without it, the work tree.
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// A line for the header.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Where GitHub looks first.
const PLACE: &str = ".github/CODEOWNERS";

pub(crate) fn run(args: &CodeownersArgs, env: &Env) -> anyhow::Result<Exit> {
    let repo = Repo::open(&env.settings.repo)?;
    let snapshot = match &args.rev {
        Some(rev) => repo.snapshot(&repo.resolve(rev)?)?,
        None if repo.has_git() && !repo.has_work_tree() => {
            repo.snapshot(&repo.resolve(&env.settings.branch)?)?
        }
        None => repo.snapshot_work_tree()?,
    };
    let view = CodeownersView {
        config: repo.git_path(&CONFIG.parse()?),
        note: args.note.clone(),
        owned: Asker::new(&snapshot)?.all(&repo)?,
    };
    let text = file::codeowners(&view);
    anyhow::ensure!(
        text.len() < file::LIMIT,
        "CODEOWNERS would have {} bytes, and GitHub ignores files from {} on: name people by fewer rules, or put documents together",
        text.len(),
        file::LIMIT
    );
    if args.check {
        let path = match &args.output {
            Some(path) => path.clone(),
            None => top(&repo)?.join(PLACE),
        };
        return compare(&path, &text);
    }
    match &args.output {
        None => print(&text)?,
        Some(path) => {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
            let made = folder.map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| std::fs::write(path, &text))
                .with_context(|| format!("cannot write {}", path.display()))?;
            talk(&format!("wrote {}", path.display()));
        }
    }
    Ok(Exit::Done)
}

/// The top of the work tree.
fn top(repo: &Repo) -> anyhow::Result<&Path> {
    anyhow::ensure!(
        repo.has_work_tree(),
        "there is no work tree to look for {PLACE} in: say which file with --output"
    );
    Ok(repo.path())
}

fn compare(path: &Path, wanted: &str) -> anyhow::Result<Exit> {
    let found = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    if found == wanted {
        return Ok(Exit::Done);
    }
    let name = path.display().to_string();
    let diff = TextDiff::from_lines(&*found, wanted);
    let diff = diff
        .unified_diff()
        .header(&name, "as generated")
        .to_string();
    let lines: Vec<String> = diff.lines().map(crate::view::printable).collect();
    print(&format!("{}\n", lines.join("\n")))?;
    talk(&format!(
        "{name} is not what people: and the policies say now; write it with `lockstep codeowners --output {name}`"
    ));
    Ok(Exit::Findings)
}

/// Asks the policies of one snapshot about its own files.
struct Asker<'s> {
    snapshot: &'s Snapshot,
    compiled: Compiled,
    policies: PolicySet,
}

impl<'s> Asker<'s> {
    fn new(snapshot: &'s Snapshot) -> anyhow::Result<Self> {
        let compiled = compile::compile(snapshot);
        let (policies, faults) = PolicySet::compile(&snapshot.policies);
        let broken = !compiled.report.passes() || !faults.is_empty();
        anyhow::ensure!(
            !broken,
            "who must agree is not known while something is wrong: see `lockstep check`"
        );
        Ok(Self {
            snapshot,
            compiled,
            policies,
        })
    }

    /// Every file that judges or is judged. Folders stand for what may come into them.
    fn all(&self, repo: &Repo) -> anyhow::Result<Vec<Owned>> {
        let mut owned = Vec::new();
        for (example, folder) in [
            ("policies/new.rego", "policies/"),
            ("kinds/New.schema.json", "kinds/"),
            (PLACE, ".github/"),
        ] {
            let logins = self.asked(&example.parse()?, &[Plan::default()])?;
            let name = example.rsplit('/').next().unwrap_or_default();
            let path = match folder {
                ".github/" => folder.to_owned(),
                _ => repo
                    .git_path(&example.parse()?)
                    .trim_end_matches(name)
                    .to_owned(),
            };
            owned.push(Owned { path, logins });
        }
        for path in self.snapshot.policies.keys() {
            owned.push(self.owned(repo, path, &[Plan::default()])?);
        }
        for path in self.snapshot.files.keys() {
            owned.push(self.owned(repo, path, &self.changes(path))?);
        }
        Ok(owned)
    }

    fn owned(&self, repo: &Repo, path: &DocPath, plans: &[Plan]) -> anyhow::Result<Owned> {
        Ok(Owned {
            path: repo.git_path(path),
            logins: self.asked(path, plans)?,
        })
    }

    /// What a change of this document alone can do at most: all of it comes, or all of it goes.
    fn changes(&self, path: &DocPath) -> Vec<Plan> {
        if self.compiled.declared_in(path).is_empty() {
            return vec![Plan::default()];
        }
        let delta = SnapshotDelta {
            files: BTreeMap::from([(path.clone(), None)]),
            ..SnapshotDelta::default()
        };
        let mut snapshot = self.snapshot.clone();
        snapshot.succeed(None, &delta);
        let mut without = self.compiled.clone();
        without.succeed(&snapshot, &delta);
        let (with, without) = (&self.compiled.bundle, &without.bundle);
        vec![
            Plan::between(Some(without), with),
            Plan::between(Some(with), without),
        ]
    }

    /// The accounts of those who are asked by name, role or system in at least one of these cases. Nobody where anyone may agree.
    fn asked(&self, path: &DocPath, plans: &[Plan]) -> anyhow::Result<BTreeSet<String>> {
        let mut logins = BTreeSet::new();
        for input in plans.iter().flat_map(|plan| self.inputs(path, plan)) {
            let verdict = self.policies.judge(&input);
            let broken = |m: &&crate::policy::Message| m.code.as_deref() == Some("policy/error");
            if let Some(message) = verdict.denials.iter().find(broken) {
                anyhow::bail!("who must agree to {path} is not known: {}", message.msg);
            }
            let needs = verdict.approvals.iter();
            for need in needs.filter(|need| !need.from.iter().any(|who| who == "*")) {
                let meant = |key: &str| need.from.iter().any(|who| input.is_meant(who, key));
                let people = self.compiled.bundle.config.people.iter();
                let people = people.filter(|(key, _)| meant(key));
                logins.extend(people.map(|(_, person)| person.forge.clone()));
            }
        }
        Ok(logins)
    }

    /// The proposals that are judged: what the plan says, and, where it creates, the same as updates.
    fn inputs(&self, path: &DocPath, plan: &Plan) -> Vec<PolicyInput> {
        let bundle = &self.compiled.bundle;
        let revision = self
            .snapshot
            .revision
            .clone()
            .unwrap_or_else(Revision::none);
        // The same file on every day: nothing has run out yet, and no freeze is on.
        let now = jiff::Timestamp::UNIX_EPOCH;
        let facts = ProposalFacts {
            number: 0,
            title: String::new(),
            author: String::new(),
            labels: Vec::new(),
            base: revision.clone(),
            head: revision,
            opened_at: now,
            approvals: Vec::new(),
            files: vec![path.clone()],
        };
        let input = PolicyInput::new(facts, plan, Some(bundle), bundle, &bundle.config, now);
        let mut update = input.clone();
        for change in &mut update.changes {
            (change.op, change.direction) = (Op::Update, Direction::Neutral);
            (change.new, change.gone) = (false, false);
            change.before = change.before.take().or_else(|| change.after.clone());
            change.after = change.after.take().or_else(|| change.before.clone());
        }
        if update.changes.is_empty() {
            vec![input]
        } else {
            vec![input, update]
        }
    }
}
