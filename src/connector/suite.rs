//! What every connector with staging of its own must do, as one suite: run on `http` against the reference system, and on `file`.
//!
//! `lockstep system test` asks the same of a system over the wire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::file::{FileConnector, FileSettings};
use super::http::{HttpConnector, HttpSettings};
use super::{Apply, Changeset, ConnectorError, Prepared, Seen, Staging};
use crate::ids::{ChangesetId, Fence};
use crate::plan::diff;
use crate::reference::{self, Options, Server};
use crate::resource::Direction;
use crate::state::{BUCKETS, Item, Spec, State};

const REVISION: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A system with a connector to it.
#[async_trait]
trait Rig: Send + Sync + Sized {
    async fn new() -> Self;

    fn connector(&self) -> &dyn Apply;

    /// Ends system and connector, and starts both on what was kept.
    async fn restart(self) -> Self;

    /// A second connector, as another process would have it.
    fn another(&self) -> Box<dyn Apply>;
}

struct OverHttp {
    folder: TempDir,
    server: Server,
    connector: HttpConnector,
}

impl OverHttp {
    async fn serve(folder: &TempDir) -> Server {
        reference::bind(Options {
            name: "medical".parse().unwrap(),
            title: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            database: folder.path().join("medical.db"),
            token: Some(SecretString::from("t0ken")),
            kinds: BTreeSet::new(),
            faults: None,
        })
        .await
        .unwrap()
    }

    fn to(server: &Server) -> HttpConnector {
        HttpConnector::new(HttpSettings {
            system: "medical".parse().unwrap(),
            base: server.url().parse().unwrap(),
            token: Some(SecretString::from("t0ken")),
            credential: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
        })
        .unwrap()
    }

    async fn over(folder: TempDir) -> Self {
        let server = Self::serve(&folder).await;
        Self {
            connector: Self::to(&server),
            folder,
            server,
        }
    }
}

#[async_trait]
impl Rig for OverHttp {
    async fn new() -> Self {
        Self::over(TempDir::new().unwrap()).await
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        self.server.stop().await.unwrap();
        Self::over(self.folder).await
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(Self::to(&self.server))
    }
}

struct OverFile {
    folder: TempDir,
    connector: FileConnector,
}

impl OverFile {
    fn to(folder: &TempDir) -> FileConnector {
        FileConnector::new(FileSettings {
            system: "legacy".parse().unwrap(),
            root: folder.path().to_owned(),
            path: "flags.json".parse().unwrap(),
        })
    }
}

#[async_trait]
impl Rig for OverFile {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            connector: Self::to(&folder),
            folder,
        }
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        Self {
            connector: Self::to(&self.folder),
            folder: self.folder,
        }
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(Self::to(&self.folder))
    }
}

/// One test for each behaviour and rig.
macro_rules! conforms {
    ($rig:ty: $($behaviour:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $behaviour() {
            super::$behaviour(<$rig as super::Rig>::new().await).await;
        })+
    };
}

macro_rules! on_all_rigs {
    ($($behaviour:ident),+ $(,)?) => {
        mod http { conforms!(super::OverHttp: $($behaviour),+); }
        mod file { conforms!(super::OverFile: $($behaviour),+); }
    };
}

on_all_rigs!(
    nothing_is_visible_before_the_commit,
    repetitions_have_no_further_effect,
    one_change_costs_one_bucket,
    an_aborted_changeset_stays_aborted,
    what_was_never_prepared_is_not_committed,
    another_base_and_other_content_are_stale,
    an_older_fence_can_do_nothing,
    a_newer_fence_ends_what_the_older_staged,
    the_next_holder_of_the_lease_finishes,
    a_restart_forgets_nothing,
    what_does_not_fit_is_refused_with_reasons,
    a_state_that_moves_while_it_is_read_is_stale,
    ten_thousand_changes_are_one_changeset,
    any_name_and_spec_comes_back_as_it_was,
);

fn item(name: &str, spec: Value) -> Arc<Item> {
    Arc::new(Item::new(
        name.parse().unwrap(),
        Spec::from_value(&spec).unwrap(),
    ))
}

fn flags(count: u32, rollout: u32) -> State {
    let flag = |n| {
        item(
            &format!("FeatureFlag/flag_{n}"),
            json!({"rollout": rollout}),
        )
    };
    (0..count).map(flag).collect()
}

fn changeset(id: &str, fence: u64, before: &State, after: &State) -> Changeset {
    Changeset {
        id: id.parse().unwrap(),
        revision: REVISION.parse().unwrap(),
        base: before.digest(),
        target: after.digest(),
        fence: Fence(fence),
        owner: None,
        changes: diff(before, after, |_, _, _| Direction::Neutral),
    }
}

/// Reads the whole state through the port.
async fn observe(connector: &dyn Apply) -> Result<State, ConnectorError> {
    connector.digests(None).await?;
    let all: Vec<u8> = (0..=255).collect();
    Ok(connector.items(&all).await?.into_iter().collect())
}

async fn apply(connector: &dyn Apply, changeset: &Changeset) {
    let prepared = connector.prepare(changeset).await;
    assert_eq!(prepared, Ok(Prepared { repeated: false }));
    let receipt = connector.commit(&changeset.id, changeset.fence).await;
    assert_eq!(receipt.unwrap().digest, changeset.target);
}

fn class<T>(answer: Result<T, ConnectorError>) -> &'static str {
    match answer {
        Ok(_) => "done",
        Err(ConnectorError::Transient { .. }) => "transient",
        Err(ConnectorError::Refused { .. }) => "refused",
        Err(ConnectorError::Terminal { .. }) => "terminal",
        Err(ConnectorError::Stale { .. }) => "stale",
        Err(ConnectorError::Fenced { .. }) => "fenced",
    }
}

async fn nothing_is_visible_before_the_commit(rig: impl Rig) {
    let connector = rig.connector();
    assert_eq!(connector.capabilities().staging, Staging::Native);
    let (empty, one) = (State::default(), flags(300, 10));
    assert_eq!(observe(connector).await.unwrap(), empty);
    let first = changeset("a", 1, &empty, &one);
    connector.prepare(&first).await.unwrap();
    assert_eq!(
        connector.digests(Some(empty.digest())).await,
        Ok(Seen::Unchanged)
    );
    assert_eq!(observe(&*rig.another()).await.unwrap(), empty);
    let receipt = connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    let seen = connector.digests(Some(empty.digest())).await.unwrap();
    let expected = Seen::Digests {
        revision: Some(REVISION.parse().unwrap()),
        digest: one.digest(),
        buckets: one.bucket_digests(),
    };
    assert_eq!(seen, expected);
    assert_eq!(observe(&*rig.another()).await.unwrap(), one);
}

async fn repetitions_have_no_further_effect(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), flags(3, 10), flags(3, 20));
    let first = changeset("a", 1, &empty, &one);
    apply(connector, &first).await;
    let receipt = connector.commit(&first.id, Fence(1)).await;
    assert_eq!(
        connector.prepare(&first).await,
        Ok(Prepared { repeated: true })
    );
    let second = changeset("b", 1, &one, &two);
    connector.prepare(&second).await.unwrap();
    assert_eq!(
        connector.prepare(&second).await,
        Ok(Prepared { repeated: true })
    );
    connector.commit(&second.id, Fence(1)).await.unwrap();
    // Answers what it led to then, and does not lead there again.
    assert_eq!(connector.commit(&first.id, Fence(1)).await, receipt);
    assert_eq!(observe(connector).await.unwrap(), two);
    assert_eq!(class(connector.abort(&first.id, Fence(1)).await), "refused");
    assert_eq!(observe(connector).await.unwrap(), two);
    // The last resource gone: an empty state that is there.
    apply(connector, &changeset("c", 1, &two, &empty)).await;
    assert_eq!(observe(connector).await.unwrap(), empty);
}

async fn one_change_costs_one_bucket(rig: impl Rig) {
    let connector = rig.connector();
    let one = flags(500, 10);
    apply(connector, &changeset("a", 1, &State::default(), &one)).await;
    let changed = item("FeatureFlag/flag_7", json!({"rollout": 50}));
    let two: State = one
        .items()
        .map(|i| if i.id == changed.id { &changed } else { i })
        .cloned()
        .collect();
    apply(connector, &changeset("b", 1, &one, &two)).await;
    let Ok(Seen::Digests { buckets, .. }) = connector.digests(Some(one.digest())).await else {
        unreachable!("the change went unseen")
    };
    assert_eq!(buckets.len(), BUCKETS);
    let differing: Vec<u8> = (0..=255)
        .filter(|i| buckets[usize::from(*i)] != one.buckets()[usize::from(*i)].digest())
        .collect();
    assert_eq!(differing, [changed.bucket]);
    let items = connector.items(&differing).await.unwrap();
    assert_eq!(items, two.buckets()[usize::from(changed.bucket)].items());
    assert_eq!(connector.items(&[]).await.unwrap(), []);
}

async fn an_aborted_changeset_stays_aborted(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), flags(3, 10));
    for (id, seen) in [("a", true), ("late", false)] {
        let first = changeset(id, 1, &empty, &one);
        if seen {
            connector.prepare(&first).await.unwrap();
        }
        assert_eq!(connector.abort(&first.id, Fence(1)).await, Ok(()));
        assert_eq!(connector.abort(&first.id, Fence(1)).await, Ok(()));
        assert_eq!(class(connector.prepare(&first).await), "stale");
        assert_eq!(
            class(connector.commit(&first.id, Fence(1)).await),
            "refused"
        );
    }
    assert_eq!(observe(connector).await.unwrap(), empty);
    apply(connector, &changeset("b", 1, &empty, &one)).await;
}

async fn what_was_never_prepared_is_not_committed(rig: impl Rig) {
    let id: ChangesetId = "never".parse().unwrap();
    let connector = rig.connector();
    assert_eq!(class(connector.commit(&id, Fence(1)).await), "refused");
    assert_eq!(observe(connector).await.unwrap(), State::default());
}

async fn another_base_and_other_content_are_stale(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    let elsewhere = changeset("a", 1, &one, &two);
    assert_eq!(class(connector.prepare(&elsewhere).await), "stale");
    connector
        .prepare(&changeset("b", 1, &empty, &one))
        .await
        .unwrap();
    let other = changeset("b", 1, &empty, &two);
    assert_eq!(class(connector.prepare(&other).await), "stale");
    // The base was right, until another changeset was committed.
    let early = changeset("c", 1, &empty, &two);
    apply(connector, &changeset("d", 1, &empty, &one)).await;
    assert_eq!(class(connector.prepare(&early).await), "stale");
    assert_eq!(observe(connector).await.unwrap(), one);
}

async fn an_older_fence_can_do_nothing(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    // Refused, but its fence counts.
    let refused = changeset("a", 5, &one, &two);
    assert_eq!(class(connector.prepare(&refused).await), "stale");
    let staged = changeset("b", 5, &empty, &one);
    connector.prepare(&staged).await.unwrap();
    let older = changeset("c", 4, &empty, &one);
    assert_eq!(class(connector.prepare(&older).await), "fenced");
    assert_eq!(
        class(connector.commit(&staged.id, Fence(4)).await),
        "fenced"
    );
    assert_eq!(class(connector.abort(&staged.id, Fence(4)).await), "fenced");
    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(class(connector.prepare(&older).await), "fenced");
    assert_eq!(observe(connector).await.unwrap(), empty);
    connector.commit(&staged.id, Fence(5)).await.unwrap();
}

async fn a_newer_fence_ends_what_the_older_staged(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    let old = changeset("old", 1, &empty, &one);
    connector.prepare(&old).await.unwrap();
    let new = changeset("new", 2, &empty, &two);
    connector.prepare(&new).await.unwrap();
    assert_eq!(class(connector.commit(&old.id, Fence(2)).await), "refused");
    connector.commit(&new.id, Fence(2)).await.unwrap();
    assert_eq!(observe(connector).await.unwrap(), two);
}

async fn the_next_holder_of_the_lease_finishes(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    let first = changeset("a", 1, &empty, &one);
    connector.prepare(&first).await.unwrap();
    connector.commit(&first.id, Fence(2)).await.unwrap();
    // Prepared again by the next holder, it is that one's.
    let second = changeset("b", 2, &one, &two);
    connector.prepare(&second).await.unwrap();
    let again = Changeset {
        fence: Fence(3),
        ..second.clone()
    };
    assert_eq!(
        connector.prepare(&again).await,
        Ok(Prepared { repeated: true })
    );
    connector.commit(&second.id, Fence(3)).await.unwrap();
    assert_eq!(observe(connector).await.unwrap(), two);
}

async fn a_restart_forgets_nothing(rig: impl Rig) {
    let (empty, one, two) = (State::default(), flags(3, 10), flags(5, 20));
    let (first, second, third) = (
        changeset("a", 1, &empty, &one),
        changeset("b", 1, &one, &two),
        changeset("c", 1, &one, &two),
    );
    apply(rig.connector(), &first).await;
    rig.connector().prepare(&second).await.unwrap();
    rig.connector().abort(&third.id, Fence(1)).await.unwrap();

    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(observe(connector).await.unwrap(), one);
    assert_eq!(class(connector.prepare(&third).await), "stale");
    let receipt = connector.commit(&second.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, two.digest());

    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(observe(connector).await.unwrap(), two);
    assert_eq!(connector.commit(&second.id, Fence(1)).await, Ok(receipt));
    let receipt = connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    assert_eq!(
        class(connector.abort(&second.id, Fence(1)).await),
        "refused"
    );
    assert_eq!(observe(connector).await.unwrap(), two);
}

async fn what_does_not_fit_is_refused_with_reasons(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), flags(2, 10));
    apply(connector, &changeset("a", 1, &empty, &one)).await;
    // Changes as someone would plan them who has not looked: a create and an update for what is not so.
    let create = changeset("x", 1, &empty, &flags(2, 30)).changes;
    let update = changeset("x", 1, &flags(4, 10), &flags(4, 30)).changes;
    let mut changes = create[..1].to_vec();
    changes.extend(update.into_iter().filter(|c| one.get(&c.id).is_none()));
    let wrong = Changeset {
        changes,
        ..changeset("b", 1, &one, &flags(4, 30))
    };
    let Err(ConnectorError::Refused { reasons, .. }) = connector.prepare(&wrong).await else {
        unreachable!("accepted")
    };
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(
        class(connector.commit(&wrong.id, Fence(1)).await),
        "refused"
    );
    let elsewhere = Changeset {
        target: empty.digest(),
        ..changeset("c", 1, &one, &flags(3, 10))
    };
    assert_eq!(class(connector.prepare(&elsewhere).await), "refused");
    assert_eq!(observe(connector).await.unwrap(), one);
}

async fn a_state_that_moves_while_it_is_read_is_stale(rig: impl Rig) {
    let connector = rig.connector();
    connector.digests(None).await.unwrap();
    let one = flags(3, 10);
    apply(&*rig.another(), &changeset("a", 1, &State::default(), &one)).await;
    assert_eq!(class(connector.items(&[0, 1, 2]).await), "stale");
    assert_eq!(observe(connector).await.unwrap(), one);
}

async fn ten_thousand_changes_are_one_changeset(rig: impl Rig) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), flags(10_000, 10));
    apply(connector, &changeset("a", 1, &empty, &one)).await;
    assert_eq!(observe(connector).await.unwrap(), one);
    apply(connector, &changeset("b", 1, &one, &empty)).await;
    assert_eq!(observe(connector).await.unwrap(), empty);
}

async fn any_name_and_spec_comes_back_as_it_was(rig: impl Rig) {
    let connector = rig.connector();
    let specs = [
        ("Notice/緊急/メンテナンス", json!("全システム")),
        // Composed and decomposed: two names.
        ("Notice/caf\u{e9}", json!({"a": 1})),
        ("Notice/cafe\u{301}", json!({"a": 1.5})),
        ("Notice/👩‍⚕️", json!([true, null, "\u{1f600}\u{2028}\u{0}"])),
        ("Notice/\u{202e}txt", json!({"\u{10000}": 1, "\u{fffd}": 2})),
        ("Notice/../../etc", json!(null)),
        ("Unheard/of", json!(1e300)),
        ("Unheard/of/it", json!(-9_007_199_254_740_992_i64)),
        ("Unheard/\"quoted\\\"", json!(0.1)),
    ];
    let all: State = specs
        .into_iter()
        .map(|(name, spec)| item(name, spec))
        .collect();
    apply(connector, &changeset("a", 1, &State::default(), &all)).await;
    assert_eq!(observe(connector).await.unwrap(), all);
    let rig = rig.restart().await;
    assert_eq!(observe(rig.connector()).await.unwrap(), all);
}
