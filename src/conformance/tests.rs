//! The reference system does all of it; a system with one fault is found by the behaviour that is about it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::*;
use crate::clock::SystemClock;
use crate::reference::{self, Server};

mod faulty;

use faulty::{Fault, Faulty};

const TOKEN: &str = "s3cret-token";

struct World {
    folder: TempDir,
    server: Server,
}

fn system(database: PathBuf, listen: SocketAddr, kinds: &[&str]) -> reference::Options {
    reference::Options {
        name: "medical".parse().unwrap(),
        title: None,
        listen,
        database,
        token: Some(SecretString::from(TOKEN)),
        kinds: kinds.iter().map(|kind| kind.parse().unwrap()).collect(),
        faults: None,
    }
}

impl World {
    async fn new() -> Self {
        Self::taking(&[]).await
    }

    async fn taking(kinds: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let database = folder.path().join("medical.db");
        let options = system(database, "127.0.0.1:0".parse().unwrap(), kinds);
        let server = reference::bind(options).await.unwrap();
        Self { folder, server }
    }

    async fn put(&self, path: &str, spec: Value) {
        let url = format!("{}/admin/resources/{path}", self.server.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.put(url).bearer_auth(TOKEN).json(&spec).send().await;
        assert!(answer.unwrap().status().is_success());
    }
}

fn options(url: &str) -> Options {
    Options {
        url: url.parse().unwrap(),
        token: Some(SecretString::from(TOKEN)),
        kind: "FeatureFlag".parse().unwrap(),
        specs: Vec::new(),
        occupied: Occupied::Refuse,
        many: 300,
        fence: Fence(1),
        timeout: Duration::from_secs(120),
        restart: None,
        clock: Arc::new(SystemClock),
    }
}

fn failures(report: &Report) -> Vec<&'static str> {
    let failed = |line: &&Line| matches!(line.verdict, Verdict::Failed { .. });
    let lines = report.behaviours.iter().filter(failed);
    lines.map(|line| line.behaviour).collect()
}

fn without_port(report: &Report, url: &str) -> String {
    let port = url.rsplit(':').next().unwrap_or_default();
    text(report).replace(port, "PORT")
}

/// Stops a reference system and starts it on the same file and port; between the two, `meanwhile` has the file.
fn restarting(world: World, forgetful: bool) -> (Restart, String) {
    let url = world.server.url();
    let database = world.folder.path().join("medical.db");
    let addr = world.server.addr();
    let held = Arc::new(Mutex::new(Some(world)));
    let restart: Restart = Arc::new(move || {
        let (held, database) = (held.clone(), database.clone());
        Box::pin(async move {
            let mut held = held.lock().await;
            let World { folder, server } = held.take().ok_or("is gone")?;
            server.stop().await.map_err(|e| e.to_string())?;
            if forgetful {
                forget(&database).await;
            }
            let server = reference::bind(system(database, addr, &[]))
                .await
                .map_err(|e| e.to_string())?;
            *held = Some(World { folder, server });
            Ok(())
        })
    });
    (restart, url)
}

/// As if what is staged had been kept in memory alone.
async fn forget(database: &std::path::Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("DELETE FROM changesets WHERE status = 'staged'")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

#[tokio::test]
async fn the_reference_system_does_all_of_it() {
    let (restart, url) = restarting(World::new().await, false);
    let report = test(Options {
        many: 10_000,
        restart: Some(restart),
        ..options(&url)
    })
    .await
    .unwrap();
    assert_eq!(failures(&report), [""; 0], "{}", text(&report));
    insta::assert_snapshot!(without_port(&report, &url), @r"
    state-shape                   ok
    state-digest                  ok
    bucket-digests                ok
    etag                          ok
    lease                         ok       the fence is 1 now
    commit-applies                ok
    not-modified                  ok
    buckets                       ok
    prepare-stages                ok
    prepare-invisible             ok
    prepare-other-content         ok
    prepare-stale-base            ok
    prepare-target                ok
    prepare-refuses-with-reasons  ok
    prepare-all-or-nothing        ok
    commit-repeats                ok
    prepare-after-commit          ok
    commit-unknown                ok
    commit-refused                ok
    abort-drops                   ok
    abort-repeats                 ok
    abort-unknown                 ok
    late-prepare                  ok
    abort-committed               ok
    old-fence-prepare             ok
    old-fence-commit              ok
    old-fence-abort               ok
    refusal-keeps-fence           ok
    newer-fence-supersedes        ok
    next-holder-finishes          ok
    ten-thousand-changes          ok       10000 changes
    unknown-kinds                 ok       kept
    unicode-names                 ok       all 10 kept
    unicode-specs                 ok       all 3 kept
    numbers                       ok       all 2 kept
    audit-pages                   ok       20092 events
    audit-window                  ok
    unauthorized                  ok
    malformed                     ok
    restart                       ok
    error-bodies                  ok       44 errors
    left-as-found                 ok

    http://127.0.0.1:PORT/: 42 ok, 0 FAILED, 0 skipped; the highest fence it has seen is 4
    ");
    let names: BTreeSet<_> = BEHAVIOURS.iter().map(|b| b.name).collect();
    assert_eq!(names.len(), BEHAVIOURS.len());
    assert_eq!(report.behaviours.len(), BEHAVIOURS.len());
}

#[tokio::test]
async fn a_system_in_use_is_left_as_it_was_found() {
    let world = World::taking(&["FeatureFlag"]).await;
    let url = world.server.url();
    world
        .put("FeatureFlag/ai", json!({"enabled": true, "rollout": 10}))
        .await;
    let refused = test(options(&url)).await;
    assert!(matches!(refused, Err(ConformanceError::Occupied(1))));
    let mut seen = Vec::new();
    for fence in [1, 40] {
        let report = test(Options {
            occupied: Occupied::Test,
            fence: Fence(fence),
            ..options(&url)
        })
        .await
        .unwrap();
        assert_eq!(failures(&report), [""; 0], "{}", text(&report));
        let unknown = report
            .behaviours
            .iter()
            .find(|l| l.behaviour == "unknown-kinds");
        let note = Some("refused with a reason".to_owned());
        assert_eq!(unknown.unwrap().verdict, Verdict::Ok { note });
        seen.push((report.fence.0, report.digest));
    }
    // As few fences as can be are used up, and what was found the second time is what was found the first time.
    assert_eq!(seen[0].0, 4);
    assert_eq!(seen[1].0, 43);
    assert_eq!(seen[0].1, seen[1].1);
}

#[tokio::test]
async fn what_cannot_be_tested_says_why() {
    let world = World::new().await;
    let url = world.server.url();
    let wrong = Options {
        token: None,
        ..options(&url)
    };
    assert!(matches!(
        test(wrong).await,
        Err(ConformanceError::Unauthorized)
    ));
    let elsewhere = test(options(&format!("{url}/elsewhere"))).await;
    assert!(matches!(elsewhere, Err(ConformanceError::Unreachable(_))));
    let with_secret = test(options("http://user:secret@127.0.0.1")).await;
    assert!(matches!(with_secret, Err(ConformanceError::Url)));
    let kind = Options {
        kind: "Shift".parse().unwrap(),
        ..options(&url)
    };
    assert!(matches!(
        test(kind).await,
        Err(ConformanceError::NoSpecs(_))
    ));
    let same = Options {
        specs: vec![json!(1), json!(1.0)],
        ..options(&url)
    };
    assert!(matches!(test(same).await, Err(ConformanceError::Specs(_))));
    world.server.stop().await.unwrap();
    assert_eq!(
        unreachable(options(&url)).await,
        "GET /state: nothing listens there"
    );
}

async fn unreachable(options: Options) -> String {
    match test(options).await {
        Err(ConformanceError::Unreachable(why)) => why,
        Err(other) => format!("{other:?}"),
        Ok(report) => text(&report),
    }
}

/// A server that takes a connection, says this and no more; with `None` it says nothing and holds on.
async fn answering(tasks: &mut JoinSet<()>, bytes: Option<&'static [u8]>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // The beginning of the request is enough to answer it.
            stream.read_u8().await.unwrap();
            match bytes {
                Some(bytes) => stream.write_all(bytes).await.unwrap(),
                None => held.push(stream),
            }
        }
    });
    url
}

/// What the HTTP library says of its insides is not what somebody who writes a system needs.
#[tokio::test]
async fn a_system_that_is_slow_or_breaks_off_is_told_so_in_plain_words() {
    let mut tasks = JoinSet::new();
    let silent = Options {
        timeout: Duration::from_millis(200),
        ..options(&answering(&mut tasks, None).await)
    };
    let short = answering(
        &mut tasks,
        Some(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
    )
    .await;
    let noise = answering(&mut tasks, Some(b"hello\r\n\r\n")).await;
    let mut told = vec![unreachable(silent).await];
    for url in [short, noise] {
        told.push(unreachable(options(&url)).await);
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    GET /state: no whole answer within 200ms
    GET /state: the connection broke off before the answer was whole, or it was no HTTP
    GET /state: the connection broke off before the answer was whole, or it was no HTTP
    "#);
}

#[tokio::test]
async fn another_kind_is_tested_with_contents_of_its_own() {
    let world = World::new().await;
    let report = test(Options {
        kind: "Shift".parse().unwrap(),
        specs: vec![json!("day"), json!(["night"]), json!(null)],
        ..options(&world.server.url())
    })
    .await
    .unwrap();
    assert_eq!(failures(&report), [""; 0], "{}", text(&report));
}

#[tokio::test]
async fn a_system_that_forgets_what_is_staged_is_found() {
    let (restart, url) = restarting(World::new().await, true);
    let report = test(Options {
        restart: Some(restart),
        ..options(&url)
    })
    .await
    .unwrap();
    assert_eq!(failures(&report), ["restart"]);
}

/// Which behaviours fail on a system with this fault.
async fn found(fault: Fault) -> Vec<&'static str> {
    let world = World::new().await;
    let faulty = Faulty::start(world.server.url(), fault).await;
    let report = test(options(&faulty.url)).await.unwrap();
    failures(&report)
}

macro_rules! finds {
    ($($name:ident: $fault:ident => $behaviours:expr;)+) => {
        $(#[tokio::test]
        async fn $name() {
            assert_eq!(found(Fault::$fault).await, $behaviours);
        })+
    };
}

finds! {
    a_commit_that_is_done_twice: CommitsTwice => ["commit-repeats"];
    a_commit_that_answers_once: CommitsOnce => ["commit-repeats", "prepare-after-commit"];
    a_tag_that_never_changes: TagNeverChanges => ["etag", "not-modified"];
    a_system_that_sends_all_every_time: NeverNotModified => ["not-modified"];
    a_stale_base_that_is_accepted: AcceptsStaleBase => ["prepare-stale-base", "commit-refused"];
    an_old_fence_that_is_accepted: AcceptsOldFence => ["old-fence-prepare", "old-fence-commit", "old-fence-abort", "refusal-keeps-fence", "next-holder-finishes"];
    a_newer_fence_that_ends_nothing: SupersedesNothing => ["newer-fence-supersedes"];
    a_change_that_is_visible_early: VisibleEarly => ["prepare-stages", "prepare-invisible", "abort-drops", "abort-repeats", "late-prepare", "old-fence-commit", "newer-fence-supersedes", "unauthorized"];
    a_wrong_digest: WrongDigest => ["state-digest"];
    a_kind_that_is_dropped_silently: DropsUnknownKinds => ["unknown-kinds"];
    a_changeset_that_is_cut_short: CutsLargeChangesets => ["ten-thousand-changes"];
    a_name_that_is_normalized: NormalizesNames => ["unicode-names"];
    an_abort_that_is_forgotten: ForgetsAborts => ["abort-drops", "late-prepare", "abort-committed", "old-fence-abort"];
    an_abort_of_the_unknown_that_is_refused: RefusesUnknownAborts => ["abort-unknown", "late-prepare"];
    a_commit_that_changes_nothing: CommitsNothing => ["commit-applies"];
    a_system_that_asks_for_no_token: AsksForNoToken => ["unauthorized"];
    a_refusal_without_reasons: GivesNoReasons => ["prepare-refuses-with-reasons", "prepare-all-or-nothing"];
    a_bucket_that_is_not_looked_at: IgnoresBuckets => ["buckets"];
    an_audit_feed_with_a_hole: LosesEvents => ["audit-pages"];
    errors_for_browsers: ErrorsAreHtml => ["prepare-refuses-with-reasons", "prepare-all-or-nothing", "commit-unknown", "error-bodies"];
}
