//! What a system says about its state.

use std::collections::BTreeSet;

use super::session::Session;
use super::wire::Ask;
use super::{Judged, Miss, failed};
use crate::ids::{Digest, Revision};
use crate::state::{BUCKETS, State};
use crate::system_api::StateAnswer;

pub(super) async fn state_shape(s: &mut Session) -> Judged {
    s.observe().await?;
    Ok(None)
}

async fn announced(s: &mut Session) -> Result<(String, State), Miss> {
    let answer = s.get("/state").await?;
    let answer = answer.want(&[200], "a reading of the state")?;
    let body: StateAnswer<'_> = answer.json("{revision, digest, resources}")?;
    let announced = body.digest.to_string();
    let mut items = Vec::new();
    for resource in body.resources {
        let item = resource.into_item();
        items.push(item.map_err(|e| failed("a kind and a name", e.to_string()))?);
    }
    Ok((announced, items.into_iter().collect()))
}

pub(super) async fn state_digest(s: &mut Session) -> Judged {
    let (announced, state) = announced(s).await?;
    let computed = state.digest().to_string();
    if announced == computed {
        return Ok(None);
    }
    let expected = format!("{computed}, which its {} resources give", state.len());
    Err(failed(expected, format!("the digest {announced}")))
}

pub(super) async fn bucket_digests(s: &mut Session) -> Judged {
    let (revision, state) = s.observe().await?;
    let digests = s.digests().await?;
    if digests.buckets.len() != BUCKETS {
        let came = digests.buckets.len().to_string();
        return Err(failed("256 bucket digests", came));
    }
    let computed = state.bucket_digests();
    let wrong = computed
        .iter()
        .zip(&digests.buckets)
        .position(|(a, b)| a != b);
    if let Some(index) = wrong {
        let digest = |of: &[Digest]| of.get(index).map(|d| d.to_string());
        return Err(failed(
            format!(
                "bucket {index:02x} to have the digest {}, which its resources give",
                digest(&computed).unwrap_or_default()
            ),
            digest(&digests.buckets).unwrap_or_default(),
        ));
    }
    let given = crate::state::state_digest(digests.buckets.iter().copied());
    if digests.digest != given {
        let expected = format!("the digest {given}, which the buckets give");
        return Err(failed(expected, digests.digest.to_string()));
    }
    if digests.revision != revision {
        let told = |r: Option<Revision>| r.map_or("null".to_owned(), |r| r.to_string());
        let expected = format!("the revision of /state, {}", told(revision));
        return Err(failed(expected, told(digests.revision)));
    }
    Ok(None)
}

const PATHS: [&str; 2] = ["/state", "/state/digests"];

pub(super) async fn etag(s: &mut Session) -> Judged {
    for path in PATHS {
        let answer = s.get(path).await?.want(&[200], "a reading")?;
        let expected = format!("\"{}\"", s.state.digest());
        match answer.tag() {
            Some(tag) if tag == expected => {}
            Some(tag) => return Err(failed(format!("ETag: {expected} on {path}"), tag)),
            None => return Err(failed(format!("ETag: {expected} on {path}"), "no ETag")),
        }
    }
    Ok(None)
}

pub(super) async fn not_modified(s: &mut Session) -> Judged {
    let before = s.state.digest();
    for path in PATHS {
        let known = |tag: String| Ask {
            known: Some(tag),
            ..Ask::get(path)
        };
        let answer = s.ask(known(format!("\"{before}\""))).await?;
        let answer = answer.want(&[304], "If-None-Match with the state's digest")?;
        if !answer.body.is_empty() {
            let came = format!("{} bytes", answer.body.len());
            return Err(failed(format!("no body with 304 to {path}"), came));
        }
        let other = format!("\"{}\"", Digest::of(b"another state"));
        let answer = s.ask(known(other)).await?;
        answer.want(&[200], "If-None-Match with another digest")?;
    }
    let step = s.create("moved", 0)?;
    s.apply(&[step]).await?;
    for path in PATHS {
        let ask = Ask {
            known: Some(format!("\"{before}\"")),
            ..Ask::get(path)
        };
        let answer = s.ask(ask).await?;
        answer.want(&[200], "If-None-Match with the digest from before a change")?;
    }
    etag(s).await
}

pub(super) async fn buckets(s: &mut Session) -> Judged {
    let mut steps = Vec::new();
    for n in 0..12 {
        steps.push(s.create(&format!("bucket-{n}"), n)?);
    }
    s.apply(&steps).await?;
    let filled: Vec<u8> = steps.iter().map(|step| step.id.bucket()).collect();
    let filled: BTreeSet<u8> = filled.into_iter().collect();
    let empty = (0..=255).find(|index| {
        let bucket = s.state.buckets().get(usize::from(*index));
        bucket.is_some_and(|b| b.items().is_empty())
    });
    let mut asked: Vec<Vec<u8>> = Vec::new();
    asked.extend(filled.iter().take(1).map(|b| vec![*b]));
    asked.push(filled.iter().copied().collect());
    asked.extend(empty.map(|b| vec![b]));
    for wanted in asked {
        let pairs: Vec<String> = wanted.iter().map(|b| format!("bucket={b:02x}")).collect();
        let path = format!("/state?{}", pairs.join("&"));
        let answer = s.get(&path).await?.want(&[200], "a reading of buckets")?;
        let body: StateAnswer<'_> = answer.json("{revision, digest, resources}")?;
        let came: BTreeSet<String> = body
            .resources
            .iter()
            .map(|r| format!("{}/{}", r.kind, r.name))
            .collect();
        let of_bucket = |b: &u8| s.state.buckets().get(usize::from(*b));
        let expected: BTreeSet<String> = wanted
            .iter()
            .filter_map(of_bucket)
            .flat_map(|b| b.items())
            .map(|item| item.id.to_string())
            .collect();
        if came != expected {
            let missing = expected.difference(&came).count();
            let surplus = came.difference(&expected).count();
            return Err(failed(
                format!(
                    "the {} resources of these buckets from GET {path}",
                    expected.len()
                ),
                format!(
                    "{} resources: {missing} missing, {surplus} of other buckets",
                    came.len()
                ),
            ));
        }
        if body.digest != s.state.digest() {
            let expected = format!(
                "the digest of the whole state, {}, in the answer to GET {path}",
                s.state.digest()
            );
            return Err(failed(expected, body.digest.to_string()));
        }
    }
    Ok(None)
}
