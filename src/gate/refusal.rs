//! Why the gate does not do what it is asked: the answer to a person, in their language.

use std::fmt;

use super::SignatureFault;
use crate::ids::Revision;
use crate::resource::Language;

/// Why something can't be done with a proposal as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Merged {
        number: u64,
        commit: Revision,
    },
    Closed {
        number: u64,
    },
    /// Not in `people:` at the base commit.
    Stranger {
        user: String,
        known: Vec<String>,
    },
    /// An author who would approve.
    OwnProposal,
    /// `people:` gives this person a key, and the approval is not signed.
    Unsigned {
        number: u64,
        user: String,
    },
    /// Signed, but not so that it counts.
    BadSignature {
        user: String,
        fault: SignatureFault,
    },
    /// Something required for a merge is not there: one reason an entry, as the statuses say it in either language.
    NotReady {
        number: u64,
        missing: Vec<String>,
        missing_ja: Vec<String>,
    },
}

impl Refusal {
    /// What was refused and what to do, for a person.
    pub fn say(&self, language: Language) -> String {
        let english = language == Language::English;
        match self {
            Self::Merged { number, commit } if english => {
                format!("proposal {number} is merged already, as {}", commit.short())
            }
            Self::Merged { number, commit } => {
                format!("提案 {number} は {} としてマージ済みです", commit.short())
            }
            Self::Closed { number } if english => {
                format!("proposal {number} is closed; open a new one")
            }
            Self::Closed { number } => {
                format!("提案 {number} は閉じられています。新しく提案してください")
            }
            Self::Stranger { user, known } => {
                let known = known.join(", ");
                if english {
                    format!(
                        "{user} is not under people: in lockstep.yaml on the main branch; known are: {known}"
                    )
                } else {
                    format!(
                        "{user} は main の lockstep.yaml の people: にいません。登録されている人: {known}"
                    )
                }
            }
            Self::OwnProposal if english => {
                "the author of a proposal can't approve it; ask someone else".to_owned()
            }
            Self::OwnProposal => "自分の提案は承認できません。ほかの人に頼んでください".to_owned(),
            Self::Unsigned { number, user } if english => format!(
                "{user} has a key under people: in lockstep.yaml, so the approval must be signed with it:\n  \
                 lockstep proposal approve {number} --as {user} --sign-with PATH-OF-THE-KEY"
            ),
            Self::Unsigned { number, user } => format!(
                "{user} には lockstep.yaml の people: に鍵があるため、承認にはその鍵の署名が必要です:\n  \
                 lockstep proposal approve {number} --as {user} --sign-with 鍵のパス"
            ),
            Self::BadSignature { user, fault } if english => format!(
                "the approval is not recorded, as it would not count: {}; sign as {user} with the key whose public half is under people: on the main branch",
                fault.say(language)
            ),
            Self::BadSignature { user, fault } => format!(
                "この承認は数えられないため記録しません: {}。main の people: にある {user} の鍵で署名してください",
                fault.say(language)
            ),
            Self::NotReady {
                number,
                missing,
                missing_ja: _,
            } if english => format!(
                "proposal {number} may not be merged yet:\n  {}",
                missing.join("\n  ")
            ),
            Self::NotReady {
                number,
                missing: _,
                missing_ja,
            } => format!(
                "提案 {number} はまだマージできません:\n  {}",
                missing_ja.join("\n  ")
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.say(Language::English))
    }
}
