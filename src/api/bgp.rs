//! BGPPeer, BGPAdvertisement, BFDProfile, Community.

/// x.
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
#[kube(group = "metallb.io", version = "v1beta2", kind = "BGPPeer", namespaced, derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {}
/// x.
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
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct BGPAdvertisementSpec {}
/// x.
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
#[kube(group = "metallb.io", version = "v1beta1", kind = "BFDProfile", namespaced, derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct BFDProfileSpec {}
/// x.
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
#[kube(group = "metallb.io", version = "v1beta1", kind = "Community", namespaced, derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct CommunitySpec {}
