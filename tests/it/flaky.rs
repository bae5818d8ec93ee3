//! Systems that answer as no good system would. Whatever comes: nothing moves or everything does, and the commit says which system and why.

use serde_json::{Value, json};

use crate::world::front::{Fault, Front, answer, chunk};
use crate::world::proxy::Proxy;
use crate::world::{SETTINGS, Settings, World, eventually};

const DIGESTS: &str = "GET /lockstep/v1/state/digests";
const STATE: &str = "GET /lockstep/v1/state";
const PREPARE: &str = "PUT /lockstep/v1/changesets";
const COMMIT: &str = "POST /lockstep/v1/changesets/commit";

const JSON: &str = "application/json";

/// Long enough for an answer from a busy machine, short enough to wait for one that never comes.
const IMPATIENT: Settings = Settings {
    request: "1500ms",
    prepare: "4s",
    commit: "8s",
    ..SETTINGS
};

/// A world in step whose voicedrive stands behind a front.
async fn behind_a_front() -> (World, Front) {
    let mut world = World::new().await;
    let front = Front::start(world.system("voicedrive").address).await;
    world.system_mut("voicedrive").at = front.address;
    world.write("lockstep.yaml", &world.config(""));
    world.commit("voicedrive has moved");
    world.settings(&SETTINGS);
    world.ok(&["apply"]).await;
    world.settings(&IMPATIENT);
    (world, front)
}

/// A fault, and words of what is said of it.
type Case = (&'static str, Fault, &'static str);

fn endless(head: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\n{head}\r\n")
}

fn chunked(part: &[u8]) -> Fault {
    Fault::Endless(endless("transfer-encoding: chunked\r\n"), chunk(part))
}

fn redirect(to: &str) -> Fault {
    let head = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    Fault::Says(head.into_bytes())
}

/// What can be wrong with an answer whatever was asked.
fn answers() -> Vec<Case> {
    let no_json = |body: &str| Fault::Says(answer(200, JSON, body));
    vec![
        (
            "a fault of its own",
            Fault::Says(answer(
                500,
                JSON,
                r#"{"error": "out of disk", "code": "internal"}"#,
            )),
            "failed (500): out of disk",
        ),
        (
            "a page of whatever stands before it",
            Fault::Says(answer(502, "text/html", "<h1>Bad Gateway</h1>")),
            "failed (502)",
        ),
        (
            "busy",
            Fault::Says(answer(429, "text/plain", "later")),
            "is busy (429)",
        ),
        (
            "a credential that is none any more",
            Fault::Says(answer(401, JSON, "{}")),
            "does not accept the credential \"test\"",
        ),
        (
            "a page instead of an answer",
            Fault::Says(answer(200, "text/html", "<h1>Welcome</h1>")),
            "text/html instead of application/json",
        ),
        (
            "no content",
            Fault::Says(answer(204, JSON, "")),
            "answered 204",
        ),
        ("nothing, and that is fine", no_json(""), "without content"),
        (
            "truncated JSON",
            no_json(r#"{"revision": null, "digest": "#),
            "ends in the middle",
        ),
        ("no JSON", no_json("{revision: null}"), "cannot be read"),
    ]
}

/// What can be wrong with how it comes.
fn transports(thief: &str) -> Vec<Case> {
    let flood: String = (0..5000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    vec![
        (
            "a reset in the middle",
            Fault::Resets,
            "broke off the connection",
        ),
        ("slow bytes", Fault::Drips, "did not answer within"),
        (
            "taken and never answered",
            Fault::Silent,
            "did not answer within",
        ),
        (
            "a body without end",
            chunked(&[b' '; 64 << 10]),
            "sent more than the",
        ),
        (
            "a gigabyte announced",
            Fault::Says(endless("content-length: 1073741824\r\n").into_bytes()),
            "sent more than the",
        ),
        (
            "a bomb",
            Fault::Says(
                endless("content-encoding: gzip\r\ncontent-length: 10\r\n\r\n0123456789")
                    .into_bytes(),
            ),
            "compressed its answer (gzip)",
        ),
        (
            "a flood of headers",
            Fault::Headed(flood),
            "broke off the connection",
        ),
        (
            "another protocol",
            Fault::Says(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
            "broke off the connection",
        ),
        (
            "a redirect elsewhere",
            redirect(&format!("{thief}/lockstep/v1/state/digests")),
            "redirects to 127.0.0.1 (307)",
        ),
        (
            "a redirect to itself",
            redirect("/lockstep/v2/state/digests"),
            "redirects (307)",
        ),
        (
            "unchanged, whatever is asked",
            Fault::Says(b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_vec()),
            "304 to a request without a condition",
        ),
    ]
}

/// What can be wrong with digests.
fn digests() -> Vec<Case> {
    vec![
        (
            "an ETag that never changes",
            Fault::Headed("etag: \"1\"\r\n".to_owned()),
            "sends an ETag that is not the digest",
        ),
        (
            "one bucket less",
            Fault::Edited(|v| drop(v["buckets"].as_array_mut().unwrap().pop())),
            "has 255 buckets instead of 256",
        ),
        (
            "another digest",
            Fault::Edited(|v| v["digest"] = json!("0".repeat(64))),
            "but its buckets give",
        ),
    ]
}

/// What can be wrong with a listing.
fn listings() -> Vec<Case> {
    fn resources(state: &mut Value) -> &mut Vec<Value> {
        state["resources"].as_array_mut().unwrap()
    }
    vec![
        (
            "pages that overlap",
            Fault::Edited(|v| {
                let first = resources(v)[0].clone();
                resources(v).push(first);
            }),
            "sent a resource twice",
        ),
        (
            "two versions of one",
            Fault::Edited(|v| {
                let mut first = resources(v)[0].clone();
                first["spec"] = json!({});
                resources(v).push(first);
            }),
            "the listing is not complete",
        ),
        (
            "one of another bucket",
            Fault::Edited(|v| {
                resources(v).push(json!({"kind": "FeatureFlag", "name": "night_mode", "spec": {}}))
            }),
            "which was not asked for",
        ),
        (
            "a page that is missing",
            Fault::Edited(|v| drop(resources(v).pop())),
            "the listing is not complete",
        ),
        (
            "of another moment",
            Fault::Edited(|v| v["digest"] = json!("0".repeat(64))),
            "while it was being read",
        ),
        (
            "a name that is none",
            Fault::Edited(|v| resources(v)[0]["name"] = json!("")),
            "whose name is none",
        ),
        (
            "a reset in the middle",
            Fault::Resets,
            "broke off the connection",
        ),
        (
            "truncated JSON",
            Fault::Says(answer(
                200,
                JSON,
                r#"{"revision": null, "resources": [{"kind""#,
            )),
            "ends in the middle",
        ),
        (
            "a gigabyte announced",
            Fault::Says(endless("content-length: 1073741824\r\n").into_bytes()),
            "sent more than the 256 MiB",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_moves_nothing_and_is_said_on_the_commit() {
    let (world, front) = behind_a_front().await;
    let thief = Proxy::start(world.system("medical").address).await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let thief_url = format!("http://{}", thief.address);
    let of_digests = answers()
        .into_iter()
        .chain(transports(&thief_url))
        .chain(digests());
    let all = of_digests
        .map(|case| (DIGESTS, case))
        .chain(listings().into_iter().map(|case| (STATE, case)));
    for (at, (what, fault, why)) in all {
        front.breaks(at, fault);
        let ended = world.apply().await;
        let place = format!("{what}, at {at}: {ended:?}");
        assert_eq!(ended.code, Some(1), "{place}");
        assert_eq!(world.rollouts().await, [Some(10), Some(10)], "{place}");
        let statuses = world.statuses(&revision);
        let (state, said) = &statuses["lockstep/apply/voicedrive"];
        assert_eq!(state, "failure", "{place}");
        assert!(said.contains(why), "{said}\n{place}");
        let (state, whole) = &statuses["lockstep/apply"];
        assert_eq!(state, "failure", "{place}");
        assert!(whole.contains("voicedrive"), "{whole}\n{place}");
    }
    assert_eq!(thief.log(), [], "the credential was taken elsewhere");
    // Nothing was staged either, and when the system is well again the change is counted and done.
    for system in &world.systems {
        let writes = system
            .proxy
            .log()
            .iter()
            .filter(|s| !s.what.starts_with("GET"))
            .count();
        assert!(writes <= 2, "{writes}");
    }
    front.heals();
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("2 changes verified"), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&revision), ["success", "success", "success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_is_not_answered_well_takes_the_others_back() {
    let (mut world, front) = behind_a_front().await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let another = |v: &mut Value| v["id"] = json!("another");
    let cases: [Case; 5] = [
        (
            "a fault of its own",
            Fault::Says(answer(500, JSON, "{}")),
            "failed (500)",
        ),
        (
            "carried out, and not said",
            Fault::DoesAndSays(Vec::new()),
            "broke off the connection",
        ),
        (
            "a page instead of an answer",
            Fault::DoesAndSays(answer(200, "text/html", "<h1>Done</h1>")),
            "text/html instead",
        ),
        (
            "an answer for another changeset",
            Fault::Edited(another),
            "for the changeset another",
        ),
        (
            "a refusal without end",
            Fault::Endless(
                "HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
                chunk(&[b' '; 64 << 10]),
            ),
            "sent more than the 16 MiB",
        ),
    ];
    for (what, fault, why) in cases {
        front.breaks(PREPARE, fault);
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
        assert_eq!(world.rollouts().await, [Some(10), Some(10)], "{what}");
        let (state, said) = &world.statuses(&revision)["lockstep/apply/voicedrive"];
        assert_eq!(state, "failure", "{what}");
        assert!(said.contains(why), "{what}: {said}");
        assert_eq!(world.states(&revision)[0], "failure", "{what}");
    }
    front.heals();
    assert_eq!(world.staged().await, 0);
    // Done and not said: the next pass plans anew, and what was staged unheard is nobody's.
    front.breaks_for(PREPARE, 0, 1, Fault::DoesAndSays(Vec::new()));
    assert_eq!(world.apply().await.code, Some(1));
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&revision), ["success", "success", "success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_answered_well_is_done_once_or_taken_back_everywhere() {
    let (mut world, front) = behind_a_front().await;
    let fault = || Fault::Says(answer(500, JSON, "{}"));
    // The verification asks for the digests once more.
    let passing = [
        ("not heard", COMMIT, 0, fault()),
        (
            "carried out, and not said",
            COMMIT,
            0,
            Fault::DoesAndSays(Vec::new()),
        ),
        ("carried out, and broken off", COMMIT, 0, Fault::Resets),
        ("a fault while it is verified", DIGESTS, 1, fault()),
        ("a reset while it is verified", DIGESTS, 1, Fault::Resets),
    ];
    let mut rollout = 10;
    for (what, at, skip, fault) in passing {
        rollout += 1;
        world.set_rollout(rollout);
        let revision = world.commit(what);
        front.breaks_for(at, skip, 1, fault);
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(0), "{what}: {ended:?}");
        let rollout = Some(u64::from(rollout));
        assert_eq!(world.rollouts().await, [rollout, rollout], "{what}");
        assert_eq!(
            world.states(&revision),
            ["success", "success", "success"],
            "{what}"
        );
    }
    let audit = world.system("voicedrive").changes().await;
    let changes = audit.iter().filter(|e| e["name"] == "ai_assistant").count();
    assert_eq!(
        changes,
        passing_count() + 1,
        "none was done twice: {audit:#?}"
    );

    let before = rollout;
    world.set_rollout(90);
    let revision = world.commit("never committed");
    front.breaks(
        COMMIT,
        Fault::Says(answer(200, "text/html", "<h1>Done</h1>")),
    );
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let before = Some(u64::from(before));
    assert_eq!(world.rollouts().await, [before, before], "{ended:?}");
    let (state, said) = &world.statuses(&revision)["lockstep/apply/voicedrive"];
    assert_eq!(state, "failure", "{said}");
    assert!(said.contains("text/html"), "{said}");
    front.heals();
    assert_eq!(world.staged().await, 0);
}

/// How many commits in the test above were answered badly and done all the same.
fn passing_count() -> usize {
    5
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_system_says_of_the_time_is_not_believed() {
    let (world, front) = behind_a_front().await;
    let heads = [
        "date: Thu, 01 Jan 1970 00:00:00 GMT\r\nexpires: Fri, 31 Dec 2100 23:59:59 GMT\r\ncache-control: max-age=31536000, immutable\r\n",
        "date: Fri, 31 Dec 2100 23:59:59 GMT\r\nage: 99999999\r\nlast-modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nretry-after: 86400\r\n",
    ];
    let mut rollout = 10;
    for (at, head) in [DIGESTS, STATE]
        .into_iter()
        .flat_map(|at| heads.map(|h| (at, h)))
    {
        front.breaks(at, Fault::Headed(head.to_owned()));
        rollout += 1;
        world.set_rollout(rollout);
        world.commit("raise the rollout");
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let rollout = Some(u64::from(rollout));
        assert_eq!(world.rollouts().await, [rollout, rollout]);
    }
    // What somebody changes meanwhile is seen at the next look, however fresh the last answer claims to be.
    let voicedrive = world.system("voicedrive");
    let mut spec = voicedrive.resources().await["FeatureFlag/ai_assistant"].clone();
    spec["rollout"] = json!(77);
    voicedrive.edit("FeatureFlag/ai_assistant", spec).await;
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.entries("drift.found").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_a_gigabyte_is_refused_and_not_kept() {
    let (world, front) = behind_a_front().await;
    world.settings(&Settings {
        systems: "1h",
        ..SETTINGS
    });
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    front.breaks(STATE, chunked(&vec![b' '; 1 << 20]));
    let mut lockstep = world.start(&["run"], "run.log");
    eventually("it has given up on the state", async || {
        let statuses = world.statuses(&revision);
        let (_, said) = statuses.get("lockstep/apply/voicedrive")?;
        said.contains("sent more than the 256 MiB").then_some(())
    })
    .await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", lockstep.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // What is read is kept until it is too much; growing it may need it twice.
    assert!(kilobytes < 640 << 10, "{peak}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    front.heals();
    lockstep.terminate();
    assert_eq!(
        lockstep.ended().await.code(),
        Some(0),
        "{}",
        lockstep.output()
    );
}
