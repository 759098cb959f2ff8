//! Whose fault it is: from a field of our own FRRConfiguration back to the object that a user wrote.
//!
//! What `config` accepts, `merge` finds nothing wrong with, which a property test holds. Should the two ever part,
//! the complaint still names something that the user can change.

use super::{Built, policy_key};
use crate::{
    api,
    config::{Kind, ObjectRef, Problems},
};

/// A neighbour's field in an FRRConfiguration, and that of a BGPPeer that it was made of.
pub(in crate::frr) const FIELDS: [(&str, &str); 16] = [
    ("asn", "spec.peerASN"),
    ("dynamicASN", "spec.dynamicASN"),
    ("localASN", "spec.localASN"),
    ("address", "spec.peerAddress"),
    ("interface", "spec.interface"),
    ("sourceaddress", "spec.sourceAddress"),
    ("port", "spec.peerPort"),
    ("password", "spec.password"),
    ("passwordSecret", "spec.passwordSecret"),
    ("holdTime", "spec.holdTime"),
    ("keepaliveTime", "spec.keepaliveTime"),
    ("connectTime", "spec.connectTime"),
    ("ebgpMultiHop", "spec.ebgpMultiHop"),
    ("bfdProfile", "spec.bfdProfile"),
    ("ttlSecurityHops", "metadata.annotations[ferrolb.io/ttl-security-hops]"),
    ("enableGracefulRestart", "spec.enableGracefulRestart"),
];

impl Built {
    /// `problems`, those of our own object told of the BGPPeer or the BFDProfile behind it. One with no such object
    /// behind it stays where it is.
    #[must_use]
    pub fn blame(&self, problems: Problems) -> Problems {
        let own = self.object.metadata.name.as_deref();
        let mut told = Problems::default();
        for problem in problems.iter() {
            let ours = problem.object.kind == Kind::FRRConfiguration && own == Some(&*problem.object.name);
            let blamed = if ours { self.behind(&problem.field) } else { Vec::new() };
            for (object, field) in &blamed {
                told.add(object.clone(), *field, &problem.what);
            }
            if blamed.is_empty() {
                told.add(problem.object.clone(), &problem.field, &problem.what);
            }
        }
        told
    }

    /// The objects behind a field, each with its own field.
    fn behind(&self, field: &str) -> Vec<(ObjectRef, &'static str)> {
        let bgp = &self.object.spec.bgp;
        if let Some((profile, rest)) = item(field, "spec.bgp.bfdProfiles", &bgp.bfd_profiles) {
            let field = if rest == "name" { "metadata.name" } else { "spec" };
            return vec![(ObjectRef { kind: Kind::BFDProfile, name: profile.name.clone() }, field)];
        }
        let Some((router, rest)) = item(field, "spec.bgp.routers", &bgp.routers) else { return Vec::new() };
        match item(rest, "neighbors", &router.neighbors) {
            Some((neighbor, rest)) => {
                let field = FIELDS.iter().find(|(name, _)| *name == rest).map_or("", |(_, field)| *field);
                self.peer(router, neighbor).map(|peer| (peer, field)).into_iter().collect()
            }
            None => {
                let field = match rest {
                    "asn" => "spec.myASN",
                    "id" => "spec.routerID",
                    "vrf" => "spec.vrf",
                    _ => "",
                };
                let peers = router.neighbors.iter().filter_map(|neighbor| self.peer(router, neighbor));
                peers.map(|peer| (peer, field)).collect()
            }
        }
    }

    fn peer(&self, router: &api::FRRRouter, neighbor: &api::FRRNeighbor) -> Option<ObjectRef> {
        let name = self.peers.get(&policy_key(&router.vrf, neighbor)?)?;
        Some(ObjectRef { kind: Kind::BGPPeer, name: name.to_string() })
    }
}

/// The item that `field`, `LIST[INDEX].REST`, is about, and the rest.
fn item<'a, T>(field: &'a str, list: &str, items: &'a [T]) -> Option<(&'a T, &'a str)> {
    let (index, rest) = field.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    let item = items.get(index.parse::<usize>().ok()?)?;
    Some((item, rest.strip_prefix('.').unwrap_or(rest)))
}
