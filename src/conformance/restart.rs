//! What a system still knows after it was restarted.

use std::time::Duration;

use super::session::Session;
use super::{Judged, Miss, failed};
use crate::system_api::Code;

/// How often a system that is starting is asked, and how long apart.
const TRIES: u32 = 240;
const APART: Duration = Duration::from_millis(250);

pub(super) async fn restart(s: &mut Session) -> Judged {
    let Some(restart) = s.restart.clone() else {
        return Err(Miss::Skipped(
            "no way to restart the system was given; give one with --restart-command".to_owned(),
        ));
    };
    let older = s.older_fence()?;
    let committed = s.draft(&[s.create("restart-committed", 0)?])?;
    s.stage(&committed).await?;
    let outcome = s.commit(&committed).await?;
    let aborted = s.draft(&[s.create("restart-aborted", 0)?])?;
    s.stage(&aborted).await?;
    let fence = s.fence;
    s.end(&aborted.id, "abort", fence)
        .await?
        .want(&[200], "an abort")?;
    let staged = s.draft(&[s.create("restart-staged", 0)?])?;
    s.stage(&staged).await?;

    restart()
        .await
        .map_err(|error| failed("the restart command to succeed", error))?;
    back(s).await?;

    s.shows("after the restart").await?;
    let answer = s.end(&staged.id, "commit", older).await?;
    s.refusal(
        answer,
        412,
        Code::OlderFence,
        "a commit under an older fence after the restart",
    )?;
    let answer = s.prepare(&aborted).await?;
    s.refusal(
        answer,
        409,
        Code::Aborted,
        "a prepare of what was aborted before the restart",
    )?;
    let answer = s.prepare(&staged).await?;
    answer.want(
        &[200],
        "a repeated prepare of what was staged before the restart",
    )?;
    let answer = s.end(&committed.id, "commit", fence).await?;
    let answer = answer.want(
        &[200],
        "a repeated commit of what was committed before the restart",
    )?;
    let again: crate::system_api::OutcomeAnswer = answer.json("{digest, revision}")?;
    if again != outcome {
        let expected = format!("the answer from before the restart, {}", outcome.digest);
        return Err(failed(expected, again.digest.to_string()));
    }
    s.commit(&staged).await?;
    s.shows("after the commit of what was staged before the restart")
        .await?;
    Ok(None)
}

/// Waits until the system answers again.
async fn back(s: &mut Session) -> Result<(), Miss> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match s.get("/state/digests").await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) => last = answer.told(),
            Err(Miss::Failed { came, .. }) => last = came,
            Err(Miss::Skipped(why)) => last = why,
        }
        tokio::time::sleep(APART).await;
    }
    Err(failed(
        "the system to be back within a minute of the restart",
        last,
    ))
}
