//! Advertisements: which pools are announced how.

use super::{
    Community, Config, Input, Pool, Problems, Selectors, annotation,
    problem::{Kind, Report},
    select::any_or_all,
    settle,
};
use crate::{
    api,
    names::{AdvertisementName, PeerName, PoolName},
    net::Interfaces,
    world::Labels,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Which pools an advertisement is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolSelection {
    /// `spec.ipAddressPools`.
    pub names: BTreeSet<PoolName>,
    /// `spec.ipAddressPoolSelectors`.
    pub selectors: Selectors,
}

impl PoolSelection {
    /// Whether `pool` is among them: all are, when nothing is named or selected.
    #[must_use]
    pub fn has(&self, name: &PoolName, pool: &Pool) -> bool {
        (self.names.is_empty() && self.selectors.is_empty())
            || self.names.contains(name)
            || self.selectors.iter().any(|s| s.matches(&pool.labels))
    }
}

/// An L2Advertisement.
#[derive(Clone, Debug, PartialEq)]
pub struct L2Advertisement {
    /// The pools it is for.
    pub pools: PoolSelection,
    /// `spec.nodeSelectors`; empty for every node.
    pub nodes: Selectors,
    /// `spec.serviceSelectors`; empty for every Service.
    pub services: Selectors,
    /// `spec.interfaces`.
    pub interfaces: Interfaces,
    /// `spec.preferredNodeSelectors`: weight and selector.
    pub preferred: Vec<(u32, super::Selector)>,
    /// Annotation `ferrolb.io/l2-placement: balanced`: addresses are spread evenly, and stay where they are.
    pub balanced: bool,
}

/// A BGPAdvertisement.
#[derive(Clone, Debug, PartialEq)]
pub struct BgpAdvertisement {
    /// The pools it is for.
    pub pools: PoolSelection,
    /// `spec.nodeSelectors`; empty for every node.
    pub nodes: Selectors,
    /// `spec.serviceSelectors`; empty for every Service.
    pub services: Selectors,
    /// `spec.peers`; empty for every peer.
    pub peers: BTreeSet<PeerName>,
    /// `spec.aggregationLength`, 0..=32.
    pub length_v4: u8,
    /// `spec.aggregationLengthV6`, 0..=128.
    pub length_v6: u8,
    /// `spec.localPref`; `None` for 0.
    pub local_pref: Option<u32>,
    /// `spec.communities`, aliases resolved.
    pub communities: BTreeSet<Community>,
    /// Annotation `ferrolb.io/med`.
    pub med: Option<u32>,
    /// Annotation `ferrolb.io/as-path-prepend`, 1..=10.
    pub prepend: Option<u8>,
}

impl L2Advertisement {
    /// Whether it is for Services with these labels.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_all(&self.services, labels)
    }

    /// Whether it is for nodes with these labels.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_all(&self.nodes, labels)
    }
}

impl BgpAdvertisement {
    /// The most communities that a route can have: MetalLB's bound.
    pub const COMMUNITIES: usize = 63;
    /// The most times that an AS can be prepended: FRR's bound for its own kind of it.
    pub const PREPEND: u32 = 10;

    /// Whether it is for this peer.
    #[must_use]
    pub fn is_for_peer(&self, peer: &PeerName) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// Whether it is for Services with these labels.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_all(&self.services, labels)
    }

    /// Whether it is for nodes with these labels.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_all(&self.nodes, labels)
    }
}

pub(super) fn parse_l2(
    input: &Input,
    last: &Config,
    problems: &mut Problems,
) -> BTreeMap<AdvertisementName, Arc<L2Advertisement>> {
    let read =
        |_: &str, object: &api::L2Advertisement, report: &mut Report<'_>| Some(read_l2(object, report));
    settle::all(settle::read(
        Kind::L2Advertisement,
        input,
        &input.l2_advertisements,
        &last.l2,
        problems,
        read,
    ))
}

/// The BGPAdvertisements as far as each can be judged by itself.
pub(super) fn read_all_bgp(
    input: &Input,
    last: &Config,
    aliases: &BTreeMap<&str, Community>,
    problems: &mut Problems,
) -> settle::Entries<AdvertisementName, BgpAdvertisement> {
    let read =
        |_: &str, object: &api::BGPAdvertisement, report: &mut Report<'_>| read_bgp(object, aliases, report);
    settle::read(Kind::BGPAdvertisement, input, &input.bgp_advertisements, &last.bgp, problems, read)
}

fn selection(names: &[String], selectors: &[LabelSelector], report: &mut Report<'_>) -> PoolSelection {
    PoolSelection {
        names: report.set("spec.ipAddressPools", names),
        selectors: report.selectors("spec.ipAddressPoolSelectors", selectors),
    }
}

fn read_l2(object: &api::L2Advertisement, report: &mut Report<'_>) -> L2Advertisement {
    let (meta, spec) = (&object.metadata, &object.spec);
    let interfaces: BTreeSet<Arc<str>> = spec.interfaces.iter().map(|name| name.as_str().into()).collect();
    let mut preferred = Vec::with_capacity(spec.preferred_node_selectors.len());
    for (i, term) in spec.preferred_node_selectors.iter().enumerate() {
        let field = format!("spec.preferredNodeSelectors[{i}]");
        let weight = u32::try_from(term.weight).ok().filter(|w| (1..=100).contains(w));
        let refusal = || format!("must be 1 to 100, is {}", term.weight);
        let weight = report.value(&format!("{field}.weight"), weight.ok_or_else(refusal));
        let selector = report.selector(&format!("{field}.preference"), &term.preference);
        preferred.extend(weight.zip(selector));
    }
    L2Advertisement {
        pools: selection(&spec.ip_address_pools, &spec.ip_address_pool_selectors, report),
        nodes: report.selectors("spec.nodeSelectors", &spec.node_selectors),
        services: report.selectors("spec.serviceSelectors", &spec.service_selectors),
        interfaces: if interfaces.is_empty() { Interfaces::All } else { Interfaces::Named(interfaces) },
        preferred,
        balanced: annotation::word(meta, annotation::PLACEMENT, annotation::BALANCED, report),
    }
}

fn read_bgp(
    object: &api::BGPAdvertisement,
    aliases: &BTreeMap<&str, Community>,
    report: &mut Report<'_>,
) -> Option<BgpAdvertisement> {
    let (meta, spec) = (&object.metadata, &object.spec);
    let mut length = |field: &str, written: Option<i32>, lowest: u8, host: u8| {
        let length = written.map_or(Ok(host), u8::try_from).ok().filter(|l| (lowest..=host).contains(l));
        let refusal = || format!("must be {lowest} to {host}, is {}", written.unwrap_or_default());
        report.value(field, length.ok_or_else(refusal))
    };
    let length_v4 = length("spec.aggregationLength", spec.aggregation_length, 1, 32);
    let length_v6 = length("spec.aggregationLengthV6", spec.aggregation_length_v6, 0, 128);
    if !spec.service_selectors.is_empty() {
        for (field, length, host) in
            [("spec.aggregationLength", length_v4, 32), ("spec.aggregationLengthV6", length_v6, 128)]
        {
            if length.is_some_and(|length| length != host) {
                report.fault(field, "serviceSelectors and aggregationLength are mutually exclusive");
            }
        }
    }
    let local_pref = match spec.local_pref.unwrap_or(0) {
        0 => None,
        pref => report.value(
            "spec.localPref",
            u32::try_from(pref).map_err(|_| format!("must be 0 to {}, is {pref}", u32::MAX)),
        ),
    };
    Some(BgpAdvertisement {
        communities: communities(&spec.communities, aliases, report),
        pools: selection(&spec.ip_address_pools, &spec.ip_address_pool_selectors, report),
        nodes: report.selectors("spec.nodeSelectors", &spec.node_selectors),
        services: report.selectors("spec.serviceSelectors", &spec.service_selectors),
        peers: report.set("spec.peers", &spec.peers),
        length_v4: length_v4?,
        length_v6: length_v6?,
        local_pref,
        med: annotation::number(meta, annotation::MED, 0..=u32::MAX, report),
        prepend: annotation::number(meta, annotation::PREPEND, 1..=BgpAdvertisement::PREPEND, report)
            .and_then(|times| u8::try_from(times).ok()),
    })
}

/// Communities as written or by alias. Two texts for one community are no fault, one text twice is.
fn communities(
    texts: &[String],
    aliases: &BTreeMap<&str, Community>,
    report: &mut Report<'_>,
) -> BTreeSet<Community> {
    report.set::<String>("spec.communities", texts);
    let community = |(i, text): (usize, &String)| match aliases.get(text.as_str()) {
        Some(community) => Some(*community),
        None => {
            let community = text.parse::<Community>();
            // These words are MetalLB's, line break and all: its users' tests compare them.
            let what = |fault| format!("{fault}\ninvalid community {text:?} in BGP advertisement");
            report.value(&format!("spec.communities[{i}]"), community.map_err(what))
        }
    };
    let communities: BTreeSet<Community> = texts.iter().enumerate().filter_map(community).collect();
    let (count, limit) = (communities.len(), BgpAdvertisement::COMMUNITIES);
    if count > limit {
        report.fault("spec.communities", format_args!("has {count} communities, a route can have {limit}"));
    }
    communities
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Only where neither a name nor a selector is given all pools are meant; what is not there selects nothing.
    #[test]
    fn which_pools_are_meant() {
        let object = json!({"metadata": {"name": "a", "labels": {"zone": "a"}}, "spec": {"addresses": ["192.0.2.0/24"]}});
        for (what, spec, meant) in [
            ("nothing said", json!({}), true),
            ("by name", json!({"ipAddressPools": ["b", "a"]}), true),
            ("another's name", json!({"ipAddressPools": ["b"]}), false),
            ("by label", json!({"ipAddressPoolSelectors": [{"matchLabels": {"zone": "a"}}]}), true),
            ("by any label", json!({"ipAddressPoolSelectors": [{}]}), true),
            ("by another label", json!({"ipAddressPoolSelectors": [{"matchLabels": {"zone": "b"}}]}), false),
            (
                "by one of two labels",
                json!({"ipAddressPoolSelectors": [{"matchLabels": {"zone": "b"}}, {"matchLabels": {"zone": "a"}}]}),
                true,
            ),
            (
                "by a selector of two labels",
                json!({"ipAddressPoolSelectors": [{"matchLabels": {"zone": "a", "rack": "1"}}]}),
                false,
            ),
            (
                "by name, though not by label",
                json!({"ipAddressPools": ["a"], "ipAddressPoolSelectors": [{"matchLabels": {"zone": "b"}}]}),
                true,
            ),
            (
                "by label, though not by name",
                json!({"ipAddressPools": ["b"], "ipAddressPoolSelectors": [{"matchLabels": {"zone": "a"}}]}),
                true,
            ),
        ] {
            let mut input = Input::default();
            input.pools.insert("a".into(), serde_json::from_value(object.clone()).unwrap());
            let ad = json!({"metadata": {"name": "l"}, "spec": spec});
            input.l2_advertisements.insert("l".into(), serde_json::from_value(ad).unwrap());
            let (config, problems) = super::super::parse(&input, &Config::default());
            assert!(problems.is_empty(), "{what}: {problems:?}");
            let (name, pool) = config.pools.first_key_value().unwrap();
            assert_eq!(config.l2["l"].pools.has(name, pool), meant, "{what}");
        }
    }

    #[test]
    fn an_l2_advertisement_is_balanced_or_not() {
        let read = |annotations: serde_json::Value| {
            let object = json!({"metadata": {"name": "a", "annotations": annotations}, "spec": {}});
            let mut input = Input::default();
            input.l2_advertisements.insert("a".into(), serde_json::from_value(object).unwrap());
            let (config, problems) = super::super::parse(&input, &Config::default());
            (
                config.l2.values().map(|ad| ad.balanced).collect::<Vec<_>>(),
                problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            )
        };
        assert_eq!(read(json!({})), (vec![false], vec![]));
        assert_eq!(read(json!({"ferrolb.io/l2-placement": "balanced"})), (vec![true], vec![]));
        let (read, problems) = read(json!({"ferrolb.io/l2-placement": "spread"}));
        assert_eq!(read, [] as [bool; 0], "it counts as absent");
        assert_eq!(
            problems,
            [
                "L2Advertisement a: metadata.annotations[ferrolb.io/l2-placement]: must be balanced, is \"spread\""
            ]
        );
    }
}
