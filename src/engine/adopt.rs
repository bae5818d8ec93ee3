//! What somebody else changed and Lockstep does not put back: a proposal that writes it into the repo, opened once for the same drift.
//!
//! Level-triggered like the statuses: what is missing is made, on whichever pass finds it missing. What a person closed stays closed. What
//! the drift has moved past is closed here, and that is written down, so that it can be told apart from what a person closed.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::group::{Memory, Pass};
use super::look::Scene;
use super::source::Head;
use super::{Engine, EngineError};
use crate::compile::Adoption;
use crate::config::DriftPolicy;
use crate::document::{Content, Snapshot};
use crate::forge::{ForgeError, NewProposal, Proposal, ProposalState};
use crate::ids::{Digest, DocPath, GroupName, Revision, SystemName};
use crate::plan::Change;
use crate::repo::{Identity, Repo, RepoError};
use crate::state::Item;
use crate::store::{EntryFilter, NewEntry};
use crate::view;

mod words;

/// Who opens adopting proposals. Not a person: somebody must approve what it proposes.
const AUTHOR: &str = "lockstep";

/// How often one and the same drift is proposed anew, after it was adopted or had gone by itself: what comes and goes is not to fill the forge.
const AGAIN: usize = 5;

/// How many hexadecimal digits of a drift's digest its branch carries.
const DIGITS: usize = 12;

const OPENED: &str = "drift.proposed";
const WITHDRAWN: &str = "drift.withdrawn";

/// What a system is left with that somebody else changed: the changes that would take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Adrift {
    pub(super) changes: Vec<Change>,
    /// It was put back until it was changed too often, and may be another value again.
    pub(super) keeps_changing: bool,
}

/// By system, for those of which it is known. One that is there and empty is as the repo says.
pub(super) type AllAdrift = BTreeMap<SystemName, Adrift>;

impl Adrift {
    /// Tells one drift from another. `None` where there is none. Of what keeps changing it does not matter what it is just now.
    fn digest(&self, system: &SystemName) -> Option<Digest> {
        if self.changes.is_empty() {
            return None;
        }
        let content = |item: &Option<std::sync::Arc<Item>>| {
            item.as_ref().map_or([0; 32], |i| *i.digest().as_bytes())
        };
        let mut hash = Sha256::new();
        hash.update(system.as_str());
        for change in &self.changes {
            hash.update(b"\n");
            hash.update(change.id.as_str());
            hash.update(b" ");
            hash.update(content(&change.after));
            if !self.keeps_changing {
                hash.update(content(&change.before));
            }
        }
        Some(Digest::from_bytes(hash.finalize().into()))
    }
}

/// What every system of a group is left with, where adopting it is to be proposed. Nothing is said of a system that was not seen, or while the
/// newest revision is not what its group is held to: what a revert takes back is no drift.
pub(super) fn to_adopt(pass: &Pass<'_>, scene: &Scene, memory: &Memory) -> AllAdrift {
    let mut all = AllAdrift::new();
    if scene.revision != pass.head.revision || pass.head.broken.is_some() {
        return all;
    }
    for (system, observed) in &scene.observed {
        let Some(definition) = scene.bundle.config.systems.get(system) else {
            continue;
        };
        let mut changes = match memory.left.get(system) {
            Some(left) => left.clone(),
            None if scene.is_there(system, observed) => Vec::new(),
            None => continue,
        };
        let keeps_changing = match definition.drift {
            DriftPolicy::Report => continue,
            // What cools down is put back, and what is proposed of it stays for a person to decide.
            DriftPolicy::Heal if changes.is_empty() => continue,
            DriftPolicy::Heal => true,
            // A revision on its way may go over it; that it is gone is said when it has arrived.
            DriftPolicy::Propose if changes.is_empty() && !scene.settled() => continue,
            DriftPolicy::Propose => {
                let beyond = scene.beyond.get(system);
                changes.extend(beyond.map(|b| b.arrivals()).unwrap_or_default());
                false
            }
        };
        changes.sort_by(|a, b| a.id.cmp(&b.id));
        let adrift = Adrift {
            changes,
            keeps_changing,
        };
        all.insert(system.clone(), adrift);
    }
    all
}

/// What is to be proposed.
struct Drift<'a> {
    group: &'a GroupName,
    system: &'a SystemName,
    adrift: &'a Adrift,
    digest: Digest,
    head: &'a Head,
}

impl Engine {
    /// `adoptions` is the drift of each system that was dealt with: what there is to propose is proposed, or can't be.
    pub(super) async fn propose_adoptions(
        &self,
        head: &Head,
        all: BTreeMap<SystemName, (GroupName, Adrift)>,
        adoptions: &mut BTreeMap<SystemName, Option<Digest>>,
    ) {
        for (system, (group, adrift)) in all {
            let digest = adrift.digest(&system);
            if adoptions.get(&system) == Some(&digest) {
                continue;
            }
            let done = match digest {
                None => self.withdraw(&group, &system, None).await,
                Some(digest) => {
                    let drift = Drift {
                        group: &group,
                        system: &system,
                        adrift: &adrift,
                        digest,
                        head,
                    };
                    self.propose_adoption(&drift).await
                }
            };
            match done {
                Ok(()) => {
                    adoptions.insert(system, digest);
                }
                // The system is left as it is; the proposal is a service, and is tried again on the next pass.
                Err(error) => {
                    tracing::warn!(system.name = %system, error = &error as &dyn std::error::Error, "could not propose to adopt what was changed by someone else");
                }
            }
        }
    }

    async fn propose_adoption(&self, drift: &Drift<'_>) -> Result<(), EngineError> {
        let Drift {
            system,
            adrift,
            digest,
            head,
            ..
        } = drift;
        let (revision, of, changes) = (
            head.revision.clone(),
            (*system).clone(),
            adrift.changes.clone(),
        );
        let adoption = self
            .with_source(move |source| Ok(source.adopt(&revision, &of, &changes)))
            .await?;
        let Some(adoption) = adoption.filter(|a| !a.files.is_empty()) else {
            tracing::info!(system.name = %system, "nothing of what was changed by someone else can be written into the repo");
            return Ok(());
        };
        let digits: String = digest.to_hex().chars().take(DIGITS).collect();
        for again in 1..=AGAIN {
            let mut branch = format!("lockstep/adopt-{system}-{digits}");
            if again > 1 {
                branch.push_str(&format!("-{again}"));
            }
            match self.forge.find(&branch).await? {
                Some(known) if self.stands(drift, &known).await? => return Ok(()),
                Some(_) => {}
                None if self.commit_adoption(drift, &branch, &adoption).await? => {
                    return self.open_adoption(drift, branch, &adoption).await;
                }
                // Somebody else's branch of that name.
                None => {}
            }
        }
        tracing::info!(system.name = %system, "the same drift was proposed {AGAIN} times already");
        Ok(())
    }

    /// Whether a proposal that was opened for this very drift still answers it.
    async fn stands(&self, drift: &Drift<'_>, known: &Proposal) -> Result<bool, EngineError> {
        match &known.state {
            ProposalState::Open => Ok(true),
            ProposalState::Closed => Ok(!self.was_withdrawn(drift.system, &known.branch).await?),
            // Until its merge has arrived here; a drift that is there after it has come anew.
            ProposalState::Merged { commit } => {
                let (repo, commit, head) = (
                    self.repo.clone(),
                    commit.clone(),
                    drift.head.revision.clone(),
                );
                let arrived =
                    tokio::task::spawn_blocking(move || repo.is_ancestor(&commit, &head)).await??;
                Ok(!arrived)
            }
        }
    }

    async fn was_withdrawn(&self, system: &SystemName, branch: &str) -> Result<bool, EngineError> {
        let filter = EntryFilter {
            action: Some(WITHDRAWN.to_owned()),
            system: Some(system.clone()),
            ..EntryFilter::default()
        };
        let entries = self.store.entries(&filter).await?;
        Ok(entries.iter().any(|e| e.body["branch"] == *branch))
    }

    /// Puts the documents on a branch. `false` where there is a branch of that name with something else on it.
    async fn commit_adoption(
        &self,
        drift: &Drift<'_>,
        branch: &str,
        adoption: &Adoption,
    ) -> Result<bool, EngineError> {
        self.forge.fetch_branch(branch).await?;
        let files: BTreeMap<DocPath, Option<Vec<u8>>> = adoption
            .files
            .iter()
            .map(|(path, text)| (path.clone(), Some(text.clone().into_bytes())))
            .collect();
        let message = format!(
            "Adopt what is live on {}\n\n{}",
            drift.system,
            view::adoption::subjects(adoption)
        );
        let (repo, name, head, at) = (
            self.repo.clone(),
            branch.to_owned(),
            drift.head.revision.clone(),
            self.clock.now(),
        );
        let done = tokio::task::spawn_blocking(move || {
            // It may be there without a proposal: this process, or one before it, was stopped in between.
            if let Some(tip) = repo.head(&name)? {
                return is_made_of(&repo, (&head, &tip), &files);
            }
            let identity = Identity::new("Lockstep", "lockstep@localhost");
            repo.commit_files(&name, Some(&head), &files, &identity, &message, at)?;
            Ok::<bool, RepoError>(true)
        });
        Ok(done.await??)
    }

    async fn open_adoption(
        &self,
        drift: &Drift<'_>,
        branch: String,
        adoption: &Adoption,
    ) -> Result<(), EngineError> {
        let Drift {
            group,
            system,
            adrift,
            digest,
            head,
        } = drift;
        let proposal = NewProposal {
            title: view::adoption::title(system, adoption),
            description: words::description(system, adrift, adoption, &head.bundle),
            author: AUTHOR.to_owned(),
            branch: branch.clone(),
            labels: vec!["drift".to_owned()],
        };
        let opened = match self.forge.open(proposal).await {
            Ok(opened) => opened,
            // Another process was quicker.
            Err(ForgeError::Conflict(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        tracing::info!(system.name = %system, proposal = opened.number, "proposes to adopt what was changed by someone else");
        let body = json!({
            "proposal": opened.number, "branch": branch, "drift": digest.to_hex(),
            "adopted": adoption.adopted.len(), "left": adoption.left.len(),
        });
        self.say(OPENED, group, system, Some(&head.revision), body)
            .await?;
        self.withdraw(group, system, Some(opened.number)).await
    }

    /// Closes what is still open of earlier drift on a system, which is not what is there any more.
    async fn withdraw(
        &self,
        group: &GroupName,
        system: &SystemName,
        but: Option<u64>,
    ) -> Result<(), EngineError> {
        let open = self.forge.proposals(false).await?;
        let mut open = open
            .into_iter()
            .filter(|p| is_of(system, &p.branch) && Some(p.number) != but)
            .peekable();
        if open.peek().is_none() {
            return Ok(());
        }
        let account = self.forge.acting_as().await?;
        let ours = account.as_deref().unwrap_or(AUTHOR);
        for proposal in open.filter(|p| p.author == ours) {
            // First, so that nobody takes it for closed by a person.
            let body = json!({"proposal": proposal.number, "branch": proposal.branch});
            self.say(WITHDRAWN, group, system, None, body).await?;
            let why = words::withdrawn(system, but);
            match self.forge.close(proposal.number, AUTHOR, &why).await {
                Ok(()) | Err(ForgeError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn say(
        &self,
        action: &str,
        group: &GroupName,
        system: &SystemName,
        revision: Option<&Revision>,
        body: serde_json::Value,
    ) -> Result<(), EngineError> {
        let entry = NewEntry {
            at: self.clock.now(),
            actor: self.actor.clone(),
            action: action.to_owned(),
            group: Some(group.clone()),
            system: Some(system.clone()),
            run: None,
            revision: revision.cloned(),
            body,
        };
        Ok(self.store.append(&[entry]).await?)
    }
}

/// Whether a branch is one that was opened for a system's drift.
fn is_of(system: &SystemName, branch: &str) -> bool {
    let rest = branch.strip_prefix(&format!("lockstep/adopt-{system}-"));
    rest.is_some_and(|rest| {
        let (digits, again) = rest.split_once('-').unwrap_or((rest, "2"));
        digits.len() == DIGITS
            && digits.chars().all(|c| c.is_ascii_hexdigit())
            && again
                .parse::<usize>()
                .is_ok_and(|n| (2..=AGAIN).contains(&n))
    })
}

/// Whether a branch holds exactly these files on top of the main branch.
fn is_made_of(
    repo: &Repo,
    (head, tip): (&Revision, &Revision),
    files: &BTreeMap<DocPath, Option<Vec<u8>>>,
) -> Result<bool, RepoError> {
    let Some(base) = repo.merge_base(head, tip)? else {
        return Ok(false);
    };
    let delta = repo.delta(&base, tip)?;
    let there = Snapshot {
        files: delta
            .files
            .into_iter()
            .filter_map(|(path, blob)| Some((path, blob?)))
            .collect(),
        ..Snapshot::default()
    };
    let same = there.files.len() == files.len()
        && files.iter().all(|(path, bytes)| {
            let blob = there.files.get(path).map(|b| &b.content);
            matches!((blob, bytes), (Some(Content::Bytes(a)), Some(b)) if **a == **b)
        });
    Ok(same && delta.policies.is_empty())
}
