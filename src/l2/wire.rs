//! Ethernet frames of ARP (RFC 826) and of neighbour solicitation and advertisement (RFC 4861): parse and emit.
//!
//! Parsing is total: any bytes give a [`Frame`] or a [`Fault`], never a panic. A parsed solicitation or
//! advertisement has passed every check of RFC 4861 §7.1. A VLAN tag never gets here (the kernel takes it off),
//! and a frame that still has one is of an ethertype that is not ours. Nothing here knows which address is whose.

mod emit;
mod parse;

pub use emit::emit;
pub use parse::parse;

use crate::net::Mac;
use pnet::packet::{
    arp::ArpPacket, ethernet::EthernetPacket, icmpv6::ndp::NeighborSolicitPacket, ipv6::Ipv6Packet,
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

#[cfg(test)]
mod tests;
