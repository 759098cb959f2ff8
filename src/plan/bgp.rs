//! Which prefixes this node tells to which peers.

use super::{Attributes, Candidate, Leave, Reason, Session, Viewpoint};
use crate::{
    config::{BgpAdvertisement, Config},
    names::{AdvertisementName, PeerName, PoolName},
    net::{Family, prefix_of},
    world::{Labels, Node, TrafficPolicy, World},
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

/// An advertisement, as far as this node is concerned.
struct Advertisement<'a> {
    name: &'a AdvertisementName,
    what: &'a BgpAdvertisement,
    here: bool,
    attributes: Arc<Attributes>,
}

/// The sessions of a plan while it is made.
pub(super) struct Sessions<'a> {
    me: &'a Viewpoint,
    node: Option<&'a Node>,
    advertisements: BTreeMap<&'a PoolName, Vec<Advertisement<'a>>>,
    sessions: BTreeMap<PeerName, Session>,
}

impl<'a> Sessions<'a> {
    pub(super) fn new(me: &'a Viewpoint, config: &'a Config, world: &'a World) -> Self {
        let node = world.nodes.get(&me.node);
        let none = Labels::default();
        let labels = node.map_or(&none, |n| &n.labels);
        let here = |(name, peer): (&PeerName, &Arc<crate::config::Peer>)| {
            peer.selects_node(labels)
                .then(|| (name.clone(), Session { peer: peer.clone(), routes: BTreeMap::new() }))
        };
        let all: Vec<(&AdvertisementName, &BgpAdvertisement, Arc<Attributes>)> = config
            .bgp
            .iter()
            .map(|(name, ad)| {
                let (local_pref, communities) = (ad.local_pref, ad.communities.clone());
                let (med, prepend) = (ad.med, ad.prepend);
                let attributes =
                    Attributes { local_pref, communities, med, prepend, ..Attributes::default() };
                (name, &**ad, Arc::new(attributes))
            })
            .collect();
        let of_pool = |(name, pool): (&'a PoolName, &'a Arc<crate::config::Pool>)| {
            let ads = all.iter().filter(|(_, ad, _)| ad.pools.has(name, pool));
            let ads = ads.map(|(name, what, attributes)| Advertisement {
                name,
                what,
                here: what.selects_node(labels),
                attributes: attributes.clone(),
            });
            (name, ads.collect())
        };
        let advertisements = config.pools.iter().map(of_pool).collect();
        Self { me, node, advertisements, sessions: config.peers.iter().filter_map(here).collect() }
    }

    pub(super) fn finish(self) -> BTreeMap<PeerName, Session> {
        self.sessions
    }

    /// Adds the routes of `candidate`, if this node announces it.
    pub(super) fn announce(&mut self, candidate: &Candidate<'_>) -> Result<(), Reason> {
        let ads = self.advertisements.get(candidate.pool).map_or(&[][..], Vec::as_slice);
        let mut ads: Vec<&Advertisement<'_>> =
            ads.iter().filter(|ad| ad.what.selects_service(&candidate.service.labels)).collect();
        if ads.is_empty() {
            return Err(Reason::NoAdvertisement(candidate.pool.clone()));
        }
        ads.retain(|ad| ad.here);
        if ads.is_empty() {
            return Err(Reason::NodeNotSelected);
        }
        if !self.me.frr {
            return Err(Reason::NoFrr);
        }
        conflict(&ads, &candidate.ips)?;
        self.communities(&ads, &candidate.ips)?;
        self.usable(candidate)?;
        let mut told = false;
        for ad in ads {
            for (_, session) in self.sessions.iter_mut().filter(|(name, _)| ad.what.is_for_peer(name)) {
                told = true;
                for ip in &candidate.ips {
                    session.add(prefix_of(*ip, ad.length(*ip)), &ad.attributes);
                }
            }
        }
        if told { Ok(()) } else { Err(Reason::NoPeer) }
    }

    /// Whether every route has room for the communities of all its advertisements.
    fn communities(&self, ads: &[&Advertisement<'_>], ips: &[IpAddr]) -> Result<(), Reason> {
        const MOST: usize = BgpAdvertisement::COMMUNITIES;
        // nearly always there are too few even if every one of them were another
        if ads.iter().map(|ad| ad.what.communities.len()).sum::<usize>() <= MOST {
            return Ok(());
        }
        for peer in self.sessions.keys() {
            let told = || ads.iter().filter(|ad| ad.what.is_for_peer(peer));
            for (ip, first) in ips.iter().flat_map(|ip| told().map(move |ad| (*ip, ad))) {
                let same = told().filter(|ad| ad.length(ip) == first.length(ip));
                let all: BTreeSet<_> = same.flat_map(|ad| &ad.what.communities).collect();
                if all.len() > MOST {
                    return Err(Reason::TooManyCommunities(prefix_of(ip, first.length(ip)), all.len()));
                }
            }
        }
        Ok(())
    }

    /// Whether this node may announce, and has something to forward to.
    fn usable(&self, candidate: &Candidate<'_>) -> Result<(), Reason> {
        if self.node.is_some_and(|n| n.network_unavailable) {
            return Err(Reason::NodeNetworkUnavailable);
        }
        if self.node.is_some_and(Node::excluded) && !self.me.ignore_exclude_label {
            return Err(Reason::NodeExcluded);
        }
        if self.me.leave == Leave::Left {
            return Err(Reason::NodeDraining);
        }
        if !candidate.endpoints.any() {
            return Err(Reason::NoEndpoints);
        }
        if candidate.service.traffic == TrafficPolicy::Local && !candidate.endpoints.on(&self.me.node) {
            return Err(Reason::NoLocalEndpoints);
        }
        Ok(())
    }
}

impl Advertisement<'_> {
    const fn length(&self, ip: IpAddr) -> u8 {
        match Family::of(ip) {
            Family::V4 => self.what.length_v4,
            Family::V6 => self.what.length_v6,
        }
    }
}

impl Session {
    /// Adds a route. One that is there already, from another advertisement or another Service of the same prefix,
    /// carries the communities of both.
    fn add(&mut self, prefix: ipnet::IpNet, attributes: &Arc<Attributes>) {
        match self.routes.entry(prefix) {
            Entry::Vacant(entry) => {
                entry.insert(attributes.clone());
            }
            Entry::Occupied(entry) if Arc::ptr_eq(entry.get(), attributes) => {}
            Entry::Occupied(mut entry) => {
                let both = Attributes {
                    local_pref: entry.get().local_pref.max(attributes.local_pref),
                    communities: entry.get().communities.union(&attributes.communities).copied().collect(),
                    med: entry.get().med.max(attributes.med),
                    prepend: entry.get().prepend.max(attributes.prepend),
                    ..Attributes::default()
                };
                entry.insert(Arc::new(both));
            }
        }
    }
}

/// Two advertisements conflict when a peer would get a prefix of both with attributes of which it can have only one.
fn conflict(ads: &[&Advertisement<'_>], ips: &[IpAddr]) -> Result<(), Reason> {
    for (i, a) in ads.iter().enumerate() {
        for b in ads.iter().skip(i + 1) {
            let (x, y) = (&a.what.peers, &b.what.peers);
            let common_peer = x.is_empty() || y.is_empty() || !x.is_disjoint(y);
            let common_prefix = ips.iter().any(|ip| a.length(*ip) == b.length(*ip));
            let single = |ad: &Advertisement<'_>| (ad.what.local_pref, ad.what.med, ad.what.prepend);
            if single(a) != single(b) && common_peer && common_prefix {
                return Err(Reason::ConflictingAdvertisements(a.name.clone(), b.name.clone()));
            }
        }
    }
    Ok(())
}
