//! What reached main unseen: opened and merged between two looks, merged while nobody looked, or pushed past the gate. Found by walking main on
//! from where it was seen last; each such step is judged afterwards by what it was merged onto, and what would not have passed is said to have
//! bypassed the gate.

use serde_json::{Value, json};

use super::record::{GATE, about, entry, facts};
use super::{Gate, GateError, Judgement};
use crate::forge::{ForgeError, Proposal, ProposalState};
use crate::ids::Revision;
use crate::repo::{CommitInfo, Steps};
use crate::store::{EntryFilter, FINAL, Standing as Said, Store};

/// Where main was when its steps were recorded last.
const MAIN: &str = "main";
/// How many steps are told apart.
const STEPS: usize = 1_000;

impl Gate {
    /// Records the steps of main since the last time that no proposal's own record tells of.
    pub(super) async fn record_passed(&self) -> Result<(), GateError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let head = self.forge.main().await?;
        let known = store.recorded(MAIN).await?;
        if known.as_deref() == Some(head.as_str()) {
            return Ok(());
        }
        // Before the first look there was nobody to pass by.
        if let Some(known) = known.and_then(|known| known.parse::<Revision>().ok()) {
            let (repo, from, tip) = (self.repo.clone(), known.clone(), head.clone());
            let steps = tokio::task::spawn_blocking(move || repo.steps(&from, &tip, STEPS));
            match steps.await?? {
                Steps::Forward(steps) => self.record_steps(store, steps).await?,
                Steps::Lost | Steps::Beside => {
                    self.record_bypass(
                        store,
                        &head,
                        json!({"from": known, "why": "main does not lead on from where it was"}),
                    )
                    .await?;
                }
                Steps::TooMany => {
                    let why = format!("main went on by more than {STEPS} commits that nobody saw");
                    self.record_bypass(store, &head, json!({"from": known, "why": why}))
                        .await?;
                }
            }
        }
        let seen = Said {
            name: MAIN.to_owned(),
            said: head.to_string(),
            first: None,
            changed: None,
        };
        store.record_news(&[seen]).await?;
        Ok(())
    }

    async fn record_steps(&self, store: &Store, all: Vec<CommitInfo>) -> Result<(), GateError> {
        let mut steps = Vec::new();
        for step in all {
            let told = EntryFilter {
                revision: Some(step.revision.clone()),
                action: Some("proposal.merged".to_owned()),
                limit: Some(1),
                ..EntryFilter::default()
            };
            if store.entries(&told).await?.is_empty() {
                steps.push(step);
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        let revisions: Vec<Revision> = steps.iter().map(|s| s.revision.clone()).collect();
        let mut merged = self.forge.merged(&revisions).await?;
        for step in &steps {
            match merged.remove(&step.revision) {
                Some(proposal) => self.record_unseen(store, step, &proposal).await?,
                None => {
                    let body = json!({
                        "subject": step.subject(), "committed_by": step.author.to_string(),
                        "why": "no proposal brought this commit",
                    });
                    self.record_bypass(store, &step.revision, body).await?;
                }
            }
        }
        Ok(())
    }

    /// A proposal that was merged without a record of it: what it was, who agreed, what the gate says of it now, and that it ended.
    async fn record_unseen(
        &self,
        store: &Store,
        step: &CommitInfo,
        proposal: &Proposal,
    ) -> Result<(), GateError> {
        let base = step.parents.first().unwrap_or(&proposal.base).clone();
        let as_open = Proposal {
            base,
            state: ProposalState::Open,
            ..proposal.clone()
        };
        match self.judge_as(as_open).await {
            Ok(judgement) => {
                self.record_judged(store, &judgement).await?;
                if !judgement.passes() {
                    let mut body = facts(&judgement);
                    body["why"] = json!("it was merged without passing the gate");
                    body["missing"] = json!(judgement.missing(self.language));
                    self.record_bypass(store, &step.revision, body).await?;
                }
            }
            // Whoever can't be asked now is asked again.
            Err(
                error @ (GateError::Forge(ForgeError::Transient(_))
                | GateError::Store(_)
                | GateError::Interrupted(_)),
            ) => {
                return Err(error);
            }
            Err(error) => {
                let mut body = about(proposal);
                body["why"] = json!(format!(
                    "it was merged before it was judged, and can't be now: {error}"
                ));
                self.record_bypass(store, &step.revision, body).await?;
            }
        }
        self.record_end(proposal, None).await
    }

    async fn record_judged(&self, store: &Store, judgement: &Judgement) -> Result<(), GateError> {
        let ended = store
            .recorded(&format!("proposal/{}", judgement.proposal.number))
            .await?;
        if ended.as_deref() != Some(FINAL) {
            self.record_as_seen(store, judgement).await?;
        }
        Ok(())
    }

    async fn record_bypass(
        &self,
        store: &Store,
        commit: &Revision,
        body: Value,
    ) -> Result<(), GateError> {
        let said = entry(GATE, "gate.bypassed", Some(commit), self.clock.now(), body);
        let standing = Said {
            name: format!("bypass/{commit}"),
            said: "said".to_owned(),
            first: said,
            changed: None,
        };
        store.record_news(&[standing]).await?;
        Ok(())
    }
}
