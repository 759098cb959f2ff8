//! What the configuration objects mean: api objects in, one [`Config`] and every [`Problem`] out.
//!
//! Faults are isolated per object: an object with a problem counts as its last valid version, which the previous
//! [`Config`] still holds, or as absent. After [`parse`] nothing is checked again. No clock, no log, no write.

mod address;
mod advertisement;
mod agree;
mod annotation;
mod bfd;
mod community;
mod passwords;
mod peer;
mod pool;
mod problem;
mod select;
mod settle;
mod timers;

pub use advertisement::{BgpAdvertisement, L2Advertisement, PoolSelection};
pub use bfd::BfdProfile;
pub use community::{Aliases, Community, CommunityError};
pub use passwords::{Passwords, Resolved, resolve};
pub use peer::{Neighbor, Peer, RemoteAs};
pub use pool::{Pinning, Pool};
pub use problem::{Kind, ObjectRef, Problem, Problems, Unreadable};
pub use select::{Selector, Selectors};
pub use timers::{FRACTION, Timers};

use crate::{
    api,
    names::{AdvertisementName, BfdName, PeerName, PoolName},
    world::Secret,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The configuration objects as they were read, by name.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// IPAddressPools.
    pub pools: BTreeMap<String, api::IPAddressPool>,
    /// L2Advertisements.
    pub l2_advertisements: BTreeMap<String, api::L2Advertisement>,
    /// BGPAdvertisements.
    pub bgp_advertisements: BTreeMap<String, api::BGPAdvertisement>,
    /// BGPPeers.
    pub peers: BTreeMap<String, api::BGPPeer>,
    /// BFDProfiles.
    pub bfd_profiles: BTreeMap<String, api::BFDProfile>,
    /// Communities.
    pub communities: BTreeMap<String, api::Community>,
    /// FRRConfigurations of users.
    pub frr_configurations: BTreeMap<String, api::FRRConfiguration>,
    /// Secrets of our namespace, as far as they are for passwords.
    pub secrets: BTreeMap<String, Secret>,
    /// Text of the ConfigMap `bgpextras`, for the end of FRR's configuration; empty where there is none.
    pub extras: BTreeMap<String, String>,
    /// Whether passwords of Secrets are looked up by somebody else: nothing is wrong with one that is not there.
    pub secrets_elsewhere: bool,
    /// Pools that Services have addresses of: of two that overlap and are both new, as after a restart, such a one stands.
    pub holding: BTreeSet<String>,
    /// Objects that could not be read at all: they count as their last valid version too.
    pub unreadable: BTreeMap<ObjectRef, Vec<Unreadable>>,
}

/// What is true. Shared by reference: an object that did not change is the same allocation as before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Pools that do not overlap.
    pub pools: BTreeMap<PoolName, Arc<Pool>>,
    /// L2 advertisements.
    pub l2: BTreeMap<AdvertisementName, Arc<L2Advertisement>>,
    /// BGP advertisements, aliases of communities resolved.
    pub bgp: BTreeMap<AdvertisementName, Arc<BgpAdvertisement>>,
    /// BGP peers.
    pub peers: BTreeMap<PeerName, Arc<Peer>>,
    /// BFD profiles.
    pub bfd: BTreeMap<BfdName, Arc<BfdProfile>>,
    /// Aliases of communities, by the Community object that gives them. The advertisements have them resolved;
    /// they are kept for the next [`parse`], which falls back to them.
    pub aliases: BTreeMap<String, Arc<Aliases>>,
}

impl Config {
    /// The pool that `ip` lies in.
    #[must_use]
    pub fn pool_of(&self, ip: std::net::IpAddr) -> Option<(&PoolName, &Arc<Pool>)> {
        self.pools.iter().find(|(_, pool)| pool.covers(ip))
    }
}

/// Reads `input`; where an object has a problem, its version in `last` stands.
#[must_use]
pub fn parse(input: &Input, last: &Config) -> (Config, Problems) {
    let mut problems = Problems::default();
    for (object, faults) in &input.unreadable {
        faults.iter().for_each(|fault| problems.add(object.clone(), &fault.field, &fault.what));
    }
    let aliases = community::parse(input, last, &mut problems);
    let pools = pool::parse(input, last, &mut problems);
    let mut bfd = bfd::parse(input, last, &mut problems);
    let peers = peer::parse(input, last, &bfd, &mut problems);
    // A peer that fell back to its last version may name a profile that is gone: both stay, or the session would.
    for name in peers.values().filter_map(|peer| peer.bfd.as_ref()) {
        if let Some((name, profile)) = last.bfd.get_key_value(name).filter(|_| !bfd.contains_key(name)) {
            bfd.insert(name.clone(), profile.clone());
        }
    }
    let l2 = advertisement::parse_l2(input, last, &mut problems);
    let read = advertisement::read_all_bgp(input, last, &community::flat(&aliases), &mut problems);
    let bgp = agree::settle(read, &pools, &peers, &bfd, &mut problems);
    remark(input, &mut problems);
    (Config { pools, l2, bgp, peers, bfd, aliases }, problems)
}

/// What has no effect although it looks as if it had.
fn remark(input: &Input, problems: &mut Problems) {
    let of = |kind, name: &str| ObjectRef { kind, name: name.to_owned() };
    for (name, ad) in &input.bgp_advertisements {
        for (i, peer) in ad.spec.peers.iter().enumerate() {
            let peer_of = of(Kind::BGPPeer, peer);
            if !input.peers.contains_key(peer) && !input.unreadable.contains_key(&peer_of) {
                let what = format!("there is no BGPPeer {peer:?}: the name has no effect");
                problems.remark(of(Kind::BGPAdvertisement, name), format!("spec.peers[{i}]"), what);
            }
        }
    }
    for (name, object) in &input.frr_configurations {
        let mut report = problem::Report::new(Kind::FRRConfiguration, name, problems);
        annotation::unknown(Kind::FRRConfiguration, &object.metadata, &mut report);
    }
    for (name, _) in input.extras.iter().filter(|(_, text)| text.trim().is_empty()) {
        let what =
            "has no effect: the text for the end of FRR's configuration belongs here, and there is none";
        problems.remark(of(Kind::ConfigMap, name), "data.extras", what);
    }
}
