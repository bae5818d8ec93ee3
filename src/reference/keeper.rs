//! The one writer: a task that owns the state and the database, and takes one command after the other.
//!
//! A caller that goes away in the middle of a request cancels its request handler, but not a command that is under way: so what is in
//! memory can't fall behind what is on disk. Readers get the newest state without waiting for the writer.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::changeset::{self, Sent, Step, Verdict};
use super::database::{self, Database, Happened};
use super::marks;
use super::problem::Problem;
use crate::clock::Clock;
use crate::ids::{ChangesetId, Digest, Fence, ResourceRef, Revision};
use crate::plan::Op;
use crate::state::{Item, Spec, State};
use crate::system_api::{ChangesetStatus, OutcomeAnswer};

/// What the system holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) revision: Option<Revision>,
    pub(super) state: State,
}

impl Snapshot {
    fn outcome(&self) -> OutcomeAnswer {
        OutcomeAnswer {
            digest: self.state.digest(),
            revision: self.revision.clone(),
        }
    }
}

/// Whether a commit is carried out, or only said to be (a fault that was asked for).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Honesty {
    Honest,
    Lying,
}

type Reply<T> = oneshot::Sender<Result<T, Problem>>;

enum Command {
    Prepare(Box<Sent>, Reply<Staging>),
    Commit(ChangesetId, Fence, Honesty, Reply<OutcomeAnswer>),
    Abort(ChangesetId, Fence, Reply<OutcomeAnswer>),
    Edit(ResourceRef, Option<Spec>, Reply<Option<Op>>),
}

/// What became of a prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staging {
    New,
    Already(ChangesetStatus),
}

/// How the rest of the server speaks to the keeper.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    inbox: mpsc::Sender<Command>,
    latest: watch::Receiver<Arc<Snapshot>>,
}

impl Desk {
    /// The state now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.latest.borrow().clone()
    }

    /// The state now and after each change.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.latest.clone()
    }

    pub(super) async fn prepare(&self, sent: Sent) -> Result<Staging, Problem> {
        self.ask(|reply| Command::Prepare(Box::new(sent), reply))
            .await
    }

    pub(super) async fn commit(
        &self,
        id: ChangesetId,
        fence: Fence,
        honesty: Honesty,
    ) -> Result<OutcomeAnswer, Problem> {
        self.ask(|reply| Command::Commit(id, fence, honesty, reply))
            .await
    }

    pub(super) async fn abort(
        &self,
        id: ChangesetId,
        fence: Fence,
    ) -> Result<OutcomeAnswer, Problem> {
        self.ask(|reply| Command::Abort(id, fence, reply)).await
    }

    /// A change behind Lockstep's back. Answers what it did; `None` where the resource was so already.
    pub(super) async fn edit(
        &self,
        id: ResourceRef,
        spec: Option<Spec>,
    ) -> Result<Option<Op>, Problem> {
        self.ask(|reply| Command::Edit(id, spec, reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Problem> {
        let gone = Problem::Unavailable("the system is stopping; try again");
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(command(reply)).await.is_err() {
            return Err(gone);
        }
        answer.await.unwrap_or(Err(gone))
    }
}

pub(super) struct Keeper {
    database: Database,
    clock: Arc<dyn Clock>,
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<Snapshot>>,
    fence: Fence,
    /// The last write failed, so what is on disk is not known until it is read again.
    unsure: bool,
}

impl Keeper {
    pub(super) async fn open(
        database: Database,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Desk), sqlx::Error> {
        let database::Loaded {
            revision,
            fence,
            state,
        } = database.load().await?;
        // Callers wait when this many commands are ahead of them.
        let (sender, inbox) = mpsc::channel(64);
        let (publish, latest) = watch::channel(Arc::new(Snapshot { revision, state }));
        let keeper = Self {
            database,
            clock,
            inbox,
            publish,
            fence,
            unsure: false,
        };
        Ok((
            keeper,
            Desk {
                inbox: sender,
                latest,
            },
        ))
    }

    /// Takes commands until nobody is left who could send one.
    pub(super) async fn run(mut self) {
        while let Some(command) = self.inbox.recv().await {
            // A caller that no longer listens loses nothing: it asks again.
            match command {
                Command::Prepare(sent, reply) => {
                    let answer = self.prepare(&sent).await;
                    let _ = reply.send(self.noting(answer));
                }
                Command::Commit(id, fence, honesty, reply) => {
                    let answer = self.commit(&id, fence, honesty).await;
                    let _ = reply.send(self.noting(answer));
                }
                Command::Abort(id, fence, reply) => {
                    let answer = self.abort(&id, fence).await;
                    let _ = reply.send(self.noting(answer));
                }
                Command::Edit(id, spec, reply) => {
                    let answer = self.edit(id, spec).await;
                    let _ = reply.send(self.noting(answer));
                }
            }
        }
    }

    fn noting<T>(&mut self, answer: Result<T, Problem>) -> Result<T, Problem> {
        self.unsure |= matches!(answer, Err(Problem::Storage(_)));
        answer
    }

    /// The state as it is, read again where the last write failed.
    async fn current(&mut self) -> Result<Arc<Snapshot>, Problem> {
        if self.unsure {
            let database::Loaded {
                revision,
                fence,
                state,
            } = self.database.load().await?;
            self.fence = fence;
            self.publish
                .send_replace(Arc::new(Snapshot { revision, state }));
            self.unsure = false;
        }
        Ok(self.publish.borrow().clone())
    }

    /// A transaction in which the fence has been judged and, where it is newer, noted. It is noted also if the request is
    /// refused for another reason.
    async fn begin(&mut self, fence: Fence) -> Result<database::Tx, Problem> {
        changeset::judge_fence(fence, self.fence)?;
        if fence > self.fence {
            let mut tx = self.database.begin().await?;
            database::raise_fence(&mut tx, fence).await?;
            tx.commit().await?;
            self.fence = fence;
        }
        Ok(self.database.begin().await?)
    }

    async fn prepare(&mut self, sent: &Sent) -> Result<Staging, Problem> {
        let now = self.current().await?;
        let mut tx = self.begin(sent.fence).await?;
        let remembered = database::remembered(&mut tx, &sent.id).await?;
        if remembered.is_some_and(|r| r.content == Some(sent.content)) {
            database::take_over(&mut tx, &sent.id, sent.fence).await?;
        }
        // Whatever is said of this changeset, those of older leases have lost their owner.
        database::supersede(&mut tx, sent.fence).await?;
        let verdict = changeset::judge_prepare(sent, remembered, &now.state);
        let answer = match verdict {
            Ok(Verdict::Stage(steps)) => {
                let owner = sent.owner.as_deref();
                match marks::judge(&mut tx, steps, owner).await {
                    Ok(()) => {
                        database::stage(&mut tx, sent, steps).await?;
                        marks::stage(&mut tx, &sent.id, owner).await?;
                        Ok(Staging::New)
                    }
                    Err(problem) => Err(problem),
                }
            }
            Ok(Verdict::Already(status)) => Ok(Staging::Already(status)),
            Err(problem) => Err(problem),
        };
        tx.commit().await?;
        answer
    }

    async fn commit(
        &mut self,
        id: &ChangesetId,
        fence: Fence,
        honesty: Honesty,
    ) -> Result<OutcomeAnswer, Problem> {
        let now = self.current().await?;
        let mut tx = self.begin(fence).await?;
        match database::remembered(&mut tx, id).await?.map(|r| r.status) {
            None => return Err(Problem::UnknownChangeset),
            Some(ChangesetStatus::Aborted) => return Err(Problem::Aborted),
            Some(ChangesetStatus::Committed) => return Ok(database::outcome(&mut tx, id).await?),
            Some(ChangesetStatus::Staged) => {}
        }
        let database::Staged { revision, steps } = database::staged(&mut tx, id).await?;
        let done = Snapshot {
            revision: Some(revision.clone()),
            state: changeset::advance(&now.state, &steps),
        };
        let outcome = done.outcome();
        let next = match honesty {
            Honesty::Honest => {
                let changes = happened(&steps, &now.state);
                let at = self.clock.now();
                database::write(&mut tx, &changes, at, "lockstep", Some(id)).await?;
                marks::commit(&mut tx, Some(id), &steps).await?;
                done
            }
            Honesty::Lying => Snapshot {
                revision: Some(revision.clone()),
                state: now.state.clone(),
            },
        };
        database::set_revision(&mut tx, &revision).await?;
        database::end(&mut tx, id, fence, ChangesetStatus::Committed, &outcome).await?;
        tx.commit().await?;
        self.publish.send_replace(Arc::new(next));
        Ok(outcome)
    }

    async fn abort(&mut self, id: &ChangesetId, fence: Fence) -> Result<OutcomeAnswer, Problem> {
        let now = self.current().await?;
        let mut tx = self.begin(fence).await?;
        let remembered = database::remembered(&mut tx, id).await?;
        match remembered.map(|r| r.status) {
            Some(ChangesetStatus::Committed) => return Err(Problem::Committed),
            Some(ChangesetStatus::Aborted) => {}
            Some(ChangesetStatus::Staged) | None => {
                let outcome = now.outcome();
                database::end(&mut tx, id, fence, ChangesetStatus::Aborted, &outcome).await?;
                tx.commit().await?;
            }
        }
        Ok(now.outcome())
    }

    async fn edit(&mut self, id: ResourceRef, spec: Option<Spec>) -> Result<Option<Op>, Problem> {
        let now = self.current().await?;
        if spec.is_none() && now.state.get(&id).is_none() {
            return Err(Problem::NotFound);
        }
        let step = Step {
            // What an upsert does is read off the state below.
            op: Op::Update,
            item: spec.map(|spec| Arc::new(Item::new(id.clone(), spec))),
            id,
        };
        let steps = [step];
        let changes = happened(&steps, &now.state);
        let Some(op) = changes.first().map(|c| c.op) else {
            return Ok(None);
        };
        let mut tx = self.database.begin().await?;
        database::write(&mut tx, &changes, self.clock.now(), "local", None).await?;
        marks::commit(&mut tx, None, &steps).await?;
        tx.commit().await?;
        self.publish.send_replace(Arc::new(Snapshot {
            revision: now.revision.clone(),
            state: changeset::advance(&now.state, &steps),
        }));
        Ok(Some(op))
    }
}

fn happened(steps: &[Step], state: &State) -> Vec<Happened> {
    steps
        .iter()
        .filter_map(|step| {
            changeset::effect(step, state).map(|(op, before, after)| Happened {
                op,
                id: step.id.clone(),
                before,
                after,
            })
        })
        .collect()
}

/// The entity tag of a state: its digest in quotes.
pub(super) fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}
