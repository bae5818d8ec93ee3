//! Approvals signed with SSH keys, and forged ones.

use serde_json::Value;

use super::*;
use crate::left::{FLAGS, GREEN};

const APPROVALS: &str = "refs/notes/lockstep/approvals";

/// People's keys, made for the test.
struct Keys(Folder);

impl Keys {
    fn new(names: &[&str]) -> Self {
        let folder = Folder::new();
        for name in names {
            let made = alone("ssh-keygen", folder.path())
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name])
                .output();
            Ran::of(made.unwrap()).code(0);
        }
        Self(folder)
    }

    fn private(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.0.join(&format!("{name}.pub"))).unwrap();
        text.trim().to_owned()
    }

    /// `lockstep.yaml` with these people's keys.
    fn config(&self, people: &[(&str, &str)]) -> String {
        people.iter().fold(CONFIG.to_owned(), |text, (who, key)| {
            let key = self.public(key);
            text.replace(
                &format!("  {who}: {{"),
                &format!("  {who}: {{signing_key: \"{key}\", "),
            )
        })
    }
}

/// Mori and Takahashi sign; mallory's key is nobody's.
fn signing() -> (Server, Keys) {
    let keys = Keys::new(&["mori", "takahashi", "mallory"]);
    let config = keys.config(&[("mori", "mori"), ("takahashi", "takahashi")]);
    (Server::with(&config), keys)
}

fn approve(bare: &Bare, keys: &Keys, code: i32, number: &str, who: &str, key: &str) -> Ran {
    let key = keys.private(key);
    bare.run(&[
        "proposal",
        "approve",
        number,
        "--as",
        who,
        "--sign-with",
        &key,
    ])
    .code(code)
}

/// A proposal that needs two approvals and has two signed ones.
fn approved() -> (Server, Keys) {
    let (server, keys) = signing();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    approve(&server.bare, &keys, 0, "1", "mori", "mori");
    approve(&server.bare, &keys, 0, "1", "takahashi", "takahashi");
    assert_eq!(server.bare.statuses(1), GREEN);
    (server, keys)
}

/// What is said of each review.
fn standings(server: &Server, number: u64) -> Vec<String> {
    let shown = server.bare.show(number);
    let reviews = shown["reviews"].as_array().unwrap();
    reviews
        .iter()
        .map(|r| {
            format!(
                "{}: {}",
                r["user"].as_str().unwrap(),
                r["standing"].as_str().unwrap()
            )
        })
        .collect()
}

const UNSIGNED: &str = "not signed with the key that people: gives";
const OTHER_KEY: &str = "signed with another key than the one under people:";
const OTHER_TEXT: &str =
    "its signature is over something else: another proposal, commit, plan or text";

#[test]
fn who_has_a_key_signs() {
    let (server, keys) = signing();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    // Without a key at hand: what to do.
    let ran = server.bare.act(2, "approve", 1, "mori");
    assert!(ran.err.contains("--sign-with PATH"), "{}", ran.err);
    // With somebody else's.
    let ran = approve(&server.bare, &keys, 1, "1", "mori", "mallory");
    assert!(ran.err.contains(OTHER_KEY), "{}", ran.err);
    assert!(standings(&server, 1).is_empty());
    approve(&server.bare, &keys, 0, "1", "mori", "mori");
    // Who has none does not.
    server.bare.act(0, "approve", 1, "watanabe");
    assert_eq!(server.bare.statuses(1), GREEN);
    server.bare.act(0, "merge", 1, "mori");
}

#[test]
fn git_says_which_key_it_signs_with() {
    let (server, keys) = signing();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let clone = server.bare.clone();
    git(&clone, &["config", "gpg.format", "ssh"]);
    git(
        &clone,
        &["config", "user.signingkey", &keys.private("mori")],
    );
    lockstep(&clone, &["proposal", "approve", "1", "--as", "mori"]).code(0);
    assert_eq!(standings(&server, 1), ["mori: counts"]);
    // The line says all that ssh-keygen needs to check it.
    let line: Value = {
        let first = server.bare.git(&["rev-parse", "refs/lockstep/proposals/1"]);
        let text = server
            .bare
            .git(&["notes", "--ref", APPROVALS, "show", &first]);
        serde_json::from_str(&text).unwrap()
    };
    let signed = serde_json::json!({
        "form": "lockstep review 1", "proposal": line["number"], "user": line["user"], "kind": line["kind"],
        "commit": line["commit"], "plan": line["plan"], "at": line["at"], "message": line["message"],
    });
    // These values are plain enough that sorted keys make the canonical form.
    keys.0.write("signed", signed.to_string());
    keys.0
        .write("signature", line["signature"].as_str().unwrap());
    keys.0
        .write("allowed", format!("mori {}\n", keys.public("mori")));
    let verified = alone("sh", keys.0.path())
        .args([
            "-c",
            "ssh-keygen -Y verify -f allowed -I mori -n lockstep -s signature < signed",
        ])
        .output();
    Ran::of(verified.unwrap()).code(0);
}

#[test]
fn a_forged_approval_does_not_count_and_is_named() {
    let (server, keys) = signing();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    approve(&server.bare, &keys, 0, "1", "takahashi", "takahashi");
    let clone = server.clone("forger");
    let real = clone.lines(APPROVALS, 1)[0].clone();
    let mut line: Value = serde_json::from_str(&real).unwrap();
    let mut forge = |sequence: u64, signature: Option<&Value>| {
        line["user"] = "mori".into();
        line["sequence"] = sequence.into();
        line["signature"] = signature.cloned().unwrap_or(Value::Null);
        clone.add_line(APPROVALS, 1, &line.to_string());
    };
    // None, Takahashi's own, and no signature at all.
    let takahashi = serde_json::from_str::<Value>(&real).unwrap()["signature"].clone();
    forge(2, None);
    forge(3, Some(&takahashi));
    forge(4, Some(&"-----BEGIN SSH SIGNATURE-----".into()));
    clone.merge_by_hand(1);
    clone.is_refused(
        &server,
        &["main", NOTES],
        &[
            "proposal 1 may not be merged yet",
            "1 of 2",
            "does not count: mori at ",
            OTHER_KEY,
        ],
    );
    clone.pushes(&[NOTES]);
    assert_eq!(
        standings(&server, 1),
        [
            "takahashi: counts".to_owned(),
            format!("mori: {UNSIGNED}"),
            format!("mori: {OTHER_KEY}"),
            "mori: its signature is no SSH signature in the namespace lockstep".to_owned(),
        ]
    );
    let told = server
        .bare
        .run(&["proposal", "show", "1", "--format", "markdown"])
        .out;
    assert!(
        told.contains("not signed with the key under people:"),
        "{told}"
    );
    assert!(told.contains("signed with another key"), "{told}");
    let told = server
        .bare
        .run(&["proposal", "show", "1", "--lang", "ja"])
        .out;
    assert!(told.contains("別の鍵で署名されています"), "{told}");
    // The real one takes its place all the same.
    approve(&server.bare, &keys, 0, "1", "mori", "mori");
    assert_eq!(server.bare.statuses(1), GREEN);
}

#[test]
fn a_signature_is_good_for_one_proposal_and_what_it_said() {
    let (server, _keys) = approved();
    server.bare.propose(0, &["access.admin_users+=user666"]);
    // The same change again, with the same plan; in another second, since it would be the same commit otherwise.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let clone = server.clone("replay");
    let lines: Vec<Value> = clone
        .lines(APPROVALS, 1)
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    for number in [2, 3] {
        for line in &lines {
            // As it stands it names another proposal; renamed, the signature does not fit.
            clone.add_line(APPROVALS, number, &line.to_string());
            let mut renamed = line.clone();
            renamed["number"] = number.into();
            clone.add_line(APPROVALS, number, &renamed.to_string());
            let head = clone.git(&["rev-parse", &format!("refs/lockstep/heads/{number}")]);
            renamed["commit"] = head.into();
            renamed["plan"] = server.bare.show(number)["scope"].clone();
            renamed["sequence"] = 7.into();
            clone.add_line(APPROVALS, number, &renamed.to_string());
        }
        clone.git(&["reset", "-q", "--hard", "origin/main"]);
        clone.merge_by_hand(number);
        clone.is_refused(
            &server,
            &["main", NOTES],
            &[&format!("proposal {number} may not be merged yet"), "0 of"],
        );
    }
    clone.pushes(&[NOTES]);
    let told = standings(&server, 3);
    assert_eq!(told.len(), 4, "{told:?}");
    for one in told {
        assert!(one.ends_with(OTHER_TEXT), "{one}");
    }
}

#[test]
fn keys_are_those_of_the_base() {
    let (server, keys) = signing();
    // The proposal gives Mori a key that its author has.
    let theirs = keys.config(&[("mori", "mallory"), ("takahashi", "takahashi")]);
    let clone = server.clone("keys");
    clone.commit("keys", &[("lockstep.yaml", &theirs)]);
    clone.pushes(&["keys"]);
    server
        .bare
        .run(&["propose", "--as", "sato", "--branch", "keys"])
        .code(0);
    let ran = approve(&server.bare, &keys, 1, "1", "mori", "mallory");
    assert!(ran.err.contains(OTHER_KEY), "{}", ran.err);
    // No key any more does not make an unsigned approval one that counts.
    let clone = server.clone("none");
    clone.commit("none", &[("lockstep.yaml", CONFIG)]);
    clone.pushes(&["none"]);
    server
        .bare
        .run(&["propose", "--as", "sato", "--branch", "none"])
        .code(0);
    let line = format!(
        "{{\"timestamp\":\"1800000000\",\"sequence\":1,\"number\":2,\"user\":\"mori\",\"commit\":\"{}\",\"plan\":{},\
         \"kind\":\"approve\",\"at\":\"2026-11-01T00:00:00Z\",\"v\":0}}",
        clone.git(&["rev-parse", "none"]),
        server.bare.show(2)["scope"]
    );
    clone.fetch();
    clone.add_line(APPROVALS, 2, &line);
    clone.merge_by_hand(2);
    clone.is_refused(
        &server,
        &["main", NOTES],
        &["proposal 2 may not be merged yet", "0 of 2"],
    );
    clone.pushes(&[NOTES]);
    assert_eq!(standings(&server, 2), [format!("mori: {UNSIGNED}")]);
}

#[test]
fn they_last_as_long_as_the_plan() {
    let (server, keys) = approved();
    let branch = server.bare.branch(1);
    let clone = server.clone("author");
    clone.git(&["checkout", "-q", "-b", &branch, &format!("origin/{branch}")]);
    let raised = FLAGS.replace("  10,", "  25,");
    // A comment changes no plan.
    let commented = raised.replace("// 段階公開中", "// 段階公開中。二段階目");
    clone.commit(&branch, &[("config/feature-flags.json", &commented)]);
    clone.pushes(&[&branch]);
    assert_eq!(server.bare.statuses(1), GREEN);

    // Main moves on by another proposal.
    server.bare.propose(0, &["access.readonly_users+=user109"]);
    approve(&server.bare, &keys, 0, "2", "mori", "mori");
    server.bare.act(0, "approve", 2, "watanabe");
    server.bare.act(0, "merge", 2, "mori");
    assert_eq!(server.bare.statuses(1), GREEN);

    // More than was signed.
    let more = commented.replace("\"enabled\": false", "\"enabled\": true");
    clone.commit(&branch, &[("config/feature-flags.json", &more)]);
    clone.pushes(&[&branch]);
    assert_eq!(server.bare.statuses(1)[3], "approval=pending");
    assert_eq!(
        standings(&server, 1),
        [
            "mori: a later push added to what was approved",
            "takahashi: a later push added to what was approved"
        ]
    );
    clone.fetch();
    clone.git(&["merge", "-q", "--no-ff", "--no-edit", &branch]);
    clone.is_refused(&server, &["main"], &["0 of 2"]);

    // Taken back, what was signed is there again, and merges.
    clone.git(&["reset", "-q", "--hard", "origin/main"]);
    clone.pushes(&["-f", &format!("{branch}~1:refs/heads/{branch}")]);
    assert_eq!(server.bare.statuses(1), GREEN);
    clone.git(&[
        "merge",
        "-q",
        "--no-ff",
        "--no-edit",
        &format!("{branch}~1"),
    ]);
    clone.pushes(&["main"]);
    assert_eq!(server.state(1), "merged");
}

#[test]
fn a_key_that_was_changed_takes_its_approvals_along() {
    let (server, keys) = approved();
    // Mori's key was lost; the rules change with two approvals.
    let clone = server.clone("rotate");
    let config = keys.config(&[("mori", "mallory"), ("takahashi", "takahashi")]);
    clone.commit("rotate", &[("lockstep.yaml", &config)]);
    clone.pushes(&["rotate"]);
    server
        .bare
        .run(&["propose", "--as", "sato", "--branch", "rotate"])
        .code(0);
    approve(&server.bare, &keys, 0, "2", "mori", "mori");
    approve(&server.bare, &keys, 0, "2", "takahashi", "takahashi");
    server.bare.act(0, "merge", 2, "takahashi");
    assert_eq!(server.bare.statuses(1)[3], "approval=pending");
    assert_eq!(
        standings(&server, 1),
        [format!("mori: {OTHER_KEY}"), "takahashi: counts".to_owned()]
    );
    approve(&server.bare, &keys, 0, "1", "mori", "mallory");
    assert_eq!(server.bare.statuses(1), GREEN);
}

#[test]
fn nobody_takes_an_objection_back_for_somebody_else() {
    let (server, keys) = approved();
    server
        .bare
        .run(&[
            "proposal",
            "request-changes",
            "1",
            "--as",
            "mori",
            "-m",
            "待って",
        ])
        .code(0);
    let clone = server.clone("revive");
    let mut line: Value = serde_json::from_str(&clone.lines(APPROVALS, 1)[0]).unwrap();
    assert_eq!(line["user"], "mori");
    // Mori's own approval again, as if it came later; and one without a signature.
    line["sequence"] = 8.into();
    clone.add_line(APPROVALS, 1, &line.to_string());
    line["sequence"] = 9.into();
    line["signature"] = Value::Null;
    line["message"] = "問題ありません".into();
    clone.add_line(APPROVALS, 1, &line.to_string());
    clone.merge_by_hand(1);
    clone.is_refused(
        &server,
        &["main", NOTES],
        &[
            "proposal 1 may not be merged yet",
            "changes requested by mori",
        ],
    );
    clone.pushes(&[NOTES]);
    assert_eq!(server.bare.statuses(1)[3], "approval=failure");
    // Mori can.
    approve(&server.bare, &keys, 0, "1", "mori", "mori");
    assert_eq!(server.bare.statuses(1), GREEN);
}
