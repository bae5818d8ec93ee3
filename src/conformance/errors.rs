//! Requests that a system must not take, and the answers it gives to them.

use reqwest::Method;
use serde_json::json;

use super::session::Session;
use super::wire::{Ask, Credential};
use super::{Judged, Miss, failed};
use crate::system_api::{Code, FenceRequest};

pub(super) async fn unauthorized(s: &mut Session) -> Judged {
    if s.wire.token.is_none() {
        return Err(Miss::Skipped(
            "no token was given, so the system is open; give one with --token-file".to_owned(),
        ));
    }
    let draft = s.draft(&[s.create("unauthorized", 0)?])?;
    s.stage(&draft).await?;
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|e| Miss::Skipped(e.to_string()));
    let fence = json(serde_json::to_vec(&FenceRequest { fence: s.fence }))?;
    let changeset = format!("/changesets/{}", draft.id);
    let calls = [
        (Method::GET, "/state".to_owned(), None),
        (Method::GET, "/state/digests".to_owned(), None),
        (Method::GET, "/audit".to_owned(), None),
        (
            Method::PUT,
            changeset.clone(),
            Some(json(serde_json::to_vec(&draft.request))?),
        ),
        (
            Method::POST,
            format!("{changeset}/commit"),
            Some(fence.clone()),
        ),
        (Method::POST, format!("{changeset}/abort"), Some(fence)),
    ];
    for (credential, when) in [
        (Credential::None, "a call without a token"),
        (Credential::Wrong, "a call with another token"),
    ] {
        for (method, path, body) in &calls {
            let ask = Ask {
                method: method.clone(),
                body: body.clone(),
                credential,
                ..Ask::get(path)
            };
            let answer = s.ask(ask).await?;
            s.refusal(answer, 401, Code::Unauthorized, when)?;
        }
    }
    s.shows("after calls without the token").await?;
    s.commit(&draft).await?;
    s.shows("after a commit that someone without the token tried to abort")
        .await?;
    Ok(None)
}

pub(super) async fn malformed(s: &mut Session) -> Judged {
    let draft = s.draft(&[s.create("malformed", 0)?])?;
    let changeset = format!("/changesets/{}", draft.id);
    let commit = format!("{changeset}/commit");
    let long = format!("/changesets/{}", "x".repeat(129));
    let whole = serde_json::to_vec(&draft.request).map_err(|e| Miss::Skipped(e.to_string()))?;
    let half = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
    let text = |value: serde_json::Value| Some(value.to_string().into_bytes());
    let cases = [
        (Method::PUT, changeset.as_str(), Some(half), "half a body"),
        (Method::PUT, &changeset, text(json!([])), "a list as a body"),
        (
            Method::PUT,
            &changeset,
            text(json!({"fence": s.fence})),
            "a body without changes",
        ),
        (Method::PUT, &changeset, None, "no body"),
        (Method::PUT, &long, Some(whole), "an id of 129 characters"),
        (
            Method::POST,
            &commit,
            text(json!({})),
            "a commit without a fence",
        ),
        (
            Method::POST,
            &commit,
            text(json!({"fence": "1"})),
            "a fence that is text",
        ),
        (
            Method::POST,
            &commit,
            text(json!({"fence": -1})),
            "a fence below zero",
        ),
        (
            Method::GET,
            "/state?bucket=zz",
            None,
            "a bucket that is none",
        ),
        (
            Method::GET,
            "/state?bucket=100",
            None,
            "a bucket of three digits",
        ),
        (
            Method::GET,
            "/audit?from=yesterday",
            None,
            "a time that is none",
        ),
    ];
    for (method, path, body, when) in cases {
        let ask = Ask {
            method,
            body,
            ..Ask::get(path)
        };
        let answer = s.ask(ask).await?;
        s.refusal(answer, 400, Code::Malformed, when)?;
    }
    let fence = s.fence;
    let answer = s.end(&draft.id, "commit", fence).await?;
    answer.want(
        &[404],
        "the commit of a changeset whose prepares could not be read",
    )?;
    s.shows("after what could not be read").await?;
    Ok(None)
}

pub(super) async fn bodies(s: &mut Session) -> Judged {
    if s.errors == 0 {
        return Err(Miss::Skipped("the system has answered no error".to_owned()));
    }
    let wrong = std::mem::take(&mut s.deviations);
    let Some(first) = wrong.first() else {
        return Ok(Some(format!("{} errors", s.errors)));
    };
    let more = match wrong.len() {
        1 => String::new(),
        n => format!(", and {} more", n - 1),
    };
    Err(failed(
        "errors as JSON {error, code} with the code of the contract",
        format!("{first}{more}"),
    ))
}
