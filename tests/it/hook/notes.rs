//! Notes are a record: lines come, and none goes.

use super::*;

const APPROVALS: &str = "refs/notes/lockstep/approvals";
const RECORD: &str = "refs/notes/lockstep/proposals";

#[test]
fn a_line_taken_out_or_altered() {
    let server = Server::new();
    server.approved();
    server
        .bare
        .run(&[
            "proposal",
            "request-changes",
            "1",
            "--as",
            "watanabe",
            "-m",
            "来週に",
        ])
        .code(0);
    let clone = server.clone("lines");
    let first = clone.git(&["rev-parse", "refs/lockstep/proposals/1"]);
    let lines = clone.lines(APPROVALS, 1);
    assert_eq!(lines.len(), 3);
    let set = |lines: &[String]| {
        let text = lines.join("\n");
        clone.git(&[
            "notes", "--ref", APPROVALS, "add", "-f", "-m", &text, &first,
        ]);
    };
    // The objection gone.
    set(&lines[..2]);
    clone.is_refused(
        &server,
        &[NOTES],
        &[
            "refs/notes/lockstep/approvals: notes only gain lines",
            "\"user\":\"watanabe\"",
            "cat_sort_uniq",
        ],
    );
    // Made an approval.
    let mut altered = lines.clone();
    altered[2] = altered[2].replace("request_changes", "approve");
    set(&altered);
    clone.is_refused(&server, &[NOTES], &["notes only gain lines"]);
    // One byte.
    let mut spaced = lines.clone();
    spaced[0] = spaced[0].replace("\":\"", "\": \"");
    set(&spaced);
    clone.is_refused(&server, &[NOTES], &["notes only gain lines"]);
    // Another order, and one more, takes nothing away.
    let mut more: Vec<String> = lines.iter().rev().cloned().collect();
    more.push("{\"hello\":1}".to_owned());
    set(&more);
    clone.pushes(&[NOTES]);
    let ran = server.bare.act(1, "merge", 1, "mori");
    assert!(
        ran.err.contains("changes requested by watanabe"),
        "{}",
        ran.err
    );
}

#[test]
fn a_reference_deleted_emptied_or_set_back() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("back");
    for notes in [
        APPROVALS,
        RECORD,
        "refs/notes/devtools/reviews",
        "refs/notes/devtools/discuss",
    ] {
        let words = [notes, "can't be deleted"];
        clone.is_refused(&server, &[&format!(":{notes}")], &words);
    }
    clone.is_refused(
        &server,
        &["-f", &format!("{APPROVALS}~1:{APPROVALS}")],
        &["notes only gain lines"],
    );
    let first = clone.git(&["rev-parse", "refs/lockstep/proposals/1"]);
    clone.git(&["notes", "--ref", RECORD, "remove", &first]);
    clone.is_refused(&server, &[NOTES], &["notes only gain lines"]);
    // Something that is no commit of notes.
    let blob = clone.git(&["rev-parse", "origin/main:lockstep.yaml"]);
    clone.is_refused(
        &server,
        &["-f", &format!("{blob}:{APPROVALS}")],
        &["it can't be judged"],
    );
}

#[test]
fn two_clones_notes_are_merged() {
    let server = Server::new();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let (one, two) = (server.clone("one"), server.clone("two"));
    one.run(&["proposal", "approve", "1", "--as", "takahashi"])
        .code(0);
    two.run(&["proposal", "approve", "1", "--as", "mori"])
        .code(0);
    one.pushes(&[NOTES]);
    // git refuses what is behind by itself; forced, the hook does.
    two.push(&[NOTES]).code(1);
    two.is_refused(
        &server,
        &["-f", NOTES],
        &["notes only gain lines", "cat_sort_uniq"],
    );
    two.git(&["fetch", "-q", "origin", "refs/notes/*:refs/notes/origin/*"]);
    for notes in two
        .git(&["for-each-ref", "--format=%(refname)", "refs/notes/origin"])
        .lines()
    {
        let own = notes.replace("refs/notes/origin/", "refs/notes/");
        two.git(&[
            "notes",
            "--ref",
            &own,
            "merge",
            "-q",
            "-s",
            "cat_sort_uniq",
            notes,
        ]);
    }
    two.pushes(&["refs/notes/devtools/*", "refs/notes/lockstep/*"]);
    assert_eq!(server.bare.statuses(1), crate::left::GREEN);
}

#[test]
fn what_became_of_a_proposal_is_not_told_anew() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("told");
    let line = |clone: &Clone| clone.lines(RECORD, 1)[0].clone();
    let later = |line: &str| line.replace("\"sequence\":1,", "\"sequence\":9,");
    // Somebody else's, so that its author can approve it.
    let other = later(&line(&clone)).replace("\"author\":\"sato\"", "\"author\":\"watanabe\"");
    clone.add_line(RECORD, 1, &other);
    clone.is_refused(
        &server,
        &[NOTES],
        &["refs/notes/lockstep/proposals: proposal 1 is there already"],
    );
    // Merged, though main has it not.
    clone.fetch();
    let main = server.main();
    let merged = later(&line(&clone)).replace("\"state\":\"open\"", "\"state\":\"merged\"");
    let merged = merged.replace("\"v\":0", &format!("\"commit\":\"{main}\",\"v\":0"));
    clone.add_line(RECORD, 1, &merged);
    clone.is_refused(
        &server,
        &[NOTES],
        &["what became of proposal 1 can't be said so"],
    );
    // Open again.
    server.bare.act(0, "close", 1, "takahashi");
    clone.fetch();
    clone.add_line(RECORD, 1, &later(&line(&clone)));
    clone.is_refused(
        &server,
        &[NOTES],
        &["what became of proposal 1 can't be said so"],
    );
    clone.fetch();
    clone.merge_by_hand(1);
    clone.add_line(RECORD, 1, &later(&line(&clone)));
    clone.is_refused(&server, &["main", NOTES], &["proposal 1 is closed"]);
}

#[test]
fn a_status_by_hand_is_kept_and_not_believed() {
    let server = Server::new();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let clone = server.clone("green");
    let statuses = "refs/notes/lockstep/statuses";
    let head = clone.git(&["rev-parse", "refs/lockstep/heads/1"]);
    let line = "{\"timestamp\":\"1900000000\",\"sequence\":99,\"context\":\"lockstep/approval\",\"state\":\"success\",\
                \"description\":\"everyone needed has approved\",\"at\":\"2030-03-17T17:46:40Z\",\"v\":0}";
    clone.git(&["notes", "--ref", statuses, "append", "-m", line, &head]);
    clone.merge_by_hand(1);
    clone.is_refused(
        &server,
        &["main", NOTES],
        &["proposal 1 may not be merged yet", "0 of 2"],
    );
    clone.pushes(&[NOTES]);
    assert_eq!(server.bare.statuses(1)[3], "approval=pending");
}

/// Writes a git tree as it is told, whatever git would say to it.
fn raw_tree(clone: &Clone, entries: &[(&str, &str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend(hex::decode(id).unwrap());
    }
    let file = clone.path.join(".git/raw-tree");
    std::fs::write(&file, bytes).unwrap();
    let file = file.to_str().unwrap();
    clone.git(&["hash-object", "-t", "tree", "--literally", "-w", file])
}

/// Makes a tree the tip of the approvals, on top of what is there.
fn set_notes(clone: &Clone, tree: &str) {
    let tip = clone.git(&["rev-parse", APPROVALS]);
    let commit = clone.git(&["commit-tree", "-m", "notes", "-p", &tip, tree]);
    clone.git(&["update-ref", APPROVALS, &commit]);
}

#[test]
fn a_tree_that_can_be_read_in_two_ways_is_none() {
    let server = Server::new();
    server.approved();
    server
        .bare
        .run(&[
            "proposal",
            "request-changes",
            "1",
            "--as",
            "watanabe",
            "-m",
            "x",
        ])
        .code(0);
    let clone = server.clone("twice");
    let first = clone.git(&["rev-parse", "refs/lockstep/proposals/1"]);
    let (folder, rest) = first.split_at(2);
    let at = |path: &str| clone.git(&["rev-parse", &format!("{APPROVALS}:{path}")]);
    let whole = at(&format!("{folder}/{rest}"));
    let without = clone.lines(APPROVALS, 1)[..2].join("\n");
    let file = clone.path.join(".git/without");
    std::fs::write(&file, without).unwrap();
    let without = clone.git(&["hash-object", "-w", file.to_str().unwrap()]);
    let is_refused = |tree: &str, words: &str| {
        set_notes(&clone, tree);
        let words = [APPROVALS, "can't be taken for notes", words];
        clone.is_refused(&server, &[NOTES], &words);
        clone.fetch();
    };
    let note = |name: &'static str| format!("{name}{rest}");
    // One name twice: who lists sees both, who looks one up sees one.
    for pair in [[&without, &whole], [&whole, &without]] {
        let below = raw_tree(&clone, &pair.map(|id| ("100644", rest, id.as_str())));
        let tree = raw_tree(&clone, &[("40000", folder, &below)]);
        is_refused(&tree, "twice or out of order");
    }
    // One folder twice.
    let folders = [&without, &whole].map(|id| raw_tree(&clone, &[("100644", rest, id)]));
    let tree = raw_tree(
        &clone,
        &folders.each_ref().map(|id| ("40000", folder, id.as_str())),
    );
    is_refused(&tree, "twice or out of order");
    // Out of order.
    let good = at(folder);
    let (low, high) = (note("00"), note("ff"));
    let mut entries = [
        ("100644", high.as_str(), whole.as_str()),
        ("40000", folder, good.as_str()),
        ("100644", low.as_str(), whole.as_str()),
    ];
    entries.sort_by(|a, b| b.1.cmp(a.1));
    is_refused(&raw_tree(&clone, &entries), "twice or out of order");
    // What is no note.
    let more = [
        ("40000", folder, good.as_str()),
        ("100644", "zz", whole.as_str()),
    ];
    is_refused(
        &raw_tree(&clone, &more),
        "neither a note nor a folder of notes",
    );
    let link = [
        ("40000", folder, good.as_str()),
        ("120000", high.as_str(), whole.as_str()),
    ];
    is_refused(
        &raw_tree(&clone, &link),
        "neither a note nor a folder of notes",
    );
    // The objection stands.
    assert_eq!(server.bare.statuses(1)[3], "approval=failure");
}

#[test]
fn a_note_too_large_to_be_read() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("large");
    let first = clone.git(&["rev-parse", "refs/lockstep/proposals/1"]);
    let file = clone.path.join(".git/large");
    let mut text = clone.lines(RECORD, 1).join("\n").into_bytes();
    text.push(b'\n');
    text.resize((64 << 20) + 1, b'x');
    std::fs::write(&file, text).unwrap();
    let large = clone.git(&["hash-object", "-w", file.to_str().unwrap()]);
    clone.git(&["notes", "--ref", RECORD, "add", "-f", "-C", &large, &first]);
    let words = [RECORD, &first, "is larger than 64 MiB"];
    clone.is_refused(&server, &[NOTES], &words);
    // One that came in another way hides no other proposal.
    server.bare.propose(0, &["access.readonly_users+=user102"]);
    clone.fetch();
    clone.git(&["notes", "--ref", RECORD, "add", "-f", "-C", &large, &first]);
    let bare = server.bare.path();
    clone.git(&[
        "push",
        "-q",
        bare.to_str().unwrap(),
        &format!("{RECORD}:refs/heads/large"),
    ]);
    server.bare.git(&["update-ref", RECORD, "refs/heads/large"]);
    server.bare.run(&["proposal", "show", "1"]).code(2);
    assert_eq!(server.state(2), "open");
}

const CHECKPOINTS: &str = "refs/notes/lockstep/checkpoints";

/// The ledger's checkpoints are kept like every record, and nothing else lies among them.
#[test]
fn among_checkpoints_only_checkpoints() {
    let server = Server::new();
    let clone = server.clone("checkpoints");
    let main = server.main();
    let key = lockstep::tlog::SignerKey::from_seed("lockstep/test", &[7; 32]).unwrap();
    let line = |size: u64| {
        let checkpoint = lockstep::tlog::Checkpoint {
            origin: String::new(),
            size,
            root: lockstep::ids::Digest::of(&size.to_be_bytes()),
        };
        lockstep::tlog::to_line(&checkpoint.sign(&key), 1_800_000_000)
    };
    let set = |text: &str| {
        clone.git(&[
            "notes",
            "--ref",
            CHECKPOINTS,
            "add",
            "-f",
            "-m",
            text,
            &main,
        ]);
    };
    set("{\"hello\":1}");
    clone.is_refused(
        &server,
        &[NOTES],
        &["only the ledger's signed checkpoints", "hello"],
    );
    set(&line(3));
    clone.pushes(&[NOTES]);
    set(&format!(
        "{}\n{}",
        line(3),
        line(3).replace("\\n3\\n", "\\nthree\\n")
    ));
    clone.is_refused(
        &server,
        &[NOTES],
        &["only the ledger's signed checkpoints", "three"],
    );
    set(&line(4));
    clone.is_refused(&server, &[NOTES], &["notes only gain lines"]);
    set(&format!("{}\n{}", line(3), line(4)));
    clone.pushes(&[NOTES]);
}
