//! The objects that are edited, what the routers should know because of them, and the edits.
//!
//! What is wanted is computed here from the rules that the user reads, apart from the product. An edit of another kind of
//! object is one more arm of [`Objects::edit`], and what it means one more line of [`Objects::wanted`];
//! [`Users`] are an example.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result};
use ferrolb::net::prefix_of;

use super::users::{Users, address};
use crate::{
    fabric::{BIRD_ASN, Segment, TOR_ASN},
    lab::Lab,
    objects::{self, Service},
    tor::Family,
};

/// Of each session what its router was told: prefixes, and their communities. A session is called by the node's address.
pub(super) type Told = BTreeMap<IpAddr, BTreeMap<String, BTreeSet<String>>>;

/// Pools that come and go; `routed` stays.
const EXTRA: [&str; 3] = ["extra-0", "extra-1", "extra-2"];
pub(super) const PEERS: [&str; 4] = ["tor-v4", "tor-v6", "bird-v4", "bird-v6"];
const COMMUNITIES: [&str; 4] = ["64512:1", "64512:2", "64512:3", "65535:666"];
/// What is announced to everyone all the time, so that every session always has something to tell.
const STEADY: &str = "steady";
/// The most Services and advertisements at a time, and the fewest peers.
const SERVICES: usize = 40;
const ADVERTISEMENTS: u64 = 5;
const FEWEST_PEERS: usize = 2;

/// A BGPAdvertisement.
#[derive(Clone, Debug)]
struct Advertisement {
    pools: BTreeSet<&'static str>,
    /// All when empty.
    peers: BTreeSet<&'static str>,
    /// Whether addresses are aggregated to /28 and /124.
    aggregated: bool,
    communities: BTreeSet<String>,
}

/// What may change of a BGPPeer.
#[derive(Clone, Copy, Debug)]
struct Peer {
    connect: u64,
    hold: u64,
    multihop: bool,
}

/// All that is there.
#[derive(Debug)]
pub(super) struct Objects {
    services: BTreeMap<String, Service>,
    pools: BTreeSet<&'static str>,
    advertisements: BTreeMap<String, Advertisement>,
    peers: BTreeMap<&'static str, Peer>,
    users: Users,
    named: u64,
}

/// What an edit was.
pub(super) struct Edited {
    /// In words.
    pub(super) what: String,
    /// The session whose own settings it changed.
    pub(super) peer: Option<IpAddr>,
}

impl Default for Objects {
    fn default() -> Self {
        let everywhere = Advertisement {
            pools: [STEADY].into(),
            peers: BTreeSet::new(),
            aggregated: false,
            communities: BTreeSet::new(),
        };
        let peer = Peer { connect: 1, hold: 9, multihop: false };
        Self {
            services: BTreeMap::new(),
            pools: ["routed", STEADY].into(),
            advertisements: [(STEADY.to_owned(), everywhere)].into(),
            peers: PEERS.map(|name| (name, peer)).into(),
            users: Users::default(),
            named: 0,
        }
    }
}

impl Objects {
    /// How many Services there are.
    pub(super) fn services(&self) -> usize {
        self.services.len()
    }

    /// Writes everything but the peers.
    pub(super) fn write_all(&mut self, lab: &Lab) -> Result<()> {
        lab.manifests.remove("advertisements")?;
        lab.manifests.put("pool-steady", &objects::pool(STEADY, &["10.97.0.0/31", "fd00:97::/127"]))?;
        self.write_advertisement(lab, STEADY)?;
        self.write_service(lab, Service::new(STEADY, STEADY, &lab.fabric))
    }

    /// Writes the peers.
    pub(super) fn write_peers(&self, lab: &Lab) -> Result<()> {
        PEERS.iter().try_for_each(|name| self.write_peer(lab, name))
    }

    /// Marks what everyone is told all the time with a number: where it arrives, the edit before it has been carried out.
    pub(super) fn mark(&mut self, lab: &Lab, number: usize) -> Result<()> {
        let steady = self.advertisements.get_mut(STEADY).context("the steady advertisement")?;
        steady.communities = [format!("64513:{}", number % 65536)].into();
        self.write_advertisement(lab, STEADY)
    }

    /// One random edit.
    pub(super) fn edit(&mut self, random: &mut Random, lab: &Lab) -> Result<Edited> {
        let edited = |what: String| Ok(Edited { what, peer: None });
        let others: Vec<String> = self.services.keys().filter(|name| *name != STEADY).cloned().collect();
        match random.below(26) {
            20.. => {
                let present: Vec<&'static str> = self.peers.keys().copied().collect();
                edited(self.users.edit(random, &present, lab)?)
            }
            0..=6 if self.services.len() < SERVICES => {
                self.named += 1;
                let pools: Vec<&'static str> = [&["routed"], &EXTRA[..]].concat();
                let mut service = Service::new(&format!("s{}", self.named), random.of(&pools)?, &lab.fabric);
                service.families = match random.below(3) {
                    0 => vec![Family::V4],
                    1 => vec![Family::V6],
                    _ => Family::ALL.to_vec(),
                };
                let what = format!("Service {} of pool {}", service.name, service.pool);
                self.write_service(lab, service)?;
                edited(what)
            }
            0..=9 if !others.is_empty() => {
                let name = random.of(&others)?;
                self.services.remove(name);
                lab.manifests.remove(&format!("service-{name}"))?;
                edited(format!("no Service {name}"))
            }
            10..=12 if !others.is_empty() => {
                let name = random.of(&others)?;
                let mut service = self.services.get(name).context("a Service")?.clone();
                match random.below(2) {
                    0 => service.local = !service.local,
                    _ if service.endpoints.is_empty() => service.endpoints.push("n1".to_owned()),
                    _ => service.endpoints.clear(),
                }
                let what = format!("Service {name}: local {}, {:?}", service.local, service.endpoints);
                self.write_service(lab, service)?;
                edited(what)
            }
            13 => {
                let at = random.below(EXTRA.len() as u64);
                let name = *EXTRA.get(usize::try_from(at)?).context("a pool")?;
                let file = format!("pool-{name}");
                if self.pools.remove(name) {
                    lab.manifests.remove(&file)?;
                    return edited(format!("no pool {name}"));
                }
                self.pools.insert(name);
                let addresses = [format!("10.98.{at}.0/27"), format!("fd00:98:{at}::/123")];
                lab.manifests.put(&file, &objects::pool(name, &[&addresses[0], &addresses[1]]))?;
                edited(format!("pool {name}"))
            }
            14..=17 => {
                let name = format!("a{}", random.below(ADVERTISEMENTS));
                if random.below(3) == 0 && self.advertisements.remove(&name).is_some() {
                    lab.manifests.remove(&format!("advertisement-{name}"))?;
                    return edited(format!("no advertisement {name}"));
                }
                let advertisement = Advertisement {
                    pools: random.some(&[&["routed"], &EXTRA[..]].concat(), 1)?,
                    peers: if random.below(2) == 0 { BTreeSet::new() } else { random.some(&PEERS, 1)? },
                    aggregated: random.below(3) == 0,
                    communities: random.some(&COMMUNITIES, 0)?.into_iter().map(str::to_owned).collect(),
                };
                let what = format!("advertisement {name}: {advertisement:?}");
                self.advertisements.insert(name.clone(), advertisement);
                self.write_advertisement(lab, &name)?;
                edited(what)
            }
            _ => {
                let name = *random.of(&PEERS)?;
                let enough = self.peers.len() > FEWEST_PEERS && !self.users.name(name);
                let what = match (self.peers.get_mut(name), random.below(4)) {
                    (None, _) => {
                        self.peers.insert(name, Peer { connect: 1, hold: 9, multihop: false });
                        "is back".to_owned()
                    }
                    (Some(_), 0) if enough => {
                        self.peers.remove(name);
                        "is gone".to_owned()
                    }
                    (Some(peer), 1) => {
                        peer.multihop = !peer.multihop;
                        format!("{peer:?}")
                    }
                    (Some(peer), 2) => {
                        peer.hold = if peer.hold == 9 { 12 } else { 9 };
                        format!("{peer:?}")
                    }
                    (Some(peer), _) => {
                        peer.connect = if peer.connect == 1 { 2 } else { 1 };
                        format!("{peer:?}")
                    }
                };
                self.write_peer(lab, name)?;
                Ok(Edited { what: format!("peer {name} {what}"), peer: Some(session(lab, name)?) })
            }
        }
    }

    /// What each router should know; nothing while a Service does not have the addresses that it should have.
    pub(super) fn wanted(&self, lab: &Lab) -> Result<Option<Told>> {
        let peers = self.peers.keys().map(|peer| Ok((session(lab, peer)?, BTreeMap::new())));
        let mut wanted: Told = peers.collect::<Result<_>>()?;
        for (name, service) in &self.services {
            let addresses = lab.manifests.addresses(name)?;
            let due = if self.pools.contains(service.pool) { service.families.len() } else { 0 };
            if addresses.len() != due {
                return Ok(None);
            }
            if service.endpoints.is_empty() {
                continue;
            }
            for advertisement in self.advertisements.values().filter(|a| a.pools.contains(service.pool)) {
                for ip in &addresses {
                    let prefix = prefix_of(*ip, advertisement.length(*ip)).to_string();
                    for peer in self.peers.keys().filter(|peer| advertisement.is_for(peer)) {
                        let told = wanted.entry(session(lab, peer)?).or_default();
                        if peer.ends_with("-v4") == ip.is_ipv4() {
                            let communities = told.entry(prefix.clone()).or_default();
                            communities.extend(advertisement.communities.iter().cloned());
                        }
                    }
                }
            }
        }
        self.users.want(&mut wanted, lab)?;
        Ok(Some(wanted))
    }

    /// Leaves nothing that a node which has just started would read otherwise.
    pub(super) fn mend(&mut self, lab: &Lab) -> Result<()> {
        self.users.mend(lab)
    }

    fn write_service(&mut self, lab: &Lab, service: Service) -> Result<()> {
        lab.manifests.put(&format!("service-{}", service.name), &service.yaml(&lab.fabric))?;
        self.services.insert(service.name.clone(), service);
        Ok(())
    }

    fn write_advertisement(&self, lab: &Lab, name: &str) -> Result<()> {
        let advertisement = self.advertisements.get(name).context("an advertisement")?;
        let communities: BTreeSet<&str> = advertisement.communities.iter().map(String::as_str).collect();
        let list = |words: &BTreeSet<&str>| {
            words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
        };
        let (v4, v6) = if advertisement.aggregated { (28, 124) } else { (32, 128) };
        let text = format!(
            "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata:\n  name: {name}\n  namespace: \
             metallb-system\nspec:\n  ipAddressPools: [{}]\n  peers: [{}]\n  aggregationLength: {v4}\n  \
             aggregationLengthV6: {v6}\n  communities: [{}]\n",
            list(&advertisement.pools),
            list(&advertisement.peers),
            list(&communities)
        );
        lab.manifests.put(&format!("advertisement-{name}"), &text)
    }

    fn write_peer(&self, lab: &Lab, name: &str) -> Result<()> {
        let file = format!("peer-{name}");
        let Some(peer) = self.peers.get(name) else { return lab.manifests.remove(&file) };
        let text = objects::peer(name, &address(name).to_string(), router(name).1)
            .replace("holdTime: 9s", &format!("holdTime: {}s", peer.hold))
            .replace("connectTime: 1s", &format!("connectTime: {}s", peer.connect));
        lab.manifests.put(&file, &format!("{text}  ebgpMultiHop: {}\n", peer.multihop))
    }
}

impl Advertisement {
    const fn length(&self, ip: IpAddr) -> u8 {
        match (self.aggregated, ip) {
            (false, IpAddr::V4(_)) => 32,
            (false, IpAddr::V6(_)) => 128,
            (true, IpAddr::V4(_)) => 28,
            (true, IpAddr::V6(_)) => 124,
        }
    }

    fn is_for(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}

pub(super) fn router(peer: &str) -> (Segment, u32) {
    if peer.starts_with("tor") { (Segment::Tor, TOR_ASN) } else { (Segment::Bird, BIRD_ASN) }
}

/// The node's end of the session with this peer.
pub(super) fn session(lab: &Lab, peer: &str) -> Result<IpAddr> {
    let host = lab.fabric.node("n1")?.host();
    let (segment, _) = router(peer);
    Ok(if peer.ends_with("-v4") { segment.v4(host).into() } else { segment.v6(host).into() })
}

/// Numbers that look random, the same for the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, count: u64) -> u64 {
        self.next() % count.max(1)
    }

    pub(super) fn of<'a, T>(&mut self, among: &'a [T]) -> Result<&'a T> {
        let at = usize::try_from(self.below(among.len() as u64))?;
        among.get(at).context("nothing to choose from")
    }

    /// At least `least` of them.
    pub(super) fn some(&mut self, among: &[&'static str], least: usize) -> Result<BTreeSet<&'static str>> {
        let mut chosen: BTreeSet<&'static str> =
            among.iter().filter(|_| self.next().is_multiple_of(2)).copied().collect();
        while chosen.len() < least {
            chosen.insert(self.of(among)?);
        }
        Ok(chosen)
    }
}
