//! Doing what people say in comments on proposals.
//!
//! Who may say something comes from `people:` at the base commit. Each comment is answered once, whatever is delivered twice; what came of
//! it is kept in the store and shown in the one comment.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::watch;

use super::release::{Releaser, release};
use crate::clock::Clock;
use crate::config::{Config, Person};
use crate::engine::{EngineError, read_head};
use crate::forge::{Forge, ForgeError, ProposalState, Remark};
use crate::gate::{Command, CommandOutcome, Gate, GateError, Said, parse_command, person_of};
use crate::repo::Repo;
use crate::resource::Language;
use crate::store::{Duty, NewEntry, SaidRow, Store, StoreError, Topic};

/// What was said longer ago is not done any more: who said it does not expect it to happen now.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// What the first look for remarks is called in the store: what was said before it was said to nobody.
const BEGAN: &str = "remarks";

/// Why a remark could not be dealt with. It is tried again.
#[derive(Debug, thiserror::Error)]
enum RemarkError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading the config repo was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What it takes to do as people say.
pub struct Listener<'a> {
    pub gate: &'a Gate,
    pub forge: &'a dyn Forge,
    pub store: &'a Store,
    pub repo: Arc<Repo>,
    pub branch: &'a str,
    pub clock: &'a dyn Clock,
    /// One process answers.
    pub duty: &'a Duty,
    /// Wakes the engine for another try.
    pub again: watch::Sender<u64>,
}

impl Listener<'_> {
    /// Listens until `stop` becomes true: at once when something was said, as far as that is noticed, and on every poll.
    pub async fn listen(
        &self,
        poll: Duration,
        mut spoken: watch::Receiver<u64>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut noticed = true;
        let mut began = None;
        while !*stop.borrow() {
            spoken.mark_unchanged();
            if let Err(error) = self.obey_all(&mut began).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "commands in comments could not be read; tried again on the next poll"
                );
            }
            tokio::select! {
                _ = stop.changed() => {}
                changed = spoken.changed(), if noticed => noticed = changed.is_ok(),
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    async fn obey_all(&self, began: &mut Option<Timestamp>) -> Result<(), RemarkError> {
        let now = self.clock.now();
        if !self.duty.is_ours(now).await? {
            return Ok(());
        }
        let began = match *began {
            Some(began) => began,
            None => *began.insert(self.store.first(BEGAN, now).await?),
        };
        let since = began.max(whole_hour(now.saturating_sub(OLDEST).unwrap_or(began)));
        for remark in self.forge.remarks(since).await? {
            if remark.at < since || self.store.has_said(&remark.id).await? {
                continue;
            }
            let Some(command) = parse_command(&remark.text) else {
                continue;
            };
            // One that can't be dealt with keeps no other waiting.
            if let Err(error) = self.obey(&remark, command).await {
                tracing::warn!(
                    comment = remark.id,
                    error = &error as &dyn std::error::Error,
                    "a command in a comment could not be carried out; tried again on the next poll"
                );
            }
        }
        Ok(())
    }

    async fn obey(&self, remark: &Remark, command: Command) -> Result<(), RemarkError> {
        let config = self.base().await?;
        let known = person_of(&config, &remark.author, self.forge.logins());
        let outcome = match known {
            // Kept, so that it is looked at once, and not answered: anybody can comment.
            None => refused("", ""),
            Some(_) if remark.edited => refused(
                "a comment that was edited is not followed, since others may have edited it; write a new one",
                "編集されたコメントには従いません（ほかの人も編集できるため）。新しく書いてください",
            ),
            Some((key, person)) => {
                match self
                    .carry_out(remark, &command, &config, (key, person))
                    .await
                {
                    // Said on what is no proposal for main.
                    Err(RemarkError::Forge(ForgeError::Refused(_))) => refused("", ""),
                    carried_out => carried_out?,
                }
            }
        };
        let is_answered = outcome.done || !outcome.en.is_empty();
        tracing::info!(
            proposal = remark.number,
            by = remark.author,
            done = outcome.done,
            "a command in a comment"
        );
        let said = Said {
            author: remark.author.clone(),
            command,
            outcome,
        };
        self.store
            .keep_said(&SaidRow {
                id: remark.id.clone(),
                proposal: remark.number,
                author: remark.author.clone(),
                at: remark.at,
                body: json!(said),
            })
            .await?;
        // Where this fails the comment is put right on the next poll: what was said is part of what it shows.
        if is_answered && let Err(error) = self.answer(remark, &said).await {
            tracing::warn!(
                proposal = remark.number,
                error = &error as &dyn std::error::Error,
                "a command was carried out and not answered yet"
            );
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        remark: &Remark,
        command: &Command,
        config: &Config,
        (key, person): (&str, &Person),
    ) -> Result<CommandOutcome, RemarkError> {
        Ok(match command {
            Command::Help => done("", ""),
            Command::Unknown => {
                refused("there is no such command", "そのようなコマンドはありません")
            }
            Command::Plan => done("judged again", "判定し直しました"),
            Command::Hold => {
                if !self.is_open(remark.number).await? {
                    return Ok(refused(
                        "it is not open any more, so there is no merge to keep back",
                        "もう開いていないので、止めるマージがありません",
                    ));
                }
                self.record(key, "proposal.held", remark.number).await?;
                done("held: it can't be merged", "止めました。マージできません")
            }
            Command::Retry => {
                self.record(key, "proposal.retried", remark.number).await?;
                self.again.send_modify(|n| *n += 1);
                self.store.tell(Topic::Again).await?;
                done("tried again", "再試行します")
            }
            Command::Accept { digest } => {
                let because = format!("said on proposal #{}", remark.number);
                let by = Releaser {
                    person: key,
                    roles: &person.roles,
                    because: &because,
                };
                match release(self.store, config, digest, by, self.clock.now()).await {
                    Ok(plan) => {
                        self.again.send_modify(|n| *n += 1);
                        let plan = plan.to_string();
                        done(
                            &format!("released {plan}; applied if it is still that plan"),
                            &format!("{plan} を解放しました。計画が変わっていなければ反映します"),
                        )
                    }
                    Err(super::release::ReleaseError::Store(error)) => return Err(error.into()),
                    Err(error) => refused(
                        &error.say(Language::English),
                        &error.say(Language::Japanese),
                    ),
                }
            }
        })
    }

    /// In the one comment of an open proposal; a few words of its own where that is history.
    async fn answer(&self, remark: &Remark, said: &Said) -> Result<(), RemarkError> {
        if self.is_open(remark.number).await? {
            self.gate.judge_and_publish(remark.number).await?;
            return Ok(());
        }
        let outcome = match self.gate.language() {
            Language::English => &said.outcome.en,
            Language::Japanese => &said.outcome.ja,
        };
        if !outcome.is_empty() {
            let text = format!("@{} {outcome}", remark.author);
            self.forge.reply(remark.number, &text).await?;
        }
        Ok(())
    }

    async fn is_open(&self, number: u64) -> Result<bool, RemarkError> {
        Ok(self.forge.proposal(number).await?.state == ProposalState::Open)
    }

    async fn record(&self, person: &str, action: &str, number: u64) -> Result<(), RemarkError> {
        let Ok(actor) = person.parse() else {
            return Ok(());
        };
        self.store
            .append(&[NewEntry {
                at: self.clock.now(),
                actor,
                action: action.to_owned(),
                group: None,
                system: None,
                run: None,
                revision: None,
                body: json!({"proposal": number}),
            }])
            .await?;
        Ok(())
    }

    async fn base(&self) -> Result<Arc<Config>, RemarkError> {
        let (repo, branch) = (self.repo.clone(), self.branch.to_owned());
        let head = tokio::task::spawn_blocking(move || read_head(repo, &branch)).await?;
        Ok(head.map_err(EngineError::from)?.config)
    }
}

fn done(en: &str, ja: &str) -> CommandOutcome {
    CommandOutcome {
        done: true,
        en: en.to_owned(),
        ja: ja.to_owned(),
    }
}

fn refused(en: &str, ja: &str) -> CommandOutcome {
    CommandOutcome {
        done: false,
        en: en.to_owned(),
        ja: ja.to_owned(),
    }
}

/// Asked the same for an hour, so that the forge can say that nothing is new.
fn whole_hour(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(at)
}
