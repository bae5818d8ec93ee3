//! The config repos that the benchmarks run on: N flags, in one document or one each, in JSON or YAML.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// How the flags lie in the repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    OneFile,
    /// A document a flag, a hundred in a folder.
    OneEach,
}

/// How the documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Yaml,
}

/// One repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) layout: Layout,
    pub(crate) syntax: Syntax,
    pub(crate) flags: usize,
}

impl Layout {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneFile => "one file",
            Self::OneEach => "one each",
        }
    }
}

impl Syntax {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

impl Shape {
    /// As words of a command line.
    pub(crate) fn to_words(self) -> [String; 3] {
        [
            self.layout.name().to_owned(),
            self.syntax.name().to_owned(),
            self.flags.to_string(),
        ]
    }

    pub(crate) fn from_words(words: &[String]) -> anyhow::Result<Self> {
        let [layout, syntax, flags, ..] = words else {
            anyhow::bail!("a shape is: layout syntax flags");
        };
        Ok(Self {
            layout: match layout.as_str() {
                "one file" => Layout::OneFile,
                "one each" => Layout::OneEach,
                other => anyhow::bail!("no layout: {other}"),
            },
            syntax: match syntax.as_str() {
                "json" => Syntax::Json,
                "yaml" => Syntax::Yaml,
                other => anyhow::bail!("no syntax: {other}"),
            },
            flags: flags.parse().context("how many flags")?,
        })
    }

    /// All documents in their first edition.
    pub(crate) fn documents(self) -> Vec<(String, String)> {
        let mut documents = vec![("lockstep.yaml".to_owned(), config(self, [8801, 8802]))];
        match self.layout {
            Layout::OneFile => documents.push(self.edited(0)),
            Layout::OneEach => documents
                .extend((0..self.flags).map(|n| (self.path(n), self.document(n..n + 1, 0)))),
        }
        documents
    }

    /// The one document that an edition changes: one flag's rollout.
    pub(crate) fn edited(self, edition: usize) -> (String, String) {
        let n = self.flags / 2;
        match self.layout {
            Layout::OneFile => (self.path(n), self.document(0..self.flags, edition)),
            Layout::OneEach => (self.path(n), self.document(n..n + 1, edition)),
        }
    }

    fn path(self, n: usize) -> String {
        let ending = self.syntax.name();
        match self.layout {
            Layout::OneFile => format!("config/feature-flags.{ending}"),
            Layout::OneEach => format!("flags/{:04}/flag_{n:06}.{ending}", n / 100),
        }
    }

    /// About 140 bytes a flag.
    fn document(self, flags: std::ops::Range<usize>, edition: usize) -> String {
        let mut out = String::with_capacity(150 * flags.len());
        let last = flags.end;
        if self.syntax == Syntax::Json {
            out.push_str("{\n");
        }
        for n in flags {
            let rollout = if n == self.flags / 2 {
                (n + edition) % 100
            } else {
                n % 100
            };
            let enabled = n % 3 != 0;
            let owner = ["sato", "suzuki", "takahashi"]
                .get(n % 3)
                .unwrap_or(&"sato");
            // Writing into a string does not fail.
            let _ = match self.syntax {
                Syntax::Json => writeln!(
                    out,
                    "  \"flag_{n:06}\": {{\n    \"enabled\": {enabled},\n    \"rollout\": {rollout},\n    \"teams\": [\"medical\", \"voicedrive\"],\n    \"owner\": \"{owner}\"\n  }}{}",
                    if n + 1 == last { "" } else { "," }
                ),
                Syntax::Yaml => writeln!(
                    out,
                    "flag_{n:06}:\n  enabled: {enabled}\n  rollout: {rollout}\n  teams: [medical, voicedrive]\n  owner: {owner}"
                ),
            };
        }
        if self.syntax == Syntax::Json {
            out.push_str("}\n");
        }
        out
    }
}

/// `lockstep.yaml` with two systems on these ports. Ceilings are off: every pass changes the same flag.
pub(crate) fn config(shape: Shape, ports: [u16; 2]) -> String {
    let [medical, voicedrive] = ports;
    let ending = shape.syntax.name();
    format!(
        "version: 1\ntimezone: Asia/Tokyo\nsystems:\n  \
         medical: {{connector: http, url: \"http://127.0.0.1:{medical}\", kinds: [FeatureFlag], mode: enforce, drift: heal}}\n  \
         voicedrive: {{connector: http, url: \"http://127.0.0.1:{voicedrive}\", kinds: [FeatureFlag], mode: enforce, drift: heal}}\n\
         groups:\n  hospital: {{systems: [medical, voicedrive], consistency: lockstep, on_failure: rollback}}\n\
         documents:\n  - {{path: \"flags/**/*.{ending}\", kind: FeatureFlag}}\n\
         safety:\n  default: {{deletes: {{percent: 100, count: 1000000}}, updates: {{percent: 100}}, window: 24h, small: 0}}\n"
    )
}

/// Writes documents as a work tree.
pub(crate) fn write_tree(root: &Path, documents: &[(String, String)]) -> anyhow::Result<()> {
    for (path, text) in documents {
        let file = root.join(path);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(file, text)?;
    }
    Ok(())
}

/// Makes a bare repository in one pack: `documents`, then a commit for each of `editions` of the one that changes. Branch `edition-N` is
/// the N-th, `main` the first.
pub(crate) fn write_bare(
    root: &Path,
    documents: &[(String, String)],
    editions: &[(String, String)],
) -> anyhow::Result<()> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(root).args(args);
        command
    };
    fs::create_dir_all(root)?;
    let made = git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]).status()?;
    anyhow::ensure!(made.success(), "git init failed");
    let mut import = git(&["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .context("git fast-import")?;
    {
        let pipe = import.stdin.take().context("a pipe to git")?;
        let mut out = BufWriter::new(pipe);
        commit(&mut out, "edition-0", None, documents)?;
        for (n, edition) in (1..).zip(editions) {
            let parent = format!("refs/heads/edition-{}", n - 1);
            commit(
                &mut out,
                &format!("edition-{n}"),
                Some(&parent),
                std::slice::from_ref(edition),
            )?;
        }
        writeln!(out, "reset refs/heads/main\nfrom refs/heads/edition-0\n")?;
        out.flush()?;
    }
    anyhow::ensure!(import.wait()?.success(), "git fast-import failed");
    Ok(())
}

fn commit(
    out: &mut impl Write,
    branch: &str,
    parent: Option<&str>,
    documents: &[(String, String)],
) -> anyhow::Result<()> {
    writeln!(
        out,
        "commit refs/heads/{branch}\ncommitter Bench <bench@example.com> 1760000000 +0000\ndata 5\n{:5.5}",
        branch
    )?;
    if let Some(parent) = parent {
        writeln!(out, "from {parent}")?;
    }
    for (path, text) in documents {
        writeln!(out, "M 100644 inline {path}\ndata {}\n{text}", text.len())?;
    }
    writeln!(out)?;
    Ok(())
}
