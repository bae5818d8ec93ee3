//! What the policies say, put beside the lines it is about: for annotations and SARIF, which know nothing but findings.

use std::borrow::Cow;

use super::report::whole_line;
use super::{FindingView, GateView, MessageView, Place, ReportView};
use crate::finding::Severity;
use crate::ids::DocPath;
use crate::plan::Op;

/// Where a message stands that is about no document.
const CONFIG: &str = "lockstep.yaml";

impl GateView {
    /// The findings, and the denials and warnings as further ones. `sources` gives the text after the merge.
    pub fn judged<'a>(&self, sources: impl Fn(&DocPath) -> Option<&'a str>) -> ReportView {
        let mut findings = self.report.findings.clone();
        let messages = [
            (&self.verdict.denials, Severity::Error, "policy/denied"),
            (&self.verdict.warnings, Severity::Warning, "policy/warned"),
        ];
        for (messages, severity, otherwise) in messages {
            let place = |m| self.finding(m, severity, otherwise, &sources);
            findings.extend(messages.iter().filter_map(place));
        }
        let key = |f: &FindingView| (f.path.clone(), f.place.map(|p| (p.line, p.column)));
        findings.sort_by(|a, b| (key(a), &a.rule, &a.message).cmp(&(key(b), &b.rule, &b.message)));
        ReportView { findings }
    }

    fn finding<'a>(
        &self,
        message: &MessageView,
        severity: Severity,
        otherwise: &'static str,
        sources: &impl Fn(&DocPath) -> Option<&'a str>,
    ) -> Option<FindingView> {
        let MessageView {
            msg,
            code,
            resource,
        } = message;
        let changes = &self.plan.changes;
        let about = resource.as_ref().and_then(|resource| {
            changes.iter().find(|c| {
                resource
                    .strip_prefix(&*c.kind)
                    .and_then(|r| r.strip_prefix('/'))
                    == Some(&*c.name)
            })
        });
        // What is about no one change stands at the top of the first document that changes.
        let first = || changes.iter().find_map(|c| c.origin.as_ref());
        let origin = about.map_or_else(first, |change| change.origin.as_ref());
        let path = match origin {
            Some(origin) => origin.document.clone(),
            None => CONFIG.parse().ok()?,
        };
        // The line of a delete is one of the base, which the head no longer has.
        let line = about
            .filter(|change| change.op != Op::Delete)
            .and_then(|change| change.origin.as_ref()?.line);
        let found = line.map(|line| {
            let source = sources(&path).map(|t| t.strip_prefix('\u{feff}').unwrap_or(t));
            let bare = Place {
                line,
                column: 1,
                end: None,
            };
            source
                .and_then(|text| whole_line(text, line))
                .unwrap_or((bare, None))
        });
        let (place, excerpt) =
            found.map_or((None, None), |(place, excerpt)| (Some(place), excerpt));
        let rule = code.clone().map_or(Cow::Borrowed(otherwise), Cow::Owned);
        Some(FindingView {
            rule,
            severity,
            path,
            place,
            message: msg.clone(),
            hint: None,
            excerpt,
        })
    }
}
