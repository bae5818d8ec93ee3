//! A custom kind's schema and a document of it, divided by a NUL: the schema is read in bounded time, and what it validates stays
//! valid.

use lockstep::compile::compile;
use lockstep::resource::custom::read_schema;

pub fn run(data: &[u8]) {
    let (schema, document) = match data.iter().position(|b| *b == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b"{\"a\": {\"beds\": 1}, \"b\": \"x\"}"[..]),
    };
    let Some(text) = crate::text(schema) else {
        return;
    };
    let path = crate::path("kinds/Ward.schema.json");
    let (kind, findings) = read_schema(&path, text);
    crate::are_placed(&findings, text);
    let (again, same) = read_schema(&path, text);
    assert_eq!(findings, same);
    assert_eq!(kind.is_some(), again.is_some());
    let snapshot = crate::snapshot(&[
        ("kinds/Ward.schema.json", schema),
        ("config/wards.yaml", document),
    ]);
    let (first, second) = (compile(&snapshot), compile(&snapshot));
    assert_eq!(first.report, second.report);
    assert_eq!(first.bundle.digest(), second.bundle.digest());
}
