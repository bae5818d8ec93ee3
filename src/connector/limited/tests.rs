use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::connector::Staging;

/// Counts what is asked of it, and fails or takes its time as it is told.
#[derive(Default)]
struct Counted {
    asked: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
    fails: AtomicUsize,
    hangs: bool,
}

#[async_trait]
impl Observe for Arc<Counted> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: false,
        }
    }

    async fn digests(&self, _: Option<Digest>) -> Result<Seen, ConnectorError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) > 0 {
            self.fails.fetch_sub(1, Ordering::SeqCst);
            return Err(ConnectorError::Transient {
                message: "down".to_owned(),
            });
        }
        Ok(Seen::Unchanged)
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(buckets.len(), Ordering::SeqCst);
        Ok(Vec::new())
    }
}

#[async_trait]
impl Apply for Arc<Counted> {
    async fn prepare(&self, _: &Changeset) -> Result<Prepared, ConnectorError> {
        Ok(Prepared { repeated: false })
    }

    async fn commit(&self, _: &ChangesetId, _: Fence) -> Result<Receipt, ConnectorError> {
        Err(ConnectorError::Refused {
            message: "no".to_owned(),
            reasons: Vec::new(),
        })
    }

    async fn abort(&self, _: &ChangesetId, _: Fence) -> Result<(), ConnectorError> {
        Ok(())
    }
}

fn within(limits: &CallLimits, counted: Counted) -> (Arc<Counted>, Box<dyn Apply>) {
    let counted = Arc::new(counted);
    let limited = Limited::within(limits, Box::new(counted.clone()));
    (counted, limited)
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_the_system_takes() {
    let limits = CallLimits {
        concurrency: std::num::NonZeroU32::new(2),
        ..CallLimits::default()
    };
    let (counted, limited) = within(&limits, Counted::default());
    let calls = (0..7).map(|_| limited.digests(None));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(counted.most.load(Ordering::SeqCst), 2);
}

#[test]
fn calls_are_spread_over_the_minute() {
    let now = Instant::now();
    let mut turns = Turns::default();
    let due: Vec<u64> = (0..4)
        .map(|_| (turns.take(60, now) - now).as_secs())
        .collect();
    assert_eq!(due, [0, 1, 2, 3]);
    // Who comes late waits for nobody, and nothing is saved up.
    let later = now + Duration::from_secs(100);
    assert_eq!(turns.take(60, later), later);
    assert_eq!(turns.take(60, later) - later, Duration::from_secs(1));
}

/// A group that has decided waits for this: a system that answers again is asked at once.
#[tokio::test]
async fn what_was_begun_is_ended_on_a_system_that_is_left_in_peace() {
    let limits = CallLimits {
        breaker: Some(Breaker {
            failures: std::num::NonZeroU32::MIN,
            pause: Duration::from_secs(3600),
        }),
        ..CallLimits::default()
    };
    let (counted, limited) = within(&limits, Counted::default());
    counted.fails.store(1, Ordering::SeqCst);
    assert!(limited.digests(None).await.is_err());
    let in_peace = limited.digests(None).await.unwrap_err();
    assert!(in_peace.to_string().contains("left in peace"), "{in_peace}");
    let id: ChangesetId = "begun".parse().unwrap();
    let refused = limited.commit(&id, Fence(1)).await.unwrap_err();
    assert!(
        matches!(refused, ConnectorError::Refused { .. }),
        "{refused}"
    );
    assert!(limited.abort(&id, Fence(1)).await.is_ok());
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up() {
    let limits = CallLimits {
        timeout: Some(Duration::from_millis(20)),
        ..CallLimits::default()
    };
    let counted = Counted {
        hangs: true,
        ..Counted::default()
    };
    let (_, limited) = within(&limits, counted);
    let answer = limited.digests(None).await;
    insta::assert_snapshot!(answer.unwrap_err(), @"it did not answer within 20 ms, which is the `timeout` of its `limits`");
}

#[test]
fn what_fails_again_and_again_is_left_in_peace_and_then_asked_once() {
    let breaker = Breaker {
        failures: std::num::NonZeroU32::new(3).unwrap(),
        pause: Duration::from_secs(30),
    };
    let now = Instant::now();
    let mut circuit = Circuit::default();
    let pause = breaker.pause;
    for _ in 0..2 {
        circuit.heard(breaker, true, now);
        assert_eq!(circuit.enter(pause, now), None);
    }
    circuit.heard(breaker, true, now);
    assert_eq!(circuit.enter(pause, now), Some(pause));
    let over = now + pause;
    // One tries, and nobody else before it has an answer.
    assert_eq!(circuit.enter(pause, over), None);
    assert_eq!(circuit.enter(pause, over), Some(pause));
    circuit.heard(breaker, true, over);
    assert_eq!(circuit.enter(pause, over), Some(pause));
    // It was given up without one.
    let over = over + pause;
    assert_eq!(circuit.enter(pause, over), None);
    let over = over + pause;
    assert_eq!(circuit.enter(pause, over), None);
    circuit.heard(breaker, false, over);
    assert_eq!(circuit, Circuit::default());
}

#[tokio::test]
async fn a_system_in_peace_is_not_asked_and_a_refusal_is_an_answer() {
    let limits = CallLimits {
        breaker: Some(Breaker {
            failures: std::num::NonZeroU32::new(2).unwrap(),
            pause: Duration::from_secs(24 * 60 * 60),
        }),
        ..CallLimits::default()
    };
    let (counted, limited) = within(&limits, Counted::default());
    let id = "a".parse().unwrap();
    for _ in 0..5 {
        let refused = limited.commit(&id, Fence(1)).await;
        assert!(matches!(refused, Err(ConnectorError::Refused { .. })));
    }
    counted.fails.store(9, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(limited.digests(None).await.unwrap_err().to_string(), "down");
    }
    let left = limited.digests(None).await.unwrap_err().to_string();
    assert!(
        left.starts_with("it failed 2 times in a row and is left in peace"),
        "{left}"
    );
    assert_eq!(counted.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_large_state_is_read_in_parts() {
    let limits = CallLimits {
        batch: std::num::NonZeroU32::new(100),
        ..CallLimits::default()
    };
    let (counted, limited) = within(&limits, Counted::default());
    let all: Vec<u8> = (0..=255).collect();
    limited.items(&all).await.unwrap();
    assert_eq!(counted.asked.load(Ordering::SeqCst), 3);
    assert_eq!(counted.most.load(Ordering::SeqCst), 100);
}
