//! JSON or YAML: which of the two a document is, and its tree either way.

use super::faults::Faults;
use super::tree::Node;
use super::{json, yaml};
use crate::finding::Finding;
use crate::ids::DocPath;

/// How a document's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// With comments, trailing commas and a title line.
    Json,
    Yaml,
}

/// The syntax that a path's ending says; other endings are JSON where the text begins like it.
pub fn syntax(path: &DocPath, text: &str) -> Syntax {
    let ending = path.as_str().rsplit_once('.').map_or("", |(_, e)| e);
    match ending {
        "json" | "jsonc" | "json5" => Syntax::Json,
        "yaml" | "yml" => Syntax::Yaml,
        _ if text.trim_start().starts_with(['{', '[', '/']) => Syntax::Json,
        _ => Syntax::Yaml,
    }
}

/// The document's tree, and what is wrong with how it is written.
pub fn parse(path: &DocPath, text: &str) -> (Option<Node>, Vec<Finding>) {
    let mut faults = Faults::new(path, text);
    let node = read(&mut faults);
    (node, faults.finish())
}

/// The same, among the findings of a reader that goes on from here.
pub fn read(faults: &mut Faults<'_>) -> Option<Node> {
    match syntax(faults.path(), faults.text()) {
        Syntax::Json => json::read(faults),
        Syntax::Yaml => yaml::read(faults),
    }
}
