//! `lockstep init`: a small config repo that passes `check`, with the shipped policies and a first commit.
//!
//! Nothing that exists is ever overwritten.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

use crate::cli::policies::POLICIES;
use crate::ids::Revision;
use crate::resource::Language;

#[cfg(test)]
mod tests;

/// Make a new config repo
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The folder; made where there is none
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Add what is missing to a folder that holds files already; none of them is changed
    #[arg(long)]
    pub fill: bool,
}

/// The JSON Schemas that the documents' `$schema` leads to, so that editors complete and check while one types.
pub const SCHEMAS: [(&str, &str); 4] = [
    ("schemas/AccessGrant.schema.json", "AccessGrant"),
    ("schemas/Config.schema.json", "Config"),
    ("schemas/FeatureFlag.schema.json", "FeatureFlag"),
    ("schemas/InterviewType.schema.json", "InterviewType"),
];

/// What to do about a folder that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    /// Write the files that are not there.
    Fill,
}

/// What was done. Paths are relative to the folder, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialized {
    pub written: Vec<&'static str>,
    /// Were there already and are as they were.
    pub kept: Vec<&'static str>,
    /// The first commit; `None` in a repository that had commits or staged files of its own.
    pub commit: Option<Revision>,
}

/// Why there is no new config repo.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{} is not empty; choose another folder, or add --fill to keep its files and add the missing ones", dir.display())]
    NotEmpty { dir: PathBuf },
    #[error("{} is a bare git repository; make the config repo elsewhere and push it there", dir.display())]
    Bare { dir: PathBuf },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("git could not {doing}: {}", source.message())]
    Git {
        doing: &'static str,
        source: git2::Error,
    },
}

/// The command: what it did, for the terminal.
pub fn run(args: &InitArgs, language: Language, now: Timestamp) -> Result<String, InitError> {
    let existing = if args.fill {
        Existing::Fill
    } else {
        Existing::Refuse
    };
    let done = init(&args.dir, language, existing, now)?;
    Ok(report(&args.dir, &done, language))
}

/// The files of a new config repo, by their path in it. Dates in them are counted from `today`, so that no flag is born expired.
pub fn scaffold(language: Language, today: Date) -> BTreeMap<&'static str, String> {
    macro_rules! templates {
        ($language:literal, $($path:literal = $file:literal),+ $(,)?) => {
            [$(($path, include_str!(concat!("templates/", $language, "/", $file)))),+]
        };
    }
    macro_rules! all {
        ($language:literal) => {
            templates!(
                $language,
                "README.md" = "README.md",
                "lockstep.yaml" = "lockstep.yaml",
                "config/feature-flags.json" = "feature-flags.json",
                "config/access-control.json" = "access-control.json",
                "config/interview-types.json" = "interview-types.json",
                "compliance/access-review.md" = "access-review.md",
                "alerts/welcome.md" = "welcome.md",
            )
        };
    }
    let documents = match language {
        Language::English => all!("en"),
        Language::Japanese => all!("ja"),
    };
    let later = |span: Span| today.checked_add(span).unwrap_or(today);
    let dates = [
        ("{{today}}", today),
        (
            "{{effective}}",
            later(Span::new().months(1)).first_of_month(),
        ),
        ("{{expires}}", later(Span::new().months(6)).last_of_month()),
    ];
    let schemas = SCHEMAS.into_iter().filter_map(|(path, name)| {
        let schema = crate::resource::schema::schema(name)?;
        Some((path, format!("{schema:#}\n")))
    });
    documents
        .into_iter()
        .chain(POLICIES.iter().copied())
        .map(|(path, text)| {
            let filled = dates.iter().fold(text.to_owned(), |text, (name, date)| {
                text.replace(name, &date.to_string())
            });
            (path, filled)
        })
        .chain(schemas)
        .collect()
}

/// Makes a config repo: writes the files that are not there, `git init` with the branch main, and the first commit.
pub fn init(
    dir: &Path,
    language: Language,
    existing: Existing,
    now: Timestamp,
) -> Result<Initialized, InitError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(write(dir))?;
    if existing == Existing::Refuse && !is_empty(dir).map_err(write(dir))? {
        return Err(InitError::NotEmpty {
            dir: dir.to_owned(),
        });
    }
    let repo = open(dir)?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (name, text) in scaffold(language, today) {
        let path = dir.join(name);
        if write_new(&path, &text).map_err(write(&path))? {
            written.push(name);
        } else {
            kept.push(name);
        }
    }
    let commit =
        first_commit(&repo, &written, language, now).map_err(git("make the first commit"))?;
    Ok(Initialized {
        written,
        kept,
        commit,
    })
}

fn git(doing: &'static str) -> impl FnOnce(git2::Error) -> InitError {
    move |source| InitError::Git { doing, source }
}

/// A folder with nothing in it but a `.git` is empty too.
fn is_empty(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        if entry?.file_name() != ".git" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The folder's own repository, new if it has none. One around it is not meant: a config repo is one by itself.
fn open(dir: &Path) -> Result<git2::Repository, InitError> {
    match git2::Repository::open(dir) {
        Ok(repo) if repo.is_bare() => Err(InitError::Bare {
            dir: dir.to_owned(),
        }),
        Ok(repo) => Ok(repo),
        Err(error) if error.code() == git2::ErrorCode::NotFound => {
            let mut options = git2::RepositoryInitOptions::new();
            options.initial_head("main").no_reinit(true);
            git2::Repository::init_opts(dir, &options).map_err(git("make a repository"))
        }
        Err(error) => Err(git("open the repository")(error)),
    }
}

/// Writes a file that is not there. `false`: something is, and stays.
fn write_new(path: &Path, text: &str) -> io::Result<bool> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Commits the written files to main, where there is no commit and nothing staged yet: what else is there is its owner's to commit.
fn first_commit(
    repo: &git2::Repository,
    written: &[&'static str],
    language: Language,
    now: Timestamp,
) -> Result<Option<Revision>, git2::Error> {
    let mut index = repo.index()?;
    let born = match repo.head() {
        Ok(_) => true,
        Err(error) if error.code() == git2::ErrorCode::UnbornBranch => false,
        Err(error) => return Err(error),
    };
    if born || !index.is_empty() || written.is_empty() {
        return Ok(None);
    }
    // `git init` may have been told another name for the first branch.
    repo.set_head("refs/heads/main")?;
    for name in written {
        index.add_path(Path::new(name))?;
    }
    index.write()?;
    let tree = repo.find_tree(index.write_tree()?)?;
    let config = repo.config()?.snapshot()?;
    let (name, email) = identity(
        config.get_string("user.name").ok(),
        config.get_string("user.email").ok(),
    );
    let time = git2::Time::new(now.as_second(), 0);
    let signature = git2::Signature::new(&name, &email, &time)?;
    let message = match language {
        Language::English => "Begin the shared settings\n",
        Language::Japanese => "共有設定を始める\n",
    };
    let id = repo.commit(Some("HEAD"), &signature, &signature, message, &tree, &[])?;
    Ok(id.to_string().parse().ok())
}

/// Git's own identity, or one that says that nobody has set one: a first try should not end in a question.
fn identity(name: Option<String>, email: Option<String>) -> (String, String) {
    let given = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
    (
        given(name).unwrap_or_else(|| "Lockstep".to_owned()),
        given(email).unwrap_or_else(|| "lockstep@localhost".to_owned()),
    )
}

fn report(dir: &Path, done: &Initialized, language: Language) -> String {
    let Initialized {
        written,
        kept,
        commit,
    } = done;
    let dir = dir.display();
    let mut text = match language {
        Language::English => {
            let files = if written.len() == 1 { "file" } else { "files" };
            format!("Made a config repo in {dir}: {} {files}", written.len())
        }
        Language::Japanese => format!(
            "{dir} に設定リポジトリを作りました: {} ファイル",
            written.len()
        ),
    };
    if !kept.is_empty() {
        text.push_str(&match language {
            Language::English => format!("; kept as they were: {}", kept.join(", ")),
            Language::Japanese => format!("。そのまま残したもの: {}", kept.join(", ")),
        });
    }
    text.push('\n');
    text.push_str(&match (commit, language) {
        (Some(commit), Language::English) => format!("First commit on main: {}\n", commit.short()),
        (Some(commit), Language::Japanese) => {
            format!("main の最初のコミット: {}\n", commit.short())
        }
        (None, Language::English) => {
            "Nothing was committed: look through the files and commit them to main\n".to_owned()
        }
        (None, Language::Japanese) => {
            "コミットはしていません。内容を確かめて main にコミットしてください\n".to_owned()
        }
    });
    text.push_str(match language {
        Language::English => "Next: read README.md there, then `lockstep check`\n",
        Language::Japanese => {
            "次は: そこの README.md を読み、`lockstep check` を実行してください\n"
        }
    });
    text
}
