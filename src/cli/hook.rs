//! `lockstep hook`: the gate for people who push with plain git.
//!
//! `pre-receive` is what git calls, with the references that a push would move on stdin; `install` makes a bare repository call it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};

use super::{Env, Exit, talk, wait_for};
use crate::app;
use crate::clock::{Clock, SystemClock};
use crate::forge::Forge;
use crate::forge::local::LocalForge;
use crate::gate::receive::{self, Accepted, Refused};
use crate::repo::{Refs, Repo};
use crate::resource::Language;
use crate::settings;
use crate::view;

/// What git may say in one push: a line for each reference.
const INPUT_BYTES: u64 = 16 << 20;
/// How an installed hook is known again.
const MARK: &str = "# lockstep hook pre-receive";

#[derive(Debug, Args)]
pub(crate) struct HookArgs {
    #[command(subcommand)]
    command: HookCommand,
}

#[derive(Debug, Subcommand)]
enum HookCommand {
    /// Judge a push, as git's pre-receive hook: `OLD NEW REFERENCE` lines on stdin.
    PreReceive,
    /// Write hooks/pre-receive into the bare repository, calling this binary.
    Install,
}

pub(crate) fn run(args: &HookArgs, env: &Env) -> anyhow::Result<Exit> {
    match args.command {
        HookCommand::PreReceive => pre_receive(env),
        HookCommand::Install => install(&env.settings.repo, env.language),
    }
}

fn pre_receive(env: &Env) -> anyhow::Result<Exit> {
    let mut lines = String::new();
    std::io::stdin()
        .lock()
        .take(INPUT_BYTES + 1)
        .read_to_string(&mut lines)
        .context("reading what git says of the push; the names of references must be UTF-8")?;
    ensure!(
        lines.len() as u64 <= INPUT_BYTES,
        "the push moves too many references at once"
    );
    let updates = match receive::updates(&lines) {
        Ok(updates) => updates,
        Err(line) => bail!(
            "{:?} is no line of git's to a pre-receive hook; `lockstep hook install` makes git call this",
            view::printable(&line)
        ),
    };
    let (objects, clock) = (settings::pushed_objects(), Arc::new(SystemClock));
    let look = |refs: Refs| {
        let repo = Repo::open(&env.settings.repo)?
            .with_objects(objects.clone())
            .with_refs(refs);
        let (repo, clock): (_, Arc<dyn Clock>) = (Arc::new(repo), clock.clone());
        let forge: Arc<dyn Forge> = Arc::new(LocalForge::new(
            repo.clone(),
            &env.settings.branch,
            clock.clone(),
        ));
        Ok(app::gate(&env.settings, forge, repo, clock))
    };
    let judged =
        wait_for(async { Ok(receive::judge(&env.settings.branch, &updates, &look).await?) });
    Ok(match judged? {
        Ok(accepted) => {
            if let Some(text) = welcome(accepted, env.language) {
                talk(&text);
            }
            Exit::Done
        }
        Err(refused) => {
            talk(&refusal(&refused, env.language));
            Exit::Findings
        }
    })
}

fn welcome(accepted: Accepted, language: Language) -> Option<String> {
    Some(match (accepted, language) {
        (Accepted::Merges(0), _) => return None,
        (Accepted::Begins, Language::English) => {
            "lockstep: the first push; from here on main moves by approved proposals only"
                .to_owned()
        }
        (Accepted::Begins, Language::Japanese) => {
            "lockstep: 最初の push です。これから main は承認された提案でのみ進みます".to_owned()
        }
        (Accepted::Merges(1), Language::English) => {
            "lockstep: the merge passed the gate".to_owned()
        }
        (Accepted::Merges(n), Language::English) => {
            format!("lockstep: {n} merges passed the gate")
        }
        (Accepted::Merges(n), Language::Japanese) => {
            format!("lockstep: マージ {n} 件が関門を通りました")
        }
    })
}

fn refusal(refused: &[Refused], language: Language) -> String {
    let mut text = match language {
        Language::English => "lockstep refuses this push, all of it:".to_owned(),
        Language::Japanese => "lockstep はこの push 全体を受け付けません:".to_owned(),
    };
    for Refused { reference, why } in refused {
        let reference = view::printable(reference);
        text.push_str(&format!("\n{reference}: {}", why.say(language)));
    }
    text
}

/// Writes the hook. One that is not ours is somebody's work, and stays.
fn install(repo: &Path, language: Language) -> anyhow::Result<Exit> {
    let repo = Repo::open(repo)?;
    ensure!(
        repo.has_git() && !repo.has_work_tree(),
        "{} is no bare repository: install the hook where people push to",
        repo.path().display()
    );
    if let Some(elsewhere) = repo.config_get("core.hooksPath")? {
        bail!(
            "git looks for this repository's hooks in {elsewhere} (core.hooksPath); unset that for it, or call \
             `lockstep hook pre-receive` from the hook there"
        );
    }
    let hooks = repo.path().join("hooks");
    let hook = hooks.join("pre-receive");
    match std::fs::read(&hook) {
        Ok(there) if !String::from_utf8_lossy(&there).contains(MARK) => bail!(
            "there is a hook already, and not one of ours: {}\nlet it call `lockstep hook pre-receive` with the lines that git gives it, \
             and fail where that fails; or move it away and install again",
            hook.display()
        ),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| hook.display().to_string()),
    }
    let binary = std::env::current_exe().context("finding this binary")?;
    std::fs::create_dir_all(&hooks).with_context(|| hooks.display().to_string())?;
    // Renamed into place: a push meanwhile meets the old hook or the new one, never half of one.
    let mut file = tempfile::NamedTempFile::new_in(&hooks)?;
    file.write_all(script(&binary)?.as_bytes())?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o755))?;
    file.persist(&hook)?;
    talk(&match language {
        Language::English => format!("wrote {}", hook.display()),
        Language::Japanese => format!("{} を書きました", hook.display()),
    });
    Ok(Exit::Done)
}

/// The hook. Who pushes must not choose the settings, so the environment that could name others is emptied.
fn script(binary: &Path) -> anyhow::Result<String> {
    let Some(binary) = binary.to_str() else {
        bail!(
            "{} can't be called from a hook: its path must be UTF-8",
            binary.display()
        );
    };
    let quoted = binary.replace('\'', r"'\''");
    Ok(format!(
        "#!/bin/sh\n{MARK}: refuses pushes that have not passed the gate; written by `lockstep hook install`\n\
         unset LOCKSTEP_SETTINGS LOCKSTEP_USER\nexec '{quoted}' hook pre-receive --repo .\n"
    ))
}
