//! What begins by its date is judged again when it does: the proposal was judged with what was true then, and an incident may be open by now.
//!
//! Asked are the policies of the newest merged revision, and only what they deny of a resource that begins: what they say of proposals as such (a title, an
//! author) was answered when there was one. What ends is not asked about, since nothing may keep a right from ending.

use std::collections::BTreeSet;

use super::look::Scene;
use super::{Engine, EngineError};
use crate::ids::ResourceRef;
use crate::plan::Plan;
use crate::plan::safety::Breach;
use crate::policy::input::{PolicyInput, ProposalFacts};
use crate::resource::Direction;

/// Who proposes what a date does.
const AUTHOR: &str = "lockstep";

impl Engine {
    /// What the policies deny of what begins in a plan.
    pub(super) async fn denied(
        &self,
        scene: &Scene,
        plan: &Plan,
    ) -> Result<Vec<Breach>, EngineError> {
        let turned = scene.turned.iter().map(|o| &o.resource.item.id);
        let turned: BTreeSet<&ResourceRef> = turned.collect();
        let mut begun = plan.clone();
        for share in begun.systems.values_mut() {
            share
                .changes
                .retain(|c| c.direction == Direction::Widening && turned.contains(&c.id));
        }
        if begun.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let facts = ProposalFacts {
            number: 0,
            title: String::new(),
            author: AUTHOR.to_owned(),
            labels: Vec::new(),
            base: scene.revision.clone(),
            head: scene.revision.clone(),
            opened_at: now,
            approvals: Vec::new(),
            files: Vec::new(),
        };
        let bundle = scene.bundle.clone();
        let (verdict, begun) = self
            .with_source(move |source| {
                let config = &bundle.config;
                let input = PolicyInput::new(facts, &begun, Some(&bundle), &bundle, config, now);
                Ok((source.policies().judge(&input), begun))
            })
            .await?;
        let mut breaches = Vec::new();
        for (system, share) in &begun.systems {
            for change in &share.changes {
                let about = |resource: &Option<String>| {
                    let named = resource.as_deref();
                    // A policy that can't answer denies.
                    named == Some(change.id.as_str()) || !verdict.is_complete() && named.is_none()
                };
                let denials = verdict.denials.iter().filter(|m| about(&m.resource));
                breaches.extend(denials.map(|m| {
                    let japanese = m.msg_ja.as_ref().unwrap_or(&m.msg);
                    Breach::denied(system, share, change, (&m.msg, japanese))
                }));
            }
        }
        Ok(breaches)
    }
}
