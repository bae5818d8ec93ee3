//! Findings at their lines, as a check run: what only a GitHub App may write.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Repeat};
use super::wire;
use crate::forge::{Annotation, ForgeError, Level};
use crate::ids::{Digest, Revision};

const NAME: &str = "lockstep/findings";

/// How many annotations one request may carry, and how many are sent at all; the comment has the rest.
const AT_ONCE: usize = 50;
const AT_MOST: usize = 500;

/// GitHub's limit for one message is 64 KB.
const MESSAGE: usize = 2_000;
const TITLE: usize = 255;

/// What the check runs of commits say, as far as this process knows.
#[derive(Default)]
pub(super) struct Known {
    commits: Mutex<BTreeMap<Revision, Digest>>,
}

impl Known {
    /// Shows findings on a commit. Nothing is sent where they are shown already, or where there never were any.
    pub(super) async fn annotate(
        &self,
        api: &Api,
        commit: &Revision,
        annotations: &[Annotation],
    ) -> Result<(), ForgeError> {
        if !api.is_app() {
            return Ok(());
        }
        let wanted = digest(annotations);
        if self.lock().get(commit) == Some(&wanted) {
            return Ok(());
        }
        let name = NAME.replace('/', "%2F");
        let path = api.of(&format!(
            "commits/{commit}/check-runs?check_name={name}&per_page=100"
        ));
        let runs: wire::CheckRuns = api.get(&path).await?;
        let newest = runs.check_runs.into_iter().max_by_key(|run| run.id);
        let shown = newest.as_ref().and_then(|run| run.external_id.clone());
        let stands = match shown {
            Some(shown) => shown == wanted.to_string(),
            None => annotations.is_empty(),
        };
        if !stands {
            write(api, commit, annotations, wanted).await?;
        }
        let mut commits = self.lock();
        commits.insert(commit.clone(), wanted);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Revision, Digest>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(annotations: &[Annotation]) -> Digest {
    let text: String = annotations.iter().map(|a| format!("{a:?}\n")).collect();
    Digest::of(text.as_bytes())
}

async fn write(
    api: &Api,
    commit: &Revision,
    annotations: &[Annotation],
    digest: Digest,
) -> Result<(), ForgeError> {
    let failed = annotations.iter().any(|a| a.level == Level::Failure);
    let shown = &annotations[..annotations.len().min(AT_MOST)];
    let summary = match (annotations.len(), annotations.len() - shown.len()) {
        (0, _) => "nothing is wrong".to_owned(),
        (found, 0) => format!("{found} findings"),
        (found, left) => format!("{found} findings; {left} are not shown at their lines"),
    };
    let output = |chunk: &[Annotation]| {
        json!({
            "title": summary,
            "summary": summary,
            "annotations": chunk.iter().map(wired).collect::<Vec<_>>(),
        })
    };
    let mut chunks = shown.chunks(AT_ONCE).peekable();
    let ended = |mut body: Value, last: bool| {
        // Only with the last of it does it say what it shows: one that was cut short is made anew.
        if let (true, Some(fields)) = (last, body.as_object_mut()) {
            let conclusion = if failed { "failure" } else { "success" };
            fields.insert("external_id".to_owned(), json!(digest));
            fields.insert("status".to_owned(), json!("completed"));
            fields.insert("conclusion".to_owned(), json!(conclusion));
        }
        body
    };
    let first = output(chunks.next().unwrap_or_default());
    let body = json!({
        "name": NAME,
        "head_sha": commit,
        "status": "in_progress",
        "output": first,
    });
    let body = ended(body, chunks.peek().is_none());
    let path = api.of("check-runs");
    let run: wire::CheckRun = api.write(Method::POST, &path, &body, Repeat::Safe).await?;
    while let Some(chunk) = chunks.next() {
        let path = api.of(&format!("check-runs/{}", run.id));
        let body = ended(json!({"output": output(chunk)}), chunks.peek().is_none());
        api.write::<Value>(Method::PATCH, &path, &body, Repeat::Never)
            .await?;
    }
    Ok(())
}

fn wired(annotation: &Annotation) -> Value {
    let line = annotation.line.max(1);
    let mut wired = json!({
        "path": annotation.path,
        "start_line": line,
        "end_line": line,
        "annotation_level": match annotation.level {
            Level::Failure => "failure",
            Level::Warning => "warning",
            Level::Notice => "notice",
        },
        "message": annotation.message.chars().take(MESSAGE).collect::<String>(),
        "title": annotation.title.chars().take(TITLE).collect::<String>(),
    });
    if let (Some(column), Some(wired)) = (annotation.column, wired.as_object_mut()) {
        wired.insert("start_column".to_owned(), column.into());
        wired.insert("end_column".to_owned(), column.into());
    }
    wired
}
