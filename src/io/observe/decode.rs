//! JSON of one object to its [`Change`], the same for an API server's answer and for a manifest.
//!
//! What is not needed goes here: managed fields, statuses of our own kinds, everything of the core kinds but the
//! facts. A fault names its field.

use super::Change;
use crate::{
    config::{Kind, Unreadable},
    names::ServiceKey,
    world::{Node, Origin, Service, Slice},
};
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `object`, which is of `kind`; `None` for one that says nothing to us (a slice of no Service).
///
/// # Errors
/// The path of the field that does not fit, and why.
pub fn decode(kind: Kind, object: Value, origin: Origin) -> Result<Option<Change>, Unreadable> {
    Ok(Some(match kind {
        Kind::Service => {
            let (key, facts) = Service::observe(read(object)?, origin);
            Change::Service(key, Some(Box::new(facts)))
        }
        Kind::EndpointSlice => {
            let slice: EndpointSlice = read(object)?;
            let namespace = slice.metadata.namespace.as_deref().unwrap_or("default").into();
            let name = slice.metadata.name.as_deref().unwrap_or_default().into();
            let facts = Slice::observe(&slice).map(|(owner, _, facts)| (owner, facts));
            Change::Slice(namespace, name, facts)
        }
        Kind::Node => {
            let (name, facts) = Node::observe(&read(object)?);
            Change::Node(name, Some(facts))
        }
        Kind::Namespace => {
            let namespace: core::Namespace = read(object)?;
            Change::Namespace(
                namespace.name_any().into(),
                Some(namespace.metadata.labels.unwrap_or_default().into()),
            )
        }
        Kind::IPAddressPool => config(object, Change::Pool)?,
        Kind::L2Advertisement => config(object, Change::L2Advertisement)?,
        Kind::BGPAdvertisement => config(object, Change::BgpAdvertisement)?,
        Kind::BGPPeer => config(object, Change::Peer)?,
        Kind::BFDProfile => config(object, Change::BfdProfile)?,
        Kind::Community => config(object, Change::Community)?,
        Kind::FRRConfiguration => config(object, Change::FrrConfiguration)?,
        Kind::File => return Ok(None),
    }))
}

/// The change that says that the object is gone; `None` where the kind has no objects.
#[must_use]
pub fn removed(kind: Kind, namespace: &str, name: &str) -> Option<Change> {
    let text = name.to_owned();
    Some(match kind {
        Kind::Service => Change::Service(ServiceKey::new(namespace, name), None),
        Kind::EndpointSlice => Change::Slice(namespace.into(), name.into(), None),
        Kind::Node => Change::Node(name.into(), None),
        Kind::Namespace => Change::Namespace(name.into(), None),
        Kind::IPAddressPool => Change::Pool(text, None),
        Kind::L2Advertisement => Change::L2Advertisement(text, None),
        Kind::BGPAdvertisement => Change::BgpAdvertisement(text, None),
        Kind::BGPPeer => Change::Peer(text, None),
        Kind::BFDProfile => Change::BfdProfile(text, None),
        Kind::Community => Change::Community(text, None),
        Kind::FRRConfiguration => Change::FrrConfiguration(text, None),
        Kind::File => return None,
    })
}

/// Only what users write: a status that we wrote ourselves must not look like a change of configuration.
fn config<K: Resource + DeserializeOwned>(
    mut object: Value,
    change: fn(String, Option<Box<K>>) -> Change,
) -> Result<Change, Unreadable> {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let mut object: K = read(object)?;
    let meta = object.meta_mut();
    let name = meta.name.clone().unwrap_or_default();
    meta.managed_fields = None;
    meta.resource_version = None;
    Ok(change(name, Some(Box::new(object))))
}

fn read<T: DeserializeOwned>(object: Value) -> Result<T, Unreadable> {
    serde_path_to_error::deserialize(object).map_err(|fault| {
        let path = fault.path().to_string();
        Unreadable::new(if path == "." { "" } else { &path }, fault.inner())
    })
}
