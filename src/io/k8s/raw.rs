//! Any object of the API, as JSON: read by the watches, and sent back whole by the writer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, api::ApiResource, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;

/// An object whose shape is not looked at yet, without its managed fields, which can be most of it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    /// Name, namespace and version.
    pub(super) metadata: ObjectMeta,
    /// The whole of it.
    pub(super) object: Value,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(from)?;
        let meta = object
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .ok_or_else(|| de::Error::missing_field("metadata"))?;
        meta.remove("managedFields");
        let text = |field: &str| meta.get(field).and_then(Value::as_str).map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, object })
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(to)
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        (&resource.kind).into()
    }
    fn group(resource: &ApiResource) -> Cow<'_, str> {
        (&resource.group).into()
    }
    fn version(resource: &ApiResource) -> Cow<'_, str> {
        (&resource.version).into()
    }
    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        (&resource.plural).into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
