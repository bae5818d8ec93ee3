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
        "refs/notes/lockstep".to_owned(),
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
