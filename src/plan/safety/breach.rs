//! One thing in a plan that a person must release, and how it is said.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ResourceRef, Revision, SystemName};
use crate::plan::{Change, SystemPlan};
use crate::resource::Language;

/// What was gone past, on which system, for which kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Breach {
    pub system: SystemName,
    pub kind: String,
    #[serde(flatten)]
    pub rule: Rule,
    /// Resources concerned; for ceilings, all that the window has seen, this plan included.
    pub count: u64,
    /// Resources of the kind that the system has; for ceilings, that it had before the window's deletes.
    pub rows: u64,
    /// The highest count that would have passed.
    pub limit: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Rule {
    /// None of the kind would be left.
    Emptied,
    /// Of so few rows every delete that does not narrow is acknowledged.
    SmallTable { small: u64 },
    /// More deletes than `deletes.count`.
    DeleteCount { hours: u64 },
    /// More deletes than `deletes.percent`.
    DeleteShare { hours: u64 },
    /// More updates than `updates.percent`.
    UpdateShare { hours: u64 },
    /// Widening changes in a freeze, which people of these roles may let pass.
    Freeze {
        name: String,
        until: Timestamp,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        roles: Vec<String>,
    },
    /// No admin would be left. No release lets this pass.
    LastAdmin,
    /// The revision that was applied last can't be read, so what held before and what it declared are not known.
    Lost { revision: Revision },
    /// Lockstep itself would be shut out. No release lets this pass.
    OwnAccess,
    /// A date has come for a resource, and by now a policy denies it.
    Denied {
        id: ResourceRef,
        why: String,
        why_ja: String,
    },
}

impl Rule {
    /// Whether no release lets it pass.
    pub fn is_final(&self) -> bool {
        match self {
            Self::LastAdmin | Self::OwnAccess => true,
            Self::Emptied
            | Self::SmallTable { .. }
            | Self::DeleteCount { .. }
            | Self::DeleteShare { .. }
            | Self::UpdateShare { .. }
            | Self::Freeze { .. }
            | Self::Lost { .. }
            | Self::Denied { .. } => false,
        }
    }
}

/// People with one of these roles may release any held plan.
pub const RELEASERS: [&str; 3] = ["approver", "security", "admin"];

/// Whether someone with these roles may release a plan that is held for these reasons: as one of [`RELEASERS`], or where nothing but freezes holds it
/// and each of them excepts one of the roles.
pub fn may_release(roles: &[String], breaches: &[Breach]) -> bool {
    let has = |role: &str| roles.iter().any(|r| r == role);
    let excepted = |breach: &Breach| match &breach.rule {
        Rule::Freeze { roles, .. } => roles.iter().any(|role| has(role)),
        Rule::Emptied
        | Rule::SmallTable { .. }
        | Rule::DeleteCount { .. }
        | Rule::DeleteShare { .. }
        | Rule::UpdateShare { .. }
        | Rule::LastAdmin
        | Rule::Lost { .. }
        | Rule::OwnAccess
        | Rule::Denied { .. } => false,
    };
    if breaches.iter().any(|b| b.rule.is_final()) {
        return false;
    }
    RELEASERS.iter().any(|role| has(role))
        || (!breaches.is_empty() && breaches.iter().all(excepted))
}

/// What is said of a revision that was applied and can't be read.
pub const LOST: &str = "is not in the repository any more";

impl Breach {
    /// A system's share, where the revision that was applied last can't be read.
    pub fn lost(system: &SystemName, share: &SystemPlan, revision: &Revision) -> Self {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            system: system.clone(),
            // Of no kind: all are concerned.
            kind: String::new(),
            rule: Rule::Lost {
                revision: revision.clone(),
            },
            count: number(share.changes.len()),
            rows: share.existing.values().map(|n| number(*n)).sum(),
            limit: 0,
        }
    }

    /// A change that a date brings, where a policy denies it, in English and Japanese.
    pub fn denied(
        system: &SystemName,
        share: &SystemPlan,
        change: &Change,
        (why, why_ja): (&str, &str),
    ) -> Self {
        let rows = share.existing.get(change.id.kind()).copied();
        Self {
            system: system.clone(),
            kind: change.id.kind().to_owned(),
            rule: Rule::Denied {
                id: change.id.clone(),
                why: why.to_owned(),
                why_ja: why_ja.to_owned(),
            },
            count: 1,
            rows: rows.map_or(0, |n| u64::try_from(n).unwrap_or(u64::MAX)),
            limit: 0,
        }
    }

    /// One sentence for the person who is to release the plan, or not.
    pub fn message(&self, language: Language) -> String {
        match language {
            Language::English => self.english(),
            Language::Japanese => self.japanese(),
        }
    }

    fn english(&self) -> String {
        let Self {
            system,
            kind,
            rule,
            count,
            rows,
            limit,
        } = self;
        match rule {
            Rule::Emptied => {
                format!("{system}: deletes {count} of {rows} {kind}, and none would be left")
            }
            Rule::SmallTable { small } => format!(
                "{system}: deletes {count} of {rows} {kind}; below {small} rows a delete needs a release unless it narrows"
            ),
            Rule::DeleteCount { hours } | Rule::DeleteShare { hours } => format!(
                "{system}: deletes {count} of {rows} {kind} within {hours} h; the limit is {limit}"
            ),
            Rule::UpdateShare { hours } => format!(
                "{system}: updates {count} of {rows} {kind} within {hours} h; the limit is {limit}"
            ),
            Rule::Freeze {
                name,
                until,
                roles: _,
            } => format!(
                "{system}: widens {count} {kind} during the freeze {name}, which lasts until {until}"
            ),
            Rule::LastAdmin => {
                format!(
                    "{system}: takes away {count} of {rows} admins, and none would be left; nobody can release that, add the next admin first"
                )
            }
            Rule::Lost { revision } => format!(
                "{system}: {}, which it is at, {LOST}, so its ceilings and what it declared are not known: fetch it back, or \
                 look at all {count} changes and release them; what only it declared is left there",
                revision.short()
            ),
            Rule::OwnAccess => format!(
                "{system}: would shut Lockstep itself out ({count} {kind}); nobody can release that, take it out of the repo"
            ),
            Rule::Denied { id, why, why_ja: _ } => {
                format!(
                    "{system}: {id} was to begin by its date, and a policy denies it now: {why}"
                )
            }
        }
    }

    fn japanese(&self) -> String {
        let Self {
            system,
            kind,
            rule,
            count,
            rows,
            limit,
        } = self;
        match rule {
            Rule::Emptied => {
                format!("{system}: {kind} {rows}件のうち{count}件を削除すると、1件も残りません")
            }
            Rule::SmallTable { small } => format!(
                "{system}: {kind} {rows}件のうち{count}件を削除します。{small}件未満の場合、権限や範囲を狭める削除でなければ解除の承認が必要です"
            ),
            Rule::DeleteCount { hours } | Rule::DeleteShare { hours } => format!(
                "{system}: {hours}時間以内に{kind} {rows}件のうち{count}件を削除することになります。上限は{limit}件です"
            ),
            Rule::UpdateShare { hours } => format!(
                "{system}: {hours}時間以内に{kind} {rows}件のうち{count}件を更新することになります。上限は{limit}件です"
            ),
            Rule::Freeze {
                name,
                until,
                roles: _,
            } => format!(
                "{system}: 凍結期間「{name}」({until}まで)中に{kind} {count}件の権限や範囲を広げます"
            ),
            Rule::LastAdmin => {
                format!(
                    "{system}: 管理者{rows}人のうち{count}人を外すと、管理者がいなくなります。誰にも解除できません。先に次の管理者を追加してください"
                )
            }
            Rule::Lost { revision } => format!(
                "{system}: 適用済みの{}がリポジトリにもうないため、その上限と宣言内容が分かりません。取得し直すか、変更{count}件をすべて確認して解除してください。そのリビジョンだけが宣言していたものはシステムに残ります",
                revision.short()
            ),
            Rule::OwnAccess => format!(
                "{system}: Lockstep自身が締め出されます（{kind} {count}件）。誰にも解除できません。リポジトリから外してください"
            ),
            Rule::Denied { id, why: _, why_ja } => {
                format!(
                    "{system}: {id} は日付により始まるはずでしたが、今はポリシーが認めません: {why_ja}"
                )
            }
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.english())
    }
}
