//! What libgit2 could not do, in our own words: its own name types and streams of its insides.

use git2::{Error, ErrorClass, ErrorCode};

/// What it means and what to do about it.
pub(super) fn said(error: &Error) -> String {
    let plain = match (error.code(), error.class()) {
        (ErrorCode::Locked, _) => "another process is writing to it; try again in a moment",
        (ErrorCode::Ambiguous, _) => {
            "the abbreviated commit id could mean several; give more of it"
        }
        (ErrorCode::Exists, _) => "it is there already",
        (ErrorCode::InvalidSpec, _) => "git takes no such name",
        (ErrorCode::NotFound, ErrorClass::Reference) => "there is no such branch, tag or note",
        (ErrorCode::NotFound, _) => {
            "something that is needed is not in the repository; `git fsck` shows what is missing, `git fetch` or a new clone brings it back"
        }
        // The system's words name the file and what it said.
        (_, ErrorClass::Os | ErrorClass::Filesystem) => return error.message().to_owned(),
        (_, ErrorClass::Config) => {
            "git's configuration can't be read; `git config --list` says where"
        }
        (_, ErrorClass::Index) => "the index can't be read; `git status` says why",
        (_, ErrorClass::NoMemory) => "there was not enough memory",
        (
            _,
            ErrorClass::Zlib
            | ErrorClass::Odb
            | ErrorClass::Object
            | ErrorClass::Tree
            | ErrorClass::Reference
            | ErrorClass::Repository,
        ) => "something in the repository is damaged; `git fsck` shows what, a new clone mends it",
        _ => "it gave no reason; `git fsck` checks the repository",
    };
    plain.to_owned()
}
