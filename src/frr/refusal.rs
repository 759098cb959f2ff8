//! Which field of an object a line that FRR refused is there for.
//!
//! A line says by its words what it sets. Where they do not tell one field, the smallest part of the object that they
//! do tell is named, and none where not even that is known.

use super::{Subject, build::FIELDS};
use crate::{
    api,
    config::{Input, Kind, Neighbor, ObjectRef},
    names::Word,
};
use std::net::IpAddr;

/// The words of a neighbour's line that follow its name, and the field of an FRRConfiguration's neighbour behind them.
const OPTIONS: [(&str, &str); 12] = [
    ("remote-as", "asn"),
    ("local-as", "localASN"),
    ("bfd", "bfdProfile"),
    ("password", "password"),
    ("port", "port"),
    ("ebgp-multihop", "ebgpMultiHop"),
    ("ttl-security", "ttlSecurityHops"),
    ("update-source", "sourceaddress"),
    ("timers connect", "connectTime"),
    ("timers", "holdTime"),
    ("graceful-restart", "enableGracefulRestart"),
    ("graceful-restart-disable", "enableGracefulRestart"),
];

/// The words that a line of a BFD profile begins with, and its field.
const PROFILE: [(&str, &str); 8] = [
    ("detect-multiplier", "detectMultiplier"),
    ("transmit-interval", "transmitInterval"),
    ("receive-interval", "receiveInterval"),
    ("echo-mode", "echoMode"),
    ("echo transmit-interval", "echoInterval"),
    ("echo receive-interval", "echoInterval"),
    ("passive-mode", "passiveMode"),
    ("minimum-ttl", "minimumTtl"),
];

/// The field of `object` that `line`, which is about `subject`, is there for; empty where that is not known.
#[must_use]
pub fn field(object: &ObjectRef, subject: &Subject, line: &str, input: &Input) -> String {
    match object.kind {
        Kind::BGPPeer => of_peer(input.peers.get(&object.name), subject, line).to_owned(),
        Kind::BFDProfile => match found(&PROFILE, positive(line)) {
            Some(field) => format!("spec.{field}"),
            None => "spec".to_owned(),
        },
        Kind::FRRConfiguration => match input.frr_configurations.get(&object.name) {
            Some(user) => of_user(user, subject, line),
            None => String::new(),
        },
        Kind::ConfigMap => "data.extras".to_owned(),
        Kind::Service => "status.loadBalancer".to_owned(),
        _ => String::new(),
    }
}

fn of_peer(peer: Option<&api::BGPPeer>, subject: &Subject, line: &str) -> &'static str {
    let Subject::Neighbor(..) = subject else { return "spec" };
    let spec = peer.map(|peer| &peer.spec);
    match option(line) {
        Some("asn") if spec.is_some_and(|spec| spec.dynamic_asn.is_some()) => "spec.dynamicASN",
        Some("password") if spec.is_some_and(|spec| spec.password_secret.is_some()) => "spec.passwordSecret",
        Some(option) => FIELDS.iter().find(|(name, _)| *name == option).map_or("spec", |(_, field)| field),
        None => "spec",
    }
}

fn of_user(user: &api::FRRConfiguration, subject: &Subject, line: &str) -> String {
    const RAW: &str = "spec.raw.rawConfig";
    let written = |text: &str| user.spec.raw.raw_config.lines().any(|own| own.trim() == text);
    let (vrf, neighbor) = match subject {
        Subject::Raw(_) => return RAW.to_owned(),
        _ if written(line.trim()) => return RAW.to_owned(),
        Subject::BfdProfile(name) => {
            let at = |profile: &api::FRRBfdProfile| profile.name == name.as_str();
            let field = found(&PROFILE, positive(line)).map(|field| format!(".{field}")).unwrap_or_default();
            return match user.spec.bgp.bfd_profiles.iter().position(at) {
                Some(i) => format!("spec.bgp.bfdProfiles[{i}]{field}"),
                None => "spec".to_owned(),
            };
        }
        Subject::Router(vrf) => (vrf, None),
        Subject::Neighbor(vrf, neighbor) => (vrf, Some(neighbor)),
        _ => return "spec.bgp".to_owned(),
    };
    let here = |router: &api::FRRRouter| router.vrf == vrf.as_ref().map_or("", Word::as_str);
    let mut routers = user.spec.bgp.routers.iter().enumerate().filter(|(_, router)| here(router));
    let Some((i, router)) = routers.next() else { return "spec.bgp.routers".to_owned() };
    let is = |other: &api::FRRNeighbor| match neighbor {
        Some(Neighbor::Address(ip)) => other.address.parse::<IpAddr>().is_ok_and(|other| other == *ip),
        Some(Neighbor::Interface(name)) => other.interface == name.as_str(),
        None => false,
    };
    match router.neighbors.iter().position(is) {
        Some(j) => {
            let option = option(line).map(|field| format!(".{field}")).unwrap_or_default();
            format!("spec.bgp.routers[{i}].neighbors[{j}]{option}")
        }
        None => format!("spec.bgp.routers[{i}]"),
    }
}

/// The field of a neighbour that a line is there for.
fn option(line: &str) -> Option<&'static str> {
    let (_name, words) = positive(line).strip_prefix("neighbor ")?.split_once(' ')?;
    found(&OPTIONS, words.strip_prefix("interface ").unwrap_or(words))
}

fn positive(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix("no ").unwrap_or(line)
}

fn found(table: &[(&str, &'static str)], line: &str) -> Option<&'static str> {
    let begins =
        |words: &str| line.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    table.iter().find(|(words, _)| begins(words)).map(|(_, field)| *field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_words_of_a_line_tell_the_field() {
        let mut input = Input::default();
        let peer = json!({"metadata": {"name": "p"}, "spec": {"myASN": 1, "dynamicASN": "external",
            "peerAddress": "10.0.0.1", "passwordSecret": {"name": "s"}}});
        input.peers.insert("p".into(), serde_json::from_value(peer).unwrap());
        let user = json!({"metadata": {"name": "u"}, "spec": {
            "bgp": {
                "routers": [{"asn": 1, "vrf": "red"}, {"asn": 1, "neighbors": [
                    {"asn": 2, "interface": "eth0"}, {"asn": 2, "address": "10.0.0.1"}]}],
                "bfdProfiles": [{"name": "a"}, {"name": "b"}]},
            "raw": {"rawConfig": "router bgp 1\n neighbor 10.0.0.1 timers 3 9\n"}}});
        input.frr_configurations.insert("u".into(), serde_json::from_value(user).unwrap());
        let peer = || Subject::Neighbor(None, Neighbor::Address("10.0.0.1".parse().unwrap()));
        let profile = |name: &str| Subject::BfdProfile(Word::new(name).unwrap());
        let red = Some(Word::new("red").unwrap());
        for (kind, subject, line, expected) in [
            (Kind::BGPPeer, peer(), "neighbor 10.0.0.1 remote-as external", "spec.dynamicASN"),
            (Kind::BGPPeer, peer(), "neighbor 10.0.0.1 password", "spec.passwordSecret"),
            (Kind::BGPPeer, peer(), "no neighbor 10.0.0.1 timers 3 9", "spec.holdTime"),
            (Kind::BGPPeer, peer(), "neighbor 10.0.0.1 timers connect 3", "spec.connectTime"),
            (Kind::BGPPeer, peer(), "neighbor 10.0.0.1 update-source 10.0.0.2", "spec.sourceAddress"),
            (Kind::BGPPeer, peer(), "neighbor 10.0.0.1 portal", "spec"),
            (Kind::BFDProfile, profile("b"), "echo transmit-interval 5", "spec.echoInterval"),
            (Kind::BFDProfile, profile("b"), "profile b", "spec"),
            (Kind::FRRConfiguration, Subject::Raw("u".into()), "fly to the moon", "spec.raw.rawConfig"),
            (Kind::FRRConfiguration, peer(), "neighbor 10.0.0.1 timers 3 9", "spec.raw.rawConfig"),
            (
                Kind::FRRConfiguration,
                peer(),
                "neighbor 10.0.0.1 remote-as 2",
                "spec.bgp.routers[1].neighbors[1].asn",
            ),
            (
                Kind::FRRConfiguration,
                Subject::Neighbor(None, Neighbor::Interface(Word::new("eth0").unwrap())),
                "neighbor eth0 interface remote-as 2",
                "spec.bgp.routers[1].neighbors[0].asn",
            ),
            (Kind::FRRConfiguration, Subject::Router(red), "bgp router-id 1.1.1.1", "spec.bgp.routers[0]"),
            (Kind::FRRConfiguration, profile("b"), "minimum-ttl 3", "spec.bgp.bfdProfiles[1].minimumTtl"),
            (Kind::ConfigMap, Subject::Raw("x".into()), "x", "data.extras"),
            (
                Kind::Service,
                Subject::Prefix(None, "10.0.0.1/32".parse().unwrap()),
                "x",
                "status.loadBalancer",
            ),
            (Kind::Node, Subject::Node, "log stdout", ""),
        ] {
            let name = if kind == Kind::BGPPeer { "p" } else { "u" }.to_owned();
            assert_eq!(field(&ObjectRef { kind, name }, &subject, line, &input), expected, "{kind} {line}");
        }
    }
}
