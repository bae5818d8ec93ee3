//! Who acts for a group: the lease, and what comes with it. A process that gets it takes up the runs that were left open, and reads
//! what was known last; so a pass starts from what the store says, whoever wrote it.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::execute::{Ending, restore};
use super::group::{Memory, Pass, connected};
use super::{Engine, EngineError};
use crate::ids::Fence;
use crate::protocol;
use crate::store::{Reach, Store};

/// A lease as it is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) fence: Fence,
    /// Until then it need not be renewed.
    fresh_until: Instant,
}

/// Whether this pass may do anything for the group.
pub(super) enum Lead {
    Ours(Fence),
    /// The group is for another replica: nothing to do here, and nothing to say.
    Others,
    /// It may not, and why.
    Not(String),
}

/// What became of the runs that were left open.
enum Recovered {
    All,
    /// One has ended and left a system in doubt; with that the lease was given back.
    InDoubt,
    /// One can't be ended now, and why.
    Open(String),
}

impl Engine {
    /// Keeps the group's lease or takes it. Nothing is asked of a system and nothing written for a group without it.
    pub(super) async fn lead(
        &self,
        pass: &Pass<'_>,
        memory: &mut Memory,
    ) -> Result<Lead, EngineError> {
        let lease = Store::group_lease(pass.name);
        if !self.prefers(pass.name, pass.head) {
            // Not only where a pass holds it: after one that failed, or left a run open, it is still prolonged with all others.
            if memory.lease.is_some() || self.keeps(&lease) {
                tracing::info!(group.name = %pass.name, "the group goes to another replica");
                self.store.give_up_lease(&lease, &self.holder).await?;
                self.forget_kept(&lease);
            }
            *memory = Memory::default();
            return Ok(Lead::Others);
        }
        if let Some(held) = &mut memory.lease {
            if Instant::now() < held.fresh_until || self.is_kept(&lease, held.fence) {
                return Ok(Lead::Ours(held.fence));
            }
            let now = self.clock.now();
            let ttl = self.timing.lease;
            let fence = held.fence;
            if self
                .store
                .renew(&lease, &self.holder, fence, now, ttl)
                .await?
            {
                held.fresh_until = self.fresh();
                return Ok(Lead::Ours(fence));
            }
        }
        // Whoever had it meanwhile may have moved everything that is remembered.
        *memory = Memory::default();
        self.alive
            .get_or_try_init(async || self.store.announce(&self.holder))
            .await?;
        let (fence, fresh_until) = loop {
            let fresh_until = self.fresh();
            let acquired = self
                .store
                .acquire(&lease, &self.holder, self.clock.now(), self.timing.lease)
                .await?;
            let Some(fence) = acquired else {
                tracing::info!(group.name = %pass.name, "another process holds the lease of this group");
                return Ok(Lead::Not(self.kept_elsewhere()?));
            };
            match self.recover(pass, fence, memory).await? {
                Recovered::All => break (fence, fresh_until),
                // Each time one open run fewer.
                Recovered::InDoubt => {}
                Recovered::Open(why) => return Ok(Lead::Not(why)),
            }
        };
        self.recall(pass, memory).await?;
        memory.lease = Some(Held { fence, fresh_until });
        Ok(Lead::Ours(fence))
    }

    /// Who has the lease instead. A pass that holds it for a moment is not worth a name; one that was started to keep it is.
    fn kept_elsewhere(&self) -> Result<String, EngineError> {
        let who = match self.store.running()? {
            Some(running) => running.to_string(),
            None if self.store.is_shared() => "another replica".to_owned(),
            None => "another process".to_owned(),
        };
        Ok(format!("{who} keeps it in step"))
    }

    fn fresh(&self) -> Instant {
        Instant::now() + self.trusted()
    }

    /// Takes up the runs that were left open.
    async fn recover(
        &self,
        pass: &Pass<'_>,
        fence: Fence,
        memory: &mut Memory,
    ) -> Result<Recovered, EngineError> {
        for stored in self.store.open_runs(pass.name).await? {
            let run = restore(&stored)?;
            tracing::info!(run.id = %run.id, decision = ?run.decision, "an unfinished run is taken up");
            let (run, effects) = protocol::recover(run, fence);
            let ending = Ending::of(pass.group);
            let run = self
                .carry_out(
                    run,
                    effects,
                    &connected(pass.links),
                    &ending,
                    &BTreeSet::new(),
                )
                .await?;
            if run.outcome.is_none() {
                self.note_open(&run, memory).await?;
                return Ok(Recovered::Open(super::execute::unfinished(&run)));
            }
            if run.leaves_doubt() {
                return Ok(Recovered::InDoubt);
            }
        }
        Ok(Recovered::All)
    }

    /// Reads what is known of the group's systems.
    async fn recall(&self, pass: &Pass<'_>, memory: &mut Memory) -> Result<(), EngineError> {
        for system in &pass.group.systems {
            if let Some(stored) = self.store.system_state(system).await? {
                if let Some(revision) = stored.revision {
                    memory.verified.insert(system.clone(), revision);
                }
                if let Some(digest) = stored.digest {
                    memory.known.insert(system.clone(), digest);
                }
                if let Ok(condition) = serde_json::from_value(stored.condition) {
                    memory.conditions.insert(system.clone(), condition);
                }
            }
        }
        memory.carried = self.carried_out(pass.name).await?;
        let recent = self.store.recent_runs(pass.name, Reach::Whole, 1).await?;
        if let Some(last) = recent.into_iter().next() {
            let outcome = last.outcome.map(serde_json::from_value);
            memory.outcome = outcome
                .and_then(Result::ok)
                .map(|outcome| (last.run.revision, outcome));
        }
        Ok(())
    }
}
