use futures_util::StreamExt as _;
use serde_json::json;

use super::*;
use crate::connector::suite::redis::server::Redis;
use crate::connector::suite::redis::settings;
use crate::connector::suite::{apply, changeset, class, item, observe};
use crate::state::State;

fn flags(count: u32, rollout: u32) -> State {
    let flag = |n| item(&format!("FeatureFlag/f{n}"), json!({"rollout": rollout}));
    (0..count).map(flag).collect()
}

fn connector(server: &Redis, prefix: &str) -> RedisConnector {
    RedisConnector::new(settings(server, prefix))
}

fn told<T: std::fmt::Debug>(answer: Result<T, ConnectorError>) -> String {
    let error = answer.unwrap_err();
    format!("{}: {error}", class::<()>(Err(error.clone())))
}

#[tokio::test]
async fn a_server_that_is_killed_between_prepare_and_commit_loses_nothing() {
    let Some(mut server) = Redis::start() else {
        return;
    };
    let (empty, first, second) = (State::default(), flags(50, 10), flags(40, 20));
    let before = connector(&server, "lockstep:");
    apply(&before, &changeset("a", 1, &empty, &first)).await;
    let staged = changeset("b", 1, &first, &second);
    before.prepare(&staged).await.unwrap();
    server.crash();
    // The connection is gone; the next one is made by whoever asks again.
    assert_eq!(class(before.digests(None).await), "transient");
    assert_eq!(observe(&before).await.unwrap(), first);
    let receipt = before.commit(&staged.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, second.digest());
    server.crash();
    let after = connector(&server, "lockstep:");
    assert_eq!(observe(&after).await.unwrap(), second);
    assert_eq!(after.commit(&staged.id, Fence(1)).await, Ok(receipt));
    assert_eq!(class(after.abort(&staged.id, Fence(1)).await), "refused");
}

/// What lies where is a contract with the programs that read it.
#[tokio::test]
async fn other_programs_find_hashes_a_digest_key_and_a_message() {
    let Some(server) = Redis::start() else { return };
    let connector = connector(&server, "p:");
    let one = flags(1, 10);
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut news = client.get_async_pubsub().await.unwrap();
    news.subscribe("p:changes").await.unwrap();
    apply(&connector, &changeset("a", 1, &State::default(), &one)).await;
    let digest = one.digest().to_hex();
    let said = |words: &[&str]| {
        let answer = server.say(words).unwrap();
        answer
            .lines()
            .filter(|l| !l.starts_with(['$', '*']))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        said(&["HMGET", "p:resource:FeatureFlag/f0", "kind", "name", "spec"]),
        "FeatureFlag f0 {\"rollout\":10}"
    );
    let revision = changeset("a", 1, &one, &one).revision;
    assert_eq!(
        said(&["HMGET", "p:state", "digest", "revision", "version"]),
        format!("{digest} {revision} 1")
    );
    let bucket = one.items().next().unwrap().bucket;
    let field = format!("{bucket:02x}");
    assert_eq!(
        said(&["HGET", "p:state", &field]),
        one.buckets()[usize::from(bucket)].digest().to_hex()
    );
    assert_eq!(
        said(&["SMEMBERS", &format!("p:bucket:{field}")]),
        "FeatureFlag/f0"
    );
    let heard: String = news
        .on_message()
        .next()
        .await
        .unwrap()
        .get_payload()
        .unwrap();
    let heard: serde_json::Value = serde_json::from_str(&heard).unwrap();
    let expected = json!({"system": "cache", "revision": revision, "digest": digest});
    assert_eq!(heard, expected);
    // Nothing is left of what was staged, and nothing lies beside the prefix.
    let keys = said(&["KEYS", "*"]);
    let mut keys: Vec<&str> = keys.split(' ').collect();
    keys.sort_unstable();
    let index = format!("p:bucket:{field}");
    assert_eq!(
        keys,
        [&index, "p:journal", "p:resource:FeatureFlag/f0", "p:state"]
    );
}

#[tokio::test]
async fn what_others_changed_after_the_prepare_stays_but_for_what_was_decided() {
    let Some(server) = Redis::start() else { return };
    let connector = connector(&server, "p:");
    let (first, second) = (flags(3, 10), flags(2, 20));
    apply(&connector, &changeset("a", 1, &State::default(), &first)).await;
    let staged = changeset("b", 1, &first, &second);
    connector.prepare(&staged).await.unwrap();
    let edit = r#"{"rollout":77}"#;
    server
        .say(&["HSET", "p:resource:FeatureFlag/f0", "spec", edit])
        .unwrap();
    // Of another sort altogether: a command that fails inside EXEC must not leave half.
    server
        .say(&["SET", "p:resource:FeatureFlag/new", "text"])
        .unwrap();
    let new = item("FeatureFlag/new", json!(1));
    let key = "p:resource:FeatureFlag/new";
    server.say(&["DEL", key]).unwrap();
    server
        .say(&[
            "HSET",
            key,
            "kind",
            "FeatureFlag",
            "name",
            "new",
            "spec",
            "1",
        ])
        .unwrap();
    server
        .say(&[
            "SADD",
            &format!("p:bucket:{:02x}", new.bucket),
            "FeatureFlag/new",
        ])
        .unwrap();
    let receipt = connector.commit(&staged.id, Fence(1)).await.unwrap();
    let expected: State = second.items().cloned().chain([new]).collect();
    assert_eq!(observe(&connector).await.unwrap(), expected);
    assert_eq!(receipt.digest, expected.digest());
}

/// Two processes at once: each request takes effect as a whole, and what one was working on moves under it without a trace.
#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_are_one_after_the_other() {
    let Some(server) = Redis::start() else { return };
    let (a, b) = (connector(&server, "p:"), connector(&server, "p:"));
    let mut before = State::default();
    for n in 1..20 {
        let (x, y) = (flags(30, n), flags(20, 100 + n));
        let (one, two) = (
            changeset(&format!("x{n}"), 1, &before, &x),
            changeset(&format!("y{n}"), 1, &before, &y),
        );
        let both = async |connector: &RedisConnector, changeset: &Changeset| {
            connector.prepare(changeset).await?;
            connector.commit(&changeset.id, Fence(1)).await
        };
        let (first, second) = tokio::join!(both(&a, &one), both(&b, &two));
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        let now = observe(&a).await.unwrap();
        // One alone, or both one after the other: the later one adds to what it finds.
        let whole = [&x, &y].contains(&&now)
            || now
                .items()
                .all(|i| x.get(&i.id) == Some(i) || y.get(&i.id) == Some(i));
        assert!(whole, "{n}: {first:?} {second:?}");
        let receipts = [first, second].into_iter().flatten();
        assert!(receipts.map(|r| r.digest).any(|d| d == now.digest()));
        let digest = server.say(&["HGET", "p:state", "digest"]).unwrap();
        assert!(digest.contains(&now.digest().to_hex()));
        before = now;
    }
}

#[tokio::test]
async fn what_cannot_be_read_whole_is_an_error_with_its_place() {
    let Some(server) = Redis::start() else { return };
    let connector = connector(&server, "p:");
    let one = state(&[("FeatureFlag/a", json!(1)), ("Notice/b", json!(2))]);
    apply(&connector, &changeset("a", 1, &State::default(), &one)).await;
    let key = "p:resource:FeatureFlag/a";
    let mut said = Vec::new();
    for edit in [
        &["HSET", key, "spec", "{"][..],
        &["HSET", key, "spec", "1", "name", "other"],
        &["HDEL", key, "name"],
        &["DEL", key],
        &["SET", key, "text"],
    ] {
        server.say(edit).unwrap();
        said.push(told(connector.digests(None).await));
        let wish = changeset(&format!("b{}", said.len()), 1, &one, &State::default());
        assert_eq!(class(connector.prepare(&wish).await), "terminal");
    }
    server.say(&["DEL", key]).unwrap();
    server
        .say(&["HSET", key, "kind", "FeatureFlag", "name", "a", "spec", "1"])
        .unwrap();
    assert_eq!(observe(&connector).await.unwrap(), one);
    server.say(&["SET", "p:journal", "{"]).unwrap();
    said.push(told(connector.abort(&"x".parse().unwrap(), Fence(1)).await));
    let gone = "there is no hash p:resource:FeatureFlag/a with kind, name and spec";
    let expected = [
        "the hash p:resource:FeatureFlag/a is no resource: EOF while parsing",
        "the hash p:resource:FeatureFlag/a is no resource: it says that it is FeatureFlag/other",
        gone,
        gone,
        "WRONGTYPE",
        "the key p:journal cannot be read",
    ];
    assert_eq!(said.len(), expected.len());
    for (said, expected) in said.iter().zip(expected) {
        let is_told = said.starts_with("terminal: cache (redis): ") && said.contains(expected);
        assert!(is_told, "{said}");
    }
}

fn state(items: &[(&str, serde_json::Value)]) -> State {
    let items = items.iter().map(|(name, spec)| item(name, spec.clone()));
    items.collect()
}

#[tokio::test]
async fn a_prefix_belongs_to_one_system_and_one_config_repo() {
    let Some(server) = Redis::start() else { return };
    let mine = connector(&server, "p:");
    let one = Changeset {
        owner: Some("config repo a".into()),
        ..changeset("a", 1, &State::default(), &flags(1, 1))
    };
    apply(&mine, &one).await;
    let theirs = Changeset {
        owner: Some("config repo b".into()),
        ..changeset("b", 1, &flags(1, 1), &flags(1, 2))
    };
    let other = RedisConnector::new(RedisSettings {
        system: "other".parse().unwrap(),
        ..settings(&server, "p:")
    });
    let undeclared = changeset("c", 1, &State::default(), &state(&[("Else/a", json!(1))]));
    let said = [
        told(other.prepare(&theirs).await),
        told(mine.prepare(&theirs).await),
        told(connector(&server, "q:").prepare(&undeclared).await),
    ];
    let expected = [
        "terminal: other (redis): the key p:journal says that it belongs to the system cache; ",
        "refused: cache (redis): what is under the prefix belongs to config repo a, so config repo b may not change it; ",
        "refused: cache (redis): not all changes are for this system: Else/a: the kind Else is not one of this system's",
    ];
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    // What lies beside the prefix, or under another, is nobody's here.
    server.say(&["SET", "pp:state", "text"]).unwrap();
    assert_eq!(observe(&mine).await.unwrap(), flags(1, 1));
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_a_wrong_password_is_a_persons_matter() {
    let Some(server) = Redis::start() else { return };
    let at = |url: &str, password: Option<&str>| {
        RedisConnector::new(RedisSettings {
            url: url.parse().unwrap(),
            credential: password.map(SecretString::from),
            connect_timeout: Duration::from_millis(500),
            ..settings(&server, "p:")
        })
    };
    assert_eq!(
        class(at("redis://127.0.0.1:9", None).digests(None).await),
        "transient"
    );
    server
        .say(&["CONFIG", "SET", "requirepass", "s3cret"])
        .unwrap();
    let refused = told(connector(&server, "p:").digests(None).await);
    assert!(refused.starts_with("terminal: "), "{refused}");
}
