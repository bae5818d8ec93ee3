//! Whose turn it is: every group passes in its own time, side by side with the others.
//!
//! A group that waits for a system that is dying, for as long as its time limits say, keeps no other group from anything: it is passed over until
//! it is done, and then looked at again if there was news meanwhile. A system is in the hands of one group at a time, also where a merge has just
//! moved it to another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{FutureExt as _, LocalBoxFuture, join};
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::adopt::Adrift;
use super::execute::backoff;
use super::group::{Memory, Pass};
use super::observe::Link;
use super::share::Keeper;
use super::source::{Head, Source};
use super::{Engine, EngineError, GroupReport, publish};
use crate::config::{Config, Group, System};
use crate::ids::{Digest, GroupName, Revision, SystemName};
use crate::protocol::LONGEST_BACKOFF;
use crate::record::{Next, Trigger};

/// Longer than any interval between passes.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// By how much a timer may be early.
const A_MOMENT: Duration = Duration::from_millis(2);

/// How long what this process wrote on commits is believed to stand there.
const COMPARED: Duration = Duration::from_secs(10 * 60);

/// How long after a system said that it was changed it is listened to again: one that says so all the time is not looked at all the time.
const DEAF: Duration = Duration::from_secs(1);

/// When a group is looked at again whose system another one still works on.
const IN_HANDS: Duration = Duration::from_secs(1);

/// An engine at work: which group is passing, when the others are due, and what is remembered between passes.
pub struct Rounds {
    engine: Arc<Engine>,
    head: Option<Head>,
    links: BTreeMap<SystemName, (System, Result<Arc<Link>, String>)>,
    turns: BTreeMap<GroupName, Turn>,
    at_work: FuturesUnordered<LocalBoxFuture<'static, Ended>>,
    /// Systems that are listened to: each ends when its system says that somebody has changed it.
    told: FuturesUnordered<LocalBoxFuture<'static, (SystemName, Arc<Link>)>>,
    /// Passes that have ended and of which nothing was said yet.
    heard: Vec<Ended>,
    /// The statuses written by this process, so that only what changed is compared with the forge again.
    published: BTreeMap<Revision, publish::Shown>,
    /// Whether the last writing of statuses came to its end; else when it is tried again, and how often it did not.
    publish_again: bool,
    publish_due: Option<Instant>,
    publish_failures: u8,
    /// When what is shown was compared last with what this process wrote.
    compared: Instant,
    /// Failed revisions whose reverting proposal is there.
    reverts: BTreeSet<Revision>,
    /// The drift of each system that was dealt with.
    adoptions: BTreeMap<SystemName, Option<Digest>>,
}

type Ended = (GroupName, Result<GroupReport, EngineError>);

/// Where one group is in its rounds.
struct Turn {
    memory: Arc<Mutex<Memory>>,
    /// The systems in its hands, while it is passing.
    at_work: Option<BTreeSet<SystemName>>,
    /// Passes in a row that did not end in order.
    failures: u8,
    due: Instant,
    /// When something on its systems begins or ends by its date. By the wall clock, which may jump.
    date: Option<Timestamp>,
    /// Called for before the retry was due.
    is_early: bool,
    /// There was news while it was passing.
    is_missed: bool,
}

impl Turn {
    fn new() -> Self {
        Self {
            memory: Arc::default(),
            at_work: None,
            failures: 0,
            due: Instant::now(),
            date: None,
            is_early: false,
            is_missed: false,
        }
    }

    /// The pass is over: when the next one is due.
    fn ends(&mut self, next: Option<Next>, interval: Duration) {
        self.at_work = None;
        let pause = if next == Some(Next::Done) {
            self.failures = 0;
            interval
        } else {
            self.failures = if self.is_early {
                // Says nothing about how long a system has been away: ten pushes must not make its return go unseen for minutes.
                self.failures.max(1)
            } else {
                self.failures.saturating_add(1).min(LONGEST_BACKOFF)
            };
            backoff(self.failures).min(interval)
        };
        let pause = if std::mem::take(&mut self.is_missed) {
            Duration::ZERO
        } else {
            pause
        };
        self.due = Instant::now() + pause;
    }
}

/// Whose turn it is to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// All groups', with why.
    All(Trigger),
    /// Those that want to be looked at again by now.
    Due,
}

impl Rounds {
    pub fn new(engine: Engine) -> Self {
        Self {
            engine: Arc::new(engine),
            head: None,
            links: BTreeMap::new(),
            turns: BTreeMap::new(),
            at_work: FuturesUnordered::new(),
            told: FuturesUnordered::new(),
            heard: Vec::new(),
            published: BTreeMap::new(),
            publish_again: true,
            publish_due: None,
            publish_failures: 0,
            compared: Instant::now(),
            reverts: BTreeSet::new(),
            adoptions: BTreeMap::new(),
        }
    }

    /// One pass over all groups: each ends in step, or the reports say why not.
    pub async fn pass(&mut self, trigger: Trigger) -> Result<Vec<GroupReport>, EngineError> {
        self.begin(Whose::All(trigger), Duration::MAX).await?;
        self.conclude(A_DAY).await
    }

    /// Follows the main branch, begins the passes of those whose turn it is, and waits so long for them. Where main has moved, that is said
    /// meanwhile on its commit.
    pub(super) async fn begin(
        &mut self,
        whose: Whose,
        patience: Duration,
    ) -> Result<(), EngineError> {
        let moved = self.refresh().await?;
        let Some(head) = self.head.clone() else {
            return Ok(());
        };
        let groups = head.config.effective_groups();
        let whose = match whose {
            // Whoever is due is not the only one for whom a merge is news.
            Whose::Due if moved => Whose::All(Trigger::Merge),
            Whose::Due | Whose::All(_) => whose,
        };
        if moved {
            self.connect_systems(&head.config);
            self.publish_again = true;
        }
        self.turns
            .retain(|name, turn| turn.at_work.is_some() || groups.contains_key(name));
        for (name, group) in &groups {
            self.start(name, group, &head, whose);
        }
        let heard = hear(&mut self.at_work, &mut self.heard, patience);
        if !moved || !self.engine.is_scribe().await? {
            heard.await;
            return Ok(());
        }
        let announced = self.engine.publish(&groups, &head, &self.published);
        let ((), announced) = join(heard, announced).await;
        self.note(announced?);
        // What came of the passes is not announced yet.
        self.publish_again = true;
        Ok(())
    }

    /// Keeps in mind what is shown now, and when to try again what could not be.
    fn note(&mut self, (shown, fault): (BTreeMap<Revision, publish::Shown>, Option<EngineError>)) {
        self.published = shown;
        self.publish_again = fault.is_some();
        match fault {
            None => {
                self.publish_failures = 0;
                self.publish_due = None;
            }
            Some(error) => {
                self.publish_failures =
                    self.publish_failures.saturating_add(1).min(LONGEST_BACKOFF);
                self.publish_due = Some(Instant::now() + backoff(self.publish_failures));
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "not all statuses could be written; tried again"
                );
            }
        }
    }

    /// Writes statuses, while the passes go on.
    async fn publish(
        &mut self,
        groups: &BTreeMap<GroupName, Group>,
        head: &Head,
    ) -> Result<(), EngineError> {
        // Somebody else may have written over what was written here.
        if self.compared.elapsed() >= COMPARED {
            self.published.clear();
            self.compared = Instant::now();
        }
        let (engine, published) = (self.engine.clone(), std::mem::take(&mut self.published));
        let writing = engine.publish(groups, head, &published);
        let written = alongside(&mut self.at_work, &mut self.heard, writing).await;
        self.note(written?);
        Ok(())
    }

    /// Begins a group's pass, if it is its turn and nobody has its systems.
    fn start(&mut self, name: &GroupName, group: &Group, head: &Head, whose: Whose) {
        let now = Instant::now();
        let in_hands = self.turns.iter().any(|(of, turn)| {
            let systems = turn.at_work.as_ref().filter(|_| of != name);
            systems.is_some_and(|systems| !systems.is_disjoint(&group.systems))
        });
        let links = self.links_of(group);
        let turn = self.turns.entry(name.clone()).or_insert_with(Turn::new);
        let has_come = turn
            .date
            .is_some_and(|date| date <= self.engine.clock.now());
        let trigger = match whose {
            Whose::All(trigger) => trigger,
            Whose::Due if has_come => Trigger::Date,
            Whose::Due if now < turn.due => return,
            Whose::Due if turn.failures > 0 => Trigger::Retry,
            Whose::Due => Trigger::Drift,
        };
        if turn.at_work.is_some() {
            turn.is_missed |= whose != Whose::Due;
            return;
        }
        if in_hands {
            turn.due = now + IN_HANDS;
            if has_come {
                // Its date stays in the past, and would have it looked at again at once for as long as the other works.
                let pause = SignedDuration::try_from(IN_HANDS).unwrap_or_default();
                turn.date = self.engine.clock.now().checked_add(pause).ok();
            }
            return;
        }
        turn.is_early = now < turn.due;
        turn.at_work = Some(group.systems.clone());
        let (engine, memory) = (self.engine.clone(), turn.memory.clone());
        let (name, group, head) = (name.clone(), group.clone(), head.clone());
        let passing = async move {
            let mut memory = memory.lock().await;
            let pass = Pass {
                name: &name,
                group: &group,
                links: &links,
                head: &head,
                trigger,
            };
            let result = engine.pass_group(&pass, &mut memory).await;
            if result.is_err() {
                // What holds is in the store.
                *memory = Memory::default();
            }
            drop(memory);
            (name, result)
        };
        self.at_work.push(passing.boxed_local());
    }

    /// Takes in the passes that have ended, writes what follows from them, and gives back what came of them. The first error of a group is
    /// given back after that: the others' passes are done and stay done.
    pub(super) async fn conclude(
        &mut self,
        interval: Duration,
    ) -> Result<Vec<GroupReport>, EngineError> {
        let heard = std::mem::take(&mut self.heard);
        for (name, result) in &heard {
            let next = result.as_ref().ok().map(GroupReport::next);
            if let Some(turn) = self.turns.get_mut(name) {
                turn.date = result.as_ref().ok().and_then(|report| report.next_date);
                turn.ends(next, interval);
            }
        }
        let Some(head) = self.head.clone() else {
            return Ok(Vec::new());
        };
        let groups = head.config.effective_groups();
        let results = heard.into_iter().map(|(_, result)| result);
        let (reports, errors): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        let mut reports: Vec<GroupReport> = reports.into_iter().filter_map(Result::ok).collect();
        reports.sort_by(|a, b| a.group.cmp(&b.group));
        let is_due = self.publish_due.is_none_or(|due| due <= Instant::now());
        let is_news = reports.iter().any(|r| r.outcome.is_some());
        let is_old = self.compared.elapsed() >= COMPARED;
        if is_news || is_old || self.publish_again && is_due {
            if !self.engine.is_scribe().await? {
                // Another replica does. If it goes, this one may have to.
                self.publish_again = true;
                self.publish_due = Some(Instant::now() + self.engine.timing.lease);
                self.published.clear();
                return reported(reports, errors, head, &groups);
            }
            self.publish(&groups, &head).await?;
        }
        let (engine, adrift) = (self.engine.clone(), self.adrift());
        let (reverts, adoptions) = (&mut self.reverts, &mut self.adoptions);
        let proposing = async {
            // Once, not by each replica.
            if !engine.store.is_shared() || engine.is_scribe().await? {
                engine.propose_reverts(&groups, &head, reverts).await?;
            }
            engine.propose_adoptions(&head, adrift, adoptions).await;
            Ok::<_, EngineError>(())
        };
        alongside(&mut self.at_work, &mut self.heard, proposing).await?;
        reported(reports, errors, head, &groups)
    }

    /// What the groups that are not passing were left with.
    fn adrift(&self) -> BTreeMap<SystemName, (GroupName, Adrift)> {
        let mut all = BTreeMap::new();
        for (group, turn) in &self.turns {
            let Ok(memory) = turn.memory.try_lock() else {
                continue;
            };
            let of_group = memory.adrift.iter();
            all.extend(of_group.map(|(s, adrift)| (s.clone(), (group.clone(), adrift.clone()))));
        }
        all
    }

    /// Waits until one more group's pass has ended, or a system has said that it was changed; for ever where nothing can stir.
    pub(super) async fn one_stirs(&mut self) -> Stir {
        tokio::select! {
            Some(ended) = self.at_work.next(), if !self.at_work.is_empty() => {
                self.heard.push(ended);
                Stir::Ended
            }
            Some((system, link)) = self.told.next(), if !self.told.is_empty() => {
                self.look_soon(&system);
                self.told.push(listen(system, link, DEAF).boxed_local());
                Stir::Told
            }
            else => std::future::pending().await,
        }
    }

    /// Has the group of a system looked at as soon as it can be. One that waits because of a failure goes on waiting.
    fn look_soon(&mut self, system: &SystemName) {
        let Some(head) = &self.head else {
            return;
        };
        for (name, group) in head.config.effective_groups() {
            let turn = self.turns.get_mut(&name);
            if let Some(turn) = turn.filter(|_| group.systems.contains(system)) {
                turn.is_missed |= turn.at_work.is_some();
                if turn.failures == 0 {
                    turn.due = turn.due.min(Instant::now());
                }
            }
        }
    }

    /// Waits until all passes have ended.
    pub(super) async fn all_end(&mut self) {
        hear(&mut self.at_work, &mut self.heard, Duration::MAX).await;
    }

    /// Whether nothing is under way, and everything that ended was concluded.
    pub(super) fn is_idle(&self) -> bool {
        self.at_work.is_empty() && self.heard.is_empty()
    }

    /// When the next group is due that is not passing.
    pub(super) fn due(&self) -> Option<Instant> {
        let idle = || self.turns.values().filter(|turn| turn.at_work.is_none());
        let dates = idle().filter_map(|turn| turn.date);
        let date = dates.min().map(|date| self.instant_of(date));
        let due = idle().map(|turn| turn.due);
        due.chain(date).chain(self.publish_due).min()
    }

    /// When the wall clock will show a time, if it is not set meanwhile.
    fn instant_of(&self, time: Timestamp) -> Instant {
        let wait = time.duration_since(self.engine.clock.now());
        // A little later rather than a little earlier, which would be in vain.
        let wait = Duration::try_from(wait).unwrap_or_default() + A_MOMENT;
        Instant::now() + wait.min(A_DAY)
    }

    /// Says that this replica lives, for as long as it is kept.
    pub(super) fn keeper(&self) -> Keeper {
        Keeper::new(self.engine.clone())
    }

    /// There may be something new to show.
    pub(super) fn publish_soon(&mut self) {
        self.publish_again = true;
        self.publish_due = None;
    }

    /// Leaves what is under way as it is, and gives back what other processes may be waiting for.
    pub async fn rest(self) -> Result<(), EngineError> {
        drop(self.at_work);
        match Arc::into_inner(self.engine) {
            Some(engine) => engine.rest().await,
            None => Ok(()),
        }
    }

    /// Follows the main branch. Returns whether it moved.
    async fn refresh(&mut self) -> Result<bool, EngineError> {
        let head = self.engine.with_source(Source::refresh).await?;
        let moved = self.head.as_ref().map(|h| &h.revision) != Some(&head.revision);
        if moved {
            self.head = Some(head);
        }
        Ok(moved)
    }

    /// Whether the main branch is elsewhere than at the last pass. What can't be read is no news; the next pass will say why.
    pub(super) async fn has_news(&self) -> bool {
        let Some(known) = self.head.as_ref().map(|h| &h.revision) else {
            return true;
        };
        // The repository's own word: a forge that hangs must not be waited for here.
        let newest = self.engine.with_source(|source| source.newest()).await;
        newest.is_ok_and(|newest| newest.as_ref() != Some(known))
    }

    /// Connects to what `lockstep.yaml` names. A system whose definition is as before keeps its connection and what is known of it.
    fn connect_systems(&mut self, config: &Config) {
        let mut earlier = std::mem::take(&mut self.links);
        for (name, system) in &config.systems {
            let link = match earlier.remove(name) {
                Some((definition, link)) if definition == *system && link.is_ok() => link,
                _ => self.engine.link(name, system),
            };
            self.links.insert(name.clone(), (system.clone(), link));
        }
        let links = self.links.iter();
        self.told = links
            .filter_map(|(name, (_, link))| {
                let link = link.as_ref().ok()?.clone();
                Some(listen(name.clone(), link, Duration::ZERO).boxed_local())
            })
            .collect();
    }

    fn links_of(&self, group: &Group) -> BTreeMap<SystemName, Result<Arc<Link>, String>> {
        let known = group
            .systems
            .iter()
            .filter_map(|s| Some((s.clone(), self.links.get(s)?.1.clone())));
        known.collect()
    }
}

/// What has happened among groups and systems.
pub(super) enum Stir {
    /// A pass has ended.
    Ended,
    /// A system said that it was changed: its group is due.
    Told,
}

async fn listen(system: SystemName, link: Arc<Link>, deaf: Duration) -> (SystemName, Arc<Link>) {
    tokio::time::sleep(deaf).await;
    link.connector().changed().await;
    (system, link)
}

/// What came of passes, or the first error that ended one.
fn reported(
    reports: Vec<GroupReport>,
    errors: Vec<Result<GroupReport, EngineError>>,
    head: Head,
    groups: &BTreeMap<GroupName, Group>,
) -> Result<Vec<GroupReport>, EngineError> {
    if let Some(error) = errors.into_iter().find_map(Result::err) {
        return Err(error);
    }
    match head.broken {
        Some(why) if groups.is_empty() => Err(EngineError::Unsound(why)),
        _ => Ok(reports),
    }
}

/// Does something else while passes go on.
async fn alongside<T>(
    at_work: &mut FuturesUnordered<LocalBoxFuture<'static, Ended>>,
    heard: &mut Vec<Ended>,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(ended) = at_work.next(), if !at_work.is_empty() => heard.push(ended),
        }
    }
}

/// Waits so long for passes to end.
async fn hear(
    at_work: &mut FuturesUnordered<LocalBoxFuture<'static, Ended>>,
    heard: &mut Vec<Ended>,
    patience: Duration,
) {
    let all = async {
        while let Some(ended) = at_work.next().await {
            heard.push(ended);
        }
    };
    // Those that have not ended by then are heard later.
    let _ = tokio::time::timeout(patience, all).await;
}
