//! TCP segments of captured frames, with what a session's options change in them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use pnet::{
    packet::{
        Packet as _,
        ethernet::{EtherTypes, EthernetPacket},
        ipv4::Ipv4Packet,
        ipv6::Ipv6Packet,
        tcp::{TcpFlags, TcpPacket},
    },
    util::MacAddr,
};

use crate::capture::Frame;

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// When the kernel saw it, since the epoch.
    pub at: Duration,
    /// Which station of the link it goes to next.
    pub station: MacAddr,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Whether it asks for a connection.
    pub calls: bool,
    /// Whether it refuses or ends one at once.
    pub resets: bool,
    /// The number of its first byte.
    pub sequence: u32,
    /// The numbers of its options.
    pub options: Vec<u8>,
    /// What it carries.
    pub data: Vec<u8>,
}

/// The option that signs a segment (RFC 2385).
pub const MD5: u8 = 19;

/// The segments among these frames.
#[must_use]
pub fn segments(frames: &[Frame]) -> Vec<Segment> {
    frames.iter().filter_map(segment).collect()
}

fn segment(frame: &Frame) -> Option<Segment> {
    let ethernet = EthernetPacket::new(&frame.bytes)?;
    let (from, to, ttl, bytes): (IpAddr, IpAddr, u8, Vec<u8>) = match ethernet.get_ethertype() {
        EtherTypes::Ipv4 => {
            let ip = Ipv4Packet::new(ethernet.payload())?;
            (ip.get_source().into(), ip.get_destination().into(), ip.get_ttl(), ip.payload().to_vec())
        }
        EtherTypes::Ipv6 => {
            let ip = Ipv6Packet::new(ethernet.payload())?;
            (ip.get_source().into(), ip.get_destination().into(), ip.get_hop_limit(), ip.payload().to_vec())
        }
        _ => return None,
    };
    let tcp = TcpPacket::new(&bytes)?;
    let flags = tcp.get_flags();
    Some(Segment {
        at: frame.at,
        station: ethernet.get_destination(),
        from: SocketAddr::new(from, tcp.get_source()),
        to: SocketAddr::new(to, tcp.get_destination()),
        ttl,
        calls: flags & TcpFlags::SYN != 0 && flags & TcpFlags::ACK == 0,
        resets: flags & TcpFlags::RST != 0,
        sequence: tcp.get_sequence(),
        options: tcp.get_options_iter().map(|option| option.get_number().0).collect(),
        data: tcp.payload().to_vec(),
    })
}
