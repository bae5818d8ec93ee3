use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::ids::ResourceRef;
use crate::plan::{Change, diff};
use crate::reference::{self, DropState, Faults, Options, Server};
use crate::resource::Direction;
use crate::state::{Spec, State};

mod faults;
mod limits;

const TOKEN: &str = "s3cret-token";

fn item(name: &str, spec: serde_json::Value) -> Arc<Item> {
    let id: ResourceRef = name.parse().unwrap();
    Arc::new(Item::new(id, Spec::from_value(&spec).unwrap()))
}

fn flags(count: u32, rollout: u32) -> State {
    (0..count)
        .map(|n| {
            item(
                &format!("FeatureFlag/flag_{n}"),
                json!({ "rollout": rollout }),
            )
        })
        .collect()
}

fn changes(before: &State, after: &State) -> Vec<Change> {
    diff(before, after, |_, _, _| Direction::Neutral)
}

fn changeset(id: &str, fence: u64, before: &State, after: &State) -> Changeset {
    Changeset {
        id: id.parse().unwrap(),
        revision: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap(),
        base: before.digest(),
        target: after.digest(),
        fence: Fence(fence),
        owner: None,
        changes: changes(before, after),
    }
}

fn connector_to(url: &str, token: Option<&str>) -> HttpConnector {
    HttpConnector::new(HttpSettings {
        system: "medical".parse().unwrap(),
        base: url.parse().unwrap(),
        token: token.map(SecretString::from),
        credential: Some("medical".to_owned()),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(20),
    })
    .unwrap()
}

async fn system(folder: &TempDir, faults: Faults) -> (Server, HttpConnector) {
    let server = reference::bind(Options {
        name: "medical".parse().unwrap(),
        title: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        database: folder.path().join("medical.db"),
        token: Some(SecretString::from(TOKEN)),
        kinds: BTreeSet::new(),
        faults: Some(faults),
    })
    .await
    .unwrap();
    let connector = connector_to(&server.url(), Some(TOKEN));
    (server, connector)
}

/// Reads the whole state through the port.
async fn observe(connector: &HttpConnector) -> Result<State, ConnectorError> {
    connector.digests(None).await?;
    let all: Vec<u8> = (0..=255).collect();
    Ok(connector.items(&all).await?.into_iter().collect())
}

#[tokio::test]
async fn a_change_goes_all_the_way() {
    let folder = TempDir::new().unwrap();
    let (server, connector) = system(&folder, Faults::default()).await;
    let (empty, one) = (State::default(), flags(2000, 10));
    assert_eq!(observe(&connector).await.unwrap(), empty);

    let first = changeset("a", 1, &empty, &one);
    assert_eq!(
        connector.prepare(&first).await,
        Ok(Prepared { repeated: false })
    );
    assert_eq!(
        connector.prepare(&first).await,
        Ok(Prepared { repeated: true })
    );
    let receipt = connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    assert_eq!(connector.commit(&first.id, Fence(1)).await, Ok(receipt));

    // Nothing changed: one conditional request.
    assert_eq!(
        connector.digests(Some(one.digest())).await,
        Ok(Seen::Unchanged)
    );
    assert_eq!(observe(&connector).await.unwrap(), one);

    // One change costs one bucket.
    let changed = item("FeatureFlag/flag_7", json!({"rollout": 50}));
    let two = crate::plan::apply(
        &[Change::between(
            one.get(&changed.id).cloned(),
            Some(changed.clone()),
            |_, _| Direction::Neutral,
        )
        .unwrap()],
        &one,
    );
    let second = changeset("b", 1, &one, &two);
    connector.prepare(&second).await.unwrap();
    connector.commit(&second.id, Fence(1)).await.unwrap();
    let seen = connector.digests(Some(one.digest())).await.unwrap();
    let Seen::Digests {
        revision,
        digest,
        buckets,
    } = seen
    else {
        unreachable!("the change went unseen")
    };
    assert_eq!((revision, digest), (Some(second.revision), two.digest()));
    let differing: Vec<u8> = (0..=255)
        .filter(|i| buckets[usize::from(*i)] != one.buckets()[usize::from(*i)].digest())
        .collect();
    assert_eq!(differing, [changed.bucket]);
    let items = connector.items(&differing).await.unwrap();
    assert_eq!(items, two.buckets()[usize::from(changed.bucket)].items());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn conflicts_fences_and_refusals_keep_their_class() {
    let folder = TempDir::new().unwrap();
    let (_server, connector) = system(&folder, Faults::default()).await;
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));

    let stale = connector.prepare(&changeset("a", 2, &one, &two)).await;
    assert!(
        matches!(stale, Err(ConnectorError::Stale { .. })),
        "{stale:?}"
    );
    let fenced = connector.prepare(&changeset("b", 1, &empty, &one)).await;
    assert!(matches!(fenced, Err(ConnectorError::Fenced { .. })));
    let id: ChangesetId = "c".parse().unwrap();
    let fenced = connector.commit(&id, Fence(1)).await;
    assert!(matches!(fenced, Err(ConnectorError::Fenced { .. })));
    let fenced = connector.abort(&id, Fence(1)).await;
    assert!(matches!(fenced, Err(ConnectorError::Fenced { .. })));

    let unknown = connector.commit(&id, Fence(2)).await;
    assert!(matches!(unknown, Err(ConnectorError::Refused { .. })));
    assert_eq!(connector.abort(&id, Fence(2)).await, Ok(()));
    let late = connector.prepare(&changeset("c", 2, &empty, &one)).await;
    assert!(matches!(late, Err(ConnectorError::Stale { .. })));
    let aborted = connector.commit(&id, Fence(2)).await;
    assert!(matches!(aborted, Err(ConnectorError::Refused { .. })));

    let wide = flags(2, 250);
    let refused = connector.prepare(&changeset("d", 2, &empty, &wide)).await;
    let Err(ConnectorError::Refused { message, reasons }) = refused else {
        unreachable!("{refused:?}")
    };
    assert!(message.contains("medical") && message.contains("127.0.0.1"));
    assert_eq!(reasons.len(), 2);
    assert_eq!(reasons[0].id.as_str(), "FeatureFlag/flag_0");
    assert_eq!(
        reasons[0].message,
        "a rollout is a number from 0 to 100, not 250"
    );

    let done = changeset("e", 2, &empty, &one);
    connector.prepare(&done).await.unwrap();
    connector.commit(&done.id, Fence(2)).await.unwrap();
    let committed = connector.abort(&done.id, Fence(2)).await;
    assert!(matches!(committed, Err(ConnectorError::Refused { .. })));
}

#[tokio::test]
async fn a_listing_that_is_not_whole_is_an_error() {
    for fault in [DropState::Partial, DropState::Cut] {
        let folder = TempDir::new().unwrap();
        let (server, connector) = system(&folder, Faults::default()).await;
        let one = flags(300, 10);
        let first = changeset("a", 1, &State::default(), &one);
        connector.prepare(&first).await.unwrap();
        connector.commit(&first.id, Fence(1)).await.unwrap();
        server.stop().await.unwrap();
        let faults = Faults {
            drop_state: Some(fault),
            ..Faults::default()
        };
        let (_server, connector) = system(&folder, faults).await;
        let error = observe(&connector).await.unwrap_err();
        match fault {
            DropState::Partial => {
                assert!(
                    matches!(error, ConnectorError::Terminal { .. }),
                    "{error:?}"
                );
            }
            DropState::Cut => {
                assert!(
                    matches!(error, ConnectorError::Transient { .. }),
                    "{error:?}"
                );
            }
            DropState::Empty => {}
        }
    }
}

#[tokio::test]
async fn a_state_that_moves_while_it_is_read_is_stale() {
    let folder = TempDir::new().unwrap();
    let (server, connector) = system(&folder, Faults::default()).await;
    connector.digests(None).await.unwrap();
    let other = connector_to(&server.url(), Some(TOKEN));
    let (empty, one) = (State::default(), flags(3, 10));
    let first = changeset("a", 1, &empty, &one);
    other.prepare(&first).await.unwrap();
    other.commit(&first.id, Fence(1)).await.unwrap();
    let read = connector.items(&[0, 1, 2]).await;
    assert!(
        matches!(read, Err(ConnectorError::Stale { .. })),
        "{read:?}"
    );
    assert_eq!(observe(&connector).await.unwrap(), one);
    // Without having asked for digests before, it asks by itself.
    let fresh = connector_to(&server.url(), Some(TOKEN));
    let bucket = one.items().next().unwrap().bucket;
    assert_eq!(
        fresh.items(&[bucket]).await.unwrap(),
        one.buckets()[usize::from(bucket)].items()
    );
    assert_eq!(fresh.items(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn lies_lost_answers_and_failures_end_as_they_should() {
    let folder = TempDir::new().unwrap();
    let faults = Faults {
        fail_prepare: 1,
        fail_commit: 1,
        lose_commit_answer: 1,
        ..Faults::default()
    };
    let (server, connector) = system(&folder, faults).await;
    let (empty, one, two) = (State::default(), flags(3, 10), flags(3, 20));
    let first = changeset("a", 1, &empty, &one);
    let failed = connector.prepare(&first).await;
    assert!(matches!(failed, Err(ConnectorError::Transient { .. })));
    connector.prepare(&first).await.unwrap();
    for _ in 0..2 {
        let failed = connector.commit(&first.id, Fence(1)).await;
        assert!(matches!(failed, Err(ConnectorError::Transient { .. })));
    }
    let receipt = connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    server.stop().await.unwrap();

    let faults = Faults {
        lie_digest: true,
        ..Faults::default()
    };
    let (_server, connector) = system(&folder, faults).await;
    let second = changeset("b", 1, &one, &two);
    connector.prepare(&second).await.unwrap();
    let receipt = connector.commit(&second.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, two.digest(), "so it says");
    assert_eq!(
        observe(&connector).await.unwrap(),
        one,
        "but observing shows"
    );
}

#[tokio::test]
async fn a_wrong_token_is_for_a_person_to_mend() {
    let folder = TempDir::new().unwrap();
    let (server, _) = system(&folder, Faults::default()).await;
    let wrong = connector_to(&server.url(), Some("wrong-s3cret"));
    let error = wrong.digests(None).await.unwrap_err();
    let ConnectorError::Terminal { message } = error else {
        unreachable!("{error:?}")
    };
    assert!(message.contains("\"medical\"") && message.contains("127.0.0.1"));
    assert!(!message.contains("s3cret"));
    assert!(matches!(
        HttpConnector::new(HttpSettings {
            system: "medical".parse().unwrap(),
            base: server.url().parse().unwrap(),
            token: Some(SecretString::from("line\nbreak")),
            credential: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }),
        Err(HttpSettingsError::Token)
    ));
}
