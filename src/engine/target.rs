//! What a group is to be held to: the newest merged revision, or the last good one while that can't be applied; and for which moment.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::group::{Memory, Pass};
use super::{Engine, EngineError, dates};
use crate::forge::Logins;
use crate::ids::{Fence, Revision};
use crate::plan::safety::LOST;
use crate::resource::Bundle;
use crate::resource::dating::Occasion;

/// What a group is to be held to.
pub(super) struct Target {
    pub(super) fence: Fence,
    pub(super) revision: Revision,
    pub(super) bundle: Arc<Bundle>,
    pub(super) good: Option<Revision>,
    /// The last good revision can't be read any more.
    pub(super) is_good_lost: bool,
    /// Why it is the last good revision: the newest can't be applied.
    pub(super) instead_of_newest: Option<String>,
    /// The moment for which it is asked what the systems should have.
    pub(super) at: Timestamp,
    /// What has begun or ended by its date since the group was last in step.
    pub(super) turned: Vec<Occasion>,
}

/// How long bringing main here may keep a group waiting.
const FETCH: Duration = Duration::from_secs(20);

impl Engine {
    /// Why nothing is done: main here is older than what the group was applied at, by another replica with a newer copy of the forge's. Where
    /// main has really gone back, that is so after it was brought here too.
    async fn is_behind(
        &self,
        head: &Revision,
        good: &Revision,
        memory: &mut Memory,
    ) -> Result<Option<String>, EngineError> {
        if self.forge.logins() == Logins::Own || head == good {
            return Ok(None);
        }
        let is_older = !self.is_there(good).await? || self.contains(good, head).await?;
        if !is_older || memory.brought.as_ref() == Some(head) {
            return Ok(None);
        }
        let brought = match tokio::time::timeout(FETCH, self.forge.fetch()).await {
            Ok(Ok(())) => {
                memory.brought = Some(head.clone());
                "it was brought here and is looked at again".to_owned()
            }
            Ok(Err(error)) => format!("it can't be brought here: {error}"),
            Err(_) => "the forge does not answer".to_owned(),
        };
        Ok(Some(format!(
            "main here is at {}, older than {}, which the group is at: {brought}",
            head.short(),
            good.short()
        )))
    }

    /// What the group is to be held to now, or why nothing can be done.
    pub(super) async fn target(
        &self,
        pass: &Pass<'_>,
        fence: Fence,
        memory: &mut Memory,
    ) -> Result<Result<Target, String>, EngineError> {
        // Read after what was left open has been ended: that may have made a revision good, or failed.
        let state = self.store.group_state(pass.name).await?;
        if let Some(good) = &state.good
            && let Some(why) = self.is_behind(&pass.head.revision, good, memory).await?
        {
            return Ok(Err(why));
        }
        let failed = state.failed.filter(|f| f.revision == pass.head.revision);
        let why = pass.head.broken.clone().or(failed.map(|f| f.why));
        let is_good_lost = match &state.good {
            Some(good) if *good != pass.head.revision => !self.is_there(good).await?,
            Some(_) | None => false,
        };
        let (revision, bundle) = match (&why, &state.good) {
            (None, _) => (pass.head.revision.clone(), pass.head.bundle.clone()),
            (Some(why), Some(good)) if is_good_lost => {
                let nothing = format!(
                    "{why}; and {}, which the group is at, {LOST}: nothing is done before it is fetched back, or a revision is \
                     merged that can be applied",
                    good.short()
                );
                return Ok(Err(nothing));
            }
            (Some(why), Some(good)) => match self.sound_bundle_of(good).await? {
                Ok(bundle) => (good.clone(), bundle),
                Err(fault) => {
                    let nothing = format!(
                        "{why}; and what the group is at can't be applied either: {fault}: nothing is done before a revision is merged \
                         that can"
                    );
                    return Ok(Err(nothing));
                }
            },
            (Some(why), None) => return Ok(Err(why.clone())),
        };
        let at = dates::moment(self.clock.now(), memory.carried);
        let good = state.good.as_ref().filter(|_| !is_good_lost);
        let turned = self
            .turned(pass, good, (&revision, &bundle), at, memory)
            .await?;
        Ok(Ok(Target {
            fence,
            revision,
            bundle,
            good: state.good,
            is_good_lost,
            instead_of_newest: why,
            at,
            turned,
        }))
    }
}
