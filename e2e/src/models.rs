//! Configurations of FRR, at random: few names, so that two of them have much in common, and every setting.

use anyhow::Result;
use ferrolb::{
    api::{
        Duration, FRRAdvertise, FRRAllowMode, FRRAllowedIn, FRRAllowedOut, FRRBfdProfile, FRRBgp,
        FRRCommunity, FRRConfiguration, FRRConfigurationSpec, FRRDynamicAsn, FRRImport, FRRLocalPref, FRRMed,
        FRRNeighbor, FRRNextHop, FRRPrefix, FRRPrefixSelector, FRRPrefixes, FRRPrepend, FRRReceive,
        FRRRouter,
    },
    frr::{self, LogLevel, Model},
};
use proptest::{
    collection::btree_map,
    option,
    prelude::*,
    sample::{select, subsequence},
};
use std::{collections::BTreeMap, fs, path::PathBuf};

const PREFIXES: [&str; 12] = [
    "198.51.100.1/32",
    "198.51.100.2/32",
    "198.51.100.3/32",
    "198.51.100.4/32",
    "198.51.100.64/26",
    "203.0.113.0/24",
    "203.0.113.7/32",
    "2001:db8:1::1/128",
    "2001:db8:1::2/128",
    "2001:db8:1::/64",
    "2001:db8:2::7/128",
    "2001:db8::/48",
];
const BLOCKED: [&str; 3] = ["10.96.0.0/12", "10.0.0.1/32", "fd00:10::/64"];
const ACCEPTED: [(&str, u32, u32); 7] = [
    ("10.0.0.0/8", 0, 24),
    ("10.0.0.0/8", 16, 0),
    ("10.1.0.0/16", 16, 16),
    ("10.1.0.0/16", 24, 32),
    ("192.0.2.1/32", 0, 32),
    ("2001:db8::/32", 48, 64),
    ("2001:db8:7::7/128", 0, 0),
];
const PEERS: [&str; 6] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8:f::1", "eth1", "eth2"];
const COMMUNITIES: [&str; 8] = [
    "64512:1",
    "64512:2",
    "65535:65281",
    "65535:666",
    "65535:0",
    "0:7",
    "large:64512:1:1",
    "large:4200000000:0:4294967295",
];
const PROFILES: [&str; 3] = ["fast", "slow.example", "default"];

/// A model as the product makes them: from an FRRConfiguration in which nothing is wrong.
pub fn model() -> impl Strategy<Value = Model> {
    let block = subsequence(BLOCKED.to_vec(), 0..=BLOCKED.len());
    let log = option::weighted(0.8, select(&LogLevel::ALL[..]));
    let user = option::weighted(0.5, configuration("user", 1));
    let [blocking, leaving] = [prop::bool::weighted(0.3); 2];
    (configuration("metallb-n1", 3), user, blocking, block, log, leaving).prop_map(
        |(ours, user, blocking, block, log, leaving)| {
            let users = user.into_iter().map(|user| ("user".to_owned(), user)).collect();
            let block: Vec<_> =
                block.into_iter().filter_map(|p| p.parse().ok()).filter(|_| blocking).collect();
            let sources = frr::Sources { users: &users, block: &block, ..frr::Sources::only(&ours) };
            let frr::Merged { mut model, problems, .. } = frr::merge(&sources);
            assert!(problems.iter().all(|p| p.object.name == "user"), "{problems:?}");
            model.log = log;
            model.leaving = leaving;
            model
        },
    )
}

/// The models of the product's golden cases.
///
/// # Errors
/// When one cannot be read.
pub fn golden() -> Result<Vec<Model>> {
    let dir = crate::bins::checkout()?.join("tests/golden/frr");
    let mut cases = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    cases.sort();
    let model = |case: &PathBuf| {
        let object: FRRConfiguration = serde_saphyr::from_str(&fs::read_to_string(case.join("in.yaml"))?)?;
        Ok(frr::merge(&frr::Sources::only(&object)).model)
    };
    cases.iter().map(model).collect()
}

/// An FRRConfiguration in which nothing is wrong, but for what its neighbours have in common with those of another.
pub fn configuration(name: &'static str, peers: usize) -> impl Strategy<Value = FRRConfiguration> {
    let vrfs = subsequence(vec!["", "red", "blue"], 0..=3);
    let routers = vrfs.prop_flat_map(move |vrfs| {
        let router =
            |vrf: &&'static str| router(vrf, vrfs.iter().copied().filter(|v| v != vrf).collect(), peers);
        vrfs.iter().map(router).collect::<Vec<_>>()
    });
    let profiles = PROFILES.into_iter().map(profile).collect::<Vec<_>>();
    (routers, profiles).prop_map(move |(routers, bfd_profiles)| {
        let spec = FRRConfigurationSpec {
            bgp: FRRBgp { routers, bfd_profiles: bfd_profiles.into_iter().flatten().collect() },
            ..Default::default()
        };
        let mut object = FRRConfiguration::new(name, spec);
        // a profile that is not there cannot be named
        let bgp = &mut object.spec.bgp;
        for neighbor in bgp.routers.iter_mut().flat_map(|router| &mut router.neighbors) {
            if !bgp.bfd_profiles.iter().any(|profile| profile.name == neighbor.bfd_profile) {
                neighbor.bfd_profile.clear();
            }
        }
        object
    })
}

fn router(vrf: &'static str, others: Vec<&'static str>, peers: usize) -> impl Strategy<Value = FRRRouter> {
    let most = others.len();
    let imports = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(others, 0..=most)];
    let asn = prop_oneof![9 => Just(64512u32), 1 => Just(4_200_000_001)];
    let id = select(&["", "", "192.0.2.250", "192.0.2.251"][..]);
    let peers = subsequence(PEERS.to_vec(), 0..=peers);
    (asn, id, peers, imports).prop_flat_map(move |(asn, id, peers, imports)| {
        let neighbors: Vec<_> = peers.into_iter().map(|peer| neighbor(peer, asn)).collect();
        let import = |vrf: &&str| FRRImport { vrf: if vrf.is_empty() { "default" } else { vrf }.to_owned() };
        let imports: Vec<_> = imports.iter().map(import).collect();
        neighbors.prop_map(move |neighbors| FRRRouter {
            imports: imports.clone(),
            asn,
            id: id.to_owned(),
            vrf: vrf.to_owned(),
            neighbors,
            prefixes: PREFIXES.iter().map(|p| prefix(p)).collect(),
            ..Default::default()
        })
    })
}

fn neighbor(peer: &'static str, asn: u32) -> impl Strategy<Value = FRRNeighbor> {
    let numbered = !peer.starts_with("eth");
    let remote = select(vec![
        (64512, None),
        (64999, None),
        (0, Some(FRRDynamicAsn::Internal)),
        (0, Some(FRRDynamicAsn::External)),
    ]);
    let who = (remote, prop::bool::weighted(0.2), any::<bool>(), any::<bool>());
    let text = (
        option::weighted(0.3, select(&["s3cret", "pa\"ss$|word", "x!#"][..])),
        option::weighted(0.3, select(&["192.0.2.250", "2001:DB8:f::0:250", "lo"][..])),
        option::weighted(0.4, select(&PROFILES[..])),
    );
    let numbers = (
        option::of(select(&[179u16, 1790, 1][..])),
        option::of(select(&[(60u64, 180u64), (0, 0), (3, 9), (30, 40), (10, 30)][..])),
        option::of(select(&[1u64, 10, 30, 60, 120][..])),
    );
    let gr = (any::<bool>(), option::weighted(0.2, select(&[1u8, 2, 254][..])));
    (who, text, numbers, gr, (advertise(peer), receive(), next_hop())).prop_map(
        move |(
            ((number, dynamic_asn), local, multihop, dual),
            (password, source, bfd),
            (port, timers, connect),
            (gr, hops),
            (tell, to_receive, next_hop),
        )| {
            let internal = number == asn || dynamic_asn == Some(FRRDynamicAsn::Internal);
            let (address, interface) = if numbered { (peer, "") } else { ("", peer) };
            let both = dual || !numbered;
            let seconds = |s: u64| Duration(format!("{s}s"));
            FRRNeighbor {
                asn: number,
                dynamic_asn,
                address: address.to_owned(),
                interface: interface.to_owned(),
                source_address: source.filter(|_| numbered).unwrap_or_default().to_owned(),
                port,
                password: password.unwrap_or_default().to_owned(),
                hold_time: timers.map(|(_, hold)| seconds(hold)),
                keepalive_time: timers.map(|(keepalive, _)| seconds(keepalive)),
                connect_time: connect.map(seconds),
                ebgp_multi_hop: multihop,
                bfd_profile: bfd.unwrap_or_default().to_owned(),
                enable_graceful_restart: gr,
                to_advertise: FRRAdvertise {
                    next_hop: FRRNextHop {
                        ipv4: if both || !peer.contains(':') { next_hop.ipv4 } else { String::new() },
                        ipv6: if both || peer.contains(':') { next_hop.ipv6 } else { String::new() },
                    },
                    ..tell.out(both)
                },
                to_receive,
                dual_stack_address_family: dual,
                local_asn: if local && !internal { 65123 } else { 0 },
                ttl_security_hops: match hops {
                    Some(hops) if !internal && !multihop && (numbered || hops == 1) => hops,
                    _ => 0,
                },
                ..Default::default()
            }
        },
    )
}

/// What a neighbour may tell.
fn receive() -> impl Strategy<Value = FRRReceive> {
    let selector =
        |(prefix_, ge, le): (&str, u32, u32)| FRRPrefixSelector { prefix: prefix(prefix_), le, ge };
    let some = subsequence(ACCEPTED.to_vec(), 0..=ACCEPTED.len());
    let allowed = (some, prop::bool::weighted(0.2)).prop_map(move |(some, all)| FRRAllowedIn {
        prefixes: some.into_iter().map(selector).collect(),
        mode: if all { FRRAllowMode::All } else { FRRAllowMode::Filtered },
    });
    option::weighted(0.4, allowed).prop_map(|allowed| FRRReceive { allowed: allowed.unwrap_or_default() })
}

/// What a neighbour is told to send to.
fn next_hop() -> impl Strategy<Value = FRRNextHop> {
    let v4 = option::weighted(0.2, Just("192.0.2.77"));
    (v4, option::weighted(0.2, Just("2001:DB8:f:0::77"))).prop_map(|(v4, v6)| FRRNextHop {
        ipv4: v4.unwrap_or_default().to_owned(),
        ipv6: v6.unwrap_or_default().to_owned(),
    })
}

/// What a neighbour is told.
fn advertise(peer: &'static str) -> impl Strategy<Value = Telling> {
    let prefixes = subsequence(PREFIXES.to_vec(), 0..=PREFIXES.len());
    let preference = btree_map(select(&PREFIXES[..]), select(&[50u32, 150][..]), 0..4);
    let communities = btree_map(select(&COMMUNITIES[..]), subsequence(PREFIXES.to_vec(), 1..5), 0..4);
    let metric = btree_map(select(&PREFIXES[..]), select(&METRICS[..]), 0..3);
    let prepend = btree_map(select(&PREFIXES[..]), select(&PREPENDS[..]), 0..3);
    (prefixes, preference, communities, prop::bool::weighted(0.1), (metric, prepend))
        .prop_map(move |generated| Telling { peer, generated })
}

/// Prefixes, and one value for each.
type Each<T> = BTreeMap<&'static str, T>;

type Generated = (Vec<&'static str>, Each<u32>, Each<Vec<&'static str>>, bool, (Each<u32>, Each<u8>));

const METRICS: [u32; 3] = [0, 7, u32::MAX];
const PREPENDS: [u8; 3] = [1, 2, 10];

#[derive(Clone, Debug)]
struct Telling {
    peer: &'static str,
    generated: Generated,
}

impl Telling {
    /// Of the families that its session carries.
    fn out(&self, both: bool) -> FRRAdvertise {
        let (prefixes, preferences, communities, all, (metrics, prepends)) = &self.generated;
        let six = self.peer.contains(':');
        let carried = |p: &&&str| both || p.contains(':') == six;
        let told: Vec<&str> = match all {
            true => PREFIXES.iter().filter(carried).copied().collect(),
            false => prefixes.iter().filter(carried).copied().collect(),
        };
        let among = |wanted: &[&str]| -> FRRPrefixes {
            wanted.iter().filter(|p| told.contains(p)).map(|p| prefix(p)).collect()
        };
        let mode = if *all { FRRAllowMode::All } else { FRRAllowMode::Filtered };
        FRRAdvertise {
            allowed: FRRAllowedOut { prefixes: if *all { [].into() } else { among(&told) }, mode },
            with_local_pref: [50, 150]
                .into_iter()
                .map(|local_pref| {
                    let of = preferences.iter().filter(|(_, other)| **other == local_pref);
                    let prefixes = among(&of.map(|(p, _)| *p).collect::<Vec<_>>());
                    FRRLocalPref { prefixes, local_pref }
                })
                .collect(),
            with_community: communities
                .iter()
                .map(|(community, p)| FRRCommunity { prefixes: among(p), community: (*community).to_owned() })
                .collect(),
            with_med: metrics.iter().map(|(p, med)| FRRMed { prefixes: among(&[p]), med: *med }).collect(),
            with_as_path_prepend: prepends
                .iter()
                .map(|(p, times)| FRRPrepend { prefixes: among(&[p]), times: *times })
                .collect(),
            ..Default::default()
        }
    }
}

fn profile(name: &'static str) -> impl Strategy<Value = Option<FRRBfdProfile>> {
    let numbers = (
        option::of(select(&[10u32, 250, 300][..])),
        option::of(select(&[300u32, 1000, 60000][..])),
        option::of(select(&[2u32, 3, 255][..])),
        option::of(select(&[10u32, 50, 100][..])),
        option::of(select(&[1u32, 254, 3][..])),
    );
    let flags = (option::of(any::<bool>()), option::of(any::<bool>()));
    option::weighted(
        0.7,
        (numbers, flags).prop_map(
            move |((receive, transmit, detect, echo, ttl), (echo_mode, passive_mode))| FRRBfdProfile {
                name: name.to_owned(),
                receive_interval: receive,
                transmit_interval: transmit,
                detect_multiplier: detect,
                echo_interval: echo,
                echo_mode,
                passive_mode,
                minimum_ttl: ttl,
            },
        ),
    )
}

fn prefix(text: &str) -> FRRPrefix {
    text.parse().map_or_else(|_| FRRPrefix::Text(text.to_owned()), FRRPrefix::Net)
}
