//! What comes from a server that is not a good system: each answer has its class, and nothing follows it elsewhere.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// A server that gives one answer to everything.
pub(super) async fn answering(
    tasks: &mut JoinSet<()>,
    answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move || {
        let answer = answer();
        async move { answer }
    });
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A server that writes these bytes, whatever it is asked, and closes.
pub(super) async fn writing(tasks: &mut JoinSet<()>, bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(bytes).await;
        }
    });
    url
}

/// A server that writes these bytes again and again.
async fn answering_forever(tasks: &mut JoinSet<()>, bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            while connection.write_all(bytes).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    });
    url
}

pub(super) fn plain(status: u16, content_type: &str, body: &str) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", content_type)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

pub(super) fn class(error: &ConnectorError) -> &'static str {
    match error {
        ConnectorError::Transient { .. } => "transient",
        ConnectorError::Refused { .. } => "refused",
        ConnectorError::Terminal { .. } => "terminal",
        ConnectorError::Stale { .. } => "stale",
        ConnectorError::Fenced { .. } => "fenced",
    }
}

/// What the connector makes of an answer: class and message, the port left out.
async fn judged(url: &str) -> String {
    let connector = connector_to(url, Some(TOKEN));
    let error = connector.digests(None).await.unwrap_err();
    let port = url.rsplit(':').next().unwrap();
    let message = error.to_string();
    assert!(!message.contains(TOKEN));
    format!("{}: {}", class(&error), message.replace(port, "PORT"))
}

#[tokio::test]
async fn every_answer_has_its_class() {
    let mut tasks = JoinSet::new();
    let said = |code: &str| format!(r#"{{"error": "no\u001b[31m way", "code": "{code}"}}"#);
    let digest = Digest::of(b"");
    let bucket = format!("\"{digest}\"");
    let few = format!(r#"{{"revision": null, "digest": "{digest}", "buckets": [{bucket}]}}"#);
    let lying = format!(
        r#"{{"revision": null, "digest": "{digest}", "buckets": [{}]}}"#,
        vec![bucket; 256].join(",")
    );
    let cases = [
        (401, "application/json", said("unauthorized")),
        (403, "text/html", "<h1>no</h1>".to_owned()),
        (404, "text/html", "<h1>not here</h1>".to_owned()),
        (405, "text/plain", String::new()),
        (409, "application/json", said("other_base")),
        (412, "application/json", said("older_fence")),
        (418, "text/plain", String::new()),
        (422, "application/json", said("refused")),
        (429, "text/plain", String::new()),
        (500, "application/json", said("internal")),
        (503, "text/html", "<h1>later</h1>".to_owned()),
        (304, "text/plain", String::new()),
        (204, "text/plain", String::new()),
        (200, "text/html", "<h1>Welcome</h1>".to_owned()),
        (200, "application/json", "{}".to_owned()),
        (
            200,
            "application/json",
            r#"{"revision": null, "dig"#.to_owned(),
        ),
        (200, "application/json", few),
        (200, "application/json; charset=utf-8", lying),
    ];
    let mut lines = Vec::new();
    for (status, content_type, body) in cases {
        let url = answering(&mut tasks, move || plain(status, content_type, &body)).await;
        lines.push(judged(&url).await);
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    terminal: reading digests: medical (127.0.0.1:PORT) does not accept the credential "medical" (401): no [31m way; check its value on the server
    terminal: reading digests: medical (127.0.0.1:PORT) does not accept the credential "medical" (403); check its value on the server
    terminal: reading digests: medical (127.0.0.1:PORT) does not speak the System API (404 at /lockstep/v1); check the system's url
    terminal: reading digests: medical (127.0.0.1:PORT) does not speak the System API (405 at /lockstep/v1); check the system's url
    stale: reading digests: medical (127.0.0.1:PORT) has another state: no [31m way
    fenced: reading digests: medical (127.0.0.1:PORT) has seen a newer lease: no [31m way
    terminal: reading digests: medical (127.0.0.1:PORT) answered 418
    refused: reading digests: medical (127.0.0.1:PORT) refuses: no [31m way
    transient: reading digests: medical (127.0.0.1:PORT) is busy (429)
    transient: reading digests: medical (127.0.0.1:PORT) failed (500): no [31m way
    transient: reading digests: medical (127.0.0.1:PORT) failed (503)
    terminal: reading digests: medical (127.0.0.1:PORT) answered 304 to a request without a condition
    terminal: reading digests: medical (127.0.0.1:PORT) answered 204
    terminal: reading digests: medical (127.0.0.1:PORT) answered with text/html instead of application/json; check the system's url
    terminal: reading digests: medical (127.0.0.1:PORT) sent an answer that cannot be read: missing field `digest` at line 1 column 2
    transient: reading digests: medical (127.0.0.1:PORT) sent an answer that ends in the middle
    terminal: reading digests: medical (127.0.0.1:PORT) has 1 buckets instead of 256
    terminal: reading digests: medical (127.0.0.1:PORT) announces the digest e3b0c44298fc, but its buckets give 0e89e7ed74c9
    "#);
}

#[tokio::test]
async fn a_server_that_repeats_the_credential_does_not_get_it_into_messages() {
    let mut tasks = JoinSet::new();
    for (status, body) in [
        (500, format!(r#"{{"error": "bad header: Bearer {TOKEN}"}}"#)),
        (200, format!(r#"{{"digest": "{TOKEN}"}}"#)),
    ] {
        let url = answering(&mut tasks, move || plain(status, "application/json", &body)).await;
        assert!(judged(&url).await.contains("…"));
    }
    let body = format!(
        r#"{{"error": "no", "reasons": [{{"kind": "FeatureFlag", "name": "a", "message": "{TOKEN}"}}]}}"#
    );
    let url = answering(&mut tasks, move || plain(422, "application/json", &body)).await;
    let id: ChangesetId = "a".parse().unwrap();
    let refused = connector_to(&url, Some(TOKEN)).commit(&id, Fence(1)).await;
    let Err(ConnectorError::Refused { reasons, .. }) = refused else {
        unreachable!("{refused:?}")
    };
    assert_eq!(reasons[0].message, "…");
}

#[tokio::test]
async fn a_redirect_takes_the_credential_nowhere() {
    let mut tasks = JoinSet::new();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    let elsewhere = answering(&mut tasks, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        plain(200, "application/json", "{}")
    })
    .await;
    // Not to another host, and not to another path of the same: what a url is, a person says.
    for (status, to) in [301, 302, 303, 307, 308]
        .into_iter()
        .flat_map(|status| [(status, elsewhere.as_str()), (status, "")])
    {
        let said = if to.is_empty() {
            "redirects ("
        } else {
            "redirects to 127.0.0.1 ("
        };
        let to = format!("{to}/lockstep/v1/state/digests");
        let url = answering(&mut tasks, move || {
            let mut answer = plain(status, "text/plain", "");
            answer.headers_mut().insert("location", to.parse().unwrap());
            answer
        })
        .await;
        let judged = judged(&url).await;
        assert!(judged.starts_with("terminal: "), "{judged}");
        assert!(judged.contains(said), "{judged}");
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_breaks_off_may_work_later() {
    let mut tasks = JoinSet::new();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let urls = [
        closed,
        writing(&mut tasks, b"").await,
        writing(
            &mut tasks,
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{}",
        )
        .await,
        writing(
            &mut tasks,
            b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"revision\": null",
        )
        .await,
        answering(&mut tasks, || {
            let parts = stream::iter([
                Ok(Bytes::from_static(b"{\"revision\"")),
                Err(std::io::Error::other("gone")),
            ]);
            let mut answer = plain(200, "application/json", "");
            *answer.body_mut() = Body::from_stream(parts);
            answer
        })
        .await,
    ];
    for url in urls {
        let judged = judged(&url).await;
        assert!(judged.starts_with("transient: "), "{judged}");
        assert!(judged.contains("127.0.0.1:PORT"), "{judged}");
    }
}

#[tokio::test]
async fn what_never_ends_is_cut_off() {
    let mut tasks = JoinSet::new();
    // One answer comes never, the other a byte at a time for ever.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let endless = answering(&mut tasks, || {
        let bytes = stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let mut answer = plain(200, "application/json", "");
        *answer.body_mut() = Body::from_stream(bytes);
        answer
    })
    .await;
    let polite = answering_forever(&mut tasks, b"HTTP/1.1 100 Continue\r\n\r\n").await;
    for url in [silent_url, endless, polite] {
        let mut connector = connector_to(&url, Some(TOKEN));
        connector.client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let error = connector.digests(None).await.unwrap_err();
        assert_eq!(class(&error), "transient", "{error}");
        assert!(error.to_string().contains("did not answer"), "{error}");
    }
    drop(silent);
}

#[tokio::test]
async fn what_announces_too_much_is_not_read() {
    let mut tasks = JoinSet::new();
    let url = writing(
        &mut tasks,
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{",
    )
    .await;
    assert!(judged(&url).await.starts_with("terminal: "));
}
