//! The two phases under a prefix. Each is worked out from what is watched and takes effect in one EXEC, or not at all: then something was changed
//! by somebody else meanwhile, and it is worked out anew, from the judging of the fence on.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value, cmd};

use super::RedisSettings;
use super::read::{View, view};
use super::server::Doing as _;
use crate::connector::journal::{Becomes, Due, Journal, Steps, advance, judge};
use crate::connector::{Changeset, ConnectorError, Prepared, Receipt};
use crate::ids::{ChangesetId, Fence};
use crate::state::State;

/// How often something is worked out anew before whoever asked is told to come again.
const TRIES: usize = 10;

pub(super) struct Desk<'a> {
    pub(super) settings: &'a RedisSettings,
    pub(super) known: Option<Arc<View>>,
}

/// The journal as it is to be kept, and as it was.
struct Book {
    journal: Journal,
    saved: Option<Journal>,
}

impl Desk<'_> {
    pub(super) async fn prepare(
        &self,
        on: &mut MultiplexedConnection,
        changeset: &Changeset,
    ) -> Result<Prepared, ConnectorError> {
        let keys = &self.settings.keys;
        for _ in 0..TRIES {
            let mut book = self.open(on, changeset.fence, Some(changeset)).await?;
            let now = view(on, self.settings, self.known.as_ref()).await;
            // Whatever is said of the changeset, those of older leases end, also where the state can't be read.
            let digest = match &now {
                Ok(now) => now.state.digest(),
                Err(_) => changeset.base,
            };
            let mut pipe = Pipeline::new();
            let answer = match (book.journal.prepare(changeset, digest), now) {
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
                (Ok(Some(repeated)), Ok(_)) => Ok(repeated),
                (Ok(None), Ok(now)) => {
                    let fits = self.declared(changeset);
                    match fits.and_then(|()| judge(changeset, &now.state, "the prefix")) {
                        Err(error) => Err(error),
                        Ok(_) => {
                            let steps = written(&Steps::of(changeset))?;
                            pipe.cmd("SET").arg(keys.staged(&changeset.id)).arg(steps);
                            book.journal.stage(changeset);
                            Ok(Prepared { repeated: false })
                        }
                    }
                }
            };
            if self.close(on, book, pipe).await? {
                return answer;
            }
        }
        Err(busy())
    }

    pub(super) async fn commit(
        &self,
        on: &mut MultiplexedConnection,
        id: &ChangesetId,
        fence: Fence,
    ) -> Result<Receipt, ConnectorError> {
        for _ in 0..TRIES {
            let mut book = self.open(on, fence, None).await?;
            let mut pipe = Pipeline::new();
            let answer = match book.journal.commit(id) {
                Err(error) => Err(error),
                Ok(Due::Done(receipt)) => Ok(receipt),
                Ok(Due::Now(_)) => {
                    self.take_effect(on, (id, &mut book.journal), &mut pipe)
                        .await
                }
            };
            if self.close(on, book, pipe).await? {
                return answer;
            }
        }
        Err(busy())
    }

    pub(super) async fn abort(
        &self,
        on: &mut MultiplexedConnection,
        id: &ChangesetId,
        fence: Fence,
    ) -> Result<(), ConnectorError> {
        for _ in 0..TRIES {
            let mut book = self.open(on, fence, None).await?;
            let answer = book.journal.abort(id);
            if self.close(on, book, Pipeline::new()).await? {
                return answer;
            }
        }
        Err(busy())
    }

    /// Watches journal and digest key, and judges the sender of what is `new`, and then the fence.
    async fn open(
        &self,
        on: &mut MultiplexedConnection,
        fence: Fence,
        new: Option<&Changeset>,
    ) -> Result<Book, ConnectorError> {
        let keys = &self.settings.keys;
        let doing = "read the journal";
        let mut pipe = Pipeline::new();
        // What an earlier request may have left watched.
        pipe.cmd("UNWATCH").ignore();
        pipe.cmd("WATCH")
            .arg(keys.journal())
            .arg(keys.state())
            .ignore();
        pipe.cmd("GET").arg(keys.journal());
        let (text,): (Option<Vec<u8>>,) = pipe.query_async(on).await.doing(doing)?;
        let saved = text.map(|text| self.read(&text)).transpose()?;
        let journal = saved.clone();
        let mut journal = journal.unwrap_or_else(|| Journal::new(&self.settings.system));
        if let Some(new) = new {
            let release = format!("delete the key {} to give it to another", keys.journal());
            journal.judge_sender(new, "what is under the prefix", &release)?;
        }
        journal.admit(fence)?;
        Ok(Book { journal, saved })
    }

    fn read(&self, text: &[u8]) -> Result<Journal, ConnectorError> {
        let key = self.settings.keys.journal();
        let wrong = |what: String| ConnectorError::Terminal {
            message: format!("the key {key} {what}"),
        };
        let journal: Journal =
            serde_json::from_slice(text).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        if journal.version != 1 {
            return Err(wrong(format!("has the version {}, not 1", journal.version)));
        }
        if journal.system != self.settings.system {
            return Err(wrong(format!(
                "says that it belongs to the system {}; give each system a prefix of its own (prefix: NAME), or delete the key if \
                 the system was renamed",
                journal.system
            )));
        }
        Ok(journal)
    }

    /// Refuses kinds that would not be looked at afterwards.
    fn declared(&self, changeset: &Changeset) -> Result<(), ConnectorError> {
        let kinds = &self.settings.kinds;
        let reasons: Vec<_> = changeset
            .changes
            .iter()
            .filter(|c| kinds.iter().all(|kind| kind.as_str() != c.id.kind()))
            .map(|c| crate::connector::Reason {
                id: c.id.clone(),
                message: format!("the kind {} is not one of this system's", c.id.kind()),
            })
            .collect();
        if reasons.is_empty() {
            return Ok(());
        }
        Err(ConnectorError::Refused {
            message: "not all changes are for this system".to_owned(),
            reasons,
        })
    }

    /// Puts together what a staged changeset does. The indexes that it touches are watched before they are read. The hashes are not: they are written
    /// anew whatever is in them, so what comes of it is the same; and the server looks through all that is watched already for each key that is
    /// added, and answers nobody meanwhile.
    async fn take_effect(
        &self,
        on: &mut MultiplexedConnection,
        (id, journal): (&ChangesetId, &mut Journal),
        pipe: &mut Pipeline,
    ) -> Result<Receipt, ConnectorError> {
        let keys = &self.settings.keys;
        let doing = "read the staged changeset";
        let text: Option<Vec<u8>> = cmd("GET")
            .arg(keys.staged(id))
            .query_async(&mut *on)
            .await
            .doing(doing)?;
        let text = text.ok_or_else(|| ConnectorError::Terminal {
            message: format!("the key {} is gone", keys.staged(id)),
        })?;
        let steps: Steps = serde_json::from_slice(&text).map_err(|e| ConnectorError::Terminal {
            message: format!("the key {} cannot be read: {e}", keys.staged(id)),
        })?;
        let becomes = steps.items();
        let touched: BTreeSet<u8> = becomes.iter().map(|(id, _)| id.bucket()).collect();
        let watched: Vec<String> = touched.into_iter().map(|b| keys.index(b)).collect();
        if !watched.is_empty() {
            let mut watch = cmd("WATCH");
            watch.arg(&watched);
            watch.query_async::<()>(&mut *on).await.doing(doing)?;
        }
        let now = view(on, self.settings, self.known.as_ref()).await?;
        // Also where somebody has edited since the prepare: what was decided happens, and what others wrote elsewhere stays.
        let next = advance(&now.state, becomes.clone());
        self.write(&becomes, pipe);
        self.tell(&next, &steps, pipe);
        journal.committed(id, Some(next.digest()))
    }

    fn write(&self, becomes: &[Becomes], pipe: &mut Pipeline) {
        let keys = &self.settings.keys;
        for (id, item) in becomes {
            let (key, index) = (keys.resource(id.as_str()), keys.index(id.bucket()));
            // Whatever is there goes: a command that fails inside EXEC would take nothing back.
            pipe.cmd("DEL").arg(&key).ignore();
            match item {
                None => {
                    pipe.cmd("SREM").arg(index).arg(id.as_str()).ignore();
                }
                Some(item) => {
                    let digest = item.digest().to_hex();
                    pipe.cmd("HSET")
                        .arg(&key)
                        .arg(&["kind", id.kind(), "name", id.name()])
                        .arg(&["spec", item.spec.as_str(), "digest", &digest])
                        .ignore();
                    pipe.cmd("SADD").arg(index).arg(id.as_str()).ignore();
                }
            }
        }
    }

    /// The digest key, and the word of the change for those who listen.
    fn tell(&self, next: &State, steps: &Steps, pipe: &mut Pipeline) {
        let key = self.settings.keys.state();
        let digest = next.digest().to_hex();
        let mut fields = vec!["digest".to_owned(), digest.clone()];
        fields.extend(["revision".to_owned(), steps.revision.as_str().to_owned()]);
        for (index, bucket) in (0..=u8::MAX).zip(next.buckets()) {
            fields.extend([format!("{index:02x}"), bucket.digest().to_hex()]);
        }
        pipe.cmd("HSET").arg(&key).arg(&fields).ignore();
        pipe.cmd("HINCRBY").arg(&key).arg("version").arg(1).ignore();
        let news = serde_json::json!({
            "system": self.settings.system, "revision": steps.revision, "digest": digest,
        });
        pipe.cmd("PUBLISH")
            .arg(&self.settings.channel)
            .arg(news.to_string())
            .ignore();
    }

    /// Makes everything take effect at once. `false` where something that was watched has moved: then nothing did.
    async fn close(
        &self,
        on: &mut MultiplexedConnection,
        book: Book,
        mut pipe: Pipeline,
    ) -> Result<bool, ConnectorError> {
        let Book { mut journal, saved } = book;
        let keys = &self.settings.keys;
        if saved.as_ref() != Some(&journal) {
            journal.prune();
            let before = saved.iter().flat_map(Journal::staged);
            for ended in before.filter(|e| journal.staged().all(|still| still.id != e.id)) {
                pipe.cmd("DEL").arg(keys.staged(&ended.id)).ignore();
            }
            pipe.cmd("SET")
                .arg(keys.journal())
                .arg(written(&journal)?)
                .ignore();
        }
        if pipe.is_empty() {
            return Ok(true);
        }
        pipe.atomic();
        let done: Value = pipe.query_async(on).await.doing("write the changes")?;
        Ok(done != Value::Nil)
    }
}

fn written<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, ConnectorError> {
    serde_json::to_vec(value).map_err(|e| ConnectorError::Terminal {
        message: format!("the journal cannot be written: {e}"),
    })
}

fn busy() -> ConnectorError {
    ConnectorError::Transient {
        message: "is being changed by somebody else all the time; try again".to_owned(),
    }
}
