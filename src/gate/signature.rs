//! Signatures under approvals: what is signed, and whether a signature is a person's own.
//!
//! The signed text is one canonical JSON object (RFC 8785) that says all of what the approval says and which proposal it is on, so that a
//! signature fits nothing else: no other proposal, commit, plan, person or day. It is signed as `ssh-keygen -Y sign -n lockstep` does,
//! so that any tool can make one and check one.

use serde_json::json;
use ssh_key::{PublicKey, SshSig};

use crate::forge::Review;
use crate::resource::Language;

/// The namespace of SSH signatures made for Lockstep.
pub const NAMESPACE: &str = "lockstep";

/// The form of the signed text. A text of another form is another text, so old signatures stay what they were.
const FORM: &str = "lockstep review 1";

/// Why a signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureFault {
    /// The key under `people:` can't be used.
    NoKey,
    /// It is no SSH signature, or for another namespace.
    Unreadable,
    /// Made with another key than the one under `people:`.
    OtherKey,
    /// Made with the right key, over something else.
    OtherText,
}

impl SignatureFault {
    /// Why an approval with it does not count.
    pub(super) fn say(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::NoKey, Language::English) => {
                "the key under people: can't be read, so nothing signed with it can be verified"
            }
            (Self::NoKey, Language::Japanese) => {
                "people: の鍵が読めないため、署名を確かめられません"
            }
            (Self::Unreadable, Language::English) => {
                "its signature is no SSH signature in the namespace lockstep"
            }
            (Self::Unreadable, Language::Japanese) => {
                "署名が名前空間 lockstep の SSH 署名ではありません"
            }
            (Self::OtherKey, Language::English) => {
                "signed with another key than the one under people:"
            }
            (Self::OtherKey, Language::Japanese) => "people: とは別の鍵で署名されています",
            (Self::OtherText, Language::English) => {
                "its signature is over something else: another proposal, commit, plan or text"
            }
            (Self::OtherText, Language::Japanese) => {
                "署名された内容がこの承認と違います（提案、コミット、計画、文面のいずれか）"
            }
        }
    }
}

/// What the author of a review signs.
pub fn signed_text(proposal: u64, review: &Review) -> String {
    let Review {
        user,
        kind,
        commit,
        plan,
        at,
        message,
        signature: _,
    } = review;
    let said = json!({
        "form": FORM,
        "proposal": proposal,
        "user": user,
        "kind": kind,
        "commit": commit,
        "plan": plan,
        "at": at,
        "message": message,
    });
    // Sorted, and without anything that two libraries could write in two ways.
    serde_json_canonicalizer::to_string(&said).unwrap_or_else(|_| said.to_string())
}

/// Whether a signature over a review is by this key.
pub(super) fn verify(
    key: &str,
    proposal: u64,
    review: &Review,
    signature: &str,
) -> Result<(), SignatureFault> {
    let key = PublicKey::from_openssh(key).map_err(|_| SignatureFault::NoKey)?;
    let signature =
        SshSig::from_pem(signature.trim_ascii()).map_err(|_| SignatureFault::Unreadable)?;
    if signature.namespace() != NAMESPACE {
        return Err(SignatureFault::Unreadable);
    }
    if signature.public_key() != key.key_data() {
        return Err(SignatureFault::OtherKey);
    }
    key.verify(
        NAMESPACE,
        signed_text(proposal, review).as_bytes(),
        &signature,
    )
    .map_err(|_| SignatureFault::OtherText)
}

#[cfg(test)]
mod tests;
