//! The ledger's checkpoints on GitHub: whichever replica or clone signs, no other's are lost.

use std::collections::BTreeSet;
use std::process::Command;

use lockstep::repo::Repo;

use super::*;
use crate::world::Ended;

const NOTES: &str = "refs/notes/lockstep/checkpoints";

/// The lines of all checkpoints that GitHub has, each with the commit that it is on.
fn lines(place: &Place) -> BTreeSet<(String, String)> {
    let notes = Repo::open(&place.hub.bare())
        .unwrap()
        .list_notes(NOTES)
        .unwrap();
    let of = |(commit, lines): (lockstep::ids::Revision, Vec<String>)| {
        let lines = lines.into_iter();
        lines.map(move |line| (commit.to_string(), line))
    };
    notes.into_iter().flat_map(of).collect()
}

/// What a command says that works with a mirror of its own.
fn told(place: &Place, mirror: &str, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command
        .args(args)
        .args(["--repo", mirror, "--settings", "lockstep.toml"])
        .args(["--lang", "en"])
        .current_dir(place.world.dir.path())
        .env("NO_COLOR", "1");
    Ended::of(&command.output().unwrap())
}

/// Has these keys believed besides a mirror's own.
fn trust(place: &Place, keys: &[String]) {
    let path = place.world.path("lockstep.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let rest = text.split("[ledger]\n").next().unwrap();
    std::fs::write(path, format!("{rest}[ledger]\ntrusted = {keys:?}\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_s_mirror_goes_on_signing_and_loses_nothing() {
    let Some(url) = crate::world::postgres::database() else {
        return;
    };
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    place.store_on(&url);
    // What the first did passes on soon.
    let path = place.world.path("lockstep.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[timeouts]\n", "[timeouts]\nlease = \"4s\"\n");
    std::fs::write(path, text).unwrap();
    let mut first = place.run().await;
    eventually("the first has signed", async || {
        (!lines(&place).is_empty()).then_some(())
    })
    .await;
    // Its mirror has what was signed by now, and not what comes.
    let second = place.start_with("second.git").await;
    let before = lines(&place);
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    let merged = place.hub.merge("sato", number, "merge").await;
    place.shown(&merged, "lockstep/apply", "success").await;
    eventually("what the merge came to is signed", async || {
        (lines(&place).len() > before.len()).then_some(())
    })
    .await;
    first.process.kill();
    let of_first = lines(&place);
    assert!(of_first.is_superset(&before));

    let of_both = eventually("the second has signed", async || {
        let now = lines(&place);
        (now.len() > of_first.len()).then_some(now)
    })
    .await;
    assert!(
        of_both.is_superset(&of_first),
        "{of_first:#?}\n{of_both:#?}"
    );

    let keys: Vec<String> = ["config.git", "second.git"]
        .iter()
        .map(|mirror| {
            let key = told(&place, mirror, &["audit", "key"]);
            assert_eq!(key.code, Some(0), "{}", key.err);
            key.out.trim().to_owned()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
    // A clone that has never signed anything sees what either has signed.
    for (mirror, key) in [("third.git", 0), ("fourth.git", 1)] {
        trust(&place, &keys[key..=key]);
        let verified = told(&place, mirror, &["audit", "verify"]);
        assert_eq!(verified.code, Some(0), "{}", verified.err);
        assert!(verified.err.contains("agree"), "{}", verified.err);
        let other = "that is not trusted here";
        assert!(verified.err.contains(other), "{}", verified.err);
    }
    trust(&place, &keys);
    let verified = told(&place, "fifth.git", &["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    assert!(!verified.err.contains("not trusted"), "{}", verified.err);
    drop(second);
    place.finish();
}
