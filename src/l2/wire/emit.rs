//! [`Frame`] → bytes, hop limit and checksum included.

use super::{ARP, Arp, Bytes, ETHERNET, Frame, IPV6, Message, NEIGHBOUR, OPTION, Operation};
use crate::net::Mac;
use pnet::{
    packet::{
        arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket},
        ethernet::{EtherTypes, MutableEthernetPacket},
        icmpv6::{
            Icmpv6Types, MutableIcmpv6Packet, checksum,
            ndp::{
                MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionTypes,
                NeighborAdvertFlags as Flags,
            },
        },
        ip::IpNextHeaderProtocols,
        ipv6::MutableIpv6Packet,
    },
    util::MacAddr,
};
use std::net::Ipv6Addr;

/// The bytes of `frame`; hop limit and checksum are set.
#[must_use]
pub fn emit(frame: &Frame) -> Bytes {
    let option = |mac: Option<Mac>| if mac.is_some() { OPTION } else { 0 };
    let length = ETHERNET
        + match frame.message {
            Message::Arp(_) => ARP,
            Message::Solicitation(m) => IPV6 + NEIGHBOUR + option(m.link_layer),
            Message::Advertisement(m) => IPV6 + NEIGHBOUR + option(m.link_layer),
        };
    let mut bytes = Bytes { room: [0; Bytes::MAX], length };
    let written = bytes.room.get_mut(..length).and_then(|room| write(room, frame));
    debug_assert!(written.is_some(), "room for every header");
    bytes
}

/// Writes `frame` into `room`, which is zero and as long as the frame; `None` if it is not as long.
fn write(room: &mut [u8], frame: &Frame) -> Option<()> {
    let (head, payload) = room.split_at_mut_checked(ETHERNET)?;
    let mut ethernet = MutableEthernetPacket::new(head)?;
    ethernet.set_destination(mac_out(frame.destination));
    ethernet.set_source(mac_out(frame.source));
    match frame.message {
        Message::Arp(arp) => {
            ethernet.set_ethertype(EtherTypes::Arp);
            write_arp(payload, &arp)
        }
        Message::Solicitation(m) => {
            ethernet.set_ethertype(EtherTypes::Ipv6);
            write_ipv6(payload, m.source, m.destination, |body| {
                let (head, option) = body.split_at_mut_checked(NEIGHBOUR)?;
                let mut solicit = MutableNeighborSolicitPacket::new(head)?;
                solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
                solicit.set_target_addr(m.target);
                write_option(option, NdpOptionTypes::SourceLLAddr.0, m.link_layer)
            })
        }
        Message::Advertisement(m) => {
            ethernet.set_ethertype(EtherTypes::Ipv6);
            write_ipv6(payload, m.source, m.destination, |body| {
                let (head, option) = body.split_at_mut_checked(NEIGHBOUR)?;
                let mut advert = MutableNeighborAdvertPacket::new(head)?;
                let flag = |set: bool, flag: u8| if set { flag } else { 0 };
                advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
                advert.set_flags(
                    flag(m.router, Flags::Router)
                        | flag(m.solicited, Flags::Solicited)
                        | flag(m.overrides, Flags::Override),
                );
                advert.set_target_addr(m.target);
                write_option(option, NdpOptionTypes::TargetLLAddr.0, m.link_layer)
            })
        }
    }
}

fn write_arp(room: &mut [u8], arp: &Arp) -> Option<()> {
    let mut packet = MutableArpPacket::new(room)?;
    packet.set_hardware_type(ArpHardwareTypes::Ethernet);
    packet.set_protocol_type(EtherTypes::Ipv4);
    packet.set_hw_addr_len(6);
    packet.set_proto_addr_len(4);
    packet.set_operation(operation_out(arp.operation));
    packet.set_sender_hw_addr(mac_out(arp.sender_mac));
    packet.set_sender_proto_addr(arp.sender_ip);
    packet.set_target_hw_addr(mac_out(arp.target_mac));
    packet.set_target_proto_addr(arp.target_ip);
    Some(())
}

fn write_ipv6(
    room: &mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    body: impl FnOnce(&mut [u8]) -> Option<()>,
) -> Option<()> {
    let (head, payload) = room.split_at_mut_checked(IPV6)?;
    let mut ip = MutableIpv6Packet::new(head)?;
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(payload.len()).ok()?);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(255);
    ip.set_source(source);
    ip.set_destination(destination);
    body(payload)?;
    let mut icmp = MutableIcmpv6Packet::new(payload)?;
    let sum = checksum(&icmp.to_immutable(), &source, &destination);
    icmp.set_checksum(sum);
    Some(())
}

fn write_option(room: &mut [u8], kind: u8, mac: Option<Mac>) -> Option<()> {
    let Some(Mac([a, b, c, d, e, f])) = mac else { return Some(()) };
    *room.first_chunk_mut::<OPTION>()? = [kind, 1, a, b, c, d, e, f];
    Some(())
}

const fn operation_out(operation: Operation) -> ArpOperation {
    match operation {
        Operation::Request => ArpOperations::Request,
        Operation::Reply => ArpOperations::Reply,
    }
}

const fn mac_out(Mac([a, b, c, d, e, f]): Mac) -> MacAddr {
    MacAddr(a, b, c, d, e, f)
}
