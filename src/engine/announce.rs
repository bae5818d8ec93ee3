//! What begins or ends within a week is said beforehand: once, in the ledger and to people.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::group::{Memory, Pass};
use super::{Engine, EngineError};
use crate::ids::{Digest, SystemName};
use crate::record::Action;
use crate::resource::dating::Effect;
use crate::resource::{Bundle, Language};
use crate::store::{EntryFilter, NewDelivery, NewEntry};
use crate::view::DateView;

/// How long before.
pub const ANNOUNCED: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Engine {
    /// Announces what begins or ends on the group's systems within a week and was not announced yet. Each goes out once for a resource, its systems
    /// and the moment: a date that is moved is announced anew.
    pub(super) async fn announce_dates(
        &self,
        pass: &Pass<'_>,
        bundle: &Bundle,
        at: Timestamp,
        memory: &mut Memory,
    ) -> Result<(), EngineError> {
        let to = at.checked_add(ANNOUNCED).unwrap_or(Timestamp::MAX);
        let coming = DateView::between(bundle, &pass.group.systems, at, to);
        if coming.is_empty() {
            return Ok(());
        }
        if memory.announced.is_none() {
            memory.announced = Some(self.announced(pass, at).await?);
        }
        let known = memory.announced.get_or_insert_default();
        let mut news = Vec::new();
        for date in coming {
            let key = key_of(&date);
            if known.contains(&key) {
                continue;
            }
            let text = |language| date.sentence(language);
            let body = json!({
                "topic": Action::DATE_ANNOUNCED.as_str(),
                "key": key,
                "group": pass.name,
                "revision": bundle.revision,
                "systems": date.systems,
                "changes": [{"id": date.resource, "effect": date.effect, "at": date.at}],
                "text": {"en": text(Language::English), "ja": text(Language::Japanese)},
            });
            let entry = NewEntry {
                at,
                actor: self.actor.clone(),
                action: Action::DATE_ANNOUNCED.to_string(),
                group: Some(pass.name.clone()),
                system: None,
                run: None,
                revision: bundle.revision.clone(),
                body: body.clone(),
            };
            let delivery = NewDelivery {
                destination: NewDelivery::NEWS.to_owned(),
                key,
                body,
            };
            news.push((delivery, entry));
        }
        if news.is_empty() {
            return Ok(());
        }
        self.store.enqueue_recorded(&news, at).await?;
        known.extend(news.into_iter().map(|(delivery, _)| delivery.key));
        Ok(())
    }

    /// What the ledger says was announced for the group: deliveries that were made may have been cleared away.
    async fn announced(
        &self,
        pass: &Pass<'_>,
        at: Timestamp,
    ) -> Result<BTreeSet<String>, EngineError> {
        let filter = EntryFilter {
            action: Some(Action::DATE_ANNOUNCED.to_string()),
            group: Some(pass.name.clone()),
            // Whatever is a week ahead now was not before that.
            since: at.checked_sub(ANNOUNCED * 2).ok(),
            ..EntryFilter::default()
        };
        let entries = self.store.entries(&filter).await?.into_iter();
        let keys = entries.filter_map(|e| Some(e.body.get("key")?.as_str()?.to_owned()));
        Ok(keys.collect())
    }
}

/// The same date of the same resource on the same systems, and no other.
fn key_of(date: &DateView) -> String {
    let systems: Vec<&str> = date.systems.iter().map(SystemName::as_str).collect();
    let effect = match date.effect {
        Effect::Begins => "begins",
        Effect::Ends => "ends",
    };
    let all = format!(
        "{}\n{effect}\n{}\n{}",
        date.resource,
        date.at,
        systems.join("\n")
    );
    // It is sent along in a header, where names need not fit.
    format!("{}/{}", Action::DATE_ANNOUNCED, Digest::of(all.as_bytes()))
}
