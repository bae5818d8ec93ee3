//! The page: what the system's users see, as it changes.
//!
//! Server-rendered and escaped; a few lines of script reload the part that changes when the server says so. No assets from elsewhere.

use std::convert::Infallible;

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;

use super::Shared;
use super::keeper::Snapshot;
use crate::resource::Language;

mod view;
mod words;

use view::Live;
use words::Words;

/// The page may load nothing from elsewhere, run nothing that stands in it, and be framed by nobody.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "reference/templates/page.html")]
struct Page<'a> {
    lang: &'static str,
    words: &'static Words,
    title: &'a str,
    name: &'a str,
    live: Live,
}

#[derive(Template)]
#[template(path = "reference/templates/live.html")]
struct Fragment {
    words: &'static Words,
    live: Live,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(page))
        .route("/fragment", get(fragment))
        .route("/events", get(events))
        .route("/page.css", get(style))
        .route("/page.js", get(script))
}

/// `?lang=ja` or `en`, else the language that the browser would like best of the two.
fn language(query: Option<&str>, headers: &HeaderMap) -> Language {
    let asked = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == "lang")
        .and_then(|(_, value)| read_language(&value));
    let accepted = || {
        let header = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
        let mut wishes: Vec<(f32, Language)> = header
            .split(',')
            .filter_map(|wish| {
                let (tag, parameters) = wish.split_once(';').unwrap_or((wish, ""));
                let weight = parameters
                    .trim()
                    .strip_prefix("q=")
                    .map_or(Some(1.0), |q| q.parse().ok())?;
                Some((weight, read_language(tag.trim())?))
            })
            .collect();
        // Stable: of equal weights the first wins.
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0));
        wishes.first().map(|(_, language)| *language)
    };
    asked.or_else(accepted).unwrap_or(Language::English)
}

fn read_language(tag: &str) -> Option<Language> {
    match tag.split('-').next() {
        Some("ja") => Some(Language::Japanese),
        Some("en") => Some(Language::English),
        Some(_) | None => None,
    }
}

async fn page(
    State(app): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(query.as_deref(), &headers);
    html(&Page {
        lang: words::tag(language),
        words: words::of(language),
        title: &app.title,
        name: app.name.as_str(),
        live: view::live(&app.desk.snapshot(), language),
    })
}

/// The part that changes, alone.
async fn fragment(
    State(app): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(query.as_deref(), &headers);
    html(&Fragment {
        words: words::of(language),
        live: view::live(&app.desk.snapshot(), language),
    })
}

fn html(template: &impl Template) -> Response {
    let Ok(text) = template.render() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "cannot show the page\n").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept-Language"),
    ];
    (headers, text).into_response()
}

async fn style() -> Response {
    asset("text/css", include_str!("templates/page.css"))
}

async fn script() -> Response {
    asset("text/javascript", include_str!("templates/page.js"))
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let mut response = ([(header::CACHE_CONTROL, "no-cache")], text).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Says which version of the page is the newest: at once, and after each change.
async fn events(State(app): State<Shared>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = WatchStream::new(app.desk.watch())
        .map(|snapshot| Ok(Event::default().event("changed").data(version(&snapshot))));
    let stopped = Box::pin(super::until_stopped(app.stopping.clone()));
    Sse::new(changes.take_until(stopped)).keep_alive(KeepAlive::default())
}

/// What tells one page from another.
fn version(snapshot: &Snapshot) -> String {
    let revision = snapshot.revision.as_ref().map_or("", |r| r.as_str());
    format!("{}.{revision}", snapshot.state.digest())
}
