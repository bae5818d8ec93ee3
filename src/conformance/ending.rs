//! Commit and abort: what takes effect, once.

use super::session::{Draft, Session};
use super::{Judged, Miss, failed};
use crate::ids::Digest;
use crate::system_api::{Code, OutcomeAnswer};

/// Commits again, and checks that the answer is the one given before.
async fn same_again(
    s: &mut Session,
    draft: &Draft,
    first: &OutcomeAnswer,
    when: &str,
) -> Result<(), Miss> {
    let fence = s.fence;
    let answer = s.end(&draft.id, "commit", fence).await?;
    let again: OutcomeAnswer = answer.want(&[200], when)?.json("{digest, revision}")?;
    if again != *first {
        let told = |o: &OutcomeAnswer| {
            let revision = o
                .revision
                .as_ref()
                .map_or("null".to_owned(), |r| r.short().to_owned());
            format!("{{digest: {}, revision: {revision}}}", o.digest.short())
        };
        return Err(failed(format!("{} for {when}", told(first)), told(&again)));
    }
    s.shows(&format!("after {when}")).await
}

pub(super) async fn commit_applies(s: &mut Session) -> Judged {
    let steps = [s.create("a", 0)?, s.create("b", 0)?];
    s.apply(&steps).await?;
    let steps = [s.delete("a")?, s.create("c", 1)?, s.update("b", 1)?];
    let draft = s.draft(&steps)?;
    s.stage(&draft).await?;
    let outcome = s.commit(&draft).await?;
    let (revision, seen) = s.observe().await?;
    if outcome.digest != seen.digest() {
        let expected = format!(
            "the commit to answer {}, which the state has",
            seen.digest()
        );
        return Err(failed(expected, outcome.digest.to_string()));
    }
    s.shows("after a commit of creates, updates and deletes")
        .await?;
    let sent = Some(draft.request.revision);
    if revision != sent || outcome.revision != sent {
        let told = |r: Option<crate::ids::Revision>| r.map_or("null".to_owned(), |r| r.to_string());
        return Err(failed(
            format!("the revision {} in the answer and in the state", told(sent)),
            format!("{} and {}", told(outcome.revision), told(revision)),
        ));
    }
    Ok(None)
}

pub(super) async fn commit_repeats(s: &mut Session) -> Judged {
    let draft = s.draft(&[s.create("repeated", 0)?])?;
    s.stage(&draft).await?;
    let first = s.commit(&draft).await?;
    same_again(s, &draft, &first, "a repeated commit").await?;
    let update = s.update("repeated", 1)?;
    s.apply(&[update]).await?;
    same_again(
        s,
        &draft,
        &first,
        "a repeated commit after a later changeset",
    )
    .await?;
    Ok(None)
}

pub(super) async fn prepare_after_commit(s: &mut Session) -> Judged {
    let draft = s.draft(&[s.create("committed", 0)?])?;
    s.stage(&draft).await?;
    let first = s.commit(&draft).await?;
    let answer = s.prepare(&draft).await?;
    answer.want(
        &[200],
        "a prepare of what is committed, with the same content",
    )?;
    s.shows("after a prepare of what is committed").await?;
    same_again(s, &draft, &first, "a commit after that").await?;
    Ok(None)
}

pub(super) async fn commit_unknown(s: &mut Session) -> Judged {
    let (id, fence) = (s.new_id()?, s.fence);
    let answer = s.end(&id, "commit", fence).await?;
    let refusal = s.refusal(
        answer,
        404,
        Code::UnknownChangeset,
        "the commit of a changeset never prepared",
    )?;
    // Without the code it can't be told from a wrong address.
    if refusal.code != Code::UnknownChangeset {
        return Err(failed(
            "the code unknown_changeset in the answer",
            format!("{:?}", refusal.code),
        ));
    }
    s.shows("after it").await?;
    Ok(None)
}

pub(super) async fn commit_refused(s: &mut Session) -> Judged {
    let mut draft = s.draft(&[s.create("refused", 0)?])?;
    draft.request.base_digest = Digest::of(b"a state that never was");
    s.prepare(&draft)
        .await?
        .want(&[409], "a base that is not the state's digest")?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "commit", fence).await?;
    answer.want(
        &[404, 409],
        "the commit of a changeset whose prepare was refused",
    )?;
    s.shows("after it").await?;
    Ok(None)
}

/// Stages a changeset and aborts it.
async fn dropped(s: &mut Session, word: &str) -> Result<Draft, Miss> {
    let draft = s.draft(&[s.create(word, 0)?])?;
    s.stage(&draft).await?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "abort", fence).await?;
    let answer = answer.want(&[200], "the abort of a staged changeset")?;
    let outcome: OutcomeAnswer = answer.json("{digest, revision}")?;
    if outcome.digest != s.state.digest() {
        let expected = format!(
            "the abort to answer the state's digest, {}",
            s.state.digest()
        );
        return Err(failed(expected, outcome.digest.to_string()));
    }
    Ok(draft)
}

pub(super) async fn abort_drops(s: &mut Session) -> Judged {
    let draft = dropped(s, "dropped").await?;
    s.shows("after an abort").await?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "commit", fence).await?;
    s.refusal(
        answer,
        409,
        Code::Aborted,
        "the commit of an aborted changeset",
    )?;
    s.shows("after the commit of an aborted changeset").await?;
    Ok(None)
}

pub(super) async fn abort_repeats(s: &mut Session) -> Judged {
    let draft = dropped(s, "dropped-twice").await?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "abort", fence).await?;
    answer.want(&[200], "a repeated abort")?;
    s.shows("after a repeated abort").await?;
    Ok(None)
}

pub(super) async fn abort_unknown(s: &mut Session) -> Judged {
    let (id, fence) = (s.new_id()?, s.fence);
    let answer = s.end(&id, "abort", fence).await?;
    answer.want(&[200], "the abort of a changeset never seen")?;
    Ok(None)
}

pub(super) async fn late_prepare(s: &mut Session) -> Judged {
    let draft = dropped(s, "late").await?;
    let answer = s.prepare(&draft).await?;
    s.refusal(
        answer,
        409,
        Code::Aborted,
        "a prepare of what was staged and aborted",
    )?;
    let draft = s.draft(&[s.create("later", 0)?])?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "abort", fence).await?;
    answer.want(&[200], "the abort of a changeset never seen")?;
    let answer = s.prepare(&draft).await?;
    s.refusal(
        answer,
        409,
        Code::Aborted,
        "a prepare that arrives after its abort",
    )?;
    s.shows("after late prepares").await?;
    Ok(None)
}

pub(super) async fn abort_committed(s: &mut Session) -> Judged {
    let draft = s.apply(&[s.create("kept", 0)?]).await?;
    let fence = s.fence;
    let answer = s.end(&draft.id, "abort", fence).await?;
    s.refusal(
        answer,
        409,
        Code::Committed,
        "the abort of a committed changeset",
    )?;
    s.shows("after it").await?;
    Ok(None)
}

pub(super) async fn left_as_found(s: &mut Session) -> Judged {
    let Some(baseline) = s.baseline().cloned() else {
        return Err(Miss::Skipped(
            "the state could not be read, so nothing was changed".to_owned(),
        ));
    };
    s.tidy().await;
    if let Some(why) = s.untidy.clone() {
        return Err(failed("what the test made to be removable", why));
    }
    let (_, state) = s.observe().await?;
    if state.digest() != baseline.digest() {
        return Err(failed(
            format!(
                "the digest {}, unless others have changed the system meanwhile",
                baseline.digest()
            ),
            state.digest().to_string(),
        ));
    }
    Ok(None)
}
