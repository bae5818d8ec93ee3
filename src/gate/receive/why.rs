//! Why a push is refused: to a person at the other end of `git push`, in the server's language, with what to do instead.

use crate::gate::Refusal;
use crate::ids::Revision;
use crate::resource::Language;
use crate::view;

/// Why a reference may not be moved so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Main would be deleted.
    MainGone,
    /// Main is not where the push says it was.
    MainMoved,
    /// Main would lose commits.
    MainRewritten,
    /// Main would go on by a merge's second parent.
    WrongWayRound,
    /// More merges than one push may bring.
    TooMany {
        limit: usize,
    },
    /// A commit on main that is no merge.
    NoMerge {
        commit: Revision,
    },
    /// A merge of more than one branch.
    Octopus {
        commit: Revision,
        parents: usize,
    },
    /// A merge of what nobody proposed.
    NoProposal {
        commit: Revision,
        head: Revision,
    },
    /// A merge of an older head than the proposal has now.
    HeadMoved {
        number: u64,
        merged: Revision,
        head: Revision,
    },
    /// A merge whose content is not what merging gives.
    OtherContent {
        commit: Revision,
        number: u64,
        files: Vec<String>,
    },
    /// The proposal does not pass: what is missing, in either language.
    NotReady {
        number: u64,
        english: Missing,
        japanese: Missing,
    },
    /// What the gate itself would answer.
    Gate(Refusal),
    NotesGone,
    /// A note's line would be gone or another.
    LineLost {
        commit: Revision,
        line: String,
    },
    /// A line among the ledger's checkpoints that is none.
    NoCheckpoint {
        commit: Revision,
        line: String,
    },
    /// Its tree is not what git makes of notes, or a note is too large to be read.
    NoNotes {
        why: String,
    },
    /// What was pushed can't be read to the end.
    Unreadable {
        why: String,
    },
    /// A proposal's title, author, labels, branch or date would be another.
    Rewritten {
        number: u64,
    },
    /// A proposal would be open again, or merged where nothing merged it.
    Ended {
        number: u64,
    },
    NumberGiven {
        number: String,
    },
    /// A proposal's number far above the others.
    TooHigh {
        number: u64,
        limit: u64,
    },
    /// A number or a head of a proposal that the notes don't have.
    NoSuchProposal {
        number: u64,
    },
    /// It would lead to something that is no commit.
    NoCommit,
    /// There is no main branch yet that could be proposed to.
    NoMain,
    /// A reference is a folder of another, which git can't keep, or stands twice in the push.
    Collides {
        with: String,
    },
    /// It is not where the push says it was.
    Moved,
    /// The server's git is set not to move it so.
    Setting {
        setting: &'static str,
    },
    HeadGone,
    /// A proposal's kept head would go back or into main.
    HeadBack {
        number: u64,
    },
    /// A branch by whose name another reference could be meant.
    BranchShadows {
        branch: String,
    },
    /// A tag of a branch's name.
    Shadows {
        tag: String,
    },
    /// A symbolic reference: what moves is another one.
    Alias,
    /// Not where this repository keeps anything.
    Elsewhere,
}

/// What stands in the way of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The statuses that are not green, with their reasons.
    pub statuses: Vec<String>,
    /// Approvals that are there and don't count, with the reason.
    pub not_counted: Vec<String>,
}

impl Why {
    /// What was refused and what to do, for a person.
    pub fn say(&self, language: Language) -> String {
        match language {
            Language::English => self.english(),
            Language::Japanese => self.japanese(),
        }
    }

    /// Whether the reference would lead to something that can't be read as what it should be.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::NoCommit | Self::NoNotes { .. } | Self::Unreadable { .. }
        )
    }

    fn english(&self) -> String {
        match self {
            Self::MainGone => "the main branch can't be deleted".to_owned(),
            Self::MainMoved => {
                "it has moved meanwhile; fetch, and merge the proposal again".to_owned()
            }
            Self::MainRewritten => "it would lose commits: main only goes forward. Fetch, put the change on a branch of its own, and \
                 propose it: `lockstep propose`"
                .to_owned(),
            Self::WrongWayRound => "the merge is the wrong way round: its first parent must be the present main, its second the \
                 proposal's head. Make it with `lockstep proposal merge N`"
                .to_owned(),
            Self::TooMany { limit } => {
                format!("it would go forward by more than {limit} commits; push fewer merges at once")
            }
            Self::NoMerge { commit } => format!(
                "{} is no merge of a proposal: nothing goes to main directly. Push it as a branch, `lockstep propose --branch NAME`, \
                 and once approved `lockstep proposal merge N`",
                commit.short()
            ),
            Self::Octopus { commit, parents } => format!(
                "{} has {parents} parents: merge one proposal at a time, with `lockstep proposal merge N`",
                commit.short()
            ),
            Self::NoProposal { commit, head } => format!(
                "{} merges {}, which is the head of no proposal here. Propose it: `lockstep propose --branch NAME`; if that was done in \
                 a clone, push its notes too: git push origin 'refs/notes/*' 'refs/lockstep/*'",
                commit.short(),
                head.short()
            ),
            Self::HeadMoved {
                number,
                merged,
                head,
            } => format!(
                "it merges {}, but proposal {number} has moved on to {}; fetch, and `lockstep proposal merge {number}` again",
                merged.short(),
                head.short()
            ),
            Self::OtherContent {
                commit,
                number,
                files,
            } => format!(
                "{} is not what merging proposal {number} gives; it differs in {}. Put changes on the proposal's branch, where they are \
                 judged, and let `lockstep proposal merge {number}` make the merge",
                commit.short(),
                listed(files)
            ),
            Self::NotReady {
                number,
                english: missing,
                japanese: _,
            } => format!(
                "proposal {number} may not be merged yet:{}{}\napprovals come before the merge or in the same push: `lockstep proposal \
                 approve {number}`, then git push origin 'refs/notes/*'",
                lines("  ", &missing.statuses),
                lines("  does not count: ", &missing.not_counted),
            ),
            Self::Gate(why) => why.say(Language::English),
            Self::NotesGone => "notes are a record and can't be deleted".to_owned(),
            Self::LineLost { commit, line } => format!(
                "notes only gain lines, and on {} this one would be gone or changed:\n  {}\nfetch the notes and merge them: git fetch \
                 origin 'refs/notes/*:refs/notes/origin/*', then git notes --ref REF merge -s cat_sort_uniq",
                commit.short(),
                shortened(line)
            ),
            Self::NoCheckpoint { commit, line } => format!(
                "only the ledger's signed checkpoints are kept here, and on {} this line is none:\n  {}\nkeep notes of your own elsewhere, \
                 such as in refs/notes/commits",
                commit.short(),
                shortened(line)
            ),
            Self::NoNotes { why } => format!(
                "these can't be taken for notes: {}. Make notes with git notes, or fetch them and begin again from what is here",
                view::printable(why)
            ),
            Self::Unreadable { why } => format!("it can't be judged: {why}"),
            Self::Rewritten { number } => format!(
                "proposal {number} is there already, and its title, description, author, labels, branch and date stay as they are; open a new one"
            ),
            Self::Ended { number } => format!(
                "what became of proposal {number} can't be said so: what is closed or merged stays so, and merged is only what main has. \
                 Open a new one from its branch"
            ),
            Self::NumberGiven { number } => {
                format!("number {number} is given to a proposal, for good")
            }
            Self::TooHigh { number, limit } => format!(
                "the next proposals have numbers up to {limit}, not {number}; let `lockstep propose` give the number"
            ),
            Self::NoSuchProposal { number } => format!(
                "there is no proposal {number} here; push its notes with it: git push origin 'refs/notes/*' 'refs/lockstep/*'"
            ),
            Self::NoCommit => "it would lead to something that is no commit".to_owned(),
            Self::NoMain => "there is no main branch here yet; push that first".to_owned(),
            Self::Collides { with } => format!(
                "git can't keep it beside {}, which has its name or takes the place of its folder; name it otherwise",
                view::printable(with)
            ),
            Self::Moved => "it has moved meanwhile; fetch, and push again".to_owned(),
            Self::Setting { setting } => format!(
                "git would not move it ({setting} is set), but move the others; push without it"
            ),
            Self::HeadGone => "it keeps a proposal's head from being lost and can't be deleted".to_owned(),
            Self::HeadBack { number } => format!(
                "it would not follow the branch of proposal {number}: it goes forward, or to where that branch is"
            ),
            Self::BranchShadows { branch } => format!(
                "a branch named {:?} would be taken for another reference, and git would refuse to push by that name; name it otherwise",
                view::printable(branch)
            ),
            Self::Shadows { tag } => format!(
                "a tag named {:?} would be taken for the branch; name it otherwise",
                view::printable(tag)
            ),
            Self::Alias => "it is another name for a reference; push to that one".to_owned(),
            Self::Elsewhere => {
                "only refs/heads, refs/tags, refs/notes and the proposals' own refs/lockstep are kept here".to_owned()
            }
        }
    }

    fn japanese(&self) -> String {
        match self {
            Self::MainGone => "main ブランチは削除できません".to_owned(),
            Self::MainMoved => "その間に動きました。fetch して、提案をマージし直してください".to_owned(),
            Self::MainRewritten => {
                "コミットが失われます。main は前にしか進みません。fetch して変更を別のブランチに置き、`lockstep propose` で提案してください"
                    .to_owned()
            }
            Self::WrongWayRound => {
                "マージの向きが逆です。最初の親が今の main、二番目が提案の先頭でなければなりません。`lockstep proposal merge N` を使ってください"
                    .to_owned()
            }
            Self::TooMany { limit } => {
                format!("一度に {limit} を超えるコミットは進められません。分けて push してください")
            }
            Self::NoMerge { commit } => format!(
                "{} は提案のマージではありません。main へ直接は入れられません。ブランチとして push し、`lockstep propose --branch 名前`、承認のあと \
                 `lockstep proposal merge N` としてください",
                commit.short()
            ),
            Self::Octopus { commit, parents } => format!(
                "{} には親が {parents} つあります。`lockstep proposal merge N` で一件ずつマージしてください",
                commit.short()
            ),
            Self::NoProposal { commit, head } => format!(
                "{} がマージする {} は、どの提案の先頭でもありません。`lockstep propose --branch 名前` で提案してください。複製の中で提案したなら、\
                 notes も push してください: git push origin 'refs/notes/*' 'refs/lockstep/*'",
                commit.short(),
                head.short()
            ),
            Self::HeadMoved {
                number,
                merged,
                head,
            } => format!(
                "マージされたのは {} ですが、提案 {number} は {} に進んでいます。fetch して `lockstep proposal merge {number}` をやり直してください",
                merged.short(),
                head.short()
            ),
            Self::OtherContent {
                commit,
                number,
                files,
            } => format!(
                "{} は提案 {number} をマージした結果と違います（{}）。変更は判定される提案のブランチに置き、マージは `lockstep proposal merge {number}` \
                 に任せてください",
                commit.short(),
                listed(files)
            ),
            Self::NotReady {
                number,
                english: _,
                japanese: missing,
            } => format!(
                "提案 {number} はまだマージできません:{}{}\n承認はマージより前か、同じ push で届けてください: `lockstep proposal approve {number}` のあと \
                 git push origin 'refs/notes/*'",
                lines("  ", &missing.statuses),
                lines("  数えない承認: ", &missing.not_counted),
            ),
            Self::Gate(why) => why.say(Language::Japanese),
            Self::NotesGone => "notes は記録なので削除できません".to_owned(),
            Self::LineLost { commit, line } => format!(
                "notes には行を足すことしかできません。{} の次の行が消えるか変わります:\n  {}\nnotes を fetch して合わせてください: git fetch origin \
                 'refs/notes/*:refs/notes/origin/*' のあと git notes --ref REF merge -s cat_sort_uniq",
                commit.short(),
                shortened(line)
            ),
            Self::NoCheckpoint { commit, line } => format!(
                "ここに置けるのは台帳の署名付きチェックポイントだけです。{} の次の行は違います:\n  {}\n自分の notes は refs/notes/commits など別の場所に置いてください",
                commit.short(),
                shortened(line)
            ),
            Self::NoNotes { why } => format!(
                "notes として受け付けられません: {}。git notes で作るか、fetch してここにあるものから作り直してください",
                view::printable(why)
            ),
            Self::Unreadable { why } => format!("判定できません: {why}"),
            Self::Rewritten { number } => format!(
                "提案 {number} は既にあり、題、説明、提案者、ラベル、ブランチ、日時は変えられません。新しく提案してください"
            ),
            Self::Ended { number } => format!(
                "提案 {number} の結末をそのようには変えられません。閉じたもの、マージしたものはそのままで、main にあるものだけがマージ済みです。\
                 そのブランチから新しく提案してください"
            ),
            Self::NumberGiven { number } => format!("番号 {number} は既に提案に与えられています"),
            Self::TooHigh { number, limit } => format!(
                "次の提案の番号は {limit} までです。{number} は使えません。番号は `lockstep propose` に任せてください"
            ),
            Self::NoSuchProposal { number } => format!(
                "提案 {number} はここにありません。notes も一緒に push してください: git push origin 'refs/notes/*' 'refs/lockstep/*'"
            ),
            Self::NoCommit => "コミットではないものを指すことになります".to_owned(),
            Self::NoMain => "まだ main ブランチがありません。先に push してください".to_owned(),
            Self::Collides { with } => format!(
                "git では {} と並べて置けません（同じ名前か、フォルダーの位置にあります）。別の名前にしてください",
                view::printable(with)
            ),
            Self::Moved => "その間に動きました。fetch して push し直してください".to_owned(),
            Self::Setting { setting } => format!(
                "git はこれだけを動かしません（{setting} が設定されています）。これを除いて push してください"
            ),
            Self::HeadGone => "提案の先頭を残すための参照なので削除できません".to_owned(),
            Self::HeadBack { number } => format!(
                "提案 {number} のブランチに従っていません。前に進めるか、ブランチの位置に合わせてください"
            ),
            Self::BranchShadows { branch } => format!(
                "{:?} という名前のブランチは別の参照と紛れ、git がその名前で push できなくなります。別の名前にしてください",
                view::printable(branch)
            ),
            Self::Shadows { tag } => format!(
                "{:?} という名前のタグはブランチと紛れます。別の名前にしてください",
                view::printable(tag)
            ),
            Self::Alias => "別の参照の別名です。元の参照に push してください".to_owned(),
            Self::Elsewhere => {
                "ここに置けるのは refs/heads、refs/tags、refs/notes と、提案の refs/lockstep だけです".to_owned()
            }
        }
    }
}

fn lines(before: &str, lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("\n{before}{}", view::printable(line)))
        .collect()
}

fn listed(files: &[String]) -> String {
    let shown: Vec<String> = files
        .iter()
        .map(|f| view::printable(f).to_string())
        .collect();
    shown.join(", ")
}

/// The beginning of a line, enough to know it again.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 160;
    let mut text: String = line.chars().take(SHOWN).collect();
    if line.chars().count() > SHOWN {
        text.push('…');
    }
    view::printable(&text).to_string()
}
