//! Which way a change of a custom kind goes, as its schema says: `"x-direction": "up"` on a property whose growing widens, `"down"` where it narrows,
//! and `"x-direction": {"create": "widening"}` on the schema itself for resources that come and go.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use serde_json::Value;

use crate::document::faults::Faults;
use crate::document::fields::{self, Fields};
use crate::document::tree::Node;
use crate::resource::Direction;

const KEYWORD: &str = "x-direction";

/// What a schema says of directions. Where it says nothing, a change is neutral.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    create: Option<Direction>,
    delete: Option<Direction>,
    properties: BTreeMap<String, Way>,
}

/// What it means that a value becomes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

const WORDS: [(&str, Direction); 3] = [
    ("widening", Direction::Widening),
    ("narrowing", Direction::Narrowing),
    ("neutral", Direction::Neutral),
];

/// Reads the rules of a schema; what is none is a finding.
pub(super) fn rules(faults: &mut Faults<'_>, schema: &Node) -> Rules {
    let mut rules = Rules::default();
    if let Some(whole) = schema.get(KEYWORD) {
        let what = format!("`{KEYWORD}` of the schema");
        if let Some(ends) = Fields::read(faults, &whole.value, &what, &["create", "delete"]) {
            rules.create = ends.choice(faults, "create", &WORDS);
            rules.delete = ends.choice(faults, "delete", &WORDS);
        }
    }
    let Some(properties) = schema.get("properties") else {
        return rules;
    };
    let Some(properties) = Fields::open(faults, &properties.value, "`properties`") else {
        return rules;
    };
    for property in properties.members() {
        let Some(said) = property.value.get(KEYWORD) else {
            continue;
        };
        let Some(word) = fields::text(faults, said) else {
            continue;
        };
        let ways = [("up", Way::Up), ("down", Way::Down)];
        if let Some(way) = fields::choice(faults, &word, KEYWORD, &ways) {
            rules.properties.insert(property.key.clone(), way);
        }
    }
    rules
}

impl Rules {
    /// One thing that widens makes a change widening; narrowing it is only where everything narrows.
    pub(super) fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        match (before, after) {
            (None, _) => self.create.unwrap_or(Direction::Neutral),
            (Some(_), None) => self
                .delete
                .or_else(|| self.create.map(Direction::reversed))
                .unwrap_or(Direction::Neutral),
            (Some(before), Some(after)) => self.update(before, after),
        }
    }

    fn update(&self, before: &Value, after: &Value) -> Direction {
        let empty = serde_json::Map::new();
        let (b, a) = (
            before.as_object().unwrap_or(&empty),
            after.as_object().unwrap_or(&empty),
        );
        let mut all = Vec::new();
        for key in b.keys().chain(a.keys().filter(|key| !b.contains_key(*key))) {
            let (before, after) = (b.get(key), a.get(key));
            if before == after {
                continue;
            }
            all.push(match (self.properties.get(key), before, after) {
                (Some(way), Some(before), Some(after)) => way.of(before, after),
                _ => Direction::Neutral,
            });
        }
        if all.contains(&Direction::Widening) {
            Direction::Widening
        } else if all.is_empty() || all.contains(&Direction::Neutral) {
            Direction::Neutral
        } else {
            Direction::Narrowing
        }
    }
}

impl Way {
    fn of(self, before: &Value, after: &Value) -> Direction {
        let grows = match self {
            Self::Up => Direction::Widening,
            Self::Down => Direction::Narrowing,
        };
        if let (Value::Array(before), Value::Array(after)) = (before, after) {
            let gains = after.iter().any(|item| !before.contains(item));
            let loses = before.iter().any(|item| !after.contains(item));
            return match (gains, loses) {
                (true, false) => grows,
                (false, true) => grows.reversed(),
                // Something is let in, and something taken away.
                (true, true) => Direction::Widening,
                (false, false) => Direction::Neutral,
            };
        }
        match compare(before, after) {
            Some(Ordering::Less) => grows,
            Some(Ordering::Greater) => grows.reversed(),
            Some(Ordering::Equal) | None => Direction::Neutral,
        }
    }
}

/// Numbers, booleans, and texts that are both dates or times. Other things are not more or less than each other.
fn compare(before: &Value, after: &Value) -> Option<Ordering> {
    match (before, after) {
        (Value::Bool(before), Value::Bool(after)) => Some(before.cmp(after)),
        (Value::Number(before), Value::Number(after)) => {
            before.as_f64()?.partial_cmp(&after.as_f64()?)
        }
        (Value::String(before), Value::String(after)) => in_time(before, after),
        _ => None,
    }
}

fn in_time(before: &str, after: &str) -> Option<Ordering> {
    fn both<T: std::str::FromStr + Ord>(before: &str, after: &str) -> Option<Ordering> {
        let (before, after): (T, T) = (before.parse().ok()?, after.parse().ok()?);
        Some(before.cmp(&after))
    }
    // A moment has an offset; without one it is the same place's wall clock on both sides.
    both::<Timestamp>(before, after)
        .or_else(|| both::<DateTime>(before, after))
        .or_else(|| both::<Date>(before, after))
        .or_else(|| both::<Time>(before, after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules {
            create: Some(Direction::Widening),
            delete: None,
            properties: [
                ("cutoff".to_owned(), Way::Up),
                ("staff".to_owned(), Way::Up),
                ("locked".to_owned(), Way::Down),
                ("limit".to_owned(), Way::Up),
            ]
            .into(),
        }
    }

    #[test]
    fn a_change_goes_the_way_that_its_schema_says() {
        use Direction::{Narrowing, Neutral, Widening};
        let cases = [
            (
                json!({"cutoff": "2026-04-25"}),
                json!({"cutoff": "2026-04-26"}),
                Widening,
            ),
            (
                json!({"cutoff": "2026-04-25T18:00:00+09:00"}),
                json!({"cutoff": "2026-04-25T10:00:00Z"}),
                Widening,
            ),
            (
                json!({"cutoff": "18:00"}),
                json!({"cutoff": "17:30"}),
                Narrowing,
            ),
            (
                json!({"cutoff": "soon"}),
                json!({"cutoff": "later"}),
                Neutral,
            ),
            (json!({"locked": false}), json!({"locked": true}), Narrowing),
            (json!({"limit": 9}), json!({"limit": 10}), Widening),
            (json!({"limit": 9}), json!({"limit": "10"}), Neutral),
            (json!({"limit": 9}), json!({}), Neutral),
            (
                json!({"staff": ["a"]}),
                json!({"staff": ["b", "a"]}),
                Widening,
            ),
            (
                json!({"staff": ["a", "b"]}),
                json!({"staff": ["b"]}),
                Narrowing,
            ),
            (json!({"staff": ["a"]}), json!({"staff": ["b"]}), Widening),
            // What is not ruled keeps a narrowing from being one, and a widening not.
            (
                json!({"limit": 9, "note": "a"}),
                json!({"limit": 8, "note": "b"}),
                Neutral,
            ),
            (
                json!({"limit": 9, "note": "a"}),
                json!({"limit": 10, "note": "b"}),
                Widening,
            ),
            (
                json!({"limit": 9, "locked": false}),
                json!({"limit": 8, "locked": true}),
                Narrowing,
            ),
        ];
        for (before, after, expected) in cases {
            assert_eq!(
                rules().direction(Some(&before), Some(&after)),
                expected,
                "{before} to {after}"
            );
        }
        assert_eq!(rules().direction(None, Some(&json!({}))), Widening);
        assert_eq!(rules().direction(Some(&json!({})), None), Narrowing);
        assert_eq!(Rules::default().direction(None, Some(&json!({}))), Neutral);
    }
}
