use proptest::prelude::*;

use super::*;
use crate::document::{Blob, BlobId, Content};
use crate::finding::Severity;
use crate::ids::{Digest, SystemName};
use crate::view::{ReportView, text};

fn path(text: &str) -> DocPath {
    text.parse().unwrap()
}

fn blob(text: &str) -> Blob {
    Blob {
        id: BlobId::from_digest(Digest::of(text.as_bytes())),
        content: Content::Bytes(text.as_bytes().into()),
    }
}

fn revision(n: usize) -> Revision {
    format!("{n:040x}").parse().unwrap()
}

/// `lockstep.yaml` with one system or two; in the second edition flags are also read from `more/`.
fn config(edition: usize) -> String {
    let second =
        "  voicedrive: {connector: http, url: 'http://127.0.0.1:2', kinds: [FeatureFlag]}\n";
    format!(
        "version: 1\nsystems:\n  medical: {{connector: http, url: 'http://127.0.0.1:1', kinds: [FeatureFlag, Notice]}}\n{}\
         documents:\n  - {{path: '{}/**/*.json', kind: FeatureFlag}}\n",
        if edition == 1 { "" } else { second },
        if edition == 2 {
            "{flags,more}"
        } else {
            "flags"
        }
    )
}

/// A repo under edit: the snapshot, what has been compiled of it step by step, and how many steps there were.
struct Repo {
    snapshot: Snapshot,
    compiled: Compiled,
    steps: usize,
}

impl Repo {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(p, text)| (path(p), blob(text)));
        let snapshot = Snapshot {
            revision: Some(revision(0)),
            files: files.collect(),
            ..Snapshot::default()
        };
        let compiled = compile(&snapshot);
        Self {
            snapshot,
            compiled,
            steps: 0,
        }
    }

    /// Changes files, `None` for gone, and compiles what follows.
    fn edit(&mut self, files: &[(&str, Option<Blob>)]) {
        self.steps += 1;
        let files = files.iter().map(|(p, blob)| (path(p), blob.clone()));
        let delta = SnapshotDelta {
            files: files.collect(),
            ..SnapshotDelta::default()
        };
        self.snapshot.succeed(Some(revision(self.steps)), &delta);
        self.compiled.succeed(&self.snapshot, &delta);
    }

    fn write(&mut self, at: &str, text: &str) {
        self.edit(&[(at, Some(blob(text)))]);
    }

    fn rules(&self) -> Vec<&'static str> {
        self.compiled
            .report
            .findings()
            .iter()
            .map(|f| f.rule)
            .collect()
    }

    /// What came step by step is what comes at once.
    fn agrees(&self) -> Result<(), TestCaseError> {
        let fresh = compile(&self.snapshot);
        prop_assert_eq!(&self.compiled.report, &fresh.report);
        prop_assert_eq!(self.compiled.revision(), self.snapshot.revision.as_ref());
        let (ours, whole) = (&self.compiled.bundle, &fresh.bundle);
        prop_assert_eq!(ours.digest(), whole.digest());
        prop_assert_eq!(&ours.counts, &whole.counts);
        prop_assert_eq!(&ours.config, &whole.config);
        prop_assert!(
            ours.resources().eq(whole.resources()),
            "the resources differ"
        );
        prop_assert_eq!(ours.len(), ours.resources().count());
        let medical: SystemName = "medical".parse().unwrap();
        prop_assert_eq!(ours.project(&medical), whole.project(&medical));
        Ok(())
    }
}

fn flags(flags: &[(u8, u8)]) -> String {
    let members: Vec<String> = flags
        .iter()
        .map(|(name, rollout)| {
            // The last few look like others.
            let name = match name {
                8 => "F1".to_owned(),
                9 => "ｆ2".to_owned(),
                10 => "f\u{200b}3".to_owned(),
                n => format!("f{n}"),
            };
            format!("  \"{name}\": {{\"enabled\": true, \"rollout\": {rollout}}}")
        })
        .collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

/// Where documents may lie, among them one that is mapped only by the third `lockstep.yaml` and one that is read by nothing.
const PLACES: &[&str] = &[
    "config/feature-flags.json",
    "flags/a.json",
    "flags/A.json",
    "flags/b/c.json",
    "more/d.json",
    "config/feature-flag.json",
    "alerts/e.md",
];

#[derive(Debug, Clone)]
enum Edit {
    /// Flags by name and rollout; few names, so that some are declared twice, in one document or in two.
    Flags(usize, Vec<(u8, u8)>),
    Broken(usize),
    NotUtf8(usize),
    Symlink(usize),
    Gone(usize),
    Config(usize),
    NoConfig,
    /// Two documents at once, as when flags are moved from one to the other.
    Both(usize, Vec<(u8, u8)>, usize, Vec<(u8, u8)>),
}

fn edits() -> impl Strategy<Value = Edit> {
    let place = || 0..PLACES.len();
    let some = || prop::collection::vec((0..11_u8, 0..=101_u8), 0..5);
    prop_oneof![
        8 => (place(), some()).prop_map(|(p, f)| Edit::Flags(p, f)),
        3 => (place(), some(), place(), some()).prop_map(|(a, f, b, g)| Edit::Both(a, f, b, g)),
        3 => place().prop_map(Edit::Gone),
        1 => place().prop_map(Edit::Broken),
        1 => place().prop_map(Edit::NotUtf8),
        1 => place().prop_map(Edit::Symlink),
        1 => (0..3_usize).prop_map(Edit::Config),
        1 => Just(Edit::NoConfig),
    ]
}

impl Edit {
    fn apply(&self, repo: &mut Repo) {
        let with = |content| Blob {
            id: BlobId::from_digest(Digest::of(format!("{content:?}").as_bytes())),
            content,
        };
        match self {
            Self::Flags(at, f) => repo.write(PLACES[*at], &flags(f)),
            Self::Both(a, f, b, g) => repo.edit(&[
                (PLACES[*a], Some(blob(&flags(f)))),
                (PLACES[*b], Some(blob(&flags(g)))),
            ]),
            Self::Gone(at) => repo.edit(&[(PLACES[*at], None)]),
            Self::Broken(at) => repo.write(PLACES[*at], "{\"f1\": {\"enabled\": tru"),
            Self::NotUtf8(at) => {
                let bytes = Content::Bytes(vec![b'{', 0xff, b'}'].into());
                repo.edit(&[(PLACES[*at], Some(with(bytes)))]);
            }
            Self::Symlink(at) => repo.edit(&[(PLACES[*at], Some(with(Content::Symlink)))]),
            Self::Config(edition) => repo.write(CONFIG, &config(*edition)),
            Self::NoConfig => repo.edit(&[(CONFIG, None)]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn step_by_step_gives_what_compiling_at_once_gives(edits in prop::collection::vec(edits(), 1..12)) {
        let mut repo = Repo::new(&[
            (CONFIG, &config(0)),
            ("flags/a.json", &flags(&[(1, 10), (2, 20)])),
        ]);
        for edit in &edits {
            edit.apply(&mut repo);
            repo.agrees()?;
        }
    }
}

#[test]
fn a_resource_declared_twice_is_found_and_healed() {
    let mut repo = Repo::new(&[(CONFIG, &config(0)), ("flags/a.json", &flags(&[(1, 10)]))]);
    assert_eq!(repo.rules(), Vec::<&str>::new());
    repo.write("flags/b.json", &flags(&[(2, 5), (1, 99)]));
    let report = ReportView::new(&repo.compiled.report, |path| repo.snapshot.text(path));
    insta::assert_snapshot!(anstream::adapter::strip_str(&text::report(&report, crate::resource::Language::English)), @r#"
    error[resource/duplicate]: FeatureFlag/f1 is declared in flags/a.json already
     --> flags/b.json:3:3
      |
    3 |   "f1": {"enabled": true, "rollout": 9…
      |   ^^^^
      |
      = help: keep one of the two: two documents for one resource would take turns

    1 error in 1 file
    "#);
    // The first counts, so that what is applied does not depend on which of them was read last.
    let id = ResourceRef::new("FeatureFlag", "f1").unwrap();
    let first = repo.compiled.bundle.get(&id).unwrap();
    assert_eq!(first.document, path("flags/a.json"));
    assert_eq!(repo.compiled.bundle.len(), 2);
    repo.agrees().unwrap();
    // Taken out of the first document it is the second's.
    repo.write("flags/a.json", &flags(&[(3, 1)]));
    assert_eq!(repo.rules(), Vec::<&str>::new());
    let second = repo.compiled.bundle.get(&id).unwrap();
    assert_eq!(second.document, path("flags/b.json"));
    repo.agrees().unwrap();
}

#[test]
fn a_resource_that_moves_to_another_document_is_no_duplicate() {
    let mut repo = Repo::new(&[
        (CONFIG, &config(0)),
        ("flags/a.json", &flags(&[(1, 10), (2, 20)])),
        ("flags/b.json", &flags(&[(3, 30)])),
    ]);
    let before = repo.compiled.bundle.digest();
    repo.edit(&[
        ("flags/a.json", Some(blob(&flags(&[(1, 10)])))),
        ("flags/b.json", Some(blob(&flags(&[(2, 20), (3, 30)])))),
    ]);
    assert_eq!(repo.rules(), Vec::<&str>::new());
    assert_eq!(repo.compiled.bundle.digest(), before);
    repo.agrees().unwrap();
}

#[test]
fn another_lockstep_yaml_is_another_reading_of_every_document() {
    let mut repo = Repo::new(&[(CONFIG, &config(0)), ("more/d.json", &flags(&[(1, 10)]))]);
    assert!(repo.compiled.bundle.is_empty());
    repo.write(CONFIG, &config(2));
    let flag = repo.compiled.bundle.resources().next().unwrap();
    assert_eq!(flag.systems.len(), 2);
    repo.write(CONFIG, &config(1));
    assert!(repo.compiled.bundle.is_empty());
    repo.agrees().unwrap();
}

#[test]
fn what_did_not_change_is_shared_with_the_revision_before() {
    let text = |n| flags(&[(1, n), (2, 20), (3, 30)]);
    let mut repo = Repo::new(&[(CONFIG, &config(0)), ("flags/a.json", &text(10))]);
    let before = repo.compiled.bundle.clone();
    repo.write("flags/a.json", &text(11));
    let shared = |name: &str| {
        let id = ResourceRef::new("FeatureFlag", name).unwrap();
        Arc::ptr_eq(
            before.get(&id).unwrap(),
            repo.compiled.bundle.get(&id).unwrap(),
        )
    };
    assert_eq!(
        [shared("f1"), shared("f2"), shared("f3")],
        [false, true, true]
    );
}

#[test]
fn a_missing_lockstep_yaml_is_an_error_and_not_an_empty_repo() {
    let repo = Repo::new(&[("flags/a.json", &flags(&[(1, 10)]))]);
    assert_eq!(repo.rules(), ["config/missing"]);
    assert_eq!(repo.compiled.report.worst(), Some(Severity::Error));
}
