//! The behaviours by name, in the order in which they are tried: the only table of them.

use futures_util::future::BoxFuture;

use super::session::Session;
use super::{Judged, audit, contents, ending, errors, fences, preparing, reading, restart};

/// One thing that a system does or does not do.
pub struct Behaviour {
    pub name: &'static str,
    /// What a system is to do, as one sentence.
    pub rule: &'static str,
    /// Whether what follows can be judged only where this holds.
    pub(super) needed: bool,
    /// Whether it is judged even where what is needed does not hold.
    pub(super) always: bool,
    pub(super) judge: for<'a> fn(&'a mut Session) -> BoxFuture<'a, Judged>,
}

macro_rules! behaviours {
    ($($(#[$how:ident])? $name:literal, $judge:path, $rule:literal;)+) => {
        /// Every behaviour, in order.
        pub const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour {
                name: $name,
                rule: $rule,
                needed: how!(needed $($how)?),
                always: how!(always $($how)?),
                judge: |session| Box::pin($judge(session)),
            }),+
        ];
    };
}

macro_rules! how {
    (needed needed) => {
        true
    };
    (always always) => {
        true
    };
    ($asked:ident $($how:ident)?) => {
        false
    };
}

behaviours! {
    #[needed] "state-shape", reading::state_shape,
        "GET /state answers {revision, digest, resources: [{kind, name, spec}]} as JSON, each resource once";
    #[needed] "state-digest", reading::state_digest,
        "the digest announced is that of the resources, by docs/digests.md";
    #[needed] "bucket-digests", reading::bucket_digests,
        "GET /state/digests answers 256 bucket digests that are those of the resources and give the state's digest";
    "etag", reading::etag,
        "the ETag of /state and /state/digests is the state's digest in double quotes";
    #[needed] "lease", fences::find,
        "a fence that is not older than the highest seen is accepted";
    #[needed] "commit-applies", ending::commit_applies,
        "creates, updates and deletes take effect at the commit; it answers the digest and revision that the state then shows";
    "not-modified", reading::not_modified,
        "If-None-Match with the state's digest is answered 304 without a body, with another digest 200; the ETag changes with the state";
    "buckets", reading::buckets,
        "?bucket= gives the resources of those buckets alone, with the digest of the whole state";
    "prepare-stages", preparing::stages,
        "PUT /changesets/{id} answers 201 {id, status: staged}, and 200 when it is repeated";
    "prepare-invisible", preparing::invisible,
        "nothing of a prepared changeset is visible before its commit: not in the state, its digests, its ETag or its revision";
    "prepare-other-content", preparing::other_content,
        "an id that was used for other content is refused with 409, staged or committed";
    "prepare-stale-base", preparing::stale_base,
        "a base_digest that is not the state's is refused with 409, also one that was right before";
    "prepare-target", preparing::target,
        "changes that do not lead to target_digest are refused with 422";
    "prepare-refuses-with-reasons", preparing::reasons,
        "changes that do not fit are refused with 422 and a reason for each, naming its kind and name";
    "prepare-all-or-nothing", preparing::all_or_nothing,
        "a changeset with one change that does not fit is not staged at all";
    "commit-repeats", ending::commit_repeats,
        "a repeated commit answers the same and has no further effect, also after a later changeset";
    "prepare-after-commit", ending::prepare_after_commit,
        "a repeated prepare of what was committed is answered 200 and does nothing";
    "commit-unknown", ending::commit_unknown,
        "commit of a changeset never prepared is refused with 404 and the code unknown_changeset";
    "commit-refused", ending::commit_refused,
        "commit of a changeset whose prepare was refused is refused: 404 or 409";
    "abort-drops", ending::abort_drops,
        "an aborted changeset has no effect and cannot be committed: 409";
    "abort-repeats", ending::abort_repeats,
        "a repeated abort is answered 200";
    "abort-unknown", ending::abort_unknown,
        "abort of a changeset never seen is answered 200";
    "late-prepare", ending::late_prepare,
        "a prepare that arrives after its abort is refused with 409";
    "abort-committed", ending::abort_committed,
        "abort of a committed changeset is refused with 409 and takes nothing back";
    "old-fence-prepare", fences::old_prepare,
        "a prepare under an older fence is refused with 412";
    "old-fence-commit", fences::old_commit,
        "a commit under an older fence is refused with 412 and has no effect";
    "old-fence-abort", fences::old_abort,
        "an abort under an older fence is refused with 412 and has no effect";
    "refusal-keeps-fence", fences::refusal_counts,
        "the fence of a prepare that is refused for another reason counts all the same";
    "newer-fence-supersedes", fences::supersedes,
        "a prepare under a newer fence ends what was staged under an older one: its commit is refused with 409";
    "next-holder-finishes", fences::finishes,
        "what was staged under an older fence can be committed under a newer one, where nothing else was prepared under that";
    "ten-thousand-changes", contents::many,
        "a changeset of ten thousand changes is one changeset like any other";
    "unknown-kinds", contents::unknown_kind,
        "a kind that the system does not know is refused with a reason, or kept; never dropped silently";
    "unicode-names", contents::unicode_names,
        "any Unicode name is a name, byte for byte: composed and decomposed forms are two; or it is refused with a reason";
    "unicode-specs", contents::unicode_specs,
        "a spec comes back as it was sent, whatever text is in it; or it is refused with a reason";
    "numbers", contents::numbers,
        "numbers come back with their value and hash in canonical form; or they are refused with a reason";
    "audit-pages", audit::pages,
        "GET /audit answers every change in order of time, a page at a time, with the changeset that it came with";
    "audit-window", audit::window,
        "from is the first time that belongs to the answer, until the first that does not";
    "unauthorized", errors::unauthorized,
        "without the bearer token, or with another, every call is answered 401 and does nothing";
    "malformed", errors::malformed,
        "a body, id or bucket that cannot be read is answered 400 and does nothing";
    "restart", restart::restart,
        "a restart forgets nothing: staged, committed and aborted changesets and the fence are as before";
    #[always] "error-bodies", errors::bodies,
        "every error is answered as JSON {error, code}, with the code that the contract names";
    #[always] "left-as-found", ending::left_as_found,
        "with what the test made removed, the state has the digest that it had before";
}
