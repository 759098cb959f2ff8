//! Users' FRRConfigurations among the objects that are edited: what they add for the lab's peers, neighbours of their
//! own, lines for FRR itself, and faults.
//!
//! One that has a fault counts as its last version that had none; without such a version, what is sound in it counts.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use serde_json::{Value, json};

use super::objects::{PEERS, Random, Told, router, session};
use crate::{
    fabric::{NODE_ASN, Segment},
    lab::Lab,
};

/// The most of them at a time.
const SLOTS: u64 = 4;
/// Few, so that objects share some. The first of each family is the first address of a pool, too.
const PREFIXES: [&str; 7] = [
    "10.99.0.0/32",
    "198.51.100.1/32",
    "198.51.100.0/24",
    "192.0.2.0/26",
    "fd00:99::/128",
    "2001:db8:1::/48",
    "2001:db8:2::1/128",
];
const COMMUNITIES: [&str; 3] = ["64514:1", "64514:2", "64512:1"];
/// An address that no router has.
const NOBODY: u8 = 90;

/// One object.
#[derive(Clone, Debug)]
struct User {
    prefixes: Vec<&'static str>,
    /// Whom they are told.
    peers: Vec<&'static str>,
    /// Whether the list of what is told says `all`.
    all: bool,
    community: Option<&'static str>,
    receive: Value,
    /// A neighbour of its own, which never answers.
    stranger: bool,
    raw: Option<String>,
    /// Whether it is for another node.
    elsewhere: bool,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its router has another AS than ours: nothing of it stands.
    Router,
    /// It tells a prefix that it does not have: the rest stands.
    Prefix,
}

/// What is written, and the last version without a fault.
#[derive(Debug)]
struct Written {
    now: User,
    last: Option<User>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeMap<String, Written>);

impl Users {
    /// Makes, changes or deletes one. Only `present` peers are named: a session by its user alone has another pace.
    pub(super) fn edit(
        &mut self,
        random: &mut Random,
        present: &[&'static str],
        lab: &Lab,
    ) -> Result<String> {
        let name = format!("user-{}", random.below(SLOTS));
        if self.0.contains_key(&name) && random.below(4) == 0 {
            self.0.remove(&name);
            lab.manifests.remove(&name)?;
            return Ok(format!("no FRRConfiguration {name}"));
        }
        let before = self.0.get(&name);
        let last =
            before.and_then(|w| if w.now.fault.is_none() { Some(w.now.clone()) } else { w.last.clone() });
        let mut user = User::random(random, present)?;
        if matches!(user.fault, Some(Fault::Prefix)) && !user.peers.iter().any(|peer| peer.ends_with("-v4")) {
            user.fault = Some(Fault::Router);
        }
        if last.as_ref().is_some_and(|last| last.elsewhere) || user.elsewhere {
            user.fault = None;
        }
        lab.manifests.put(&name, &user.json(&name).to_string())?;
        let what = format!("FRRConfiguration {name}: {user:?}");
        self.0.insert(name, Written { now: user, last });
        Ok(what)
    }

    /// Whether one names this peer.
    pub(super) fn name(&self, peer: &str) -> bool {
        let all = self.0.values().flat_map(|written| [Some(&written.now), written.last.as_ref()]);
        all.flatten().any(|user| user.peers.contains(&peer))
    }

    /// Adds what they want to be told.
    pub(super) fn want(&self, wanted: &mut Told, lab: &Lab) -> Result<()> {
        for user in self.0.values().filter_map(Written::counts) {
            for peer in &user.peers {
                let told = wanted.entry(session(lab, peer)?).or_default();
                for prefix in user.of(peer) {
                    let communities = told.entry(prefix.to_owned()).or_default();
                    communities.extend(user.community.map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    /// Puts an earlier version in the place of one with a fault: a node that has just started knows none.
    pub(super) fn mend(&mut self, lab: &Lab) -> Result<()> {
        for (name, written) in &mut self.0 {
            if let (Some(_), Some(last)) = (written.now.fault, written.last.clone()) {
                lab.manifests.put(name, &last.json(name).to_string())?;
                written.now = last;
            }
        }
        Ok(())
    }
}

impl Written {
    /// The version that counts on the node.
    fn counts(&self) -> Option<&User> {
        let user = match (self.now.fault, &self.last) {
            (None, _) | (Some(Fault::Prefix), None) => &self.now,
            (Some(_), Some(last)) => last,
            (Some(Fault::Router), None) => return None,
        };
        (!user.elsewhere).then_some(user)
    }
}

impl User {
    fn random(random: &mut Random, present: &[&'static str]) -> Result<Self> {
        let peers: Vec<&'static str> = random.some(present, 0)?.into_iter().collect();
        let receive = match random.below(4) {
            0 => json!({"mode": "all"}),
            1 => {
                json!({"prefixes": [{"prefix": "10.0.0.0/8", "le": 24}, {"prefix": "2001:db8::/32", "ge": 48}]})
            }
            2 => json!({"prefixes": [{"prefix": "192.0.2.0/24"}]}),
            _ => json!({}),
        };
        let raw = match random.below(8) {
            0 => Some("ip prefix-list RAW seq 5 permit 192.0.2.0/24\n".to_owned()),
            1 => Some("ip route 203.0.113.0/24 blackhole\n".to_owned()),
            // takes the place of a line of ours
            2 => Some(format!("route-map {}-in permit 20\n", address(random.of(&PEERS)?))),
            3 => Some(format!(
                "router bgp {NODE_ASN}\n neighbor {} advertisement-interval 1\n",
                address(random.of(&PEERS)?)
            )),
            _ => None,
        };
        Ok(Self {
            prefixes: random.some(&PREFIXES, 1)?.into_iter().collect(),
            peers,
            all: random.below(2) == 0,
            community: if random.below(2) == 0 { Some(*random.of(&COMMUNITIES)?) } else { None },
            receive,
            stranger: random.below(3) == 0,
            raw,
            elsewhere: random.below(8) == 0,
            fault: match random.below(8) {
                0 => Some(Fault::Router),
                1 => Some(Fault::Prefix),
                _ => None,
            },
        })
    }

    /// The prefixes of the peer's family.
    fn of(&self, peer: &str) -> impl Iterator<Item = &'static str> {
        let v6 = peer.ends_with("-v6");
        self.prefixes.iter().copied().filter(move |prefix| prefix.contains(':') == v6)
    }

    fn json(&self, name: &str) -> Value {
        let faulty = |fault: fn(Fault) -> bool| self.fault.is_some_and(fault);
        let mut unknown = faulty(|fault| matches!(fault, Fault::Prefix)).then_some("203.0.113.0/24");
        let mut neighbors = Vec::new();
        for peer in &self.peers {
            let mut prefixes: Vec<&str> = self.of(peer).collect();
            let communities: Vec<Value> = self
                .community
                .into_iter()
                .filter(|_| !prefixes.is_empty())
                .map(|community| json!({"community": community, "prefixes": prefixes.clone()}))
                .collect();
            let all = self.all && unknown.is_none();
            if peer.ends_with("-v4") {
                prefixes.extend(unknown.take());
            }
            let allowed = if all { json!({"mode": "all"}) } else { json!({"prefixes": prefixes}) };
            neighbors.push(json!({
                "address": address(peer), "asn": router(peer).1,
                "toAdvertise": {"allowed": allowed, "withCommunity": communities},
                "toReceive": {"allowed": self.receive},
            }));
        }
        if self.stranger {
            let address = IpAddr::from(Segment::Tor.v4(NOBODY));
            neighbors
                .push(json!({"address": address, "asn": 65090, "toAdvertise": {"allowed": {"mode": "all"}}}));
        }
        let asn = if faulty(|fault| matches!(fault, Fault::Router)) { 64999 } else { NODE_ASN };
        let router = json!({"asn": asn, "prefixes": self.prefixes, "neighbors": neighbors});
        let mut spec = serde_json::Map::from_iter([("bgp".to_owned(), json!({"routers": [router]}))]);
        if let Some(raw) = &self.raw {
            spec.insert("raw".to_owned(), json!({"rawConfig": raw, "priority": 5}));
        }
        if self.elsewhere {
            let labels = json!({"kubernetes.io/hostname": "n9"});
            spec.insert("nodeSelector".to_owned(), json!({"matchLabels": labels}));
        }
        json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
            "metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec,
        })
    }
}

/// The router's end of the session with this peer.
pub(super) fn address(peer: &str) -> IpAddr {
    let (segment, _) = router(peer);
    if peer.ends_with("-v4") { segment.v4(1).into() } else { segment.v6(1).into() }
}
