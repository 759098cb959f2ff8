//! BGP peers.

use super::{
    BfdProfile, Config, Input, Problems, Selectors, address, annotation,
    problem::{Kind, Report},
    select::any_or_all,
    settle,
    timers::{self, Timers},
};
use crate::{
    api,
    names::{Asn, BfdName, Password, PeerName, Word},
    world::{Labels, Secret},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Whom a session is with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbor {
    /// `spec.peerAddress`.
    Address(IpAddr),
    /// `spec.interface`: unnumbered (RFC 5549).
    Interface(Word),
}

/// The neighbour's AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteAs {
    /// `spec.peerASN`.
    Number(Asn),
    /// `spec.dynamicASN: internal`.
    Internal,
    /// `spec.dynamicASN: external`.
    External,
}

/// A BGPPeer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// `spec.myASN`.
    pub my_asn: Asn,
    /// The neighbour's AS.
    pub remote_as: RemoteAs,
    /// Whom to talk to.
    pub neighbor: Neighbor,
    /// `spec.peerPort`.
    pub port: u16,
    /// `spec.sourceAddress`.
    pub source: Option<IpAddr>,
    /// `spec.holdTime` and `spec.keepaliveTime`; `None` leaves FRR's default.
    pub timers: Option<Timers>,
    /// `spec.connectTime`, seconds.
    pub connect_time: Option<u16>,
    /// `spec.routerID`.
    pub router_id: Option<Ipv4Addr>,
    /// `spec.nodeSelectors`; empty for every node.
    pub nodes: Selectors,
    /// `spec.password`, or that of `spec.passwordSecret` (RFC 2385).
    pub password: Option<Password>,
    /// The Secret that `spec.passwordSecret` names, from which the password is.
    pub secret: Option<Arc<str>>,
    /// `spec.bfdProfile`.
    pub bfd: Option<BfdName>,
    /// `spec.enableGracefulRestart`.
    pub graceful_restart: bool,
    /// `spec.ebgpMultiHop`.
    pub ebgp_multihop: bool,
    /// `spec.vrf`.
    pub vrf: Option<Word>,
    /// `spec.dualStackAddressFamily`.
    pub dual_stack: bool,
    /// `spec.localASN`.
    pub local_asn: Option<Asn>,
    /// Annotation `ferrolb.io/ttl-security-hops`, 1..=254.
    pub ttl_security: Option<u8>,
}

impl Peer {
    /// The longest name that Linux gives an interface (IFNAMSIZ less its end).
    pub const INTERFACE_MAX: usize = 15;

    /// Whether nodes with these labels have this session.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_all(&self.nodes, labels)
    }
}

pub(super) fn parse(
    input: &Input,
    last: &Config,
    bfd: &BTreeMap<BfdName, Arc<BfdProfile>>,
    problems: &mut Problems,
) -> BTreeMap<PeerName, Arc<Peer>> {
    let read = |name: &str, peer: &api::BGPPeer, report: &mut Report<'_>| {
        let namespace = peer.metadata.namespace.as_deref().unwrap_or_default();
        read(
            name,
            peer,
            &Secrets { of: &input.secrets, namespace, elsewhere: input.secrets_elsewhere },
            bfd,
            report,
        )
    };
    settle::all(settle::read(Kind::BGPPeer, input, &input.peers, &last.peers, problems, read))
}

fn read(
    name: &str,
    object: &api::BGPPeer,
    secrets: &Secrets<'_>,
    bfd: &BTreeMap<BfdName, Arc<BfdProfile>>,
    report: &mut Report<'_>,
) -> Option<Peer> {
    let spec = &object.spec;
    report.value("metadata.name", Word::new(name));
    let my_asn = report.value("spec.myASN", Asn::new(spec.my_asn).ok_or("missing local ASN"));
    let remote_as = remote_as(spec, report);
    let source = source(spec, report);
    let neighbor = neighbor(spec, source, report);
    let internal = match remote_as {
        Some(RemoteAs::Number(asn)) => my_asn == Some(asn),
        Some(RemoteAs::Internal) => true,
        Some(RemoteAs::External) | None => false,
    };
    let ebgp_multihop = spec.ebgp_multi_hop.unwrap_or(false);
    // With dynamicASN MetalLB accepts both together, and FRR then ignores the hops.
    if ebgp_multihop && internal && spec.dynamic_asn.is_none() {
        report.fault("spec.ebgpMultiHop", "an internal session cannot be multihop: peerASN is myASN");
    }
    let local_asn = spec.local_asn.and_then(Asn::new);
    if let Some(local) = local_asn {
        if internal {
            report.fault("spec.localASN", "an internal session can have no local ASN of its own");
        } else if Some(local) == my_asn {
            report.fault("spec.localASN", "must not be myASN");
        }
    }
    let router_id = text(spec.router_id.as_deref()).and_then(|t| {
        let id = t.parse::<Ipv4Addr>().ok().filter(|id| !id.is_unspecified());
        report.value("spec.routerID", id.ok_or(format!("{t:?} is not a router ID: write it like 192.0.2.1")))
    });
    let bfd_name = text(spec.bfd_profile.as_deref()).and_then(|profile| {
        let found = bfd.get_key_value(profile).map(|(name, _)| name.clone());
        let missing = || format!("peer {name} referencing non existing bfd profile {profile}");
        report.value("spec.bfdProfile", found.ok_or_else(missing))
    });
    // FRR knows the default VRF by that name too: a second instance of it would be the first one.
    let vrf = text(spec.vrf.as_deref()).filter(|vrf| *vrf != "default");
    let vrf = vrf.and_then(|vrf| report.value("spec.vrf", interface(vrf)));
    let port = port(spec, report);
    let secret = spec.password_secret.as_ref().and_then(|secret| text(secret.name.as_deref()));
    let peer = Peer {
        password: password(name, spec, secret, secrets, report),
        secret: secret.map(Arc::from),
        timers: timers::timers(spec.hold_time.as_ref(), spec.keepalive_time.as_ref(), report),
        connect_time: spec.connect_time.as_ref().and_then(|t| timers::connect_time(t, report)),
        nodes: report.selectors("spec.nodeSelectors", &spec.node_selectors),
        my_asn: my_asn?,
        remote_as: remote_as?,
        neighbor: neighbor?,
        port: port?,
        source,
        router_id,
        bfd: bfd_name,
        graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
        ebgp_multihop,
        vrf,
        dual_stack: spec.dual_stack_address_family.unwrap_or(false),
        local_asn,
        ttl_security: ttl_security(object, internal, report),
    };
    Some(peer)
}

/// How far away the router may be. An unnumbered session is always one with the next hop.
fn ttl_security(object: &api::BGPPeer, internal: bool, report: &mut Report<'_>) -> Option<u8> {
    const NAME: &str = annotation::TTL_SECURITY;
    let hops = annotation::number(&object.metadata, NAME, 1..=254, report)?;
    let refusal = match &object.spec {
        _ if internal => "is for external sessions: FRR ignores it for internal ones",
        spec if spec.ebgp_multi_hop == Some(true) => {
            "and ebgpMultiHop cannot both be set: it says how many hops itself"
        }
        spec if text(spec.interface.as_deref()).is_some() && hops > 1 => {
            "must be 1 for a session over an interface"
        }
        _ => return u8::try_from(hops).ok(),
    };
    report.fault(annotation::field(NAME), refusal);
    None
}

fn remote_as(spec: &api::BGPPeerSpec, report: &mut Report<'_>) -> Option<RemoteAs> {
    match (spec.peer_asn.and_then(Asn::new), spec.dynamic_asn) {
        (Some(asn), None) => Some(RemoteAs::Number(asn)),
        (None, Some(api::DynamicAsn::Internal)) => Some(RemoteAs::Internal),
        (None, Some(api::DynamicAsn::External)) => Some(RemoteAs::External),
        (None, None) => {
            report.fault("spec.peerASN", "missing peer ASN: one of peerASN and dynamicASN is needed");
            None
        }
        (Some(_), Some(_)) => {
            report.fault("spec.dynamicASN", "peerASN and dynamicASN cannot both be set");
            None
        }
    }
}

/// `spec.sourceAddress`. A session over an interface comes from the link-local address there, whatever is written:
/// FRR takes no notice of it, and such a session runs.
fn source(spec: &api::BGPPeerSpec, report: &mut Report<'_>) -> Option<IpAddr> {
    let written = text(spec.source_address.as_deref())?;
    let peer = text(spec.peer_address.as_deref()).and_then(address::address);
    let source = report.value("spec.sourceAddress", address::of_source(written, peer)).flatten();
    source.filter(|_| text(spec.interface.as_deref()).is_none())
}

fn neighbor(spec: &api::BGPPeerSpec, source: Option<IpAddr>, report: &mut Report<'_>) -> Option<Neighbor> {
    match (text(spec.peer_address.as_deref()), text(spec.interface.as_deref())) {
        (Some(written), None) => {
            report.value("spec.peerAddress", address::of_peer(written, source)).map(Neighbor::Address)
        }
        (None, Some(name)) => report.value("spec.interface", interface(name)).map(Neighbor::Interface),
        (None, None) => {
            report.fault("spec.peerAddress", "one of peerAddress and interface is needed");
            None
        }
        (Some(_), Some(_)) => {
            report.fault("spec.interface", "peerAddress and interface cannot both be set");
            None
        }
    }
}

/// The name of an interface. FRR would take an address for a name, and then refuse everything else about it.
fn interface(name: &str) -> Result<Word, String> {
    match Word::new(name) {
        Err(fault) => Err(fault.to_string()),
        Ok(_) if name.parse::<IpAddr>().is_ok() => {
            Err("is an address: that is what peerAddress is for".to_owned())
        }
        Ok(_) if name.len() > Peer::INTERFACE_MAX || name.contains('/') => {
            Err(format!("is no interface's name: at most {} bytes, without a slash", Peer::INTERFACE_MAX))
        }
        Ok(name) => Ok(name),
    }
}

fn port(spec: &api::BGPPeerSpec, report: &mut Report<'_>) -> Option<u16> {
    let port = spec.peer_port.unwrap_or(179);
    let refusal = || format!("must be 1 to 16384, is {port}");
    report.value("spec.peerPort", (1..=16384).contains(&port).then_some(port).ok_or_else(refusal))
}

/// The Secrets, and the namespace that they are in.
struct Secrets<'a> {
    of: &'a BTreeMap<String, Secret>,
    namespace: &'a str,
    /// Whether they are somebody else's to look up.
    elsewhere: bool,
}

fn password(
    name: &str,
    spec: &api::BGPPeerSpec,
    secret: Option<&str>,
    secrets: &Secrets<'_>,
    report: &mut Report<'_>,
) -> Option<Password> {
    match (text(spec.password.as_deref()), secret) {
        (None, None) => None,
        (None, Some(_)) if secrets.elsewhere => None,
        (Some(password), None) => report.value("spec.password", Password::new(password)),
        (Some(_), Some(_)) => {
            report.fault("spec.password", "password and passwordSecret cannot both be set");
            None
        }
        (None, Some(secret)) => {
            let what = match password_of(secret, secrets.of, secrets.namespace) {
                Ok(password) => return Some(password),
                Err(what) => what,
            };
            // These words are MetalLB's, line break and all: its users' tests compare them.
            let what = format!("parsing peer {name} {what}\nfailed to parse peer {name} password secret");
            report.fault("spec.passwordSecret", what);
            None
        }
    }
}

/// The password in the Secret `name`, or why there is none.
pub(super) fn password_of(
    name: &str,
    secrets: &BTreeMap<String, Secret>,
    namespace: &str,
) -> Result<Password, String> {
    match secrets.get(name) {
        Some(Secret::Password(password)) => Ok(password.clone()),
        None => Err(format!("secret ref not found for peer config \"{namespace}\"/\"{name}\"")),
        Some(Secret::OtherType) => {
            let kind = Secret::TYPE;
            Err(format!("secret type mismatch on \"{namespace}\"/\"{name}\", type \"{kind}\" is expected "))
        }
        Some(Secret::WithoutPassword) => {
            Err(format!("secret \"{namespace}\"/\"{name}\" has no key \"{}\"", Secret::KEY))
        }
        // not which character it is: this goes to logs
        Some(Secret::Unfit) => Err(format!(
            "password in secret \"{namespace}\"/\"{name}\" cannot go into frr.conf: that takes 1 to {} printable \
             ASCII characters without white space (a line break at its end is one)",
            Password::MAX
        )),
    }
}

/// A text field, of which clients write the empty text where they mean nothing.
fn text(field: Option<&str>) -> Option<&str> {
    field.filter(|text| !text.is_empty())
}
