//! Reading `limits:` of a system.

use std::num::NonZeroU32;

use super::Reader;
use crate::config::calls::{Breaker, CallLimits, length, rate};
use crate::document::fields::{self, Fields, Placed};

const LIMITS: &[&str] = &["concurrency", "rate", "timeout", "batch", "breaker"];

impl Reader<'_, '_> {
    pub(super) fn call_limits(&mut self, system: &Fields<'_>) -> CallLimits {
        let limits = system
            .get("limits")
            .and_then(|member| Fields::read(self.faults, &member.value, "`limits`", LIMITS));
        let Some(limits) = limits else {
            return CallLimits::default();
        };
        let breaker = limits.get("breaker").and_then(|member| {
            let known = &["failures", "pause"];
            let fields = Fields::read(self.faults, &member.value, "`breaker`", known)?;
            for (key, example) in [("failures", "failures: 5"), ("pause", "pause: 30s")] {
                let at = Some(member.key_span.clone());
                fields.require(self.faults, key, "`breaker`", at, example);
            }
            Some(Breaker {
                failures: self.at_least_one(&fields, "failures")?,
                pause: self.text_as(&fields, "pause", length, "write it like 30s, 2m or 500ms")?,
            })
        });
        CallLimits {
            concurrency: self.at_least_one(&limits, "concurrency"),
            per_minute: self.text_as(&limits, "rate", rate, "write it like 10/s or 300/m"),
            timeout: self.text_as(&limits, "timeout", length, "write it like 30s, 2m or 500ms"),
            batch: self.at_least_one(&limits, "batch"),
            breaker,
        }
    }

    fn at_least_one(&mut self, fields: &Fields<'_>, key: &str) -> Option<NonZeroU32> {
        let (number, at) = fields.whole(self.faults, key)?;
        let count = u32::try_from(number).ok().and_then(NonZeroU32::new);
        if count.is_none() {
            self.faults.error(
                "config/count",
                at,
                format!("`{key}` is at least 1"),
                Some("leave it out to have no limit".to_owned()),
            );
        }
        count
    }

    fn text_as<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: fn(&str) -> Option<T>,
        hint: &str,
    ) -> Option<T> {
        let Placed { text, at } = fields.text(self.faults, key)?;
        let value = read(text);
        if value.is_none() {
            self.faults.error(
                "config/limit",
                at,
                format!("{:?} can't be `{key}`", fields::shorten(text)),
                Some(hint.to_owned()),
            );
        }
        value
    }
}
