//! Why the gate does not do what it is asked: the answer to a person, in their language.

use std::fmt;

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
