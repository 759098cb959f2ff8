//! One frame through the responder: the answer is the oracle's, and nothing panics. The first octet of the input is the
//! interface, the rest is the frame.

#![no_main]

#[path = "../../tests/fuzz/oracle.rs"]
mod oracle;

use ferrolb::{
    l2::{Responder, Verdict},
    net::{IfIndex, Interfaces, Link, Mac},
};
use libfuzzer_sys::fuzz_target;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
    time::Instant,
};

static NODE: LazyLock<(Responder, oracle::Node)> = LazyLock::new(|| {
    let addresses = [
        IpAddr::from(Ipv4Addr::new(192, 0, 2, 7)),
        IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
    ];
    let (mut responder, mut node) = (Responder::default(), oracle::Node::default());
    let links = [(2, [2, 0, 0, 0, 0, 0xa0]), (3, [2, 0, 0, 0, 0, 0xa1])].map(|(index, mac)| {
        node.own.insert(mac);
        node.served.extend(addresses.map(|ip| ((ip, index), mac)));
        let (name, mac) = (format!("eth{index}").into(), Some(Mac(mac)));
        (IfIndex(index), Link { name, mac, up: true, enslaved: false, broadcast: true, carrier_changes: 0 })
    });
    responder.set(Instant::now(), &addresses.map(|ip| (ip, Interfaces::All)).into(), &links.into());
    (responder, node)
});

fuzz_target!(|input: &[u8]| {
    let Some((link, frame)) = input.split_first() else { return };
    let link = u32::from(link % 4);
    let (responder, node) = &*NODE;
    let given = match responder.heard(IfIndex(link), frame) {
        Verdict::Reply(reply) => Some(reply.bytes.to_vec()),
        Verdict::Drop(_) => None,
    };
    assert_eq!(given, oracle::answer(node, link, frame));
});
