//! The search for the planted secret: files, git objects, pages. What is found is said by its place; the secret itself is not repeated.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::token;

/// The one file that may hold it.
const OWN: &str = "token";

/// Writes the secret where it belongs, for its owner alone.
pub(crate) fn plant(file: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .unwrap();
    file.write_all(token().as_bytes()).unwrap();
}

pub(crate) fn is_in(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(token())
}

/// Every file of a world, its name too: settings, stores with their journals, logs, systems' databases.
pub(crate) fn in_files(dir: &Path) -> Vec<String> {
    let mut leaks = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if is_in(path.as_os_str().as_encoded_bytes()) {
                leaks.push(format!("the name of a file in {}", folder.display()));
            }
            // Files come and go while systems still run.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind)
                    if kind.is_file()
                        && path != dir.join(OWN)
                        && std::fs::read(&path).is_ok_and(|bytes| is_in(&bytes)) =>
                {
                    leaks.push(path.display().to_string());
                }
                _ => {}
            }
        }
    }
    leaks
}

/// The repositories in a folder: whatever has objects and a head.
pub(crate) fn repositories(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
            found.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Every object of a repository, notes among them, reachable or not: git keeps them compressed.
pub(crate) fn in_repository(folder: &Path) -> Option<String> {
    let output = Command::new("git")
        .args(["cat-file", "--batch-all-objects", "--unordered", "--batch"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    is_in(&output.stdout).then(|| format!("an object of {}", folder.display()))
}

/// What a server answers; nothing where it does not.
pub(crate) fn page(address: SocketAddr, path: &str) -> Vec<u8> {
    const WAIT: Duration = Duration::from_secs(2);
    let mut answer = Vec::new();
    if let Ok(mut connection) = TcpStream::connect_timeout(&address, WAIT) {
        let _ = connection.set_read_timeout(Some(WAIT));
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let _ = connection.write_all(request.as_bytes());
        let _ = connection.read_to_end(&mut answer);
    }
    answer
}
