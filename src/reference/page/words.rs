//! The page's words, in English and Japanese.

use crate::resource::Language;

/// One language's words.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) flags: &'static str,
    pub(super) on: &'static str,
    pub(super) off: &'static str,
    pub(super) interviews: &'static str,
    pub(super) unclassified: &'static str,
    pub(super) minutes: &'static str,
    pub(super) retired: &'static str,
    pub(super) successor: &'static str,
    pub(super) access: &'static str,
    pub(super) blocks: &'static str,
    pub(super) until: &'static str,
    pub(super) compliance: &'static str,
    pub(super) effective: &'static str,
    pub(super) done: &'static str,
    pub(super) undone: &'static str,
    pub(super) incidents: &'static str,
    pub(super) past: &'static str,
    pub(super) owner: &'static str,
    pub(super) when_on: &'static str,
    pub(super) targeted: &'static str,
    pub(super) turn_on: &'static str,
    pub(super) turn_off: &'static str,
    pub(super) empty_hint: &'static str,
    pub(super) experiments: &'static str,
    pub(super) winner: &'static str,
    pub(super) recommendation: &'static str,
    pub(super) revision: &'static str,
    pub(super) no_revision: &'static str,
    pub(super) digest: &'static str,
    pub(super) resources: &'static str,
    pub(super) hidden: &'static str,
    pub(super) empty: &'static str,
    pub(super) when: &'static str,
    pub(super) impact: &'static str,
    pub(super) response: &'static str,
    pub(super) due: &'static str,
    pub(super) flip: &'static str,
    pub(super) local: &'static str,
    pub(super) local_hint: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) spec: &'static str,
    pub(super) save: &'static str,
    pub(super) delete: &'static str,
    pub(super) saved: &'static str,
    pub(super) live: &'static str,
    pub(super) offline: &'static str,
    pub(super) other_language: (&'static str, &'static str),
    admins: &'static str,
    readonly: &'static str,
    pub(super) cause: &'static str,
    pub(super) postmortem: &'static str,
    /// From the gravest down, as in [`SEVERITIES`].
    severities: [&'static str; 5],
    /// As in [`STATUSES`].
    statuses: [&'static str; 4],
}

/// The severities that specs hold, each with the CSS class it is shown in.
const SEVERITIES: [(&str, &str); 5] = [
    ("critical", "critical"),
    ("high", "critical"),
    ("medium", "warning"),
    ("low", "info"),
    ("info", "info"),
];

/// The states of an incident.
const STATUSES: [&str; 4] = ["investigating", "identified", "monitoring", "resolved"];

static ENGLISH: Words = Words {
    flags: "Features",
    on: "on",
    off: "off",
    interviews: "Interview types",
    unclassified: "Unclassified",
    minutes: "min",
    retired: "retired",
    successor: "now",
    access: "Access",
    blocks: "Blocked addresses",
    until: "until",
    compliance: "Compliance",
    effective: "in force from",
    done: "done",
    undone: "to do",
    incidents: "Open incidents",
    past: "Past incidents",
    owner: "owner",
    when_on: "when on:",
    targeted: "for some users by rule",
    turn_on: "Turn on here",
    turn_off: "Turn off here",
    empty_hint: "It shows what Lockstep brings to it, as soon as it does.",
    experiments: "Results of experiments",
    winner: "winner",
    recommendation: "Recommendation",
    revision: "revision",
    no_revision: "none yet",
    digest: "digest",
    resources: "resources",
    hidden: "not shown",
    empty: "This system holds nothing yet.",
    when: "When",
    impact: "Impact",
    response: "Response",
    due: "Due",
    flip: "Switch here, behind Lockstep's back",
    local: "Change something behind Lockstep's back",
    local_hint: "As someone with access to this system alone would. Lockstep sees the difference and does what lockstep.yaml says about drift.",
    kind: "Kind",
    name: "Name",
    spec: "Content (JSON)",
    save: "Save",
    delete: "Delete",
    saved: "Done.",
    live: "updates live",
    offline: "connection lost, trying again",
    other_language: ("ja", "日本語"),
    admins: "Administrators",
    readonly: "Read only",
    cause: "Cause",
    postmortem: "postmortem",
    severities: ["Critical", "Important", "Caution", "Minor", "Notice"],
    statuses: ["investigating", "identified", "monitoring", "resolved"],
};

static JAPANESE: Words = Words {
    flags: "機能の公開状況",
    on: "オン",
    off: "オフ",
    interviews: "面談の種別",
    unclassified: "未分類",
    minutes: "分",
    retired: "廃止",
    successor: "後継",
    access: "アクセス権限",
    blocks: "遮断中のアドレス",
    until: "期限",
    compliance: "法令対応",
    effective: "施行日",
    done: "完了",
    undone: "未完了",
    incidents: "対応中の障害",
    past: "過去の障害",
    owner: "担当",
    when_on: "オンのとき",
    targeted: "条件に合う利用者のみ",
    turn_on: "ここだけオンにする",
    turn_off: "ここだけオフにする",
    empty_hint: "Lockstep が設定を届けると、すぐにここへ表示されます。",
    experiments: "比較試験の結果",
    winner: "採用",
    recommendation: "推奨する対応",
    revision: "リビジョン",
    no_revision: "まだなし",
    digest: "ダイジェスト",
    resources: "件の設定",
    hidden: "件は省略",
    empty: "このシステムにはまだ設定がありません。",
    when: "時刻",
    impact: "影響",
    response: "対応",
    due: "期限",
    flip: "このシステムだけで切り替える（Lockstep を通さない変更）",
    local: "Lockstep を通さずに変更する",
    local_hint: "このシステムだけを操作できる人と同じ変更です。Lockstep は差異を検知し、lockstep.yaml の drift の設定に従います。",
    kind: "種類",
    name: "名前",
    spec: "内容（JSON）",
    save: "保存",
    delete: "削除",
    saved: "変更しました。",
    live: "自動更新中",
    offline: "接続が切れました。再接続しています",
    other_language: ("en", "English"),
    admins: "管理者",
    readonly: "閲覧のみ",
    cause: "原因",
    postmortem: "事後分析",
    severities: ["緊急", "重要", "注意", "軽微", "お知らせ"],
    statuses: ["調査中", "原因特定", "監視中", "解決済み"],
};

pub(super) fn of(language: Language) -> &'static Words {
    match language {
        Language::English => &ENGLISH,
        Language::Japanese => &JAPANESE,
    }
}

/// The language's tag, for `lang=`.
pub(super) fn tag(language: Language) -> &'static str {
    match language {
        Language::English => "en",
        Language::Japanese => "ja",
    }
}

impl Words {
    /// A role's name; the roles of custom grants are shown as they are.
    pub(super) fn role(&self, role: &str) -> String {
        match role {
            "admin" => self.admins.to_owned(),
            "readonly" => self.readonly.to_owned(),
            other => other.to_owned(),
        }
    }

    /// A severity's rank (0 the gravest), CSS class and word. What is no severity is the least.
    pub(super) fn severity(&self, severity: &str) -> (usize, &'static str, &'static str) {
        SEVERITIES
            .iter()
            .zip(self.severities)
            .enumerate()
            .find(|(_, ((name, _), _))| *name == severity)
            .map_or(
                (SEVERITIES.len(), "info", self.severities[4]),
                |(rank, ((_, class), word))| (rank, *class, word),
            )
    }

    /// The state of an incident; one that is not known is shown as it is.
    pub(super) fn status(&self, status: &str) -> String {
        STATUSES
            .iter()
            .zip(self.statuses)
            .find(|(name, _)| **name == status)
            .map_or_else(|| status.to_owned(), |(_, word)| word.to_owned())
    }
}
