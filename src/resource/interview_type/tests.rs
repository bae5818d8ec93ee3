use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::Config;
use crate::finding::Severity;
use crate::ids::DocPath;

fn config() -> Config {
    let text = "
version: 1
systems:
  medical: {connector: http, url: 'http://a.example', kinds: [InterviewType]}
  voicedrive: {title: ボイスドライブ, connector: http, url: 'http://a.example', kinds: [InterviewType]}
";
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let (config, findings) = crate::config::read::read(&path, text, &[KIND.parse().unwrap()]);
    assert_eq!(findings, []);
    config
}

fn check(path: &str, text: &str) -> String {
    let config = config();
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = path.parse().unwrap();
    let reading = InterviewTypeForm.read(Source { path: &path, text }, context);
    let mut lines = Vec::new();
    for declared in &reading.resources {
        let systems: Vec<&str> = declared.systems.iter().map(|s| s.as_str()).collect();
        lines.push(format!(
            "{} -> {} {:?}",
            declared.id,
            systems.join("+"),
            declared.spec
        ));
    }
    for f in &reading.findings {
        let span = f.location.span.unwrap();
        let under = &text[span.start..span.end];
        let hint = f.hint.as_deref().unwrap_or("-");
        let mark = if f.severity == Severity::Error {
            ""
        } else {
            "~"
        };
        lines.push(format!(
            "{}:{} {mark}{}: {} ({under}) {hint}",
            span.line, span.column, f.rule, f.message
        ));
    }
    lines.join("\n")
}

#[test]
fn a_list_and_one_object_are_read() {
    insta::assert_snapshot!(check("config/interview-types.json", r#"[
  {"id": "mental_health", "name": "メンタルヘルス面談", "classification": "wellbeing", "duration_minutes": 30},
  {"id": "stress_2024", "name": "ストレス面談", "classification": "wellbeing", "retired": true, "successor": "mental_health", "systems": ["ボイスドライブ"]},
  {"id": "career", "name": "キャリア面談", "classification": "development", "retired": false},
]"#), @r##"
    InterviewType/mental_health -> medical+voicedrive {"classification":"wellbeing","duration_minutes":30,"id":"mental_health","name":"メンタルヘルス面談"}
    InterviewType/stress_2024 -> voicedrive {"classification":"wellbeing","id":"stress_2024","name":"ストレス面談","retired":true,"successor":"mental_health"}
    InterviewType/career -> medical+voicedrive {"classification":"development","id":"career","name":"キャリア面談"}
    "##);
    insta::assert_snapshot!(check("config/interview-types.yaml", "id: exit\nname: 退職面談\nclassification: hr\nsuccessor: elsewhere\n"), @r##"InterviewType/exit -> medical+voicedrive {"classification":"hr","id":"exit","name":"退職面談","successor":"elsewhere"}"##);
}

#[test]
fn every_fault_is_reported_in_one_pass() {
    insta::assert_snapshot!(check("config/interview-types.json", r#"[
  {"id": "a", "name": "A", "classification": "x", "successor": "bb"},
  {"id": "b", "name": "", "classification": "x", "duration_minutes": 0},
  {"id": "a", "name": "A", "classification": "x"},
  {"nmae": "C", "classification": 5},
  {"id": "d", "name": "D", "classification": "x", "successor": "e", "systems": ["medcal"]},
  {"id": "e", "name": "E", "classification": "x", "successor": "d", "retired": "yes"},
  "f"
]"#), @r##"
    InterviewType/a -> medical+voicedrive {"classification":"x","id":"a","name":"A","successor":"bb"}
    InterviewType/d ->  {"classification":"x","id":"d","name":"D","successor":"e"}
    InterviewType/e -> medical+voicedrive {"classification":"x","id":"e","name":"E","successor":"d"}
    2:64 interview/unknown-successor: there is no interview type `bb` ("bb") did you mean `b`?
    3:23 document/empty-text: `name` is empty ("") -
    3:70 interview/duration: an interview can't take 0 minutes (0) give a whole number from 1 to 1440
    4:10 document/duplicate-resource: `InterviewType/a` is declared twice ("a") keep one of the two
    5:3 document/missing-field: an interview type has no `id` ({) add "id": "mental_health"
    5:3 document/missing-field: an interview type has no `name` ({) add "name": "メンタルヘルス面談"
    5:4 document/unknown-field: an interview type has no field `nmae` ("nmae") did you mean `name`?
    5:35 document/wrong-type: `classification` must be a string, not a number (5) -
    6:64 interview/successor-cycle: the successors of `d` lead back to it ("e") name a type that stays
    6:81 reference/unknown-system: there is no system `medcal` ("medcal") did you mean `medical`?
    7:64 interview/successor-cycle: the successors of `e` lead back to it ("d") name a type that stays
    7:80 document/wrong-type: `retired` must be true or false, not a string ("yes") write true, without quotes
    8:3 document/wrong-type: an interview type must be an object, not a string ("f") -
    "##);
    assert!(check("config/interview-types.json", "5").contains("document/wrong-type"));
}

#[test]
fn retiring_narrows_and_bringing_back_widens() {
    let live = json!({"id": "a", "name": "A"});
    let retired = json!({"id": "a", "name": "A", "retired": true, "successor": "b"});
    let direction = |b, a| InterviewType.direction(b, a);
    assert_eq!(direction(Some(&live), Some(&retired)), Direction::Narrowing);
    assert_eq!(direction(Some(&retired), Some(&live)), Direction::Widening);
    assert_eq!(direction(None, Some(&live)), Direction::Neutral);
    assert_eq!(direction(Some(&live), None), Direction::Neutral);
    let told = |b, a, l| InterviewType.describe("a", b, a, l);
    assert_eq!(
        told(Some(&live), Some(&retired), Language::English),
        "a: retired, successor none → b"
    );
    assert_eq!(
        told(Some(&retired), Some(&live), Language::Japanese),
        "a: 復活、後継 b → なし"
    );
    assert_eq!(told(None, Some(&live), Language::English), "a: new, A");
    assert_eq!(
        told(Some(&retired), None, Language::Japanese),
        "a: 削除（変更前: A（廃止））"
    );
}
