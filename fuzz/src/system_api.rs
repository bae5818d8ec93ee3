//! Bodies of the System API, as the `http` connector and the reference system read them: what can be read is written and read
//! again as the same, and a resource keeps its name and digest on the way.

use lockstep::system_api::{
    AuditAnswer, DigestsAnswer, ErrorAnswer, FenceRequest, OutcomeAnswer, PrepareAnswer,
    PrepareRequest, StateAnswer, WireResource, WireSpec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn reread<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).expect("and read");
    assert_eq!(serde_json::to_string(&again).ok(), Some(written));
}

pub fn run(data: &[u8]) {
    reread::<DigestsAnswer>(data);
    reread::<PrepareAnswer>(data);
    reread::<FenceRequest>(data);
    reread::<OutcomeAnswer>(data);
    reread::<AuditAnswer>(data);
    reread::<ErrorAnswer>(data);
    if let Ok(state) = serde_json::from_slice::<StateAnswer<'_>>(data) {
        let written = serde_json::to_vec(&state).expect("a state can be written");
        let again: StateAnswer<'_> = serde_json::from_slice(&written).expect("and read");
        assert_eq!(state, again);
        for resource in state.resources {
            let Ok(item) = resource.into_item() else {
                continue;
            };
            let wire = WireResource::of(&item);
            let back = wire.into_item().expect("a name that is one");
            assert_eq!((&back.id, back.digest()), (&item.id, item.digest()));
        }
    }
    if let Ok(request) = serde_json::from_slice::<PrepareRequest<'_, WireSpec>>(data) {
        let written = serde_json::to_vec(&request).expect("a changeset can be written");
        let again: PrepareRequest<'_, WireSpec> =
            serde_json::from_slice(&written).expect("and read");
        assert_eq!(request, again);
    }
    // The reference system takes any value for a spec, and refuses those without a canonical form one by one.
    if let Ok(request) = serde_json::from_slice::<PrepareRequest<'_, Value>>(data) {
        let written = serde_json::to_vec(&request).expect("a changeset can be written");
        assert!(serde_json::from_slice::<PrepareRequest<'_, Value>>(&written).is_ok());
    }
}
