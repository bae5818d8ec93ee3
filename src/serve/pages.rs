//! Plain pages: a proposal in full, and what became of a revision.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use crate::forge::Forge;
use crate::gate::{Gate, view_of};
use crate::ids::Revision;
use crate::record::Run;
use crate::resource::Language;
use crate::store::Store;
use crate::view;

/// What pages are made of.
pub struct Pages {
    pub gate: Gate,
    pub forge: Arc<dyn Forge>,
    pub store: Store,
    pub language: Language,
}

fn plain(status: StatusCode, text: String) -> Response {
    let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, kind, text).into_response()
}

fn absent() -> Response {
    plain(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::warn!(error, "a page could not be made");
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
}

/// `GET /proposals/7`: what the comment had no room for as well.
pub(super) async fn proposal(State(state): State<Shared>, Path(number): Path<u64>) -> Response {
    let (Some(pages), Ok(_room)) = (&state.pages, state.room.try_acquire()) else {
        return absent();
    };
    match pages.gate.judge(number).await {
        Ok(judgement) => plain(
            StatusCode::OK,
            view::text::gate(&view_of(&judgement, pages.language)),
        ),
        Err(error) => failed(&error),
    }
}

/// `GET /revisions/<commit>`: the proposal whose head it is, or the runs that were for it.
pub(super) async fn revision(
    State(state): State<Shared>,
    Path(revision): Path<String>,
) -> Response {
    let (Some(pages), Ok(_room)) = (&state.pages, state.room.try_acquire()) else {
        return absent();
    };
    let Ok(revision) = revision.parse::<Revision>() else {
        return absent();
    };
    let runs = match pages.store.runs_of_revision(&revision).await {
        Ok(runs) => runs,
        Err(error) => return failed(&error),
    };
    if runs.is_empty() {
        let open = match pages.forge.proposals(false).await {
            Ok(open) => open,
            Err(error) => return failed(&error),
        };
        return match open.into_iter().find(|p| p.head == revision) {
            Some(found) => {
                drop(_room);
                proposal(State(state.clone()), Path(found.number)).await
            }
            None => absent(),
        };
    }
    let mut text = format!("{revision}\n");
    for stored in runs {
        let Ok(run) = serde_json::from_value::<Run>(stored.run.body.clone()) else {
            continue;
        };
        let outcome = match &run.outcome {
            Some(outcome) => outcome.to_string(),
            None => "…".to_owned(),
        };
        text.push_str(&format!("\n{} {}: {outcome}\n", run.id, run.group));
        for (system, condition) in run.conditions() {
            text.push_str(&format!("  {system}: {}\n", condition.message));
        }
    }
    plain(StatusCode::OK, text)
}
