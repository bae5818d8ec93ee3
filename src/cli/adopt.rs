//! `lockstep adopt`: what is live on a system and no document declares, written into the repo by a proposal.
//!
//! It is given the half of a connector that reads, and opens a proposal like any other: nothing here writes to a system. From the merge on the
//! resources are Lockstep's to keep, and what is taken out of the documents later is deleted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;
use similar::TextDiff;

use super::proposal::{self, show};
use super::propose::{Request, open_files, place};
use super::upstream::{self, Origin};
use super::{Env, Exit, print, talk};
use crate::app::{self, App};
use crate::compile::{self, Adoption, Compiled};
use crate::config::System;
use crate::document::{Snapshot, suggest};
use crate::engine::{self, Hope};
use crate::finding::Severity;
use crate::ids::{KindName, ResourceRef, Revision, SystemName};
use crate::plan::{Change, Op, SystemPlan, fields};
use crate::resource::{Bundle, Language};
use crate::view::{adoption as words, printable};

/// How many names a message holds.
const NAMED: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    /// The system, as lockstep.yaml on the main branch names it.
    system: SystemName,
    /// Also take over what documents declare with another value: the live one goes into the repo, and with it to every system that has it from there.
    #[arg(long)]
    all: bool,
    /// Only resources of these kinds, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kind: Vec<KindName>,
    /// Only these resources, by their names or as `KIND/NAME`.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Print what would be written, and open no proposal.
    #[arg(long)]
    dry_run: bool,
    /// Why, in as many lines as it takes; stands before what the proposal says of itself.
    #[arg(long, short = 'm', default_value = "")]
    message: String,
    /// The author; from `LOCKSTEP_USER` or git's `user.name` by default.
    #[arg(long = "as", value_name = "PERSON")]
    as_user: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) async fn run(args: AdoptArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let origin = upstream::origin(&env.settings)?;
    let app = App::open(upstream::settings(env.settings)?).await?;
    let main = Main::read(&app).await?;
    let system = main.system(&args.system)?;
    let (found, marks) = look(&app, &args.system, system, &main.compiled.bundle).await?;
    let chosen = choose(&args, system, found, &main.compiled.bundle)?;
    refuse_foreign(&args.system, &chosen.taken, &marks, app.mark()?.as_deref())?;
    for line in chosen.aside(&args.system, language) {
        talk(&line);
    }
    let taken = chosen.taken;
    let (snapshot, compiled, name) = (main.snapshot, main.compiled, args.system.clone());
    let worked = tokio::task::spawn_blocking(move || {
        let adoption = compile::adopt(&snapshot, &compiled, &name, &taken);
        (snapshot, compiled, adoption)
    });
    let (snapshot, compiled, adoption) = worked.await?;
    for left in &adoption.left {
        let why = match language {
            Language::English => left.why.to_string(),
            Language::Japanese => format!("{}（{}）", words::in_japanese(&left.why), left.why),
        };
        let line = format!("{}: {why}", left.change.id);
        talk(&printable(&line));
    }
    if adoption.files.is_empty() {
        return nothing(&args, &adoption, language);
    }
    if args.dry_run {
        print(&match args.format {
            Format::Human => diffs(&snapshot, &adoption),
            Format::Json => format!("{:#}\n", told(&args.system, &adoption, None)),
        })?;
        talk(&counted(&args.system, &adoption, language));
        return Ok(ended(&adoption));
    }
    let request = Request {
        title: words::title(&args.system, &adoption),
        message: words::description(&intro(&args), &adoption, &compiled.bundle),
        edits: Vec::new(),
        labels: vec!["adopt".to_owned()],
    };
    let user = app.user(args.as_user.as_deref()).await?;
    let opened = open_files(&app, &user, &request, &main.revision, &adoption.files).await?;
    said(&app, &args, &adoption, (opened, origin), language).await
}

/// The main branch.
struct Main {
    revision: Revision,
    snapshot: Snapshot,
    compiled: Compiled,
}

impl Main {
    /// Its newest revision, which must be sound: what is written into it is judged by what it says.
    async fn read(app: &App) -> anyhow::Result<Self> {
        let revision = app.forge.main().await?;
        let (repo, wanted) = (app.repo.clone(), revision.clone());
        let read = tokio::task::spawn_blocking(move || {
            let snapshot = repo.snapshot(&wanted)?;
            let compiled = compile::compile(&snapshot);
            Ok::<_, crate::repo::RepoError>((snapshot, compiled))
        });
        let (snapshot, compiled) = read.await??;
        if let Some(why) = &snapshot.beyond {
            anyhow::bail!("the main branch can't be read whole: {why}");
        }
        let mut errors = compiled.report.findings().iter();
        if let Some(error) = errors.find(|f| f.severity == Severity::Error) {
            anyhow::bail!(
                "the main branch does not compile: {}: {}; `lockstep check --rev {}` shows all of it",
                error.location.path,
                error.message,
                revision.short()
            );
        }
        Ok(Self {
            revision,
            snapshot,
            compiled,
        })
    }

    fn system(&self, name: &SystemName) -> anyhow::Result<&System> {
        let systems = &self.compiled.bundle.config.systems;
        systems.get(name).with_context(|| {
            let near = suggest::nearest(name.as_str(), systems.keys().map(SystemName::as_str));
            let hint = match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("`lockstep system add {name}` proposes it"),
            };
            format!("the main branch has no system {name}; {hint}")
        })
    }
}

/// Which config repo a resource belongs to, where that is known.
type Marks = BTreeMap<ResourceRef, String>;

/// What a system has that differs from what it should have, as the changes that would take it back; and whose it is.
async fn look(
    app: &App,
    name: &SystemName,
    system: &System,
    bundle: &Bundle,
) -> anyhow::Result<(Vec<Change>, Marks)> {
    let desired = bundle.project_at(name, app.clock.now());
    let connector = app::observe_only(name, system, &app.settings, Some(&app.store));
    let connector = connector.map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
    let observed = engine::observe(&*connector, None, &desired, Hope::Unknown).await;
    let observed = observed.with_context(|| format!("{name} can't be read"))?;
    let desired = fields::settled(&desired, &observed, &system.fields);
    let found = SystemPlan::new(&desired, &observed, bundle).changes;
    let ids: Vec<ResourceRef> = found.iter().map(|c| c.id.clone()).collect();
    let marks = connector.marks(&ids).await;
    let marks =
        marks.with_context(|| format!("whose the resources of {name} are can't be read"))?;
    Ok((found, marks))
}

/// What carries another config repo's mark is not ours to adopt. Where a connector can't tell, a system that keeps marks refuses the first change.
fn refuse_foreign(
    name: &SystemName,
    taken: &[Change],
    marks: &Marks,
    ours: Option<&str>,
) -> anyhow::Result<()> {
    let foreign = |c: &&Change| marks.get(&c.id).is_some_and(|m| Some(m.as_str()) != ours);
    let mut all = taken.iter().filter(foreign);
    let Some(first) = all.next() else {
        return Ok(());
    };
    let more = match all.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mark = marks.get(&first.id).map_or("", String::as_str);
    anyhow::bail!(
        "{}{more} on {name} belongs to {mark}, so {} may not adopt it; declare it in one of the two, choose others with --only, or set \
         `mark = {mark:?}` in lockstep.toml to go on in the other's place",
        first.id,
        ours.unwrap_or("this repo, which has no mark,")
    );
}

/// What is to be adopted of what was found, and what is not and why.
#[derive(Default)]
struct Chosen {
    taken: Vec<Change>,
    /// Declared with another value.
    differs: Vec<ResourceRef>,
    /// Of kinds that the system is not declared for.
    other_kinds: BTreeSet<String>,
}

fn choose(
    args: &AdoptArgs,
    system: &System,
    found: Vec<Change>,
    bundle: &Bundle,
) -> anyhow::Result<Chosen> {
    let AdoptArgs {
        system: name,
        all,
        kind: kinds,
        only,
        ..
    } = args;
    if let Some(kind) = kinds.iter().find(|kind| !system.kinds.contains(*kind)) {
        let takes: Vec<&str> = system.kinds.iter().map(KindName::as_str).collect();
        anyhow::bail!(
            "{name} is not declared for {kind} in lockstep.yaml; its kinds are {}",
            takes.join(", ")
        );
    }
    let mut chosen = Chosen::default();
    let mut unused: BTreeSet<&String> = only.iter().collect();
    for change in found {
        let id = &change.id;
        if change.op == Op::Create || is_elsewhere_in_time(&change, name, bundle) {
            continue;
        }
        if !system.kinds.iter().any(|kind| kind.as_str() == id.kind()) {
            chosen.other_kinds.insert(id.kind().to_owned());
            continue;
        }
        if !(kinds.is_empty() || kinds.iter().any(|kind| kind.as_str() == id.kind())) {
            continue;
        }
        let is_meant = |wanted: &&String| *wanted == id.name() || *wanted == id.as_str();
        if !only.is_empty() && !only.iter().any(|wanted| is_meant(&wanted)) {
            continue;
        }
        unused.retain(|wanted| !is_meant(wanted));
        if *all || !says_otherwise(&change, bundle) {
            chosen.taken.push(change);
        } else {
            chosen.differs.push(change.id);
        }
    }
    if let Some(wanted) = unused.first() {
        anyhow::bail!(
            "nothing called {wanted:?} on {name} differs from what the main branch declares for it"
        );
    }
    Ok(chosen)
}

/// Whether the documents say it with another value, of which other systems may be.
fn says_otherwise(change: &Change, bundle: &Bundle) -> bool {
    let declared = bundle.get(&change.id);
    let live = change.before.as_ref();
    declared.is_some_and(|declared| live.is_some_and(|live| live.spec != declared.item.spec))
}

/// Whether the documents declare it for this system, for another time than now: it will go by itself.
fn is_elsewhere_in_time(change: &Change, system: &SystemName, bundle: &Bundle) -> bool {
    let declared = bundle.get(&change.id);
    change.op == Op::Delete && declared.is_some_and(|r| r.systems.contains(system))
}

impl Chosen {
    /// What is to be said of what is not adopted.
    fn aside(&self, system: &SystemName, language: Language) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.differs.is_empty() {
            let (count, named) = (self.differs.len(), named(&self.differs));
            lines.push(match language {
                Language::English => format!(
                    "{count} declared with another value than {system} has, and left as they are; --all takes the live ones over: {named}"
                ),
                Language::Japanese => format!(
                    "文書の値と {system} の値が異なるもの {count} 件はそのままです。--all で現在の値を取り込みます: {named}"
                ),
            });
        }
        if !self.other_kinds.is_empty() {
            let kinds: Vec<&str> = self.other_kinds.iter().map(String::as_str).collect();
            let kinds = printable(&kinds.join(", "));
            lines.push(match language {
                Language::English => format!(
                    "{system} also holds kinds that lockstep.yaml does not name for it: {kinds}"
                ),
                Language::Japanese => {
                    format!("{system} には lockstep.yaml で指定されていない種類もあります: {kinds}")
                }
            });
        }
        lines
    }
}

fn named(ids: &[ResourceRef]) -> String {
    let names: Vec<String> = ids
        .iter()
        .take(NAMED)
        .map(|id| printable(id.as_str()))
        .collect();
    let more = if ids.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

fn nothing(args: &AdoptArgs, adoption: &Adoption, language: Language) -> anyhow::Result<Exit> {
    let system = &args.system;
    let all_declared = adoption.left.is_empty();
    talk(&match (all_declared, language) {
        (true, Language::English) => format!("nothing to adopt from {system}"),
        (true, Language::Japanese) => format!("{system} から取り込むものはありません"),
        (false, Language::English) => {
            format!("nothing of this on {system} can be written into the repo")
        }
        (false, Language::Japanese) => {
            format!("{system} のこれらはいずれもリポジトリに書き込めません")
        }
    });
    if args.format == Format::Json {
        print(&format!("{:#}\n", told(system, adoption, None)))?;
    }
    Ok(ended(adoption))
}

/// 1 where something could not be written.
fn ended(adoption: &Adoption) -> Exit {
    if adoption.left.is_empty() {
        Exit::Done
    } else {
        Exit::Findings
    }
}

fn counted(system: &SystemName, adoption: &Adoption, language: Language) -> String {
    let (count, left) = (adoption.adopted.len(), adoption.left.len());
    let files: Vec<String> = adoption
        .files
        .keys()
        .map(|path| printable(path.as_str()))
        .collect();
    let files = files.join(", ");
    match language {
        Language::English => {
            format!("{count} from {system} into {files}; {left} left out")
        }
        Language::Japanese => {
            format!("{system} の {count} 件を {files} へ。取り込めないもの {left} 件")
        }
    }
}

/// The documents as they would change.
fn diffs(snapshot: &Snapshot, adoption: &Adoption) -> String {
    let mut out = String::new();
    for (path, text) in &adoption.files {
        let before = snapshot.text(path).unwrap_or_default();
        let diff = TextDiff::from_lines(before, text);
        let diff = diff
            .unified_diff()
            .header(path.as_str(), path.as_str())
            .to_string();
        out.extend(diff.lines().map(|line| printable(line) + "\n"));
    }
    out
}

fn told(system: &SystemName, adoption: &Adoption, proposal: Option<u64>) -> serde_json::Value {
    let adopted = adoption.adopted.iter().map(|a| {
        json!({"id": a.change.id, "document": a.document, "changes_too": a.others, "keeps": a.keeps})
    });
    let left = adoption.left.iter();
    let left = left.map(|l| json!({"id": l.change.id, "why": l.why.to_string()}));
    json!({
        "system": system,
        "adopted": adopted.collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
        "files": adoption.files,
        "proposal": proposal,
    })
}

/// What the proposal is for. Read by people of either language, as what follows it is.
fn intro(args: &AdoptArgs) -> String {
    let name = crate::view::markdown::code(args.system.as_str());
    let mut out = args.message.trim().to_owned();
    if !out.is_empty() {
        out.push_str("\n\n");
    }
    out.push_str(&format!(
        "{name} にあって文書に書かれていないものをリポジトリに書き込みます。マージしても {name} には何も書き込まれません。\
         マージ後は Lockstep の管理となり、文書から消したものは {name} からも削除されます。\n\n\
         Writes into the repo what is on {name} and no document declares. Merging it writes nothing to {name}; from then on it is Lockstep's to \
         keep, and what is taken out of the documents is deleted there.\n"
    ));
    if args.all {
        out.push_str(
            "\n文書の値と異なるものは、現在の値に書き換えます。\n\nWhere a document says another value, the live one takes its place.\n",
        );
    }
    out
}

/// Where the proposal is, and how it is judged.
async fn said(
    app: &App,
    args: &AdoptArgs,
    adoption: &Adoption,
    (opened, origin): (crate::forge::Proposal, Origin),
    language: Language,
) -> anyhow::Result<Exit> {
    talk(&counted(&args.system, adoption, language));
    talk(&place(&opened, &origin, language));
    let judged = match args.format {
        Format::Human => show(app, opened.number, language, proposal::Format::Human).await?,
        Format::Json => {
            let told = told(&args.system, adoption, Some(opened.number));
            print(&format!("{told:#}\n"))?;
            Exit::Done
        }
    };
    Ok(match (judged, ended(adoption)) {
        (Exit::Done, ended) => ended,
        (judged, _) => judged,
    })
}
