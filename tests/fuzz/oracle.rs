//! Which frames must be answered, and how, octet by octet: written from RFC 826, 4861 and 5227 alone, apart from the
//! codec and the responder that it judges. It works on offsets and shares no code with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub(crate) type Mac = [u8; 6];

/// What a node is: where each of its addresses is served and at which hardware address, and whose frames are its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The address and the interface's number → the interface's hardware address.
    pub(crate) served: BTreeMap<(IpAddr, u32), Mac>,
    /// Hardware addresses of its interfaces.
    pub(crate) own: BTreeSet<Mac>,
}

/// The answer that the frame must get on this interface, from the destination's hardware address on.
#[must_use]
pub(crate) fn answer(node: &Node, link: u32, frame: &[u8]) -> Option<Vec<u8>> {
    if frame.len() < 14 {
        return None;
    }
    let (to, from): (Mac, Mac) = (array(frame, 0), array(frame, 6));
    // a group sends nothing, and what we sent ourselves needs no answer
    if !is_one_station(from) || node.own.contains(&from) {
        return None;
    }
    match (frame[12], frame[13]) {
        (0x08, 0x06) => arp(node, link, to, &frame[14..]),
        (0x86, 0xdd) => solicitation(node, link, to, from, &frame[14..]),
        _ => None,
    }
}

fn arp(node: &Node, link: u32, to: Mac, packet: &[u8]) -> Option<Vec<u8>> {
    // Ethernet, IPv4, addresses of 6 and 4 octets, a question
    if packet.len() < 28 || packet[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
        return None;
    }
    let (asker, asker_ip, wanted) = (array(packet, 8), v4(packet, 14), v4(packet, 24));
    if !is_one_station(asker) || node.own.contains(&asker) {
        return None;
    }
    // who asks from an address of ours claims it
    if node.served.contains_key(&(asker_ip, link)) {
        return None;
    }
    let mac = *node.served.get(&(wanted, link))?;
    if to != [0xff; 6] && to != mac {
        return None;
    }
    let mut reply = [&asker[..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac].concat();
    reply.extend(&packet[24..28]);
    reply.extend(&packet[8..18]);
    Some(reply)
}

fn solicitation(node: &Node, link: u32, to: Mac, from: Mac, packet: &[u8]) -> Option<Vec<u8>> {
    if packet.len() < 40 || packet[0] >> 4 != 6 || packet[6] != 58 || packet[7] != 255 {
        return None;
    }
    let length = usize::from(packet[4]) * 256 + usize::from(packet[5]);
    if length < 24 || packet.len() < 40 + length {
        return None;
    }
    let (source, destination): ([u8; 16], [u8; 16]) = (array(packet, 8), array(packet, 24));
    let message = &packet[40..40 + length];
    if message[0] != 135 || message[1] != 0 || sum(source, destination, message) != 0xffff {
        return None;
    }
    let target: [u8; 16] = array(message, 8);
    if target[0] == 0xff || source[0] == 0xff {
        return None;
    }
    let option = source_option(&message[24..])?;
    // who asks from an address of ours claims it, and what names us as its sender needs no answer
    if node.own.contains(&option.unwrap_or(from)) || node.served.contains_key(&(IpAddr::from(source), link)) {
        return None;
    }
    let searching = source == [0; 16];
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
    if searching && (option.is_some() || !destination.starts_with(&group)) {
        return None;
    }
    let mac = *node.served.get(&(IpAddr::from(target), link))?;
    // to one station or to a group of them
    if to != mac && to[0].is_multiple_of(2) {
        return None;
    }
    let all: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let (asker, asker_ip, solicited) =
        if searching { ([0x33, 0x33, 0, 0, 0, 1], all, 0) } else { (option.unwrap_or(from), source, 0x40) };
    let mut body = vec![136, 0, 0, 0, solicited + 0x20, 0, 0, 0];
    body.extend(target);
    body.extend([2, 1]);
    body.extend(mac);
    let check = !sum(target, asker_ip, &body);
    body[2..4].copy_from_slice(&check.to_be_bytes());
    let mut reply =
        [&asker[..], &mac, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255], &target, &asker_ip].concat();
    reply.extend(body);
    Some(reply)
}

/// The sender's hardware address among the options, `None` inside when it is not given; outside, when they are not
/// well formed.
fn source_option(options: &[u8]) -> Option<Option<Mac>> {
    let (mut at, mut found) = (0, None);
    while at < options.len() {
        let length = usize::from(*options.get(at + 1)?) * 8;
        if length == 0 || at + length > options.len() {
            return None;
        }
        if options[at] == 1 && found.is_none() {
            // RFC 2464 section 6: on Ethernet it is of one unit
            if length != 8 {
                return None;
            }
            let mac = array(options, at + 2);
            found = Some(is_one_station(mac).then_some(mac)?);
        }
        at += length;
    }
    Some(found)
}

/// The one's complement sum over the pseudo header and the message; all ones when the checksum in it is right.
pub(crate) fn sum(source: [u8; 16], destination: [u8; 16], message: &[u8]) -> u16 {
    let mut octets = [source, destination].concat();
    octets.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    octets.extend([0, 0, 0, 58]);
    octets.extend(message);
    let mut sum = 0_u64;
    for (n, octet) in octets.iter().enumerate() {
        sum += u64::from(*octet) << if n.is_multiple_of(2) { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = sum % 0x1_0000 + sum / 0x1_0000;
    }
    u16::try_from(sum).unwrap()
}

fn is_one_station(mac: Mac) -> bool {
    mac[0].is_multiple_of(2) && mac != [0; 6]
}

fn array<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    octets[at..at + N].try_into().unwrap()
}

fn v4(octets: &[u8], at: usize) -> IpAddr {
    IpAddr::from(array::<4>(octets, at))
}
