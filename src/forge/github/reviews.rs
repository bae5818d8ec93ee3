//! Reviews: GitHub's own, with what it has no place for (the plan's digest, a signature) hidden in their text.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, Repeat};
use super::pulls::revision;
use super::wire;
use crate::forge::{ForgeError, Review, ReviewKind};
use crate::ids::PlanDigest;

/// In hexadecimal digits, since a comment in HTML may not hold just anything.
const OPENS: &str = "<!-- lockstep-review ";
const ENDS: &str = " -->";

/// What a review says beyond what GitHub keeps of it.
#[derive(Serialize, Deserialize)]
struct Beyond {
    plan: Option<PlanDigest>,
    at: Timestamp,
    message: String,
    signature: Option<String>,
}

/// The reviews of a pull request in the order in which they were given. Those that are not sent yet say nothing.
pub(super) async fn list(api: &Api, number: u64) -> Result<Vec<Review>, ForgeError> {
    let path = api.of(&format!("pulls/{number}/reviews?per_page=100"));
    let reviews = api
        .pages(&path, |page: Vec<wire::Review>| page, |review| review.id)
        .await?;
    Ok(reviews.into_iter().filter_map(read).collect())
}

fn read(review: wire::Review) -> Option<Review> {
    let kind = match review.state.as_str() {
        "APPROVED" => ReviewKind::Approve,
        "CHANGES_REQUESTED" => ReviewKind::RequestChanges,
        "COMMENTED" => ReviewKind::Comment,
        // Of whichever kind it was: it does not count any more, nor does what the person said before it.
        "DISMISSED" => ReviewKind::Withdraw,
        _ => return None,
    };
    let body = review.body.unwrap_or_default();
    let (text, beyond) = split(&body);
    let mut given = Review {
        user: review.user?.login,
        kind,
        // A review whose commit is gone approves nothing that is there.
        commit: revision(&review.commit_id?).ok()?,
        plan: None,
        at: review.submitted_at?,
        message: text.to_owned(),
        signature: None,
    };
    // Only what its author signed is taken from the text: others can edit it.
    if let Some(beyond) = beyond.filter(|b| b.signature.is_some()) {
        given.plan = beyond.plan;
        given.at = beyond.at;
        given.message = beyond.message;
        given.signature = beyond.signature;
    }
    Some(given)
}

fn split(body: &str) -> (&str, Option<Beyond>) {
    let Some((text, rest)) = body.split_once(OPENS) else {
        return (body.trim_end(), None);
    };
    let hidden = rest.split_once(ENDS).map_or("", |(hidden, _)| hidden);
    let beyond = hex::decode(hidden)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    (text.trim_end(), beyond)
}

/// Gives a review by the token's owner.
pub(super) async fn give(api: &Api, number: u64, review: Review) -> Result<(), ForgeError> {
    let me = api.me().await?;
    if !me.eq_ignore_ascii_case(&review.user) {
        return Err(ForgeError::Refused(format!(
            "the token under [github] is {me}'s; a review by {} takes their own token, or GitHub's page",
            review.user
        )));
    }
    let event = match review.kind {
        ReviewKind::Approve => "APPROVE",
        ReviewKind::RequestChanges => "REQUEST_CHANGES",
        ReviewKind::Comment => "COMMENT",
        ReviewKind::Withdraw => {
            let how = "take a review back on GitHub's page, by dismissing it";
            return Err(ForgeError::Refused(how.to_owned()));
        }
    };
    let beyond = Beyond {
        plan: review.plan,
        at: review.at,
        message: review.message.clone(),
        signature: review.signature,
    };
    let mut text = review.message;
    if beyond.signature.is_some() {
        let hidden = hex::encode(serde_json::to_vec(&beyond).unwrap_or_default());
        text.push_str(&format!("\n\n{OPENS}{hidden}{ENDS}"));
    }
    let path = api.of(&format!("pulls/{number}/reviews"));
    let body = json!({"commit_id": review.commit, "event": event, "body": text});
    api.write::<Value>(Method::POST, &path, &body, Repeat::Never)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Review {
        let review = json!({
            "id": 1, "user": {"login": "sato"}, "body": body, "state": "APPROVED",
            "commit_id": "1111111111111111111111111111111111111111",
            "submitted_at": "2026-01-02T03:04:05Z",
        });
        read(serde_json::from_value(review).unwrap()).unwrap()
    }

    #[test]
    fn a_signed_review_comes_back_as_it_was_signed() {
        let beyond = Beyond {
            plan: None,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            message: "よい -->".to_owned(),
            signature: Some("-----BEGIN SSH SIGNATURE-----\n".to_owned()),
        };
        let hidden = hex::encode(serde_json::to_vec(&beyond).unwrap());
        let review = of(&format!("よい -->\n\n{OPENS}{hidden}{ENDS}"));
        assert_eq!(review.message, "よい -->");
        assert_eq!(review.at, beyond.at);
        assert_eq!(review.signature, beyond.signature);
    }

    #[test]
    fn text_that_only_looks_like_it_says_nothing() {
        for body in [
            "fine",
            "fine\n\n<!-- lockstep-review zz -->",
            "fine\n\n<!-- lockstep-review 7b7d",
        ] {
            let review = of(body);
            assert_eq!(review.message, "fine");
            assert_eq!((review.plan, review.signature), (None, None));
        }
    }
}
