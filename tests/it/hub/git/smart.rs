//! Git's own protocol over HTTP, by `git http-backend`.

use std::process::Stdio;
use std::sync::Arc;

use axum::http::Method;
use tokio::io::AsyncWriteExt as _;

use super::{Change, changed, heads, refused};
use crate::hub::Shared;
use crate::hub::ask::{Answer, Ask};

/// Whether a request is git's and not the API's.
pub(in crate::hub) fn is_git(ask: &Ask) -> bool {
    repository(&ask.path).is_some()
}

/// `owner/name` and the rest of a path like `/owner/name.git/info/refs`.
fn repository(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = path.trim_start_matches('/').split_once(".git/")?;
    (name.matches('/').count() == 1).then_some((name, rest))
}

pub(in crate::hub) async fn serve(shared: &Arc<Shared>, ask: &Ask) -> Answer {
    let Some((name, rest)) = repository(&ask.path) else {
        return refused(404, "Not Found");
    };
    let token = {
        let state = shared.state();
        let token = ask.token.as_ref().and_then(|token| state.tokens.get(token));
        token.cloned()
    };
    let Some(token) = token else {
        return refused(401, "remote: Invalid username or token.")
            .with("www-authenticate", "Basic realm=\"GitHub\"");
    };
    let now = shared.now_called(name);
    if now != name {
        let query = if ask.query.is_empty() {
            String::new()
        } else {
            format!("?{}", ask.query)
        };
        let to = format!("{}/{now}.git/{rest}{query}", shared.base);
        return refused(301, "").with("location", to);
    }
    if !shared.bare(name).exists() {
        return refused(404, "remote: Repository not found.");
    }
    let is_push = rest == "git-receive-pack" || ask.query.contains("service=git-receive-pack");
    if is_push && !shared.may_push(name, &token) {
        let message = format!(
            "remote: Permission to {name}.git denied to {}.",
            token.login
        );
        return refused(403, &message);
    }
    if !(is_push && ask.method == Method::POST) {
        return backend(shared, ask, &token.login).await;
    }
    let _changing = shared.changing.lock().await;
    // Renamed while this waited.
    if shared.now_called(name) != name {
        return refused(503, "remote: Internal Server Error");
    }
    let before = heads(&shared.bare(name));
    let answer = backend(shared, ask, &token.login).await;
    let change = Change {
        repository: name,
        login: &token.login,
        before,
    };
    changed(shared, change).await;
    answer
}

async fn backend(shared: &Shared, ask: &Ask, login: &str) -> Answer {
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.git)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("PATH_INFO", &ask.path)
        .env("QUERY_STRING", &ask.query)
        .env("REQUEST_METHOD", ask.method.as_str())
        .env("CONTENT_TYPE", ask.header("content-type"))
        .env("CONTENT_LENGTH", ask.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", ask.header("content-encoding"))
        .env("GIT_PROTOCOL", ask.header("git-protocol"))
        .env("REMOTE_USER", login)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = ask.body.clone();
    let writing = async move {
        // Git may have heard enough before the end.
        let _ = input.write_all(&body).await;
    };
    let ((), output) = tokio::join!(writing, child.wait_with_output());
    as_cgi(&output.unwrap().stdout)
}

/// What a CGI program wrote: lines of a head, an empty one, a body.
fn as_cgi(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        return refused(500, "git http-backend said nothing");
    };
    let mut answer = refused(200, "");
    answer.headers.clear();
    answer.body = output[end + 4..].to_vec();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            answer.status = code.unwrap_or(500);
        } else {
            answer = answer.with(&name.to_lowercase(), value);
        }
    }
    answer
}
