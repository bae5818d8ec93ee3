//! Fences: a holder of the lease that has been replaced can do nothing any more.

use super::session::{Draft, Session};
use super::{Judged, failed};
use crate::ids::Fence;
use crate::system_api::Code;

pub(super) async fn find(s: &mut Session) -> Judged {
    s.find_fence().await?;
    Ok(Some(format!("the fence is {} now", s.fence.0)))
}

pub(super) async fn old_prepare(s: &mut Session) -> Judged {
    let older = s.older_fence()?;
    seen(s).await?;
    let mut draft = s.draft(&[s.create("old-prepare", 0)?])?;
    draft.request.fence = older;
    let answer = s.prepare(&draft).await?;
    s.refusal(
        answer,
        412,
        Code::OlderFence,
        "a prepare under an older fence",
    )?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "commit", fence).await?;
    answer.want(
        &[404, 409],
        "the commit of what was prepared under an older fence",
    )?;
    s.shows("after it").await?;
    Ok(None)
}

/// Makes sure that the system has seen the current fence, whatever it says to such an abort.
async fn seen(s: &mut Session) -> Result<(), super::Miss> {
    let (id, fence) = (s.new_id()?, s.fence);
    s.end(&id, "abort", fence).await.map(drop)
}

pub(super) async fn old_commit(s: &mut Session) -> Judged {
    let (draft, older) = staged(s, "old-commit").await?;
    let answer = s.end(&draft.id, "commit", older).await?;
    s.refusal(
        answer,
        412,
        Code::OlderFence,
        "a commit under an older fence",
    )?;
    s.shows("after a commit under an older fence").await?;
    Ok(None)
}

async fn staged(s: &mut Session, word: &str) -> Result<(Draft, Fence), super::Miss> {
    let older = s.older_fence()?;
    let draft = s.draft(&[s.create(word, 0)?])?;
    s.stage(&draft).await?;
    Ok((draft, older))
}

pub(super) async fn old_abort(s: &mut Session) -> Judged {
    let (draft, older) = staged(s, "old-abort").await?;
    let answer = s.end(&draft.id, "abort", older).await?;
    s.refusal(
        answer,
        412,
        Code::OlderFence,
        "an abort under an older fence",
    )?;
    s.commit(&draft).await?;
    s.shows("after the commit of what someone tried to abort under an older fence")
        .await?;
    Ok(None)
}

pub(super) async fn refusal_counts(s: &mut Session) -> Judged {
    let older = s.fence;
    let draft = s.draft(&[s.create("counted", 0)?])?;
    s.next_fence()?;
    let wrong = s.draft(&[s.update("never-there", 0)?])?;
    s.prepare(&wrong)
        .await?
        .want(&[422], "an update of what does not exist")?;
    let answer = s.prepare(&draft).await?;
    s.refusal(
        answer,
        412,
        Code::OlderFence,
        "the fence before that of a refused prepare",
    )?;
    if older >= s.fence {
        return Err(failed("a newer fence", "the same"));
    }
    Ok(None)
}

pub(super) async fn supersedes(s: &mut Session) -> Judged {
    let old = s.draft(&[s.create("superseded", 0)?])?;
    s.stage(&old).await?;
    s.next_fence()?;
    let new = s.draft(&[s.create("superseding", 0)?])?;
    s.stage(&new).await?;
    let fence = s.fence;
    let answer = s.end(&old.id, "commit", fence).await?;
    s.refusal(
        answer,
        409,
        Code::Aborted,
        "the commit of what a newer fence has superseded",
    )?;
    s.shows("after it").await?;
    s.commit(&new).await?;
    s.shows("after the commit under the newer fence").await?;
    Ok(None)
}

pub(super) async fn finishes(s: &mut Session) -> Judged {
    let draft = s.draft(&[s.create("finished", 0)?])?;
    s.stage(&draft).await?;
    let older = s.fence;
    s.next_fence()?;
    s.commit(&draft).await?;
    s.shows("after a commit by the next holder of the lease")
        .await?;
    let answer = s.end(&draft.id, "commit", older).await?;
    s.refusal(
        answer,
        412,
        Code::OlderFence,
        "a late commit by the holder before",
    )?;
    Ok(None)
}
