//! A system in memory that fails when it is told to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::connector::shelf::MemoryShelf;
use crate::ids::Revision;
use crate::plan::diff;
use crate::resource::Direction;

/// A system that has no place for `owner`, and writes one resource after another.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    forms: BTreeMap<ResourceRef, Spec>,
    version: u64,
    read: Option<(u64, Arc<State>)>,
    /// What the write after so many fails with, once or over and over.
    fails: Option<(usize, ConnectorError, bool)>,
    writes: usize,
}

impl Memory {
    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    fn fail(&self, after: usize, error: ConnectorError, always: bool) {
        let mut inside = self.inside();
        inside.writes = 0;
        inside.fails = Some((after, error, always));
    }

    fn work(&self) {
        self.inside().fails = None;
    }

    fn edit(&self, name: &str, form: Option<Value>) {
        let mut inside = self.inside();
        let id: ResourceRef = name.parse().unwrap();
        match form {
            Some(form) => drop(inside.forms.insert(id, Spec::from_value(&form).unwrap())),
            None => drop(inside.forms.remove(&id)),
        }
        inside.version += 1;
    }

    fn forms(&self) -> Vec<String> {
        let inside = self.inside();
        let forms = inside.forms.iter();
        forms.map(|(id, form)| format!("{id} {form:?}")).collect()
    }
}

#[async_trait]
impl Plain for Memory {
    fn what(&self) -> &'static str {
        "the memory"
    }

    async fn read(&self) -> Result<Arc<State>, ConnectorError> {
        let mut inside = self.inside();
        let version = inside.version;
        if let Some((_, state)) = inside.read.as_ref().filter(|(of, _)| *of == version) {
            return Ok(state.clone());
        }
        let forms = inside.forms.iter();
        let items = forms.map(|(id, form)| Arc::new(Item::new(id.clone(), form.clone())));
        let state = Arc::new(items.collect::<State>());
        inside.read = Some((version, state.clone()));
        Ok(state)
    }

    fn form(&self, item: &Item, owner: Option<&str>) -> Result<Spec, String> {
        let mut form = item.spec.value();
        let fields = form.as_object_mut().ok_or("is no flag")?;
        fields.remove("owner");
        if fields.get("rollout").and_then(Value::as_u64) > Some(100) {
            return Err("rollout: 101 and more is too much".to_owned());
        }
        fields.insert("mark".to_owned(), json!(owner));
        Spec::from_value(&form).map_err(|e| e.to_string())
    }

    fn spec(&self, _: &ResourceRef, form: &Spec) -> Spec {
        let mut spec = form.value();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("mark");
        }
        Spec::from_value(&spec).unwrap()
    }

    fn has_place(&self, field: &str) -> bool {
        field != "owner"
    }

    async fn check(&self, changeset: &Changeset, _: &State) -> Result<Vec<Reason>, ConnectorError> {
        let taken = changeset.changes.iter().filter(|c| c.id.name() == "taken");
        Ok(taken
            .map(|change| Reason {
                id: change.id.clone(),
                message: "is another's".to_owned(),
            })
            .collect())
    }

    async fn write(&self, steps: &[Step]) -> Result<(), ConnectorError> {
        for step in steps {
            let mut inside = self.inside();
            if let Some((after, error, always)) = inside.fails.clone()
                && (inside.writes == after || (always && inside.writes > after))
            {
                inside.writes += 1;
                return Err(error);
            }
            inside.writes += 1;
            inside.version += 1;
            match &step.to {
                Some(form) => drop(inside.forms.insert(step.id.clone(), form.clone())),
                None => drop(inside.forms.remove(&step.id)),
            }
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        2
    }
}

struct Place {
    memory: Memory,
    shelf: MemoryShelf,
}

impl Place {
    fn new() -> Self {
        Self {
            memory: Memory::default(),
            shelf: MemoryShelf::default(),
        }
    }

    /// The connector as one more process has it.
    fn connector(&self) -> Compensating<Memory> {
        let shelf = Arc::new(self.shelf.clone());
        Compensating::new("flags".parse().unwrap(), self.memory.clone(), shelf)
    }

    async fn names_on_shelf(&self) -> Vec<String> {
        self.shelf.list("").await.unwrap()
    }
}

fn flags(count: u32, rollout: u32) -> State {
    let flag = |n: u32| {
        let spec = json!({"rollout": rollout, "owner": "sato"});
        let id = format!("FeatureFlag/flag_{n}").parse().unwrap();
        Arc::new(Item::new(id, Spec::from_value(&spec).unwrap()))
    };
    (0..count).map(flag).collect()
}

fn changeset(id: &str, before: &State, after: &State) -> Changeset {
    let revision: Revision = "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
    Changeset {
        id: id.parse().unwrap(),
        revision,
        base: before.digest(),
        target: after.digest(),
        fence: Fence(1),
        owner: Some("config repo a".into()),
        changes: diff(before, after, |_, _, _| Direction::Neutral),
    }
}

async fn observe(connector: &impl Observe) -> State {
    connector.digests(None).await.unwrap();
    let all: Vec<u8> = (0..=255).collect();
    connector.items(&all).await.unwrap().into_iter().collect()
}

async fn apply(place: &Place, changeset: &Changeset) {
    let connector = place.connector();
    connector.prepare(changeset).await.unwrap();
    let receipt = connector.commit(&changeset.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, changeset.target);
}

fn transient() -> ConnectorError {
    ConnectorError::Transient {
        message: "away".to_owned(),
    }
}

fn refused() -> ConnectorError {
    ConnectorError::Refused {
        message: "no".to_owned(),
        reasons: Vec::new(),
    }
}

#[tokio::test]
async fn a_commit_that_was_interrupted_goes_on_where_it_was() {
    let place = Place::new();
    let (empty, one) = (State::default(), flags(7, 10));
    let first = changeset("a", &empty, &one);
    place.connector().prepare(&first).await.unwrap();
    // Each attempt is another process, and comes three changes further.
    for after in [3, 3] {
        place.memory.fail(after, transient(), false);
        let error = place.connector().commit(&first.id, Fence(1)).await;
        assert!(
            matches!(error, Err(ConnectorError::Transient { .. })),
            "{error:?}"
        );
    }
    assert_eq!(place.memory.forms().len(), 6);
    let receipt = place.connector().commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    assert_eq!(observe(&place.connector()).await, one);
    assert_eq!(place.memory.inside().writes, 5, "nothing is written twice");
    let left = place.names_on_shelf().await;
    assert!(left.iter().all(|n| !n.contains("/a")), "{left:?}");
}

#[tokio::test]
async fn a_commit_that_fails_is_put_back_and_says_why_again() {
    let place = Place::new();
    let one = flags(6, 10);
    apply(&place, &changeset("a", &State::default(), &one)).await;
    let before = place.memory.forms();
    let second = changeset("b", &one, &flags(8, 20));
    let connector = place.connector();
    connector.prepare(&second).await.unwrap();
    place.memory.fail(5, refused(), false);
    let error = connector.commit(&second.id, Fence(1)).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Refused { .. }), "{error}");
    assert_eq!(place.memory.forms(), before);
    assert_eq!(observe(&place.connector()).await, one);
    assert_eq!(connector.commit(&second.id, Fence(1)).await, Err(error));
    assert_eq!(connector.abort(&second.id, Fence(1)).await, Ok(()));
    apply(&place, &changeset("c", &one, &flags(8, 30))).await;
}

#[tokio::test]
async fn what_cannot_be_put_back_yet_is_put_back_when_it_is_asked_again() {
    let place = Place::new();
    let one = flags(6, 10);
    apply(&place, &changeset("a", &State::default(), &one)).await;
    let second = changeset("b", &one, &flags(6, 20));
    place.connector().prepare(&second).await.unwrap();
    place.memory.fail(3, refused(), true);
    let error = place.connector().commit(&second.id, Fence(1)).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, ConnectorError::Terminal { message } if message.contains("by hand")),
        "{error}"
    );
    place.memory.fail(1, transient(), true);
    let error = place.connector().commit(&second.id, Fence(1)).await;
    assert!(
        matches!(error, Err(ConnectorError::Transient { .. })),
        "{error:?}"
    );
    place.memory.work();
    let error = place.connector().commit(&second.id, Fence(1)).await;
    assert!(
        matches!(error, Err(ConnectorError::Refused { .. })),
        "{error:?}"
    );
    assert_eq!(observe(&place.connector()).await, one);
}

#[tokio::test]
async fn one_that_is_half_committed_can_be_aborted() {
    let place = Place::new();
    let one = flags(6, 10);
    apply(&place, &changeset("a", &State::default(), &one)).await;
    let before = place.memory.forms();
    let second = changeset("b", &one, &flags(4, 20));
    place.connector().prepare(&second).await.unwrap();
    place.memory.fail(3, transient(), true);
    let cut = place.connector().commit(&second.id, Fence(1)).await;
    assert!(cut.is_err());
    assert_ne!(place.memory.forms(), before);
    let away = place.connector().abort(&second.id, Fence(1)).await;
    assert!(
        matches!(away, Err(ConnectorError::Transient { .. })),
        "{away:?}"
    );
    place.memory.work();
    assert_eq!(place.connector().abort(&second.id, Fence(1)).await, Ok(()));
    assert_eq!(place.memory.forms(), before);
    assert_eq!(observe(&place.connector()).await, one);
}

#[tokio::test]
async fn what_the_system_has_no_place_for_stands_as_long_as_its_form_does() {
    let place = Place::new();
    let one = flags(3, 10);
    apply(&place, &changeset("a", &State::default(), &one)).await;
    assert!(place.memory.forms().iter().all(|f| !f.contains("sato")));
    assert_eq!(observe(&place.connector()).await, one);
    // Only the owner differs: nothing is written to the system.
    let other: State = one
        .items()
        .map(|i| {
            let spec = json!({"rollout": 10, "owner": "suzuki"});
            Arc::new(Item::new(i.id.clone(), Spec::from_value(&spec).unwrap()))
        })
        .collect();
    let early = place.connector();
    assert_eq!(observe(&early).await, one);
    place.memory.fail(0, refused(), true);
    apply(&place, &changeset("b", &one, &other)).await;
    place.memory.work();
    assert_eq!(observe(&early).await, other, "another process sees it too");

    // Edited by hand: it says what it says, its owner is who it was, and it is put right.
    place
        .memory
        .edit("FeatureFlag/flag_1", Some(json!({"rollout": 99})));
    let adrift = observe(&early).await;
    let spec = &adrift
        .get(&"FeatureFlag/flag_1".parse().unwrap())
        .unwrap()
        .spec;
    assert_eq!(spec.as_str(), r#"{"owner":"suzuki","rollout":99}"#);
    apply(&place, &changeset("c", &adrift, &other)).await;
    assert_eq!(observe(&early).await, other);
}

#[tokio::test]
async fn what_others_write_between_prepare_and_commit_stays() {
    let place = Place::new();
    let one = flags(3, 10);
    apply(&place, &changeset("a", &State::default(), &one)).await;
    let second = changeset("b", &one, &flags(4, 10));
    let connector = place.connector();
    connector.prepare(&second).await.unwrap();
    place
        .memory
        .edit("FeatureFlag/theirs", Some(json!({"rollout": 1})));
    let receipt = connector.commit(&second.id, Fence(1)).await.unwrap();
    let now = observe(&connector).await;
    assert_eq!((receipt.digest, now.len()), (now.digest(), 5));
}

#[tokio::test]
async fn every_change_that_cannot_be_has_its_reason() {
    let place = Place::new();
    let mut wanted: Vec<Arc<Item>> = flags(2, 101).items().cloned().collect();
    let spec = Spec::from_value(&json!({"rollout": 1})).unwrap();
    let taken = "FeatureFlag/taken".parse().unwrap();
    wanted.push(Arc::new(Item::new(taken, spec)));
    let wanted: State = wanted.into_iter().collect();
    let refused = changeset("a", &State::default(), &wanted);
    let error = place.connector().prepare(&refused).await.unwrap_err();
    insta::assert_snapshot!(error, @"flags: the memory will not take 3 of 3 changes: FeatureFlag/flag_0: rollout: 101 and more is too much; FeatureFlag/flag_1: rollout: 101 and more is too much; FeatureFlag/taken: is another's");
    assert_eq!(place.names_on_shelf().await, ["journal"]);
}

#[tokio::test]
async fn a_process_that_was_overtaken_writes_nothing() {
    let place = Place::new();
    let one = flags(4, 10);
    let first = changeset("a", &State::default(), &one);
    place.connector().prepare(&first).await.unwrap();
    let newer = Changeset {
        fence: Fence(2),
        ..changeset("b", &State::default(), &flags(1, 20))
    };
    place.connector().prepare(&newer).await.unwrap();
    let error = place.connector().commit(&first.id, Fence(1)).await;
    assert!(
        matches!(error, Err(ConnectorError::Fenced { .. })),
        "{error:?}"
    );
    assert_eq!(place.memory.forms(), [""; 0]);
    // The journal moved on between reading it and writing it.
    let journal = place.shelf.read("journal").await.unwrap().unwrap();
    let mut desk = Desk::open(&place.shelf, &"flags".parse().unwrap(), Fence(3))
        .await
        .unwrap();
    let connector = place.connector();
    let moved = journal.text.replace("\"fence\":2", "\"fence\":4");
    place
        .shelf
        .write("journal", Some(journal.digest), &moved)
        .await
        .unwrap();
    let error = connector.commit_at(&mut desk, &newer.id).await;
    assert!(
        matches!(error, Err(ConnectorError::Transient { .. })),
        "{error:?}"
    );
    assert_eq!(place.memory.forms(), [""; 0]);
}
