//! The system's side: what it reads and says. It never decides: what it says is checked against what lies on the shelf, and what it repeats has no
//! further effect.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::kept::{self, Ack, OFFER, Offer, Page, Phase, Report, Told};
use super::pages::{self, DESIRED, Holding, SEEN};
use super::wire::{Acknowledged, Acknowledgement, Known, StateReport, Waiting, Waits};
use crate::clock::Clock;
use crate::connector::journal::Journal;
use crate::connector::shelf::Shelf;
use crate::connector::{ConnectorError, Reason};
use crate::ids::{ChangesetId, Digest, ResourceRef, Revision};
use crate::state::{Item, Spec, State};
use crate::system_api::{ChangesetStatus, Code, WireReason};

/// Where one system that pulls is served.
pub struct Counter {
    shelf: Arc<dyn Shelf>,
    clock: Arc<dyn Clock>,
}

/// Why something is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// The system's client has something to mend, or to do first.
    #[error("{message}")]
    Client { code: Code, message: String },
    /// Lockstep's own trouble.
    #[error(transparent)]
    Kept(#[from] ConnectorError),
}

fn client(code: Code, message: &str) -> CounterError {
    CounterError::Client {
        code,
        message: message.to_owned(),
    }
}

/// How many reasons one refusal may give, and how long a text in it may be.
const REASONS: usize = 100_000;
const WORDS: usize = 2000;

/// How often a write is tried that another came before.
const TRIES: usize = 10;

impl Counter {
    pub fn new(shelf: Arc<dyn Shelf>, clock: Arc<dyn Clock>) -> Self {
        Self { shelf, clock }
    }

    fn shelf(&self) -> &dyn Shelf {
        &*self.shelf
    }

    /// The digest of what the system should hold; `None` where nothing was decided for it yet.
    pub async fn desired_digest(&self) -> Result<Option<Digest>, CounterError> {
        Ok(pages::desired(self.shelf()).await?.map(|d| d.digest))
    }

    /// What the system should hold since the last decision.
    pub async fn desired(&self) -> Result<Option<(Option<Revision>, State)>, CounterError> {
        let Some(holding) = pages::desired(self.shelf()).await? else {
            return Ok(None);
        };
        let all = pages::read(self.shelf(), DESIRED, &holding, 0..=255).await?;
        let state = holding.state(all);
        Ok(Some((holding.revision, state)))
    }

    /// What waits for the system.
    pub async fn waiting(&self) -> Result<Waiting, CounterError> {
        let mut changesets = Vec::new();
        let journal = kept::journal(self.shelf()).await?;
        let entries = journal.iter().flat_map(|page| &page.value.changesets);
        let offered: BTreeSet<String> = self.shelf.list(OFFER).await?.into_iter().collect();
        for entry in entries {
            if !offered.contains(&format!("{OFFER}{}", entry.id)) {
                continue;
            }
            let Some(offer) = Offer::read(self.shelf(), &entry.id).await? else {
                continue;
            };
            let offer = offer.value;
            let phase = match entry.status {
                ChangesetStatus::Staged => offer.phase,
                ChangesetStatus::Aborted => Phase::Abort,
                ChangesetStatus::Committed => continue,
            };
            let is_done = match (phase, &offer.ack) {
                (Phase::Prepare, ack) => ack.is_some(),
                (Phase::Commit, ack) => matches!(ack, Some(Ack::Committed { .. })),
                (Phase::Abort, _) => false,
            };
            let changes = Offer::changes(self.shelf(), &entry.id).await?;
            let (false, Some(changes)) = (is_done, changes) else {
                continue;
            };
            changesets.push(Waits {
                id: entry.id.clone(),
                phase,
                revision: offer.revision,
                base_digest: offer.base,
                target_digest: offer.target,
                fence: offer.fence,
                changes,
            });
        }
        Ok(Waiting { changesets })
    }

    /// The events after one, and the last id given. `None` where the one is not known any more: then everything is to be looked at.
    pub async fn events_after(&self, after: u64) -> Result<(Option<Vec<Told>>, u64), CounterError> {
        let events = kept::events(self.shelf()).await?;
        let first = events.list.first().map_or(events.last + 1, |told| told.id);
        let is_known = after <= events.last && after + 1 >= first;
        let list = events.list.into_iter().filter(|told| told.id > after);
        Ok((is_known.then(|| list.collect()), events.last))
    }

    /// Takes what the system says that it holds.
    pub async fn report(&self, report: StateReport) -> Result<Known, CounterError> {
        let StateReport {
            revision,
            resources,
            digest,
            error,
        } = report;
        let said = match (resources, digest, error) {
            (Some(resources), None, None) => {
                let items = resources.iter().map(|r| item(&r.kind, &r.name, &r.spec));
                let items: Vec<Arc<Item>> = items.collect::<Result<_, _>>()?;
                let count = items.len();
                let state: State = items.into_iter().collect();
                if state.len() != count {
                    return Err(client(Code::Malformed, "a resource is reported twice"));
                }
                Said::State(state, revision)
            }
            (None, Some(digest), None) => Said::Same(digest),
            (None, None, Some(error)) => Said::Failed(error.chars().take(WORDS).collect()),
            _ => {
                return Err(client(
                    Code::Malformed,
                    "give one of resources (everything that is held), digest (nothing has changed) and error",
                ));
            }
        };
        for _ in 0..TRIES {
            match self.try_report(&said).await {
                Err(CounterError::Kept(ConnectorError::Transient { .. })) => {}
                answer => return answer,
            }
        }
        self.try_report(&said).await
    }

    async fn try_report(&self, said: &Said) -> Result<Known, CounterError> {
        let before = Report::read(self.shelf()).await?;
        let over = before.as_ref().map(|page| page.digest);
        let seen = before.and_then(|page| page.value.seen);
        let (failed, seen) = match said {
            Said::Failed(why) => (Some(why.clone()), seen),
            Said::Same(digest) => {
                if seen.as_ref().map(|seen| seen.digest) != Some(*digest) {
                    return Err(client(
                        Code::OtherBase,
                        "this is not the digest that was reported last; send all resources",
                    ));
                }
                (None, seen)
            }
            Said::State(state, revision) => {
                pages::write(self.shelf(), SEEN, seen.as_ref(), state).await?;
                (None, Some(Holding::of(state, revision.clone())))
            }
        };
        let report = Report {
            at: self.clock.now(),
            failed,
            seen,
        };
        Report::write(self.shelf(), over, &report).await?;
        Ok(Known {
            digest: report.seen.map(|seen| seen.digest),
        })
    }

    /// Takes what the system says of a changeset.
    pub async fn acknowledge(
        &self,
        id: &ChangesetId,
        said: Acknowledgement,
    ) -> Result<Acknowledged, CounterError> {
        for _ in 0..TRIES {
            match self.try_acknowledge(id, &said).await {
                Err(CounterError::Kept(ConnectorError::Transient { .. })) => {}
                answer => return answer,
            }
        }
        self.try_acknowledge(id, &said).await
    }

    async fn try_acknowledge(
        &self,
        id: &ChangesetId,
        said: &Acknowledgement,
    ) -> Result<Acknowledged, CounterError> {
        let journal = kept::journal(self.shelf()).await?;
        let status = status(journal.as_ref(), id);
        let offer = Offer::read(self.shelf(), id).await?;
        let done = |phase| {
            Ok(Acknowledged {
                id: id.clone(),
                phase,
            })
        };
        let committed = matches!(said, Acknowledgement::Committed { .. });
        let aborted = matches!(said, Acknowledgement::Aborted {});
        match (status, offer) {
            (None, _) => Err(client(
                Code::UnknownChangeset,
                "no such changeset waits here",
            )),
            (Some(ChangesetStatus::Committed), _) if committed => done(Phase::Commit),
            (Some(ChangesetStatus::Committed), _) => Err(client(
                Code::Committed,
                "this changeset is committed already",
            )),
            (Some(ChangesetStatus::Aborted), _) if aborted => {
                Offer::clear(self.shelf(), id).await?;
                done(Phase::Abort)
            }
            (Some(ChangesetStatus::Aborted), _) => Err(client(
                Code::Aborted,
                "this changeset was aborted: drop it, and say that it is aborted",
            )),
            (Some(ChangesetStatus::Staged), None) => Err(client(
                Code::UnknownChangeset,
                "no such changeset waits here",
            )),
            (Some(ChangesetStatus::Staged), Some(page)) => {
                let ack = self.judged(&page.value, said).await?;
                let phase = page.value.phase;
                let is_other = ack == Ack::OtherBase;
                if page.value.ack.as_ref() != Some(&ack) {
                    let offer = Offer {
                        ack: Some(ack),
                        ..page.value
                    };
                    Offer::replace(self.shelf(), id, page.digest, &offer).await?;
                }
                if is_other && *said != (Acknowledgement::OtherBase {}) {
                    return Err(client(
                        Code::OtherBase,
                        "the state reported last is not the base of this changeset, which is planned again",
                    ));
                }
                done(phase)
            }
        }
    }

    /// What an acknowledgement of a staged changeset comes to.
    async fn judged(&self, offer: &Offer, said: &Acknowledgement) -> Result<Ack, CounterError> {
        let seen = Report::read(self.shelf()).await?;
        let seen = seen
            .and_then(|page| page.value.seen)
            .map(|seen| seen.digest);
        match (offer.phase, said) {
            (Phase::Prepare, Acknowledgement::Prepared {}) => Ok(match seen == Some(offer.base) {
                true => Ack::Prepared,
                false => Ack::OtherBase,
            }),
            (Phase::Prepare, Acknowledgement::OtherBase {}) => Ok(Ack::OtherBase),
            (Phase::Prepare, Acknowledgement::Refused { message, reasons }) => {
                refusal(message, reasons)
            }
            // Said again by a client that did not hear the answer.
            (Phase::Commit, Acknowledgement::Prepared {}) => match &offer.ack {
                Some(ack) => Ok(ack.clone()),
                None => Ok(Ack::Prepared),
            },
            (Phase::Commit, Acknowledgement::Committed { digest }) => match seen == Some(*digest) {
                true => Ok(Ack::Committed { digest: *digest }),
                false => Err(client(
                    Code::OtherBase,
                    "report the state after the commit first; its digest is the one to give here",
                )),
            },
            (Phase::Commit, Acknowledgement::Refused { .. } | Acknowledgement::OtherBase {}) => {
                Err(client(
                    Code::Committed,
                    "the commit is decided, and what was prepared can't be refused any more: commit it",
                ))
            }
            (Phase::Prepare | Phase::Commit, Acknowledgement::Aborted {}) => Err(client(
                Code::OtherContent,
                "Lockstep has not aborted this changeset; refuse it where it can't be had",
            )),
            (Phase::Prepare, Acknowledgement::Committed { .. }) => Err(client(
                Code::OtherContent,
                "the commit of this changeset is not decided yet: wait for it",
            )),
            (Phase::Abort, _) => Err(client(
                Code::Aborted,
                "this changeset was aborted: drop it, and say that it is aborted",
            )),
        }
    }
}

/// What a report says.
enum Said {
    State(State, Option<Revision>),
    Same(Digest),
    Failed(String),
}

fn status(journal: Option<&Page<Journal>>, id: &ChangesetId) -> Option<ChangesetStatus> {
    Some(journal?.value.find(id)?.status)
}

fn item(kind: &str, name: &str, spec: &serde_json::Value) -> Result<Arc<Item>, CounterError> {
    let id = ResourceRef::new(kind, name)
        .map_err(|error| client(Code::Malformed, &format!("a resource: {error}")))?;
    let spec = Spec::from_value(spec)
        .map_err(|error| client(Code::Malformed, &format!("{id}: {error}")))?;
    Ok(Arc::new(Item::new(id, spec)))
}

fn refusal(message: &str, reasons: &[WireReason]) -> Result<Ack, CounterError> {
    if reasons.len() > REASONS {
        return Err(client(
            Code::Malformed,
            "more reasons than a changeset has changes",
        ));
    }
    let short = |text: &str| -> String { text.chars().take(WORDS).collect() };
    let reasons: Vec<Reason> = reasons
        .iter()
        .map(|reason| {
            let id = ResourceRef::new(&reason.kind, &reason.name)
                .map_err(|error| client(Code::Malformed, &format!("a reason: {error}")))?;
            Ok(Reason {
                id,
                message: short(&reason.message),
            })
        })
        .collect::<Result<_, CounterError>>()?;
    let message = match message {
        "" => format!("it refused {} changes", reasons.len()),
        message => short(message),
    };
    Ok(Ack::Refused { message, reasons })
}
