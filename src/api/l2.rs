//! L2Advertisement.

/// What the user wrote of an L2Advertisement.
#[derive(
    kube::CustomResource,
    schemars::JsonSchema,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Debug,
    Default,
    PartialEq,
)]
#[kube(group = "metallb.io", version = "v1beta1", kind = "L2Advertisement", namespaced, derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {}
