//! `lockstep system add`: a system for `lockstep.yaml`, as a proposal. It begins at the foot of the ladder, where nothing is written to it, and
//! climbs by proposals of its own.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::super::proposal::{self, show};
use super::super::propose::{Request, open_files, place};
use super::super::upstream;
use super::super::{Env, Exit, print, talk};
use crate::app::App;
use crate::compile::{self, CONFIG};
use crate::document::edit::{self, PathSegment};
use crate::document::{Blob, BlobId, Content, Snapshot, SnapshotDelta, data};
use crate::ids::{Digest, DocPath, GroupName, KindName, SystemName};
use crate::resource::Language;
use crate::view::{self, ReportView};

/// What a system takes where nothing else is said: the kinds that `lockstep adopt` can write into a repo that has no document of them.
const KINDS: &str = "FeatureFlag,AccessGrant,IpBlock,InterviewType";

/// What a system is added with.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// What documents will call it
    pub name: SystemName,
    /// How it is spoken to: http, file, …
    #[arg(long, default_value = "http")]
    pub connector: String,
    /// Where it is
    #[arg(long)]
    pub url: Option<String>,
    /// Another of the connector's settings; its value is JSON where it can be read as that, and text otherwise
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub setting: Vec<(String, Value)>,
    /// The name of a credential in the server's lockstep.toml; never the secret itself
    #[arg(long = "credential", value_name = "NAME")]
    pub credential_name: Option<String>,
    /// What people call it
    #[arg(long)]
    pub title: Option<String>,
    /// Another name that documents may use for it; may be given more than once
    #[arg(long)]
    pub alias: Vec<String>,
    /// The kinds it takes, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "KIND", default_value = KINDS)]
    pub kinds: Vec<KindName>,
    /// The group that it moves with; without one it is a group of its own, which is best until it is enforced
    #[arg(long)]
    pub group: Option<GroupName>,
    /// Print the new lockstep.yaml, and open no proposal
    #[arg(long)]
    pub dry_run: bool,
    /// Why, in as many lines as it takes
    #[arg(long, short = 'm', default_value = "")]
    pub message: String,
    /// The author; from `LOCKSTEP_USER` or git's `user.name` by default
    #[arg(long = "as", value_name = "PERSON")]
    pub as_user: Option<String>,
}

fn setting(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok((key.to_owned(), value))
        }
        Some(_) | None => Err("write KEY=VALUE, such as path=legacy/flags.json".to_owned()),
    }
}

pub(super) async fn run(args: AddArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let origin = upstream::origin(&env.settings)?;
    let app = App::open(upstream::settings(env.settings)?).await?;
    let main = app.forge.main().await?;
    let (repo, wanted) = (app.repo.clone(), main.clone());
    let snapshot = tokio::task::spawn_blocking(move || repo.snapshot(&wanted)).await??;
    let path: DocPath = CONFIG.parse()?;
    let text = snapshot
        .text(&path)
        .with_context(|| format!("the main branch has no {CONFIG}; `lockstep init` writes one"))?;
    let text = written(&args, &path, text)?;
    if let Some(wrong) = wrong(&snapshot, &path, &text) {
        talk(&wrong.told(language));
        return Ok(Exit::Findings);
    }
    if args.dry_run {
        print(&text)?;
        return Ok(Exit::Done);
    }
    let name = &args.name;
    let request = Request {
        title: match language {
            Language::English => format!("Add the system {name}, only watched"),
            Language::Japanese => format!("システム {name} を追加（観察のみ）"),
        },
        message: args.message.clone(),
        edits: Vec::new(),
        labels: Vec::new(),
    };
    let files = BTreeMap::from([(path, text)]);
    let user = app.user(args.as_user.as_deref()).await?;
    let opened = open_files(&app, &user, &request, &main, &files).await?;
    talk(&place(&opened, &origin, language));
    let judged = show(&app, opened.number, language, proposal::Format::Human).await?;
    talk(&next(&args, opened.number, language));
    Ok(judged)
}

/// `lockstep.yaml` with the system in it, and all else as its authors left it.
fn written(args: &AddArgs, path: &DocPath, text: &str) -> anyhow::Result<String> {
    let AddArgs {
        name,
        connector,
        url,
        setting,
        credential_name,
        title,
        alias,
        kinds,
        group,
        ..
    } = args;
    let mut fields: Vec<(&str, Value)> = Vec::new();
    fields.extend(title.as_deref().map(|title| ("title", Value::from(title))));
    if !alias.is_empty() {
        fields.push(("aliases", Value::from(alias.clone())));
    }
    fields.push(("connector", Value::from(connector.as_str())));
    fields.extend(url.as_deref().map(|url| ("url", Value::from(url))));
    fields.extend(setting.iter().map(|(k, v)| (k.as_str(), v.clone())));
    let credential = credential_name.as_deref();
    fields.extend(credential.map(|name| ("credential", Value::from(name))));
    let kinds: Vec<&str> = kinds.iter().map(KindName::as_str).collect();
    fields.extend([("kinds", Value::from(kinds)), ("mode", "observe".into())]);

    let key = |key: &str| PathSegment::Key(key.to_owned());
    let at = [key("systems"), key(name.as_str())];
    let (root, _) = data::parse(path, text.trim_start_matches('\u{feff}'));
    let systems = root.as_ref().and_then(|root| root.get("systems"));
    if systems.is_some_and(|systems| systems.value.get(name.as_str()).is_some()) {
        anyhow::bail!(
            "there is a system {name} already; change it with `lockstep propose --set {CONFIG}#/systems/{name}/FIELD=VALUE`"
        );
    }
    let mut text = text.to_owned();
    // One after the other, so that they stand in this order.
    for (index, (field, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            text = edit::set(path, &text, &[&at[..], &[key(field)]].concat(), value)?;
            continue;
        }
        let first = Value::Object([(field.to_owned(), value)].into_iter().collect());
        text = match edit::set(path, &text, &at, first.clone()) {
            Err(edit::EditError::NotFound { .. }) => {
                let all = Value::Object([(name.to_string(), first)].into_iter().collect());
                edit::set(path, &text, &at[..1], all)?
            }
            done => done?,
        };
    }
    if let Some(group) = group {
        let list = [key("groups"), key(group.as_str()), key("systems")];
        text = edit::add(path, &text, &list, Value::from(name.as_str())).with_context(|| {
            format!(
                "{name} can't be put into the group {group}; without --group it is one of its own"
            )
        })?;
    }
    Ok(text)
}

/// A revision that would not compile.
struct Wrong {
    snapshot: Snapshot,
    report: crate::finding::Report,
}

impl Wrong {
    fn told(&self, language: Language) -> String {
        let report = ReportView::new(&self.report, |path| self.snapshot.text(path));
        view::text::report(&report, language)
    }
}

/// What is wrong with the config repo once it has this `lockstep.yaml`.
fn wrong(snapshot: &Snapshot, path: &DocPath, text: &str) -> Option<Wrong> {
    let blob = Blob {
        id: BlobId::from_digest(Digest::of(text.as_bytes())),
        content: Content::Bytes(text.as_bytes().into()),
    };
    let delta = SnapshotDelta {
        files: [(path.clone(), Some(blob))].into(),
        ..SnapshotDelta::default()
    };
    let mut after = snapshot.clone();
    after.succeed(None, &delta);
    let report = compile::compile(&after).report;
    (!report.passes()).then_some(Wrong {
        snapshot: after,
        report,
    })
}

/// What comes after it.
fn next(args: &AddArgs, number: u64, language: Language) -> String {
    let name = &args.name;
    let step = |mode: &str| format!("lockstep propose --set {CONFIG}#/systems/{name}/mode={mode}");
    let server = args.credential_name.as_deref().map(|credential| match language {
        Language::English => format!(
            "  on the server, lockstep.toml says what [credentials.{credential}] is and the `hosts` that it may be sent to\n"
        ),
        Language::Japanese => format!(
            "  サーバーの lockstep.toml に [credentials.{credential}] と、送ってよい `hosts` を書きます\n"
        ),
    });
    let server = server.unwrap_or_default();
    match language {
        Language::English => format!(
            "next:\n{server}  once proposal {number} is merged, {name} is watched, and nothing is written to it\n  \
             lockstep adopt {name}    proposes to write what it holds into the repo\n  \
             {}     differences are told\n  {}     what is declared is created and updated\n  {}    what Lockstep owns and nobody declares is deleted too",
            step("detect"),
            step("upsert"),
            step("enforce"),
        ),
        Language::Japanese => format!(
            "次の手順:\n{server}  提案 {number} のマージ後、{name} は観察だけされ、何も書き込まれません\n  \
             lockstep adopt {name}    現在の内容をリポジトリに書き込む提案\n  \
             {}     差分を知らせる\n  {}     作成と更新をする\n  {}    Lockstep のもので文書から消えたものを削除もする",
            step("detect"),
            step("upsert"),
            step("enforce"),
        ),
    }
}
