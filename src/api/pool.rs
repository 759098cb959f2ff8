//! IPAddressPool.

/// What the user wrote of an IPAddressPool.
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
#[kube(group = "metallb.io", version = "v1beta1", kind = "IPAddressPool", namespaced, derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {}
