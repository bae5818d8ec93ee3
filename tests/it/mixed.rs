//! One lockstep group of four sorts of systems: medical over the System API, voicedrive in its own PostgreSQL, auth in an identity provider over
//! SCIM, flags in Unleash. They move together or stay together, whoever refuses or dies, and whenever.

use reqwest::Method;
use serde_json::json;

use crate::connectors::refusal;
use crate::world::postgres::Sort;

mod deaths;
mod ground;
mod kills;
mod seen;
mod wire;

use ground::{Documents, Mixed, TURNS, staff};
use seen::SYSTEMS;

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_group_moves_together() {
    let Some(mut mixed) = Mixed::in_step(Sort::Preparing).await else {
        return;
    };
    for n in 1..=2 {
        mixed.all_at(n - 1, "before the merge").await;
        let revision = mixed.merge();
        mixed.comes_in_step(&revision, &format!("merge {n}")).await;
    }
    mixed.nothing_was_done_twice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_of_a_mixed_group_refuses_moves_none_of_it() {
    let Some(mut mixed) = Mixed::in_step(Sort::Plain).await else {
        return;
    };
    for system in SYSTEMS {
        let in_step = mixed.merged;
        mixed.merged += 1;
        let mut documents = mixed.documents();
        let why = refused_by(system, &mixed, &mut documents).await;
        let revision = mixed.commit(&documents);
        let ended = mixed.world.apply().await;
        assert_eq!(ended.code, Some(1), "{system}: {ended:?}");
        mixed.all_at(in_step, system).await;
        let statuses = mixed.world.statuses(&revision);
        let (state, said) = &statuses[&format!("lockstep/apply/{system}")];
        assert_eq!(state, "failure", "{system}: {said}");
        let refusal = refusal(&mixed.world, system).await;
        assert!(refusal.contains(why), "no {why:?} in {refusal}");
        assert_eq!(mixed.states(&revision)[0], "failure", "{system}");

        let faults = json!({});
        mixed.world.system("medical").set_faults(faults).await;
        // The same without what was refused.
        let revision = mixed.commit(&mixed.documents());
        mixed.comes_in_step(&revision, system).await;
    }
    mixed.nothing_was_done_twice().await;
}

/// Makes of a merge one that this system alone will not have, and says which words of it are to be read.
async fn refused_by(system: &str, mixed: &Mixed, documents: &mut Documents) -> &'static str {
    let Documents { flags, access } = documents;
    match system {
        "medical" => {
            let faults = json!({"refuse_prepare": true});
            mixed.world.system("medical").set_faults(faults).await;
            "FeatureFlag/ai_assistant: refused on purpose"
        }
        "voicedrive" => {
            // A bed has it, there alone.
            mixed
                .by_hand("INSERT INTO beds VALUES (1, 'night_mode')")
                .await;
            flags.as_object_mut().unwrap().remove("night_mode");
            "FeatureFlag/night_mode: update or delete on table \"flags\" violates foreign key"
        }
        "auth" => {
            // A person who is not there would be left out alone; a group that is not Lockstep's is another matter.
            let theirs = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "readonly", "externalId": "hr",
            });
            let groups = (Method::POST, "/Groups");
            mixed.scim.call(groups.0, groups.1, Some(theirs)).await;
            access["readonly_users"] = json!([staff((mixed.merged + 1) % TURNS)]);
            "the group \"readonly\" has the externalId \"hr\", so it is somebody else's"
        }
        _ => {
            flags["by_version"] = json!({
                "enabled": true, "teams": ["flags"], "owner": "sato", "expires": "2027-12-31", "variants": {"a": 1, "b": 2}, "default_variant": "a",
                "targeting": {"sem_ver": [{"var": "version"}, ">=", "2.0.0"]},
            });
            "FeatureFlag/by_version: targeting: Unleash can't have `sem_ver`"
        }
    }
}
