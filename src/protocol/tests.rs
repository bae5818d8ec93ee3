use super::*;
use crate::config::OnFailure;

mod story;

pub(super) use story::run_of;
use story::{NOW, Story, receipt, refused, seen, show, transient};

#[test]
fn a_change_reaches_both() {
    let story = Story::to_commit(OnFailure::Rollback)
        .both(Answer::Committed(Ok(receipt())))
        .both(seen(Stage::Forward, "target"));
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical committed: -
    voicedrive committed: [Verifying], Observe(Forward) medical, Observe(Forward) voicedrive
    medical observed: -
    voicedrive observed: finish: applied: 2 changes verified
    ");
}

#[test]
fn one_refuses_and_all_stay() {
    let story = Story::of(OnFailure::Rollback)
        .saved()
        .answer("medical", Answer::Prepared(Err(refused())))
        .answer("voicedrive", Answer::Prepared(Ok(())))
        .answer("voicedrive", Answer::Aborted(Err(transient())))
        .answer("voicedrive", Answer::Aborted(Ok(())));
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical not prepared (no such ward): -
    voicedrive prepared: [Aborting], Abort voicedrive
    voicedrive not aborted (connection refused): Abort voicedrive again (1)
    voicedrive aborted: finish: refused by medical: no such ward
    ");
}

#[test]
fn one_hangs_and_all_stay() {
    let story = Story::of(OnFailure::Rollback)
        .saved()
        .answer("voicedrive", Answer::Prepared(Ok(())))
        .late()
        .answer("voicedrive", Answer::Aborted(Ok(())))
        .late();
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    voicedrive prepared: -
    deadline: [Aborting], Abort medical, Abort voicedrive
    voicedrive aborted: -
    deadline: finish: could not reach medical: no answer before the deadline
    ");
}

#[test]
fn one_falls_silent_after_the_decision_and_the_other_is_taken_back() {
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .answer("voicedrive", Answer::Committed(Err(transient())))
        .answer("voicedrive", Answer::Committed(Err(transient())))
        .late()
        .decided(Decision::Compensate)
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("medical", seen(Stage::Undo, "base"))
        .late();
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical committed: -
    voicedrive not committed (connection refused): Commit voicedrive again (1)
    voicedrive not committed (connection refused): Commit voicedrive again (2)
    deadline: decide Compensate
    decided: [Compensating], Undo medical, Abort voicedrive
    medical undone: Observe(Undo) medical
    medical observed: -
    deadline: finish: rolled back because of voicedrive: no answer before the deadline (connection refused); not reached: voicedrive: no answer before the deadline
    ");
}

#[test]
fn a_silent_one_that_had_committed_is_taken_back_too() {
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .late()
        .decided(Decision::Compensate)
        .answer("voicedrive", Answer::Aborted(Err(refused())))
        .both(Answer::Undone(Ok(receipt())))
        .both(seen(Stage::Undo, "base"));
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical committed: -
    deadline: decide Compensate
    decided: [Compensating], Undo medical, Abort voicedrive
    voicedrive not aborted (no such ward): Undo voicedrive
    medical undone: Observe(Undo) medical
    voicedrive undone: Observe(Undo) voicedrive
    medical observed: -
    voicedrive observed: finish: rolled back because of voicedrive: no answer before the deadline
    ");
}

#[test]
fn a_system_that_is_left_may_still_answer_while_the_run_is_open() {
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .late()
        .decided(Decision::Compensate)
        .late()
        .answer("voicedrive", Answer::Aborted(Err(transient())))
        .answer("voicedrive", Answer::Aborted(Ok(())))
        .answer("medical", Answer::Undone(Err(transient())))
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("medical", seen(Stage::Undo, "base"));
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical committed: -
    deadline: decide Compensate
    decided: [Compensating], Undo medical, Abort voicedrive
    deadline: -
    voicedrive not aborted (connection refused): -
    voicedrive aborted: -
    medical not undone (connection refused): Undo medical again (1)
    medical undone: Observe(Undo) medical
    medical observed: finish: rolled back because of voicedrive: no answer before the deadline
    ");
}

#[test]
fn a_liar_is_caught_and_found_back_at_the_base() {
    let story = Story::to_commit(OnFailure::Rollback)
        .both(Answer::Committed(Ok(receipt())))
        .answer("medical", seen(Stage::Forward, "target"))
        .answer("voicedrive", seen(Stage::Forward, "base"))
        .decided(Decision::Compensate)
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("voicedrive", Answer::Undone(Err(refused())))
        .both(seen(Stage::Undo, "base"));
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical committed: -
    voicedrive committed: [Verifying], Observe(Forward) medical, Observe(Forward) voicedrive
    medical observed: -
    voicedrive observed: decide Compensate
    decided: [Compensating], Undo medical, Undo voicedrive
    medical undone: Observe(Undo) medical
    voicedrive not undone (no such ward): Observe(Undo) voicedrive
    medical observed: -
    voicedrive observed: finish: rolled back because of voicedrive: its state has the digest cae662172fd4, but what it says it did leads to 34a04005bcaf
    ");
}

#[test]
fn a_group_that_holds_says_who_is_where() {
    let story = Story::to_commit(OnFailure::Hold)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .answer("voicedrive", Answer::Committed(Err(refused())))
        .answer("medical", seen(Stage::Forward, "target"));
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical committed: -
    voicedrive not committed (no such ward): [Verifying], Observe(Forward) medical
    medical observed: finish: a person must look at voicedrive: no such ward
    ");
    let conditions = story.run.conditions();
    insta::assert_json_snapshot!(conditions, @r###"
    {
      "medical": {
        "state": "held",
        "reason": "waits_for_others",
        "message": "a person must look at voicedrive: no such ward"
      },
      "voicedrive": {
        "state": "incident",
        "reason": "stuck",
        "message": "no such ward"
      }
    }
    "###);
}

#[test]
fn a_newer_holder_ends_it_without_a_word() {
    let fenced = ConnectorError::Fenced {
        message: "fence 2 was seen".to_owned(),
    };
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Err(fenced)))
        .answer("voicedrive", Answer::Committed(Ok(receipt())))
        .late();
    insta::assert_snapshot!(story.text, @"
    start: save
    saved: [Preparing], Prepare medical, Prepare voicedrive
    medical prepared: -
    voicedrive prepared: decide Commit
    decided: [Committing], Commit medical, Commit voicedrive
    medical not committed (fence 2 was seen): yield to whom medical has seen
    voicedrive committed: -
    deadline: -
    ");
    assert_eq!(story.run.outcome, None);
}

#[test]
fn backoff_stops_growing() {
    let mut story = Story::to_commit(OnFailure::Rollback);
    for _ in 0..300 {
        story = story.answer("medical", Answer::Committed(Err(transient())));
    }
    let last = story.text.lines().last().unwrap();
    assert!(last.ends_with("again (8)"), "{last}");
}

#[test]
fn a_restarted_engine_goes_by_the_decision_alone() {
    let recovered = |run: &Run| show(&recover(run.clone(), Fence(2)).1);
    let undecided = Story::of(OnFailure::Rollback).saved();
    insta::assert_snapshot!(recovered(&undecided.run), @"[Aborting], Abort medical, Abort voicedrive");
    let decided = undecided.both(Answer::Prepared(Ok(())));
    insta::assert_snapshot!(recovered(&decided.run), @"[Committing], Commit medical, Commit voicedrive");
    let failed = decided
        .decided(Decision::Commit)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .late();
    insta::assert_snapshot!(recovered(&failed.run), @"[Compensating], Undo medical, Abort voicedrive");
    let ended = failed
        .decided(Decision::Compensate)
        .answer("voicedrive", Answer::Aborted(Ok(())))
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("medical", seen(Stage::Undo, "base"));
    insta::assert_snapshot!(recovered(&ended.run), @"-");
}

#[test]
fn a_run_survives_the_store_at_every_point() {
    let check = |run: &Run| {
        let text = serde_json::to_string(run).unwrap();
        assert_eq!(&serde_json::from_str::<Run>(&text).unwrap(), run);
    };
    let mut story = Story::to_commit(OnFailure::Rollback);
    check(&story.run);
    for event in [
        Event::Answered("medical".parse().unwrap(), Answer::Committed(Ok(receipt()))),
        Event::Deadline(Phase::Committing),
        Event::Decided(Decision::Compensate),
        Event::Deadline(Phase::Compensating),
        Event::Answered("medical".parse().unwrap(), Answer::Undone(Err(refused()))),
        Event::Answered("medical".parse().unwrap(), seen(Stage::Undo, "elsewhere")),
    ] {
        story = story.then("", event);
        check(&story.run);
    }
    assert_eq!(story.run.phase, Phase::Finished);
}

#[test]
fn a_run_with_nothing_to_do_is_in_step() {
    let empty = run_of(&[], OnFailure::Rollback, Digest::of(b""), Digest::of(b""));
    let (run, effects) = start(empty, NOW);
    assert_eq!(effects, [Effect::Finish(Outcome::InStep)]);
    assert_eq!(run.phase, Phase::Finished);
}

#[test]
fn the_gravest_failure_names_the_outcome() {
    let stale = || ConnectorError::Stale {
        message: "another base".to_owned(),
    };
    let outcome = |medical: ConnectorError, voicedrive: ConnectorError| {
        let story = Story::of(OnFailure::Rollback)
            .saved()
            .answer("medical", Answer::Prepared(Err(medical)))
            .answer("voicedrive", Answer::Prepared(Err(voicedrive)))
            .both(Answer::Aborted(Ok(())));
        story.run.outcome.unwrap().name()
    };
    assert_eq!(outcome(stale(), stale()), "stale");
    assert_eq!(outcome(stale(), transient()), "unreachable");
    assert_eq!(outcome(refused(), transient()), "refused");
}
