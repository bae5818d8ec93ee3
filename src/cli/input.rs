//! Which state of the config repo a command is about: the work tree as it lies, one revision, or a proposal's base and head.

use std::sync::Arc;

use clap::Args;

use crate::compile::Compiled;
use crate::document::Snapshot;
use crate::finding::Report;
use crate::ids::Revision;
use crate::policy::PolicySet;
use crate::repo::Repo;

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

/// The state a command is about, and what it is compared with.
pub(crate) struct Input {
    pub(crate) repo: Arc<Repo>,
    pub(crate) snapshot: Snapshot,
    /// The base, where a proposal is meant.
    pub(crate) before: Option<Snapshot>,
}

impl InputArgs {
    pub(crate) fn read(&self, env: &Env) -> anyhow::Result<Input> {
        let repo = Arc::new(Repo::open(&env.settings.repo)?);
        let (snapshot, before) = match (&self.rev, &self.base, &self.head) {
            (Some(rev), _, _) => (repo.snapshot(&repo.resolve(rev)?)?, None),
            (None, Some(base), Some(head)) => {
                let (base, head) = (repo.resolve(base)?, repo.resolve(head)?);
                (merged(&repo, &base, &head)?, Some(repo.snapshot(&base)?))
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

fn merged(repo: &Repo, base: &Revision, head: &Revision) -> anyhow::Result<Snapshot> {
    match repo.snapshot_merged(base, head)? {
        Ok((snapshot, _tree)) => Ok(Snapshot {
            revision: Some(head.clone()),
            ..snapshot
        }),
        Err(paths) => anyhow::bail!(
            "{} and {} conflict in {}",
            base.short(),
            head.short(),
            paths.join(", ")
        ),
    }
}

impl Input {
    /// All that is wrong with it: the documents, and the policies beside them.
    pub(crate) fn report(&self, compiled: &Compiled) -> Report {
        let (_, faults) = PolicySet::compile(&self.snapshot.policies);
        let documents = compiled.report.findings().iter().cloned();
        Report::new(documents.chain(faults).collect())
    }
}
