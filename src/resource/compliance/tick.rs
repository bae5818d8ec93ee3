//! Writing a tick back: the one thing of a checklist that is more than words.

use serde_json::Value;

use super::{ComplianceForm, ITEM};
use crate::resource::form::{Context, Form as _, NotWritten, Rewrite, Source};

const OPEN: &str = "[ ]";
const DONE: [&str; 2] = ["[x]", "[X]"];

pub(super) fn rewrite(
    form: &ComplianceForm,
    source: Source<'_>,
    context: Context<'_>,
    rewrite: &Rewrite<'_>,
) -> Result<String, NotWritten> {
    let (Some((before, were)), Some((wanted, systems))) = (rewrite.declared, rewrite.wanted) else {
        return Err(NotWritten::ByHand);
    };
    let done = wanted.get("done").and_then(Value::as_bool);
    let only_the_tick = rewrite.id.kind() == ITEM
        && were == systems
        && without_tick(before) == without_tick(wanted);
    let (Some(done), true) = (done, only_the_tick) else {
        return Err(NotWritten::ByHand);
    };
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    let mark = source.text.len() - text.len();
    let bare = Source {
        path: source.path,
        text,
    };
    let at = form.locate(bare, context, rewrite.id);
    let at = mark + at.ok_or(NotWritten::ByHand)?.start;
    // The box stands before the words of its line.
    let head = source.text.get(..at).unwrap_or_default();
    let start = head.rfind('\n').map_or(0, |at| at + 1);
    let line = source.text.get(start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default();
    let (from, to) = if done {
        (&[OPEN][..], "[x]")
    } else {
        (&DONE[..], OPEN)
    };
    let found = from.iter().filter_map(|b| line.find(b)).min();
    let found = start + found.ok_or(NotWritten::ByHand)?;
    let mut out = source.text.to_owned();
    out.replace_range(found..found + to.len(), to);
    Ok(out)
}

fn without_tick(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("done");
    }
    spec
}
