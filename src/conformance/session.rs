//! What the behaviours share: the state as it should be, the fence, ids and names of the test's own, and the calls of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::wire::{Answer, Ask, Wire};
use super::{ConformanceError, Miss, Occupied, Options, Restart, failed};
use crate::ids::{ChangesetId, Digest, Fence, KindName, ResourceRef, Revision};
use crate::plan::Op;
use crate::state::{Item, Spec, State};
use crate::system_api::{
    Code, DigestsAnswer, ErrorAnswer, FenceRequest, OutcomeAnswer, PrepareRequest, StateAnswer,
    WireChange, op_word,
};

/// What every name and id of the test starts with.
const PREFIX: &str = "lockstep-conformance-";

/// The largest fence: what every JSON reader takes without rounding.
const MAX_FENCE: u64 = (1 << 53) - 1;

pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) kind: KindName,
    pub(super) specs: Vec<Value>,
    pub(super) many: usize,
    pub(super) restart: Option<Restart>,
    pub(super) started: Timestamp,
    /// The highest fence that was sent.
    pub(super) fence: Fence,
    /// The state as it should be now.
    pub(super) state: State,
    /// Answers that are errors without the body that errors have.
    pub(super) deviations: Vec<String>,
    /// Whether any error was answered at all.
    pub(super) errors: usize,
    /// The changeset that was committed last, with what it changed.
    pub(super) last: Option<(ChangesetId, Vec<(Op, ResourceRef)>)>,
    /// What the system held when the test began; `None` where that could not be read.
    baseline: Option<State>,
    revision: Option<Revision>,
    /// Tells this test's names and ids from those of an earlier one.
    mark: String,
    serial: u32,
    /// What may be staged and must be dropped.
    open: BTreeSet<ChangesetId>,
    /// Why tidying up last failed.
    pub(super) untidy: Option<String>,
}

/// A change to be sent.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) id: ResourceRef,
    pub(super) spec: Option<Value>,
}

/// A changeset to be sent, with the state it leads to.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) id: ChangesetId,
    pub(super) request: PrepareRequest<'static, Value>,
    pub(super) after: State,
}

impl Session {
    /// Looks at the system, and refuses to touch what it must not.
    pub(super) async fn open(options: Options) -> Result<Self, ConformanceError> {
        let Options {
            url,
            token,
            kind,
            specs,
            occupied,
            many,
            fence,
            timeout,
            restart,
            clock,
        } = options;
        let specs = contents(&kind, specs)?;
        let wire = Wire::new(&url, token, timeout)?;
        let mut session = Self {
            wire,
            kind,
            specs,
            many,
            restart,
            started: clock.now(),
            fence,
            state: State::default(),
            deviations: Vec::new(),
            errors: 0,
            last: None,
            baseline: None,
            revision: None,
            mark: uuid::Uuid::new_v4()
                .simple()
                .to_string()
                .chars()
                .take(8)
                .collect(),
            serial: 0,
            open: BTreeSet::new(),
            untidy: None,
        };
        let answer = session.wire.send(Ask::get("/state")).await;
        let answer = answer.map_err(ConformanceError::Unreachable)?;
        match answer.status.as_u16() {
            401 | 403 => return Err(ConformanceError::Unauthorized),
            404 | 405 => return Err(ConformanceError::Unreachable(answer.told())),
            _ => {}
        }
        // A state that can't be read is for the behaviours to report; nothing is changed on such a system.
        if let Ok((revision, state)) = read_state(&answer) {
            if !state.is_empty() && occupied == Occupied::Refuse {
                return Err(ConformanceError::Occupied(state.len()));
            }
            session.revision = revision;
            session.state = state.clone();
            session.baseline = Some(state);
        }
        Ok(session)
    }

    /// The digest of what the test found.
    pub(super) fn found(&self) -> Option<Digest> {
        self.baseline.as_ref().map(State::digest)
    }

    pub(super) fn baseline(&self) -> Option<&State> {
        self.baseline.as_ref()
    }

    /// A name of the test's own, for the kind that is tested.
    pub(super) fn name(&self, word: &str) -> Result<ResourceRef, Miss> {
        self.name_of(self.kind.as_str(), word)
    }

    pub(super) fn name_of(&self, kind: &str, word: &str) -> Result<ResourceRef, Miss> {
        ResourceRef::new(kind, &format!("{PREFIX}{}-{word}", self.mark))
            .map_err(|e| Miss::Skipped(e.to_string()))
    }

    pub(super) fn new_id(&mut self) -> Result<ChangesetId, Miss> {
        self.serial += 1;
        format!("{PREFIX}{}-{}", self.mark, self.serial)
            .parse()
            .map_err(|e: crate::ids::InvalidId| Miss::Skipped(e.to_string()))
    }

    /// One of the contents that the system takes.
    pub(super) fn spec(&self, index: usize) -> Value {
        let at = index % self.specs.len().max(1);
        self.specs.get(at).cloned().unwrap_or(Value::Null)
    }

    pub(super) fn create(&self, word: &str, spec: usize) -> Result<Step, Miss> {
        Ok(Step {
            op: Op::Create,
            id: self.name(word)?,
            spec: Some(self.spec(spec)),
        })
    }

    pub(super) fn update(&self, word: &str, spec: usize) -> Result<Step, Miss> {
        let step = self.create(word, spec)?;
        Ok(Step {
            op: Op::Update,
            ..step
        })
    }

    pub(super) fn delete(&self, word: &str) -> Result<Step, Miss> {
        Ok(Step {
            op: Op::Delete,
            id: self.name(word)?,
            spec: None,
        })
    }

    /// A changeset of these steps on the state as it should be now, under the current fence.
    pub(super) fn draft(&mut self, steps: &[Step]) -> Result<Draft, Miss> {
        let mut items: BTreeMap<ResourceRef, Arc<Item>> = self
            .state
            .items()
            .map(|item| (item.id.clone(), item.clone()))
            .collect();
        for step in steps {
            match &step.spec {
                Some(spec) => {
                    let spec = Spec::from_value(spec).map_err(|e| Miss::Skipped(e.to_string()))?;
                    items.insert(step.id.clone(), Arc::new(Item::new(step.id.clone(), spec)));
                }
                None => {
                    items.remove(&step.id);
                }
            }
        }
        let after: State = items.into_values().collect();
        let changes = steps.iter().map(|step| WireChange {
            op: op_word(step.op).into(),
            kind: step.id.kind().to_owned().into(),
            name: step.id.name().to_owned().into(),
            spec: step.spec.clone(),
        });
        Ok(Draft {
            id: self.new_id()?,
            request: PrepareRequest {
                revision: self.own_revision()?,
                base_digest: self.state.digest(),
                target_digest: after.digest(),
                fence: self.fence,
                owner: None,
                changes: changes.collect(),
            },
            after,
        })
    }

    /// A revision that no repository has, so that nobody takes the test's changes for merged ones.
    fn own_revision(&self) -> Result<Revision, Miss> {
        let digest = Digest::of(format!("{PREFIX}{}", self.mark).as_bytes()).to_hex();
        let text: String = digest.chars().take(40).collect();
        text.parse()
            .map_err(|e: crate::ids::InvalidId| Miss::Skipped(e.to_string()))
    }

    pub(super) async fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, Miss> {
        let asked = format!("{} {}", ask.method, ask.path);
        let answer = self.wire.send(ask).await;
        answer.map_err(|error| failed(format!("an answer to {asked}"), error))
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, Miss> {
        self.ask(Ask::get(path)).await
    }

    pub(super) async fn send<T: Serialize>(
        &mut self,
        method: Method,
        path: &str,
        body: &T,
    ) -> Result<Answer, Miss> {
        let body = serde_json::to_vec(body).map_err(|e| Miss::Skipped(e.to_string()))?;
        let ask = Ask {
            method,
            body: Some(body),
            ..Ask::get(path)
        };
        self.ask(ask).await
    }

    /// Sends a prepare, whatever comes.
    pub(super) async fn prepare(&mut self, draft: &Draft) -> Result<Answer, Miss> {
        self.prepare_as(&draft.id, &draft.request).await
    }

    /// Sends any body as a prepare.
    pub(super) async fn prepare_as<T: Serialize>(
        &mut self,
        id: &ChangesetId,
        body: &T,
    ) -> Result<Answer, Miss> {
        self.open.insert(id.clone());
        self.send(Method::PUT, &format!("/changesets/{id}"), body)
            .await
    }

    /// Prepares what must be accepted.
    pub(super) async fn stage(&mut self, draft: &Draft) -> Result<(), Miss> {
        let answer = self.prepare(draft).await?;
        answer
            .want(&[201], "a changeset that is in order")
            .map(drop)
    }

    pub(super) async fn end(
        &mut self,
        id: &ChangesetId,
        verb: &str,
        fence: Fence,
    ) -> Result<Answer, Miss> {
        let path = format!("/changesets/{id}/{verb}");
        self.send(Method::POST, &path, &FenceRequest { fence })
            .await
    }

    /// Commits what is staged, and takes over the state it leads to.
    pub(super) async fn commit(&mut self, draft: &Draft) -> Result<OutcomeAnswer, Miss> {
        let fence = self.fence;
        let answer = self.end(&draft.id, "commit", fence).await?;
        let answer = answer.want(&[200], "the commit of a staged changeset")?;
        self.open.remove(&draft.id);
        self.state = draft.after.clone();
        let changes = draft.request.changes.iter();
        let changes = changes.filter_map(|change| {
            let op = crate::system_api::op_from_word(&change.op)?;
            Some((op, ResourceRef::new(&change.kind, &change.name).ok()?))
        });
        self.last = Some((draft.id.clone(), changes.collect()));
        answer.json("{digest, revision}")
    }

    /// Prepares and commits steps, and checks that the system shows them.
    pub(super) async fn apply(&mut self, steps: &[Step]) -> Result<Draft, Miss> {
        let draft = self.draft(steps)?;
        self.stage(&draft).await?;
        let outcome = self.commit(&draft).await?;
        if outcome.digest != self.state.digest() {
            return Err(failed(
                format!(
                    "the commit to answer {}, which is what the changes lead to",
                    draft.after.digest()
                ),
                outcome.digest.to_string(),
            ));
        }
        self.shows("after the commit").await?;
        Ok(draft)
    }

    /// Reads the whole state. Its digest is computed here, never believed.
    pub(super) async fn observe(&mut self) -> Result<(Option<Revision>, State), Miss> {
        let answer = self.get("/state").await?;
        let answer = answer.want(&[200], "a reading of the state")?;
        read_state(&answer)
    }

    pub(super) async fn digests(&mut self) -> Result<DigestsAnswer, Miss> {
        let answer = self.get("/state/digests").await?;
        let answer = answer.want(&[200], "a reading of the digests")?;
        answer.json("{revision, digest, buckets}")
    }

    /// Checks that the system shows the state that it should have, in its listing and in its digests.
    pub(super) async fn shows(&mut self, when: &str) -> Result<(), Miss> {
        let (_, seen) = self.observe().await?;
        if seen.digest() != self.state.digest() {
            let came = difference(&self.state, &seen);
            return Err(failed(
                format!(
                    "{when}, the state to hold {} resources with the digest {}",
                    self.state.len(),
                    self.state.digest().short()
                ),
                came,
            ));
        }
        let announced = self.digests().await?.digest;
        if announced != self.state.digest() {
            return Err(failed(
                format!(
                    "{when}, /state/digests to answer {}",
                    self.state.digest().short()
                ),
                announced.short(),
            ));
        }
        Ok(())
    }

    /// The answer, where it is the refusal that the contract names. Its status is judged here; what its body lacks is kept for
    /// `error-bodies`.
    pub(super) fn refusal(
        &mut self,
        answer: Answer,
        status: u16,
        code: Code,
        when: &str,
    ) -> Result<ErrorAnswer, Miss> {
        let answer = answer.want(&[status], when)?;
        self.errors += 1;
        let word = |code: Code| json!(code).as_str().unwrap_or("other").to_owned();
        let body: Result<ErrorAnswer, _> = serde_json::from_slice(&answer.body);
        let asked = &answer.asked;
        let lacks = match &body {
            _ if !answer.is_json() => Some("has no Content-Type: application/json".to_owned()),
            Err(error) => Some(format!("is not {{error, code, reasons}}: {error}")),
            Ok(body) if body.error.trim().is_empty() => Some("has no text in `error`".to_owned()),
            Ok(body) if body.code != code => Some(format!(
                "has the code {} instead of {}",
                word(body.code),
                word(code)
            )),
            Ok(_) => None,
        };
        if let Some(lacks) = lacks {
            self.deviations.push(format!("{status} to {asked} {lacks}"));
        }
        Ok(body.unwrap_or(ErrorAnswer {
            error: String::new(),
            code: Code::Other,
            reasons: Vec::new(),
        }))
    }

    /// Takes a newer lease.
    pub(super) fn next_fence(&mut self) -> Result<Fence, Miss> {
        let next = self.fence.0.saturating_add(1);
        if next > MAX_FENCE {
            return Err(Miss::Skipped(
                "the system has seen the highest fence there is".to_owned(),
            ));
        }
        self.fence = Fence(next);
        Ok(self.fence)
    }

    /// A fence that the system has left behind.
    pub(super) fn older_fence(&mut self) -> Result<Fence, Miss> {
        if self.fence.0 == 0 {
            self.next_fence()?;
        }
        Ok(Fence(self.fence.0.saturating_sub(1)))
    }

    /// Finds the lowest fence that the system accepts, so that as few numbers as can be are used up.
    pub(super) async fn find_fence(&mut self) -> Result<(), Miss> {
        loop {
            let id = self.new_id()?;
            let fence = self.fence;
            let answer = self.end(&id, "abort", fence).await?;
            if answer.status.as_u16() != 412 {
                // Whether such an abort is answered as it should be has a behaviour of its own.
                answer.want(
                    &[200, 404, 409],
                    "a fence that is not older than the highest seen",
                )?;
                return Ok(());
            }
            let next = fence.0.saturating_add((fence.0 / 16).max(1));
            if next > MAX_FENCE {
                return Err(failed("a fence to be accepted", answer.told()));
            }
            self.fence = Fence(next);
        }
    }

    /// Brings the system back to what the test found: drops what is staged, deletes what was made.
    pub(super) async fn tidy(&mut self) {
        self.untidy = match self.try_tidy().await {
            Ok(()) => None,
            Err(Miss::Failed { expected, came }) => {
                Some(format!("expected {expected}; came {came}"))
            }
            Err(Miss::Skipped(why)) => Some(why),
        };
    }

    async fn try_tidy(&mut self) -> Result<(), Miss> {
        let Some(baseline) = self.baseline.clone() else {
            return Ok(());
        };
        let fence = self.fence;
        for id in std::mem::take(&mut self.open) {
            // One that was refused or has been committed by a wrong turn has nothing to drop.
            self.end(&id, "abort", fence).await?;
        }
        let (_, state) = self.observe().await?;
        self.state = state;
        let own = format!("{PREFIX}{}", self.mark);
        let left: Vec<Step> = self
            .state
            .items()
            .filter(|item| baseline.get(&item.id).is_none() && item.id.name().contains(&own))
            .map(|item| Step {
                op: Op::Delete,
                id: item.id.clone(),
                spec: None,
            })
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let mut draft = self.draft(&left)?;
        if let Some(revision) = &self.revision {
            draft.request.revision = revision.clone();
        }
        self.stage(&draft).await?;
        let last = self.last.take();
        self.commit(&draft).await?;
        self.last = last;
        Ok(())
    }
}

/// A state as it was answered.
fn read_state(answer: &Answer) -> Result<(Option<Revision>, State), Miss> {
    let body: StateAnswer<'_> =
        answer.json("{revision, digest, resources: [{kind, name, spec}]}")?;
    let mut items = Vec::with_capacity(body.resources.len());
    for resource in body.resources {
        let item = resource
            .into_item()
            .map_err(|e| failed("resources with a kind and a name", e.to_string()))?;
        items.push(item);
    }
    let count = items.len();
    let state: State = items.into_iter().collect();
    if state.len() != count {
        return Err(failed(
            "each resource once",
            format!("{count} resources with {} names", state.len()),
        ));
    }
    Ok((body.revision, state))
}

/// How what came differs from what should be, in a few words.
fn difference(expected: &State, came: &State) -> String {
    let wrong = |a: &State, b: &State| {
        let names = a
            .items()
            .filter(|i| b.get(&i.id).map(|j| &j.spec) != Some(&i.spec));
        let names: Vec<String> = names.map(|i| i.id.to_string()).collect();
        let few: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        let more = names.len().saturating_sub(few.len());
        if more > 0 {
            format!("{} and {more} more", few.join(", "))
        } else {
            few.join(", ")
        }
    };
    let (missing, surplus) = (wrong(expected, came), wrong(came, expected));
    let mut words = format!(
        "{} resources with the digest {}",
        came.len(),
        came.digest().short()
    );
    if !missing.is_empty() {
        words.push_str(&format!(
            "; missing or other than they should be: {missing}"
        ));
    }
    if !surplus.is_empty() {
        words.push_str(&format!("; not expected so: {surplus}"));
    }
    words
}

/// The contents that the test works with.
fn contents(kind: &KindName, given: Vec<Value>) -> Result<Vec<Value>, ConformanceError> {
    let specs = match (given.is_empty(), kind.as_str()) {
        (false, _) => given,
        (true, "FeatureFlag") => vec![
            json!({"enabled": false, "rollout": 0, "description": "made by a conformance test"}),
            json!({"enabled": false, "rollout": 25, "description": "made by a conformance test"}),
            json!({"enabled": false, "rollout": 50, "description": "made by a conformance test"}),
        ],
        (true, _) => return Err(ConformanceError::NoSpecs(kind.clone())),
    };
    let mut digests = BTreeSet::new();
    for spec in &specs {
        let spec = Spec::from_value(spec).map_err(|e| ConformanceError::Specs(e.to_string()))?;
        digests.insert(Digest::of(spec.as_str().as_bytes()));
    }
    if digests.len() < 2 || digests.len() != specs.len() {
        return Err(ConformanceError::Specs(format!(
            "there are {} different ones among {}",
            digests.len(),
            specs.len()
        )));
    }
    Ok(specs)
}
