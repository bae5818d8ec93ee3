//! What is done behind Lockstep's back: local edits, and the setting of faults.
//!
//! These have no login of their own. On loopback they are open to programs and people on the same host, but not to web pages that
//! a browser there has open; elsewhere they take the bearer token.

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use super::api::read_body;
use super::faults::Faults;
use super::problem::Problem;
use crate::ids::ResourceRef;
use crate::plan::Op;
use crate::state::Spec;

/// Lets only those pass who are on this host, or know the token.
pub(super) async fn authorize(
    State(app): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let headers = request.headers();
    if app.loopback {
        if !names_loopback(headers) || !same_site(headers) {
            return Err(Problem::Forbidden(
                "local changes are taken only from this host's own page and programs",
            ));
        }
    } else if app.token.is_none() || !app.knows(headers) {
        return Err(Problem::Unauthorized);
    }
    Ok(next.run(request).await)
}

/// Whether the request was addressed to this host by a name that no one else can point here (DNS rebinding).
fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

/// Browsers say where a request comes from; programs say nothing.
fn same_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_none_or(|v| v == "same-origin" || v == "none")
}

fn read_name(kind: &str, name: &str) -> Result<ResourceRef, Problem> {
    ResourceRef::new(kind, name).map_err(|e| Problem::Malformed(e.to_string()))
}

pub(super) async fn put_resource(
    State(app): State<Shared>,
    Path((kind, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let id = read_name(&kind, &name)?;
    let spec: Value = read_body(&headers, &body)?;
    let spec = Spec::from_value(&spec).map_err(|e| Problem::Malformed(e.to_string()))?;
    let done = app.desk.edit(id, Some(spec)).await?;
    let status = match done {
        Some(Op::Create) => StatusCode::CREATED,
        Some(Op::Update | Op::Delete) | None => StatusCode::OK,
    };
    Ok((status, digest(&app)).into_response())
}

pub(super) async fn delete_resource(
    State(app): State<Shared>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    app.desk.edit(read_name(&kind, &name)?, None).await?;
    Ok(digest(&app).into_response())
}

fn digest(app: &Shared) -> Json<Value> {
    Json(json!({ "digest": app.desk.snapshot().state.digest() }))
}

pub(super) async fn get_faults(State(app): State<Shared>) -> Json<Faults> {
    Json(app.faults(|f| f.clone()))
}

pub(super) async fn put_faults(
    State(app): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Faults>, Problem> {
    let faults: Faults = read_body(&headers, &body)?;
    app.faults(|f| *f = faults.clone());
    Ok(Json(faults))
}
