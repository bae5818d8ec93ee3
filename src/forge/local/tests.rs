use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::*;
use crate::forge::{ProposalState, ReviewKind, StatusState};
use crate::ids::{Digest, PlanDigest};
use crate::repo::tests::{Bare, git};

mod life;
mod reviews;
mod statuses;
mod wire;

/// A clock that moves when it is told to.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A bare config repo with its local forge.
struct World {
    bare: Bare,
    clock: Arc<Hand>,
    forge: LocalForge,
}

impl World {
    fn new() -> Self {
        let bare = Bare::new();
        bare.commit(
            "main",
            &[
                ("lockstep.yaml", Some("version: 1\n")),
                ("config/a.json", Some("{}\n")),
            ],
        );
        let clock = Arc::new(Hand::default());
        let forge = forge_at(bare.repo.path(), &clock);
        Self { bare, clock, forge }
    }

    fn tick(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A branch with one changed file and a proposal for it.
    async fn propose(&self, branch: &str, title: &str) -> Proposal {
        self.bare
            .commit(branch, &[(&*format!("config/{branch}.json"), Some("{}"))]);
        self.forge.open(new(branch, title)).await.unwrap()
    }

    fn show(&self, notes: &str, commit: &Revision) -> Vec<String> {
        self.bare
            .git(&["notes", "--ref", notes, "show", commit.as_str()])
            .lines()
            .map(ToOwned::to_owned)
            .collect()
    }
}

fn forge_at(path: &std::path::Path, clock: &Arc<Hand>) -> LocalForge {
    let clock: Arc<dyn Clock> = clock.clone();
    LocalForge::new(Arc::new(Repo::open(path).unwrap()), "main", clock)
}

fn new(branch: &str, title: &str) -> NewProposal {
    NewProposal {
        title: title.into(),
        description: "段階的に上げる。\n\nSee <https://example.com/?a=1&b=2>".into(),
        author: "sato".into(),
        branch: branch.into(),
        labels: vec!["flag".into()],
    }
}

fn review(world: &World, user: &str, kind: ReviewKind, commit: &Revision) -> Review {
    Review {
        user: user.into(),
        kind,
        commit: commit.clone(),
        plan: Some(PlanDigest(Digest::of(b"plan"))),
        at: world.clock.now(),
        message: "よい & 安全".into(),
        signature: None,
    }
}

fn status(world: &World, state: StatusState, description: &str) -> Status {
    Status {
        context: "lockstep/check".into(),
        state,
        description: description.into(),
        at: world.clock.now(),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, ForgeError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, ForgeError::Refused(_)), "{error:?}");
    error.to_string()
}
