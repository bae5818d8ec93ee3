//! Promise 7: nothing is lost, nothing is done twice. The real process is killed with SIGKILL between any two of its steps; started again
//! it ends in step, with one outcome for each run.
//!
//! The points are not listed here: a run without faults says which requests there are, and it is killed on both sides of each.
//! Between two requests it also writes to its store; there it is killed while it can't.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::World;
use crate::world::proxy::Side;

/// A point at which to kill: one request of one system, on one side of the system's work.
#[derive(Debug, Clone)]
struct Point {
    system: &'static str,
    nth: usize,
    side: Side,
    what: String,
}

const SYSTEMS: [&str; 2] = ["medical", "voicedrive"];

/// As many worlds are killed in at the same time.
const WORLDS: usize = 3;

/// The points of a run with one change on both systems, from a run without faults.
async fn points() -> Vec<Point> {
    let world = World::in_step().await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    world.ok(&["apply"]).await;
    let mut points = Vec::new();
    for system in SYSTEMS {
        for (index, seen) in world.system(system).proxy.log().into_iter().enumerate() {
            for side in [Side::Before, Side::After] {
                points.push(Point {
                    system,
                    nth: index + 1,
                    side,
                    what: seen.what.clone(),
                });
            }
        }
    }
    points
}

/// A world in which processes are killed, over and over.
struct Victim {
    world: World,
    /// Each kill has a change of its own.
    rollout: u32,
}

impl Victim {
    async fn new() -> Self {
        Self {
            world: World::in_step().await,
            rollout: 10,
        }
    }

    /// Merges a change, and gives back its commit.
    fn merge(&mut self) -> String {
        self.rollout += 1;
        self.world.set_rollout(self.rollout);
        self.world.commit(&format!("rollout {}", self.rollout))
    }

    /// Kills a pass at a point, and starts it again.
    async fn kill_at(&mut self, point: &Point) {
        let revision = self.merge();
        let proxy = &self.world.system(point.system).proxy;
        proxy.hold(point.nth, point.side);
        let mut pass = self.world.start(&["apply"], "killed.log");
        proxy.stopped().await;
        pass.kill();
        proxy.release();
        self.ends_in_step(&revision, &format!("{point:?}")).await;
    }

    /// Started again, everything is as if nothing had happened.
    async fn ends_in_step(&self, revision: &str, point: &str) {
        let ended = self.world.apply().await;
        assert_eq!(ended.code, Some(0), "{point}: {ended:?}");
        let rollout = Some(u64::from(self.rollout));
        assert_eq!(self.world.rollouts().await, [rollout, rollout], "{point}");
        let states = self.world.states(revision);
        assert_eq!(states, ["success", "success", "success"], "{point}");
        let again = self.world.apply().await;
        assert!(again.out.contains("already in step"), "{point}: {again:?}");
    }

    /// What must hold of the whole record when all is done.
    async fn the_record_is_whole(mut self) {
        self.world.ok(&["audit", "verify"]).await;
        let applied = applied(&self.world).await;
        // Every merged change reached both systems once.
        assert_eq!(applied.len(), usize::try_from(self.rollout).unwrap() - 9);
        assert!(applied.values().all(|systems| systems.len() == 2));
        for system in &self.world.systems {
            let audit = system.changes().await;
            let changes = audit.iter().filter(|e| e["name"] == "ai_assistant");
            assert_eq!(
                changes.count(),
                usize::try_from(self.rollout).unwrap() - 9,
                "{audit:#?}"
            );
        }
        assert_eq!(self.world.staged().await, 0);
    }
}

/// The systems that each revision was applied to, by the ledger: each once, by runs of the group hospital that have ended, each once.
pub(crate) async fn applied(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let mut outcomes: BTreeMap<_, usize> = BTreeMap::new();
    let mut applied: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in world.entries("run.finished").await {
        *outcomes.entry(entry.run.unwrap()).or_default() += 1;
    }
    for entry in world.entries("system.applied").await {
        let system = entry.system.unwrap().to_string();
        let revision = entry.revision.unwrap().to_string();
        let new = applied.entry(revision.clone()).or_default().insert(system);
        assert!(new, "applied twice: {revision}");
    }
    assert!(outcomes.values().all(|n| *n == 1), "{outcomes:?}");
    let store = world.store().await;
    let open = store.open_runs(&"hospital".parse().unwrap()).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    applied
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_07_killed_at_every_request() {
    let points = points().await;
    let phases: BTreeSet<&str> = points.iter().map(|p| p.what.as_str()).collect();
    // Observe, prepare, commit, verify: six requests a system, both sides of each.
    assert_eq!(points.len(), 24, "{points:#?}");
    assert_eq!(phases.len(), 4, "{phases:?}");
    let shares = (0..WORLDS).map(|n| {
        let mine: Vec<Point> = points.iter().skip(n).step_by(WORLDS).cloned().collect();
        async move {
            let mut victim = Victim::new().await;
            for point in &mine {
                victim.kill_at(point).await;
            }
            victim.the_record_is_whole().await;
            mine.len()
        }
    });
    let killed: usize = futures_util::future::join_all(shares).await.iter().sum();
    assert_eq!(killed, points.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_07_killed_at_every_request_of_the_first_sync() {
    // Here the store has never seen the group, and there is no earlier revision to be at.
    let points: Vec<(usize, Side)> = (1..=5)
        .flat_map(|nth| [(nth, Side::Before), (nth, Side::After)])
        .collect();
    let kills = points.iter().map(async |(nth, side)| {
        let world = World::new().await;
        let revision = world.git_in("work", &["rev-parse", "HEAD"]);
        let proxy = &world.system("voicedrive").proxy;
        proxy.hold(*nth, *side);
        let mut pass = world.start(&["apply"], "killed.log");
        proxy.stopped().await;
        pass.kill();
        proxy.release();
        let victim = Victim { world, rollout: 10 };
        victim
            .ends_in_step(revision.trim(), &format!("{nth} {side:?}"))
            .await;
        victim.the_record_is_whole().await;
    });
    futures_util::stream::StreamExt::for_each_concurrent(
        futures_util::stream::iter(kills),
        WORLDS,
        |kill| kill,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_07_killed_while_it_writes() {
    // The last answer before each write: observed before the run is saved, prepared before the decision, verified before the outcome.
    let mut victim = Victim::new().await;
    for (nth, heard, times) in [
        (2, "run starts", 1),
        (3, "Prepared(Ok", 2),
        (6, "Observed(Forward, Ok", 2),
    ] {
        let revision = victim.merge();
        let world = &victim.world;
        world.forget_requests();
        for system in &world.systems {
            system.proxy.hold(nth, Side::After);
        }
        let log = format!("killed-{nth}.log");
        let mut pass = world.start(&["apply", "--log", "lockstep::engine=debug"], &log);
        for system in &world.systems {
            system.proxy.stopped().await;
        }
        let lock = lock(world).await;
        for system in &world.systems {
            system.proxy.release();
        }
        // It has every answer that it waits for, and can't write down what follows from them.
        crate::world::eventually("it has heard the answers", async || {
            (pass.output().matches(heard).count() >= times).then_some(())
        })
        .await;
        pass.kill();
        drop(lock);
        for system in &world.systems {
            let log = system.proxy.log();
            assert_eq!(
                log.len(),
                nth,
                "after {heard}, before it was written: {log:?}"
            );
        }
        victim.ends_in_step(&revision, heard).await;
    }
    victim.the_record_is_whole().await;
}

/// Takes the store's write lock, until the connection is dropped.
async fn lock(world: &World) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(world.path("store.db"))
        .busy_timeout(crate::world::DEADLINE);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::Executor::execute(&mut connection, "BEGIN IMMEDIATE")
        .await
        .unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_07_killed_while_it_takes_back() {
    // Voicedrive says that it has committed and has not: medical is taken back, and the process is killed at each request of that.
    let requests = {
        let world = World::in_step().await;
        roll_back(&world).await;
        assert_eq!(world.apply().await.code, Some(1));
        world.system("medical").proxy.log()
    };
    let first = requests
        .iter()
        .rposition(|s| s.what == "PUT /lockstep/v1/changesets")
        .unwrap();
    let points: Vec<(usize, Side)> = (first + 1..=requests.len())
        .flat_map(|nth| [(nth, Side::Before), (nth, Side::After)])
        .collect();
    assert!(points.len() >= 6, "{requests:#?}");
    let kills = points.into_iter().map(|(nth, side)| async move {
        let mut world = World::in_step().await;
        let revision = roll_back(&world).await;
        let proxy = &world.system("medical").proxy;
        proxy.hold(nth, side);
        let mut pass = world.start(&["apply"], "killed.log");
        proxy.stopped().await;
        pass.kill();
        proxy.release();
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{nth} {side:?}: {ended:?}");
        assert_eq!(
            world.rollouts().await,
            [Some(10), Some(10)],
            "{nth} {side:?}"
        );
        assert_eq!(world.outcomes().await, ["applied", "rolled_back"]);
        assert_eq!(world.states(&revision), ["failure", "failure", "failure"]);
        let proposals = world.ok(&["proposal", "list"]).await;
        let reverts = proposals.lines().filter(|l| l.contains("Return to"));
        assert_eq!(reverts.count(), 1, "{proposals}");
        world.ok(&["audit", "verify"]).await;
        assert_eq!(world.staged().await, 0);
    });
    futures_util::stream::StreamExt::for_each_concurrent(
        futures_util::stream::iter(kills),
        WORLDS,
        |kill| kill,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_07_killed_at_every_request_of_urgent_changes() {
    // Voicedrive is away: medical is looked at, and gets what is urgent by a run of its own.
    let requests = {
        let world = without_voicedrive().await;
        assert_eq!(world.apply().await.code, Some(1));
        assert!(is_revoked(&world).await);
        world.system("medical").proxy.log()
    };
    let prepares = requests.iter().filter(|s| s.what.starts_with("PUT "));
    assert_eq!(prepares.count(), 1, "{requests:#?}");
    let points: Vec<(usize, Side)> = (1..=requests.len())
        .flat_map(|nth| [(nth, Side::Before), (nth, Side::After)])
        .collect();
    assert!(points.len() >= 8, "{requests:#?}");
    let kills = points.into_iter().map(|(nth, side)| async move {
        let mut world = without_voicedrive().await;
        let proxy = &world.system("medical").proxy;
        proxy.hold(nth, side);
        let mut pass = world.start(&["apply"], "killed.log");
        proxy.stopped().await;
        pass.kill();
        proxy.release();
        let place = format!("{nth} {side:?}");
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{place}: {ended:?}");
        assert!(is_revoked(&world).await, "{place}");
        let medical = world.system("medical").resources().await;
        assert_eq!(medical["FeatureFlag/ai_assistant"]["rollout"], 10);
        world.system_mut("voicedrive").restart().await;
        world.ok(&["apply"]).await;
        assert_eq!(world.rollouts().await, [Some(25), Some(25)], "{place}");
        // Once: on the system, and in the record, which knows of no other run than these.
        let audit = world.system("medical").changes().await;
        let revoked = audit.iter().filter(|e| e["name"] == "admin/user002");
        assert_eq!(revoked.count(), 2, "{place}: given and taken: {audit:#?}");
        let mut runs = BTreeSet::new();
        for entry in world.entries("run.finished").await {
            assert!(runs.insert(entry.run.unwrap()), "{place}: ended twice");
        }
        let urgent = world.entries("run.finished").await;
        let urgent = urgent.iter().filter(|e| {
            e.body["scope"]["is"] == "urgent" && e.body["outcome"]["outcome"] == "applied"
        });
        assert_eq!(urgent.count(), 1, "{place}");
        let store = world.store().await;
        let open = store.open_runs(&"hospital".parse().unwrap()).await.unwrap();
        assert!(open.is_empty(), "{place}: {open:?}");
        world.ok(&["audit", "verify"]).await;
        assert_eq!(world.staged().await, 0, "{place}");
    });
    futures_util::stream::StreamExt::for_each_concurrent(
        futures_util::stream::iter(kills),
        WORLDS,
        |kill| kill,
    )
    .await;
}

/// A merge that revokes an admin and raises a rollout, while voicedrive is away.
async fn without_voicedrive() -> World {
    let mut world =
        World::with("safety: {default: {deletes: {percent: 50, count: 10}, updates: {percent: 100}, small: 0}}\n").await;
    let access = |admins: &str| {
        format!("{{ \"admin_users\": [{admins}], \"readonly_users\": [], \"blocked_ips\": [] }}\n")
    };
    let path = "config/access-control.json";
    world.write(path, &access("\"user001\", \"user002\", \"user003\""));
    world.commit("three admins");
    world.ok(&["apply"]).await;
    world.system_mut("voicedrive").kill();
    world.write(path, &access("\"user001\", \"user003\""));
    world.set_rollout(25);
    world.commit("user002 leaves");
    world.forget_requests();
    world
}

async fn is_revoked(world: &World) -> bool {
    let resources = world.system("medical").resources().await;
    !resources.contains_key("AccessGrant/admin/user002")
}

/// Merges what voicedrive will lie about.
async fn roll_back(world: &World) -> String {
    let voicedrive = world.system("voicedrive");
    voicedrive
        .set_faults(serde_json::json!({"lie_digest": true}))
        .await;
    world.set_rollout(25);
    world.commit("raise the rollout")
}
