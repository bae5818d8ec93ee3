//! Commit statuses: in full in our own notes, and for git-appraise as far as it knows them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Local;
use super::appraise::{self, CI, Ci, go_json, seconds, stamp};
use super::record::{self, STATUSES, StatusLine};
use crate::forge::{DESCRIPTION_CHARS, ForgeError, Status, StatusState};
use crate::ids::Revision;

impl Local {
    /// The newest status of each context, by context.
    pub(super) fn statuses(&self, commit: &Revision) -> Result<Vec<Status>, ForgeError> {
        let lines = self.repo.read_notes(STATUSES, commit)?;
        let mut newest = BTreeMap::new();
        for line in record::read::<StatusLine>(&lines) {
            newest.insert(line.context.clone(), line);
        }
        Ok(newest
            .into_values()
            .map(|line| Status {
                context: line.context,
                state: line.state,
                description: line.description,
                at: line.at,
            })
            .collect())
    }

    /// Sets statuses, in one note for all of them. One that says what is said already writes nothing.
    pub(super) fn set_statuses(
        &self,
        commit: &Revision,
        statuses: Vec<Status>,
    ) -> Result<(), ForgeError> {
        if statuses.iter().any(|s| s.context.trim().is_empty()) {
            return Err(ForgeError::Refused("a status needs a context".into()));
        }
        self.repo.commit(commit)?;
        let statuses: Vec<Status> = statuses
            .into_iter()
            .map(|status| Status {
                context: one_line(&status.context),
                description: shortened(&status.description),
                ..status
            })
            .collect();
        let Some(at) = statuses.iter().map(|s| s.at).max() else {
            return Ok(());
        };
        // The lines with less in them first: killed in between, the same call writes what is missing.
        self.set_ci(commit, &statuses, at)?;
        self.repo
            .update_note::<ForgeError>(STATUSES, commit, at, &mut |lines| {
                let mut lines = record::read::<StatusLine>(lines);
                let mut added = Vec::new();
                for status in &statuses {
                    let last = lines
                        .iter()
                        .rev()
                        .find(|line| line.context == status.context);
                    if last.is_some_and(|line| {
                        line.state == status.state && line.description == status.description
                    }) {
                        continue;
                    }
                    let line = StatusLine {
                        timestamp: stamp(status.at.as_second()),
                        sequence: record::next(&lines),
                        context: status.context.clone(),
                        state: status.state,
                        description: status.description.clone(),
                        at: status.at,
                        v: 0,
                    };
                    added.extend(record::write(&line));
                    lines.push(line);
                }
                Ok(added)
            })?;
        Ok(())
    }

    fn set_ci(
        &self,
        commit: &Revision,
        statuses: &[Status],
        at: Timestamp,
    ) -> Result<(), ForgeError> {
        let decided: Vec<(&Status, &str)> = statuses
            .iter()
            .filter_map(|s| Some((s, appraise_word(s.state)?)))
            .collect();
        if decided.is_empty() {
            return Ok(());
        }
        self.repo
            .update_note::<ForgeError>(CI, commit, at, &mut |lines| {
                let all = appraise::read::<Ci>(lines);
                let mut added = Vec::new();
                for (status, word) in &decided {
                    let last = all.iter().rev().find(|line| line.agent == status.context);
                    if last.is_some_and(|line| line.status == *word) {
                        continue;
                    }
                    // The latest timestamp wins there, so a second result within one second is dated to the next.
                    let after = last.map_or(0, |line| seconds(&line.timestamp).saturating_add(1));
                    let line = Ci {
                        timestamp: stamp(status.at.as_second().max(after)),
                        status: (*word).to_owned(),
                        agent: status.context.clone(),
                        ..Ci::default()
                    };
                    added.extend(go_json(&line));
                }
                Ok(added)
            })?;
        Ok(())
    }
}

/// git-appraise's word for a state; it has none for one that is not decided.
fn appraise_word(state: StatusState) -> Option<&'static str> {
    match state {
        StatusState::Pending => None,
        StatusState::Success => Some("success"),
        StatusState::Failure | StatusState::Error => Some("failure"),
    }
}

/// Without line breaks and other control characters, which would break what shows it.
pub(super) fn one_line(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most as long as a status may be, with `…` where something was cut off.
fn shortened(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() <= DESCRIPTION_CHARS {
        return line;
    }
    let mut short: String = line.chars().take(DESCRIPTION_CHARS - 1).collect();
    short.push('…');
    short
}
