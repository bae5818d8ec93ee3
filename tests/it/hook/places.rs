//! References beside main: whose they are, and which may not be there.

use super::*;

#[test]
fn branches_of_proposals_are_anybodys() {
    let server = Server::new();
    server.approved();
    let branch = server.bare.branch(1);
    let clone = server.clone("branches");
    let more = ACCESS.replace("\"user002\"]", "\"user002\", \"user666\"]");
    clone.commit("mine", &[("config/access-control.json", &more)]);
    clone.pushes(&["mine"]);
    clone.git(&["commit", "-q", "--amend", "-m", "another"]);
    clone.pushes(&["-f", "mine", &format!("mine:refs/heads/{branch}")]);
    assert_eq!(server.bare.statuses(1)[3], "approval=pending");
    clone.pushes(&[":mine", &format!(":{branch}")]);
    // The proposal outlives its branch.
    assert_eq!(server.state(1), "open");
}

#[test]
fn a_tag_is_no_branch() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("tags");
    let evil = clone.commit("evil", &[("lockstep.yaml", "version: 1\n")]);
    for tag in ["main", "heads/main", "refs/heads/main", "HEAD"] {
        let to = format!("{evil}:refs/tags/{tag}");
        clone.is_refused(
            &server,
            &[&to],
            &["would be taken for the branch", &format!("{tag:?}")],
        );
    }
    let branch = server.bare.branch(1);
    clone.is_refused(
        &server,
        &[&format!("{evil}:refs/tags/{branch}")],
        &["would be taken for the branch"],
    );
    clone.pushes(&[&format!("{evil}:refs/tags/v1")]);
    clone.pushes(&[":refs/tags/v1"]);
    // One that was there before the hook confuses nothing: main is the branch.
    let main = server.main();
    server.bare.git(&["update-ref", "refs/tags/main", &evil]);
    let ran = server
        .bare
        .run(&["plan", "--rev", "main", "--format", "json"]);
    assert_eq!(ran.code(0).json()["revision"], main.as_str());
    clone.fetch();
    clone.merge_by_hand(1);
    clone.pushes(&["refs/heads/main:refs/heads/main"]);
    assert_eq!(server.state(1), "merged");
}

/// Each of them would make git say, in everybody's clone, that a name means more than one reference.
#[test]
fn a_branch_has_no_name_by_which_another_is_meant() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("names");
    let side = clone.git(&["rev-parse", "origin/main"]);
    clone.pushes(&[&format!("{side}:refs/heads/side")]);
    for name in [
        "HEAD",
        "refs/heads/main",
        "refs/tags/v1",
        "refs/x",
        "heads/main",
        "heads/side",
    ] {
        clone.is_refused(
            &server,
            &[&format!("{side}:refs/heads/{name}")],
            &["would be taken for another reference", &format!("{name:?}")],
        );
    }
    for name in ["refs/heads/side", "refs/x", "heads/side"] {
        clone.is_refused(
            &server,
            &[&format!("{side}:refs/tags/{name}")],
            &["would be taken for the branch", &format!("{name:?}")],
        );
    }
    // Names that only begin alike are fine.
    clone.pushes(&[
        &format!("{side}:refs/heads/heads/other"),
        &format!("{side}:refs/heads/refs-x"),
        &format!("{side}:refs/heads/main2"),
    ]);
    // One that was there before the hook can be taken away.
    server
        .bare
        .git(&["update-ref", "refs/heads/refs/heads/main", &side]);
    clone.pushes(&[":refs/heads/refs/heads/main"]);
    clone.fetch();
    clone.merge_by_hand(1);
    clone.pushes(&["main"]);
    assert_eq!(server.state(1), "merged");
}

/// What fetches all references expects commits behind them.
#[test]
fn a_tag_leads_to_a_commit() {
    let server = Server::new();
    let clone = server.clone("tags-of");
    for of in ["origin/main^{tree}", "origin/main:lockstep.yaml"] {
        let object = clone.git(&["rev-parse", of]);
        clone.git(&["tag", "-f", "-a", "-m", "x", "annotated", &object]);
        clone.git(&["tag", "-f", "-a", "-m", "x", "twice", "annotated"]);
        for from in [object.as_str(), "refs/tags/annotated", "refs/tags/twice"] {
            clone.is_refused(
                &server,
                &[&format!("{from}:refs/tags/odd")],
                &["refs/tags/odd: ", "something that is no commit"],
            );
        }
    }
    clone.git(&["tag", "-f", "-a", "-m", "x", "annotated", "origin/main"]);
    clone.git(&["tag", "-f", "-a", "-m", "x", "twice", "annotated"]);
    clone.pushes(&["refs/tags/annotated", "refs/tags/twice"]);
    // One that was there before the hook is in nobody's way when a proposal brings its branch.
    let blob = server.bare.git(&["rev-parse", "main:lockstep.yaml"]);
    server.bare.git(&["update-ref", "refs/tags/odd", &blob]);
    server.approved();
    assert_eq!(server.state(1), "open");
    clone.pushes(&[":refs/tags/odd"]);
}

#[test]
fn references_that_nothing_here_reads_are_not_kept() {
    let server = Server::new();
    let clone = server.clone("elsewhere");
    let evil = clone.commit("evil", &[("lockstep.yaml", "version: 1\n")]);
    let main = server.main();
    for name in [
        // What git would show in main's place.
        format!("refs/replace/{main}"),
        "refs/main".to_owned(),
        "refs/remotes/origin/main".to_owned(),
        "refs/lockstep/applied".to_owned(),
        "refs/lockstep/proposals/01".to_owned(),
        "refs/lockstep/heads/x".to_owned(),
        // Beside and below the notes that are kept, where they would be in the way.
        "refs/notes/lockstep".to_owned(),
        "refs/notes/devtools".to_owned(),
        "refs/notes/lockstep/approvals/x".to_owned(),
        "refs/notes/lockstep/others".to_owned(),
        "refs/lockstep/heads".to_owned(),
        "refs/lockstep/heads/1/x".to_owned(),
        "refs/notes".to_owned(),
    ] {
        clone.is_refused(
            &server,
            &[&format!("{evil}:{name}")],
            &[&name, "are kept here"],
        );
    }
    clone.pushes(&[&format!("{evil}:refs/notes/commits")]);
}

#[test]
fn another_name_for_main_is_no_way_in() {
    let server = Server::new();
    server
        .bare
        .git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let clone = server.clone("alias");
    let evil = clone.commit("evil", &[("lockstep.yaml", "version: 1\n")]);
    clone.is_refused(
        &server,
        &[&format!("{evil}:refs/heads/alias")],
        &["refs/heads/alias: it is another name"],
    );
    // HEAD itself can't be pushed to, hook or none.
    clone.push(&[&format!("{evil}:HEAD")]).code(1);
    assert_eq!(
        server.bare.git(&["symbolic-ref", "HEAD"]),
        "refs/heads/main"
    );
}

#[test]
fn numbers_are_given_once_and_heads_follow_their_branch() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("numbers");
    let main = server.main();
    let number = "refs/lockstep/proposals/1";
    clone.is_refused(
        &server,
        &["-f", &format!("{main}:{number}")],
        &["number 1 is given"],
    );
    clone.is_refused(&server, &[&format!(":{number}")], &["number 1 is given"]);
    let head = "refs/lockstep/heads/1";
    clone.is_refused(&server, &[&format!(":{head}")], &["can't be deleted"]);
    // Inside main it would look merged.
    clone.is_refused(
        &server,
        &["-f", &format!("{main}:{head}")],
        &["it would not follow the branch of proposal 1"],
    );
    let other = clone.commit("other", &[("README.md", "# 設定\n")]);
    clone.is_refused(
        &server,
        &["-f", &format!("{other}:{head}")],
        &["it would not follow the branch of proposal 1"],
    );
    // With the branch it may go anywhere.
    let branch = server.bare.branch(1);
    clone.pushes(&[
        "-f",
        &format!("{other}:{head}"),
        &format!("{other}:refs/heads/{branch}"),
    ]);
    assert_eq!(server.bare.show(1)["proposal"]["head"], other.as_str());
}

/// git moves references one by one after the hook: what it would refuse of a push must not leave the rest of it done.
#[test]
fn a_push_that_git_would_do_by_halves_is_refused_whole() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("halves");
    clone.merge_by_hand(1);
    let side = clone.git(&["rev-parse", "origin/main"]);
    clone.pushes(&[&format!("{side}:refs/heads/side")]);
    let halves = |what: &[&str], words: &[&str]| {
        let what = [&["main"], what].concat();
        clone.is_refused(&server, &what, words);
    };
    let to = |name: &str| format!("{side}:{name}");
    // Below what is there, in place of the folder of what is there, and one in the other's place.
    halves(
        &[&to("refs/heads/side/more")],
        &["refs/heads/side/more: git can't keep it beside refs/heads/side"],
    );
    halves(
        &[&to("refs/heads/a/b"), &to("refs/heads/a")],
        &["can't keep it beside"],
    );
    let branch = server.bare.branch(1);
    let folder = branch.rsplit_once('/').map(|(folder, _)| folder);
    if let Some(folder) = folder {
        halves(
            &[&to(&format!("refs/heads/{folder}"))],
            &["can't keep it beside"],
        );
    }
    // The folder is free only once the other is gone.
    halves(
        &[":side", &to("refs/heads/side/more")],
        &["can't keep it beside refs/heads/side"],
    );
    // What the server's git is set not to do.
    server.bare.git(&["config", "receive.denyDeletes", "true"]);
    halves(&[":side"], &["refs/heads/side: ", "receive.denyDeletes"]);
    server
        .bare
        .git(&["config", "--unset", "receive.denyDeletes"]);
    server
        .bare
        .git(&["config", "receive.denyNonFastForwards", "true"]);
    let other = clone.git(&["commit-tree", "-m", "x", &format!("{side}^{{tree}}")]);
    halves(
        &[&format!("+{other}:refs/heads/side")],
        &["refs/heads/side: ", "receive.denyNonFastForwards"],
    );
    clone.pushes(&["main"]);
    assert_eq!(server.state(1), "merged");
}

#[test]
fn numbers_and_heads_are_of_proposals_that_are_there() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("made-up");
    let head = clone.git(&["rev-parse", "refs/lockstep/heads/1"]);
    let blob = clone.git(&["rev-parse", "origin/main:lockstep.yaml"]);
    for number in ["2", "99", "18446744073709551615"] {
        for folder in ["heads", "proposals"] {
            let name = format!("refs/lockstep/{folder}/{number}");
            let words = [&name, &*format!("there is no proposal {number} here")];
            clone.is_refused(&server, &[&format!("{head}:{name}")], &words);
        }
    }
    for name in ["heads/1", "heads/2", "proposals/2"] {
        let name = format!("refs/lockstep/{name}");
        let words = [&*name, "something that is no commit"];
        clone.is_refused(&server, &["-f", &format!("{blob}:{name}")], &words);
    }
    // A proposal of that number makes it no better.
    let line = clone.lines("refs/notes/lockstep/proposals", 1)[0]
        .replace("\"number\":1,", "\"number\":1000,");
    let other = clone.commit("other", &[("README.md", "# 設定\n")]);
    let notes = "refs/notes/lockstep/proposals";
    clone.git(&["notes", "--ref", notes, "append", "-m", &line, &other]);
    clone.is_refused(
        &server,
        &[
            "other",
            NOTES,
            &format!("{other}:refs/lockstep/proposals/1000"),
        ],
        &["numbers up to 101, not 1000"],
    );
}

#[test]
fn a_head_before_its_proposal_or_of_another_is_no_merge() {
    let server = Server::new();
    server.approved();
    server.bare.act(0, "merge", 1, "mori");
    let merged = server.bare.git(&["rev-parse", "refs/lockstep/heads/1"]);
    server.bare.propose(0, &["access.readonly_users+=user102"]);
    let clone = server.clone("not-merged");
    // Its branch set to what main has: seen twice, and still open.
    let branch = server.bare.branch(2);
    clone.pushes(&["-f", &format!("{merged}:refs/heads/{branch}")]);
    assert_eq!(server.state(2), "open");
    assert_eq!(server.state(2), "open");
    clone.is_refused(
        &server,
        &["-f", &format!("{merged}:refs/lockstep/heads/2")],
        &["it would not follow the branch of proposal 2"],
    );
    // Told so in its notes, with the merge of the other.
    let notes = "refs/notes/lockstep/proposals";
    let line = clone.lines(notes, 2)[0].clone();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut told = line.clone();
    told["sequence"] = 9.into();
    told["state"] = "merged".into();
    told["head"] = merged.clone().into();
    told["commit"] = server.main().into();
    clone.add_line(notes, 2, &told.to_string());
    clone.is_refused(
        &server,
        &[NOTES],
        &["what became of proposal 2 can't be said so"],
    );
    clone.fetch();
    // A new one that says it was merged, and one whose head is kept inside main.
    let other = clone.commit("other", &[("README.md", "# 設定\n")]);
    let mut new = told.clone();
    new["number"] = 3.into();
    new["sequence"] = 1.into();
    clone.git(&[
        "notes",
        "--ref",
        notes,
        "append",
        "-m",
        &new.to_string(),
        &other,
    ]);
    clone.is_refused(
        &server,
        &["other", NOTES],
        &["what became of proposal 3 can't be said so"],
    );
    clone.fetch();
    new["state"] = "open".into();
    new["branch"] = "other".into();
    new["head"] = other.clone().into();
    new.as_object_mut().unwrap().remove("commit");
    clone.git(&[
        "notes",
        "--ref",
        notes,
        "append",
        "-m",
        &new.to_string(),
        &other,
    ]);
    clone.is_refused(
        &server,
        &["other", NOTES, &format!("{merged}:refs/lockstep/heads/3")],
        &["refs/lockstep/heads/3: "],
    );
}
