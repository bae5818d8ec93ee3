//! The left half of Lockstep as a library: a folder is compiled, and what it would create on empty systems is printed.
//!
//! `cargo run --example plan -- shared-config`. Nothing is asked but the files; no system is spoken to, nothing is written.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use lockstep::compile;
use lockstep::plan::Plan;
use lockstep::repo::Repo;
use lockstep::resource::Language;
use lockstep::view::{PlanView, ReportView, text};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "shared-config".into());
    let snapshot = Repo::open(Path::new(&folder))?.snapshot_work_tree()?;
    let compiled = compile::compile(&snapshot);
    // Colour goes to a terminal alone.
    let mut out = anstream::stdout().lock();
    if !compiled.report.passes() {
        let report = ReportView::new(&compiled.report, |path| snapshot.text(path));
        out.write_all(text::report(&report, Language::English).as_bytes())?;
        return Ok(ExitCode::FAILURE);
    }
    let mut plan = Plan::between(None, &compiled.bundle);
    compile::fill_lines(&mut plan, (&snapshot, &compiled), None);
    let view = PlanView::new(&plan, &compiled.bundle.kinds, Language::English);
    out.write_all(text::plan(&view).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
