//! Several replicas on one store: they share the groups, take over from each other, and however they are stopped nothing is done twice.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::world::proxy::Side;
use crate::world::{DEADLINE, Process, eventually};

mod cable;
mod ward;

use cable::Cable;
use ward::Ward;

/// What `kill -STOP` and `kill -CONT` do.
fn signal(process: &Process, name: &str) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &process.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_groups_and_take_over_from_one_that_is_killed() {
    let Some(mut ward) = Ward::new(8).await else {
        return;
    };
    let mut one = ward.replica("one");
    assert_eq!(ward.shared_by(&[&one]).await, [8]);
    ward.comes_in_step().await;

    let two = ward.replica("two");
    let shares = ward.shared_by(&[&one, &two]).await;
    assert!(shares.iter().all(|share| *share < 8), "{shares:?}");
    let revision = ward.merge(0);
    ward.merge(1);
    ward.comes_in_step().await;
    assert!(!one.output().contains("waits"), "{}", one.output());

    one.kill();
    for group in 0..8 {
        ward.merge(group);
    }
    assert_eq!(ward.shared_by(&[&two]).await, [8]);
    ward.comes_in_step().await;
    eventually("whoever is left writes the statuses", async || {
        let statuses = ward.world.statuses(&ward.head());
        let whole = statuses.get("lockstep/apply")?;
        (whole.0 == "success").then_some(())
    })
    .await;
    assert_eq!(
        ward.world.statuses(&revision)["lockstep/apply"].0,
        "success"
    );
    ward.nothing_was_lost_or_done_twice().await;
}

/// Stopped while a request of a run is on its way to a system, or its answer on the way back; what is on its way arrives when others have long
/// gone on.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_paused_past_its_lease_changes_nothing_when_it_wakes() {
    for (what, side) in [
        ("/changesets", Side::Before),
        ("/changesets", Side::After),
        ("/commit", Side::Before),
        ("/commit", Side::After),
    ] {
        let Some(mut ward) = Ward::new(1).await else {
            return;
        };
        let one = ward.replica("one");
        ward.comes_in_step().await;
        ward.shared_by(&[&one]).await;
        ward.world.systems[1].proxy.hold_at(what, side);
        ward.merge(0);
        ward.world.systems[1].proxy.stopped().await;
        signal(&one, "STOP");

        let two = ward.replica("two");
        eventually("the other takes the group over", async || {
            let shares = ward.shares().await;
            shares.contains_key(&two.id()).then_some(())
        })
        .await;
        ward.comes_in_step().await;
        let newest = ward.merge(0);
        ward.comes_in_step().await;
        let before = (
            ward.states().await,
            ward.nothing_was_lost_or_done_twice().await,
        );

        ward.world.systems[1].proxy.release();
        signal(&one, "CONT");
        eventually("it is awake and knows of the other", async || {
            one.output().contains("replicas=2").then_some(())
        })
        .await;
        let after = (
            ward.states().await,
            ward.nothing_was_lost_or_done_twice().await,
        );
        assert_eq!(before, after, "{what} {side:?}");
        ward.merge(0);
        ward.comes_in_step().await;
        ward.nothing_was_lost_or_done_twice().await;
        eventually("the statuses of the newest revision", async || {
            let statuses = ward.world.statuses(&newest);
            (statuses.get("lockstep/apply")?.0 == "success").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_from_the_store_stops_and_another_goes_on() {
    let Some(mut ward) = Ward::new(6).await else {
        return;
    };
    let cable = Cable::to(ward.url()).await;
    let one = ward.replica_over("one", &cable.url());
    assert_eq!(ward.shared_by(&[&one]).await, [6]);
    ward.comes_in_step().await;

    cable.cut();
    for group in 0..6 {
        ward.merge(group);
    }
    let two = ward.replica("two");
    assert_eq!(ward.shared_by(&[&two]).await, [6]);
    ward.comes_in_step().await;
    ward.nothing_was_lost_or_done_twice().await;

    cable.mend();
    let shares = ward.shared_by(&[&one, &two]).await;
    assert!(shares.iter().all(|share| *share < 6), "{shares:?}");
    for group in 0..6 {
        ward.merge(group);
    }
    ward.comes_in_step().await;
    ward.nothing_was_lost_or_done_twice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_restarted_one_after_the_other_and_no_run_fails() {
    let Some(mut ward) = Ward::new(6).await else {
        return;
    };
    let mut replicas = vec![ward.replica("a0"), ward.replica("b0"), ward.replica("c0")];
    ward.comes_in_step().await;
    for round in 0..3 {
        for group in 0..6 {
            ward.merge(group);
        }
        let mut old = replicas.remove(0);
        old.terminate();
        let ended = old.ended_within(Duration::from_secs(20)).await;
        assert_eq!(ended.code(), Some(0), "{}", old.output());
        replicas.push(ward.replica(&format!("new{round}")));
        for group in 0..6 {
            ward.merge(group);
        }
    }
    ward.comes_in_step().await;
    let outcomes = ward.world.outcomes().await;
    assert!(
        outcomes.iter().all(|o| o == "applied" || o == "in_step"),
        "{outcomes:?}"
    );
    ward.nothing_was_lost_or_done_twice().await;
}

/// What is done to a replica in the middle of everything.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    /// For longer than its lease.
    Pause,
    Terminate,
}

/// Merges so often and for so long while replicas are killed, paused and restarted in turn; in the end everything that was merged last is on every
/// system, and the systems count nothing twice.
async fn storm(groups: usize, seconds: u64) {
    let Some(mut ward) = Ward::new(groups).await else {
        return;
    };
    let mut replicas: Vec<Process> = ["a", "b", "c"].map(|name| ward.replica(name)).into();
    ward.comes_in_step().await;
    let (start, mut merges, mut blows) = (Instant::now(), 0, 0);
    let mut next_blow = Duration::from_secs(2);
    let mut paused: Option<(Process, Duration)> = None;
    let kinds = [Blow::Kill, Blow::Pause, Blow::Terminate];
    while start.elapsed() < Duration::from_secs(seconds) {
        ward.merge((merges * 7 + merges / groups) % groups);
        merges += 1;
        let elapsed = start.elapsed();
        if paused.as_ref().is_some_and(|(_, until)| elapsed >= *until)
            && let Some((replica, _)) = paused.take()
        {
            signal(&replica, "CONT");
            replicas.push(replica);
        }
        if elapsed >= next_blow && paused.is_none() {
            let mut replica = replicas.remove(0);
            match kinds[blows % kinds.len()] {
                Blow::Kill => {
                    replica.kill();
                    replicas.push(ward.replica(&format!("r{blows}")));
                }
                Blow::Pause => {
                    signal(&replica, "STOP");
                    paused = Some((replica, elapsed + Duration::from_secs(6)));
                }
                Blow::Terminate => {
                    replica.terminate();
                    replica.ended_within(Duration::from_secs(20)).await;
                    replicas.push(ward.replica(&format!("r{blows}")));
                }
            }
            blows += 1;
            next_blow = elapsed + Duration::from_secs(3);
        }
        // Ten a second, where the machine can.
        let due = start + Duration::from_millis(100) * u32::try_from(merges).unwrap();
        tokio::time::sleep_until(due.into()).await;
    }
    if let Some((replica, _)) = paused.take() {
        signal(&replica, "CONT");
        replicas.push(replica);
    }
    let merged = start.elapsed();
    ward.comes_in_step().await;
    let last = ward.head();
    let waited = Instant::now();
    loop {
        let statuses = ward.world.statuses(&last);
        if statuses
            .get("lockstep/apply")
            .is_some_and(|s| s.0 == "success")
        {
            break;
        }
        let logs: Vec<String> = replicas.iter().map(Process::output).collect();
        assert!(
            waited.elapsed() < DEADLINE,
            "the last merge's statuses: {statuses:#?}\n{}",
            logs.join("\n\n")
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let changes = ward.nothing_was_lost_or_done_twice().await;
    let outcomes = ward.world.outcomes().await;
    println!(
        "{} systems, {merges} merges in {:.1} s, {blows} blows, {} runs, {changes} changes on the systems, in step {:.1} s after the last merge",
        groups * 2,
        merged.as_secs_f64(),
        outcomes.len(),
        start.elapsed().saturating_sub(merged).as_secs_f64(),
    );
    let allowed = ["applied", "in_step", "interrupted", "stale"];
    assert!(
        outcomes.iter().all(|o| allowed.contains(&o.as_str())),
        "{outcomes:?}"
    );
    assert!(blows >= 3, "only {blows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_killed_and_paused_lose_nothing() {
    storm(4, 12).await;
}

/// Three replicas and 50 systems for a minute.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: cargo test --test it replicas::fifty -- --ignored --nocapture"]
async fn fifty_systems_lose_nothing_in_a_minute_of_kills_and_pauses() {
    storm(25, 60).await;
}
