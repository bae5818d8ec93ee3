//! The way of a request through the front: faults, who asks, whether GitHub knows such a request, the front's own answers or the
//! emulator's, and what every answer bears.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use serde_json::{Value, json};
use sha2::Digest as _;

use super::ask::{Answer, Ask, decoded};
use super::fault::{What, meets};
use super::{Asked, Shared, Token, checks, events, git, limits, pulls, statuses};

/// The user agent of a person's client in a test.
pub(super) const PERSON: &str = "a-person-in-a-test/1";

pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 256 << 20).await else {
        return Answer::refused(400, "Problems reading the body").response();
    };
    let whole = head.uri.path();
    let (prefix, path) = match whole.strip_prefix("/api/v3") {
        Some(rest) if rest.starts_with('/') => ("/api/v3", rest),
        _ => ("", whole),
    };
    let mut ask = Ask {
        path: path.to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        method: head.method,
        headers: head.headers,
        body,
        prefix,
        token: None,
        login: None,
    };
    if ask.path == "/_hub/event" {
        return events::from_emulator(shared, &ask).response();
    }
    ask.token = Ask::token_in(ask.header("authorization"));
    ask.login = limits::login_of(shared, &ask);
    let noted = note(shared, &ask);
    let what = meets(
        &mut shared.state().faults,
        ask.method.as_str(),
        &ask.target(),
    );
    if let Some(What::Slow(time)) = &what {
        tokio::time::sleep(*time).await;
    }
    let answer = match instead(shared, &ask, what.as_ref()) {
        Some(answer) => answer,
        None if git::is_git(&ask) => git::serve(shared, &ask).await,
        None => asked(shared, &mut ask).await,
    };
    if let Some(asked) = shared.state().asked.get_mut(noted) {
        asked.status = answer.status;
        asked.not_modified = answer.status == 304;
    }
    spoiled(shared, &ask, answer, what)
}

fn note(shared: &Shared, ask: &Ask) -> usize {
    let mut state = shared.state();
    state.asked.push(Asked {
        method: ask.method.to_string(),
        path: ask.path.clone(),
        query: ask.query.clone(),
        status: 0,
        not_modified: false,
        login: ask.login.clone(),
        body: ask.json(),
        by_person: ask.header("user-agent") == PERSON,
        git: git::is_git(ask),
    });
    state.asked.len() - 1
}

/// What a fault says in the place of an answer.
fn instead(shared: &Shared, ask: &Ask, what: Option<&What>) -> Option<Answer> {
    match what? {
        What::Status(status, body) => Some(Answer::json(*status, body)),
        What::SecondaryLimit { retry_after } => Some(
            Answer::refused(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
                .with("retry-after", retry_after.to_string()),
        ),
        What::TooMany { retry_after } => Some(
            Answer::refused(429, "Too many requests").with("retry-after", retry_after.to_string()),
        ),
        What::PrimaryLimit { reset } => Some(limits::exhausted(*reset)),
        What::Renamed => {
            let rest = ask.path.splitn(5, '/').nth(4).unwrap_or_default();
            let slash = if rest.is_empty() { "" } else { "/" };
            Some(moved(shared, ask, &format!("/repositories/{}{slash}{rest}", shared.repository)))
        }
        What::Down => {
            shared.down.store(true, Ordering::SeqCst);
            Some(Answer::refused(502, "Bad Gateway"))
        }
        What::DropMidBody
        | What::RepeatPage
        | What::WrongClock(_)
        | What::Slow(_)
        | What::DoneAndLost => None,
    }
}

fn moved(shared: &Shared, ask: &Ask, path: &str) -> Answer {
    let mut url = format!("{}{}{path}", shared.base, ask.prefix);
    if !ask.query.is_empty() {
        url = format!("{url}?{}", ask.query);
    }
    let body = json!({"message": "Moved Permanently", "url": url, "documentation_url": "https://docs.github.com/rest"});
    Answer::json(301, &body).with("location", url)
}

/// What a fault does to an answer.
fn spoiled(shared: &Shared, ask: &Ask, mut answer: Answer, what: Option<What>) -> Response<Body> {
    match what {
        Some(What::DropMidBody) => answer.half(),
        Some(What::Down | What::DoneAndLost) => {
            answer.body.truncate(1);
            answer.half()
        }
        Some(What::RepeatPage) => {
            let here = format!("{}{}{}", shared.base, ask.prefix, ask.target());
            answer.headers.retain(|(name, _)| name != "link");
            answer
                .with("link", format!("<{here}>; rel=\"next\""))
                .response()
        }
        Some(What::WrongClock(by)) => answer.with("date", limits::http_date(by)).response(),
        Some(
            What::Status(..)
            | What::SecondaryLimit { .. }
            | What::TooMany { .. }
            | What::PrimaryLimit { .. }
            | What::Renamed
            | What::Slow(_),
        )
        | None => answer.response(),
    }
}

/// A request to the API that no fault came upon.
async fn asked(shared: &Arc<Shared>, ask: &mut Ask) -> Answer {
    if ask.header("user-agent").is_empty() {
        return Answer::refused(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
        );
    }
    if let Err(refused) = limits::known(shared, ask) {
        return refused;
    }
    if let Some(elsewhere) = renamed(shared, ask) {
        return elsewhere;
    }
    // GitHub takes both here.
    if ask.method == Method::POST && is_comment(&ask.path) {
        ask.method = Method::PATCH;
    }
    if let Err(violation) = shared.described.check(ask) {
        let said = format!("{} {}: {violation}", ask.method, ask.target());
        shared.state().violations.push(said);
        return Answer::refused(422, &format!("Invalid request.\n\n{violation}"));
    }
    if let Err(refused) = limits::within(shared, ask) {
        return refused;
    }
    let mut answer = match limits::permitted(shared, ask) {
        Ok(()) => routed(shared, ask).await,
        Err(refused) => refused,
    };
    if !ask.prefix.is_empty() {
        answer.body = enterprise(shared, &answer.body);
    }
    if ask.is_read() && answer.status == 200 {
        answer = tagged(ask, answer);
    }
    limits::counted(shared, ask, answer)
}

/// A repository's old name leads to its number, and the number to its new name.
fn renamed(shared: &Shared, ask: &mut Ask) -> Option<Answer> {
    let parts: Vec<&str> = ask.path.splitn(5, '/').collect();
    match parts.as_slice() {
        ["", "repos", owner, name, rest @ ..] => {
            let old = format!("{owner}/{name}");
            shared.state().renamed.get(&old)?;
            let rest = rest
                .iter()
                .fold(String::new(), |all, part| format!("{all}/{part}"));
            let path = format!("/repositories/{}{rest}", shared.repository);
            Some(moved(shared, ask, &path))
        }
        ["", "repositories", number, rest @ ..] if *number == shared.repository.to_string() => {
            let name = shared.now_called("acme/config");
            let rest = rest
                .iter()
                .fold(String::new(), |all, part| format!("{all}/{part}"));
            ask.path = format!("/repos/{name}{rest}");
            None
        }
        _ => None,
    }
}

fn is_comment(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    matches!(parts.as_slice(), ["repos", _, _, "issues", "comments", _])
}

/// The front's own answer, or the emulator's with what it lacks.
async fn routed(shared: &Arc<Shared>, ask: &Ask) -> Answer {
    let parts = ask.parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if let ["repos", owner, name, rest @ ..] = parts.as_slice() {
        let repository = format!("{owner}/{name}");
        if let Some(answer) = statuses::answer(shared, ask, &repository, rest) {
            return answer;
        }
        if let Some(answer) = checks::answer(shared, ask, &repository, rest) {
            return answer;
        }
        if let Some(answer) = pulls::answer(shared, ask, &repository, rest).await {
            return answer;
        }
    }
    if parts.as_slice() == ["rate_limit"] {
        return limits::shown(shared, ask);
    }
    passed_on(shared, ask, &parts).await
}

async fn passed_on(shared: &Arc<Shared>, ask: &Ask, parts: &[&str]) -> Answer {
    // What is read must not be half changed, and what is written must come one after the other.
    let _changing = if ask.is_read() {
        None
    } else {
        Some(shared.changing.lock().await)
    };
    let mut answer = shared
        .upstream(
            ask.method.clone(),
            &ask.target(),
            ask.token.as_deref().unwrap_or_default(),
            ask.body.to_vec(),
        )
        .await;
    if let Some(link) = answer.headers.iter_mut().find(|(name, _)| name == "link") {
        link.1 = link
            .1
            .replace(&shared.upstream, &format!("{}{}", shared.base, ask.prefix));
    }
    let mut value = answer.value();
    if !value.is_null() {
        fill(&shared.base, &mut value);
        if answer.is_success() {
            learn(shared, ask, parts, &mut value);
        }
        complete(shared, ask, parts, &mut answer, &mut value).await;
        answer.set(&value);
    }
    if answer.is_success() && !ask.is_read() {
        pulls::touched(shared, parts);
        shared.through_door("told", &json!({})).await;
        git::follow(shared, ask, parts).await;
    }
    answer
}

/// What the front must know of an answer.
fn learn(shared: &Shared, ask: &Ask, parts: &[&str], value: &mut Value) {
    if let ["app", "installations", _, "access_tokens"] = parts {
        let granted = serde_json::from_value(value["permissions"].clone()).unwrap_or_default();
        let token = value["token"].as_str().unwrap_or_default().to_owned();
        let known = Token::of_installation(granted);
        shared.state().tokens.insert(token, known);
    }
    checks::learn(shared, ask, parts, value);
}

/// What the emulator answers otherwise than GitHub.
async fn complete(
    shared: &Shared,
    ask: &Ask,
    parts: &[&str],
    answer: &mut Answer,
    value: &mut Value,
) {
    match parts {
        ["repos", _, _] if ask.is_read() => {
            let login = ask.login.clone().unwrap_or_default();
            let role = limits::role(shared, &login);
            value["permissions"] = limits::as_permissions(role);
        }
        ["repos", _, _, "collaborators", login, "permission"] => {
            let Some(user) = shared.people.get(*login) else {
                return;
            };
            let role = limits::role(shared, login);
            *value = json!({"permission": role, "role_name": role, "user": user});
            fill(&shared.base, value);
            answer.status = 200;
        }
        ["repos", _, _, "collaborators"] => {
            for one in value.as_array_mut().into_iter().flatten() {
                let role = limits::role(shared, one["login"].as_str().unwrap_or_default());
                one["permissions"] = limits::as_permissions(role);
                one["role_name"] = json!(role);
            }
        }
        ["repos", _, _, "installation"] => {
            let withheld = shared.state().withheld.get("lockstep[bot]").cloned();
            for permission in withheld.unwrap_or_default() {
                let name = permission.split('=').next().unwrap_or_default();
                if let Some(granted) = value["permissions"].as_object_mut() {
                    granted.remove(name);
                }
            }
        }
        ["app"] => value["owner"] = shared.user("acme"),
        ["user"] if ask.login.as_deref() == Some("lockstep[bot]") => {
            *answer = Answer::refused(403, "Resource not accessible by integration");
            *value = answer.value();
        }
        _ => {}
    }
    checks::complete(shared, parts, value);
    pulls::complete(shared, ask, parts, value).await;
}

/// Fields that GitHub has everywhere and the emulator only in some places.
pub(super) fn fill(base: &str, value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| fill(base, one)),
        Value::Object(map) => {
            let login = map.get("login").and_then(Value::as_str);
            if let (Some(login), true) = (login, map.contains_key("id")) {
                for (name, it) in of_user(base, login) {
                    let there = map.entry(name).or_insert(Value::Null);
                    if there.is_null() {
                        *there = it;
                    }
                }
            }
            if map.contains_key("annotations_count") {
                let url = json!(format!("{base}/annotations"));
                map.entry("annotations_url").or_insert(url);
            }
            map.values_mut().for_each(|one| fill(base, one));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn of_user(base: &str, login: &str) -> Vec<(String, Value)> {
    const URLS: [&str; 8] = [
        "followers",
        "following",
        "gists",
        "starred",
        "subscriptions",
        "repos",
        "events",
        "received_events",
    ];
    let api = format!("{base}/users/{login}");
    let html = format!("{base}/{login}");
    let urls = URLS.map(|name| (format!("{name}_url"), json!(format!("{api}/{name}"))));
    let others = [
        ("gravatar_id", json!("")),
        ("type", json!("User")),
        ("site_admin", json!(false)),
        ("node_id", json!(format!("U_{login}"))),
        ("avatar_url", json!(format!("{html}.png"))),
        ("html_url", json!(html)),
        ("organizations_url", json!(format!("{api}/orgs"))),
        ("url", json!(api)),
    ];
    let others = others.map(|(name, it)| (name.to_owned(), it));
    urls.into_iter().chain(others).collect()
}

/// Enterprise Server has its API under a path of the same host.
fn enterprise(shared: &Shared, body: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for of_api in ["repos", "users", "orgs", "repositories", "app"] {
        let plain = format!("{}/{of_api}/", shared.base);
        text = text.replace(&plain, &format!("{}/api/v3/{of_api}/", shared.base));
    }
    text.into_bytes()
}

/// The tag of an answer as this token sees it; 304 for who has it already.
fn tagged(ask: &Ask, answer: Answer) -> Answer {
    let mut hash = sha2::Sha256::new();
    hash.update(ask.token.as_deref().unwrap_or_default());
    hash.update(&answer.body);
    let tag = format!("\"{}\"", hex::encode(hash.finalize()));
    let asked = ask.header("if-none-match");
    let has = asked
        .split(',')
        .any(|one| one.trim().trim_start_matches("W/") == tag);
    let tagged = answer.with("etag", format!("W/{tag}"));
    if !has {
        return tagged.with("cache-control", "private, max-age=60, s-maxage=60");
    }
    let link = tagged
        .headers
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "etag" | "link"));
    Answer {
        status: 304,
        headers: link.collect(),
        body: Vec::new(),
    }
}

/// One page of many, and where the others are.
pub(super) fn page(shared: &Shared, ask: &Ask, all: &[Value]) -> (Vec<Value>, Option<String>) {
    let number = |name: &str, default: usize| {
        let given = ask.queried(name).and_then(|n| n.parse().ok());
        given.unwrap_or(default).max(1)
    };
    let (page, size) = (number("page", 1), number("per_page", 30).min(100));
    let last = all.len().div_ceil(size).max(1);
    let of = |number: usize, rel: &str| {
        let others = ask
            .pairs()
            .into_iter()
            .filter(|(n, _)| n != "page" && n != "per_page");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("page", &number.to_string())
            .append_pair("per_page", &size.to_string())
            .finish();
        let url = format!("{}{}{}", shared.base, ask.prefix, ask.path);
        format!("<{url}?{query}>; rel=\"{rel}\"")
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(of(page - 1, "prev"));
    }
    if page < last {
        links.push(of(page + 1, "next"));
        links.push(of(last, "last"));
    }
    if page > 1 {
        links.push(of(1, "first"));
    }
    let shown = all
        .iter()
        .skip((page - 1) * size)
        .take(size)
        .cloned()
        .collect();
    (shown, (!links.is_empty()).then(|| links.join(", ")))
}

/// A page as an answer.
pub(super) fn paged(shared: &Shared, ask: &Ask, all: &[Value]) -> Answer {
    let (shown, link) = page(shared, ask, all);
    let answer = Answer::json(200, &Value::Array(shown));
    match link {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

/// A reference in a path, which may have slashes of its own.
pub(super) fn joined(parts: &[&str]) -> String {
    decoded(&parts.join("/"))
}
