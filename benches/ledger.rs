//! The ledger at a million entries: how fast it grows, is verified and is exported, beside what `sqlite3 -csv` and PostgreSQL's `\copy` need to write
//! out the same table.
//!
//! `cargo bench --bench ledger [-- ENTRIES [small]]`. The entries are those of runs over fifty systems with a change each, as the engine writes them; or,
//! `small`, deliveries, which are the shortest that there are. Every row of figures is a whole process, measured by the kernel's account of it; a
//! server's share is that of its processes.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use lockstep::ids::{Digest, Fence, GroupName, Revision, RunId};
use lockstep::store::{Finish, NewEntry, Reach, RunRow, Store};
use serde_json::json;

#[expect(dead_code, reason = "the other benches use the rest")]
mod measure;

use measure::{millis, shown, table};

const ENTRIES: u64 = 1_000_000;
/// Systems in a run: with the entry of the whole one more.
const SYSTEMS: u64 = 50;
const RUNS: u32 = 5;

fn main() -> anyhow::Result<()> {
    let (bench, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|w| w == "--bench");
    // Started by `cargo test`, which only wants to know that it builds.
    if bench.is_empty() && words.is_empty() {
        return Ok(());
    }
    let entries = words.first().map_or(Ok(ENTRIES), |n| n.parse())?;
    let shape = match words.get(1).map(String::as_str) {
        Some("small") => Shape::Small,
        _ => Shape::Changes,
    };
    let folder = tempfile::tempdir()?;
    let repo = folder.path().join("config.git");
    run(Command::new("git")
        .args(["init", "--quiet", "--bare", "--initial-branch=main"])
        .arg(&repo))?;
    first_commit(&repo)?;
    let store = folder.path().join("store.db");
    fs::write(
        folder.path().join("lockstep.toml"),
        "store = \"store.db\"\n",
    )?;
    let grown = tokio::runtime::Runtime::new()?.block_on(grow(&store, entries, shape))?;
    println!(
        "append: {entries} entries in {} runs, {} entries a second, {} a second in transactions of one\n",
        grown.runs,
        shown(grown.rate),
        shown(grown.single)
    );
    let size = fs::metadata(&store)?.len() >> 20;
    println!("{size} MiB; least of {RUNS}\n");
    let mut rows = vec![
        ["", "cpu s", "wall s", "peak MiB", "written MiB"]
            .map(String::from)
            .to_vec(),
    ];
    let out = folder.path().join("out");
    let ours = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(words)
            .arg("--settings")
            .arg(folder.path().join("lockstep.toml"));
        command.arg("--repo").arg(&repo);
        command
    };
    let verify = || ours(&["audit", "verify"]);
    let export = || ours(&["audit", "export", "--format", "csv"]);
    let lines = || ours(&["audit", "export", "--format", "jsonl"]);
    let sqlite = || {
        let mut command = Command::new("sqlite3");
        command
            .arg("-readonly")
            .arg("-csv")
            .arg(&store)
            .arg("SELECT * FROM ledger");
        command
    };
    let measured: [(&str, &dyn Fn() -> Command); 4] = [
        ("lockstep audit verify", &verify),
        ("lockstep audit export --format csv", &export),
        ("lockstep audit export --format jsonl", &lines),
        ("sqlite3 -csv", &sqlite),
    ];
    for (name, command) in measured {
        rows.push(least(name, &out, command)?.row());
    }
    match Server::start(folder.path()) {
        Ok(server) => rows.push(copy(&server, folder.path(), &store)?.row()),
        Err(error) => println!("without PostgreSQL: {error:#}\n"),
    }
    print!("{}", table(&rows));
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let ended = command.output().with_context(|| format!("{command:?}"))?;
    anyhow::ensure!(
        ended.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(())
}

/// A config repo with nothing in it: what is measured is the ledger.
fn first_commit(repo: &Path) -> anyhow::Result<()> {
    let script = "cd \"$0\" && b=$(printf 'version: 1\\n' | git hash-object -w --stdin) && \
        t=$(printf '100644 blob %s\\tlockstep.yaml\\n' $b | git mktree) && \
        c=$(git -c user.name=x -c user.email=x@x commit-tree -m start $t) && git update-ref refs/heads/main $c";
    run(Command::new("sh").args(["-c", script]).arg(repo))
}

struct Grown {
    runs: u64,
    rate: f64,
    single: f64,
}

fn at(run: u64) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second(
        1_780_000_000 + i64::try_from(run)? * 30,
    )?)
}

fn id(run: u64) -> RunId {
    RunId(uuid::Uuid::from_u128(u128::from(run) + 1))
}

#[derive(Clone, Copy)]
enum Shape {
    Changes,
    Small,
}

/// A run's entries as the engine writes them.
fn entries(
    run: u64,
    revision: &Revision,
    group: &GroupName,
    shape: Shape,
) -> anyhow::Result<Vec<NewEntry>> {
    let now = at(run)?;
    let entry = |action: &str, system: Option<u64>, body| -> anyhow::Result<NewEntry> {
        Ok(NewEntry {
            at: now,
            actor: "lockstep/engine".parse()?,
            action: action.to_owned(),
            group: Some(group.clone()),
            system: system
                .map(|n| format!("system{n:02}").parse())
                .transpose()?,
            run: Some(id(run)),
            revision: Some(revision.clone()),
            body,
        })
    };
    if matches!(shape, Shape::Small) {
        let sent = |n| {
            let body = json!({"id": format!("msg_{run}_{n}"), "to": "status", "attempts": 1});
            entry("delivery.sent", None, body)
        };
        return (0..=SYSTEMS).map(sent).collect();
    }
    let (base, target) = (Digest::of(b"base"), Digest::of(&run.to_be_bytes()));
    let mut all = Vec::new();
    for system in 0..SYSTEMS {
        let rollout = (run + system) % 100;
        let body = json!({
            "base": base, "target": target,
            "changes": [{
                "op": "update", "id": format!("FeatureFlag/ai_assistant_{:03}", run % 1000),
                "before": {"enabled": true, "rollout": rollout, "description": "AI アシスタント"},
                "after": {"enabled": true, "rollout": rollout + 1, "description": "AI アシスタント"},
                "direction": "widening", "document": "config/feature-flags.json", "line": 12,
            }],
            "state": {"is": "verified", "receipt": {"digest": target, "reference": null}},
            "attempt": 0, "plan": base, "started_at": now, "decided_at": now,
            "prepared_at": now, "committed_at": now, "verified_at": now,
        });
        all.push(entry("system.applied", Some(system), body)?);
    }
    let whole = json!({"outcome": {"outcome": "applied", "changes": SYSTEMS}, "plan": base, "trigger": "merge", "started_at": now});
    all.push(entry("run.finished", None, whole)?);
    Ok(all)
}

async fn grow(path: &Path, wanted: u64, shape: Shape) -> anyhow::Result<Grown> {
    let store = Store::open(path).await?;
    let (revision, group): (Revision, GroupName) = ("1".repeat(40).parse()?, "hospital".parse()?);
    let runs = wanted.div_ceil(SYSTEMS + 1);
    let mut spent = Duration::ZERO;
    for run in 0..runs {
        let finish = Finish {
            run: RunRow {
                id: id(run),
                group: group.clone(),
                revision: revision.clone(),
                fence: Fence(1),
                reach: Reach::Whole,
                body: json!({}),
            },
            outcome: json!({"outcome": "applied"}),
            at: at(run)?,
            group: None,
            systems: Vec::new(),
            changes: Vec::new(),
            claims: std::collections::BTreeMap::new(),
            ledger: entries(run, &revision, &group, shape)?,
            outbox: Vec::new(),
        };
        let begun = Instant::now();
        store.finish_run(&finish).await?;
        spent += begun.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let rate = (runs * (SYSTEMS + 1)) as f64 / spent.as_secs_f64();
    let one = NewEntry {
        run: None,
        ..entries(runs, &revision, &group, shape)?.remove(0)
    };
    let begun = Instant::now();
    for _ in 0..500 {
        store.append(std::slice::from_ref(&one)).await?;
    }
    let single = 500.0 / begun.elapsed().as_secs_f64();
    store.close().await;
    Ok(Grown { runs, rate, single })
}

struct Row {
    name: String,
    cpu: f64,
    wall: f64,
    peak: f64,
    written: u64,
}

impl Row {
    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            shown(self.cpu),
            shown(self.wall),
            shown(self.peak),
            (self.written >> 20).to_string(),
        ]
    }
}

/// The least of several whole processes, each writing to a file.
fn least(name: &str, out: &Path, command: &dyn Fn() -> Command) -> anyhow::Result<Row> {
    let mut best: Option<Row> = None;
    for _ in 0..RUNS {
        let row = once(name, out, command())?;
        if best.as_ref().is_none_or(|best| row.cpu < best.cpu) {
            best = Some(row);
        }
    }
    best.context("no run")
}

fn once(name: &str, out: &Path, mut command: Command) -> anyhow::Result<Row> {
    let begun = Instant::now();
    let mut child = command
        .stdout(fs::File::create(out)?)
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let cost = watch(&mut child)?;
    let wall = millis(begun.elapsed()) / 1e3;
    let ended = child.wait_with_output()?;
    anyhow::ensure!(
        // 1 says that there are no systems here whose own feeds could be asked.
        matches!(ended.status.code(), Some(0 | 1)),
        "{name}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(Row {
        name: name.to_owned(),
        cpu: cost.0,
        wall,
        peak: cost.1,
        written: fs::metadata(out)?.len(),
    })
}

/// CPU seconds and peak memory of a process from its start to its end, all of its threads.
fn watch(child: &mut Child) -> anyhow::Result<(f64, f64)> {
    let mut peak: f64 = 0.0;
    loop {
        if let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id()))
            && let Some(line) = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))
        {
            let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
            peak = peak.max(kib / 1024.0);
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .context("a state")?
            .1
            .split(' ')
            .collect();
        if fields.first() == Some(&"Z") {
            return Ok((cpu_of(&fields)?, peak));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// User and system time, in seconds; the kernel counts in hundredths.
fn cpu_of(fields: &[&str]) -> anyhow::Result<f64> {
    let ticks =
        |n: usize| -> anyhow::Result<f64> { Ok(fields.get(n).context("a time")?.parse::<f64>()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// A PostgreSQL of the bench's own; its shell ends it with the bench.
struct Server {
    folder: PathBuf,
    programs: PathBuf,
    shell: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closing its pipe ends the server; the shell waits for it.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

const SERVER: &str = r#"
"$1/initdb" -D "$2/data" -U lockstep --auth=trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c shared_buffers=512MB >>"$2/log" 2>&1 &
server=$!
cat >/dev/null
kill -INT $server
wait $server
"#;

impl Server {
    fn start(beside: &Path) -> anyhow::Result<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").context("it is not installed")?;
        let newest = versions.flatten().map(|v| v.path().join("bin")).max();
        let programs = newest.context("it is not installed")?;
        let folder = beside.join("pg");
        fs::create_dir(&folder)?;
        let mut shell = Command::new("sh");
        // Not as root, which the server refuses.
        if Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0" {
            run(Command::new("chmod").arg("755").arg(beside))?;
            run(Command::new("chown").arg("postgres").arg(&folder))?;
            shell = Command::new("setpriv");
            shell.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "sh",
            ]);
        }
        let shell = shell
            .args(["-c", SERVER, "sh"])
            .args([&programs, &folder])
            .stdin(Stdio::piped())
            .spawn()?;
        let server = Self {
            folder,
            programs,
            shell,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while run(server.psql("SELECT 1").stdout(Stdio::null())).is_err() {
            anyhow::ensure!(Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    fn psql(&self, sql: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-U", "lockstep", "-d", "postgres", "-h"]);
        command
            .arg(&self.folder)
            .args(["-v", "ON_ERROR_STOP=1", "-c", sql]);
        command
    }

    /// CPU seconds of the server and all of its processes, also those that have ended.
    fn cpu(&self) -> anyhow::Result<f64> {
        let id = fs::read_to_string(self.folder.join("data/postmaster.pid"))?;
        let id = id.lines().next().context("a process")?.to_owned();
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .context("a state")?
            .1
            .split(' ')
            .collect();
        let of = |n: usize| -> anyhow::Result<f64> {
            Ok(fields.get(n).context("a time")?.parse::<f64>()? / 100.0)
        };
        Ok(of(11)? + of(12)? + of(13)? + of(14)?)
    }
}

/// The same table in PostgreSQL, written out by `\copy`.
fn copy(server: &Server, folder: &Path, store: &Path) -> anyhow::Result<Row> {
    let (csv, out) = (folder.join("table.csv"), folder.join("out"));
    let written = Command::new("sqlite3")
        .args(["-readonly", "-csv"])
        .arg(store)
        .arg("SELECT * FROM ledger")
        .stdout(fs::File::create(&csv)?)
        .status()?;
    anyhow::ensure!(written.success(), "sqlite3 ends with {written}");
    run(&mut server.psql(
        "CREATE TABLE ledger (seq BIGINT PRIMARY KEY, id TEXT, at_ms BIGINT, actor TEXT, action TEXT, group_name TEXT, system TEXT, \
         run TEXT, revision TEXT, leaf TEXT, body TEXT, hash TEXT)",
    ))?;
    run(&mut server.psql(&format!("\\copy ledger FROM '{}' CSV", csv.display())))?;
    run(&mut server.psql("VACUUM (FREEZE, ANALYZE) ledger"))?;
    let mut best: Option<Row> = None;
    for _ in 0..RUNS {
        let before = server.cpu()?;
        let command = server.psql(&format!("\\copy ledger TO '{}' CSV", out.display()));
        let mut row = once(
            "psql \\copy, with its server",
            &folder.join("nothing"),
            command,
        )?;
        // The server counts a session's time once it has ended.
        std::thread::sleep(Duration::from_millis(300));
        row.cpu += server.cpu()? - before;
        row.written = fs::metadata(&out)?.len();
        if best.as_ref().is_none_or(|best| row.cpu < best.cpu) {
            best = Some(row);
        }
    }
    best.context("no run")
}
