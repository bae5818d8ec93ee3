//! Time, memory and growth. Each row is measured in a process of its own, so that its peak memory is its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// What one measured process said on its standard error after [`MARK`]: figures, separated by spaces.
pub(crate) const MARK: &str = "figures:";

/// What a whole process cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cost {
    /// Milliseconds of CPU, user and system, from its start to its last breath.
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    /// What it said.
    pub(crate) figures: Vec<f64>,
    pub(crate) exit: Option<i32>,
}

/// Runs this benchmark again with other arguments and waits for its end.
pub(crate) fn run_self(words: &[String]) -> anyhow::Result<Cost> {
    let start = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    child
        .stderr
        .take()
        .context("a pipe")?
        .read_to_string(&mut said)?;
    let cpu = cpu_of_ended(child.id())?;
    let wall = millis(start.elapsed());
    let exit = child.wait()?.code();
    let figures = said.lines().find_map(|line| line.strip_prefix(MARK));
    let Some(figures) = figures else {
        anyhow::bail!("{words:?} ended without figures: {said}");
    };
    let figures = figures
        .split_whitespace()
        .map(|f| f.parse().context("a figure"))
        .collect::<anyhow::Result<_>>()?;
    Ok(Cost {
        cpu,
        wall,
        figures,
        exit,
    })
}

/// The CPU time of a process that has ended and has not been waited for: what the kernel has in nanoseconds.
fn cpu_of_ended(id: u32) -> anyhow::Result<f64> {
    loop {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        if state == Some('Z') {
            break;
        }
        thread::sleep(Duration::from_micros(200));
    }
    let times = fs::read_to_string(format!("/proc/{id}/schedstat"))?;
    let nanos: f64 = times.split_whitespace().next().context("a time")?.parse()?;
    Ok(nanos / 1e6)
}

/// The largest amount of memory that this process has held, in MiB.
pub(crate) fn peak_mib() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kib: f64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("VmHWM")?;
    Ok(kib / 1024.0)
}

/// The shortest of several runs in milliseconds: at least three, and more while half a second lasts.
pub(crate) fn shortest<T>(mut step: impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    for n in 0..2_000 {
        let (cpu, start) = (cpu_of_thread(), Instant::now());
        let made = step();
        let wall = millis(start.elapsed());
        // A short step is over before anyone can interrupt it, and asking for the CPU time would take longer than it does.
        best = best.min(match (cpu, cpu_of_thread()) {
            (Some(from), Some(to)) if wall > 1.0 => to - from,
            _ => wall,
        });
        drop(made);
        if n >= 2 && begun.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    best
}

/// Milliseconds of CPU that this thread has had. The kernel brings the figure up to date where the thread gives way, so it does.
fn cpu_of_thread() -> Option<f64> {
    thread::yield_now();
    let times = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(times.split_whitespace().next()?.parse::<f64>().ok()? / 1e6)
}

/// Milliseconds of CPU of all threads that are alive. A running thread's share is as old as its last switch, which evens out
/// over many passes.
pub(crate) fn cpu_of_threads() -> anyhow::Result<f64> {
    let mut nanos = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may end while the list is read.
        if let Ok(times) = fs::read_to_string(thread?.path().join("schedstat")) {
            let first = times.split_whitespace().next().context("a time")?;
            nanos += first.parse::<f64>()?;
        }
    }
    Ok(nanos / 1e6)
}

/// Milliseconds of CPU of all processes below this one. Threads that are alive are known to the nanosecond; where that is less than the process has had
/// in hundredths of a second, others have ended.
pub(crate) fn cpu_of_children() -> anyhow::Result<f64> {
    let mut processes: BTreeMap<u32, (u32, f64)> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while the list is read.
        if let Some(found) = parent_and_cpu(&entry.path()) {
            processes.insert(id, found);
        }
    }
    let is_below = |id: &u32| {
        let mut at = *id;
        while let Some((parent, _)) = processes.get(&at) {
            if *parent == std::process::id() {
                return true;
            }
            at = *parent;
        }
        false
    };
    let below = processes.iter().filter(|(id, _)| is_below(id));
    Ok(below.map(|(_, (_, cpu))| cpu).sum())
}

fn parent_and_cpu(process: &Path) -> Option<(u32, f64)> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
    let mut alive = 0.0;
    for thread in fs::read_dir(process.join("task")).ok()?.flatten() {
        let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanos = times.split(' ').next().and_then(|n| n.parse::<f64>().ok());
        alive += nanos.unwrap_or_default() / 1e6;
    }
    let all = (ticks(11)? + ticks(12)?) * 10.0;
    let ended = (ticks(13)? + ticks(14)?) * 10.0;
    Some((fields.get(1)?.parse().ok()?, all.max(alive) + ended))
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// How a cost grows with size between the smallest and the largest that are given: 1 is linear, 0 not at all.
pub(crate) fn exponent(points: &[(usize, f64)]) -> Option<f64> {
    let ((from, low), (to, high)) = (points.first()?, points.last()?);
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    let sizes = *to as f64 / *from as f64;
    (sizes > 1.0 && *low > 0.0).then(|| (high / low).ln() / sizes.ln())
}

/// A duration with three digits that mean something.
pub(crate) fn shown(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// Columns set flush, the first to the left.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let (left, right) = if n == 0 { (cell, &pad) } else { (&pad, cell) };
            out.push_str(left);
            out.push_str(right);
            out.push_str("  ");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}
