//! Bytes → [`Frame`], with every check of RFC 4861 §7.1. Total: nothing here panics, whatever the bytes.

use super::{
    Advertisement, Arp, ETHERNET, Fault, Frame, IPV6, Message, NEIGHBOUR, Operation, Solicitation,
    is_station, solicited_node,
};
use crate::net::Mac;
use pnet::{
    packet::{
        arp::{ArpHardwareTypes, ArpOperations, ArpPacket},
        ethernet::{EtherTypes, EthernetPacket},
        icmpv6::{
            Icmpv6Packet, Icmpv6Types, checksum,
            ndp::{
                NdpOptionTypes, NeighborAdvertFlags as Flags, NeighborAdvertPacket, NeighborSolicitPacket,
            },
        },
        ip::IpNextHeaderProtocols,
        ipv6::Ipv6Packet,
    },
    util::MacAddr,
};
use std::net::Ipv6Addr;

/// The frame in `bytes`, from the destination's hardware address on.
///
/// # Errors
/// The first check that it fails.
pub fn parse(bytes: &[u8]) -> Result<Frame, Fault> {
    let ethernet = EthernetPacket::new(bytes).ok_or(Fault::Short)?;
    let (destination, source) = (mac(ethernet.get_destination()), mac(ethernet.get_source()));
    let payload = bytes.get(ETHERNET..).ok_or(Fault::Short)?;
    let message = match ethernet.get_ethertype() {
        EtherTypes::Arp => parse_arp(payload).map(Message::Arp),
        EtherTypes::Ipv6 => parse_ipv6(payload),
        _ => Err(Fault::EtherType),
    }?;
    if is_station(source) { Ok(Frame { destination, source, message }) } else { Err(Fault::Sender) }
}

fn parse_arp(payload: &[u8]) -> Result<Arp, Fault> {
    let arp = ArpPacket::new(payload).ok_or(Fault::Short)?;
    if arp.get_hardware_type() != ArpHardwareTypes::Ethernet
        || arp.get_protocol_type() != EtherTypes::Ipv4
        || arp.get_hw_addr_len() != 6
        || arp.get_proto_addr_len() != 4
    {
        return Err(Fault::ArpKind);
    }
    let operation = match arp.get_operation() {
        ArpOperations::Request => Operation::Request,
        ArpOperations::Reply => Operation::Reply,
        _ => return Err(Fault::ArpKind),
    };
    let sender_mac = mac(arp.get_sender_hw_addr());
    if !is_station(sender_mac) {
        return Err(Fault::Sender);
    }
    Ok(Arp {
        operation,
        sender_mac,
        sender_ip: arp.get_sender_proto_addr(),
        target_mac: mac(arp.get_target_hw_addr()),
        target_ip: arp.get_target_proto_addr(),
    })
}

fn parse_ipv6(payload: &[u8]) -> Result<Message, Fault> {
    let ip = Ipv6Packet::new(payload).ok_or(Fault::Short)?;
    if ip.get_version() != 6 || ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return Err(Fault::Ipv6Kind);
    }
    // Ethernet pads short frames: the length in the header counts, not the frame's.
    let end = IPV6 + usize::from(ip.get_payload_length());
    let body = payload.get(IPV6..end).ok_or(Fault::Short)?;
    let icmp = Icmpv6Packet::new(body).ok_or(Fault::Short)?;
    let kind = icmp.get_icmpv6_type();
    if !matches!(kind, Icmpv6Types::NeighborSolicit | Icmpv6Types::NeighborAdvert) {
        return Err(Fault::Ipv6Kind);
    }
    if ip.get_hop_limit() != 255 {
        return Err(Fault::HopLimit);
    }
    let (source, destination) = (ip.get_source(), ip.get_destination());
    if checksum(&icmp, &source, &destination) != icmp.get_checksum() {
        return Err(Fault::Checksum);
    }
    if icmp.get_icmpv6_code().0 != 0 {
        return Err(Fault::Code);
    }
    let options = body.get(NEIGHBOUR..).ok_or(Fault::Short)?;
    let message = if kind == Icmpv6Types::NeighborSolicit {
        let target = NeighborSolicitPacket::new(body).ok_or(Fault::Short)?.get_target_addr();
        let link_layer = link_layer(options, NdpOptionTypes::SourceLLAddr.0)?;
        let probe = source.is_unspecified();
        if target.is_multicast()
            || source.is_multicast()
            || probe && (link_layer.is_some() || !is_solicited_node(destination))
        {
            return Err(Fault::Addresses);
        }
        Message::Solicitation(Solicitation { source, destination, target, link_layer })
    } else {
        let advert = NeighborAdvertPacket::new(body).ok_or(Fault::Short)?;
        let (target, flags) = (advert.get_target_addr(), advert.get_flags());
        let (router, solicited) = (flags & Flags::Router != 0, flags & Flags::Solicited != 0);
        if target.is_multicast() || source.is_multicast() || solicited && destination.is_multicast() {
            return Err(Fault::Addresses);
        }
        let overrides = flags & Flags::Override != 0;
        let link_layer = link_layer(options, NdpOptionTypes::TargetLLAddr.0)?;
        Message::Advertisement(Advertisement {
            source,
            destination,
            target,
            router,
            solicited,
            overrides,
            link_layer,
        })
    };
    Ok(message)
}

/// The hardware address in the first option of type `wanted`; every option must be well formed.
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Fault> {
    let mut found = None;
    while let Some((&kind, rest)) = options.split_first() {
        let length = usize::from(*rest.first().ok_or(Fault::Option)?) * 8;
        if length == 0 {
            return Err(Fault::Option);
        }
        let (option, after) = options.split_at_checked(length).ok_or(Fault::Option)?;
        if kind == wanted && found.is_none() {
            let address: [u8; 6] = option.get(2..).and_then(|a| a.try_into().ok()).ok_or(Fault::Option)?;
            if !is_station(Mac(address)) {
                return Err(Fault::Sender);
            }
            found = Some(Mac(address));
        }
        options = after;
    }
    Ok(found)
}

fn is_solicited_node(ip: Ipv6Addr) -> bool {
    solicited_node(ip) == ip
}

fn mac(mac: MacAddr) -> Mac {
    Mac(mac.octets())
}
