use jiff::SignedDuration;
use serde_json::{Value, json};

use super::client::Client;
use super::wire::{Acknowledgement, StateReport};
use super::*;
use crate::connector::shelf::MemoryShelf;
use crate::plan::diff;
use crate::resource::Direction;
use crate::state::{Spec, State};
use crate::system_api::Code;

/// A clock that stands until it is moved.
struct Hands(Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Desk {
    shelf: MemoryShelf,
    clock: Arc<Hands>,
    client: Client,
}

fn flags(count: u32, rollout: u32) -> State {
    let flag = |n| {
        let spec = Spec::from_value(&json!({"rollout": rollout})).unwrap();
        Arc::new(Item::new(
            format!("FeatureFlag/flag_{n}").parse().unwrap(),
            spec,
        ))
    };
    (0..count).map(flag).collect()
}

fn changeset(id: &str, before: &State, after: &State) -> Changeset {
    Changeset {
        id: id.parse().unwrap(),
        revision: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap(),
        base: before.digest(),
        target: after.digest(),
        fence: Fence(1),
        owner: None,
        changes: diff(before, after, |_, _, _| Direction::Neutral),
    }
}

fn ack(value: Value) -> Acknowledgement {
    serde_json::from_value(value).unwrap()
}

/// The class and words of an error.
fn told<T: std::fmt::Debug>(answer: Result<T, ConnectorError>) -> String {
    match answer.unwrap_err() {
        ConnectorError::Transient { message } => format!("transient: {message}"),
        ConnectorError::Refused { message, .. } => format!("refused: {message}"),
        ConnectorError::Terminal { message } => format!("terminal: {message}"),
        ConnectorError::Stale { message } => format!("stale: {message}"),
        ConnectorError::Fenced { message } => format!("fenced: {message}"),
    }
}

impl Desk {
    fn new() -> Self {
        let shelf = MemoryShelf::default();
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(Hands(Mutex::new(start)));
        let counter = Counter::new(Arc::new(shelf.clone()), clock.clone());
        Self {
            shelf,
            client: Client::new(counter, Arc::default()),
            clock,
        }
    }

    fn counter(&self) -> &Counter {
        &self.client.counter
    }

    fn connector(&self) -> PullConnector {
        PullConnector::new(PullSettings {
            system: "voicedrive".parse().unwrap(),
            shelf: Arc::new(self.shelf.clone()),
            clock: self.clock.clone(),
            stale_after: STALE_AFTER,
            timeout: Duration::from_millis(300),
        })
    }

    fn pass(&self, time: SignedDuration) {
        let mut now = self.clock.0.lock().unwrap();
        *now += time;
    }

    /// Prepares or commits while the client takes its turns.
    async fn with_client<T>(&self, call: impl Future<Output = T>) -> T {
        let turns = async {
            loop {
                self.client.turn().await;
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = call => answer,
            () = turns => unreachable!(),
        }
    }

    async fn code(&self, id: &str, said: Value) -> String {
        let answer = self
            .counter()
            .acknowledge(&id.parse().unwrap(), ack(said))
            .await;
        match answer {
            Ok(done) => format!("{:?}", done.phase),
            Err(CounterError::Client { code, message }) => format!("{code:?}: {message}"),
            Err(CounterError::Kept(error)) => format!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_system_that_says_nothing_is_out_of_reach() {
    let desk = Desk::new();
    let connector = desk.connector();
    let mut all = vec![told(connector.digests(None).await)];
    desk.client.report().await;
    assert!(connector.digests(None).await.is_ok());
    let failed = StateReport {
        error: Some("its database is locked".to_owned()),
        ..serde_json::from_value(json!({})).unwrap()
    };
    desk.counter().report(failed).await.unwrap();
    all.push(told(connector.digests(None).await));
    desk.client.report().await;
    desk.pass(SignedDuration::from_mins(5));
    assert!(connector.digests(None).await.is_ok());
    desk.pass(SignedDuration::from_secs(1));
    all.push(told(connector.digests(None).await));
    let first = changeset("a", &State::default(), &flags(1, 1));
    all.push(told(connector.prepare(&first).await));
    // Still there, and as it was: which costs it one digest.
    let same = json!({"digest": State::default().digest()});
    desk.counter()
        .report(serde_json::from_value(same).unwrap())
        .await
        .unwrap();
    assert!(connector.digests(None).await.is_ok());
    all.push(told(connector.prepare(&first).await));
    insta::assert_snapshot!(all.join("\n"), @"
    transient: voicedrive: has never reported; its client has to PUT its state first
    transient: voicedrive: cannot say what it holds: its database is locked
    transient: voicedrive: has not reported since 2026-01-01T00:00:00Z; see that its client runs and reaches this server
    transient: voicedrive: has not reported since 2026-01-01T00:00:00Z; see that its client runs and reaches this server
    transient: voicedrive: has not acknowledged within 0.3 s that it has prepared the changeset
    ");
    // The client hears of it after all; what was asked again waits for the same one.
    let prepared = desk.with_client(connector.prepare(&first)).await;
    assert_eq!(prepared, Ok(Prepared { repeated: true }));
}

#[tokio::test]
async fn what_a_client_says_out_of_turn_is_not_taken() {
    let desk = Desk::new();
    let connector = desk.connector();
    desk.client.report().await;
    let (empty, one) = (State::default(), flags(2, 10));
    let mut all = vec![desk.code("a", json!({"status": "prepared"})).await];
    let first = changeset("a", &empty, &one);
    assert!(told(connector.prepare(&first).await).starts_with("transient: "));
    for said in [
        json!({"status": "committed", "digest": one.digest()}),
        json!({"status": "aborted"}),
        json!({"status": "prepared"}),
    ] {
        all.push(desk.code("a", said).await);
    }
    assert!(connector.prepare(&first).await.is_ok());
    // Not hearing back, the client says it again.
    all.push(desk.code("a", json!({"status": "prepared"})).await);
    assert!(told(connector.commit(&first.id, Fence(1)).await).starts_with("transient: "));
    for said in [
        json!({"status": "prepared"}),
        json!({"status": "refused"}),
        json!({"status": "committed", "digest": one.digest()}),
    ] {
        all.push(desk.code("a", said).await);
    }
    let aborted = connector.abort(&first.id, Fence(0)).await;
    all.push(told(aborted));
    let commit = desk.with_client(connector.commit(&first.id, Fence(1)));
    assert_eq!(commit.await.unwrap().digest, one.digest());
    for said in [
        json!({"status": "prepared"}),
        json!({"status": "committed", "digest": one.digest()}),
    ] {
        all.push(desk.code("a", said).await);
    }
    insta::assert_snapshot!(all.join("\n"), @"
    UnknownChangeset: no such changeset waits here
    OtherContent: the commit of this changeset is not decided yet: wait for it
    OtherContent: Lockstep has not aborted this changeset; refuse it where it can't be had
    Prepare
    Prepare
    Commit
    Committed: the commit is decided, and what was prepared can't be refused any more: commit it
    OtherBase: report the state after the commit first; its digest is the one to give here
    fenced: voicedrive: the fence 0 is older than 1: the lease has a new holder
    Committed: this changeset is committed already
    Commit
    ");
}

#[tokio::test]
async fn a_refusal_comes_with_its_reasons_and_another_base_is_planned_again() {
    let desk = Desk::new();
    let connector = desk.connector();
    desk.client.report().await;
    let (empty, one) = (State::default(), flags(2, 10));
    let first = changeset("a", &empty, &one);
    let refusal = json!({"status": "refused", "reasons": [
        {"kind": "FeatureFlag", "name": "flag_1", "message": "no such screen"}]});
    let says = async {
        while desk.code("a", refusal.clone()).await != "Prepare" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (answer, ()) = tokio::join!(connector.prepare(&first), says);
    let Err(ConnectorError::Refused { message, reasons }) = answer else {
        unreachable!("accepted")
    };
    assert_eq!(message, "voicedrive: it refused 1 changes");
    assert_eq!(reasons[0].id.as_str(), "FeatureFlag/flag_1");
    assert_eq!(reasons[0].message, "no such screen");
    assert_eq!(desk.counter().waiting().await.unwrap().changesets, []);
    // Changed by hand since it reported: the system does not stage what it was not planned on.
    let second = changeset("b", &empty, &one);
    desk.client
        .kept
        .lock()
        .unwrap()
        .resources
        .insert(("Notice".to_owned(), "by-hand".to_owned()), json!("x"));
    let stale = told(desk.with_client(connector.prepare(&second)).await);
    assert!(stale.starts_with("stale: "), "{stale}");
    assert_eq!(desk.counter().waiting().await.unwrap().changesets, []);
}

#[tokio::test]
async fn what_is_desired_and_told_follows_the_decisions() {
    let desk = Desk::new();
    let connector = desk.connector();
    desk.client.report().await;
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    assert_eq!(desk.counter().desired().await, Ok(None));
    let first = changeset("a", &empty, &one);
    desk.with_client(connector.prepare(&first)).await.unwrap();
    assert_eq!(desk.counter().desired_digest().await, Ok(None));
    desk.with_client(connector.commit(&first.id, Fence(1)))
        .await
        .unwrap();
    let desired = desk.counter().desired().await.unwrap();
    assert_eq!(desired, Some((Some(first.revision.clone()), one.clone())));
    let second = changeset("b", &one, &two);
    desk.with_client(connector.prepare(&second)).await.unwrap();
    connector.abort(&second.id, Fence(1)).await.unwrap();
    assert_eq!(desk.client.kept.lock().unwrap().staged.len(), 1);
    desk.client.turn().await;
    assert_eq!(desk.client.kept.lock().unwrap().staged.len(), 0);
    assert_eq!(desk.counter().waiting().await.unwrap().changesets, []);
    let (told, last) = desk.counter().events_after(0).await.unwrap();
    let told: Vec<String> = told
        .unwrap()
        .iter()
        .map(|t| format!("{} {} {:?}", t.id, t.event, t.changeset))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    1 prepare Some("a")
    2 commit Some("a")
    3 changed None
    4 prepare Some("b")
    5 abort Some("b")
    "#);
    assert_eq!(
        desk.counter().events_after(last).await,
        Ok((Some(vec![]), last))
    );
    assert_eq!(desk.counter().events_after(last + 1).await.unwrap().0, None);
    for n in 0..300 {
        kept::tell(&desk.shelf, Phase::Abort, &format!("x{n}").parse().unwrap())
            .await
            .unwrap();
    }
    assert_eq!(desk.counter().events_after(1).await.unwrap().0, None);
    let (told, _) = desk.counter().events_after(last + 100).await.unwrap();
    assert_eq!(told.unwrap().len(), 200);
}

#[tokio::test]
async fn a_report_that_says_nothing_whole_is_not_taken() {
    let desk = Desk::new();
    let cases = [
        json!({}),
        json!({"resources": [], "error": "x"}),
        json!({"digest": State::default().digest()}),
        json!({"resources": [{"kind": "Flag", "name": "a", "spec": 1}, {"kind": "Flag", "name": "a", "spec": 2}]}),
        json!({"resources": [{"kind": "flag", "name": "a", "spec": 1}]}),
        json!({"resources": [{"kind": "Flag", "name": "a", "spec": 9_007_199_254_740_993_u64}]}),
    ];
    let mut all = Vec::new();
    for case in cases {
        let report: StateReport = serde_json::from_value(case).unwrap();
        let Err(CounterError::Client { code, message }) = desk.counter().report(report).await
        else {
            unreachable!("taken")
        };
        assert!(matches!(code, Code::Malformed | Code::OtherBase));
        all.push(message);
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    give one of resources (everything that is held), digest (nothing has changed) and error
    give one of resources (everything that is held), digest (nothing has changed) and error
    this is not the digest that was reported last; send all resources
    a resource is reported twice
    a resource: "flag" is not a kind: an upper-case ASCII letter, then letters and digits, at most 64 long
    Flag/a: no canonical JSON form: the integer 9007199254740993 is beyond 2^53; write it as a string
    "#);
    let unknown = json!({"resources": [], "note": 1});
    assert!(serde_json::from_value::<StateReport>(unknown).is_err());
    assert!(told(desk.connector().digests(None).await).contains("never reported"));
}
