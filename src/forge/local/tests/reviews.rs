use super::*;

#[tokio::test]
async fn reviews_come_back_as_given_and_git_appraise_reads_them() {
    let world = World::new();
    let proposal = world.propose("a", "t").await;
    let given = [
        review(&world, "kato", ReviewKind::RequestChanges, &proposal.head),
        review(&world, "suzuki", ReviewKind::Comment, &proposal.head),
        // Within the same second, and after the first.
        review(&world, "kato", ReviewKind::Approve, &proposal.head),
    ];
    for review in &given {
        world.forge.review(1, review.clone()).await.unwrap();
    }
    // A clock that was set back does not change the order.
    world.tick(-3600);
    let late = review(&world, "kato", ReviewKind::RequestChanges, &proposal.head);
    world.forge.review(1, late.clone()).await.unwrap();
    let all = world.forge.reviews(1).await.unwrap();
    assert_eq!(all[..3], given);
    assert_eq!(all[3..], [late]);

    let lines = world.show("devtools/discuss", &proposal.head);
    assert_eq!(
        lines[2],
        format!(
            "{{\"timestamp\":\"1760000000\",\"author\":\"kato\",\"location\":{{\"commit\":\"{}\"}},\
             \"description\":\"よい \\u0026 安全\",\"resolved\":true}}",
            proposal.head
        )
    );
    let nobody = Review {
        user: " ".into(),
        ..given[0].clone()
    };
    assert!(refused(world.forge.review(1, nobody).await).contains("reviewer"));
    let nothing = Review {
        commit: "1".repeat(40).parse().unwrap(),
        ..given[0].clone()
    };
    assert!(refused(world.forge.review(1, nothing).await).contains("no commit"));
}

#[tokio::test]
async fn what_people_say_with_git_appraise_counts_and_noise_does_not() {
    let world = World::new();
    let proposal = world.propose("a", "t").await;
    world.tick(100);
    let ours = review(&world, "kato", ReviewKind::Approve, &proposal.head);
    world.forge.review(1, ours.clone()).await.unwrap();
    let say = |line: &str| {
        world.bare.git(&[
            "notes",
            "--ref=devtools/discuss",
            "append",
            "-m",
            line,
            proposal.head.as_str(),
        ]);
    };
    let on = format!("\"location\":{{\"commit\":\"{}\"}}", proposal.head);
    say(&format!(
        r#"{{"timestamp":"1760000150","author":"tanaka@example.com",{on},"description":"LGTM","resolved":true}}"#
    ));
    say(
        r#"{"timestamp":"1760000050","author":"ito@example.com","description":"hmm","resolved":false}"#,
    );
    // Another version of the format, no JSON, a broken field, an answer in a thread, a new version of a comment, blank lines.
    say(r#"{"timestamp":"1760000160","author":"x","resolved":true,"v":1}"#);
    say("not json at all");
    say(r#"{"timestamp":"1760000160","author":["x"],"resolved":true}"#);
    say(
        r#"{"timestamp":"1760000170","author":"ito@example.com","parent":"abc","description":"ok","resolved":true}"#,
    );
    say(r#"{"timestamp":"1760000180","author":"x","original":"abc","resolved":true}"#);
    let all: Vec<_> = world
        .forge
        .reviews(1)
        .await
        .unwrap()
        .into_iter()
        .map(|r| (r.user, r.kind, r.commit == proposal.head, r.plan.is_some()))
        .collect();
    assert_eq!(
        all,
        [
            (
                "ito@example.com".into(),
                ReviewKind::RequestChanges,
                true,
                false
            ),
            ("kato".into(), ReviewKind::Approve, true, true),
            (
                "tanaka@example.com".into(),
                ReviewKind::Approve,
                true,
                false
            ),
            ("ito@example.com".into(), ReviewKind::Comment, true, false),
        ]
    );
}

#[tokio::test]
async fn lockstep_has_one_comment_replaced_in_place() {
    let world = World::new();
    let proposal = world.propose("a", "t").await;
    let forge = &world.forge;
    assert_eq!(forge.comment(1).await.unwrap(), None);
    for text in ["## 一\n\n<b>&</b>\n", "## 二\n", "## 二\n", "## 三\n"] {
        forge.upsert_comment(1, text).await.unwrap();
        assert_eq!(forge.comment(1).await.unwrap().as_deref(), Some(text));
    }
    let lines = world.show("devtools/discuss", &proposal.head);
    assert_eq!(lines.len(), 3, "the same text again writes nothing");
    // SHA-1 of the first line as it stands is what the later ones name.
    let hash = appraise::read::<appraise::Comment>(&lines[..1])[0]
        .hash()
        .unwrap();
    assert_eq!(
        hash,
        hex::encode(<sha1::Sha1 as sha1::Digest>::digest(&lines[0]))
    );
    assert!(!lines[0].contains("original"));
    for line in &lines[1..] {
        assert!(line.contains(&format!("\"original\":\"{hash}\"")), "{line}");
    }
    // A clock that was set back hides nothing.
    world.tick(-60);
    forge.upsert_comment(1, "## 四\n").await.unwrap();
    assert_eq!(forge.comment(1).await.unwrap().as_deref(), Some("## 四\n"));
    assert!(
        forge.reviews(1).await.unwrap().is_empty(),
        "its own comment is no review"
    );
}
