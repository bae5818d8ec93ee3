use super::*;

#[tokio::test]
async fn the_last_status_of_a_context_stands_even_within_one_second() {
    let world = World::new();
    let main = world.forge.main().await.unwrap();
    let (forge, states) = (
        &world.forge,
        [
            (StatusState::Pending, "始める"),
            (StatusState::Success, "12 documents"),
            (StatusState::Failure, "1 error"),
            (StatusState::Failure, "1 error"),
            (StatusState::Pending, "again"),
            (StatusState::Error, "broken"),
        ],
    );
    for (state, description) in states {
        let said = status(&world, state, description);
        forge.set_status(&main, said.clone()).await.unwrap();
        assert_eq!(forge.statuses(&main).await.unwrap(), [said]);
    }
    // Saying the same again wrote nothing; ci knows only what is decided, and each later than the one before.
    assert_eq!(world.show("lockstep/statuses", &main).len(), 5);
    assert_eq!(
        world.show("devtools/ci", &main),
        [
            r#"{"timestamp":"1760000000","status":"success","agent":"lockstep/check"}"#,
            r#"{"timestamp":"1760000001","status":"failure","agent":"lockstep/check"}"#,
        ]
    );
    // Each context by itself.
    let other = Status {
        context: "lockstep/plan".into(),
        ..status(&world, StatusState::Success, "")
    };
    forge.set_status(&main, other).await.unwrap();
    let shown: Vec<_> = forge.statuses(&main).await.unwrap();
    assert_eq!(
        shown
            .iter()
            .map(|s| (s.context.as_str(), s.state))
            .collect::<Vec<_>>(),
        [
            ("lockstep/check", StatusState::Error),
            ("lockstep/plan", StatusState::Success)
        ]
    );
}

#[tokio::test]
async fn a_clock_set_back_does_not_bring_an_old_status_back() {
    let world = World::new();
    let main = world.forge.main().await.unwrap();
    world
        .forge
        .set_status(&main, status(&world, StatusState::Failure, "old"))
        .await
        .unwrap();
    world.tick(-86_400);
    let said = status(&world, StatusState::Success, "new");
    world.forge.set_status(&main, said.clone()).await.unwrap();
    assert_eq!(world.forge.statuses(&main).await.unwrap(), [said]);
    assert!(world.show("devtools/ci", &main)[1].starts_with(r#"{"timestamp":"1760000001""#));
}

#[tokio::test]
async fn a_long_description_is_cut_between_characters() {
    let world = World::new();
    let main = world.forge.main().await.unwrap();
    let long = "変更\n".repeat(100);
    for _ in 0..2 {
        let said = status(&world, StatusState::Pending, &long);
        world.forge.set_status(&main, said).await.unwrap();
    }
    let shown = world.forge.statuses(&main).await.unwrap();
    let description = &shown[0].description;
    assert_eq!(description.chars().count(), 140);
    assert!(description.starts_with("変更 変更 ") && description.ends_with('…'));
    assert_eq!(world.show("lockstep/statuses", &main).len(), 1);
}

#[tokio::test]
async fn a_status_is_only_set_on_a_commit_that_is_there() {
    let world = World::new();
    let nothing: Revision = "1".repeat(40).parse().unwrap();
    let said = status(&world, StatusState::Success, "x");
    assert!(refused(world.forge.set_status(&nothing, said).await).contains("no commit"));
    assert!(world.forge.statuses(&nothing).await.unwrap().is_empty());
}

#[tokio::test]
async fn lines_that_are_none_are_passed_over() {
    let world = World::new();
    let main = world.forge.main().await.unwrap();
    for line in ["{", "[]", "null", r#"{"context":1}"#, r#"{"v":9}"#] {
        world.bare.git(&[
            "notes",
            "--ref=lockstep/statuses",
            "append",
            "-m",
            line,
            main.as_str(),
        ]);
        world.bare.git(&[
            "notes",
            "--ref=lockstep/proposals",
            "append",
            "-m",
            line,
            main.as_str(),
        ]);
    }
    let said = status(&world, StatusState::Success, "x");
    world.forge.set_status(&main, said.clone()).await.unwrap();
    assert_eq!(world.forge.statuses(&main).await.unwrap(), [said]);
    assert!(world.forge.proposals(true).await.unwrap().is_empty());

    // Lines that are well-formed and wrong: a branch that can't be, a head that is nowhere, a number out of reach or of another.
    let proposal = world.propose("a", "t").await;
    for (number, branch) in [(1, "b"), (9, "a..b"), (u64::MAX, "c"), (0, "d")] {
        let nowhere: Revision = "1".repeat(40).parse().unwrap();
        let line = record::ProposalLine {
            timestamp: "1".into(),
            sequence: 1,
            number,
            state: record::State::Open,
            title: "t".into(),
            description: String::new(),
            author: "x".into(),
            labels: Vec::new(),
            branch: branch.into(),
            opened_at: world.clock.now(),
            base: main.clone(),
            head: nowhere,
            commit: None,
            by: None,
            v: 0,
        };
        let line = record::write(&line).concat();
        world.bare.git(&[
            "notes",
            "--ref=lockstep/proposals",
            "append",
            "-m",
            &line,
            main.as_str(),
        ]);
    }
    let all = world.forge.proposals(true).await.unwrap();
    assert_eq!(all.iter().map(|p| p.number).collect::<Vec<_>>(), [9, 1]);
    assert_eq!(all[1], proposal);
    assert_eq!(world.propose("e", "t").await.number, 10);
}
