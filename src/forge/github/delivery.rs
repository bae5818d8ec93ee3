//! Webhook deliveries: whether one is GitHub's, and what it gives reason to look at. Nothing else in it is believed.

use octocrab::models::webhook_events::verify_signature;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// The largest delivery that GitHub sends, in bytes.
pub const LARGEST: usize = 25 << 20;

/// Whether the signature (`X-Hub-Signature-256`) is of these very bytes; compared in constant time.
pub fn is_signed(secret: &SecretString, signature: &str, body: &[u8]) -> bool {
    verify_signature(signature, secret.expose_secret(), body).is_ok()
}

/// What a delivery gives reason to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The main branch.
    Main,
    /// Open proposals.
    Proposals,
    /// What was said to Lockstep in a comment.
    Remarks,
    /// Nothing that concerns Lockstep.
    Nothing,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(default)]
    action: String,
    #[serde(default, rename = "ref")]
    reference: String,
    #[serde(default)]
    comment: Option<Comment>,
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Comment {
    #[serde(default)]
    body: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    default_branch: Option<String>,
}

/// What an event (`X-GitHub-Event`) of this content is news of. What can't be read is a reason to look at proposals, since it was GitHub
/// that signed it.
pub fn news(event: &str, body: &[u8], branch: &str) -> News {
    let payload: Payload = serde_json::from_slice(body).unwrap_or_default();
    match event {
        "push" if payload.reference == format!("refs/heads/{branch}") => News::Main,
        "push" => News::Nothing,
        // What was merged is a push to main as well.
        "pull_request" if payload.action == "closed" => News::Main,
        "pull_request" | "pull_request_review" | "merge_group" => News::Proposals,
        "issue_comment" => {
            let said = payload.comment.and_then(|c| c.body).unwrap_or_default();
            if said.trim_start().starts_with("/lockstep") {
                News::Remarks
            } else {
                News::Nothing
            }
        }
        "repository"
            if payload
                .repository
                .is_some_and(|r| r.default_branch.is_some()) =>
        {
            News::Main
        }
        _ => News::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_signature_is_accepted_and_no_other() {
        let secret = SecretString::from("It's a Secret to Everybody");
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_signed(&secret, signature, b"Hello, World!"));
        assert!(!is_signed(&secret, signature, b"Hello, World"));
        assert!(!is_signed(&secret, &signature[..70], b"Hello, World!"));
        assert!(!is_signed(&secret, "sha1=757107", b"Hello, World!"));
        assert!(!is_signed(&secret, "", b""));
        assert!(!is_signed(
            &SecretString::from("other"),
            signature,
            b"Hello, World!"
        ));
    }

    #[test]
    fn what_is_not_known_is_no_news() {
        assert_eq!(news("star", b"{}", "main"), News::Nothing);
        assert_eq!(
            news("push", br#"{"ref":"refs/heads/x"}"#, "main"),
            News::Nothing
        );
        assert_eq!(
            news("push", br#"{"ref":"refs/heads/main"}"#, "main"),
            News::Main
        );
        assert_eq!(news("pull_request", b"not json", "main"), News::Proposals);
        let said = br#"{"comment":{"body":" /lockstep plan"}}"#;
        assert_eq!(news("issue_comment", said, "main"), News::Remarks);
        assert_eq!(
            news("issue_comment", br#"{"comment":{"body":null}}"#, "main"),
            News::Nothing
        );
    }
}
