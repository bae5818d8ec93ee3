//! One of the four dies, at each step of a run, and comes back with what it had kept.
//!
//! The reference system, Unleash and PostgreSQL are killed and started again. The identity provider keeps all it has in memory, so it is the
//! way to it that is cut, at the very request, and mended.

use super::ground::{JOURNAL, Mixed, TABLE, hears};
use crate::world::Process;
use crate::world::postgres::Sort;
use crate::world::proxy::Side;

/// Where in a run a system dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Asked to prepare; nobody hears its answer.
    Preparing,
    /// It has said that it is prepared, and another one has not yet.
    Prepared,
    /// Told to commit, and has not.
    Committing,
    /// It has committed; nobody hears of it.
    Committed,
}

const STEPS: [Step; 4] = [
    Step::Preparing,
    Step::Prepared,
    Step::Committing,
    Step::Committed,
];

/// The systems that are asked over HTTP.
async fn one_dies(system: &'static str) {
    let Some(mut mixed) = Mixed::in_step(Sort::Plain).await else {
        return;
    };
    let asked = requests_until_prepared(&mut mixed, system).await;
    for step in STEPS {
        let when = format!("{system} {step:?}");
        let revision = mixed.merge();
        let log = format!("{when}.log");
        let proxy = mixed.proxy(system);
        let (mut pass, heard) = match step {
            Step::Preparing => {
                proxy.hold(asked, Side::After);
                let pass = mixed.pass(&log);
                mixed.proxy(system).stopped().await;
                die(&mut mixed, system);
                (pass, "Prepared(Err(")
            }
            Step::Prepared => {
                let lock = mixed.lock(TABLE).await;
                let pass = mixed.pass(&log);
                hears(&pass, "Prepared(Ok", 3).await;
                die(&mut mixed, system);
                drop(lock);
                (pass, "Committed(Err(")
            }
            Step::Committing | Step::Committed => {
                let side = match step == Step::Committing {
                    true => Side::Before,
                    false => Side::After,
                };
                match system {
                    "medical" => proxy.hold_at("/commit", side),
                    _ => proxy.hold_write(side),
                }
                let pass = mixed.pass(&log);
                mixed.proxy(system).stopped().await;
                die(&mut mixed, system);
                (pass, "Committed(Err(")
            }
        };
        hears(&pass, heard, 1).await;
        comes_back(&mut mixed, system).await;
        ends(&mut pass, &mixed, step, &revision, &when).await;
    }
    mixed.nothing_was_done_twice().await;
}

/// How many requests a system has been asked by the time that it is prepared, in a run without faults.
async fn requests_until_prepared(mixed: &mut Mixed, system: &str) -> usize {
    let revision = mixed.merge();
    let before = mixed.proxy(system).log().len();
    let lock = mixed.lock(TABLE).await;
    let mut pass = mixed.pass("without-faults.log");
    hears(&pass, "Prepared(Ok", 3).await;
    let asked = mixed.proxy(system).log().len() - before;
    drop(lock);
    assert_eq!(pass.ended().await.code(), Some(0), "{}", pass.output());
    mixed.is_in_step(&revision, "without faults").await;
    asked
}

fn die(mixed: &mut Mixed, system: &str) {
    match system {
        "medical" => mixed.world.system_mut(system).kill(),
        "flags" => mixed.unleash.kill(),
        _ => {}
    }
    // What was answered before is lost with it.
    mixed.proxy(system).cut();
}

async fn comes_back(mixed: &mut Mixed, system: &str) {
    match system {
        "medical" => mixed.world.system_mut(system).restart().await,
        "flags" => {
            mixed.unleash.restart().await;
            mixed.flags.leads_to(mixed.unleash.address());
        }
        _ => {}
    }
    mixed.proxy(system).mend();
}

/// Undecided at the death, all are where they were, and go on from there; decided, all are where it was decided that they should be.
async fn ends(pass: &mut Process, mixed: &Mixed, step: Step, revision: &str, when: &str) {
    let ended = pass.ended().await.code();
    let said = pass.output();
    if step == Step::Preparing {
        assert_eq!(ended, Some(1), "{when}: {said}");
        mixed.all_at(mixed.merged - 1, when).await;
        mixed.comes_in_step(revision, when).await;
    } else {
        assert_eq!(ended, Some(0), "{when}: {said}");
        mixed.is_in_step(revision, when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn medical_of_a_mixed_group_killed_at_each_step_leaves_no_mixture() {
    one_dies("medical").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_of_a_mixed_group_cut_off_at_each_step_leaves_no_mixture() {
    one_dies("auth").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_a_mixed_group_killed_at_each_step_leave_no_mixture() {
    one_dies("flags").await;
}

/// Its database holds what is prepared in an open transaction, which a death ends.
#[tokio::test(flavor = "multi_thread")]
async fn voicedrive_of_a_mixed_group_killed_at_each_step_leaves_no_mixture() {
    database_dies(Sort::Plain).await;
}

/// Its database keeps what is prepared.
#[tokio::test(flavor = "multi_thread")]
async fn voicedrive_that_keeps_what_is_prepared_leaves_no_mixture_either() {
    database_dies(Sort::Preparing).await;
}

async fn database_dies(sort: Sort) {
    let Some(mut mixed) = Mixed::in_step(sort).await else {
        return;
    };
    for step in STEPS {
        let when = format!("voicedrive {step:?}");
        let revision = mixed.merge();
        let log = format!("{when}.log");
        let mut pass = match step {
            Step::Preparing => {
                let _lock = mixed.lock(TABLE).await;
                let pass = mixed.pass(&log);
                mixed.waits_for_a_lock().await;
                mixed.server.crash();
                pass
            }
            Step::Prepared => {
                let pass = mixed.all_but_medical_prepare(&log).await;
                mixed.server.crash();
                mixed.proxy("medical").release();
                pass
            }
            Step::Committing => {
                let pass = mixed.all_but_medical_prepare(&log).await;
                let _lock = mixed.lock(JOURNAL).await;
                mixed.proxy("medical").release();
                mixed.waits_for_a_lock().await;
                mixed.server.crash();
                pass
            }
            Step::Committed => {
                let pass = mixed.all_but_medical_prepare(&log).await;
                mixed.wire.loses_answer_to("COMMIT");
                mixed.proxy("medical").release();
                mixed.wire.lost().await;
                mixed.server.crash();
                mixed.wire.mend();
                pass
            }
        };
        ends(&mut pass, &mixed, step, &revision, &when).await;
    }
    mixed.nothing_was_done_twice().await;
}
