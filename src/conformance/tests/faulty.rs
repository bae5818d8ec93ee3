//! A reference system behind a proxy that breaks one behaviour.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each fault is acted on in the one place that it is about"
)]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use unicode_normalization::UnicodeNormalization as _;

use super::*;
use crate::ids::ResourceRef;
use crate::state::{Item, Spec};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    CommitsTwice,
    CommitsOnce,
    TagNeverChanges,
    NeverNotModified,
    AcceptsStaleBase,
    AcceptsOldFence,
    SupersedesNothing,
    VisibleEarly,
    WrongDigest,
    DropsUnknownKinds,
    CutsLargeChangesets,
    NormalizesNames,
    ForgetsAborts,
    RefusesUnknownAborts,
    CommitsNothing,
    AsksForNoToken,
    GivesNoReasons,
    IgnoresBuckets,
    LosesEvents,
    ErrorsAreHtml,
}

pub(super) struct Faulty {
    pub(super) url: String,
    _tasks: JoinSet<()>,
}

struct Proxy {
    upstream: String,
    fault: Fault,
    client: reqwest::Client,
    /// The changesets that were sent, and how often each was committed.
    sent: Mutex<BTreeMap<String, (Value, u32)>>,
    fence: Mutex<u64>,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answered {
    fn json(status: u16, body: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.to_string().into(),
        }
    }

    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn code(&self) -> String {
        self.value()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn replace(&mut self, body: &Value) {
        self.body = body.to_string().into();
    }
}

impl Faulty {
    pub(super) async fn start(upstream: String, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Arc::new(Proxy {
            upstream,
            fault,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            sent: Mutex::default(),
            fence: Mutex::new(0),
        });
        let router = Router::new().fallback(answer).with_state(proxy);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, _tasks: tasks }
    }
}

async fn answer(
    State(proxy): State<Arc<Proxy>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let answered = proxy.answer(method, path, headers, body).await;
    let mut response = Response::new(Body::from(answered.body));
    *response.status_mut() = answered.status;
    for name in [header::CONTENT_TYPE, header::ETAG] {
        if let Some(value) = answered.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

impl Proxy {
    async fn forward(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answered {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.upstream))
            .body(body);
        for name in [
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
        ] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let mut response = request.send().await.unwrap();
        Answered {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: response.bytes().await.unwrap(),
        }
    }

    async fn state(&self) -> Vec<(String, Value)> {
        let answer = self
            .forward(Method::GET, "/lockstep/v1/state", &own(), Bytes::new())
            .await;
        let resources = answer.value()["resources"].as_array().unwrap().clone();
        let named = |r: Value| {
            (
                format!("{}/{}", text(&r["kind"]), text(&r["name"])),
                r["spec"].clone(),
            )
        };
        resources.into_iter().map(named).collect()
    }

    /// A changeset with other changes than were sent, made consistent again.
    async fn altered(&self, mut request: Value, alter: impl Fn(Vec<Value>) -> Vec<Value>) -> Value {
        let changes = alter(request["changes"].as_array().unwrap().clone());
        let mut items: BTreeMap<String, Value> = self.state().await.into_iter().collect();
        for change in &changes {
            let name = format!("{}/{}", text(&change["kind"]), text(&change["name"]));
            match text(&change["op"]).as_str() {
                "delete" => drop(items.remove(&name)),
                _ => drop(items.insert(name, change["spec"].clone())),
            }
        }
        let items = items.into_iter().filter_map(|(name, spec)| {
            let id: ResourceRef = name.parse().ok()?;
            Some(Arc::new(Item::new(id, Spec::from_value(&spec).ok()?)))
        });
        let target = items.collect::<crate::state::State>().digest();
        request["target_digest"] = json!(target);
        request["changes"] = json!(changes);
        request
    }

    async fn answer(
        &self,
        method: Method,
        mut path: String,
        mut headers: HeaderMap,
        mut body: Bytes,
    ) -> Answered {
        let fault = self.fault;
        if fault == Fault::AsksForNoToken {
            headers.extend(own());
        }
        if fault == Fault::NeverNotModified {
            headers.remove(header::IF_NONE_MATCH);
        }
        if fault == Fault::IgnoresBuckets
            && path.contains("?bucket=")
            && !path.ends_with("zz")
            && !path.ends_with("100")
        {
            path = "/lockstep/v1/state".to_owned();
        }
        let id = path
            .strip_prefix("/lockstep/v1/changesets/")
            .map(|rest| rest.split('/').next().unwrap_or(rest).to_owned());
        let is_put = method == Method::PUT;
        let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let is_whole = request["changes"].is_array();
        let knows = headers.get(header::AUTHORIZATION) == own().get(header::AUTHORIZATION);
        if let Some(id) = id.as_ref().filter(|_| knows) {
            if is_put && is_whole {
                let altered = match fault {
                    Fault::DropsUnknownKinds => {
                        let known = |c: &Value| text(&c["kind"]) == "FeatureFlag";
                        Some(
                            self.altered(request.clone(), |all| {
                                all.into_iter().filter(known).collect()
                            })
                            .await,
                        )
                    }
                    Fault::CutsLargeChangesets => Some(
                        self.altered(request.clone(), |all| all.into_iter().take(100).collect())
                            .await,
                    ),
                    Fault::NormalizesNames => {
                        let normal = |mut c: Value| {
                            c["name"] = json!(text(&c["name"]).nfc().collect::<String>());
                            c
                        };
                        Some(
                            self.altered(request.clone(), |all| {
                                all.into_iter().map(normal).collect()
                            })
                            .await,
                        )
                    }
                    _ => None,
                };
                // Only what this fault is about: what is refused is still refused for what it is.
                if let Some(altered) = altered.filter(|a| a["changes"] != request["changes"]) {
                    body = altered.to_string().into();
                }
                let mut sent = lock(&self.sent);
                sent.entry(id.clone()).or_insert((request.clone(), 0));
            }
            if path.ends_with("/commit") && fault == Fault::CommitsNothing {
                let digest = lock(&self.sent)
                    .get(id)
                    .map(|(r, _)| (r["target_digest"].clone(), r["revision"].clone()));
                if let Some((digest, revision)) = digest {
                    return Answered::json(200, &json!({"digest": digest, "revision": revision}));
                }
            }
            if path.ends_with("/abort") && request["fence"].is_number() {
                let known = lock(&self.sent).contains_key(id);
                if fault == Fault::ForgetsAborts && known {
                    let digests = self
                        .forward(
                            Method::GET,
                            "/lockstep/v1/state/digests",
                            &own(),
                            Bytes::new(),
                        )
                        .await
                        .value();
                    return Answered::json(
                        200,
                        &json!({"digest": digests["digest"], "revision": digests["revision"]}),
                    );
                }
                if fault == Fault::RefusesUnknownAborts && !known {
                    return Answered::json(
                        404,
                        &json!({"error": "unknown", "code": "unknown_changeset"}),
                    );
                }
            }
            if fault == Fault::SupersedesNothing
                && let Some(fence) = request["fence"].as_u64()
            {
                let mut highest = lock(&self.fence);
                if fence < *highest {
                    return Answered::json(412, &json!({"error": "older", "code": "older_fence"}));
                }
                *highest = fence;
                let mut request = request.clone();
                request["fence"] = json!(1);
                body = request.to_string().into();
            }
        }
        let mut answered = self
            .forward(method.clone(), &path, &headers, body.clone())
            .await;
        if let Some(id) = &id {
            match fault {
                Fault::AcceptsOldFence if answered.code() == "older_fence" => {
                    let mut request = request.clone();
                    request["fence"] = json!(*lock(&self.fence));
                    answered = self
                        .forward(method.clone(), &path, &headers, request.to_string().into())
                        .await;
                }
                Fault::AcceptsOldFence if request["fence"].is_number() => {
                    let mut fence = lock(&self.fence);
                    *fence = request["fence"].as_u64().unwrap_or(0).max(*fence);
                }
                Fault::AcceptsStaleBase if is_put && answered.code() == "other_base" => {
                    answered = Answered::json(201, &json!({"id": id, "status": "staged"}));
                }
                Fault::VisibleEarly if is_put && answered.status == StatusCode::CREATED => {
                    let commit = format!("{path}/commit");
                    let fence = json!({"fence": request["fence"]}).to_string();
                    self.forward(Method::POST, &commit, &headers, fence.into())
                        .await;
                }
                Fault::CommitsTwice | Fault::CommitsOnce
                    if path.ends_with("/commit") && answered.status.is_success() =>
                {
                    let known = lock(&self.sent).get_mut(id).map(|(request, times)| {
                        *times += 1;
                        (request.clone(), *times)
                    });
                    let Some((request, 2..)) = known else {
                        return answered;
                    };
                    if fault == Fault::CommitsOnce {
                        return Answered::json(
                            404,
                            &json!({"error": "gone", "code": "unknown_changeset"}),
                        );
                    }
                    for change in request["changes"].as_array().unwrap() {
                        let name = format!(
                            "/admin/resources/{}/{}",
                            text(&change["kind"]),
                            text(&change["name"])
                        );
                        let spec = Bytes::from(change["spec"].to_string());
                        self.forward(Method::PUT, &name, &own(), spec).await;
                    }
                }
                _ => {}
            }
        }
        self.spoil(&path, &mut answered);
        answered
    }

    fn spoil(&self, path: &str, answered: &mut Answered) {
        let mut value = answered.value();
        let is_state = path.starts_with("/lockstep/v1/state");
        match self.fault {
            Fault::TagNeverChanges if is_state => {
                answered
                    .headers
                    .insert(header::ETAG, HeaderValue::from_static("\"1\""));
            }
            Fault::WrongDigest if is_state && value["digest"].is_string() => {
                value["digest"] = json!(Digest::of(b"wrong"));
                answered.replace(&value);
            }
            Fault::GivesNoReasons if answered.status == StatusCode::UNPROCESSABLE_ENTITY => {
                answered.replace(&json!({"error": "no", "code": "refused"}));
            }
            Fault::LosesEvents if value["events"].is_array() => {
                let events = value["events"].as_array_mut().unwrap();
                events.retain(|event| event["action"] != "delete");
                answered.replace(&value);
            }
            Fault::ErrorsAreHtml if answered.status.is_client_error() => {
                answered.body = Bytes::from_static(b"<html>no</html>");
                answered
                    .headers
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            }
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn own() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let token = HeaderValue::try_from(format!("Bearer {TOKEN}")).unwrap();
    headers.insert(header::AUTHORIZATION, token);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers
}
