//! `lockstep.yaml`: read the same twice, and what is read without an error is consistent in itself.

use lockstep::config::read::read;
use lockstep::document::hidden;
use lockstep::finding::Severity;
use lockstep::ids::KindName;
use lockstep::resource::kinds;

pub fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else {
        return;
    };
    let path = crate::path("lockstep.yaml");
    let known: Vec<KindName> = kinds::builtin().keys().cloned().collect();
    let (config, findings) = read(&path, text, &known);
    crate::are_placed(&findings, text);
    crate::are_placed(&hidden::check(&path, text), text);
    let (again, same) = read(&path, text, &known);
    assert_eq!(findings, same);
    assert_eq!(format!("{config:?}"), format!("{again:?}"));
    if findings.iter().any(|f| f.severity == Severity::Error) {
        return;
    }
    let groups = config.effective_groups();
    for system in config.systems.keys() {
        let member = groups.values().filter(|g| g.systems.contains(system));
        assert_eq!(member.count(), 1, "{system} moves with one group");
    }
    for (key, person) in &config.people {
        let by_login = config.person(&person.forge).map(|(key, _)| key);
        assert_eq!(by_login, Some(key.as_str()), "a login means one person");
    }
}
