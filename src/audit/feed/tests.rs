use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::connector::{Capabilities, Seen, Staging};
use crate::state::Item;
use crate::system_api::AuditAnswer;

/// Answers with one page after the other.
struct Pages(Mutex<VecDeque<Result<AuditAnswer, ConnectorError>>>);

#[async_trait]
impl Observe for Pages {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: true,
        }
    }

    async fn digests(&self, _known: Option<Digest>) -> Result<Seen, ConnectorError> {
        Ok(Seen::Unchanged)
    }

    async fn items(&self, _buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn audit(
        &self,
        _span: (Timestamp, Timestamp),
        _cursor: Option<&str>,
    ) -> Result<AuditAnswer, ConnectorError> {
        let next = self.0.lock().unwrap().pop_front();
        next.unwrap_or_else(|| terminal("asked once too often"))
    }
}

fn terminal(message: &str) -> Result<AuditAnswer, ConnectorError> {
    Err(ConnectorError::Terminal {
        message: message.to_owned(),
    })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000 + second).unwrap()
}

fn event(second: i64, name: &str) -> AuditEvent {
    AuditEvent {
        at: at(second),
        actor: "somebody".to_owned(),
        action: "create".to_owned(),
        kind: "FeatureFlag".to_owned(),
        name: name.to_owned(),
        before: None,
        after: Some(json!({})),
        changeset: None,
    }
}

fn page(events: &[AuditEvent], next: Option<&str>) -> Result<AuditAnswer, ConnectorError> {
    Ok(AuditAnswer {
        events: events.to_vec(),
        next: next.map(str::to_owned),
    })
}

/// The names of the events that came, and why it ended early.
fn read(pages: Vec<Result<AuditAnswer, ConnectorError>>) -> (Vec<String>, Option<String>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut feed = Feed::new(
        "medical".parse().unwrap(),
        Arc::new(Pages(Mutex::new(pages.into()))),
        runtime.handle().clone(),
        (at(0), at(100)),
    );
    let mut names = Vec::new();
    while feed.peek().is_some() {
        names.extend(feed.take_next().map(|event| event.name));
    }
    assert_eq!(feed.events, names.len() as u64);
    (names, feed.failure().map(str::to_owned))
}

#[test]
fn a_whole_feed_is_all_of_its_pages() {
    let (names, why) = read(vec![
        page(&[event(1, "a"), event(1, "b")], Some("1")),
        page(&[], Some("2")),
        page(&[event(2, "a")], None),
    ]);
    assert_eq!(
        (names, why),
        (["a", "b", "a"].map(String::from).to_vec(), None)
    );
}

#[test]
fn what_a_whole_feed_would_not_do_is_found() {
    let wrong_action = AuditEvent {
        action: "granted".to_owned(),
        ..event(2, "b")
    };
    let first = || page(&[event(1, "a")], Some("1"));
    let cases = [
        (vec![first(), terminal("gone")], "gone"),
        (vec![first(), page(&[event(0, "b")], None)], "not in order"),
        (vec![first(), page(&[event(1, "a")], None)], "twice"),
        (
            vec![first(), page(&[event(100, "b")], None)],
            "not asked for",
        ),
        (vec![first(), page(&[wrong_action], None)], "is none"),
        (
            vec![first(), page(&[event(2, "b")], Some("1"))],
            "in circles",
        ),
    ];
    for (pages, expected) in cases {
        let (names, why) = read(pages);
        assert_eq!(names, ["a"], "{expected}");
        assert!(
            why.as_ref().is_some_and(|why| why.contains(expected)),
            "{expected}: {why:?}"
        );
    }
}

/// However long the circle, and with events or without.
#[test]
fn a_feed_without_an_end_ends() {
    let circle = (0..1_000).map(|n| {
        page(
            &[event(n / 20, &format!("e{n}"))],
            Some(&format!("{}", n % 7)),
        )
    });
    let (names, why) = read(circle.collect());
    assert!(names.len() < 60, "{}", names.len());
    assert!(why.is_some_and(|why| why.contains("in circles")));
    let empty = (0..1_000).map(|n| page(&[], Some(&format!("{n}"))));
    let (_, why) = read(empty.collect());
    assert!(why.is_some_and(|why| why.contains("without an event")));
}
