//! What flags become, without a server.

use serde_json::{Value, json};

use super::*;

fn form(name: &str, spec: &Value) -> Result<Form, String> {
    Form::of(
        name,
        &Spec::from_value(spec).unwrap(),
        Some("config repo 0123456789"),
    )
}

/// The strategy of a flag, or why there is none.
fn strategy(spec: Value) -> String {
    match form("ai_assistant", &spec) {
        Ok(form) => {
            let on = if form.enabled { "on" } else { "off" };
            let strategy = &form.strategies[0];
            let mut said = vec![
                on.to_owned(),
                format!("{}%", strategy.parameters["rollout"]),
            ];
            for c in &strategy.constraints {
                let not = if c.inverted { "not " } else { "" };
                let value = c.value.iter().chain(&c.values);
                let values: Vec<&str> = value.map(String::as_str).collect();
                said.push(format!(
                    "{not}{} {} {}",
                    c.context_name,
                    c.operator,
                    values.join("|")
                ));
            }
            for v in &strategy.variants {
                let payload = v.payload.as_ref().unwrap();
                said.push(format!(
                    "{}={} {} {} {payload}",
                    v.name, v.weight, v.weight_type, v.stickiness
                ));
            }
            said.join(", ")
        }
        Err(why) => why,
    }
}

#[test]
fn a_flag_becomes_a_strategy_or_the_field_that_does_not_fit_is_named() {
    let two = json!({"yes": true, "no": false});
    let colours = json!({"red": "#f00", "blue": "#00f", "size": 3});
    let cases = [
        json!({"enabled": true, "rollout": 25, "owner": "sato", "expires": "2027-01-01"}),
        json!({"enabled": false, "rollout": 0}),
        json!({"enabled": true, "rollout": 150}),
        json!({"enabled": true, "rollout": 12.5}),
        json!({"enabled": true, "rollout": 10, "variants": two, "default_variant": "yes"}),
        json!({"enabled": true, "rollout": 10, "variants": two, "default_variant": "no"}),
        json!({"enabled": true, "rollout": 10, "variants": two, "default_variant": "maybe"}),
        json!({"enabled": true, "rollout": 10, "variants": colours}),
        json!({"enabled": true, "rollout": 10, "variants": colours, "default_variant": "red"}),
        json!({"enabled": true, "rollout": 100, "variants": colours, "default_variant": "red",
            "targeting": {"fractional": [{"var": "targetingKey"}, ["red", 25], ["blue", 75]]}}),
        json!({"enabled": true, "rollout": 100, "variants": colours, "default_variant": "red",
            "targeting": {"fractional": [["red", 1], ["blue", 2]]}}),
        json!({"enabled": true, "rollout": 100, "variants": two, "default_variant": "no",
            "targeting": {"if": [{"and": [{"in": [{"var": "role"}, ["doctor", "nurse"]]}, {"!": {"==": [{"var": "userId"}, "u1"]}},
                {">=": [{"var": "level"}, 3]}, {"starts_with": [{"var": "email"}, "a"]}]}, "yes", "no"]}}),
        json!({"enabled": true, "rollout": 100, "variants": two, "targeting": {"if": [{"in": ["a", {"var": "email"}]}, "yes", "no"]}}),
        json!({"enabled": true, "rollout": 100, "variants": two, "targeting": {"if": [{"in": [{"var": "email"}, "abc"]}, "yes", "no"]}}),
        json!({"enabled": true, "rollout": 100, "variants": two, "targeting": {"if": [{"==": [{"var": "a"}, "b"]}, "no", "yes"]}}),
        json!({"enabled": true, "rollout": 100, "variants": colours, "targeting": {"sem_ver": [{"var": "v"}, "=", "1.0.0"]}}),
        json!({"enabled": true, "description": "a\u{0}b"}),
        json!({"enabled": true, "variants": {"緊急": 1}, "default_variant": "緊急"}),
    ];
    let said: Vec<String> = cases.into_iter().map(strategy).collect();
    insta::assert_snapshot!(said.join("\n"), @r##"
    on, 25%
    off, 0%
    rollout: Unleash counts whole percents from 0 to 100, and 150 is none
    rollout: Unleash counts whole percents from 0 to 100, and 12.5 is none
    on, 10%
    off, 10%
    default_variant: "maybe" is none of the variants
    default_variant: with variants and no targeting, Unleash has to be told which one is given
    on, 10%, blue=0 fix default {"type":"string","value":"#00f"}, red=1000 variable default {"type":"string","value":"#f00"}, size=0 fix default {"type":"number","value":"3"}
    on, 100%, blue=750 variable userId {"type":"string","value":"#00f"}, red=250 fix userId {"type":"string","value":"#f00"}, size=0 fix userId {"type":"number","value":"3"}
    targeting: Unleash counts weights in tenths of a percent, and these are none
    on, 100%, role IN doctor|nurse, not userId IN u1, level NUM_GTE 3, email STR_STARTS_WITH a
    targeting: Unleash can't have a condition that is not on one field of the context; it can have `fractional` alone, and `if` with conditions where the variants are true and false
    targeting: Unleash can't have `in` for a part of a text; it can have `fractional` alone, and `if` with conditions where the variants are true and false
    targeting: Unleash can't have an `if` that does not give true, and false otherwise; it can have `fractional` alone, and `if` with conditions where the variants are true and false
    targeting: Unleash can't have `sem_ver`; it can have `fractional` alone, and `if` with conditions where the variants are true and false
    description: Unleash can't keep a zero character
    variants: Unleash takes letters, digits and . _ ~ - for the name of a variant, not "緊急"
    "##);
}

#[test]
fn names_are_as_unleash_takes_them() {
    let spec = json!({"enabled": true});
    for right in ["a", "ai_assistant", "a.b~c-d", "..."] {
        assert!(form(right, &spec).is_ok(), "{right}");
    }
    for wrong in ["a b", "a/b", "緊急", ".", "..", &"x".repeat(101)] {
        let why = form(wrong, &spec).unwrap_err();
        assert!(why.starts_with("the name: "), "{why}");
    }
}

#[test]
fn what_a_feature_says_beyond_a_flag_is_seen() {
    let plain = form(
        "a",
        &json!({"enabled": true, "rollout": 25, "description": "d"}),
    )
    .unwrap();
    assert_eq!(
        plain.spec("a"),
        json!({"enabled": true, "rollout": 25, "description": "d"})
    );
    let edits: [fn(&mut Form); 6] = [
        |f| f.strategies[0].segments = vec![1],
        |f| f.strategies[0].disabled = Some(true),
        |f| {
            f.strategies[0]
                .parameters
                .insert("stickiness".into(), "userId".into())
                .map_or((), drop)
        },
        |f| {
            f.strategies[0]
                .parameters
                .insert("rollout".into(), "150".into())
                .map_or((), drop)
        },
        |f| f.strategies.push(f.strategies[0].clone()),
        |f| f.variants = vec![json!({"name": "x"})],
    ];
    for edit in edits {
        let mut form = plain.clone();
        edit(&mut form);
        let spec = form.spec("a");
        assert!(spec.get("unleash").is_some(), "{spec}");
    }
    // Nothing to be given by: on, it is given to all.
    let bare = Form {
        strategies: Vec::new(),
        ..plain
    };
    assert_eq!(bare.spec("a")["rollout"], json!(100));
}
