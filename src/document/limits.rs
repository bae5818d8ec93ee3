//! The limits on what a proposal may bring, all in one place. `docs/limits.md` says what is found where one is passed, and what
//! was measured just below it.

use std::time::Duration;

/// Bytes of one document. A larger one is not read.
pub const DOCUMENT_BYTES: u64 = 32 << 20;
/// Bytes of one YAML document, whose reader takes ten times as long as that of JSON.
pub const YAML_BYTES: u64 = 16 << 20;
/// Bytes of one Markdown document: people write these.
pub const MARKDOWN_BYTES: u64 = 4 << 20;
/// Bytes of one policy.
pub const POLICY_BYTES: u64 = 1 << 20;
/// Bytes of a custom kind's schema: following its references takes the square of their number.
pub const SCHEMA_BYTES: usize = 256 << 10;
/// Bytes of all documents of a snapshot together. A repository of a few kilobytes can unpack to more memory than there is.
pub const SNAPSHOT_BYTES: u64 = 1 << 30;
/// Files and folders of a config repo.
pub const FILES: usize = 500_000;
/// Folders in folders.
pub const FOLDERS: usize = 128;
/// Bytes of one path.
pub const PATH_BYTES: usize = 4096;
/// Bytes of the paths of a config repo together: folders in folders can make few names into many long paths.
pub const ALL_PATHS_BYTES: usize = 256 << 20;

/// Systems, groups and people of `lockstep.yaml`: documents are checked against all of them.
pub const SYSTEMS: usize = 1_000;
pub const GROUPS: usize = 1_000;
pub const PEOPLE: usize = 10_000;

/// How deep a document's values, or its lists and quotes, may nest.
pub const NESTING: usize = 64;
/// Findings kept of one document; one more says how many were left out.
pub const FINDINGS: usize = 1_000;
/// Findings of one document for which what was meant is looked for among the systems.
pub const HINTS: usize = 100;
/// Findings kept of a whole revision before those of each further document are summed up in one.
pub const ALL_FINDINGS: usize = 20_000;

/// Subschemas of a schema with all references written out.
pub const SCHEMA_PARTS: usize = 20_000;
/// How deep subschemas may lie in each other: validating one takes stack for each level.
pub const SCHEMA_DEPTH: usize = 64;
/// Bytes that a compiled pattern of a schema may take.
pub const PATTERN_BYTES: usize = 1 << 20;

/// How many brackets of a policy may be open at once: the engine's parser takes twice as long, or worse, for each.
pub const POLICY_BRACKETS: usize = 12;
/// How many operators one rule may have. A chain of them is a tree as deep as the chain is long, and the engine recurses over it.
pub const POLICY_OPERATORS: usize = 500;
/// How many rules all policies together may have, which bounds how many lie between a rule and the last one it leads to.
pub const POLICY_RULES: usize = 2_000;
/// How long one judgement may take by the clock, for all policies together. The shipped ones need a few milliseconds; a
/// policy that has not answered after this long is taken to never answer, and that denies.
pub const POLICY_TIME: Duration = Duration::from_secs(1);

/// Bytes of one commit's note that are read; no honest one comes near.
pub const NOTE_BYTES: usize = 64 << 20;

/// How many bytes a file of this name may have.
pub fn bytes_of(name: &str) -> u64 {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is = |known: &str| ending.eq_ignore_ascii_case(known);
    if is("md") || is("markdown") {
        MARKDOWN_BYTES
    } else if is("yaml") || is("yml") {
        YAML_BYTES
    } else if is("rego") {
        POLICY_BYTES
    } else {
        DOCUMENT_BYTES
    }
}
