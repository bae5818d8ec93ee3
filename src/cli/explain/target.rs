//! What a person means who names a document, a line of one, a resource, or a line of a plan.

use std::collections::BTreeSet;

use super::{Scene, files};
use crate::document::fields::shorten;
use crate::document::suggest;
use crate::ids::{DocPath, ResourceRef};
use crate::resource::Language;
use crate::view::{ChangeView, PlanView};

/// What is to be told of.
pub(super) struct Target {
    /// The document that was named.
    pub(super) document: Option<DocPath>,
    /// Those that the proposal changes come first.
    pub(super) resources: Vec<ResourceRef>,
    /// How many of them it changes.
    pub(super) changed: usize,
    /// The line, where the file is told of and not what it declares.
    pub(super) line: Option<u32>,
}

pub(super) fn find(scene: &Scene, what: &str) -> anyhow::Result<Target> {
    let what = what.trim();
    if let Some(id) = resource(scene, what) {
        return Ok(one(id));
    }
    if let Some(path) = document(scene, what) {
        return Ok(whole(scene, path));
    }
    if let Some((path, line)) = with_line(scene, what) {
        return at_line(scene, path, line);
    }
    let of_line = plan_line(scene, what);
    if !of_line.is_empty() {
        return Ok(Target {
            document: None,
            changed: of_line.len(),
            resources: of_line.into_iter().collect(),
            line: None,
        });
    }
    let ids = known(scene);
    let paths = scene.after.files.keys().map(DocPath::as_str);
    let near = suggest::nearest(what, ids.iter().map(ResourceRef::as_str).chain(paths));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    anyhow::bail!(
        "{:?} is no document, no resource and no line of this plan{near}\n  \
         name a path, path:line or Kind/name; for a line of a proposal's plan give --proposal NUMBER, or --base REV and --head REV",
        shorten(what)
    );
}

fn one(id: ResourceRef) -> Target {
    Target {
        document: None,
        changed: 1,
        resources: vec![id],
        line: None,
    }
}

/// Everything that is there before or after.
fn known(scene: &Scene) -> BTreeSet<ResourceRef> {
    let bundles = [&scene.base.bundle, &scene.compiled.bundle];
    let resources = bundles.into_iter().flat_map(|b| b.resources());
    resources.map(|r| r.item.id.clone()).collect()
}

fn resource(scene: &Scene, what: &str) -> Option<ResourceRef> {
    let id: ResourceRef = what.parse().ok()?;
    let there = [&scene.compiled, &scene.base]
        .iter()
        .any(|c| c.bundle.get(&id).is_some());
    there.then_some(id)
}

/// A document by its path in the config repo, or by a longer one that ends with it.
fn document(scene: &Scene, what: &str) -> Option<DocPath> {
    let what = what.strip_prefix("./").unwrap_or(what);
    let all = || {
        [&scene.after, &scene.before]
            .into_iter()
            .flat_map(|s| s.files.keys().chain(s.policies.keys()))
    };
    let ends = |path: &&DocPath| {
        what.strip_suffix(path.as_str())
            .is_some_and(|rest| rest.ends_with('/'))
    };
    all()
        .find(|path| path.as_str() == what)
        .or_else(|| all().filter(ends).max_by_key(|path| path.as_str().len()))
        .cloned()
}

/// `path:line`, or `path:line:column` as findings are printed.
fn with_line(scene: &Scene, what: &str) -> Option<(DocPath, u32)> {
    let (path, number) = what.rsplit_once(':')?;
    let number: u32 = number.parse().ok()?;
    if let Some(path) = document(scene, path) {
        return Some((path, number));
    }
    let (path, line) = path.rsplit_once(':')?;
    Some((document(scene, path)?, line.parse().ok()?))
}

/// What a document declares, or declared; of a proposal what it changes comes first.
fn whole(scene: &Scene, path: DocPath) -> Target {
    let declared = |c: &crate::compile::Compiled| {
        let all = c.declared_in(&path).iter();
        all.map(|r| r.item.id.clone()).collect::<Vec<_>>()
    };
    let changed: BTreeSet<&ResourceRef> = match &scene.case {
        Some(_) => scene
            .plan
            .systems
            .values()
            .flat_map(|s| s.changes.iter().map(|c| &c.id))
            .collect(),
        None => BTreeSet::new(),
    };
    let mut seen = BTreeSet::new();
    let mut resources: Vec<ResourceRef> = declared(&scene.compiled)
        .into_iter()
        .chain(declared(&scene.base))
        .filter(|id| seen.insert(id.clone()))
        .collect();
    resources.sort_by_key(|id| !changed.contains(id));
    Target {
        document: Some(path),
        changed: resources.iter().filter(|id| changed.contains(id)).count(),
        resources,
        line: None,
    }
}

/// The resource whose declaration this line is in: the last one that begins at it or before.
fn at_line(scene: &Scene, path: DocPath, line: u32) -> anyhow::Result<Target> {
    if files::judges(&path) {
        return Ok(Target {
            document: Some(path),
            resources: Vec::new(),
            changed: 0,
            line: Some(line),
        });
    }
    let sides = [
        (&scene.compiled, &scene.after),
        (&scene.base, &scene.before),
    ];
    for (compiled, snapshot) in sides {
        let places = compiled.places(snapshot, &path);
        let before = places.into_iter().filter(|(_, span)| span.line <= line);
        if let Some((id, _)) = before.max_by_key(|(_, span)| (span.line, span.column)) {
            return Ok(Target {
                document: Some(path),
                changed: 1,
                resources: vec![id],
                line: None,
            });
        }
    }
    anyhow::bail!("{path} declares nothing at line {line} or before; name the document alone");
}

/// The resources whose change is printed like this, in either language.
fn plan_line(scene: &Scene, what: &str) -> BTreeSet<ResourceRef> {
    let wanted = bare(what);
    let mut found = BTreeSet::new();
    for language in [Language::English, Language::Japanese] {
        let view = PlanView::new(&scene.plan, &scene.compiled.bundle.kinds, language);
        let says = |change: &&ChangeView| {
            let sentence = bare(&change.sentence);
            wanted == sentence || wanted == bare(&crate::view::text::change_line(change, language))
        };
        for change in view.changes.iter().filter(says) {
            found.extend(ResourceRef::new(&change.kind, &change.name));
        }
    }
    found
}

/// A line without its sign, styles and marks, so that it is known again from a terminal and from a comment.
fn bare(line: &str) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    let plain: String = plain.chars().filter(|c| !matches!(c, '`' | '*')).collect();
    let mut words: Vec<&str> = plain.split_whitespace().collect();
    while let Some("-" | "+" | "~" | "delete" | "create" | "update" | "削除" | "追加" | "変更") =
        words.first().copied()
    {
        words.remove(0);
    }
    words.join(" ")
}
