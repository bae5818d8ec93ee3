//! A report for people.

use super::{Line, Report, Verdict};

/// A line a behaviour, what is wrong beneath it, and the counts at the end.
pub fn text(report: &Report) -> String {
    let width = report
        .behaviours
        .iter()
        .map(|line| line.behaviour.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for Line {
        behaviour,
        rule,
        verdict,
    } in &report.behaviours
    {
        let (word, note) = match verdict {
            Verdict::Ok { note } => ("ok", note.clone().unwrap_or_default()),
            Verdict::Failed { .. } => ("FAILED", String::new()),
            Verdict::Skipped { why } => ("skipped", why.clone()),
        };
        text.push_str(format!("{behaviour:width$}  {word:7}  {note}").trim_end());
        text.push('\n');
        if let Verdict::Failed { expected, came } = verdict {
            text.push_str(&format!(
                "    rule      {rule}\n    expected  {expected}\n    came      {came}\n"
            ));
        }
    }
    let Report {
        url,
        ok,
        failed,
        skipped,
        fence,
        digest: _,
        behaviours: _,
    } = report;
    text.push_str(&format!(
        "\n{url}: {ok} ok, {failed} FAILED, {skipped} skipped; the highest fence it has seen is {}\n",
        fence.0
    ));
    text
}
