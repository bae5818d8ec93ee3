//! What the workflow and the action must not do.

use super::*;

/// Every step of the workflow and the action.
fn steps() -> Vec<Value> {
    let mut steps = Vec::new();
    for file in ["ci.yml", "config.yml"] {
        let workflow = yaml(&format!(".github/workflows/{file}"));
        for job in workflow["jobs"].as_object().unwrap().values() {
            steps.extend(job["steps"].as_array().unwrap().iter().cloned());
        }
    }
    let action = yaml(".github/actions/check/action.yml");
    steps.extend(action["runs"]["steps"].as_array().unwrap().iter().cloned());
    steps
}

#[test]
fn no_script_has_a_value_put_into_its_text() {
    let mut scripts = 0;
    for step in steps() {
        let Some(script) = step["run"].as_str() else {
            continue;
        };
        scripts += 1;
        assert!(!script.contains("${{"), "{script}");
        for word in ["eval", "github.event", "head_ref"] {
            assert!(!script.contains(word), "{word}: {script}");
        }
    }
    assert!(scripts >= 3, "{scripts}");
}

#[test]
fn what_others_wrote_is_pinned_and_leaves_no_credential() {
    for step in steps() {
        let Some(uses) = step["uses"].as_str() else {
            continue;
        };
        if !uses.starts_with("./") {
            let (_, commit) = uses.split_once('@').unwrap();
            let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_commit, "{uses}");
        }
        if uses.starts_with("actions/checkout@") {
            assert_eq!(step["with"]["persist-credentials"], false, "{step}");
        }
    }
}

#[test]
fn the_gate_reads_only_and_judges_by_the_base() {
    let workflow = yaml(".github/workflows/config.yml");
    assert_eq!(
        workflow["permissions"],
        serde_json::json!({"contents": "read"})
    );
    let on: Vec<&String> = workflow["on"].as_object().unwrap().keys().collect();
    assert_eq!(on, ["merge_group", "pull_request", "push"]);
    let job = &workflow["jobs"]["gate"];
    assert_eq!(job["permissions"], Value::Null);
    let [tools, proposal, check] = job["steps"].as_array().unwrap().as_slice() else {
        panic!("{job}");
    };
    // The program is built from the base, and not from where the proposal is.
    let from = tools["with"]["ref"].as_str().unwrap();
    assert!(
        from.starts_with("${{ github.event.pull_request.base.sha ||"),
        "{from}"
    );
    assert_eq!(proposal["with"]["path"], "proposal");
    assert_eq!(proposal["with"]["fetch-depth"], 0);
    assert_eq!(check["with"]["repository"], "proposal");
    for (name, of_pull_request) in [("base", "'HEAD^1'"), ("head", "'HEAD^2'")] {
        let value = check["with"][name].as_str().unwrap();
        let wanted = format!("${{{{ github.event_name == 'pull_request' && {of_pull_request} ||");
        assert!(value.starts_with(&wanted), "{value}");
    }
}

/// Against the standard's own schema, where `./test` has installed it.
#[test]
fn sarif_is_as_its_schema_says() {
    let Some(schema) = crate::hub::published("sarif.json") else {
        return;
    };
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong = rollout(80).replace("\"old_banner\"", "\"old banner%\\u0007\"");
    let left = Job::new(&[
        (FLAGS, Some(&wrong)),
        ("config/feature-flag.json", Some("{}")),
        ("alerts/壊 れた.md", Some("---\na: [\n---\n")),
    ])
    .run(&[]);
    let results = left.sarif["runs"][0]["results"].as_array().unwrap();
    assert!(results.len() >= 4, "{results:#?}");
    let faults: Vec<String> = validator
        .iter_errors(&left.sarif)
        .map(|e| e.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    // The schema does see a fault.
    let mut broken = left.sarif.clone();
    broken["runs"][0]["results"][0]["level"] = "grave".into();
    assert!(!validator.is_valid(&broken));
}
