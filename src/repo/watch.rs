//! Hearing of a moved branch at once. It only makes things sooner: a tick may be missed, and polling is the truth.

use std::path::Path;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::{Repo, RepoError};

/// Ticks whenever a reference may have moved. Watching ends when it is dropped.
pub struct RefWatch {
    ticks: mpsc::Receiver<()>,
    _watcher: notify::RecommendedWatcher,
}

impl RefWatch {
    /// Waits for the next tick. Many moves may be one tick. `None` when watching has ended.
    pub async fn changed(&mut self) -> Option<()> {
        self.ticks.recv().await
    }
}

impl Repo {
    /// Watches the references of this repository: branches, tags, notes, `packed-refs` and `HEAD`.
    pub fn watch(&self) -> Result<RefWatch, RepoError> {
        let (git_dir, common) =
            self.with(|git| Ok((git.path().to_owned(), git.commondir().to_owned())))?;
        // One place: a tick that nobody has taken yet stands for all that follow.
        let (tick, ticks) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // An error of the watcher may mean lost events: look again.
                if event.map_or(true, |event| concerns_references(&event)) {
                    let _full_is_fine = tick.try_send(());
                }
            })
            .map_err(watch_error)?;
        let refs = common.join("refs");
        watcher
            .watch(&refs, RecursiveMode::Recursive)
            .map_err(watch_error)?;
        watcher
            .watch(&common, RecursiveMode::NonRecursive)
            .map_err(watch_error)?;
        if git_dir != common {
            watcher
                .watch(&git_dir, RecursiveMode::NonRecursive)
                .map_err(watch_error)?;
        }
        Ok(RefWatch {
            ticks,
            _watcher: watcher,
        })
    }
}

fn watch_error(error: notify::Error) -> RepoError {
    RepoError::Unsupported(format!(
        "can't watch the repository, so changes are seen at the next poll: {error}"
    ))
}

fn concerns_references(event: &notify::Event) -> bool {
    if event.kind.is_access() {
        return false;
    }
    let named = |path: &Path| {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let in_refs = path.components().any(|part| part.as_os_str() == "refs");
        !name.ends_with(".lock") && (in_refs || matches!(name, "HEAD" | "packed-refs"))
    };
    event.need_rescan() || event.paths.iter().any(|path| named(path))
}
