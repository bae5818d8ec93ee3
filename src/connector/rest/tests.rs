use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// A server that says so often that it is asked too often, for so long, before it answers; and how often it was asked.
async fn busy(
    tasks: &mut JoinSet<()>,
    times: usize,
    wait: &'static str,
) -> (Rest, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let router = Router::new().fallback(move || {
        let is_busy = counter.fetch_add(1, Ordering::SeqCst) < times;
        async move {
            let answer = match is_busy {
                true => Response::builder().status(429).header("retry-after", wait),
                false => Response::builder().status(200),
            };
            answer.body(Body::from("{\"is\": \"there\"}")).unwrap()
        }
    });
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let rest = Rest::new(RestSettings {
        base: base.parse().unwrap(),
        authorization: None,
        credential: None,
        media: "application/json",
        connect_timeout: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
    });
    (rest.unwrap(), asked)
}

/// RFC 9110, section 10.2.3: asked again after as long as the system wants to be left alone.
#[tokio::test]
async fn what_is_asked_too_often_is_asked_again_when_the_system_says() {
    let mut tasks = JoinSet::new();
    let (rest, asked) = busy(&mut tasks, 2, "0").await;
    let found: Value = rest.fetch(&Ask::get("/x")).await.unwrap();
    assert_eq!(found["is"], "there");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// Waiting longer than an answer may take is for the engine, which tries again later.
#[tokio::test]
async fn a_system_that_wants_to_be_left_alone_for_long_is_left_alone() {
    let mut tasks = JoinSet::new();
    let (rest, asked) = busy(&mut tasks, 2, "3600").await;
    let error = rest.fetch::<Value>(&Ask::get("/x")).await.unwrap_err();
    assert!(
        matches!(error, ConnectorError::Transient { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("asked too often (429)"),
        "{error}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
