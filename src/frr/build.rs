//! Plan → FRRConfiguration: what MetalLB would write for this node, and nothing that users could not write too.
//!
//! Two peers that FRR cannot hold together do not stop the others: what was there stands, and of two that are
//! new the first by name; the other one gets a problem.

mod blame;
mod elsewhere;

pub(super) use blame::FIELDS;
pub use elsewhere::Elsewhere;

use super::{Subject, identity, policy_name};
use crate::{
    api,
    config::{BfdProfile, Community, Config, Kind, Neighbor, ObjectRef, Peer, Problems, RemoteAs},
    names::{Asn, NodeName, PeerName, Word},
    net::Family,
    plan::{Plan, Session},
};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// What this node's plan is in FRR's terms, and who asked for it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The object `metallb-NODE`.
    pub object: api::FRRConfiguration,
    /// Peers that had to be left out.
    pub problems: Problems,
    peers: BTreeMap<(Option<Word>, Neighbor), PeerName>,
}

impl Built {
    /// The object that asked for `subject`; `None` for what serves several, and for prefixes, which only the plan
    /// knows the Services of.
    #[must_use]
    pub fn owner(&self, subject: &Subject) -> Option<ObjectRef> {
        let peer = |name: &PeerName| ObjectRef { kind: Kind::BGPPeer, name: name.to_string() };
        match subject {
            Subject::Neighbor(vrf, neighbor) => self.peers.get(&(vrf.clone(), neighbor.clone())).map(peer),
            Subject::Policy(id) => self
                .peers
                .iter()
                .find(|((vrf, neighbor), _)| policy_name(neighbor, vrf.as_ref()).as_ref() == Some(id))
                .map(|(_, name)| peer(name)),
            Subject::BfdProfile(name) => {
                Some(ObjectRef { kind: Kind::BFDProfile, name: name.as_str().to_owned() })
            }
            Subject::Node
            | Subject::Router(_)
            | Subject::List(_)
            | Subject::Class(_)
            | Subject::Prefix(..)
            | Subject::Raw(_) => None,
        }
    }
}

/// Where the FRRConfiguration is for.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Its internal addresses, as far as they are known.
    pub addresses: &'a [IpAddr],
    /// Its annotation `ferrolb.io/router-id`.
    pub router_id: Option<&'a str>,
}

/// Where a Node says its router id.
const ROUTER_ID: &str = "metadata.annotations[ferrolb.io/router-id]";

/// The FRRConfiguration of `home`. Of peers that FRR cannot hold together, those of the `last` one stay.
#[must_use]
pub fn build(home: &Home<'_>, plan: &Plan, config: &Config, last: Option<&Built>) -> Built {
    let me = home.node;
    let mut problems = Problems::default();
    let own_id = identity::router_id(me, home.addresses, home.router_id).unwrap_or_else(|what| {
        problems.add(ObjectRef { kind: Kind::Node, name: me.to_string() }, ROUTER_ID, what);
        None
    });
    let mut routers: BTreeMap<Option<Word>, (Asn, Option<Ipv4Addr>)> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut sessions: BTreeMap<(Option<Word>, Neighbor), (&PeerName, &Session)> = BTreeMap::new();
    let incumbents: BTreeSet<&PeerName> = last.into_iter().flat_map(|last| last.peers.values()).collect();
    let (old, new): (Vec<_>, Vec<_>) = plan.bgp.iter().partition(|(name, _)| incumbents.contains(name));
    for (name, session) in old.into_iter().chain(new) {
        match itself(&session.peer, home).and_then(|()| admit(&session.peer, &mut routers, &mut taken)) {
            Ok(()) => {
                let key = (session.peer.vrf.clone(), session.peer.neighbor.clone());
                sessions.insert(key, (name, session));
            }
            Err((field, what)) => {
                problems.add(ObjectRef { kind: Kind::BGPPeer, name: name.to_string() }, field, what);
            }
        }
    }
    let routers = routers.into_iter().map(|(vrf, (asn, id))| {
        let mine = sessions.iter().filter(|((v, _), _)| *v == vrf);
        let mut lists = BTreeMap::new();
        let neighbors = mine
            .map(|(_, (_, session))| {
                let list = lists.entry((Arc::as_ptr(&session.routes), only(&session.peer)));
                neighbor(&session.peer, list.or_insert_with(|| advertise(session)).clone())
            })
            .collect();
        let mut prefixes: Vec<_> =
            lists.values().flat_map(|list| list.allowed.prefixes.iter().cloned()).collect();
        if lists.len() > 1 {
            prefixes.sort_unstable();
            prefixes.dedup();
        }
        api::FRRRouter {
            asn: asn.get(),
            id: id.or(own_id).map(|id| id.to_string()).unwrap_or_default(),
            vrf: vrf.map(|vrf| vrf.to_string()).unwrap_or_default(),
            neighbors,
            prefixes,
            ..Default::default()
        }
    });
    let spec = api::FRRConfigurationSpec {
        bgp: api::FRRBgp {
            routers: routers.collect(),
            bfd_profiles: config.bfd.values().map(|p| profile(p)).collect(),
        },
        node_selector: LabelSelector {
            match_labels: Some([("kubernetes.io/hostname".to_owned(), me.to_string())].into()),
            ..Default::default()
        },
        ..Default::default()
    };
    let metadata = ObjectMeta { name: Some(format!("metallb-{me}")), ..Default::default() };
    let object = api::FRRConfiguration { metadata, spec, status: None };
    let peers = sessions.into_iter().map(|(key, (name, _))| (key, name.clone())).collect();
    Built { object, problems, peers }
}

/// FRR refuses a session with the machine that it runs on. An address of another VRF can be somebody else's there.
fn itself(peer: &Peer, home: &Home<'_>) -> Result<(), (&'static str, String)> {
    match &peer.neighbor {
        Neighbor::Address(ip) if peer.vrf.is_none() && home.addresses.contains(ip) => {
            let what = "is the node itself: nodeSelectors can leave this node out";
            Err(("spec.peerAddress", format!("{ip} {what}")))
        }
        Neighbor::Address(_) | Neighbor::Interface(_) => Ok(()),
    }
}

/// Lets `peer` in beside those before it, or says which field keeps it out.
fn admit(
    peer: &Peer,
    routers: &mut BTreeMap<Option<Word>, (Asn, Option<Ipv4Addr>)>,
    taken: &mut BTreeSet<Word>,
) -> Result<(), (&'static str, String)> {
    let field = match peer.neighbor {
        Neighbor::Address(_) => "spec.peerAddress",
        Neighbor::Interface(_) => "spec.interface",
    };
    let Some(id) = policy_name(&peer.neighbor, peer.vrf.as_ref()) else {
        return Err((field, "is too long together with the VRF".to_owned()));
    };
    if taken.contains(&id) {
        let what = "already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node";
        return Err((field, format!("peer {id} {what}")));
    }
    if let Some((asn, router_id)) = routers.get(&peer.vrf) {
        if *asn != peer.my_asn {
            let what = "every BGPPeer of a node and VRF must have the same, and an earlier one has";
            return Err(("spec.myASN", format!("{what} {asn}")));
        }
        if *router_id != peer.router_id {
            let what = "every BGPPeer of a node and VRF must have the same, and an earlier one has";
            let other = router_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
            return Err(("spec.routerID", format!("{what} {other}")));
        }
    }
    routers.insert(peer.vrf.clone(), (peer.my_asn, peer.router_id));
    taken.insert(id);
    Ok(())
}

/// Which session a neighbour of our object is.
fn policy_key(vrf: &str, neighbor: &api::FRRNeighbor) -> Option<(Option<Word>, Neighbor)> {
    let key = match neighbor.address.parse() {
        Ok(ip) => Neighbor::Address(ip),
        Err(_) => Neighbor::Interface(Word::new(&neighbor.interface).ok()?),
    };
    Some((Word::new(vrf).ok(), key))
}

/// The family of a session that carries one only.
fn only(peer: &Peer) -> Option<Family> {
    match (&peer.neighbor, peer.dual_stack) {
        (Neighbor::Address(ip), false) => Some(Family::of(*ip)),
        _ => None,
    }
}

fn neighbor(peer: &Peer, to_advertise: api::FRRAdvertise) -> api::FRRNeighbor {
    let seconds = |s: u16| api::Duration(format!("{s}s"));
    let (asn, dynamic_asn) = match peer.remote_as {
        RemoteAs::Number(asn) => (asn.get(), None),
        RemoteAs::Internal => (0, Some(api::FRRDynamicAsn::Internal)),
        RemoteAs::External => (0, Some(api::FRRDynamicAsn::External)),
    };
    let (address, interface) = match &peer.neighbor {
        Neighbor::Address(ip) => (ip.to_string(), String::new()),
        Neighbor::Interface(name) => (String::new(), name.to_string()),
    };
    api::FRRNeighbor {
        asn,
        dynamic_asn,
        address,
        interface,
        source_address: peer.source.map(|ip| ip.to_string()).unwrap_or_default(),
        port: Some(peer.port),
        password: peer.password.as_ref().map(|p| p.as_str().to_owned()).unwrap_or_default(),
        hold_time: peer.timers.map(|t| seconds(t.hold)),
        keepalive_time: peer.timers.map(|t| seconds(t.keepalive)),
        connect_time: peer.connect_time.map(seconds),
        ebgp_multi_hop: peer.ebgp_multihop,
        bfd_profile: peer.bfd.as_ref().map(ToString::to_string).unwrap_or_default(),
        enable_graceful_restart: peer.graceful_restart,
        to_advertise,
        dual_stack_address_family: peer.dual_stack,
        local_asn: peer.local_asn.map_or(0, Asn::get),
        ttl_security_hops: peer.ttl_security.unwrap_or(0),
        ..Default::default()
    }
}

/// The routes of the families that the session carries.
fn advertise(session: &Session) -> api::FRRAdvertise {
    let only = only(&session.peer);
    let carried = |prefix: IpNet| only.is_none_or(|family| family == Family::of_net(prefix));
    let routes = || session.routes.iter().filter(|(prefix, _)| carried(*prefix));
    let mut preferences: BTreeMap<u32, Vec<api::FRRPrefix>> = BTreeMap::new();
    let mut communities: BTreeMap<Community, Vec<api::FRRPrefix>> = BTreeMap::new();
    let mut meds: BTreeMap<u32, Vec<api::FRRPrefix>> = BTreeMap::new();
    let mut prepends: BTreeMap<u8, Vec<api::FRRPrefix>> = BTreeMap::new();
    for (prefix, attributes) in routes() {
        let prefix = api::FRRPrefix::Net(*prefix);
        if let Some(preference) = attributes.local_pref {
            preferences.entry(preference).or_default().push(prefix.clone());
        }
        for community in &attributes.communities {
            communities.entry(*community).or_default().push(prefix.clone());
        }
        if let Some(med) = attributes.med {
            meds.entry(med).or_default().push(prefix.clone());
        }
        if let Some(times) = attributes.prepend {
            prepends.entry(times).or_default().push(prefix);
        }
    }
    let with_local_pref = preferences
        .into_iter()
        .map(|(local_pref, prefixes)| api::FRRLocalPref { prefixes: prefixes.into(), local_pref })
        .collect();
    let mut with_community: Vec<_> = communities
        .into_iter()
        .map(|(community, prefixes)| api::FRRCommunity {
            prefixes: prefixes.into(),
            community: community.to_string(),
        })
        .collect();
    with_community.sort_by(|a, b| a.community.cmp(&b.community));
    api::FRRAdvertise {
        allowed: api::FRRAllowedOut {
            prefixes: routes().map(|(prefix, _)| api::FRRPrefix::Net(*prefix)).collect(),
            ..Default::default()
        },
        with_local_pref,
        with_community,
        with_med: meds
            .into_iter()
            .map(|(med, prefixes)| api::FRRMed { prefixes: prefixes.into(), med })
            .collect(),
        with_as_path_prepend: prepends
            .into_iter()
            .map(|(times, prefixes)| api::FRRPrepend { prefixes: prefixes.into(), times })
            .collect(),
        ..Default::default()
    }
}

fn profile(profile: &BfdProfile) -> api::FRRBfdProfile {
    api::FRRBfdProfile {
        name: profile.name.to_string(),
        receive_interval: profile.receive_interval,
        transmit_interval: profile.transmit_interval,
        detect_multiplier: profile.detect_multiplier,
        echo_interval: profile.echo_interval,
        echo_mode: Some(profile.echo_mode),
        passive_mode: Some(profile.passive_mode),
        minimum_ttl: profile.minimum_ttl,
    }
}
