//! What a server may not do whatever it sends: fill memory, keep us waiting, be believed for ever, pass a listing off that is none.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Response;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::faults::{answering, class, plain, writing};
use super::*;
use crate::config::connectors::AddressFault;

/// A server that answers by path.
async fn answering_by(
    tasks: &mut JoinSet<()>,
    answer: impl Fn(&Request) -> Response<Body> + Clone + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move |request: Request| {
        let answer = answer(&request);
        async move { answer }
    });
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A body that never ends, and a count of what was asked of it.
fn endless(sent: &Arc<AtomicUsize>, part: usize) -> Body {
    let (sent, part) = (sent.clone(), Bytes::from(vec![b' '; part]));
    Body::from_stream(stream::unfold((), move |()| {
        sent.fetch_add(part.len(), Ordering::Relaxed);
        let part = part.clone();
        async move {
            tokio::task::yield_now().await;
            Some((Ok::<_, std::io::Error>(part), ()))
        }
    }))
}

/// What lies on the way between the two when one stops reading.
const ON_THE_WAY: usize = 16 << 20;

fn patient(url: &str) -> HttpConnector {
    HttpConnector::new(HttpSettings {
        system: "medical".parse().unwrap(),
        base: url.parse().unwrap(),
        token: Some(SecretString::from(TOKEN)),
        credential: None,
        connect_timeout: Duration::from_secs(60),
        timeout: Duration::from_secs(120),
    })
    .unwrap()
}

fn digests_of(state: &State) -> String {
    let buckets: Vec<Digest> = state.bucket_digests();
    json!({"revision": null, "digest": state.digest(), "buckets": buckets}).to_string()
}

fn listing_of(state: &State, resources: &[&Arc<Item>]) -> String {
    let resources: Vec<_> = resources
        .iter()
        .map(|i| json!({"kind": i.id.kind(), "name": i.id.name(), "spec": i.spec.value()}))
        .collect();
    json!({"revision": null, "digest": state.digest(), "resources": resources}).to_string()
}

#[tokio::test]
async fn no_answer_is_read_further_than_it_can_be_long() {
    for (status, said, most) in [
        (
            200,
            "terminal: reading digests: medical (HOST) sent more than the 1 MiB that are read here",
            1 << 20,
        ),
        (
            422,
            "terminal: reading digests: medical (HOST) sent more than the 16 MiB that are read here",
            16 << 20,
        ),
        (
            500,
            "transient: reading digests: medical (HOST) failed (500)",
            64 << 10,
        ),
        (
            401,
            "terminal: reading digests: medical (HOST) asks for a credential (401); name one for this system in lockstep.yaml",
            64 << 10,
        ),
        (
            404,
            "terminal: reading digests: medical (HOST) does not speak the System API (404 at /lockstep/v1); check the system's url",
            64 << 10,
        ),
    ] {
        let mut tasks = JoinSet::new();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let url = answering(&mut tasks, move || {
            let mut answer = plain(status, "application/json", "");
            *answer.body_mut() = endless(&counted, 64 << 10);
            answer
        })
        .await;
        let error = patient(&url).digests(None).await.unwrap_err();
        let message = error.to_string().replace(&url["http://".len()..], "HOST");
        assert_eq!(format!("{}: {message}", class(&error)), said);
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent <= most + ON_THE_WAY, "{status}: {sent}");
    }
}

#[tokio::test]
async fn a_state_of_a_gigabyte_is_refused_at_its_limit() {
    // Announced, it is not read at all; unannounced, as far as the limit.
    for (announced, most) in [(true, 0), (false, 256 << 20)] {
        let mut tasks = JoinSet::new();
        let sent = Arc::new(AtomicUsize::new(0));
        let (counted, one) = (sent.clone(), flags(3, 10));
        let url = answering_by(&mut tasks, move |request| {
            if request.uri().path().ends_with("/digests") {
                return plain(200, "application/json", &digests_of(&one));
            }
            let mut answer = plain(200, "application/json", "");
            *answer.body_mut() = endless(&counted, 1 << 20);
            if announced {
                let length = "1073741824".parse().unwrap();
                answer.headers_mut().insert("content-length", length);
            }
            answer
        })
        .await;
        let connector = patient(&url);
        connector.digests(None).await.unwrap();
        let error = connector.items(&[1]).await.unwrap_err();
        assert_eq!(class(&error), "terminal", "{error}");
        assert!(
            error.to_string().contains("more than the 256 MiB"),
            "{error}"
        );
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent <= most + ON_THE_WAY, "{announced}: {sent}");
    }
}

#[tokio::test]
async fn a_small_answer_is_not_made_a_large_one() {
    let mut tasks = JoinSet::new();
    for (encoding, is_read) in [("gzip", false), ("br, gzip", false), ("identity", true)] {
        let url = answering(&mut tasks, move || {
            let mut answer = plain(200, "application/json", &digests_of(&State::default()));
            let headers = answer.headers_mut();
            headers.insert("content-encoding", encoding.parse().unwrap());
            answer
        })
        .await;
        let read = connector_to(&url, Some(TOKEN)).digests(None).await;
        assert_eq!(read.is_ok(), is_read, "{read:?}");
        if let Err(error) = read {
            assert_eq!(class(&error), "terminal");
            let said = format!("compressed its answer ({encoding}), which was not asked for");
            assert!(error.to_string().ends_with(&said), "{error}");
        }
    }
}

#[tokio::test]
async fn heads_without_end_are_cut_off() {
    let mut tasks = JoinSet::new();
    let many: String = (0..1000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(1 << 20));
    for head in [many, long] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}content-length: 2\r\n\r\n{{}}");
        let url = writing(&mut tasks, bytes.into_bytes().leak()).await;
        let error = connector_to(&url, Some(TOKEN))
            .digests(None)
            .await
            .unwrap_err();
        assert_eq!(class(&error), "transient", "{error}");
        assert!(
            error.to_string().contains("broke off the connection"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_status_that_was_heard_counts_though_the_body_breaks_off() {
    let mut tasks = JoinSet::new();
    let url = writing(
        &mut tasks,
        b"HTTP/1.1 401 No\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{",
    )
    .await;
    let error = connector_to(&url, Some(TOKEN))
        .digests(None)
        .await
        .unwrap_err();
    assert_eq!(class(&error), "terminal", "{error}");
    assert!(
        error.to_string().contains("does not accept the credential"),
        "{error}"
    );
}

#[tokio::test]
async fn unchanged_is_not_believed_for_ever() {
    // A system whose ETag is always the right one, if one asks it.
    let mut tasks = JoinSet::new();
    let (before, after) = (flags(3, 10), flags(3, 20));
    let (asked, now) = (Arc::new(AtomicUsize::new(0)), after.clone());
    let counted = asked.clone();
    let url = answering_by(&mut tasks, move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        if request.headers().contains_key("if-none-match") {
            plain(304, "application/json", "")
        } else {
            plain(200, "application/json", &digests_of(&now))
        }
    })
    .await;
    let connector = connector_to(&url, Some(TOKEN));
    let known = Some(before.digest());
    for _ in 0..bounds::BELIEVED {
        assert_eq!(connector.digests(known).await, Ok(Seen::Unchanged));
    }
    let Ok(Seen::Digests { digest, .. }) = connector.digests(known).await else {
        unreachable!("still believed")
    };
    assert_eq!(digest, after.digest());
    // Told the truth it counts anew, and each question was one request.
    assert_eq!(connector.digests(known).await, Ok(Seen::Unchanged));
    let asked = asked.load(Ordering::Relaxed);
    assert_eq!(asked, usize::try_from(bounds::BELIEVED).unwrap() + 2);
}

#[tokio::test]
async fn an_honest_unchanged_stays_one_when_it_is_asked_without_a_condition() {
    let folder = TempDir::new().unwrap();
    let (_server, connector) = system(&folder, Faults::default()).await;
    let (empty, one) = (State::default(), flags(3, 10));
    let first = changeset("a", 1, &empty, &one);
    connector.prepare(&first).await.unwrap();
    connector.commit(&first.id, Fence(1)).await.unwrap();
    for _ in 0..2 * bounds::BELIEVED {
        assert_eq!(
            connector.digests(Some(one.digest())).await,
            Ok(Seen::Unchanged)
        );
    }
}

#[tokio::test]
async fn a_tag_that_never_changes_is_caught_where_it_is_set() {
    let mut tasks = JoinSet::new();
    for tag in ["\"1\"", "W/\"1\"", "\"\"", "1"] {
        let url = answering(&mut tasks, move || {
            let mut answer = plain(200, "application/json", &digests_of(&State::default()));
            answer.headers_mut().insert("etag", tag.parse().unwrap());
            answer
        })
        .await;
        let error = connector_to(&url, Some(TOKEN))
            .digests(None)
            .await
            .unwrap_err();
        assert_eq!(class(&error), "terminal", "{tag}: {error}");
        assert!(
            error.to_string().contains("an ETag that is not the digest"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_listing_that_overlaps_is_none() {
    let one = flags(40, 10);
    let items: Vec<&Arc<Item>> = one.items().collect();
    let wanted = items[0].bucket;
    let right: Vec<&Arc<Item>> = items
        .iter()
        .copied()
        .filter(|i| i.bucket == wanted)
        .collect();
    let elsewhere = items.iter().copied().find(|i| i.bucket != wanted).unwrap();
    let other = item(items[0].id.as_str(), json!({"rollout": 99}));
    let twice = [right.clone(), vec![right[0]]].concat();
    let cases = [
        (twice, "sent a resource twice"),
        (
            [right.clone(), vec![&other]].concat(),
            "the listing is not complete",
        ),
        (
            [vec![&other], right.clone()].concat(),
            "sent a resource twice",
        ),
        (
            [right.clone(), vec![elsewhere]].concat(),
            "which was not asked for",
        ),
        (right[1..].to_vec(), "the listing is not complete"),
    ];
    let mut tasks = JoinSet::new();
    for (resources, said) in cases {
        let (digests, listing) = (digests_of(&one), listing_of(&one, &resources));
        let url = answering_by(&mut tasks, move |request| {
            let is_digests = request.uri().path().ends_with("/digests");
            plain(
                200,
                "application/json",
                if is_digests { &digests } else { &listing },
            )
        })
        .await;
        let connector = connector_to(&url, Some(TOKEN));
        connector.digests(None).await.unwrap();
        let error = connector.items(&[wanted]).await.unwrap_err();
        assert_eq!(class(&error), "terminal", "{error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

#[tokio::test]
async fn what_a_server_says_of_the_time_changes_nothing() {
    let mut tasks = JoinSet::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let url = answering(&mut tasks, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut answer = plain(200, "application/json", &digests_of(&State::default()));
        for (name, value) in [
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("expires", "Fri, 31 Dec 2100 23:59:59 GMT"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("age", "0"),
        ] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    })
    .await;
    let connector = connector_to(&url, Some(TOKEN));
    for _ in 0..2 {
        assert!(matches!(
            connector.digests(None).await,
            Ok(Seen::Digests { .. })
        ));
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "asked again, however fresh it claims to be"
    );
}

#[test]
fn a_url_with_a_user_is_refused_and_not_repeated() {
    for base in [
        "https://hunter2@medical.example.jp",
        "https://sato:hunter2@medical.example.jp/api",
    ] {
        let settings = HttpSettings {
            system: "medical".parse().unwrap(),
            base: base.parse().unwrap(),
            token: Some(SecretString::from("hunter2")),
            credential: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        assert!(!format!("{settings:?} {settings:#?}").contains("hunter2"));
        let error = HttpConnector::new(settings).err().unwrap();
        assert_eq!(error, HttpSettingsError::Address(AddressFault::Secret));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
