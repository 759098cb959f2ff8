//! Which prefixes this node tells to which peers.

use super::{Attributes, Candidate, Leave, Reason, Routes, Session, Viewpoint};
use crate::{
    config::{BgpAdvertisement, Config, Peer},
    names::{AdvertisementName, PeerName, PoolName},
    net::{Family, prefix_of},
    world::{Labels, Node, TrafficPolicy, World},
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Peers of this node that are told the same, since the same advertisements are for them.
struct Audience<'a> {
    peers: BTreeMap<&'a PeerName, &'a Arc<Peer>>,
    /// In any order, some of them several times.
    routes: Vec<(IpNet, Arc<Attributes>)>,
}

/// The sessions of a plan while it is made.
pub(super) struct Sessions<'a> {
    me: &'a Viewpoint,
    node: Option<&'a Node>,
    advertisements: BTreeMap<&'a PoolName, Vec<Advertisement<'a>>>,
    audiences: BTreeMap<Vec<&'a AdvertisementName>, Audience<'a>>,
}

impl<'a> Sessions<'a> {
    pub(super) fn new(me: &'a Viewpoint, config: &'a Config, world: &'a World) -> Self {
        let node = world.nodes.get(&me.node);
        let none = Labels::default();
        let labels = node.map_or(&none, |n| &n.labels);
        let mut audiences = BTreeMap::new();
        for (name, peer) in config.peers.iter().filter(|(_, peer)| peer.selects_node(labels)) {
            let ads = config.bgp.iter().filter(|(_, ad)| ad.is_for_peer(name)).map(|(name, _)| name);
            let nobody = || Audience { peers: BTreeMap::new(), routes: Vec::new() };
            audiences.entry(ads.collect()).or_insert_with(nobody).peers.insert(name, peer);
        }
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
        Self { me, node, advertisements, audiences }
    }

    pub(super) fn finish(self) -> BTreeMap<PeerName, Session> {
        let mut sessions = BTreeMap::new();
        for Audience { peers, routes } in self.audiences.into_values() {
            let routes = Arc::new(Routes::from_iter(routes));
            let session = |peer: &Arc<Peer>| Session { peer: peer.clone(), routes: routes.clone() };
            sessions.extend(peers.into_iter().map(|(name, peer)| (name.clone(), session(peer))));
        }
        sessions
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
            for (_, audience) in self.audiences.iter_mut().filter(|(ads, _)| ads.contains(&ad.name)) {
                told = true;
                let routes =
                    candidate.ips.iter().map(|ip| (prefix_of(*ip, ad.length(*ip)), ad.attributes.clone()));
                audience.routes.extend(routes);
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
        for of_audience in self.audiences.keys() {
            let told = || ads.iter().filter(|ad| of_audience.contains(&ad.name));
            for (ip, first) in ips.iter().flat_map(|ip| told().map(move |ad| (*ip, ad))) {
                let same = told().filter(|ad| ad.length(ip) == first.length(ip));
                let all: BTreeSet<_> = same.flat_map(|ad| &ad.what.communities).collect();
                if all.len() > MOST {
                    let prefix = prefix_of(ip, first.length(ip));
                    return Err(Reason::TooManyCommunities(Box::new((prefix, all.len()))));
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

/// Two advertisements conflict when a peer would get a prefix of both with attributes of which it can have only one.
fn conflict(ads: &[&Advertisement<'_>], ips: &[IpAddr]) -> Result<(), Reason> {
    for (i, a) in ads.iter().enumerate() {
        for b in ads.iter().skip(i + 1) {
            let (x, y) = (&a.what.peers, &b.what.peers);
            let common_peer = x.is_empty() || y.is_empty() || !x.is_disjoint(y);
            let common_prefix = ips.iter().any(|ip| a.length(*ip) == b.length(*ip));
            let single = |ad: &Advertisement<'_>| (ad.what.local_pref, ad.what.med, ad.what.prepend);
            if single(a) != single(b) && common_peer && common_prefix {
                let both = Box::new((a.name.clone(), b.name.clone()));
                return Err(Reason::ConflictingAdvertisements(both));
            }
        }
    }
    Ok(())
}
