//! Policies: Rego rules in the config repo that judge proposals.
//!
//! [`PolicySet::judge`] is a pure function of the policies and a [`PolicyInput`]; both digests are in the [`Verdict`], so that it
//! can be replayed. Policies are read at a proposal's base commit by the caller: this module does not know where they came from.
//!
//! It fails closed: no policies, a policy that does not compile, that errors, runs out of time or answers in a form that
//! nobody knows is a denial. Test files (`*_test.rego`) never judge.
//!
//! Rules are sets in `package lockstep`, in as many files as one likes; packages below it (`lockstep.lib`) hold helpers.
//! `deny`, `violation` and `warn`, each also with suffixes (`deny_rollout`), hold texts or objects `{msg, msg_ja, resource, code}`, as conftest has them;
//! `approval` holds `{from, count, because, because_ja}`; `recuse` holds `{person, because, because_ja}` for people whose approval
//! must not count. The author's never does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::document::Blob;
use crate::finding::Finding;
use crate::ids::{Digest, DocPath};

mod compile;
mod engine;
pub mod input;
mod scan;
pub mod testing;
pub mod trace;
mod verdict;

#[cfg(test)]
mod tests;

pub use input::PolicyInput;
pub use verdict::{ApprovalNeed, Message, Recusal, Verdict};

use engine::{Engine, with_room};
use verdict::{Gate, Reader, fault};

/// The package whose rules judge.
const PACKAGE: &str = "lockstep";

pub use crate::document::limits::POLICY_TIME as TIME_LIMIT;

/// Whether a file of this path is a policy, or the tests of one.
pub fn is_policy(path: &DocPath) -> bool {
    path.as_str().starts_with("policies/") && path.as_str().ends_with(".rego")
}

/// Policies, compiled and ready to judge.
#[derive(Clone)]
pub struct PolicySet {
    /// `None` where the engine itself could not be made.
    engine: Option<Engine>,
    /// The rules that must be there in every answer.
    expected: BTreeSet<String>,
    /// The kinds whose resources the policies look at; `None` where that can't be told, for all.
    kinds: Option<BTreeSet<String>>,
    /// What is wrong with the policies; where anything is, everything is denied.
    faults: Vec<String>,
    digest: Digest,
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("digest", &self.digest)
            .field("rules", &self.expected)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl PolicySet {
    /// Compiles all `.rego` files among these. A set with errors in its findings denies everything it judges, so the gate must not let a
    /// proposal through whose own policies have any: there would be no way back.
    pub fn compile(files: &BTreeMap<DocPath, Blob>) -> (Self, Vec<Finding>) {
        Self::compile_within(files, TIME_LIMIT)
    }

    /// The same with another time limit for each judgement.
    pub fn compile_within(
        files: &BTreeMap<DocPath, Blob>,
        limit: Duration,
    ) -> (Self, Vec<Finding>) {
        compile::compile(files, limit)
    }

    /// The digest over the names and contents of the policies that judge.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether no rule here judges anything. Such a set denies all that it is asked.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// The input as these policies see it, canonical JSON: its SHA-256 is the verdict's `input_digest`, and any other Rego tool can be given it.
    pub fn input_text(&self, input: &PolicyInput) -> Result<String, serde_json::Error> {
        input.canonical_json(self.kinds.as_ref())
    }

    /// Asks all policies about a proposal.
    pub fn judge(&self, input: &PolicyInput) -> Verdict {
        let json = match input.canonical_json(self.kinds.as_ref()) {
            Ok(json) => json,
            Err(error) => return Verdict::of_error(format!("the policies' input: {error}")),
        };
        let input_digest = Digest::of(json.as_bytes());
        let failed = |reasons: Vec<String>| {
            Verdict::failed(reasons.into_iter().map(fault), input_digest, self.digest)
        };
        if !self.faults.is_empty() {
            return failed(self.faults.clone());
        }
        if self.expected.is_empty() {
            return failed(vec![format!(
                "there are no policies, and without any nothing is allowed; add rules such as `deny contains msg if …` in package {PACKAGE}"
            )]);
        }
        let Some(engine) = &self.engine else {
            return failed(vec!["the policy engine could not be started".to_owned()]);
        };
        let answers = with_room(|| self.ask(engine.clone(), &json))
            .unwrap_or_else(|fault| Err(fault.to_string()));
        match answers {
            Ok(answers) => answers.verdict(input, input_digest, self.digest),
            Err(reason) => failed(vec![reason]),
        }
    }

    /// Evaluates all policies and reads every rule that is a gate's, whether or not it was expected.
    fn ask(&self, mut engine: Engine, input: &str) -> Result<Reader, String> {
        let failed = |fault: engine::Fault| {
            if fault.timed_out {
                "the policies did not answer within their time limit; simplify the one that loops"
                    .to_owned()
            } else {
                format!("a policy failed: {}", fault.placed())
            }
        };
        engine.set_input(input).map_err(failed)?;
        let mut answers = engine.package(PACKAGE).map_err(failed)?;
        // What was found in the text is asked for by name too. Two ways to one answer: a rule that is lost on one of them must
        // not pass for one that has nothing to say.
        for name in &self.expected {
            let alone = engine
                .rule(&format!("data.{PACKAGE}.{name}"))
                .map_err(failed)?
                .unwrap_or(regorus::Value::Undefined);
            let together = answers
                .entry(name.clone())
                .or_insert(regorus::Value::Undefined);
            if *together != alone {
                return Err(format!(
                    "the policy rule {name} gave {together} with all others but {alone} by itself; correct the policy"
                ));
            }
        }
        let mut reader = Reader::default();
        for (name, value) in &answers {
            if let Some(gate) = Gate::of(name) {
                reader.rule(name, gate, set_values(value));
            }
        }
        Ok(reader)
    }
}

/// The members of a set; `None` for any other value.
fn set_values(value: &regorus::Value) -> Option<Vec<serde_json::Value>> {
    let set = value.as_set().ok()?;
    set.iter()
        .map(|member| serde_json::to_value(member).ok())
        .collect()
}
