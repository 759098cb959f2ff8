//! Ethernet frames of ARP (RFC 826) and of neighbour solicitation and advertisement (RFC 4861): parse and emit.
//!
//! Parsing is total: any bytes give a [`Frame`] or a [`Fault`], never a panic. A parsed solicitation or
//! advertisement has passed every check of RFC 4861 §7.1. A VLAN tag never gets here (the kernel takes it off),
//! and a frame that still has one is of an ethertype that is not ours. Nothing here knows which address is whose.

use crate::net::Mac;
use pnet::{
    packet::{
        arp::{ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket},
        ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket},
        icmpv6::{
            Icmpv6Packet, Icmpv6Types, MutableIcmpv6Packet, checksum,
            ndp::{
                MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionTypes,
                NeighborAdvertFlags as Flags, NeighborAdvertPacket, NeighborSolicitPacket,
            },
        },
        ip::IpNextHeaderProtocols,
        ipv6::{Ipv6Packet, MutableIpv6Packet},
    },
    util::MacAddr,
};
use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    ops::Deref,
};

/// What a frame carries, and between which hardware addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Destination in the Ethernet header.
    pub destination: Mac,
    /// Source in the Ethernet header.
    pub source: Mac,
    /// The message.
    pub message: Message,
}

/// The messages that this room speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// ARP, either operation.
    Arp(Arp),
    /// Neighbour solicitation.
    Solicitation(Solicitation),
    /// Neighbour advertisement.
    Advertisement(Advertisement),
}

/// ARP for IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sender_mac: Mac,
    /// IPv4 address of the sender; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target.
    pub target_mac: Mac,
    /// IPv4 address asked for or answered to.
    pub target_ip: Ipv4Addr,
}

/// ARP's operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has the target's address?
    Request,
    /// The sender's address is at the sender.
    Reply,
}

/// Who has `target`?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicitation {
    /// Source in the IPv6 header; `::` while the sender makes sure that nobody has the address.
    pub source: Ipv6Addr,
    /// Destination in the IPv6 header.
    pub destination: Ipv6Addr,
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Source link-layer address, an option.
    pub link_layer: Option<Mac>,
}

/// `target` is at `link_layer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// Source in the IPv6 header.
    pub source: Ipv6Addr,
    /// Destination in the IPv6 header.
    pub destination: Ipv6Addr,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// R: the sender is a router.
    pub router: bool,
    /// S: an answer to a solicitation.
    pub solicited: bool,
    /// O: replaces what the receiver has in its cache.
    pub overrides: bool,
    /// Target link-layer address, an option.
    pub link_layer: Option<Mac>,
}

/// Why bytes are not a [`Frame`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Fault {
    /// Ends before its headers do.
    #[error("too short")]
    Short,
    /// Neither ARP nor IPv6.
    #[error("another ethertype")]
    EtherType,
    /// ARP, but not for IPv4 over Ethernet, or neither request nor reply.
    #[error("ARP of another kind")]
    ArpKind,
    /// The sender's hardware address is zero or a group's: no station to answer.
    #[error("no station's hardware address")]
    Sender,
    /// IPv6, but neither solicitation nor advertisement.
    #[error("another IPv6 message")]
    Ipv6Kind,
    /// A router forwarded it: the hop limit is not 255.
    #[error("hop limit below 255")]
    HopLimit,
    /// The checksum does not match.
    #[error("wrong checksum")]
    Checksum,
    /// A code other than 0.
    #[error("code other than 0")]
    Code,
    /// An option of length 0, or one that ends after the message.
    #[error("malformed option")]
    Option,
    /// Source, destination or target do not go with each other (RFC 4861 §7.1).
    #[error("addresses that do not go together")]
    Addresses,
}

/// Length of an Ethernet header.
const ETHERNET: usize = EthernetPacket::minimum_packet_size();
/// Length of an IPv6 header.
const IPV6: usize = Ipv6Packet::minimum_packet_size();
/// Length of a solicitation or an advertisement without options.
const NEIGHBOUR: usize = NeighborSolicitPacket::minimum_packet_size();
/// Length of an option with a hardware address: type, length in units of 8 octets, address.
const OPTION: usize = 8;
/// Length of ARP for IPv4 over Ethernet.
const ARP: usize = ArpPacket::minimum_packet_size();

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

/// Whether `mac` is one station's: neither zero nor a group's.
fn is_station(mac: Mac) -> bool {
    mac != Mac::ZERO && !is_group(mac)
}

/// Whether `mac` is broadcast or multicast.
#[must_use]
pub const fn is_group(Mac([first, ..]): Mac) -> bool {
    first & 1 == 1
}

/// The multicast group that solicitations for `ip` are sent to (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn is_solicited_node(ip: Ipv6Addr) -> bool {
    solicited_node(ip) == ip
}

/// The hardware address that frames to a multicast group are sent to (RFC 2464 §7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// A frame's bytes, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    room: [u8; Self::MAX],
    length: usize,
}

impl Bytes {
    /// The longest frame: a solicitation or an advertisement with its option.
    const MAX: usize = ETHERNET + IPV6 + NEIGHBOUR + OPTION;
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

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

fn mac(mac: MacAddr) -> Mac {
    Mac(mac.octets())
}

const fn mac_out(Mac([a, b, c, d, e, f]): Mac) -> MacAddr {
    MacAddr(a, b, c, d, e, f)
}

#[cfg(test)]
mod tests;
