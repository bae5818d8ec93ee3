//! A PostgreSQL of the tests' own: made in a temporary folder, reached over a socket there, gone with the process that asked for it.
//!
//! Debian's package has the programs; `./test` installs it. Without them a test that wants it says `skipped`, except where everything
//! must run.

use std::io::{self, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A running server. Its shell ends it when the pipe closes, which happens however this process ends.
pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    /// Its end of the pipe is open for as long as this is. A line in it crashes the server, and starts it again.
    shell: Child,
}

/// What is different about a server.
#[derive(Clone, Copy)]
pub(crate) enum Sort {
    Plain,
    /// Keeps prepared transactions.
    Preparing,
}

const ENDS_WITH_ITS_PIPE: &str = r#"
"$1/initdb" -D "$2/data" -U lockstep --auth=trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
serve() {
  "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200 \
    -c shared_buffers=32MB -c max_prepared_transactions=$3 >>"$2/log" 2>&1 &
  server=$!
}
serve "$@"
while read -r _; do
  kill -QUIT $server
  wait $server
  serve "$@"
done
kill -INT $server
wait $server
rm -rf "$2"
"#;

/// The URL of a new, empty database; `None`, said aloud, where PostgreSQL is not installed.
pub(crate) fn database() -> Option<String> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(Sort::Plain)).as_ref()?;
    Some(server.database())
}

/// The same on a server that keeps prepared transactions.
pub(crate) fn preparing_database() -> Option<String> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER
        .get_or_init(|| Server::start(Sort::Preparing))
        .as_ref()?;
    Some(server.database())
}

impl Server {
    /// The URL of a new, empty database on it.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.say(&format!("CREATE DATABASE {name}"));
        format!(
            "postgres://lockstep@localhost/{name}?host={}",
            self.folder.display()
        )
    }

    /// Ends it as a crash does, and starts it on what is there.
    pub(crate) fn crash(&mut self) {
        let starts = || {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            log.matches("ready to accept connections").count()
        };
        let before = starts();
        let pipe = self.shell.stdin.as_mut().unwrap();
        pipe.write_all(b"crash\n").unwrap();
        let deadline = Instant::now() + Duration::from_secs(90);
        while starts() == before {
            assert!(Instant::now() < deadline, "it does not start again");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Runs one statement, as soon as the server takes any.
    fn say(&self, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let said = Command::new(self.programs.join("psql"))
                .args(["-X", "-q", "-U", "lockstep", "-d", "postgres", "-h"])
                .arg(&self.folder)
                .args(["-c", sql])
                .output()
                .unwrap();
            if said.status.success() {
                return;
            }
            let why = String::from_utf8_lossy(&said.stderr).into_owned();
            // The socket is there a moment before anybody listens on it.
            let early = ["No such file", "Connection refused", "starting up"];
            let starting = early.iter().any(|said| why.contains(said));
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(starting && Instant::now() < deadline, "{why}\n{log}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// One of a test's own; `None`, said aloud, where PostgreSQL is not installed.
    #[expect(
        clippy::disallowed_methods,
        reason = "whether everything must run is said in the environment, as to all tests"
    )]
    pub(crate) fn start(sort: Sort) -> Option<Self> {
        let Some(programs) = programs() else {
            let all = ["CI", "LOCKSTEP_TEST_ALL"];
            assert!(
                all.iter().all(|name| std::env::var_os(name).is_none()),
                "PostgreSQL is not installed: apt-get install postgresql"
            );
            eprintln!("skipped: PostgreSQL is not installed (apt-get install postgresql)");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("lockstep-pg-")
            .tempdir()
            .unwrap()
            .keep();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", ENDS_WITH_ITS_PIPE, "postgres"])
            .args([&programs, &folder])
            .arg(match sort {
                Sort::Plain => "0",
                Sort::Preparing => "50",
            })
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for the tests; the server ends after them.
            .process_group(0);
        // The server refuses to be run by root.
        if let Some((user, group)) = unprivileged(&folder) {
            chown(&folder, Some(user), Some(group)).unwrap();
            shell.uid(user).gid(group);
        }
        let shell = shell.spawn().unwrap();
        Some(Self {
            folder,
            programs,
            shell,
        })
    }
}

/// Where initdb is: on the path, or where Debian puts what it does not want there.
#[expect(
    clippy::disallowed_methods,
    reason = "programs are looked for on the path"
)]
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").ok();
    let versions = debian.into_iter().flatten().filter_map(Result::ok);
    let mut versions: Vec<PathBuf> = versions.map(|e| e.path().join("bin")).collect();
    versions.sort();
    let has_all = |dir: &Path| {
        let programs = ["initdb", "postgres", "psql"];
        programs.iter().all(|name| dir.join(name).is_file())
    };
    let found = versions.into_iter().rev().find(|dir| has_all(dir));
    found.or_else(|| std::env::split_paths(&path).find(|dir| has_all(dir)))
}

/// The user that Debian's package makes, or nobody, where this process is root.
fn unprivileged(folder: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let mine: io::Result<u32> = folder.metadata().map(|m| m.uid());
    if mine.unwrap() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}
