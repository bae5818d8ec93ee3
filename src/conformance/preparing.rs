//! Preparing: what is staged, what is refused, and that nobody sees any of it.

use std::collections::BTreeSet;

use serde_json::json;

use super::session::{Draft, Session, Step};
use super::{Judged, Miss, failed};
use crate::ids::{ChangesetId, Digest};
use crate::plan::Op;
use crate::system_api::{ChangesetStatus, Code, PrepareAnswer};

pub(super) async fn stages(s: &mut Session) -> Judged {
    let step = s.create("staged", 0)?;
    let draft = s.draft(&[step])?;
    for (status, when) in [(201, "a new changeset"), (200, "the same changeset again")] {
        let answer = s.prepare(&draft).await?.want(&[status], when)?;
        let PrepareAnswer { id, status } = answer.json("{id, status}")?;
        if id != draft.id || status != ChangesetStatus::Staged {
            let expected = format!("{{id: {}, status: staged}} for {when}", draft.id);
            return Err(failed(
                expected,
                format!("{{id: {id}, status: {}}}", json!(status)),
            ));
        }
    }
    Ok(None)
}

pub(super) async fn invisible(s: &mut Session) -> Judged {
    let step = s.create("invisible", 0)?;
    s.apply(&[step]).await?;
    let (revision, _) = s.observe().await?;
    let tag = s.get("/state").await?.tag().map(str::to_owned);
    let mut draft = {
        let steps = [s.update("invisible", 1)?, s.create("invisible-too", 0)?];
        s.draft(&steps)?
    };
    // A revision of its own, so that it would be seen.
    draft.request.revision = other_revision()?;
    s.stage(&draft).await?;
    s.shows("after a prepare").await?;
    let (now, _) = s.observe().await?;
    if now != revision {
        let came = now.map_or("null".to_owned(), |r| r.to_string());
        return Err(failed(
            "the revision to stay as it was after a prepare",
            came,
        ));
    }
    if s.get("/state").await?.tag().map(str::to_owned) != tag {
        return Err(failed(
            "the ETag to stay as it was after a prepare",
            "another",
        ));
    }
    Ok(None)
}

fn other_revision() -> Result<crate::ids::Revision, Miss> {
    "b".repeat(40)
        .parse()
        .map_err(|e: crate::ids::InvalidId| Miss::Skipped(e.to_string()))
}

pub(super) async fn other_content(s: &mut Session) -> Judged {
    let (one, two) = (s.create("content", 0)?, s.create("content", 1)?);
    let draft = s.draft(&[one])?;
    let other = Draft {
        id: draft.id.clone(),
        ..s.draft(&[two])?
    };
    s.stage(&draft).await?;
    let answer = s.prepare(&other).await?;
    s.refusal(
        answer,
        409,
        Code::OtherContent,
        "a staged id with other content",
    )?;
    s.commit(&draft).await?;
    let update = s.update("content", 1)?;
    let other = Draft {
        id: draft.id.clone(),
        ..s.draft(&[update])?
    };
    let answer = s.prepare(&other).await?;
    s.refusal(
        answer,
        409,
        Code::OtherContent,
        "a committed id with other content",
    )?;
    s.shows("after an id was used twice").await?;
    Ok(None)
}

pub(super) async fn stale_base(s: &mut Session) -> Judged {
    let step = s.create("stale", 0)?;
    let mut draft = s.draft(std::slice::from_ref(&step))?;
    draft.request.base_digest = Digest::of(b"a state that never was");
    let answer = s.prepare(&draft).await?;
    s.refusal(
        answer,
        409,
        Code::OtherBase,
        "a base that is not the state's digest",
    )?;
    let early = s.draft(&[step])?;
    let moved = s.create("stale-moved", 0)?;
    s.apply(&[moved]).await?;
    let answer = s.prepare(&early).await?;
    s.refusal(
        answer,
        409,
        Code::OtherBase,
        "a base that the state has left behind",
    )?;
    s.shows("after a prepare on another base").await?;
    Ok(None)
}

pub(super) async fn target(s: &mut Session) -> Judged {
    let step = s.create("target", 0)?;
    let mut draft = s.draft(&[step])?;
    draft.request.target_digest = Digest::of(b"a state that these changes do not lead to");
    let answer = s.prepare(&draft).await?;
    s.refusal(
        answer,
        422,
        Code::Refused,
        "changes that do not lead to target_digest",
    )?;
    not_staged(s, &draft.id).await?;
    Ok(None)
}

/// Checks that what was refused cannot be committed.
async fn not_staged(s: &mut Session, id: &ChangesetId) -> Result<(), Miss> {
    let fence = s.fence;
    let answer = s.end(id, "commit", fence).await?;
    answer.want(
        &[404, 409],
        "the commit of a changeset whose prepare was refused",
    )?;
    s.shows("after a refused prepare").await
}

pub(super) async fn reasons(s: &mut Session) -> Judged {
    let there = s.create("there", 0)?;
    s.apply(&[there]).await?;
    let steps = [
        s.create("there", 1)?,
        s.update("not-there", 0)?,
        s.delete("neither")?,
    ];
    let draft = s.draft(&steps)?;
    let answer = s.prepare(&draft).await?;
    let when = "a create of what exists, an update and a delete of what does not";
    let refusal = s.refusal(answer, 422, Code::Refused, when)?;
    named(&refusal.reasons, steps.iter())?;
    not_staged(s, &draft.id).await?;

    let mut nonsense = s.draft(&[s.create("op", 0)?, s.create("specless", 0)?])?;
    if let Some(change) = nonsense.request.changes.first_mut() {
        change.op = "rename".into();
    }
    if let Some(change) = nonsense.request.changes.last_mut() {
        change.spec = None;
    }
    let answer = s.prepare(&nonsense).await?;
    let when = "an operation that is none, and a create without a spec";
    s.refusal(answer, 422, Code::Refused, when)?;
    not_staged(s, &nonsense.id).await?;
    Ok(None)
}

/// Checks that each of these changes has a reason with words.
pub(super) fn named<'a>(
    reasons: &[crate::system_api::WireReason],
    steps: impl Iterator<Item = &'a Step>,
) -> Result<(), Miss> {
    let with_words = reasons.iter().filter(|r| !r.message.trim().is_empty());
    let given: BTreeSet<String> = with_words
        .map(|r| format!("{}/{}", r.kind, r.name))
        .collect();
    for step in steps {
        if !given.contains(step.id.as_str()) {
            let came = if given.is_empty() {
                "no reasons".to_owned()
            } else {
                format!("reasons for {}", Vec::from_iter(given).join(", "))
            };
            return Err(failed(
                format!("a reason with kind, name and message for {}", step.id),
                came,
            ));
        }
    }
    Ok(())
}

pub(super) async fn all_or_nothing(s: &mut Session) -> Judged {
    let steps = [
        s.create("good", 0)?,
        Step {
            op: Op::Update,
            ..s.create("missing", 0)?
        },
        s.create("good-too", 0)?,
    ];
    let draft = s.draft(&steps)?;
    let answer = s.prepare(&draft).await?;
    let refusal = s.refusal(
        answer,
        422,
        Code::Refused,
        "a changeset with one change that does not fit",
    )?;
    named(
        &refusal.reasons,
        steps.iter().filter(|step| step.op == Op::Update),
    )?;
    not_staged(s, &draft.id).await?;
    Ok(None)
}
