//! From what was asked about to what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use super::target::Target;
use super::{Scene, files};
use crate::cli::status::timezone;
use crate::compile::CONFIG;
use crate::config::places::Places;
use crate::config::{Config, Freeze};
use crate::ids::{DocPath, ResourceRef, SystemName};
use crate::plan::SystemPlan;
use crate::plan::safety::{self, GuardContext};
use crate::policy::trace::{self, Judged, Said, Subject};
use crate::resource::{Direction, Language, Resource};
use crate::state::State;
use crate::view::explain::{
    CeilingView, ChangeLine, DocumentView, Effect, ExplainView, FreezeView, PolicyView,
    ResourceView, RuleView, SystemView, UsedView, Whence,
};
use crate::view::{ChangeView, PlanView};

/// How many resources of a document are told of one by one, where they are changed and where not: each costs a few judgements, and a screenful.
const TOLD: [usize; 2] = [10, 3];

pub(super) fn view(scene: &Scene, target: &Target, language: Language) -> ExplainView {
    let config = &scene.base.bundle.config;
    let path: Option<DocPath> = CONFIG.parse().ok();
    let text = path.as_ref().and_then(|p| scene.before.text(p));
    let teller = Teller {
        scene,
        language,
        config,
        changes: match scene.case {
            Some(_) => PlanView::new(&scene.plan, &scene.compiled.bundle.kinds, language).changes,
            None => Vec::new(),
        },
        places: path
            .as_ref()
            .zip(text)
            .map(|(path, text)| (path, Places::new(path, text))),
    };
    let [changed, unchanged] = TOLD;
    let told = match (target.document.is_some(), target.changed) {
        (true, 1..) => target.changed.min(changed),
        (true, 0) => unchanged,
        (false, _) => changed,
    };
    ExplainView {
        language,
        timezone: timezone(&config.timezone),
        judged_by: scene.before.revision.clone(),
        proposed: scene.case.is_some(),
        document: target.document.as_ref().map(|p| teller.document(p, target)),
        resources: target
            .resources
            .iter()
            .take(told)
            .map(|id| teller.resource(id))
            .collect(),
        more: target.resources.len().saturating_sub(told),
    }
}

struct Teller<'a> {
    scene: &'a Scene,
    language: Language,
    /// What judges.
    config: &'a Config,
    places: Option<(&'a DocPath, Places<'a>)>,
    /// What the proposal changes; nothing where there is none.
    changes: Vec<ChangeView>,
}

impl Teller<'_> {
    fn document(&self, path: &DocPath, target: &Target) -> DocumentView {
        let read = self.scene.compiled.read_as(path);
        let rules = if target.resources.is_empty() {
            self.rules(files::said_of_change(self.scene, path))
        } else {
            Vec::new()
        };
        let settings = match &self.places {
            Some(places) if path == places.0 => files::settings(self.config, places, target.line),
            _ => Vec::new(),
        };
        DocumentView {
            policy: files::policy(self.scene, path),
            settings,
            path: path.clone(),
            mapped: read.as_ref().is_some_and(|r| r.mapped),
            pattern: read.as_ref().map(|r| r.pattern.clone()),
            kinds: read.map(|r| r.kinds).unwrap_or_default(),
            rules,
        }
    }

    fn resource(&self, id: &ResourceRef) -> ResourceView {
        let scene = self.scene;
        let sides = [
            (&scene.compiled, &scene.after),
            (&scene.base, &scene.before),
        ];
        let found = sides.iter().find_map(|(compiled, snapshot)| {
            Some((compiled.bundle.get(id)?.clone(), *compiled, *snapshot))
        });
        let changes = self.changes(id);
        let mut systems: BTreeSet<SystemName> =
            changes.iter().flat_map(|c| c.systems.clone()).collect();
        let resource = found.as_ref().map(|(resource, ..)| &**resource);
        systems.extend(resource.iter().flat_map(|r| r.systems.iter().cloned()));
        let files = &scene.before.policies;
        let rules = match &scene.case {
            Some(case) if !changes.is_empty() => {
                self.rules(trace::said_of(files, &case.input, Subject::Resource(id)))
            }
            _ => Vec::new(),
        };
        let kinds: Vec<&str> = scene.base.bundle.kinds.keys().map(|k| k.as_str()).collect();
        let policies = match &scene.case {
            Some(_) => Vec::new(),
            None => trace::policies_for(files, id.kind(), &kinds),
        };
        ResourceView {
            id: id.clone(),
            declared: found.as_ref().map(|(resource, compiled, snapshot)| Whence {
                path: resource.document.clone(),
                line: compiled
                    .places(snapshot, &resource.document)
                    .get(id)
                    .map(|s| s.line),
            }),
            pattern: found
                .as_ref()
                .and_then(|(r, compiled, _)| compiled.read_as(&r.document))
                .map(|read| read.pattern),
            owner: resource.and_then(owner),
            people: self.people_of(&systems),
            rules,
            policies: policies
                .into_iter()
                .map(|p| PolicyView {
                    path: p.policy,
                    title: p.title,
                    owner: p.owner,
                })
                .collect(),
            systems: systems.iter().filter_map(|s| self.system(s, id)).collect(),
            freezes: self.freezes(id, &changes),
            changes,
        }
    }

    /// What the proposal does to it.
    fn changes(&self, id: &ResourceRef) -> Vec<ChangeLine> {
        self.changes
            .iter()
            .filter(|c| c.kind == id.kind() && c.name == id.name())
            .map(|c| ChangeLine {
                op: c.op,
                sentence: c.sentence.clone(),
                direction: c.direction,
                systems: c.systems.clone(),
            })
            .collect()
    }

    fn people_of(&self, systems: &BTreeSet<SystemName>) -> Vec<String> {
        let people = self.config.people.iter();
        people
            .filter(|(_, person)| !person.systems.is_disjoint(systems))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn rules(&self, judged: Vec<Judged>) -> Vec<RuleView> {
        judged.into_iter().map(|j| self.rule(j)).collect()
    }

    fn rule(&self, Judged { said, rule }: Judged) -> RuleView {
        let own = |en: String, ja: Option<String>| match (self.language, ja) {
            (Language::Japanese, Some(ja)) => ja,
            (Language::Japanese | Language::English, _) => en,
        };
        let mut view = RuleView {
            effect: Effect::Denies,
            text: String::new(),
            code: None,
            count: None,
            from: Vec::new(),
            eligible: Vec::new(),
            have: Vec::new(),
            rule: rule.map(|r| Whence {
                path: r.policy,
                line: Some(r.line),
            }),
        };
        match said {
            Said::Denial(m) => (view.text, view.code) = (own(m.msg, m.msg_ja), m.code),
            Said::Warning(m) => {
                view.effect = Effect::Warns;
                (view.text, view.code) = (own(m.msg, m.msg_ja), m.code);
            }
            Said::Approval(need) => {
                view.effect = Effect::Asks;
                view.text = own(need.because, need.because_ja);
                view.count = Some(need.count);
                (view.from, view.eligible, view.have) =
                    (need.from, need.eligible, need.satisfied_by);
            }
            Said::Recusal(recusal) => {
                view.effect = Effect::Recuses;
                view.text = own(recusal.because, recusal.because_ja);
            }
        }
        view
    }

    fn line(&self, find: impl Fn(&Places<'_>) -> Option<u32>) -> Option<Whence> {
        let (path, places) = self.places.as_ref()?;
        let line = find(places)?;
        Some(Whence {
            path: (*path).clone(),
            line: Some(line),
        })
    }

    /// A system that the rules know.
    fn system(&self, system: &SystemName, id: &ResourceRef) -> Option<SystemView> {
        let definition = self.config.systems.get(system)?;
        let (under, limits) = self.config.safety.ceiling_under(system, id.kind());
        let holds = self.scene.case.iter().flat_map(|c| &c.holds);
        let held = holds
            .flat_map(|h| &h.breaches)
            .filter(|b| b.system == *system && b.kind == id.kind());
        Some(SystemView {
            system: system.clone(),
            group: self.config.group_of(system).cloned(),
            mode: definition.mode,
            defined: self.line(|p| p.line(&["systems", system.as_str(), "mode"])),
            ceiling: CeilingView {
                place: self.line(|p| p.line(&["safety", &under])),
                limits,
                used: self.used(system, id.kind()),
                under,
            },
            held: held.map(|b| b.message(self.language)).collect(),
        })
    }

    /// With the proposal, or of what is there where there is none.
    fn used(&self, system: &SystemName, kind: &str) -> Option<UsedView> {
        let nothing = State::default();
        let at_rest = || SystemPlan {
            base: (&nothing).into(),
            target: (&nothing).into(),
            changes: Vec::new(),
            existing: self
                .scene
                .base
                .bundle
                .project_at(system, self.scene.now)
                .counts(),
        };
        let share = match &self.scene.case {
            Some(_) => self.scene.plan.systems.get(system)?.clone(),
            None => at_rest(),
        };
        let observed = BTreeMap::new();
        let context = GuardContext {
            now: self.scene.now,
            past: self.scene.past.as_deref().unwrap_or_default(),
            observed: &observed,
            released: None,
            own: &safety::Own::default(),
            by_date: &BTreeSet::new(),
        };
        let used = safety::used(system, kind, &share, &self.config.safety, &context);
        Some(UsedView {
            rows: used.rows,
            deletes: used.deletes,
            delete_limit: used.delete_limit,
            updates: used.updates,
            update_limit: used.update_limit,
            past_known: self.scene.past.is_some(),
        })
    }

    /// Those that are on; without any, the next.
    fn freezes(&self, id: &ResourceRef, changes: &[ChangeLine]) -> Vec<FreezeView> {
        let now = self.scene.now;
        let all = || self.config.freezes.iter();
        let mut told: Vec<&Freeze> = all().filter(|f| f.is_on(now)).collect();
        if told.is_empty() {
            told.extend(all().filter(|f| f.from > now).min_by_key(|f| f.from));
        }
        let stopped = |freeze: &Freeze, change: &ChangeLine| {
            change.direction == Direction::Widening
                && !freeze
                    .except
                    .iter()
                    .any(|e| e == "widening" || e == id.kind())
        };
        told.into_iter()
            .map(|freeze| FreezeView {
                name: freeze.name.clone(),
                from: freeze.from,
                until: freeze.until,
                on: freeze.is_on(now),
                except: freeze.except.clone(),
                stops: (!changes.is_empty()).then(|| changes.iter().any(|c| stopped(freeze, c))),
                place: self.line(|p| p.freeze(&freeze.name)),
            })
            .collect()
    }
}

/// Whom the resource itself names.
fn owner(resource: &Resource) -> Option<String> {
    let spec = resource.item.spec.value();
    spec.get("owner")
        .and_then(|o| o.as_str())
        .map(str::to_owned)
}
