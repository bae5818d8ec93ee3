use super::*;

#[tokio::test]
async fn a_proposal_lives_from_branch_to_merge() {
    let world = World::new();
    let (forge, main) = (&world.forge, world.forge.main().await.unwrap());
    let first = world
        .bare
        .commit("rollout", &[("config/a.json", Some("{\"x\": 1}\n"))]);
    let opened = forge
        .open(new("rollout", "AIアシスタントを 25% へ\n"))
        .await
        .unwrap();
    assert_eq!(
        opened,
        Proposal {
            number: 1,
            title: "AIアシスタントを 25% へ".into(),
            description: new("", "").description,
            author: "sato".into(),
            labels: vec!["flag".into()],
            branch: "rollout".into(),
            base: main.clone(),
            head: first.clone(),
            opened_at: world.clock.now(),
            updated_at: None,
            fork: None,
            merged_by: None,
            state: ProposalState::Open,
        }
    );

    // A push makes a new head; main may move too, and is what judges it.
    world.tick(60);
    let head = world
        .bare
        .commit("rollout", &[("config/b.json", Some("{}"))]);
    let base = world.bare.commit("main", &[("config/c.json", Some("{}"))]);
    let seen = forge.proposals(false).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].head, &seen[0].base), (&head, &base));

    // What was judged before is not merged now.
    assert!(matches!(
        forge.merge(&opened, "kato").await,
        Err(ForgeError::Conflict(_))
    ));
    let stale = Proposal {
        base: main,
        ..seen[0].clone()
    };
    assert!(matches!(
        forge.merge(&stale, "kato").await,
        Err(ForgeError::Conflict(_))
    ));
    assert_eq!(forge.main().await.unwrap(), base);

    let merged = forge.merge(&seen[0], "加藤").await.unwrap();
    assert_eq!(forge.main().await.unwrap(), merged);
    assert_eq!(
        world
            .bare
            .git(&["log", "-1", "--format=%an|%ae|%cn|%P|%s", merged.as_str()]),
        format!(
            "加藤|--@lockstep.invalid|加藤|{base} {head}|Merge proposal #1: AIアシスタントを 25% へ\n"
        )
    );
    let done = forge.proposal(1).await.unwrap();
    assert_eq!(
        done.state,
        ProposalState::Merged {
            commit: merged.clone()
        }
    );
    assert_eq!((done.base, done.head), (base, head));
    assert!(forge.proposals(false).await.unwrap().is_empty());
    assert_eq!(forge.proposals(true).await.unwrap().len(), 1);
    assert!(refused(forge.merge(&seen[0], "kato").await).contains("merged already"));
    assert!(refused(forge.close(1, "kato", "").await).contains("merged already"));

    // The branch may go and its name may be used again.
    world.bare.git(&["update-ref", "-d", "refs/heads/rollout"]);
    world
        .bare
        .commit("rollout", &[("config/d.json", Some("{}"))]);
    assert_eq!(forge.open(new("rollout", "次")).await.unwrap().number, 2);
    assert_eq!(
        forge.proposal(1).await.unwrap().state,
        ProposalState::Merged { commit: merged }
    );
    world.bare.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn what_can_not_be_proposed_says_why() {
    let world = World::new();
    let forge = &world.forge;
    let open = async |branch: &str| refused(forge.open(new(branch, "t")).await);
    assert!(open("main").await.contains("main branch"));
    assert!(open("nowhere").await.contains("push it first"));
    assert!(open("a..b").await.contains("branch's name"));
    world.bare.git(&["branch", "same", "main"]);
    assert!(open("same").await.contains("nothing that main lacks"));
    world.propose("a", "t").await;
    assert!(open("a").await.contains("#1 is open"));
    // Another name for the same commits.
    world.bare.git(&["branch", "b", "a"]);
    assert!(open("b").await.contains("#1 proposes these commits"));
    assert!(refused(forge.open(new("b", " \n ")).await).contains("title"));
    assert!(refused(forge.proposal(7).await).contains("proposal list"));
    assert_eq!(forge.proposals(true).await.unwrap().len(), 1);

    let empty = tempfile::tempdir().unwrap();
    Repo::init_bare(empty.path()).unwrap();
    let forge = forge_at(empty.path(), &world.clock);
    assert!(refused(forge.main().await).contains("first commit"));
    assert!(forge.proposals(true).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stack_of_branches_is_two_proposals() {
    let world = World::new();
    let lower = world.propose("lower", "下").await;
    world.bare.git(&["branch", "upper", "lower"]);
    let upper = world.propose("upper", "上").await;
    assert_eq!((lower.number, upper.number), (1, 2));
    // Merging the upper one brings the lower one's commits along; nobody merged the lower one, and it can be closed.
    let merged = world.forge.merge(&upper, "kato").await.unwrap();
    let state = async |number| world.forge.proposal(number).await.unwrap().state;
    assert_eq!(state(2).await, ProposalState::Merged { commit: merged });
    assert_eq!(state(1).await, ProposalState::Open);
    world.forge.close(1, "kato", "").await.unwrap();
    assert_eq!(state(1).await, ProposalState::Closed);
}

#[tokio::test]
async fn closing_keeps_it_readable_without_its_branch() {
    let world = World::new();
    let forge = &world.forge;
    let opened = world.propose("a", "やめる案").await;
    world.tick(5);
    let head = world.bare.commit("a", &[("config/a.json", Some("[]"))]);
    // The push is noticed, then the branch is gone.
    assert_eq!(forge.proposal(1).await.unwrap().head, head);
    world.bare.git(&["update-ref", "-d", "refs/heads/a"]);
    world.bare.git(&["gc", "-q", "--prune=now"]);
    let orphan = forge.proposal(1).await.unwrap();
    assert_eq!((&orphan.head, &orphan.state), (&head, &ProposalState::Open));
    assert!(world.bare.repo.snapshot(&head).is_ok());

    forge.close(1, "sato", "別の案にする").await.unwrap();
    let closed = forge.proposal(1).await.unwrap();
    assert_eq!(
        (&closed.head, &closed.state),
        (&head, &ProposalState::Closed)
    );
    assert!(forge.proposals(false).await.unwrap().is_empty());
    assert!(refused(forge.close(1, "sato", "").await).contains("closed"));
    assert!(refused(forge.merge(&opened, "kato").await).contains("closed"));
    let approve = review(&world, "kato", ReviewKind::Approve, &head);
    assert!(refused(forge.review(1, approve).await).contains("closed"));
    let said = forge.reviews(1).await.unwrap();
    assert_eq!(said[0].message, "別の案にする");

    // git-appraise: an empty target is an abandoned review.
    let requests = world.show("devtools/reviews", &opened.head);
    assert!(requests[0].contains("\"targetRef\":\"refs/heads/main\""));
    assert!(requests[1].contains("\"targetRef\":\"\""));

    // The same commits may be proposed again; what was said of the first is not said of the second.
    world.tick(5);
    world.bare.git(&["branch", "a", head.as_str()]);
    assert_eq!(forge.open(new("a", "もう一度")).await.unwrap().number, 2);
    assert!(forge.reviews(2).await.unwrap().is_empty());
    assert_eq!(forge.reviews(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn merges_made_with_plain_git_are_noticed() {
    let world = World::new();
    let clone = tempfile::tempdir().unwrap();
    let proposal = world.propose("a", "by hand").await;
    let second = world.propose("b", "rebased").await;
    let run = |arguments: &[&str]| git(clone.path(), arguments);
    run(&["clone", "-q", world.bare.repo.path().to_str().unwrap(), "."]);
    run(&["merge", "-q", "--no-ff", "-m", "by hand", "origin/a"]);
    run(&["push", "-q"]);
    let merged = world.forge.main().await.unwrap();
    let seen = world.forge.proposal(1).await.unwrap();
    assert_eq!(
        seen.state,
        ProposalState::Merged {
            commit: merged.clone()
        }
    );
    assert_eq!((seen.base, seen.head), (proposal.base, proposal.head));

    // Rebased, pushed and merged between two looks: the beginning is another, the end is in main.
    run(&["checkout", "-q", "-b", "b", "origin/b"]);
    run(&["commit", "-q", "--allow-empty", "-m", "more"]);
    run(&["push", "-q", "origin", "b"]);
    assert_eq!(
        world.forge.proposal(2).await.unwrap().state,
        ProposalState::Open
    );
    run(&["rebase", "-q", "origin/main"]);
    run(&["push", "-qf", "origin", "b"]);
    assert_eq!(
        world.forge.proposal(2).await.unwrap().state,
        ProposalState::Open
    );
    run(&["checkout", "-q", "main"]);
    run(&["merge", "-q", "--no-ff", "-m", "by hand", "b"]);
    run(&["push", "-q", "origin", "main"]);
    let merge = world.forge.main().await.unwrap();
    let head = world.bare.repo.head("b").unwrap().unwrap();
    let seen = world.forge.proposal(2).await.unwrap();
    assert_eq!(seen.state, ProposalState::Merged { commit: merge });
    assert_eq!(seen.head, head);
    assert_ne!(second.head, head);
    // Later steps of main change nothing about when it was merged.
    world.bare.commit("main", &[("config/z.json", Some("{}"))]);
    assert_eq!(
        world.forge.proposal(1).await.unwrap().state,
        ProposalState::Merged { commit: merged }
    );
}

#[tokio::test]
async fn a_branch_that_is_reset_to_main_is_not_merged() {
    let world = World::new();
    world.propose("a", "t").await;
    let main = world.bare.commit("main", &[("config/m.json", Some("{}"))]);
    world
        .bare
        .git(&["update-ref", "refs/heads/a", main.as_str()]);
    let seen = world.forge.proposal(1).await.unwrap();
    assert_eq!((seen.state, seen.head), (ProposalState::Open, main));
}

#[tokio::test]
async fn what_another_proposal_brought_along_is_not_merged() {
    let world = World::new();
    let own = world.propose("a", "own").await;
    let other = world.propose("b", "other").await;
    world.forge.merge(&other, "kato").await.unwrap();
    let state = async || world.forge.proposal(1).await.unwrap().state;
    // Its branch set to what main has merged, looked at twice: what is kept of its own head is not moved there.
    for to in [&other.head, &world.forge.main().await.unwrap()] {
        world.bare.git(&["update-ref", "refs/heads/a", to.as_str()]);
        assert_eq!(state().await, ProposalState::Open);
        assert_eq!(state().await, ProposalState::Open);
    }
    world
        .bare
        .git(&["update-ref", "refs/heads/a", own.head.as_str()]);
    let again = world.forge.proposal(1).await.unwrap();
    assert_eq!(
        (&again.state, &again.head),
        (&ProposalState::Open, &own.head)
    );

    // A head that was kept before its proposal was there.
    let merged = other.head.as_str();
    world
        .bare
        .git(&["update-ref", "refs/lockstep/heads/3", merged]);
    let third = world.propose("c", "third").await;
    assert_eq!((third.number, third.state), (3, ProposalState::Open));

    // Fast forward: no step of main merges it.
    world
        .bare
        .git(&["update-ref", "refs/heads/main", third.head.as_str()]);
    assert_eq!(
        world.forge.proposal(3).await.unwrap().state,
        ProposalState::Open
    );
}

#[tokio::test]
async fn a_reference_that_is_no_commit_or_has_no_number_stops_nobody() {
    let world = World::new();
    world.propose("a", "one").await;
    let blob = world.bare.git(&["rev-parse", "main:lockstep.yaml"]);
    let blob = blob.trim();
    for name in ["heads/1", "proposals/1", "heads/2", "proposals/3"] {
        let name = format!("refs/lockstep/{name}");
        world.bare.git(&["update-ref", &name, blob]);
    }
    let most = format!("refs/lockstep/proposals/{}", u64::MAX);
    world.bare.git(&["update-ref", &most, "refs/heads/a"]);
    let numbers = async || -> Vec<u64> {
        let all = world.forge.proposals(true).await.unwrap();
        all.iter().map(|p| p.number).collect()
    };
    assert_eq!(numbers().await, [1]);
    assert_eq!(world.propose("b", "two").await.number, 4);
    // A line that carries one.
    let line = world.show(
        record::PROPOSALS,
        &world.forge.inner.find(1).unwrap().1.first,
    )[0]
    .replace("\"number\":1,", "\"number\":1000000000000,");
    let head = world.bare.commit("c", &[("config/c.json", Some("{}"))]);
    world.bare.git(&[
        "notes",
        "--ref",
        record::PROPOSALS,
        "add",
        "-m",
        &line,
        head.as_str(),
    ]);
    assert_eq!(numbers().await, [1_000_000_000_000, 4, 1]);
    assert_eq!(world.propose("d", "three").await.number, 5);
}

#[tokio::test]
async fn a_conflict_is_refused_with_the_files() {
    let world = World::new();
    world.bare.commit("a", &[("config/a.json", Some("[1]\n"))]);
    world.forge.open(new("a", "t")).await.unwrap();
    world
        .bare
        .commit("main", &[("config/a.json", Some("[2]\n"))]);
    let proposal = world.forge.proposal(1).await.unwrap();
    assert!(refused(world.forge.merge(&proposal, "kato").await).contains("config/a.json"));
    assert_eq!(
        world.forge.proposal(1).await.unwrap().state,
        ProposalState::Open
    );
}

#[tokio::test]
async fn numbers_are_given_once_whoever_opens_at_the_same_time() {
    let world = World::new();
    const OPENERS: u64 = 6;
    for n in 0..OPENERS {
        world.bare.commit(
            &format!("b{n}"),
            &[(&*format!("config/{n}.json"), Some("{}"))],
        );
    }
    let mut openers = tokio::task::JoinSet::new();
    for n in 0..OPENERS {
        let forge = forge_at(world.bare.repo.path(), &world.clock);
        openers.spawn(async move { forge.open(new(&format!("b{n}"), "t")).await.unwrap().number });
    }
    let mut numbers = openers.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=OPENERS).collect::<Vec<_>>());
    let all = world.forge.proposals(true).await.unwrap();
    assert_eq!(
        all.iter().map(|p| p.number).collect::<Vec<_>>(),
        (1..=OPENERS).rev().collect::<Vec<_>>()
    );

    // One branch, opened by many at once, is one proposal.
    world.bare.commit("one", &[("config/one.json", Some("{}"))]);
    let mut openers = tokio::task::JoinSet::new();
    for _ in 0..OPENERS {
        let forge = forge_at(world.bare.repo.path(), &world.clock);
        openers.spawn(async move { forge.open(new("one", "t")).await });
    }
    let results = openers.join_all().await;
    assert_eq!(
        results.iter().filter(|r| r.is_ok()).count(),
        1,
        "{results:?}"
    );
    assert!(
        results
            .iter()
            .all(|r| !matches!(r, Err(ForgeError::Transient(_))))
    );
    assert_eq!(
        world.forge.proposals(false).await.unwrap().len(),
        OPENERS as usize + 1
    );
}

#[tokio::test]
async fn a_mirror_shows_the_same() {
    let world = World::new();
    let proposal = world.propose("a", "写し").await;
    let approve = review(&world, "kato", ReviewKind::Approve, &proposal.head);
    world.forge.review(1, approve).await.unwrap();
    let said = status(&world, StatusState::Success, "よし");
    world.forge.set_status(&proposal.head, said).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mirror = folder.path().join("mirror.git");
    world
        .bare
        .git(&["clone", "-q", "--mirror", ".", mirror.to_str().unwrap()]);
    let copy = forge_at(&mirror, &world.clock);
    assert_eq!(
        copy.proposals(true).await.unwrap(),
        world.forge.proposals(true).await.unwrap()
    );
    assert_eq!(
        copy.reviews(1).await.unwrap(),
        world.forge.reviews(1).await.unwrap()
    );
    assert_eq!(
        copy.statuses(&proposal.head).await.unwrap(),
        world.forge.statuses(&proposal.head).await.unwrap()
    );
    assert!(
        git(&mirror, &["notes", "--ref=devtools/reviews", "list"]).contains(proposal.head.as_str())
    );
    // A plain clone has the proposals without the references that only we make.
    world
        .bare
        .git(&["update-ref", "-d", "refs/lockstep/proposals/1"]);
    world
        .bare
        .git(&["update-ref", "-d", "refs/lockstep/heads/1"]);
    assert_eq!(world.forge.proposal(1).await.unwrap(), proposal);
    assert_eq!(world.propose("b", "t").await.number, 2);
}
