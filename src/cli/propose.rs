//! `lockstep propose`: a proposal from the work tree, or from `--set` edits that keep a file's formatting and comments.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::proposal::show;
use super::upstream::{self, Origin};
use super::{Env, Exit, talk};
use crate::app::App;
use crate::document::edit::{Edit, parse_set};
use crate::document::{Content, Snapshot};
use crate::forge::{NewProposal, Proposal, ProposalState};
use crate::ids::{DocPath, Revision};
use crate::repo::{Identity, Repo};
use crate::resource::Language;

#[derive(Debug, Args)]
pub(crate) struct ProposeArgs {
    /// An edit, such as `flag.ai_assistant.rollout=25`, `access.admin_users+=user042` or `config/x.json#/a/b=1`. Without any, the
    /// changes in the work tree are proposed.
    #[arg(long, value_name = "EDIT")]
    set: Vec<String>,
    /// What it is about, in one line; the edits by default.
    #[arg(long, short)]
    title: Option<String>,
    /// Why, in as many lines as it takes.
    #[arg(long, short = 'm', default_value = "")]
    message: String,
    /// Propose this branch, as it was pushed. Where there is none yet, the edits or the work tree's changes make it.
    #[arg(long, value_name = "NAME", conflicts_with = "update")]
    branch: Option<String>,
    /// Add to this open proposal instead of opening one.
    #[arg(long, value_name = "NUMBER")]
    update: Option<u64>,
    #[arg(long)]
    label: Vec<String>,
    /// The author; from `LOCKSTEP_USER` or git's `user.name` by default.
    #[arg(long = "as", value_name = "PERSON")]
    as_user: Option<String>,
}

pub(crate) async fn run(args: ProposeArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let origin = upstream::origin(&env.settings)?;
    let clone = env.settings.repo.clone();
    let app = App::open(upstream::settings(env.settings)?).await?;
    let user = app.user(args.as_user.as_deref()).await?;
    let pushed = match &args.branch {
        Some(name) => {
            app.forge.fetch_branch(name).await?;
            app.repo.head(name)?
        }
        None => None,
    };
    let title = match args.title {
        Some(title) => title,
        None => default_title(&app, pushed.as_ref(), &args.set, language)?,
    };
    let request = Request {
        title,
        message: args.message,
        edits: args.set,
        labels: args.label,
    };
    let at = app.clock.now();
    let branch = args.branch.unwrap_or_else(|| branch(&request.title, at));
    let elsewhere = matches!(origin, Origin::Local(_) | Origin::Forge(_));
    let from_clone = elsewhere && request.edits.is_empty();
    let proposal = if let Some(number) = args.update {
        update(&app, number, &user, &request).await?
    } else if pushed.is_some() {
        anyhow::ensure!(
            request.edits.is_empty(),
            "there is a branch {branch:?} already; propose it without --set, or name another"
        );
        announce(&app, &user, &request, branch).await?
    } else if from_clone {
        let clone = Arc::new(Repo::open(&clone)?);
        open_from(&app, clone, &user, &request, branch).await?
    } else {
        open(&app, &user, &request, branch).await?
    };
    talk(&place(&proposal, &origin, language));
    show(
        &app,
        proposal.number,
        language,
        super::proposal::Format::Human,
    )
    .await
}

/// Where the proposal went, and what is left to do about it.
pub(crate) fn place(proposal: &Proposal, origin: &Origin, language: Language) -> String {
    let (number, branch) = (proposal.number, &proposal.branch);
    match (origin, language) {
        (Origin::Here, Language::English) => format!("proposal {number} on branch {branch}"),
        (Origin::Here, Language::Japanese) => {
            format!("提案 {number}（ブランチ {branch}）")
        }
        (Origin::Forge(url), Language::English) => {
            format!("proposal {number} on branch {branch}: {url}/pull/{number}")
        }
        (Origin::Forge(url), Language::Japanese) => {
            format!("提案 {number}（ブランチ {branch}）: {url}/pull/{number}")
        }
        (Origin::Local(path), Language::English) => format!(
            "proposal {number} on branch {branch} of origin, {}",
            path.display()
        ),
        (Origin::Local(path), Language::Japanese) => format!(
            "提案 {number}（origin {} のブランチ {branch}）",
            path.display()
        ),
        (Origin::Remote(url), Language::English) => format!(
            "proposal {number} on branch {branch} of this clone; nobody at {url} sees it before\n  \
             git push origin {branch} 'refs/notes/*:refs/notes/*' 'refs/lockstep/*:refs/lockstep/*'"
        ),
        (Origin::Remote(url), Language::Japanese) => format!(
            "提案 {number}（この複製のブランチ {branch}）。次を実行するまで {url} の人には見えません\n  \
             git push origin {branch} 'refs/notes/*:refs/notes/*' 'refs/lockstep/*:refs/lockstep/*'"
        ),
    }
}

/// What is to be proposed.
pub(crate) struct Request {
    pub(crate) title: String,
    pub(crate) message: String,
    /// None for the work tree's changes.
    pub(crate) edits: Vec<String>,
    pub(crate) labels: Vec<String>,
}

/// The edits, or what the last commit of a pushed branch says.
fn default_title(
    app: &App,
    pushed: Option<&Revision>,
    edits: &[String],
    language: Language,
) -> anyhow::Result<String> {
    Ok(match (pushed, edits, language) {
        (Some(head), _, _) => app.repo.commit(head)?.subject().to_owned(),
        (None, [], Language::English) => "Changes from the work tree".to_owned(),
        (None, [], Language::Japanese) => "作業ツリーの変更".to_owned(),
        (None, edits, _) => edits.join(", "),
    })
}

/// Opens a proposal of edits, on a branch named after its title.
pub(crate) async fn open_edits(
    app: &App,
    user: &str,
    request: &Request,
) -> anyhow::Result<Proposal> {
    let branch = branch(&request.title, app.clock.now());
    open(app, user, request, branch).await
}

/// Opens a proposal of documents with new contents on top of a revision of main, on a branch named after its title.
pub(crate) async fn open_files(
    app: &App,
    user: &str,
    request: &Request,
    main: &Revision,
    files: &BTreeMap<DocPath, String>,
) -> anyhow::Result<Proposal> {
    let branch = branch(&request.title, app.clock.now());
    let identity = identity(&app.repo, user)?;
    let message = format!("{}\n\n{}", request.title, request.message);
    let files = files.iter();
    let files = files.map(|(path, text)| (path.clone(), Some(text.clone().into_bytes())));
    let files: BTreeMap<_, _> = files.collect();
    let (repo, name, main, at) = (
        app.repo.clone(),
        branch.clone(),
        main.clone(),
        app.clock.now(),
    );
    tokio::task::spawn_blocking(move || {
        repo.commit_files(&name, Some(&main), &files, &identity, &message, at)
    })
    .await??;
    announce(app, user, request, branch).await
}

/// Opens a proposal of edits or, where there are none, of what was edited in the work tree, on this new branch.
async fn open(
    app: &App,
    user: &str,
    request: &Request,
    branch: String,
) -> anyhow::Result<Proposal> {
    if request.edits.is_empty() {
        return open_from(app, app.repo.clone(), user, request, branch).await;
    }
    let main = app.forge.main().await?;
    let identity = identity(&app.repo, user)?;
    let message = format!("{}\n\n{}", request.title, request.message);
    commit_edits(
        &app.repo,
        &branch,
        &main,
        &main,
        &request.edits,
        &identity,
        &message,
        app.clock.now(),
    )
    .await?;
    announce(app, user, request, branch).await
}

/// Opens a proposal of what someone has edited in a work tree: the proposals' own, or a clone of it.
async fn open_from(
    app: &App,
    clone: Arc<Repo>,
    user: &str,
    request: &Request,
    branch: String,
) -> anyhow::Result<Proposal> {
    let identity = identity(&clone, user)?;
    let message = format!("{}\n\n{}", request.title, request.message);
    anyhow::ensure!(
        clone.has_work_tree(),
        "{} is a bare repository, so nothing was edited there: say what to change with --set, or name a pushed branch with --branch",
        clone.path().display()
    );
    let (there, name, at) = (app.repo.clone(), branch.clone(), app.clock.now());
    tokio::task::spawn_blocking(move || {
        let made = clone.commit_work_tree_changes(&name, &message, &identity, at)?;
        anyhow::ensure!(
            made.is_some(),
            "the work tree has no changes to propose; edit a document, use --set, or name a branch that was pushed with --branch"
        );
        if clone.path() != there.path() {
            there.bring_branch(&clone, &name)?;
        }
        Ok(())
    })
    .await??;
    announce(app, user, request, branch).await
}

fn branch(title: &str, at: jiff::Timestamp) -> String {
    // To the millisecond: the same may be proposed twice within a second.
    let time = at.strftime("%Y%m%d%H%M%S");
    let millis = at.subsec_millisecond();
    format!("proposal/{time}{millis:03}-{}", slug(title))
}

async fn announce(
    app: &App,
    user: &str,
    request: &Request,
    branch: String,
) -> anyhow::Result<Proposal> {
    let new = NewProposal {
        title: request.title.clone(),
        description: request.message.clone(),
        author: user.to_owned(),
        branch,
        labels: request.labels.clone(),
    };
    Ok(app.forge.open(new).await?)
}

/// Adds edits to an open proposal, as one more commit on its branch.
pub(crate) async fn update(
    app: &App,
    number: u64,
    user: &str,
    request: &Request,
) -> anyhow::Result<Proposal> {
    let proposal = app.forge.proposal(number).await?;
    anyhow::ensure!(
        proposal.state == ProposalState::Open,
        "proposal {number} is not open any more"
    );
    anyhow::ensure!(!request.edits.is_empty(), "--update takes --set edits");
    if let Some(fork) = &proposal.fork {
        anyhow::bail!(
            "proposal {number} comes from the fork {fork}, where only its author can add to it; open one of your own"
        );
    }
    let identity = identity(&app.repo, user)?;
    let message = format!("{}\n\n{}", request.title, request.message);
    app.forge.fetch_branch(&proposal.branch).await?;
    let (branch, head, at) = (
        proposal.branch.clone(),
        proposal.head.clone(),
        app.clock.now(),
    );
    commit_edits(
        &app.repo,
        &branch,
        &head,
        &head,
        &request.edits,
        &identity,
        &message,
        at,
    )
    .await?;
    app.forge.pushed(&branch).await?;
    Ok(app.forge.proposal(number).await?)
}

#[expect(clippy::too_many_arguments, reason = "what a commit is made of")]
async fn commit_edits(
    repo: &Arc<Repo>,
    branch: &str,
    from: &Revision,
    parent: &Revision,
    edits: &[String],
    identity: &Identity,
    message: &str,
    at: jiff::Timestamp,
) -> anyhow::Result<Revision> {
    let (repo, branch, from, parent) = (
        repo.clone(),
        branch.to_owned(),
        from.clone(),
        parent.clone(),
    );
    let (edits, identity, message) = (edits.to_vec(), identity.clone(), message.to_owned());
    tokio::task::spawn_blocking(move || {
        let snapshot = repo.snapshot(&from)?;
        let files = edited(&snapshot, &edits)?;
        Ok(repo.commit_files(&branch, Some(&parent), &files, &identity, &message, at)?)
    })
    .await?
}

/// The files that the edits change, with their new contents. An edit sees what the ones before it did.
pub(crate) fn edited(
    snapshot: &Snapshot,
    edits: &[String],
) -> anyhow::Result<BTreeMap<DocPath, Option<Vec<u8>>>> {
    let mut texts: BTreeMap<DocPath, String> = BTreeMap::new();
    for expression in edits {
        let edit: Edit = parse_set(expression, |path| snapshot.files.contains_key(path))?;
        let text = match texts.get(&edit.document) {
            Some(text) => text.clone(),
            None => text_of(snapshot, &edit.document)?,
        };
        let changed = edit
            .apply(&text)
            .with_context(|| format!("{expression} can't be made"))?;
        texts.insert(edit.document, changed);
    }
    let differs = |(path, text): &(DocPath, String)| snapshot.text(path) != Some(text.as_str());
    let files: BTreeMap<_, _> = texts
        .into_iter()
        .filter(differs)
        .map(|(path, text)| (path, Some(text.into_bytes())))
        .collect();
    anyhow::ensure!(
        !files.is_empty(),
        "nothing would change: the values are what they are already"
    );
    Ok(files)
}

fn text_of(snapshot: &Snapshot, path: &DocPath) -> anyhow::Result<String> {
    match snapshot.files.get(path).map(|b| &b.content) {
        Some(Content::Bytes(bytes)) => String::from_utf8(bytes.to_vec())
            .map_err(|_| anyhow::anyhow!("{path} is not UTF-8, so it can't be edited")),
        Some(Content::Symlink | Content::Submodule | Content::TooLarge(_) | Content::Odd(_)) => {
            anyhow::bail!("{path} is no readable file")
        }
        None => anyhow::bail!("there is no {path}"),
    }
}

fn identity(repo: &Repo, user: &str) -> anyhow::Result<Identity> {
    let email = repo
        .identity()?
        .map_or_else(|| format!("{user}@localhost"), |i| i.email);
    Ok(Identity::new(user, email))
}

/// A title as part of a branch name.
fn slug(title: &str) -> String {
    let mut slug: String = title
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    while slug.contains("--") {
        slug = slug.replace("--", "-");
    }
    let slug: String = slug.trim_matches('-').chars().take(40).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        "change".to_owned()
    } else {
        slug.to_owned()
    }
}
