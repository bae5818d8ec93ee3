//! Lockstep itself is killed in the middle of a run of the four: at the requests that change something, on both sides, and at the statements that make
//! voicedrive move.

use super::ground::{JOURNAL, Mixed, TABLE};
use crate::world::postgres::Sort;
use crate::world::proxy::{Seen, Side};

/// The systems that are asked over HTTP.
const ASKED: [&str; 3] = ["medical", "auth", "flags"];

/// The requests of a run without faults, by system.
async fn requests(mixed: &mut Mixed) -> Vec<(&'static str, Vec<Seen>)> {
    let before = ASKED.map(|system| mixed.proxy(system).log().len());
    let revision = mixed.merge();
    let ended = mixed.world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let logs = ASKED.iter().zip(before).map(|(system, before)| {
        let log = mixed.proxy(system).log();
        (*system, log[before..].to_vec())
    });
    let logs = logs.collect();
    mixed.is_in_step(&revision, "without faults").await;
    logs
}

fn is_write(seen: &Seen) -> bool {
    !seen.what.starts_with("GET ")
}

/// Kills a pass at those requests, both sides of each, and gives back how often.
async fn killed_at(mixed: &mut Mixed, which: fn(&Seen) -> bool) -> usize {
    let mut kills = 0;
    for (system, log) in requests(mixed).await {
        for (nth, seen) in (1..).zip(&log).filter(|(_, seen)| which(seen)) {
            for side in [Side::Before, Side::After] {
                let revision = mixed.merge();
                mixed.proxy(system).hold(nth, side);
                let mut pass = mixed.pass("killed.log");
                mixed.proxy(system).stopped().await;
                pass.kill();
                mixed.proxy(system).release();
                let when = format!("{side:?} {} of {system}", seen.what);
                mixed.comes_in_step(&revision, &when).await;
                kills += 1;
            }
        }
    }
    kills
}

/// Kills a pass while voicedrive prepares, while it commits, and when it has committed and Lockstep has not heard of it.
async fn killed_at_voicedrive(mixed: &mut Mixed) {
    let revision = mixed.merge();
    let lock = mixed.lock(TABLE).await;
    let mut pass = mixed.pass("killed.log");
    mixed.waits_for_a_lock().await;
    pass.kill();
    drop(lock);
    mixed.comes_in_step(&revision, "voicedrive prepares").await;

    let revision = mixed.merge();
    let mut pass = mixed.all_but_medical_prepare("killed.log").await;
    let lock = mixed.lock(JOURNAL).await;
    mixed.proxy("medical").release();
    mixed.waits_for_a_lock().await;
    pass.kill();
    drop(lock);
    mixed.comes_in_step(&revision, "voicedrive commits").await;

    let revision = mixed.merge();
    let mut pass = mixed.all_but_medical_prepare("killed.log").await;
    mixed.wire.loses_answer_to("COMMIT");
    mixed.proxy("medical").release();
    mixed.wire.lost().await;
    pass.kill();
    mixed.wire.mend();
    mixed
        .comes_in_step(&revision, "voicedrive has committed")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_07_lockstep_killed_at_every_write_of_a_mixed_run() {
    let Some(mut mixed) = Mixed::in_step(Sort::Preparing).await else {
        return;
    };
    killed_at_voicedrive(&mut mixed).await;
    // Medical prepares and commits; the others write when they commit, and what waits for that lies with Lockstep.
    assert_eq!(killed_at(&mut mixed, is_write).await, 8);
    mixed.nothing_was_done_twice().await;
}
