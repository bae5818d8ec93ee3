//! A proposal from its opening to its end, on a bare repository.

use super::*;

#[test]
fn an_edit_changes_the_value_and_not_a_byte_more() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    let wanted = FLAGS.replace("\"rollout\":   10,", "\"rollout\":   25,");
    assert_ne!(wanted, FLAGS);
    assert_eq!(bare.file(&head, "config/feature-flags.json"), wanted);
    // Nothing else is in the commit, and nothing else moved.
    let changed = bare.git(&["diff", "--name-only", "main", &head]);
    assert_eq!(changed, "config/feature-flags.json");
    assert_eq!(bare.file("main", "config/feature-flags.json"), FLAGS);
    let author = bare.git(&["log", "-1", "--format=%an%n%s", &head]);
    assert_eq!(author, "sato\nflag.ai_assistant.rollout=25");
}

#[test]
fn several_edits_are_one_commit_over_several_documents() {
    let bare = Bare::new();
    bare.propose(
        0,
        &[
            "flag.ai_assistant.rollout=20",
            "flag.ai_assistant.description=下書きを提案する",
            "access.readonly_users+=user102",
            "access.blocked_ips-=203.0.113.7",
            "lockstep.yaml#/people/sato/name=佐藤 美咲",
        ],
    );
    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        bare.git(&["rev-list", "--count", &format!("main..{head}")]),
        "1"
    );
    let access = bare.file(&head, "config/access-control.json");
    assert_eq!(
        access,
        ACCESS
            .replace("[\"user101\"]", "[\"user101\", \"user102\"]")
            .replace("[\"203.0.113.7\"]", "[]")
    );
    let config = bare.file(&head, "lockstep.yaml");
    assert_eq!(config, CONFIG.replace("name: 佐藤,", "name: 佐藤 美咲,"));
}

#[test]
fn an_edit_that_can_not_be_made_leaves_nothing_behind() {
    let bare = Bare::new();
    let refs = bare.git(&["for-each-ref"]);
    for (edit, said) in [
        ("flag.ai_asistant.rollout=25", "did you mean ai_assistant?"),
        ("flag.ai_assistant.rollout=10", "nothing would change"),
        ("rollout", "is no edit"),
        (
            "config/nothing.json#/a=1",
            "there is no config/nothing.json",
        ),
        ("alerts/x.md#/a=1", "there is no alerts/x.md"),
        ("access.admin_users-=user999", "user999"),
    ] {
        let ran = bare.propose(2, &[edit]);
        assert!(ran.err.contains(said), "{edit}: {}", ran.err);
        assert_eq!(ran.out, "", "{edit}");
    }
    assert_eq!(bare.git(&["for-each-ref"]), refs);
}

#[test]
fn a_value_that_is_wrong_is_proposed_and_fails_the_check() {
    let bare = Bare::new();
    let ran = bare.propose(1, &["flag.ai_assistant.rollout=250"]);
    assert!(
        ran.out.contains("config/feature-flags.json:5:18"),
        "{}",
        ran.out
    );
    assert_eq!(
        bare.statuses(1),
        [
            "check=failure",
            "policy=pending",
            "plan=failure",
            "approval=pending"
        ]
    );
    let ran = bare.act(1, "merge", 1, "takahashi");
    assert!(
        ran.err
            .contains("config/feature-flags.json:5: a rollout of 250% is not possible"),
        "{}",
        ran.err
    );
}

#[test]
fn a_proposal_is_listed_approved_and_merged() {
    let bare = Bare::new();
    let ran = bare.run(&["proposal", "list"]).code(0);
    assert_eq!(
        (ran.out.as_str(), ran.err.trim()),
        ("", "there are no open proposals")
    );

    bare.run(&[
        "propose",
        "--as",
        "sato",
        "--set",
        "flag.ai_assistant.rollout=25",
        "--title",
        "AI を 25% に",
        "-m",
        "先週の結果がよかったため",
        "--label",
        "flag",
    ])
    .code(0);
    assert_eq!(
        bare.statuses(1),
        [
            "check=success",
            "policy=success",
            "plan=success",
            "approval=pending"
        ]
    );
    let listed = bare.run(&["proposal", "list"]).code(0).out;
    assert_eq!(listed, "#1    open               sato       AI を 25% に\n");
    let listed = bare
        .run(&["proposal", "list", "--format", "json"])
        .code(0)
        .json();
    assert_eq!(listed[0]["labels"][0], "flag");
    assert_eq!(listed[0]["state"]["state"], "open");

    // What is still to come is no fault: 0. Merging is refused, and says who is missing.
    let ran = bare.act(1, "merge", 1, "sato");
    assert!(ran.err.contains("0 of 2 from *"), "{}", ran.err);
    let ran = bare.act(0, "approve", 1, "takahashi");
    assert!(
        ran.err.contains("still missing: lockstep/approval: 1 of 2"),
        "{}",
        ran.err
    );
    let ran = bare.act(0, "approve", 1, "mori-r");
    assert!(
        ran.err.contains("ready: `lockstep proposal merge 1`"),
        "{}",
        ran.err
    );
    assert_eq!(bare.statuses(1), GREEN);

    let base = bare.git(&["rev-parse", "main"]);
    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    let merged = bare.act(0, "merge", 1, "sato").out.trim().to_owned();
    assert_eq!(bare.git(&["rev-parse", "main"]), merged);
    let parents = bare.git(&["log", "-1", "--format=%P%n%an%n%s%n%b", &merged]);
    assert_eq!(
        parents,
        format!("{base} {head}\nsato\nMerge proposal #1: AI を 25% に\n先週の結果がよかったため")
    );

    // It is over: nothing more can be done to it.
    for (verb, said) in [("approve", "merged already"), ("merge", "merged already")] {
        let ran = bare.act(1, verb, 1, "watanabe");
        assert!(ran.err.contains(said), "{verb}: {}", ran.err);
    }
    assert_eq!(bare.run(&["proposal", "list"]).code(0).out, "");
    let all = bare.run(&["proposal", "list", "--all"]).code(0).out;
    assert!(
        all.starts_with(&format!("#1    merged {}", &merged[..10])),
        "{all}"
    );
    assert_eq!(bare.show(1)["proposal"]["state"]["state"], "merged");
}

#[test]
fn statuses_are_pending_first() {
    let bare = Bare::new();
    bare.propose(1, &["flag.ai_assistant.rollout=70"]);
    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    let notes = bare.git(&["notes", "--ref", "lockstep/statuses", "show", &head]);
    let lines: Vec<Value> = notes
        .lines()
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let mut first: Vec<String> = Vec::new();
    for line in &lines {
        let context = line["context"].as_str().unwrap().to_owned();
        if !first.contains(&context) {
            assert_eq!(line["state"], "pending", "{line}");
            first.push(context);
        }
    }
    first.sort();
    assert_eq!(
        first,
        [
            "lockstep/approval",
            "lockstep/check",
            "lockstep/plan",
            "lockstep/policy"
        ]
    );
    // Looking again says nothing new, so writes nothing new.
    bare.show(1);
    let again = bare.git(&["notes", "--ref", "lockstep/statuses", "show", &head]);
    assert_eq!(again, notes);
}

#[test]
fn a_denial_names_the_step_and_is_corrected_in_the_same_proposal() {
    let bare = Bare::new();
    let ran = bare.propose(1, &["flag.ai_assistant.rollout=70"]);
    assert!(ran.out.contains("would go from 10% to 70%"), "{}", ran.out);
    assert!(ran.out.contains("set rollout to 35 now"), "{}", ran.out);
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori-r");
    assert_eq!(
        bare.statuses(1),
        [
            "check=success",
            "policy=failure",
            "plan=success",
            "approval=success"
        ]
    );
    let ran = bare.act(1, "merge", 1, "takahashi");
    assert!(
        ran.err.contains("lockstep/policy: denied: ai_assistant"),
        "{}",
        ran.err
    );

    bare.run(&[
        "propose",
        "--as",
        "sato",
        "--update",
        "1",
        "--set",
        "flag.ai_assistant.rollout=35",
    ])
    .code(0);
    // What they approved was 70: they are asked again, and told why.
    assert_eq!(
        bare.statuses(1),
        [
            "check=success",
            "policy=success",
            "plan=success",
            "approval=pending"
        ]
    );
    let ran = bare.run(&["proposal", "show", "1"]).code(0);
    assert!(
        ran.out.contains("Approvals that don't count"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("a later push added to what was approved"),
        "{}",
        ran.out
    );
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori-r");
    bare.act(0, "merge", 1, "takahashi");
    assert!(
        bare.file("main", "config/feature-flags.json")
            .contains("\"rollout\":   35,")
    );
}

#[test]
fn closing_ends_it_without_a_merge() {
    let bare = Bare::new();
    let main = bare.git(&["rev-parse", "main"]);
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    bare.run(&[
        "proposal",
        "close",
        "1",
        "--as",
        "sato",
        "-m",
        "来月にします",
    ])
    .code(0);
    assert_eq!(bare.git(&["rev-parse", "main"]), main);
    assert_eq!(bare.show(1)["proposal"]["state"]["state"], "closed");
    for verb in ["approve", "merge"] {
        let ran = bare.act(1, verb, 1, "mori");
        assert!(
            ran.err.contains("proposal 1 is closed"),
            "{verb}: {}",
            ran.err
        );
    }
    // The same can be proposed again, under a number of its own.
    bare.propose(0, &["flag.ai_assistant.rollout=20"]);
    assert_eq!(bare.show(2)["proposal"]["state"]["state"], "open");
}

#[test]
fn what_is_not_there_is_said() {
    let bare = Bare::new();
    for arguments in [
        &["proposal", "show", "7"][..],
        &["proposal", "approve", "7", "--as", "mori"],
        &["proposal", "merge", "7", "--as", "mori"],
        &[
            "propose",
            "--update",
            "7",
            "--as",
            "sato",
            "--set",
            "flag.ai_assistant.rollout=1",
        ],
    ] {
        let ran = bare.run(arguments).code(2);
        assert!(ran.err.contains("there is no proposal #7"), "{}", ran.err);
    }
    let ran = bare
        .run(&["propose", "--set", "flag.ai_assistant.rollout=25"])
        .code(2);
    assert!(ran.err.contains("who are you?"), "{}", ran.err);
    // A bare repository has no work tree to propose from.
    let ran = bare.propose(2, &[]);
    assert!(ran.err.contains("--set"), "{}", ran.err);
}

#[test]
fn everything_is_said_in_japanese_too() {
    let bare = Bare::new();
    let ran = bare
        .run(&[
            "--lang",
            "ja",
            "propose",
            "--as",
            "sato",
            "--set",
            "flag.ai_assistant.rollout=70",
        ])
        .code(1);
    assert!(ran.err.contains("提案 1"), "{}", ran.err);
    assert!(ran.out.contains("10% から 70% に上がります"), "{}", ran.out);
    assert!(ran.out.contains("却下 1 件"), "{}", ran.out);
    let ran = bare
        .run(&["--lang", "ja", "proposal", "merge", "1", "--as", "mori"])
        .code(1);
    assert!(ran.err.contains("まだマージできません"), "{}", ran.err);
    assert!(ran.err.contains("ポイントまで"), "{}", ran.err);
    let ran = bare
        .run(&["--lang", "ja", "proposal", "approve", "1", "--as", "sato"])
        .code(1);
    assert!(
        ran.err.contains("自分の提案は承認できません"),
        "{}",
        ran.err
    );
    // Who looks does not change what was published.
    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    let notes = bare.git(&["notes", "--ref", "lockstep/statuses", "show", &head]);
    assert!(!notes.contains("却下"), "{notes}");
}

#[test]
fn conflicts_with_main_are_named_and_can_be_resolved() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let branch = bare.branch(1);
    bare.push(
        "main",
        &[(
            "config/feature-flags.json",
            &FLAGS.replace("  10,", "  12,"),
        )],
    );
    let ran = bare.run(&["proposal", "show", "1"]).code(1);
    assert!(
        ran.out
            .contains("conflicts with main in config/feature-flags.json"),
        "{}",
        ran.out
    );
    assert_eq!(
        bare.statuses(1),
        [
            "check=failure",
            "policy=pending",
            "plan=failure",
            "approval=pending"
        ]
    );
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    bare.act(1, "merge", 1, "mori");

    // The author merges main with plain git and pushes.
    let clone = bare.clone();
    git(&clone, &["checkout", "-q", &branch]);
    git(
        &clone,
        &[
            "merge",
            "-q",
            "-X",
            "ours",
            "-m",
            "main を取り込む",
            "origin/main",
        ],
    );
    git(&clone, &["push", "-q", "origin", &branch]);
    assert_eq!(bare.statuses(1)[0], "check=success");
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    bare.act(0, "merge", 1, "mori");
    assert!(
        bare.file("main", "config/feature-flags.json")
            .contains("  25,")
    );
}

#[test]
fn a_clone_and_plain_git_see_the_whole_story() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    bare.run(&[
        "proposal",
        "approve",
        "1",
        "--as",
        "takahashi",
        "-m",
        "確認しました",
    ])
    .code(0);
    bare.act(0, "approve", 1, "mori");
    bare.act(0, "merge", 1, "mori");
    let clone = bare.clone();
    git(
        &clone,
        &["fetch", "-q", "origin", "refs/notes/*:refs/notes/*"],
    );
    let first = git(&clone, &["rev-parse", "HEAD^2"]);
    let notes = |name: &str| git(&clone, &["notes", "--ref", name, "show", &first]);
    assert!(notes("devtools/reviews").contains("\"targetRef\":\"refs/heads/main\""));
    assert!(notes("devtools/discuss").contains("確認しました"));
    assert!(notes("devtools/ci").contains("\"agent\":\"lockstep/policy\""));
    assert!(notes("lockstep/approvals").contains("\"user\":\"mori\""));
    assert!(notes("lockstep/statuses").contains("lockstep/approval"));
}
