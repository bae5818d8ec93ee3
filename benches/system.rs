//! Reference systems in a process of their own, and the runtime that both sides of a bench run on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use lockstep::reference::{self, Options};

/// The word that this bench is started with again to be the systems.
pub(crate) const ROLE: &str = "systems";

/// A child that is ended when it is no longer wanted.
pub(crate) struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts systems of these names in one process, with their files in a folder. Answers once all listen, with their ports.
pub(crate) fn start(folder: &Path, names: &[String]) -> anyhow::Result<(Ended, Vec<u16>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ROLE)
        .arg(folder)
        .args(names)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().context("a pipe")?;
    let child = Ended(child);
    let mut lines = BufReader::new(out).lines();
    let mut port = |name: &String| {
        let line = lines
            .next()
            .with_context(|| format!("{name} does not listen"))??;
        line.parse().context("a port")
    };
    let ports = names.iter().map(&mut port).collect::<anyhow::Result<_>>()?;
    Ok((child, ports))
}

/// The other end of [`start`]: prints the ports, and serves until whoever started it is gone.
pub(crate) fn serve(words: &[String]) -> anyhow::Result<()> {
    let (folder, names) = words.split_first().context("systems FOLDER NAME…")?;
    let folder = PathBuf::from(folder);
    let runtime = runtime()?;
    let mut servers = Vec::new();
    for name in names {
        let options = Options {
            name: name.parse()?,
            title: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            database: folder.join(format!("{name}.db")),
            token: None,
            kinds: ["FeatureFlag".parse()?].into(),
            faults: None,
        };
        let server = runtime.block_on(reference::bind(options))?;
        writeln!(std::io::stdout(), "{}", server.addr().port())?;
        servers.push(server);
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}
