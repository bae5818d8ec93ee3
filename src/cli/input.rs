//! Which state of the config repo a command is about: the work tree as it lies, one revision, or a proposal's base and head.

use std::sync::Arc;

use clap::Args;

use crate::app::{self, App};
use crate::clock::{Clock as _, SystemClock};
use crate::compile::Compiled;
use crate::config::Config;
use crate::document::{Snapshot, SnapshotDelta};
use crate::engine::read_head;
use crate::finding::Report;
use crate::gate::{self, Judgement};
use crate::ids::Revision;
use crate::policy::PolicySet;
use crate::repo::{MergedTree, Repo};

use super::Env;

#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// One revision: a branch, tag or commit.
    #[arg(long, value_name = "REV", conflicts_with_all = ["base", "head"])]
    rev: Option<String>,
    /// What a proposal is judged by.
    #[arg(long, value_name = "REV", requires = "head")]
    base: Option<String>,
    /// What a proposal brings; judged as it would be after the merge into base.
    #[arg(long, value_name = "REV", requires = "base")]
    head: Option<String>,
}

/// A proposal: one that is open, by its number, or whatever lies between two revisions.
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// The number of a proposal.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["base", "head"])]
    proposal: Option<u64>,
    /// What a proposal is judged by.
    #[arg(long, value_name = "REV", requires = "head")]
    base: Option<String>,
    /// What a proposal brings; judged as it would be after the merge into base.
    #[arg(long, value_name = "REV", requires = "base")]
    head: Option<String>,
}

impl CaseArgs {
    /// Judges the proposal; `None` where none is named.
    pub(crate) fn judge(&self, env: &Env) -> anyhow::Result<Option<Judgement>> {
        let judgement = match (self.proposal, &self.base, &self.head) {
            (Some(number), _, _) => {
                let settings = super::upstream::settings(env.settings.clone())?;
                super::wait_for(async {
                    let app = App::open(settings).await?;
                    Ok(app.gate.judge(number).await?)
                })?
            }
            (None, Some(base), Some(head)) => {
                let repo = Repo::open(&env.settings.repo)?;
                gate::judge_between(
                    &repo,
                    (&repo.resolve(base)?, &repo.resolve(head)?),
                    None,
                    SystemClock.now(),
                    env.language,
                    app::addresses(&env.settings),
                )?
            }
            _ => return Ok(None),
        };
        anyhow::ensure!(
            judgement.conflicts.is_empty(),
            "{} conflicts with {} in {}: merge that into it first",
            judgement.proposal.head.short(),
            judgement.proposal.base.short(),
            judgement.conflicts.join(", ")
        );
        Ok(Some(judgement))
    }
}

/// The state a command is about, and what it is compared with.
pub(crate) struct Input {
    pub(crate) repo: Arc<Repo>,
    pub(crate) snapshot: Snapshot,
    /// The base and what leads from it to `snapshot`, where a proposal is meant.
    pub(crate) before: Option<(Snapshot, SnapshotDelta)>,
}

impl InputArgs {
    pub(crate) fn read(&self, env: &Env) -> anyhow::Result<Input> {
        let repo = Arc::new(Repo::open(&env.settings.repo)?);
        let (snapshot, before) = match (&self.rev, &self.base, &self.head) {
            (Some(rev), _, _) => (repo.snapshot(&repo.resolve(rev)?)?, None),
            (None, Some(base), Some(head)) => {
                let (base, head) = (repo.resolve(base)?, repo.resolve(head)?);
                let before = repo.snapshot(&base)?;
                let delta = merged(&repo, &base, &head)?;
                let mut after = before.clone();
                after.succeed(Some(head), &delta);
                (after, Some((before, delta)))
            }
            // A bare repository has no work tree; its main branch is what is meant.
            _ if repo.has_git() && !repo.has_work_tree() => {
                let head = repo.head(&env.settings.branch)?.ok_or_else(|| {
                    anyhow::anyhow!(
                        "{} has no branch {}",
                        env.settings.repo.display(),
                        env.settings.branch
                    )
                })?;
                (repo.snapshot(&head)?, None)
            }
            _ => (repo.snapshot_work_tree()?, None),
        };
        Ok(Input {
            repo,
            snapshot,
            before,
        })
    }
}

/// What merging `head` into `base` would change.
fn merged(repo: &Repo, base: &Revision, head: &Revision) -> anyhow::Result<SnapshotDelta> {
    match repo.merged_tree(base, head)? {
        MergedTree::Clean(tree) => Ok(repo.delta_to_tree(base, tree)?),
        MergedTree::Conflict(paths) => anyhow::bail!(
            "{} and {} conflict in {}",
            base.short(),
            head.short(),
            paths.join(", ")
        ),
    }
}

impl Input {
    /// `lockstep.yaml` of the main branch, where there is one that says something.
    pub(crate) fn main_config(&self, env: &Env) -> anyhow::Result<Option<Arc<Config>>> {
        if !self.repo.has_git() || self.repo.head(&env.settings.branch)?.is_none() {
            return Ok(None);
        }
        let head = read_head(self.repo.clone(), &env.settings.branch)?;
        Ok((!head.config.systems.is_empty()).then_some(head.config))
    }

    /// All that is wrong with it: the documents, and the policies beside them.
    pub(crate) fn report(&self, compiled: &Compiled) -> Report {
        let (_, faults) = PolicySet::compile(&self.snapshot.policies);
        let documents = compiled.report.findings().iter().cloned();
        Report::new(documents.chain(faults).collect())
    }
}
