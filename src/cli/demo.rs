//! `lockstep demo`: a reviewed change reaches two running systems, told as a story, with nothing but this binary.
//!
//! The systems and the reconciler are processes of their own, the config repo is a real bare repository in a temporary folder, and every step
//! is checked: one that does not come true ends the demo with what was expected.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use super::propose::{self, Request};
use super::{Env, Exit};
use crate::app::App;
use crate::forge::{ReviewKind, StatusState};
use crate::gate::{self, Judgement};
use crate::ids::Revision;
use crate::resource::Language;
use crate::view;

mod sample;
mod stage;
mod told;

use stage::Stage;
use told::{Teller, Text};

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after the story instead of staying up.
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(args: DemoArgs, env: Env) -> anyhow::Result<Exit> {
    let teller = Teller::new(env.language);
    let started = Instant::now();
    let mut stage = Stage::build(env.language).await?;
    tell(&mut stage, &teller).await?;
    teller.end(started.elapsed());
    if args.once {
        stage.strike().await;
        return Ok(Exit::Done);
    }
    teller.addresses(&stage);
    super::signals::Signals::listen()?.next().await;
    stage.strike().await;
    Ok(Exit::Done)
}

async fn tell(stage: &mut Stage, teller: &Teller) -> anyhow::Result<()> {
    first_sync(stage, teller).await?;
    reviewed_change(stage, teller).await?;
    one_system_down(stage, teller).await?;
    behind_our_back(stage, teller).await?;
    history(stage, teller).await
}

async fn first_sync(stage: &mut Stage, teller: &Teller) -> anyhow::Result<()> {
    teller.chapter(&Text {
        en: "A config repo, two systems, nothing in them yet",
        ja: "設定リポジトリと、まだ空の二つのシステム",
    });
    for system in &stage.systems {
        teller.say(&format!("{:<11} {}", system.name, system.url()));
    }
    teller.say(&format!("{:<11} {}", "repo", stage.repo_path().display()));
    stage.start_reconciler()?;
    let app = stage.app().await?;
    let main = app.forge.main().await?;
    in_step(&app, &main).await.context("the first sync")?;
    teller.done(&Text {
        en: "first sync: both systems hold what the repo says",
        ja: "初回の同期: 両システムがリポジトリのとおりになりました",
    });
    teller.show(&view::text::status(
        &super::status::of(&app, teller.language).await?,
    ));
    Ok(())
}

async fn reviewed_change(stage: &mut Stage, teller: &Teller) -> anyhow::Result<()> {
    let app = stage.app().await?;
    let number = denied(&app, teller).await?;
    corrected(&app, number, teller).await?;
    for reviewer in ["takahashi", "watanabe"] {
        teller.command(&format!(
            "lockstep proposal approve {number} --as {reviewer}"
        ));
        app.gate
            .review(number, reviewer, ReviewKind::Approve, "")
            .await?;
    }
    publish(&app, number, teller.language).await?;
    teller.command(&format!("lockstep proposal merge {number}"));
    let merged = app.gate.merge(number, "takahashi").await?;
    let at = app.clock.now();
    in_step(&app, &merged).await.context("the merged change")?;
    for system in &stage.systems {
        let rollout = system.flag("ai_assistant").await?.get("rollout").cloned();
        ensure!(
            rollout == Some(json!(25)),
            "{} should have 25 %, has {rollout:?}",
            system.name
        );
    }
    let taken = verified_after(&app, &merged, at).await?;
    let sentence = match teller.language {
        Language::English => format!(
            "both systems verified at 25 %, {} ms after the merge",
            taken.as_millis()
        ),
        Language::Japanese => format!(
            "マージから {} ミリ秒で、両システムが 25 % になったことを確認しました",
            taken.as_millis()
        ),
    };
    teller.done(&sentence.as_str().into());
    statuses(&app, &merged, teller).await
}

/// A proposal that the policies deny; its number.
async fn denied(app: &App, teller: &Teller) -> anyhow::Result<u64> {
    teller.chapter(&Text {
        en: "A change is proposed: the AI assistant for 70 % of the staff",
        ja: "変更の提案: AI アシスタントを職員の 70 % に",
    });
    teller.command("lockstep propose --set flag.ai_assistant.rollout=70");
    let proposal = propose::open_edits(
        app,
        "sato",
        &request(
            teller,
            &["flag.ai_assistant.rollout=70"],
            &Text {
                en: "AI assistant to 70 %",
                ja: "AI アシスタントを 70 % に",
            },
        ),
    )
    .await?;
    let judged = publish(app, proposal.number, teller.language).await?;
    ensure!(
        !judged.verdict.passes(),
        "a jump of 60 points should be denied"
    );
    let view = gate::view_of(&judged, teller.language);
    for denial in &view.verdict.denials {
        teller.refused(&denial.msg);
    }
    Ok(proposal.number)
}

/// The same proposal so that it may pass, and what is missing still.
async fn corrected(app: &App, number: u64, teller: &Teller) -> anyhow::Result<()> {
    teller.chapter(&Text {
        en: "Corrected, planned, approved, merged",
        ja: "直して、計画を見て、承認して、マージ",
    });
    teller.command(&format!(
        "lockstep propose --update {number} --set flag.ai_assistant.rollout=25"
    ));
    let corrected = request(
        teller,
        &["flag.ai_assistant.rollout=25"],
        &Text {
            en: "Start with 25 %",
            ja: "まず 25 % から",
        },
    );
    propose::update(app, number, "sato", &corrected).await?;
    let judged = publish(app, number, teller.language).await?;
    ensure!(
        judged.verdict.passes(),
        "25 % should be allowed: {}",
        judged.missing(teller.language).join("; ")
    );
    let view = gate::view_of(&judged, teller.language);
    teller.show(&view::text::plan(&view.plan));
    let early = app.gate.merge(number, "sato").await;
    ensure!(
        early.is_err(),
        "it should not be mergeable before its approvals"
    );
    for need in view.verdict.approvals.iter().filter(|n| !n.is_met()) {
        teller.waiting(&need.because);
    }
    Ok(())
}

async fn one_system_down(stage: &mut Stage, teller: &Teller) -> anyhow::Result<()> {
    let app = stage.app().await?;
    teller.chapter(&Text {
        en: "VoiceDrive is down: nothing moves anywhere",
        ja: "VoiceDrive が停止中: どこにも反映しない",
    });
    stage.stop("voicedrive").await?;
    let edit = "flag.ai_assistant.rollout=40";
    teller.command(&format!("lockstep propose --set {edit}"));
    let merged = propose_and_merge(
        &app,
        edit,
        &request(
            teller,
            &[edit],
            &Text {
                en: "AI assistant to 40 %",
                ja: "AI アシスタントを 40 % に",
            },
        ),
    )
    .await?;
    let state = wait_status(&app, &merged, "lockstep/apply", StatusState::Failure)
        .await
        .context("the merge should be held")?;
    teller.refused(&state);
    let medical = stage.system("medical")?.flag("ai_assistant").await?;
    ensure!(
        medical.get("rollout") == Some(&json!(25)),
        "medical should have waited at 25 %, has {medical}"
    );
    teller.done(&Text {
        en: "medical waits at 25 % too",
        ja: "medical も 25 % のまま待っています",
    });
    stage.restart("voicedrive").await?;
    teller.say(teller.choose(&Text {
        en: "VoiceDrive is back …",
        ja: "VoiceDrive が復帰 …",
    }));
    in_step(&app, &merged).await.context("after the restart")?;
    for system in &stage.systems {
        ensure!(
            system.flag("ai_assistant").await?.get("rollout") == Some(&json!(40)),
            "{} should have 40 %",
            system.name
        );
    }
    teller.done(&Text {
        en: "both moved to 40 %, together",
        ja: "両システムが一緒に 40 % へ進みました",
    });
    Ok(())
}

async fn behind_our_back(stage: &mut Stage, teller: &Teller) -> anyhow::Result<()> {
    let app = stage.app().await?;
    teller.chapter(&Text {
        en: "Someone changes a setting on medical by hand",
        ja: "誰かが medical の設定を手で変えた",
    });
    let system = stage.system("medical")?;
    let before = system.flag("interview_reminder").await?;
    let mut edited = before.clone();
    edited["enabled"] = json!(!before["enabled"].as_bool().unwrap_or(false));
    let known = ledger_entries(&app, "drift.found").await?;
    system
        .edit("FeatureFlag/interview_reminder", &edited)
        .await?;
    teller.say(&format!(
        "FeatureFlag/interview_reminder: enabled {} → {}",
        before["enabled"], edited["enabled"]
    ));
    let deadline = Instant::now() + stage::DEADLINE;
    loop {
        if system.flag("interview_reminder").await? == before
            && ledger_entries(&app, "drift.found").await? > known
        {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "the change should have been seen and put back"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    teller.done(&Text {
        en: "seen, recorded, and put back",
        ja: "気づき、記録し、元に戻しました",
    });
    Ok(())
}

async fn history(stage: &mut Stage, teller: &Teller) -> anyhow::Result<()> {
    teller.chapter(&Text {
        en: "What the ledger says",
        ja: "台帳の記録",
    });
    let app = stage.app().await?;
    teller.show(&view::text::history(
        &super::audit::history(&app, super::audit::latest(14), teller.language).await?,
    ));
    Ok(())
}

fn request(teller: &Teller, edits: &[&str], title: &Text) -> Request {
    Request {
        title: teller.choose(title).to_owned(),
        message: String::new(),
        edits: edits.iter().map(|e| (*e).to_owned()).collect(),
        labels: Vec::new(),
    }
}

async fn publish(app: &App, number: u64, language: Language) -> anyhow::Result<Judgement> {
    let judgement = app.gate.judge(number).await?;
    let comment = view::markdown::comment(&gate::view_of(&judgement, language));
    app.gate.publish(&judgement, &comment).await?;
    Ok(judgement)
}

async fn propose_and_merge(app: &App, edit: &str, request: &Request) -> anyhow::Result<Revision> {
    let proposal = propose::open_edits(app, "sato", request).await?;
    for reviewer in ["takahashi", "watanabe"] {
        app.gate
            .review(proposal.number, reviewer, ReviewKind::Approve, "")
            .await?;
    }
    app.gate
        .merge(proposal.number, "takahashi")
        .await
        .with_context(|| format!("merging {edit}"))
}

/// Waits until the whole revision is applied.
async fn in_step(app: &App, revision: &Revision) -> anyhow::Result<()> {
    wait_status(app, revision, "lockstep/apply", StatusState::Success)
        .await
        .map(|_| ())
}

/// Waits until a commit shows this state, and gives its description.
async fn wait_status(
    app: &App,
    revision: &Revision,
    context: &str,
    state: StatusState,
) -> anyhow::Result<String> {
    let deadline = Instant::now() + stage::DEADLINE;
    loop {
        let statuses = app.forge.statuses(revision).await?;
        let shown = statuses.into_iter().find(|s| s.context == context);
        match shown {
            Some(status) if status.state == state => return Ok(status.description),
            shown => ensure!(
                Instant::now() < deadline,
                "{context} on {} should be {state:?}, is {}",
                revision.short(),
                shown.map_or_else(
                    || "not there".to_owned(),
                    |s| format!("{:?}: {}", s.state, s.description)
                )
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long after `at` the last system was verified at this revision.
async fn verified_after(
    app: &App,
    revision: &Revision,
    at: jiff::Timestamp,
) -> anyhow::Result<Duration> {
    let filter = crate::store::EntryFilter {
        revision: Some(revision.clone()),
        action: Some("system.applied".to_owned()),
        ..Default::default()
    };
    let entries = app.store.entries(&filter).await?;
    let verified = entries
        .iter()
        .filter_map(|e| {
            e.body
                .get("verified_at")?
                .as_str()?
                .parse::<jiff::Timestamp>()
                .ok()
        })
        .max()
        .context("no system was verified at this revision")?;
    Ok(Duration::try_from(verified.duration_since(at)).unwrap_or_default())
}

async fn statuses(app: &App, revision: &Revision, teller: &Teller) -> anyhow::Result<()> {
    for status in app.forge.statuses(revision).await? {
        teller.say(&format!("{:<28} {}", status.context, status.description));
    }
    Ok(())
}

async fn ledger_entries(app: &App, action: &str) -> anyhow::Result<usize> {
    let filter = crate::store::EntryFilter {
        action: Some(action.to_owned()),
        ..Default::default()
    };
    Ok(app.store.entries(&filter).await?.len())
}
