//! Frames by the hundred thousand through the whole of layer 2 that is pure: none panics, every question that must be
//! answered is, octet by octet as the oracle says, and nothing else is.
//!
//! `make fuzz FRAMES=1000000` runs the long one; a failure names the seed and the frame. `fuzz/` has the same for
//! `cargo fuzz`, which needs a nightly compiler.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a fault in the test ends the test")]

mod dice;
mod frames;
mod oracle;

use dice::Dice;
use ferrolb::{
    l2::{Reason, Responder, Verdict, wire},
    net::{IfIndex, Interfaces, Link, Links, Mac},
};
use frames::Pool;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

/// As many as `make check` has time for.
const FRAMES: usize = 50_000;

/// Frames that one set of addresses and interfaces hears.
const EACH: usize = 500;

/// The node's addresses, and those of nobody or of others.
const V4: ([[u8; 4]; 2], [[u8; 4]; 4]) =
    ([[192, 0, 2, 7], [192, 0, 2, 8]], [[192, 0, 2, 9], [192, 0, 2, 9], [0; 4], [255; 4]]);

fn v6() -> ([[u8; 16]; 2], [[u8; 16]; 5]) {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let others = ["2001:db8::8", "2001:db8::8", "fe80::c1", "::", "ff02::1:ff00:7"];
    // two of one group
    (["2001:db8::7", "2001:db8:1::7"].map(octets), others.map(octets))
}

const OWN: [[u8; 6]; 3] = [[2, 0, 0, 0, 0, 0xa0], [2, 0, 0, 0, 0, 0xa1], [2, 0, 0, 0, 0, 0xa2]];
const STATIONS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0xc1], [2, 0, 0, 0, 0, 0xc2]];
const ODD: [[u8; 6]; 3] = [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]];

/// Three interfaces of which the last is a bridge's port, and the addresses: what the responder is told, and what the
/// oracle knows of it.
fn node(dice: &mut Dice) -> (BTreeMap<IpAddr, Interfaces>, Links, oracle::Node) {
    let names = ["eth0", "eth1", "eth2"];
    let mut links = Links::new();
    let mut node = oracle::Node::default();
    let mut speaking = Vec::new();
    for (index, name) in (2..).zip(names) {
        let (up, enslaved, mac) = (!dice.once_in(4), index == 4, dice.one(&OWN));
        let (name, broadcast) = (Arc::from(name), true);
        links.insert(
            IfIndex(index),
            Link { name, mac: Some(Mac(mac)), up, enslaved, broadcast, carrier_changes: 0 },
        );
        node.own.insert(mac);
        if up && !enslaved {
            speaking.push((index, mac));
        }
    }
    let mut wanted = BTreeMap::new();
    for ip in V4.0.map(IpAddr::from).into_iter().chain(v6().0.map(IpAddr::from)) {
        let on: BTreeSet<u32> = match dice.below(4) {
            0 => continue,
            1 => BTreeSet::from([2]),
            2 => BTreeSet::from([2, 4]),
            _ => BTreeSet::from([2, 3, 4]),
        };
        let named = on.iter().map(|index| Arc::from(names[usize::try_from(*index).unwrap() - 2])).collect();
        wanted.insert(ip, if on.len() == 3 { Interfaces::All } else { Interfaces::Named(named) });
        for (index, mac) in speaking.iter().filter(|(index, _)| on.contains(index)) {
            node.served.insert((ip, *index), *mac);
        }
    }
    (wanted, links, node)
}

/// What happened to how many frames.
#[derive(Debug, Default)]
struct Tally {
    arp: usize,
    neighbour: usize,
    claims: usize,
    malformed: BTreeSet<wire::Fault>,
    silent: BTreeSet<&'static str>,
}

#[test]
fn frames_get_the_answer_they_must_have_and_no_other() {
    let (count, seed) = (setting("FRAMES").unwrap_or(FRAMES), setting("SEED").unwrap_or(1));
    let (mut dice, mut tally) = (Dice(u64::try_from(seed).unwrap()), Tally::default());
    let (mut responder, mut oracle) = (Responder::default(), oracle::Node::default());
    let (start, v6) = (origin(), v6());
    let pool = Pool { macs: [&OWN, &STATIONS, &ODD], v4: (&V4.0, &V4.1), v6: (&v6.0, &v6.1) };
    for n in 0..count {
        if n % EACH == 0 {
            let (wanted, links, node) = node(&mut dice);
            responder.set(start, &wanted, &links);
            oracle = node;
        }
        let (link, frame) = (dice.one(&[2, 2, 2, 2, 3, 3, 4, 9]), frames::frame(&mut dice, &pool));
        let expected = oracle::answer(&oracle, link, &frame);
        let verdict = responder.heard(IfIndex(link), &frame);
        let given = match &verdict {
            Verdict::Reply(reply) => {
                assert_eq!(reply.link, IfIndex(link));
                assert!(oracle.served.contains_key(&(reply.ip, link)), "an answer for {}", reply.ip);
                *(if reply.ip.is_ipv4() { &mut tally.arp } else { &mut tally.neighbour }) += 1;
                Some(reply.bytes.to_vec())
            }
            Verdict::Drop(reason) => {
                tally.silent.insert(reason.name());
                match reason {
                    Reason::Malformed(fault) => drop(tally.malformed.insert(*fault)),
                    Reason::ForeignClaim { .. } => tally.claims += 1,
                    _ => {}
                }
                None
            }
        };
        assert_eq!(
            given, expected,
            "seed {seed}, frame {n} on {link}: {frame:02x?}\n{verdict:?}\n{oracle:?}"
        );
    }
    println!("fuzz frames={count} seed={seed} {tally:?}");
    // otherwise it would prove little
    assert!(
        tally.arp > count / 100 && tally.neighbour > count / 100 && tally.claims > count / 100,
        "{tally:?}"
    );
    assert_eq!(tally.malformed.len(), 10, "every fault of the codec: {tally:?}");
    assert_eq!(tally.silent.len(), 8, "every reason: {tally:?}");
}

/// Whole questions are answered, so that the oracle does not agree with silence only.
#[test]
fn the_oracle_answers_what_is_asked_rightly() {
    let mut node = oracle::Node::default();
    let (mac, client) = ([2, 0, 0, 0, 0, 0xa0], [2, 0, 0, 0, 0, 0xc1]);
    node.served.insert((IpAddr::from(V4.0[0]), 2), mac);
    node.own.insert(mac);
    let ask = [
        &[0xff; 6][..],
        &client,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &client,
        &[192, 0, 2, 9],
        &[0; 6],
        &V4.0[0],
    ];
    let reply =
        [&client[..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac, &V4.0[0], &client, &[192, 0, 2, 9]];
    assert_eq!(oracle::answer(&node, 2, &ask.concat()), Some(reply.concat()));
    assert_eq!(oracle::answer(&node, 3, &ask.concat()), None);

    // the checksums are computed by another program
    let octets = |hex: &str| -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
    };
    let mac = [2, 0, 0, 0, 0, 0xa1];
    node.served.insert((IpAddr::from(v6().0[0]), 2), mac);
    let ask = octets(
        "3333ff000007 0200000000c1 86dd 60000000 0020 3a ff
         20010db80000000000000000000000c1 ff0200000000000000000001ff000007
         87 00 1a9d 00000000 20010db8000000000000000000000007 01 01 0200000000c1",
    );
    let reply = octets(
        "0200000000c1 0200000000a1 86dd 60000000 0020 3a ff
         20010db8000000000000000000000007 20010db80000000000000000000000c1
         88 00 8908 60000000 20010db8000000000000000000000007 02 01 0200000000a1",
    );
    assert_eq!(oracle::answer(&node, 2, &ask), Some(reply));
    for (at, octet) in [(21, 1), (56, 1), (55, 1), (79, 1), (78, 1)] {
        let mut spoilt = ask.clone();
        spoilt[at] ^= octet;
        assert_eq!(oracle::answer(&node, 2, &spoilt), None, "octet {at}");
    }
}

#[expect(clippy::disallowed_methods, reason = "what the Makefile passes on")]
fn setting(name: &str) -> Option<usize> {
    let text = std::env::var(format!("FERROLB_FUZZ_{name}")).ok()?;
    Some(text.parse().unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a point in time can be had in no other way; no test waits for another"
)]
fn origin() -> Instant {
    Instant::now()
}
