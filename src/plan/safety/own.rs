//! Lockstep's own way to the systems. A plan that takes it away could not be taken back by the next one, so no release lets it pass.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Breach, Rule, number};
use crate::config::Config;
use crate::ids::SystemName;
use crate::plan::{Change, Op, SystemPlan};

/// Who and where Lockstep is to the systems. From the server's own settings: no proposal can change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The ids under which systems know Lockstep, by the name of the credential it comes with.
    pub identities: BTreeMap<String, String>,
    /// The addresses it comes from.
    pub addresses: Vec<IpAddr>,
}

impl Own {
    /// What a share would take away, kind by kind.
    pub(super) fn breaches(
        &self,
        system: &SystemName,
        share: &SystemPlan,
        config: &Config,
    ) -> Vec<Breach> {
        let credential = config
            .systems
            .get(system)
            .and_then(|s| s.credential.as_ref());
        let identity = credential.and_then(|name| self.identities.get(name));
        let is_revoked = |change: &&Change| {
            let id = change.id.name().split_once('/').map(|(_, id)| id);
            change.op == Op::Delete && id.is_some() && id == identity.map(String::as_str)
        };
        let is_blocked = |change: &&Change| {
            let network = change.id.name().parse::<IpNet>();
            change.op != Op::Delete
                && network.is_ok_and(|n| self.addresses.iter().any(|a| n.contains(a)))
        };
        let of = |kind: &str, is: &dyn Fn(&&Change) -> bool| {
            let changes = share.changes.iter().filter(|c| c.id.kind() == kind);
            let count = number(changes.filter(is).count());
            (count > 0).then(|| Breach {
                system: system.clone(),
                kind: kind.to_owned(),
                rule: Rule::OwnAccess,
                count,
                rows: share.existing.get(kind).map_or(0, |n| number(*n)),
                limit: 0,
            })
        };
        [of("AccessGrant", &is_revoked), of("IpBlock", &is_blocked)]
            .into_iter()
            .flatten()
            .collect()
    }
}
