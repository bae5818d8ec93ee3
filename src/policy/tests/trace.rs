use crate::ids::ResourceRef;
use crate::plan::Op;
use crate::policy::input::ChangeFacts;
use crate::policy::trace::{Said, Subject, policies_for, said_of};
use crate::resource::Direction;

fn change(name: &str, direction: Direction) -> ChangeFacts {
    ChangeFacts {
        before_holds: true,
        after_holds: true,
        op: Op::Update,
        kind: "FeatureFlag".to_owned(),
        name: name.to_owned(),
        systems: vec!["medical".parse().unwrap()],
        before: None,
        after: None,
        direction,
        new: false,
        gone: false,
        document: Some("config/feature-flags.json".parse().unwrap()),
        line: Some(3),
    }
}

/// What is said of a subject, a line each: the place of the rule, then what it says.
fn told(policies: &[(&str, &str)], subject: Subject<'_>) -> String {
    let mut input = super::input(&[]);
    input.changes = vec![
        change("ai", Direction::Widening),
        change("night", Direction::Narrowing),
    ];
    input.proposal.files = ["config/feature-flags.json", "lockstep.yaml"]
        .map(|f| f.parse().unwrap())
        .to_vec();
    input.settings_changed = true;
    let said = said_of(&super::files(policies), &input, subject);
    let lines = said.into_iter().map(|judged| {
        let place = judged
            .rule
            .map_or("-".to_owned(), |r| format!("{}:{}", r.policy, r.line));
        let text = match judged.said {
            Said::Denial(m) => format!("denies {}", m.msg),
            Said::Warning(m) => format!("warns {}", m.msg),
            Said::Approval(n) => format!("asks {} of {}: {}", n.count, n.from.join("|"), n.because),
            Said::Recusal(r) => format!("recuses {}: {}", r.person, r.because),
        };
        format!("{place} {text}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

const RULES: &str = r#"package lockstep

deny contains {"msg": "rises", "resource": name, "code": "a/rise"} if {
	some change in input.changes
	change.direction == "widening"
	name := concat("/", [change.kind, change.name])
}

# 二つ目
warn contains {"msg": m, "resource": concat("/", [c.kind, c.name]), "code": sprintf("b/%s", ["x"])} if {
	some c in input.changes
	m := "is old"
}

deny contains "nobody may today" if count(input.changes) >= 0

deny contains {"msg": "said twice", "resource": "FeatureFlag/ai", "code": "c/one"} if count(input.changes) > 0
"#;

const MORE: &str = r#"package lockstep

deny contains {"msg": "said twice", "resource": "FeatureFlag/ai", "code": "c/one"} if count(input.changes) > 0

approval contains {"from": ["security"], "count": 1, "because": "it widens"} if {
	some c in input.changes
	c.direction == "widening"
}

approval contains {"from": ["*"], "count": 1, "because": "always"}

approval contains {"from": ["*"], "count": 2, "because": "the rules"} if {
	some file in input.proposal.files
	file == "lockstep.yaml"
}

recuse contains {"person": "abe", "because": "gains"} if {
	some c in input.changes
	c.name == "night"
}
"#;

#[test]
fn each_thing_that_is_said_has_its_rule() {
    let policies = [("policies/a.rego", RULES), ("policies/b.rego", MORE)];
    let of = |name: &str| {
        let id: ResourceRef = name.parse().unwrap();
        told(&policies, Subject::Resource(&id))
    };
    // What is said of every proposal is not said because of this change; what two rules say has no one rule.
    insta::assert_snapshot!(of("FeatureFlag/ai"), @"
    policies/a.rego:3 denies rises
    - denies said twice
    policies/a.rego:10 warns is old
    policies/b.rego:10 asks 1 of *: always
    policies/b.rego:5 asks 1 of security: it widens
    ");
    insta::assert_snapshot!(of("FeatureFlag/night"), @"
    policies/a.rego:10 warns is old
    policies/b.rego:10 asks 1 of *: always
    policies/b.rego:17 recuses abe: gains
    ");
    let config = "lockstep.yaml".parse().unwrap();
    insta::assert_snapshot!(told(&policies, Subject::File(&config)), @"policies/b.rego:12 asks 2 of *: the rules");
    let other = "README.md".parse().unwrap();
    assert_eq!(told(&policies, Subject::File(&other)), "");
}

#[test]
fn policies_of_a_kind_are_those_that_name_it_or_none() {
    let shipped = super::shipped::shipped();
    let kinds = [
        "FeatureFlag",
        "AccessGrant",
        "IpBlock",
        "InterviewType",
        "ComplianceItem",
        "Notice",
    ];
    let names = |kind: &str| -> Vec<String> {
        let of = policies_for(&shipped, kind, &kinds);
        of.iter()
            .map(|p| {
                p.policy
                    .as_str()
                    .replace("policies/", "")
                    .replace(".rego", "")
            })
            .collect()
    };
    let any = [
        "admin_grant",
        "approvals",
        "authorship",
        "freeze",
        "governance",
    ];
    let and = |own: &[&str]| {
        let mut all: Vec<String> = any.iter().chain(own).map(ToString::to_string).collect();
        all.sort();
        all
    };
    assert_eq!(names("IpBlock"), and(&["ip_block"]));
    assert_eq!(names("AccessGrant"), and(&["last_admin"]));
    assert_eq!(names("FeatureFlag"), and(&["flag_hygiene", "rollout"]));
    assert_eq!(names("Notice"), and(&[]));
}
