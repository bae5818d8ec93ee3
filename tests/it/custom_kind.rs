//! The walk of docs/new-kind.md: a payroll cut-off calendar as a kind of its own, on two systems, by files alone.

use serde_json::Value;

use crate::world::World;

/// The files as the page shows them, by path.
fn page() -> Vec<(String, String)> {
    let text = include_str!("../../docs/new-kind.md");
    let mut files = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("<!-- file: ") {
        let (path, after) = after.split_once(" -->").unwrap();
        let (_, after) = after.split_once("```").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        let (content, after) = after.split_once("```").unwrap();
        files.push((path.to_owned(), content.to_owned()));
        rest = after;
    }
    files
}

async fn with_the_kind() -> World {
    let world = World::in_step().await;
    let config = world
        .config("documents:\n  - {path: config/payroll-cutoff.yaml, kind: PayrollCutoff}\n")
        .replace("Notice]", "Notice, PayrollCutoff]");
    world.write("lockstep.yaml", &config);
    for (path, content) in page() {
        if path.starts_with("lockstep.yaml") {
            assert!(content.contains("path: config/payroll-cutoff.yaml"));
        } else {
            world.write(&path, &content);
        }
    }
    world.commit("a kind of our own");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_ones_own_reaches_two_systems_without_a_line_of_code() {
    let world = with_the_kind().await;
    assert_eq!(world.apply().await.code, Some(0));
    for system in ["medical", "voicedrive"] {
        let resources = world.system(system).resources().await;
        let cutoff = &resources["PayrollCutoff/2026-04"];
        assert_eq!(cutoff["cutoff"], "2026-04-25T18:00:00+09:00", "{system}");
    }
    world.ok(&["policy", "test"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_schema_finds_what_is_wrong_and_its_direction_rule_calls_a_later_date_widening() {
    let world = with_the_kind().await;
    assert_eq!(world.apply().await.code, Some(0));
    let base = world.git_in("work", &["rev-parse", "HEAD"]);
    let path = "config/payroll-cutoff.yaml";
    let text = std::fs::read_to_string(world.path("work").join(path)).unwrap();

    world.write(path, &text.replace("2026-04-25T18:00", "2026-04-28T18:00"));
    let head = world.commit("two days more");
    let direction = async |base: &str, head: &str| {
        let plan = world
            .ok(&[
                "plan",
                "--base",
                base.trim(),
                "--head",
                head.trim(),
                "--format",
                "json",
            ])
            .await;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        plan["systems"]["medical"]["changes"][0]["direction"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(direction(&base, &head).await.as_deref(), Some("widening"));
    world.write(path, &text.replace("2026-04-25T18:00", "2026-04-27T18:00"));
    let back = world.commit("a day less");
    assert_eq!(direction(&head, &back).await.as_deref(), Some("narrowing"));

    world.write(path, &text.replace("2026-04-25T18:00:00+09:00", "soon"));
    world.commit("no date");
    let output = world.run(&["check"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("config/payroll-cutoff.yaml"), "{said}");

    // The policy of the walk: moved back by a proposal, it needs payroll's word.
    world.write(path, &text);
    world.commit("as before");
    world.write(path, &text.replace("2026-04-25T18:00", "2026-04-20T18:00"));
    world.git_in("work", &["checkout", "-q", "-b", "earlier"]);
    world.git_in("work", &["commit", "-q", "-am", "five days less"]);
    world.git_in("work", &["push", "-q", "origin", "earlier"]);
    world
        .ok(&[
            "propose",
            "--branch",
            "earlier",
            "--title",
            "Earlier cut-off",
        ])
        .await;
    let shown = world.ok(&["proposal", "show", "1"]).await;
    assert!(shown.contains("payroll closes earlier"), "{shown}");
}
