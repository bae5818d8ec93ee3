//! `lockstep audit prove`: a proof to give away, and the check that whoever gets it makes, with nothing but the key.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::Format;
use crate::app::App;
use crate::audit::checkpoints::Checkpoints;
use crate::audit::prove::{self, ConsistencyProof};
use crate::audit::signing::Want;
use crate::cli::{Env, Exit, print, talk};
use crate::tlog::{InclusionProof, VerifierKey};

#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    /// The entry to prove, by its number.
    #[arg(required_unless_present_any = ["check", "from"], conflicts_with_all = ["check", "from"])]
    seq: Option<u64>,
    /// Prove that the checkpoint of this size is carried on …
    #[arg(long, value_name = "SIZE", requires = "to", conflicts_with = "check")]
    from: Option<u64>,
    /// … by the one of this size.
    #[arg(long, value_name = "SIZE", requires = "from")]
    to: Option<u64>,
    /// Write the proof to this file instead of stdout.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Check a proof, without a store or a repository.
    #[arg(long, value_name = "FILE", requires = "key")]
    check: Option<PathBuf>,
    /// The key that must have signed it, as `lockstep audit key` prints it.
    #[arg(long, value_name = "VKEY", requires = "check")]
    key: Vec<VerifierKey>,
    /// How the check is told; a proof has a form of its own.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A proof is a few hundred bytes and an entry of at most 64 KiB.
const PROOF_BYTES: u64 = 1 << 20;

pub(super) async fn run(args: ProveArgs, env: Env) -> anyhow::Result<Exit> {
    let ProveArgs {
        seq,
        from,
        to,
        out,
        check,
        key,
        format,
    } = args;
    if let Some(file) = check {
        return check_file(&file, &key, format);
    }
    let app = App::open(env.settings).await?;
    let proof = match (seq, from.zip(to)) {
        (Some(seq), _) => entry(&app, seq).await?,
        (None, Some(sizes)) => between(&app, sizes).await?,
        (None, None) => anyhow::bail!("say which entry, or --from and --to"),
    };
    match out {
        None => print(&proof)?,
        Some(path) => write(&path, &proof)
            .with_context(|| format!("cannot write the proof to {}", path.display()))?,
    }
    Ok(Exit::Done)
}

async fn checkpoints(app: &App) -> anyhow::Result<(Checkpoints, Vec<VerifierKey>)> {
    Ok((app.checkpoints().await?, app.trusted()?))
}

/// An entry that no checkpoint takes in yet is signed first.
async fn entry(app: &App, seq: u64) -> anyhow::Result<String> {
    let entries = app.store.ledger_len().await?;
    anyhow::ensure!(
        (1..=entries).contains(&seq),
        "there is no entry {seq}: the ledger has {entries}"
    );
    let (mut found, mut trusted) = checkpoints(app).await?;
    if found.covering(seq).is_none() {
        app.signing()?.sign(Want::Now, app.clock.now()).await?;
        (found, trusted) = checkpoints(app).await?;
    }
    let signed = found.covering(seq).cloned().with_context(|| {
        format!("entry {seq} can't be proved: no checkpoint of a key that is trusted here takes it in, and the config repo has no main branch to put one on")
    })?;
    let mut reader = app.store.reader().await?;
    let proof =
        tokio::task::spawn_blocking(move || prove::entry(&mut reader, seq, &signed, &trusted));
    Ok(proof.await??.to_string())
}

async fn between(app: &App, sizes: (u64, u64)) -> anyhow::Result<String> {
    let (found, trusted) = checkpoints(app).await?;
    let mut reader = app.store.reader().await?;
    let proof =
        tokio::task::spawn_blocking(move || prove::between(&mut reader, sizes, &found, &trusted));
    Ok(format!("{:#}\n", serde_json::to_value(proof.await??)?))
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn check_file(file: &Path, keys: &[VerifierKey], format: Format) -> anyhow::Result<Exit> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        let file = std::io::Read::take(std::fs::File::open(file)?, PROOF_BYTES);
        std::io::Read::read_to_string(&mut { file }, &mut text)?;
        Ok(text)
    };
    let text = read().with_context(|| format!("cannot read {}", file.display()))?;
    let checked = if text.starts_with('{') {
        check_consistency(&text, keys)
    } else {
        check_inclusion(&text, keys)
    };
    match (&checked, format) {
        (Ok(found), Format::Json) => print(&format!("{:#}\n", with(found, "holds", json!(true))))?,
        (Err(why), Format::Json) => print(&format!("{:#}\n", json!({"holds": false, "why": why})))?,
        (Ok(found), Format::Human) => tell(found)?,
        (Err(why), Format::Human) => talk(&format!("the proof does not hold: {why}")),
    }
    Ok(if checked.is_ok() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

fn with(found: &Value, key: &str, value: Value) -> Value {
    let mut found = found.clone();
    if let Value::Object(fields) = &mut found {
        fields.insert(key.to_owned(), value);
    }
    found
}

fn check_inclusion(text: &str, keys: &[VerifierKey]) -> Result<Value, String> {
    let proof: InclusionProof = text.parse().map_err(|fault| format!("{fault}"))?;
    let checkpoint = proof.verify(keys).map_err(|fault| fault.to_string())?;
    let entry =
        String::from_utf8(proof.entry).map_err(|_| "the entry in it is no text".to_owned())?;
    let parsed: Value =
        serde_json::from_str(&entry).map_err(|e| format!("the entry in it can't be read: {e}"))?;
    let seq = proof.index + 1;
    if parsed.get("seq").and_then(Value::as_u64) != Some(seq) {
        return Err(format!(
            "it is at {seq} in the log and says otherwise of itself"
        ));
    }
    Ok(json!({
        "seq": seq,
        "entry": parsed,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root,
    }))
}

fn check_consistency(text: &str, keys: &[VerifierKey]) -> Result<Value, String> {
    let proof: ConsistencyProof =
        serde_json::from_str(text).map_err(|e| format!("it is no proof: {e}"))?;
    let (from, to) = proof.verify(keys).map_err(|fault| fault.to_string())?;
    Ok(json!({"origin": to.origin, "from": from.size, "to": to.size, "root": to.root}))
}

fn tell(found: &Value) -> anyhow::Result<()> {
    let text = |key: &str| match found[key].as_str() {
        Some(text) => text.to_owned(),
        None => found[key].to_string(),
    };
    match found.get("entry") {
        Some(entry) => {
            talk(&format!(
                "entry {} is in the log {} of {} entries that its key has signed",
                text("seq"),
                text("origin"),
                text("size")
            ));
            print(&format!("{entry}\n"))
        }
        None => {
            talk(&format!(
                "the log {} of {} entries carries on the one of {}: nothing that was in it was altered or left out",
                text("origin"),
                text("to"),
                text("from")
            ));
            Ok(())
        }
    }
}
