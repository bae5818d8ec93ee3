//! The format `env`: what a shell makes of it, and what it leaves as others wrote it.

use super::formats::{of, refused, state_of, written};
use super::*;

#[tokio::test]
async fn env_is_variables_that_a_shell_reads_alike() {
    let state = state_of(&[
        (
            "FeatureFlag/ai_assistant",
            json!({"enabled": true, "rollout": 25, "owner": "true", "title": "it's here", "until": null}),
        ),
        (
            "IpList2/main",
            json!({"office": "10.0.0.0/8", "quoted": "a \"b\" #c"}),
        ),
        ("Motto/hospital", json!("全ての人に")),
    ]);
    let text = written(Format::Env, &state).await;
    insta::assert_snapshot!(text, @r#"
    # lockstep begin 4b825dc642cb6eb9a060e54bf8d69288fbee4904
    FEATURE_FLAG__AI_ASSISTANT__ENABLED=true
    FEATURE_FLAG__AI_ASSISTANT__OWNER='true'
    FEATURE_FLAG__AI_ASSISTANT__ROLLOUT=25
    FEATURE_FLAG__AI_ASSISTANT__TITLE="it's here"
    FEATURE_FLAG__AI_ASSISTANT__UNTIL=
    IP_LIST2__MAIN__OFFICE='10.0.0.0/8'
    IP_LIST2__MAIN__QUOTED='a "b" #c'
    MOTTO__HOSPITAL='全ての人に'
    # lockstep end
    "#);
    let shell = format!(
        "{text}\nprintf '%s|' \"$FEATURE_FLAG__AI_ASSISTANT__ENABLED\" \"$FEATURE_FLAG__AI_ASSISTANT__TITLE\" \"$FEATURE_FLAG__AI_ASSISTANT__UNTIL\" \"$IP_LIST2__MAIN__QUOTED\" \"$MOTTO__HOSPITAL\""
    );
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(shell)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "true|it's here||a \"b\" #c|全ての人に|"
    );
    let unfit = [
        ("FeatureFlag/ai-assistant", json!({"enabled": true})),
        ("FeatureFlag/a__b", json!({"enabled": true})),
        ("IpBlock/10.0.0.0/8", json!({"cidr": "10.0.0.0/8"})),
        ("Notice/a", json!({"body": "two\nlines"})),
        ("Notice/b", json!({"body": "costs $5"})),
        ("Notice/c", json!({"body": "it's \"both\""})),
        ("Notice/d", json!({"Body": "x"})),
        ("Notice/e", json!({})),
        ("Notice/f", json!([1])),
        ("Notice/g", json!({"targeting": {"if": []}})),
    ];
    insta::assert_snapshot!(refused(Format::Env, &unfit).await, @r#"
    legacy (state): 10 of 10 changes cannot be held by a file of the format env
    FeatureFlag/a__b: its name "a__b" cannot be part of a variable's name; env takes small letters, digits and single _ between them
    FeatureFlag/ai-assistant: its name "ai-assistant" cannot be part of a variable's name; env takes small letters, digits and single _ between them
    IpBlock/10.0.0.0/8: its name "10.0.0.0/8" cannot be part of a variable's name; env takes small letters, digits and single _ between them
    Notice/a: its field body has '\n' in it, which readers of env take for different things
    Notice/b: its field body has '$' in it, which readers of env take for different things
    Notice/c: its field body has both sorts of quotes in it, which env cannot hold
    Notice/d: its field "Body" cannot be part of a variable's name; env takes small letters, digits and single _ between them
    Notice/e: it has no field, so no variable can hold it
    Notice/f: it is a list or an object; env holds plain values only
    Notice/g: its field targeting is a list or an object; env holds plain values only
    "#);
}

#[tokio::test]
async fn env_leaves_the_lines_of_others_as_they_are() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state");
    fs::write(
        &file,
        "# ours\r\nexport MOTTO__OTHER=1\nDATABASE_URL=postgres://x",
    )
    .unwrap();
    let connector = of(Format::Env, &folder);
    let (empty, one) = (State::default(), state_of(&[("Motto/a", json!("x"))]));
    assert_eq!(observe(&connector).await.unwrap(), empty);
    let taken = state_of(&[("Motto/other", json!("x"))]);
    let refusal = connector.prepare(&changeset("z", &empty, &taken)).await;
    let Err(ConnectorError::Refused { reasons, .. }) = refusal else {
        unreachable!("accepted")
    };
    insta::assert_snapshot!(reasons[0].message, @"the file sets MOTTO__OTHER outside of the lines that are Lockstep's; take it out there");
    let first = changeset("a", &empty, &one);
    connector.prepare(&first).await.unwrap();
    // What others write until the commit stays too.
    let more = fs::read_to_string(&file).unwrap() + "\nLATE=1\n";
    fs::write(&file, more).unwrap();
    connector.commit(&first.id, Fence(1)).await.unwrap();
    let end = fs::read_to_string(&file).unwrap() + "AFTER=1";
    fs::write(&file, &end).unwrap();
    insta::assert_snapshot!(end, @"
    # ours
    export MOTTO__OTHER=1
    DATABASE_URL=postgres://x
    LATE=1
    # lockstep begin 4b825dc642cb6eb9a060e54bf8d69288fbee4904
    MOTTO__A='x'
    # lockstep end
    AFTER=1
    ");
    let two = state_of(&[("Motto/a", json!("y"))]);
    apply(&connector, &changeset("b", &one, &two)).await;
    let now = fs::read_to_string(&file).unwrap();
    assert_eq!(now, end.replace("MOTTO__A='x'", "MOTTO__A='y'"));
}
