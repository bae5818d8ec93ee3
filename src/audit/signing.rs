//! Signing how far the ledger has come: after a run that changed something, and hourly while it grows. What was signed is written down before
//! it is published, and nothing is signed that does not carry it on.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::AuditError;
use super::checkpoints::{Checkpoints, NOTES};
use super::restored::{self, Restored};
use super::verify::{self, Fault};
use crate::clock::Clock;
use crate::forge::Forge;
use crate::ids::Digest;
use crate::repo::Repo;
use crate::store::{Duty, Go, Link, Reader, Store, Window};
use crate::tlog::{Checkpoint, Range, SignerKey, VerifierKey, to_line};

/// A ledger that grows is signed at least so often.
const HOURLY: SignedDuration = SignedDuration::from_hours(1);

/// When a checkpoint is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// After a run that changed something, or an hour after the last.
    Due,
    /// Wherever anything is not signed yet.
    Now,
}

/// What has been read of the ledger and what of it was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// The tree that was signed: its size and the roots of its subtrees.
    size: u64,
    roots: Vec<Digest>,
    /// The hash of its last entry.
    head: Digest,
    at: Timestamp,
    checkpoint: String,
}

/// Signs the ledger of one store.
pub struct Signing {
    repo: Arc<Repo>,
    branch: String,
    store: Store,
    key: Arc<SignerKey>,
    /// Where what was signed last is written down.
    file: PathBuf,
    trusted: Vec<VerifierKey>,
    /// Whether what was signed before is known to be in the notes, and the notes to hold nothing larger.
    is_checked: bool,
    last: Last,
}

/// How it stood when it was looked last.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// How many entries there were.
    seen: u64,
    /// How many of them are signed, and since when.
    signed: u64,
    at: Option<Timestamp>,
    /// Whether something that changed a system has come since.
    is_due: bool,
}

impl Last {
    fn is_old(self, now: Timestamp) -> bool {
        self.at.is_none_or(|at| now.duration_since(at) >= HOURLY)
    }
}

impl Signing {
    pub fn new(
        repo: Arc<Repo>,
        branch: &str,
        store: Store,
        key: SignerKey,
        file: PathBuf,
        trusted: Vec<VerifierKey>,
    ) -> Self {
        Self {
            repo,
            branch: branch.to_owned(),
            store,
            key: Arc::new(key),
            file,
            trusted,
            is_checked: false,
            last: Last::default(),
        }
    }

    /// The key that is signed with, as whoever checks is given it.
    pub fn key(&self) -> &VerifierKey {
        self.key.public()
    }

    /// Signs the ledger as it is, where that is wanted. `None` where it is not, or nothing is new.
    pub async fn sign(
        &mut self,
        want: Want,
        now: Timestamp,
    ) -> Result<Option<Checkpoint>, AuditError> {
        let last = self.last;
        let entries = self.store.ledger_len().await?;
        let is_news = entries != last.seen || want == Want::Now || last.is_due;
        let is_owed = entries > last.signed && last.is_old(now);
        if self.is_checked && !is_news && !is_owed {
            return Ok(None);
        }
        let reader = self.store.reader().await?;
        let work = Work {
            repo: self.repo.clone(),
            branch: self.branch.clone(),
            key: self.key.clone(),
            file: self.file.clone(),
            trusted: self.trusted.clone(),
            is_checked: self.is_checked,
            last,
        };
        // Where it fails half way, what was written down is not in the notes yet.
        self.is_checked = false;
        let work = tokio::task::spawn_blocking(move || work.sign(reader, want, now));
        let (signed, last) = work.await??;
        self.is_checked = true;
        self.last = last;
        Ok(signed)
    }
}

/// Signs for as long as the server runs, and takes the notes to the forge. A ledger that can't be signed is said so once for each reason.
pub async fn keep_signed(
    mut signing: Signing,
    forge: &dyn Forge,
    clock: &dyn Clock,
    duty: &Duty,
    poll: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut said = String::new();
    // What is not on the forge yet is taken there with the next one; at first, what whoever ran before has left.
    let mut is_owed = true;
    while !*stop.borrow() {
        let done = async {
            // One of several replicas is enough.
            if !duty.is_ours(clock.now()).await? {
                return Ok(());
            }
            is_owed |= signing.sign(Want::Due, clock.now()).await?.is_some();
            if is_owed {
                forge.keep_notes(NOTES).await.map_err(AuditError::Forge)?;
                is_owed = false;
            }
            Ok::<_, AuditError>(())
        };
        match done.await {
            Ok(()) => said.clear(),
            Err(error) => {
                let now = error.to_string();
                if now != said {
                    tracing::error!(error = now, "the ledger's checkpoint");
                }
                said = now;
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

struct Work {
    repo: Arc<Repo>,
    branch: String,
    key: Arc<SignerKey>,
    file: PathBuf,
    trusted: Vec<VerifierKey>,
    is_checked: bool,
    last: Last,
}

impl Work {
    fn sign(
        self,
        mut reader: Reader,
        want: Want,
        now: Timestamp,
    ) -> Result<(Option<Checkpoint>, Last), AuditError> {
        let known = read(&self.file)?;
        let (known, published) = match self.is_checked {
            true => (known, None),
            false => self.check(&mut reader, known, now)?,
        };
        let (mut range, mut link, at) = match &known {
            Some(state) => (state.range()?, state.link(), Some(state.at)),
            None => (Range::new(), Link::default(), None),
        };
        let signed = range.size();
        let is_due = follow(&mut reader, &mut range, &mut link)? || self.last.is_due;
        let last = Last {
            seen: range.size(),
            signed,
            at,
            is_due: is_due && range.size() > signed,
        };
        let is_wanted = want == Want::Now || last.is_due || last.is_old(now);
        if range.size() == signed || !is_wanted {
            return Ok((published, last));
        }
        let checkpoint = Checkpoint {
            origin: self.key.public().name().to_owned(),
            size: range.size(),
            root: range.root(),
        };
        let state = State {
            size: range.size(),
            roots: range.roots().to_vec(),
            head: link.head,
            at: now,
            checkpoint: checkpoint.sign(&self.key),
        };
        write(&self.file, &state)?;
        self.publish(&state.checkpoint, now)?;
        let last = Last {
            signed: range.size(),
            at: Some(now),
            is_due: false,
            ..last
        };
        Ok((Some(checkpoint), last))
    }

    /// What was signed last, by the file and by the notes, at a start: a file that is lost or old is made anew from the ledger itself, once that
    /// is found to be what was signed. With the checkpoint that had not got into the notes, where there was one.
    fn check(
        &self,
        reader: &mut Reader,
        known: Option<State>,
        now: Timestamp,
    ) -> Result<(Option<State>, Option<Checkpoint>), AuditError> {
        let mut notes = Checkpoints::read(&self.repo, &self.trusted)?;
        let restored = restored::of(reader)?;
        for again in &restored {
            notes.lose(&again.lost);
        }
        let known = known.filter(|state| {
            let signed = (state.size, state.at);
            !restored.iter().any(|again| is_lost(signed, again))
        });
        let newest = notes.newest().map_or(0, |s| s.checkpoint.size);
        let own = [self.key.public().clone()];
        let ours = known.and_then(|state| {
            let checkpoint = Checkpoint::open(&state.checkpoint, &own).ok()?;
            Some((state, checkpoint))
        });
        match ours {
            Some((state, checkpoint)) if state.size >= newest => {
                let is_there = notes.all().any(|s| s.text == state.checkpoint);
                let published = !is_there && self.publish(&state.checkpoint, now)?;
                Ok((Some(state), published.then_some(checkpoint)))
            }
            _ if newest == 0 => Ok((None, None)),
            _ => {
                let verified = verify::verify(reader, &notes)?;
                let tampered = |fault: &&Fault| {
                    matches!(
                        fault,
                        Fault::Entry { .. } | Fault::Between { .. } | Fault::Truncated { .. }
                    )
                };
                match verified.faults.iter().find(tampered) {
                    Some(fault) => Err(AuditError::Inconsistent {
                        why: fault.to_string(),
                    }),
                    None => Ok((None, None)),
                }
            }
        }
    }

    /// Puts a signed checkpoint into the notes, on main as it is. `false`: without a main there is nothing to put it on yet.
    fn publish(&self, signed: &str, now: Timestamp) -> Result<bool, AuditError> {
        let Some(head) = self.repo.head(&self.branch)? else {
            return Ok(false);
        };
        let line = to_line(signed, now.as_second());
        self.repo.append_note(NOTES, &head, &line, now)?;
        Ok(true)
    }
}

impl State {
    fn range(&self) -> Result<Range, AuditError> {
        let range = Range::from_parts(self.size, self.roots.clone());
        range.ok_or_else(|| AuditError::Inconsistent {
            why: "what was signed last can't be read back".to_owned(),
        })
    }

    fn link(&self) -> Link {
        Link {
            entries: self.size,
            head: self.head,
        }
    }
}

/// Follows the ledger from where it was signed to its end, checking each entry. Whether any of them says that a system was changed.
fn follow(reader: &mut Reader, range: &mut Range, link: &mut Link) -> Result<bool, AuditError> {
    let signed = range.size();
    let mut is_due = false;
    let mut is_there = signed == 0;
    let window = Window {
        first: signed,
        last: u64::MAX,
    };
    let inconsistent = |why: String| AuditError::Inconsistent { why };
    reader.ledger::<AuditError>(window, &mut |row| {
        if row.seq == i64::try_from(signed).unwrap_or(i64::MAX) {
            is_there = row.hash == link.head.to_hex();
            return match is_there {
                true => Ok(Go::On),
                false => Err(inconsistent(format!(
                    "entry {signed}, the last that was signed, is another now"
                ))),
            };
        }
        if !is_there {
            return Ok(Go::Stop);
        }
        let hash = link.add(row).map_err(|why| {
            inconsistent(format!("entry {} is not as it was written: {why}", row.seq))
        })?;
        range.push(hash);
        is_due |= matches!(
            row.action,
            "system.applied" | "system.rolled_back" | "system.incident"
        );
        Ok(Go::On)
    })?;
    if is_there {
        Ok(is_due)
    } else {
        Err(inconsistent(format!(
            "{signed} entries were signed, and entry {signed} is gone"
        )))
    }
}

/// What a server has written down of signing, for whoever has no key any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    size: u64,
    at: Timestamp,
}

/// What was signed last, by the file. To be read before the ledger is, which may grow and be signed meanwhile.
pub fn noted(file: &Path) -> Result<Option<Noted>, AuditError> {
    let noted = |State { size, at, .. }| Noted { size, at };
    Ok(read(file)?.map(noted))
}

impl Noted {
    /// How many entries were signed, where so many neither are there nor are lost since the store was restored.
    pub fn missing(&self, entries: u64, restored: &[Restored]) -> Option<u64> {
        let is_lost = restored
            .iter()
            .any(|again| is_lost((self.size, self.at), again));
        (self.size > entries && !is_lost).then_some(self.size)
    }
}

/// Whether what was signed then is lost since the store was restored.
fn is_lost((size, at): (u64, Timestamp), restored: &Restored) -> bool {
    size > restored.from && at <= restored.at
}

fn failed(path: &Path) -> impl Fn(io::Error) -> AuditError + '_ {
    |source| AuditError::File {
        path: path.display().to_string(),
        source,
    }
}

/// What was written down; a file that can't be read as that is as good as none, since the notes have it too.
fn read(path: &Path) -> Result<Option<State>, AuditError> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes it down so that it is there after a power cut.
fn write(path: &Path, state: &State) -> Result<(), AuditError> {
    let failed = failed(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(&failed)?;
    let text = serde_json::to_vec(state).map_err(|e| failed(e.into()))?;
    file.write_all(&text).map_err(&failed)?;
    let owner_only = fs::Permissions::from_mode(0o600);
    file.as_file()
        .set_permissions(owner_only)
        .and_then(|()| file.as_file().sync_all())
        .map_err(&failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}
