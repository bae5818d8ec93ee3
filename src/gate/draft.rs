//! Giving a review: first what it binds, then, where the person has a key, their signature over that, then it is recorded.

use super::{Gate, GateError, Refusal, member, open_only, signature};
use crate::forge::{Review, ReviewKind};

/// A review that is not given yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    number: u64,
    review: Review,
    key: Option<String>,
}

impl Draft {
    /// The SSH key that must sign it, where it must be signed.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What there is to sign.
    pub fn text(&self) -> String {
        signature::signed_text(self.number, &self.review)
    }

    /// The same with a signature, as `ssh-keygen -Y sign` writes it.
    #[must_use]
    pub fn signed(mut self, signature: String) -> Self {
        self.review.signature = Some(signature);
        self
    }
}

impl Gate {
    /// Prepares a review, bound to the head and to what the proposal does now.
    pub async fn draft(
        &self,
        number: u64,
        user: &str,
        kind: ReviewKind,
        message: &str,
    ) -> Result<Draft, GateError> {
        let judgement = self.judge(number).await?;
        open_only(&judgement.proposal)?;
        let config = &judgement.base.bundle.config;
        let person = member(config, user, self.forge.logins())?;
        if kind == ReviewKind::Approve && judgement.authors.contains(person) {
            return Err(GateError::Refused(Refusal::OwnProposal));
        }
        let key = match kind {
            ReviewKind::Approve => config
                .people
                .get(person)
                .and_then(|p| p.signing_key.clone()),
            ReviewKind::RequestChanges | ReviewKind::Comment | ReviewKind::Withdraw => None,
        };
        let review = Review {
            user: user.to_owned(),
            kind,
            commit: judgement.proposal.head.clone(),
            plan: Some(judgement.scope),
            at: self.clock.now(),
            message: message.to_owned(),
            signature: None,
        };
        Ok(Draft {
            number,
            review,
            key,
        })
    }

    /// Records a review. One that would not count for its signature is refused, so that nobody goes away thinking they approved.
    pub async fn give(&self, draft: Draft) -> Result<(), GateError> {
        let Draft {
            number,
            review,
            key,
        } = draft;
        if let Some(key) = key {
            let user = review.user.clone();
            let Some(signature) = &review.signature else {
                return Err(GateError::Refused(Refusal::Unsigned { number, user }));
            };
            if let Err(fault) = signature::verify(&key, number, &review, signature) {
                return Err(GateError::Refused(Refusal::BadSignature { user, fault }));
            }
        }
        Ok(self.forge.review(number, review).await?)
    }

    /// Takes a review by someone who signs nothing.
    pub async fn review(
        &self,
        number: u64,
        user: &str,
        kind: ReviewKind,
        message: &str,
    ) -> Result<(), GateError> {
        let draft = self.draft(number, user, kind, message).await?;
        self.give(draft).await
    }
}
