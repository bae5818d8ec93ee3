//! Where a credential goes, and where it is never seen. Every world is searched for its secret when it ends; here it is tried to get at it.

use crate::world::proxy::Proxy;
use crate::world::{World, secrets, token};

#[tokio::test(flavor = "multi_thread")]
async fn the_search_finds_what_lies_about() {
    let world = World::new().await;
    assert_eq!(world.leaks(), [""; 0]);
    std::fs::write(world.path("notes.txt"), format!("remember {}!", token())).unwrap();
    world.git_in("work", &["notes", "add", "-m", token()]);
    let leaks = world.leaks();
    for place in ["notes.txt", "an object of"] {
        assert!(leaks.iter().any(|leak| leak.contains(place)), "{leaks:#?}");
    }
    assert!(!leaks.concat().contains(token()));
    std::fs::remove_file(world.path("notes.txt")).unwrap();
    std::fs::remove_dir_all(world.path("work/.git")).unwrap();
    world.git(&["clone", "--quiet", "config.git", "again"]);
    std::fs::rename(world.path("again/.git"), world.path("work/.git")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_moves_a_system_is_planned_where_the_system_is() {
    let world = World::in_step().await;
    let elsewhere = Proxy::start(world.system("medical").address).await;
    let (from, to) = (
        world.system("medical").at.to_string(),
        elsewhere.address.to_string(),
    );
    // The credential may even go there; it is the proposal that may not say so.
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    std::fs::write(
        world.path("lockstep.toml"),
        settings.replace(&format!("{from:?}"), &format!("{from:?}, {to:?}")),
    )
    .unwrap();
    let config = world.config("");
    let moved = config.replace(&from, &to);
    let renamed = config.replacen("credential: test", "credential: other", 1);
    let added = config.replace("groups:", &format!("  attendance:\n    connector: http\n    url: http://{to}\n    credential: test\n    kinds: [FeatureFlag]\ngroups:"));
    world.set_rollout(25);
    for (branch, config) in [("moved", moved), ("renamed", renamed), ("added", added)] {
        world.git_in(
            "work",
            &["checkout", "--quiet", "-B", branch, "origin/main"],
        );
        world.set_rollout(25);
        world.write("lockstep.yaml", &config);
        world.git_in("work", &["commit", "--quiet", "-am", branch]);
        world.git_in("work", &["push", "--quiet", "origin", branch]);
        for way in [
            vec!["--base", "main", "--head", branch],
            vec!["--rev", branch],
        ] {
            world.forget_requests();
            let args: Vec<&str> = ["plan", "--live"].into_iter().chain(way).collect();
            let planned = world.run(&args).await;
            let said = String::from_utf8_lossy(&planned.stderr).into_owned();
            assert_eq!(planned.status.code(), Some(0), "{args:?}: {said}");
            let plan = String::from_utf8_lossy(&planned.stdout).into_owned();
            assert!(plan.contains("10% → 25%"), "{plan}");
            assert_eq!(elsewhere.log(), [], "{args:?}");
            assert!(!world.system("medical").proxy.log().is_empty(), "{args:?}");
            match branch {
                "added" => assert!(said.contains("attendance: not merged yet"), "{said}"),
                _ => assert!(said.contains("asked where it is now"), "{said}"),
            }
        }
        // Nor does the gate go there.
        world.ok(&["propose", "--branch", branch]).await;
    }
    assert_eq!(elsewhere.log(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_process_is_given_no_secret() {
    let world = World::new().await;
    // The credential of another system comes by the environment.
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    let more = "[credentials.payroll]\ntoken_env = \"PAYROLL\"\nhosts = [\"payroll.example.jp\"]\n";
    std::fs::write(world.path("lockstep.toml"), settings + more).unwrap();
    let url = format!("http://{}", world.system("medical").address);
    let mut command = world.lockstep(&[
        "system",
        "test",
        &url,
        "--token-file",
        "token",
        "--changes",
        "10",
        "--restart-command",
        "env > seen.txt",
    ]);
    command
        .env("PAYROLL", token())
        .env("LOCKSTEP_ANYTHING", token());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let seen = std::fs::read_to_string(world.path("seen.txt")).unwrap();
    assert!(seen.contains("PATH="), "{seen}");
    assert!(
        !seen.contains("PAYROLL") && !seen.contains("LOCKSTEP_"),
        "{seen}"
    );
    assert!(!secrets::is_in(&output.stdout) && !secrets::is_in(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_file_with_a_secret_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::in_step().await;
    let file = world.path("lockstep.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let literal = before.replace("token_file = \"token\"", &format!("token = {:?}", token()));
    std::fs::write(&file, literal).unwrap();
    let set =
        |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    for (mode, code, said) in [
        (0o600, 0, None),
        (0o644, 0, Some("`chmod 600` it")),
        (0o646, 2, Some("`chmod o-w` it")),
    ] {
        set(mode);
        let output = world.run(&["apply"]).await;
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{mode:o}: {err}");
        match said {
            Some(said) => assert!(err.contains(said), "{mode:o}: {err}"),
            None => assert_eq!(err, "", "{mode:o}"),
        }
    }
    std::fs::write(&file, before).unwrap();
    set(0o600);
}
