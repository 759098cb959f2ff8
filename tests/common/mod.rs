//! What several tests need: objects, from JSON or YAML, as the input of the configuration.

use ferrolb::{
    config::{Input, Kind, ObjectRef, Unreadable},
    world::Secret,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The input of these objects; what does not decode is unreadable, as it is for the watch.
pub(crate) fn input(objects: impl IntoIterator<Item = Value>) -> Input {
    let mut input = Input::default();
    objects.into_iter().for_each(|object| put(&mut input, object));
    input
}

fn put(input: &mut Input, object: Value) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let bad = &mut input.unreadable;
    match kind.as_str() {
        "IPAddressPool" => decode(&mut input.pools, bad, Kind::IPAddressPool, name, object),
        "L2Advertisement" => decode(&mut input.l2_advertisements, bad, Kind::L2Advertisement, name, object),
        "BGPAdvertisement" => {
            decode(&mut input.bgp_advertisements, bad, Kind::BGPAdvertisement, name, object);
        }
        "BGPPeer" => decode(&mut input.peers, bad, Kind::BGPPeer, name, object),
        "BFDProfile" => decode(&mut input.bfd_profiles, bad, Kind::BFDProfile, name, object),
        "Community" => decode(&mut input.communities, bad, Kind::Community, name, object),
        "FRRConfiguration" => {
            decode(&mut input.frr_configurations, bad, Kind::FRRConfiguration, name, object);
        }
        "Secret" => {
            let (name, facts) = Secret::observe(&object);
            input.secrets.insert(name, facts);
        }
        other => panic!("unknown kind {other:?}"),
    }
}

fn decode<T: serde::de::DeserializeOwned>(
    objects: &mut BTreeMap<String, T>,
    unreadable: &mut BTreeMap<ObjectRef, Vec<Unreadable>>,
    kind: Kind,
    name: String,
    object: Value,
) {
    match serde_json::from_value(object) {
        Ok(object) => drop(objects.insert(name, object)),
        Err(e) => drop(unreadable.insert(ObjectRef { kind, name }, vec![Unreadable::new("", e)])),
    }
}
