//! The system's own audit feed.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::session::Session;
use super::{Judged, Miss, failed};
use crate::ids::ChangesetId;
use crate::plan::Op;
use crate::system_api::{AuditAnswer, AuditEvent, op_word};

/// How far the system's clock may be from ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// More pages than any test makes: a feed that does not end is a fault.
const PAGES: usize = 100_000;

/// Reads the feed from a time on, to its end.
async fn walk(
    s: &mut Session,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<Vec<AuditEvent>, Miss> {
    let mut query = format!("/audit?from={from}");
    if let Some(until) = until {
        query.push_str(&format!("&until={until}"));
    }
    let mut events: Vec<AuditEvent> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let path = match &cursor {
            None => query.clone(),
            Some(cursor) => {
                let cursor: String =
                    url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
                format!("{query}&cursor={cursor}")
            }
        };
        let answer = s
            .get(&path)
            .await?
            .want(&[200], "a reading of the audit feed")?;
        let page: AuditAnswer = answer
            .json("{events: [{at, actor, action, kind, name, before, after, changeset}], next}")?;
        events.extend(page.events);
        let Some(next) = page.next else {
            return Ok(events);
        };
        if !seen.insert(next.clone()) {
            return Err(failed(
                "pages to end",
                format!("the cursor {next:?} a second time"),
            ));
        }
        cursor = Some(next);
    }
    Err(failed("pages to end", format!("more than {PAGES} pages")))
}

fn of<'a>(events: &'a [AuditEvent], id: &ChangesetId) -> Vec<&'a AuditEvent> {
    let own = |event: &&AuditEvent| event.changeset.as_ref() == Some(id);
    events.iter().filter(own).collect()
}

pub(super) async fn pages(s: &mut Session) -> Judged {
    let steps = [s.create("audited", 0)?, s.create("audited-too", 0)?];
    s.apply(&steps).await?;
    let steps = [s.update("audited", 1)?, s.delete("audited-too")?];
    let draft = s.apply(&steps).await?;
    let start = s.started.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
    let events = walk(s, start, None).await?;
    if let Some([a, b]) = events.array_windows::<2>().find(|[a, b]| a.at > b.at) {
        let expected = "events in the order in which they happened";
        return Err(failed(expected, format!("{} after {}", b.at, a.at)));
    }
    let own = of(&events, &draft.id);
    for (op, word) in [(Op::Update, "audited"), (Op::Delete, "audited-too")] {
        let id = s.name(word)?;
        let about: Vec<_> = own
            .iter()
            .filter(|e| e.kind == id.kind() && e.name == id.name() && e.action == op_word(op))
            .collect();
        let [event] = about.as_slice() else {
            let expected = format!(
                "one event {} {id} with the changeset {}",
                op_word(op),
                draft.id
            );
            let came = format!(
                "{} among {} events since {start}",
                about.len(),
                events.len()
            );
            return Err(failed(expected, came));
        };
        let after = (op == Op::Update).then(|| s.spec(1));
        if event.before != Some(s.spec(0)) || event.after != after {
            let expected = format!("the contents before and after in the event of {id}");
            return Err(failed(expected, "others"));
        }
    }
    if own.len() != 2 {
        let expected = "one event for each change of a changeset";
        return Err(failed(expected, format!("{} for 2 changes", own.len())));
    }
    Ok(Some(format!("{} events", events.len())))
}

pub(super) async fn window(s: &mut Session) -> Judged {
    let draft = s.apply(&[s.create("window", 0)?]).await?;
    let start = s.started.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
    let events = walk(s, start, None).await?;
    let at = match of(&events, &draft.id).as_slice() {
        [event] => event.at,
        other => {
            let expected = format!("one event with the changeset {}", draft.id);
            return Err(failed(expected, format!("{} since {start}", other.len())));
        }
    };
    let from = walk(s, at, None).await?;
    if of(&from, &draft.id).len() != 1 {
        return Err(failed(
            "from to include the event of that very time",
            "it does not",
        ));
    }
    if let Some(event) = from.iter().find(|e| e.at < at) {
        let expected = format!("no event from before {at} with from={at}");
        return Err(failed(expected, format!("one at {}", event.at)));
    }
    let until = walk(s, start, Some(at)).await?;
    if let Some(event) = until.iter().find(|e| e.at >= at) {
        let expected = format!("no event at or after {at} with until={at}");
        return Err(failed(expected, format!("one at {}", event.at)));
    }
    Ok(None)
}
