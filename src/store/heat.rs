//! How often each resource was put right lately: what keeps flapping is reported instead of healed.

use jiff::Timestamp;

use super::engine::{Doing as _, query};
use super::values::{ms, time};
use super::{Durability, Store, StoreError};
use crate::ids::{ResourceRef, SystemName};

impl Store {
    /// Heats a resource by one and tells its heat: what it had, cooled by e^(−minutes since), plus 1. Cheap: a power cut may forget it.
    pub async fn add_heat(
        &self,
        system: &SystemName,
        resource: &ResourceRef,
        now: Timestamp,
    ) -> Result<f64, StoreError> {
        let heats = self
            .add_heats(system, std::slice::from_ref(resource), now)
            .await?;
        Ok(heats.into_iter().sum())
    }

    /// The same for many resources in one write, in their order.
    pub async fn add_heats(
        &self,
        system: &SystemName,
        resources: &[ResourceRef],
        now: Timestamp,
    ) -> Result<Vec<f64>, StoreError> {
        let doing = "note a resource's drift";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        let mut heats = Vec::with_capacity(resources.len());
        for resource in resources {
            let before: Option<(f64, i64)> =
                query("SELECT heat, at_ms FROM heat WHERE system = $1 AND resource = $2")
                    .bind(system.as_str())
                    .bind(resource.as_str())
                    .fetch_optional(&mut tx)
                    .await
                    .doing(doing)?;
            let heat = match before {
                Some((heat, at)) => cooled(heat, time(at)?, now) + 1.0,
                None => 1.0,
            };
            query(
                "INSERT INTO heat (system, resource, heat, at_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (system, resource) DO UPDATE SET heat = excluded.heat, at_ms = excluded.at_ms",
            )
            .bind(system.as_str())
            .bind(resource.as_str())
            .bind(heat)
            .bind(ms(now))
            .execute(&mut tx)
            .await
            .doing(doing)?;
            heats.push(heat);
        }
        tx.commit().await.doing(doing)?;
        Ok(heats)
    }

    /// The heat of a resource now, without adding to it.
    pub async fn heat(
        &self,
        system: &SystemName,
        resource: &ResourceRef,
        now: Timestamp,
    ) -> Result<f64, StoreError> {
        let row: Option<(f64, i64)> =
            query("SELECT heat, at_ms FROM heat WHERE system = $1 AND resource = $2")
                .bind(system.as_str())
                .bind(resource.as_str())
                .fetch_optional(self.read())
                .await
                .doing("read a resource's heat")?;
        row.map_or(Ok(0.0), |(heat, at)| Ok(cooled(heat, time(at)?, now)))
    }
}

/// A clock that went back cools nothing, and heats nothing either.
fn cooled(heat: f64, at: Timestamp, now: Timestamp) -> f64 {
    let minutes = now.duration_since(at).as_secs_f64().max(0.0) / 60.0;
    heat * (-minutes).exp()
}
