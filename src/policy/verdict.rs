//! What policies say, read from the values that their rules gave. A value of any other shape is a denial that says so.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::input::PolicyInput;
use crate::ids::Digest;

/// What all policies together say of one proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Why it may not be merged.
    pub denials: Vec<Message>,
    /// What its author and reviewers should know.
    pub warnings: Vec<Message>,
    /// Whose agreement it needs, with those who gave it.
    pub approvals: Vec<ApprovalNeed>,
    /// Whose approvals do not count for this proposal, and why.
    pub recused: Vec<Recusal>,
    /// SHA-256 over the canonical JSON (RFC 8785) of the input as these policies can see it: [`PolicyInput::canonical_json`].
    pub input_digest: Digest,
    /// Over the policies that judged.
    pub policies_digest: Digest,
    /// Whether every policy was asked and answered in a known form. Otherwise the needs for approval may be incomplete.
    complete: bool,
}

/// One thing a policy says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Message {
    /// The resource it speaks of, as `kind/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Stable id of the rule, such as `rollout/step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub msg: String,
    /// The same in Japanese, where the policy gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_ja: Option<String>,
}

impl Message {
    /// A message of Lockstep itself about the policies.
    fn own(code: &str, msg: impl Into<String>) -> Self {
        Self {
            resource: None,
            code: Some(code.to_owned()),
            msg: msg.into(),
            msg_ja: None,
        }
    }
}

/// A demand for approvals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ApprovalNeed {
    /// Roles, keys of people, `system:NAME` for everyone of a system, or `*` for everyone under `people`.
    pub from: Vec<String>,
    /// How many different people.
    pub count: u32,
    pub because: String,
    /// The same in Japanese, where the policy gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because_ja: Option<String>,
    /// Keys of the people whose approval counts towards it.
    pub satisfied_by: Vec<String>,
    /// Keys of all people whose approval would count: who can be asked.
    pub eligible: Vec<String>,
}

impl ApprovalNeed {
    /// How many approvals are still missing.
    pub fn missing(&self) -> u32 {
        let given = u32::try_from(self.satisfied_by.len()).unwrap_or(u32::MAX);
        self.count.saturating_sub(given)
    }

    /// Whether enough people have approved.
    pub fn is_satisfied(&self) -> bool {
        self.missing() == 0
    }
}

/// Someone whose approval does not count, because the change is to their own gain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Recusal {
    /// A key of `people`.
    pub person: String,
    pub because: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because_ja: Option<String>,
}

impl Verdict {
    /// Whether nothing is denied.
    pub fn passes(&self) -> bool {
        self.complete && self.denials.is_empty()
    }

    /// Whether every policy was asked and answered.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether everyone who must agree has agreed. Never true of a judgement that could not be finished.
    pub fn approved(&self) -> bool {
        self.complete && self.approvals.iter().all(ApprovalNeed::is_satisfied)
    }

    /// The verdict where there can be none: it denies, for this reason.
    pub fn of_error(msg: impl Into<String>) -> Self {
        let nothing = Digest::of(b"");
        Self::failed([Message::own("policy/error", msg)], nothing, nothing)
    }

    pub(super) fn failed(
        denials: impl IntoIterator<Item = Message>,
        input_digest: Digest,
        policies_digest: Digest,
    ) -> Self {
        Self {
            denials: denials.into_iter().collect(),
            warnings: Vec::new(),
            approvals: Vec::new(),
            recused: Vec::new(),
            input_digest,
            policies_digest,
            complete: false,
        }
    }
}

/// A denial because of the policies' own state.
pub(super) fn fault(msg: impl Into<String>) -> Message {
    Message::own("policy/error", msg)
}

/// The rules that are asked for: conftest's names, and Lockstep's two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// `deny`, `deny_x`, `violation`, `violation_x`
    Deny,
    /// `warn`, `warn_x`
    Warn,
    /// `approval`, `approval_x`
    Approval,
    /// `recuse`, `recuse_x`
    Recuse,
}

impl Gate {
    const NAMES: [(&'static str, Self); 5] = [
        ("deny", Self::Deny),
        ("violation", Self::Deny),
        ("warn", Self::Warn),
        ("approval", Self::Approval),
        ("recuse", Self::Recuse),
    ];

    /// As conftest does: `^deny(_[a-zA-Z0-9]+)*$`.
    pub(super) fn of(rule: &str) -> Option<Self> {
        let suffix = |rest: &str| {
            let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric());
            rest.is_empty()
                || rest
                    .strip_prefix('_')
                    .is_some_and(|r| r.split('_').all(word))
        };
        Self::NAMES
            .iter()
            .find(|(name, _)| rule.strip_prefix(name).is_some_and(suffix))
            .map(|(_, gate)| *gate)
    }

    /// The name that this one was probably meant to be.
    pub(super) fn near(rule: &str) -> Option<&'static str> {
        const STEMS: [(&str, &str); 6] = [
            ("deny", "deny"),
            ("deni", "deny"),
            ("violat", "violation"),
            ("warn", "warn"),
            ("approv", "approval"),
            ("recus", "recuse"),
        ];
        let lower = rule.to_ascii_lowercase();
        STEMS
            .iter()
            .find(|(stem, _)| lower.starts_with(stem))
            .map(|(_, name)| *name)
    }
}

/// Collects what the rules gave.
#[derive(Default)]
pub(super) struct Reader {
    denials: BTreeSet<Message>,
    warnings: BTreeSet<Message>,
    approvals: BTreeSet<ApprovalNeed>,
    recused: BTreeSet<Recusal>,
    malformed: bool,
}

impl Reader {
    /// Takes the values of one rule. `None` where they are not a set, or not known at all.
    pub(super) fn rule(&mut self, name: &str, gate: Gate, values: Option<Vec<Value>>) {
        let Some(values) = values else {
            self.refuse(name, "no set of messages", "a set, written with `contains`");
            return;
        };
        for value in values {
            match gate {
                Gate::Deny => match message(&value) {
                    Some(message) => drop(self.denials.insert(message)),
                    None => self.refuse(name, &value.to_string(), MESSAGE_FORM),
                },
                Gate::Warn => match message(&value) {
                    Some(message) => drop(self.warnings.insert(message)),
                    None => self.refuse(name, &value.to_string(), MESSAGE_FORM),
                },
                Gate::Approval => match approval(&value) {
                    Some(need) => drop(self.approvals.insert(need)),
                    None => self.refuse(name, &value.to_string(), APPROVAL_FORM),
                },
                Gate::Recuse => match recusal(&value) {
                    Some(recusal) => drop(self.recused.insert(recusal)),
                    None => self.refuse(name, &value.to_string(), RECUSAL_FORM),
                },
            }
        }
    }

    fn refuse(&mut self, rule: &str, got: &str, wanted: &str) {
        let got: String = got.chars().take(200).collect();
        self.malformed = true;
        self.denials.insert(fault(format!(
            "the policy rule {rule} gave {got} where {wanted} is expected; correct the policy"
        )));
    }

    /// Works out who has agreed, and puts the verdict together.
    pub(super) fn verdict(
        mut self,
        input: &PolicyInput,
        input_digest: Digest,
        policies_digest: Digest,
    ) -> Verdict {
        let recused: BTreeSet<&str> = self.recused.iter().map(|r| r.person.as_str()).collect();
        let mut approvals: Vec<ApprovalNeed> = self.approvals.into_iter().collect();
        for need in &mut approvals {
            need.eligible = input
                .people
                .keys()
                .filter(|key| !recused.contains(key.as_str()) && !input.is_author(key))
                .filter(|key| need.from.iter().any(|who| input.is_meant(who, key)))
                .cloned()
                .collect();
            need.satisfied_by = need
                .eligible
                .iter()
                .filter(|key| input.proposal.approvals.iter().any(|a| a.user == **key))
                .cloned()
                .collect();
            // A need that nobody can meet would wait for ever without anyone being asked.
            if need.eligible.len() < usize::try_from(need.count).unwrap_or(usize::MAX) {
                let could = match need.eligible.len() {
                    0 => "nobody".to_owned(),
                    n => format!("only {n}"),
                };
                self.warnings.insert(Message::own(
                    "approval/unreachable",
                    format!(
                        "{} of {} must approve because {}, but {could} could; the author and those who gain do not count",
                        need.count,
                        need.from.join(", "),
                        need.because,
                    ),
                ));
            }
        }
        Verdict {
            denials: self.denials.into_iter().collect(),
            warnings: self.warnings.into_iter().collect(),
            approvals,
            recused: self.recused.into_iter().collect(),
            input_digest,
            policies_digest,
            complete: !self.malformed,
        }
    }
}

const MESSAGE_FORM: &str = "a text or an object with the text `msg`";
const APPROVAL_FORM: &str =
    r#"{"from": [roles or people], "count": a number from 1, "because": "…"}"#;
const RECUSAL_FORM: &str = r#"{"person": a key of people, "because": "…"}"#;

/// An optional text of an object: `Err` where there is something else.
fn text(value: &Value, field: &str) -> Result<Option<String>, ()> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(()),
    }
}

fn message(value: &Value) -> Option<Message> {
    if let Value::String(msg) = value {
        return Some(Message {
            resource: None,
            code: None,
            msg: msg.clone(),
            msg_ja: None,
        });
    }
    Some(Message {
        resource: text(value, "resource").ok()?,
        code: text(value, "code").ok()?,
        msg: text(value, "msg").ok()??,
        msg_ja: text(value, "msg_ja").ok()?,
    })
}

fn approval(value: &Value) -> Option<ApprovalNeed> {
    let from: Option<Vec<String>> = value
        .get("from")?
        .as_array()?
        .iter()
        .map(|who| who.as_str().filter(|w| !w.is_empty()).map(str::to_owned))
        .collect();
    Some(ApprovalNeed {
        from: from.filter(|from| !from.is_empty())?,
        count: u32::try_from(value.get("count")?.as_u64()?)
            .ok()
            .filter(|count| *count > 0)?,
        because: text(value, "because").ok()??,
        because_ja: text(value, "because_ja").ok()?,
        satisfied_by: Vec::new(),
        eligible: Vec::new(),
    })
}

fn recusal(value: &Value) -> Option<Recusal> {
    Some(Recusal {
        person: text(value, "person").ok()??,
        because: text(value, "because").ok()??,
        because_ja: text(value, "because_ja").ok()?,
    })
}
