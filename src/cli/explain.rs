//! `lockstep explain`: which rule, owner, ceiling and freeze judge a line, and from which commit.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::input::CaseArgs;
use super::{Env, Exit, print, talk};
use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::compile::{self, Compiled};
use crate::document::Snapshot;
use crate::gate::Hold;
use crate::plan::Plan;
use crate::plan::safety::PastChange;
use crate::policy::PolicyInput;
use crate::repo::Repo;
use crate::view;

mod files;
mod target;
mod tell;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A document, a line of one (`config/feature-flags.json:12`), `lockstep.yaml` or a line of it, a policy, a resource (`FeatureFlag/ai_assistant`), or a line as `lockstep plan` prints
    /// it, in quotes.
    #[arg(value_name = "PATH|PLAN-LINE", allow_hyphen_values = true)]
    what: String,
    #[command(flatten)]
    case: CaseArgs,
    /// One revision: a branch, tag or commit. Without it and without a proposal, the work tree.
    #[arg(long, value_name = "REV", conflicts_with_all = ["base", "head", "proposal"])]
    rev: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// What is asked about lies in here: the rules that judge, and the documents that are judged.
struct Scene {
    /// What judges.
    before: Arc<Snapshot>,
    base: Arc<Compiled>,
    /// What is judged; the same where there is no proposal.
    after: Arc<Snapshot>,
    compiled: Arc<Compiled>,
    /// What a proposal changes, or how a plan would name all there is.
    plan: Plan,
    now: jiff::Timestamp,
    case: Option<Case>,
    /// What was changed lately; `None` where no store is at hand.
    past: Option<Vec<PastChange>>,
}

/// A proposal.
struct Case {
    input: PolicyInput,
    holds: Vec<Hold>,
}

pub(crate) fn run(args: &ExplainArgs, env: &Env) -> anyhow::Result<Exit> {
    let mut scene = match args.case.judge(env)? {
        Some(j) => Scene {
            now: j.at,
            before: j.before,
            base: j.base,
            after: j.after,
            compiled: j.compiled,
            plan: j.plan,
            case: Some(Case {
                input: j.input,
                holds: j.foresight.holds,
            }),
            past: None,
        },
        None => at_rest(args.rev.as_deref(), env)?,
    };
    let errors = scene.compiled.report.findings().len();
    if !scene.compiled.report.passes() {
        talk(&format!(
            "{errors} findings: what could not be read is not told of; see `lockstep check`"
        ));
    }
    let target = target::find(&scene, &args.what)?;
    scene.past = super::wait_for(past(&scene, env))?;
    let view = tell::view(&scene, &target, env.language);
    print(&match args.format {
        Format::Human => view::text::explain(&view),
        Format::Json => view::json::explain(&view),
    })?;
    Ok(Exit::Done)
}

/// One revision, or the work tree, judged by itself.
fn at_rest(rev: Option<&str>, env: &Env) -> anyhow::Result<Scene> {
    let repo = Repo::open(&env.settings.repo)?;
    let bare = repo.has_git() && !repo.has_work_tree();
    let snapshot = match rev {
        Some(rev) => repo.snapshot(&repo.resolve(rev)?)?,
        None if bare => repo.snapshot(&repo.resolve(&env.settings.branch)?)?,
        None => repo.snapshot_work_tree()?,
    };
    let snapshot = Arc::new(snapshot);
    let compiled = Arc::new(compile::compile(&snapshot));
    Ok(Scene {
        plan: Plan::between(None, &compiled.bundle),
        before: snapshot.clone(),
        base: compiled.clone(),
        after: snapshot,
        compiled,
        now: SystemClock.now(),
        case: None,
        past: None,
    })
}

/// What the store remembers, where there is one.
async fn past(scene: &Scene, env: &Env) -> anyhow::Result<Option<Vec<PastChange>>> {
    let settings = super::upstream::settings(env.settings.clone())?;
    let Some(store) = app::known_store(&settings).await? else {
        return Ok(None);
    };
    let config = &scene.base.bundle.config;
    let since = config.safety.counted_since(scene.now);
    let mut past = Vec::new();
    for state in store.system_states().await? {
        if config.systems.contains_key(&state.system) {
            past.extend(store.changes_since(&state.system, since).await?);
        }
    }
    Ok(Some(past))
}
