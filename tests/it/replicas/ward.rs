//! Several replicas on one PostgreSQL, and groups of two systems for them to share.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use jiff::Timestamp;

use crate::world::{Layout, Process, SETTINGS, Settings, World, eventually, postgres};

/// Short, so that tests need not wait for it; long enough for a busy machine to say every third of it that it lives.
pub(super) const LEASE: &str = "4s";

pub(super) struct Ward {
    pub(super) world: World,
    url: String,
    groups: usize,
    /// What each group's flag should be set to.
    rollouts: Vec<u32>,
}

impl Ward {
    /// `None`, said aloud, where PostgreSQL is not installed.
    pub(super) async fn new(groups: usize) -> Option<Self> {
        let url = postgres::database()?;
        let names: Vec<String> = (0..groups * 2).map(system).collect();
        let lines: String = (0..groups)
            .map(|g| {
                format!(
                    "  g{g}: {{systems: [{}, {}], consistency: lockstep}}\n",
                    system(2 * g),
                    system(2 * g + 1)
                )
            })
            .collect();
        let world = World::bare(Layout {
            systems: &names,
            groups: &lines,
            store: &url,
        })
        .await;
        let ward = Self {
            world,
            url,
            groups,
            rollouts: vec![10; groups],
        };
        ward.world.write("lockstep.yaml", &ward.world.config(""));
        ward.write_flags();
        ward.world.commit("start");
        ward.world.settings(&Settings {
            systems: "2s",
            lease: LEASE,
            ..SETTINGS
        });
        Some(ward)
    }

    fn write_flags(&self) {
        let flags = self.rollouts.iter().enumerate().map(|(g, rollout)| {
            let teams = [system(2 * g), system(2 * g + 1)];
            format!(
                "\"flag_{g}\": {{\"enabled\": true, \"rollout\": {rollout}, \"teams\": {teams:?}, \"owner\": \"sato\", \
                 \"expires\": \"2099-12-31\"}}"
            )
        });
        let flags: Vec<String> = flags.collect();
        self.world.write(
            "config/feature-flags.json",
            &format!("{{\n{}\n}}\n", flags.join(",\n")),
        );
    }

    /// Merges a change for one group, and gives back its commit.
    pub(super) fn merge(&mut self, group: usize) -> String {
        let rollout = &mut self.rollouts[group];
        *rollout = *rollout % 100 + 1;
        self.write_flags();
        self.world.commit(&format!("flag of g{group}"))
    }

    pub(super) fn replica(&self, name: &str) -> Process {
        // What it does is read from its own log.
        let args = ["run", "--log", "info"];
        self.world.start(&args, &format!("{name}.log"))
    }

    /// A replica that reaches the store another way.
    pub(super) fn replica_over(&self, name: &str, store: &str) -> Process {
        let file = format!("{name}.toml");
        let settings = std::fs::read_to_string(self.world.path("lockstep.toml")).unwrap();
        let settings = settings.replace(&self.url, store);
        std::fs::write(self.world.path(&file), settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(["run", "--repo", "config.git", "--settings", &file])
            .args(["--lang", "en"])
            .current_dir(self.world.dir.path());
        Process::start(command, self.world.path(&format!("{name}.log")))
    }

    /// The newest commit of main.
    pub(super) fn head(&self) -> String {
        let head = self.world.git_in("work", &["rev-parse", "HEAD"]);
        head.trim().to_owned()
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How many groups each process has, by its process id.
    pub(super) async fn shares(&self) -> BTreeMap<u32, BTreeSet<String>> {
        let store = self.world.store().await;
        // The server has a clock of its own.
        let held = store.lease_holders(Timestamp::UNIX_EPOCH).await.unwrap();
        let mut shares: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for (lease, holder) in held {
            if let Some(group) = lease.strip_prefix("group/") {
                let process = holder.split('-').next().unwrap().parse().unwrap();
                shares.entry(process).or_default().insert(group.to_owned());
            }
        }
        store.close().await;
        shares
    }

    /// Waits until these processes have all groups between them, and gives back how many each has.
    pub(super) async fn shared_by(&self, processes: &[&Process]) -> Vec<usize> {
        let ids: Vec<u32> = processes.iter().map(|p| p.id()).collect();
        let what = format!("the groups are shared by {ids:?}");
        eventually(&what, async || {
            let shares = self.shares().await;
            let all: usize = shares.values().map(BTreeSet::len).sum();
            let others = shares.keys().any(|id| !ids.contains(id));
            let counts: Vec<usize> = ids
                .iter()
                .map(|id| shares.get(id).map_or(0, BTreeSet::len))
                .collect();
            let each = self.groups < 6 || counts.iter().all(|count| *count > 0);
            (all == self.groups && !others && each).then_some(counts)
        })
        .await
    }

    /// What every system holds.
    pub(super) async fn states(&self) -> Vec<serde_json::Value> {
        let states = self.world.systems.iter().map(|s| s.state());
        futures_util::future::join_all(states).await
    }

    /// Whether every system has what its group's last merge says.
    pub(super) async fn is_in_step(&self) -> bool {
        let states = self.world.systems.iter().map(|s| s.resources());
        let states = futures_util::future::join_all(states).await;
        states.iter().enumerate().all(|(n, resources)| {
            let flag = resources.get(&format!("FeatureFlag/flag_{}", n / 2));
            let wanted = u64::from(self.rollouts[n / 2]);
            flag.is_some_and(|spec| spec["rollout"].as_u64() == Some(wanted))
        })
    }

    pub(super) async fn comes_in_step(&self) {
        eventually("all systems have what was merged", async || {
            self.is_in_step().await.then_some(())
        })
        .await;
    }

    /// That nothing was lost and nothing done twice, counted on the systems' side: each changeset took effect once, each change began where the one
    /// before it ended, and the ledger says as many were applied as the systems saw.
    pub(super) async fn nothing_was_lost_or_done_twice(&self) -> usize {
        let mut seen = 0;
        for system in &self.world.systems {
            let changes = system.changes().await;
            let mut changesets = BTreeSet::new();
            let mut before = serde_json::Value::Null;
            for change in &changes {
                let changeset = change["changeset"].as_str().unwrap();
                let is_new = changesets.insert(changeset);
                assert!(is_new, "{} took {changeset} twice", system.name);
                assert_eq!(change["before"], before, "{}: {changes:#?}", system.name);
                before = change["after"].clone();
            }
            seen += changes.len();
        }
        // What systems have taken is recorded once it was looked at again.
        eventually("the ledger says as much as the systems", async || {
            (self.applied().await == seen).then_some(())
        })
        .await;
        self.world.ok(&["audit", "verify"]).await;
        seen
    }

    /// How many changesets with a change the ledger says were applied.
    async fn applied(&self) -> usize {
        let entries = self.world.entries("system.applied").await;
        let with_changes = entries
            .iter()
            .filter(|e| !e.body["changes"].as_array().unwrap().is_empty());
        let applied: BTreeSet<_> = with_changes
            .map(|e| (e.run.unwrap(), e.system.clone().unwrap().to_string()))
            .collect();
        applied.len()
    }
}

/// A system's name.
fn system(n: usize) -> String {
    format!("s{n:02}")
}
