//! A client in this process, as a system would run it: what it is told it stages, and what it holds outlasts it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::Counter;
use super::wire::{Acknowledgement, Phase, ReportedResource, StateReport, Waits};
use crate::ids::{ChangesetId, Digest, Revision};

/// What a client keeps.
#[derive(Debug, Clone, Default)]
pub(in crate::connector) struct Kept {
    pub(super) resources: BTreeMap<(String, String), Value>,
    revision: Option<Revision>,
    pub(super) staged: BTreeMap<ChangesetId, Waits>,
}

#[derive(Clone)]
pub(in crate::connector) struct Client {
    pub(super) kept: Arc<Mutex<Kept>>,
    pub(super) counter: Arc<Counter>,
}

impl Client {
    pub(in crate::connector) fn new(counter: Counter, kept: Arc<Mutex<Kept>>) -> Self {
        Self {
            kept,
            counter: Arc::new(counter),
        }
    }

    /// Says what it holds.
    pub(in crate::connector) async fn report(&self) -> Digest {
        let report = {
            let kept = self.kept.lock().unwrap();
            let resources = kept.resources.iter();
            StateReport {
                revision: kept.revision.clone(),
                resources: Some(
                    resources
                        .map(|((kind, name), spec)| ReportedResource {
                            kind: kind.clone(),
                            name: name.clone(),
                            spec: spec.clone(),
                        })
                        .collect(),
                ),
                digest: None,
                error: None,
            }
        };
        self.counter.report(report).await.unwrap().digest.unwrap()
    }

    /// Does what waits. What has been overtaken meanwhile is left for the next time.
    pub(in crate::connector) async fn turn(&self) {
        for waits in self.counter.waiting().await.unwrap().changesets {
            let id = waits.id.clone();
            let said = match waits.phase {
                Phase::Prepare => {
                    self.report().await;
                    self.kept.lock().unwrap().staged.insert(id.clone(), waits);
                    Acknowledgement::Prepared {}
                }
                Phase::Commit => {
                    self.take_effect(waits);
                    let digest = self.report().await;
                    Acknowledgement::Committed { digest }
                }
                Phase::Abort => {
                    self.kept.lock().unwrap().staged.remove(&id);
                    Acknowledgement::Aborted {}
                }
            };
            let _ = self.counter.acknowledge(&id, said).await;
        }
    }

    /// Commits; what was committed before is the same after it.
    fn take_effect(&self, waits: Waits) {
        let mut kept = self.kept.lock().unwrap();
        kept.staged.remove(&waits.id);
        for change in waits.changes.0 {
            let key = (change.kind, change.name);
            match change.spec {
                Some(spec) => kept.resources.insert(key, spec.0.value()),
                None => kept.resources.remove(&key),
            };
        }
        kept.revision = Some(waits.revision);
    }
}
