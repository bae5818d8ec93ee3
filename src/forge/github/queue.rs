//! The merge queue: commits that GitHub makes to be checked before they become the main branch.
//!
//! Their branches are called `gh-readonly-queue/<main>/pr-<number>-<commit they are put on>`.

use super::pulls::{escaped, revision};
use super::{GithubForge, wire};
use crate::forge::{ForgeError, Queued};

const FOLDER: &str = "gh-readonly-queue";

impl GithubForge {
    /// What waits in the queue for the main branch; the commits are here once this has returned.
    pub(super) async fn queue(&self) -> Result<Vec<Queued>, ForgeError> {
        let folder = format!("{FOLDER}/{}/", self.branch);
        let path = self
            .api
            .of(&format!("git/matching-refs/heads/{}", escaped(&folder)));
        let refs = self
            .api
            .pages(
                &path,
                |page: Vec<wire::Reference>| page,
                |reference| reference.name.clone(),
            )
            .await?;
        let mut queued = Vec::new();
        for reference in refs {
            let name = reference.name.strip_prefix("refs/heads/");
            let Some((number, base)) = name.and_then(|name| entry(name.strip_prefix(&folder)?))
            else {
                continue;
            };
            let (Ok(head), Ok(base)) = (revision(&reference.object.sha), revision(&base)) else {
                continue;
            };
            if !self.mirror.has(&head).await? {
                let refspec = format!("+{0}:refs/lockstep/queue/{head}", reference.name);
                self.bring(&[refspec]).await?;
            }
            queued.push(Queued { number, base, head });
        }
        Ok(queued)
    }
}

/// `pr-7-<commit>`
fn entry(name: &str) -> Option<(u64, String)> {
    let (number, base) = name.strip_prefix("pr-")?.split_once('-')?;
    Some((number.parse().ok()?, base.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn a_queue_branch_names_its_pull_request_and_base() {
        assert_eq!(entry("pr-7-abc"), Some((7, "abc".to_owned())));
        assert_eq!(entry("pr-x-abc"), None);
        assert_eq!(entry("main"), None);
    }
}
