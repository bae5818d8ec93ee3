//! What judges a line: first the line, then rules, systems with their ceilings, and freezes, each with its place.

use jiff::Timestamp;

use super::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use crate::plan::Op;
use crate::view::explain::{
    CeilingView, ChangeLine, DocumentView, Effect, ExplainView, FreezeView, PolicyFileView,
    ResourceView, RuleView, SettingView, SystemView, Whence,
};
use crate::view::printable::printable;
use crate::view::words::{Words, words};

/// All of it, for a terminal.
pub fn explain(view: &ExplainView) -> String {
    let words = words(view.language);
    let mut out = match &view.judged_by {
        Some(revision) => (words.explain.judged_by)(revision.short()),
        None => words.explain.judged_by_work_tree.to_owned(),
    };
    out.push('\n');
    if let Some(document) = &view.document {
        read_as(&mut out, document, view, words);
    }
    for resource in &view.resources {
        out.push('\n');
        one(&mut out, resource, view, words);
    }
    if view.more > 0 {
        out.push_str(&format!("\n{}\n", (words.more_items)(view.more)));
    }
    out
}

fn place(whence: &Whence) -> String {
    let path = printable(whence.path.as_str());
    let text = match whence.line {
        Some(line) => format!("{path}:{line}"),
        None => path.into_owned(),
    };
    styled(DIM, &text)
}

fn placed(out: &mut String, whence: Option<&Whence>) {
    if let Some(whence) = whence {
        out.push_str("  ");
        out.push_str(&place(whence));
    }
    out.push('\n');
}

fn heading(out: &mut String, text: &str) {
    out.push_str(&format!("  {}\n", styled(BOLD, text)));
}

fn read_as(out: &mut String, document: &DocumentView, view: &ExplainView, words: &Words) {
    let DocumentView {
        path,
        kinds,
        pattern,
        mapped,
        rules: said,
        policy,
        settings,
    } = document;
    let kinds: Vec<&str> = kinds.iter().map(|k| k.as_str()).collect();
    out.push_str(&styled(BOLD, &printable(path.as_str())));
    out.push_str(words.colon);
    match pattern {
        Some(pattern) if *mapped => {
            out.push_str(&(words.explain.read_mapped)(&kinds.join(", "), pattern));
        }
        Some(pattern) => out.push_str(&(words.explain.read_default)(&kinds.join(", "), pattern)),
        None if policy.is_some() => out.push_str(words.explain.policy),
        None if path.as_str() == "lockstep.yaml" => out.push_str(words.explain.settings),
        None => out.push_str(words.explain.read_by_none),
    }
    out.push('\n');
    if let Some(policy) = policy {
        policy_file(out, policy, words);
    }
    for setting in settings {
        entry(out, setting, words);
    }
    if view.proposed || said.is_empty() {
        rules(out, said, words.explain.rules, words);
    } else {
        rules(out, said, words.explain.change_asks, words);
    }
}

fn policy_file(out: &mut String, policy: &PolicyFileView, words: &Words) {
    let PolicyFileView {
        package,
        title,
        owner,
        judges,
        changed,
        rules,
        tests,
    } = policy;
    let facts = [
        (words.explain.title, title),
        (words.explain.owner, owner),
        (words.explain.package, package),
    ];
    for (name, text) in facts {
        if let Some(text) = text {
            out.push_str(&format!("  {name}{}{}\n", words.colon, printable(text)));
        }
    }
    if *changed {
        out.push_str(&format!("  {}\n", words.explain.judges_after_merge));
    }
    if !judges {
        out.push_str(&format!("  {}\n", words.explain.judges_nothing));
    }
    for (name, list) in [
        (words.explain.its_rules, rules),
        (words.explain.tests, tests),
    ] {
        heading(out, &format!("{name}{}{}", words.colon, list.len()));
        for (rule, whence) in list {
            out.push_str(&format!("    {}", printable(rule)));
            placed(out, Some(whence));
        }
    }
}

fn entry(out: &mut String, setting: &SettingView, words: &Words) {
    let SettingView { entry, place, says } = setting;
    out.push_str(&format!("  {}", styled(BOLD, &printable(entry))));
    match place {
        Some(_) => placed(out, place.as_ref()),
        None => out.push_str(&format!("  {}\n", styled(DIM, words.explain.not_written))),
    }
    let says: Vec<String> = says
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {}", printable(value)))
        .collect();
    out.push_str(&format!("    {}\n", says.join(" · ")));
}

fn one(out: &mut String, resource: &ResourceView, view: &ExplainView, words: &Words) {
    out.push_str(&styled(BOLD, &printable(resource.id.as_str())));
    placed(out, resource.declared.as_ref());
    for change in &resource.changes {
        out.push_str(&line(change, words));
        out.push('\n');
    }
    let fact = |out: &mut String, name: &str, text: &str| {
        out.push_str(&format!("  {name}{}{}\n", words.colon, printable(text)));
    };
    if let Some(pattern) = &resource.pattern {
        fact(
            out,
            words.explain.form,
            &format!("{} · {pattern}", resource.id.kind()),
        );
    }
    if let Some(owner) = &resource.owner {
        fact(out, words.explain.owner, owner);
    }
    if !resource.people.is_empty() {
        fact(out, words.explain.people, &resource.people.join(", "));
    }
    if view.proposed {
        if resource.changes.is_empty() {
            out.push_str(&format!("  {}\n", words.explain.unchanged));
        } else if resource.rules.is_empty() {
            out.push_str(&format!("  {}\n", words.explain.no_rules));
        }
        rules(out, &resource.rules, words.explain.rules, words);
    } else if !resource.policies.is_empty() {
        heading(out, words.explain.policies);
        for policy in &resource.policies {
            let title = policy.title.as_deref().unwrap_or_default();
            let path = styled(DIM, &printable(policy.path.as_str()));
            out.push_str(&format!("    {}  {path}\n", printable(title)));
        }
    }
    heading(out, words.explain.systems);
    for system in &resource.systems {
        on_system(out, system, words);
    }
    heading(out, words.explain.freezes);
    if resource.freezes.is_empty() {
        out.push_str(&format!("    {}\n", words.explain.no_freeze));
    }
    for one in &resource.freezes {
        freeze(out, one, view, words);
    }
}

/// As the plan writes it.
fn line(change: &ChangeLine, words: &Words) -> String {
    let (style, sign) = match change.op {
        Op::Delete => (RED, "-"),
        Op::Create => (GREEN, "+"),
        Op::Update => (YELLOW, "~"),
    };
    let systems: Vec<&str> = change.systems.iter().map(|s| s.as_str()).collect();
    let text = (words.on_systems)(
        &printable(&change.sentence),
        &systems.join(", "),
        words.direction(change.direction),
    );
    format!("{} {text}", styled(style, sign))
}

fn rules(out: &mut String, rules: &[RuleView], title: &str, words: &Words) {
    if rules.is_empty() {
        return;
    }
    heading(out, title);
    for rule in rules {
        let (style, sign) = match rule.effect {
            Effect::Denies => (RED, "✗"),
            Effect::Warns => (YELLOW, "!"),
            Effect::Asks => (CYAN, "…"),
            Effect::Recuses => (DIM, "-"),
        };
        let text = match rule.count {
            None => printable(&rule.text).into_owned(),
            Some(count) => format!(
                "{}{}{}",
                (words.approvals)(rule.have.len(), count, &rule.from.join(", ")),
                words.colon,
                printable(&rule.text)
            ),
        };
        out.push_str(&format!("    {} {text}", styled(style, sign)));
        placed(out, rule.rule.as_ref());
        if rule.effect == Effect::Asks && !rule.eligible.is_empty() {
            let who = (words.explain.eligible)(&printable(&rule.eligible.join(", ")));
            out.push_str(&format!("      {who}\n"));
        }
    }
}

fn on_system(out: &mut String, view: &SystemView, words: &Words) {
    let SystemView {
        system,
        group,
        mode,
        defined,
        ceiling,
        held,
    } = view;
    out.push_str(&format!(
        "    {} · {}",
        styled(BOLD, system.as_str()),
        words.mode(*mode)
    ));
    if let Some(group) = group {
        out.push_str(&format!(" · {}", (words.explain.group)(group.as_str())));
    }
    placed(out, defined.as_ref());
    limits(out, ceiling, words);
    for why in held {
        let text = format!("{}{}{}", words.held, words.colon, printable(why));
        out.push_str(&format!("      {}\n", styled(YELLOW, &text)));
    }
}

fn limits(out: &mut String, ceiling: &CeilingView, words: &Words) {
    let CeilingView {
        under,
        place,
        limits,
        used,
    } = ceiling;
    out.push_str(&format!("      {}", (words.explain.ceiling)(under, limits)));
    placed(out, place.as_ref());
    if let Some(used) = used {
        out.push_str(&format!("      {}\n", (words.explain.used)(used)));
        if !used.past_known {
            let text = styled(DIM, words.explain.past_unknown);
            out.push_str(&format!("      {text}\n"));
        }
    }
}

fn freeze(out: &mut String, freeze: &FreezeView, view: &ExplainView, words: &Words) {
    let time = |at: Timestamp| {
        let local = at.to_zoned(view.timezone.clone());
        local.strftime("%Y-%m-%d %H:%M %Z").to_string()
    };
    let when = if freeze.on {
        words.explain.on_now
    } else {
        words.explain.next
    };
    out.push_str(&format!(
        "    {} · {when} · {} – {}",
        styled(BOLD, &printable(&freeze.name)),
        time(freeze.from),
        time(freeze.until)
    ));
    placed(out, freeze.place.as_ref());
    let stops = match freeze.stops {
        Some(true) => words.explain.stops,
        Some(false) => words.explain.lets_pass,
        None => words.explain.stops_widening,
    };
    out.push_str(&format!("      {stops}"));
    if !freeze.except.is_empty() {
        let except = printable(&freeze.except.join(", ")).into_owned();
        out.push_str(&format!(" · {}", (words.explain.except)(&except)));
    }
    out.push('\n');
}
