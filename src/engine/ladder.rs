//! What a system's mode keeps from being done to it, as people are told.

use crate::config::Mode;
use crate::plan::Op;
use crate::plan::safety::Skipped;
use crate::record::{Condition, ConditionReason, ConditionState};

/// How many resources a message names.
const NAMED: usize = 5;

/// How a system stands of whose changes its mode leaves some out. One that is only watched is not compared: whoever adds a system first looks at
/// what it holds.
pub(super) fn condition(mode: Mode, skipped: &[Skipped]) -> Option<Condition> {
    if skipped.is_empty() {
        return None;
    }
    let adrift = |message| Condition {
        state: ConditionState::Behind,
        reason: ConditionReason::Drifted,
        message,
    };
    match mode {
        Mode::Enforce => None,
        Mode::Observe => Some(Condition {
            state: ConditionState::InStep,
            reason: ConditionReason::AlreadyInStep,
            message: "only watched: in mode observe it is not compared with the repo".to_owned(),
        }),
        Mode::Detect => Some(adrift(format!(
            "differs from the repo, and in mode detect nothing is written: {}",
            told(skipped)
        ))),
        Mode::Upsert => Some(adrift(format!(
            "in mode upsert nothing is deleted: {}",
            told(skipped)
        ))),
    }
}

fn told(skipped: &[Skipped]) -> String {
    let word = |op| match op {
        Op::Create => "lacks",
        Op::Update => "has another",
        Op::Delete => "still has",
    };
    let first = skipped.iter().take(NAMED);
    let told: Vec<String> = first.map(|s| format!("{} {}", word(s.op), s.id)).collect();
    let mut told = told.join(", ");
    if skipped.len() > NAMED {
        told.push_str(&format!(" and {} more", skipped.len() - NAMED));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(mode: Mode, count: usize) -> Vec<Skipped> {
        let ops = [Op::Delete, Op::Create, Op::Update];
        let all = (0..count).map(|n| Skipped {
            op: ops[n % 3],
            id: format!("FeatureFlag/f{n}").parse().unwrap(),
            mode,
        });
        all.collect()
    }

    #[test]
    fn each_step_says_what_it_leaves() {
        let told = |mode, count| condition(mode, &skipped(mode, count)).map(|c| c.message);
        insta::assert_snapshot!(told(Mode::Detect, 3).unwrap(), @"differs from the repo, and in mode detect nothing is written: still has FeatureFlag/f0, lacks FeatureFlag/f1, has another FeatureFlag/f2");
        insta::assert_snapshot!(told(Mode::Upsert, 7).unwrap(), @"in mode upsert nothing is deleted: still has FeatureFlag/f0, lacks FeatureFlag/f1, has another FeatureFlag/f2, still has FeatureFlag/f3, lacks FeatureFlag/f4 and 2 more");
        assert_eq!(told(Mode::Enforce, 3), None);
        for mode in [Mode::Observe, Mode::Detect, Mode::Upsert] {
            assert_eq!(told(mode, 0), None);
        }
        // Who only watches is not told of what is not to be there yet.
        let watched = condition(Mode::Observe, &skipped(Mode::Observe, 3));
        assert!(watched.unwrap().is_in_step());
    }
}
