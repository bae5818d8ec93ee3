//! A Redis of the tests' own: in a temporary folder, reached over a socket there, gone with the process that asked for it.
//!
//! Debian's package has the program; `./test` installs it. Without it a test that wants it says `skipped`, except where everything must run.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server. Its shell ends it when the pipe closes, which happens however this process ends.
pub(crate) struct Redis {
    folder: PathBuf,
    /// Its end of the pipe is open for as long as this is. A line in it kills the server, and starts it again on what it has kept.
    shell: Child,
}

const ENDS_WITH_ITS_PIPE: &str = r#"
serve() {
  redis-server --port 0 --unixsocket "$1/redis.sock" --dir "$1" --save "" --appendonly yes --appendfsync always >>"$1/log" 2>&1 &
  server=$!
}
serve "$1"
while read -r _; do
  kill -KILL $server
  wait $server
  rm -f "$1/redis.sock"
  serve "$1"
  echo again
done
kill -TERM $server
wait $server
rm -rf "$1"
"#;

impl Redis {
    /// A new, empty server; `None`, said aloud, where Redis is not installed.
    #[expect(
        clippy::disallowed_methods,
        reason = "whether everything must run is said in the environment, as to all tests"
    )]
    pub(crate) fn start() -> Option<Self> {
        let version = Command::new("redis-server").arg("--version").output();
        if !version.is_ok_and(|v| v.status.success()) {
            let all = ["CI", "LOCKSTEP_TEST_ALL"];
            assert!(
                all.iter().all(|name| std::env::var_os(name).is_none()),
                "Redis is not installed: apt-get install redis-server"
            );
            eprintln!("skipped: Redis is not installed (apt-get install redis-server)");
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("lockstep-redis-")
            .tempdir()
            .unwrap()
            .keep();
        let shell = Command::new("sh")
            .args(["-c", ENDS_WITH_ITS_PIPE, "redis"])
            .arg(&folder)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for the tests; the server ends after them.
            .process_group(0)
            .spawn()
            .unwrap();
        let redis = Self { folder, shell };
        redis.answers();
        Some(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}/redis.sock", self.folder.display())
    }

    /// Ends it as a crash does, and starts it on what is there.
    pub(crate) fn crash(&mut self) {
        self.shell
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"crash\n")
            .unwrap();
        let mut again = [0; 6];
        self.shell
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut again)
            .unwrap();
        self.answers();
    }

    /// One command with its arguments, and its answer as it comes over the wire.
    pub(crate) fn say(&self, words: &[&str]) -> std::io::Result<String> {
        let mut line = UnixStream::connect(self.folder.join("redis.sock"))?;
        line.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        line.write_all(request.as_bytes())?;
        // The server closes the connection once it has answered that.
        line.write_all(b"*1\r\n$4\r\nQUIT\r\n")?;
        let mut answer = String::new();
        line.read_to_string(&mut answer)?;
        Ok(answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned())
    }

    /// Waits until it takes commands, and has read what it had kept.
    fn answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self
            .say(&["PING"])
            .is_ok_and(|said| said.starts_with("+PONG"))
        {
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}
