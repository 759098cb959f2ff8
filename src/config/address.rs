//! Addresses of a BGP session: which ones no session can have.
//!
//! Refused is only what FRR was seen not to work with. Addresses that merely look odd pass: FRR runs sessions with
//! them for somebody.

use crate::net::Family;
use std::net::{IpAddr, Ipv6Addr};

/// An address; one of IPv4 that is written as one of IPv6 is one of IPv4, as it is for MetalLB.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// `spec.peerAddress`, of a peer that is called from `source`.
pub(super) fn of_peer(written: &str, source: Option<IpAddr>) -> Result<IpAddr, String> {
    let why = match address(written) {
        None if is_scoped(written) => LINK_LOCAL,
        None => return Err(format!("invalid BGPPeer address {written:?}")),
        Some(ip) if ip.is_unspecified() => "is nobody's address",
        Some(ip) if ip.is_multicast() => "is a multicast address",
        Some(ip) if is_broadcast(ip) => "is the broadcast address",
        Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => LINK_LOCAL,
        Some(ip) if ip.is_loopback() && source.is_none_or(|source| source.is_loopback()) => LOOPBACK,
        Some(ip) => return Ok(ip),
    };
    Err(format!("invalid BGPPeer address {written:?}: {why}"))
}

/// FRR waits for ever for a route to it.
const LINK_LOCAL: &str = "is a link-local address, which means nothing without its interface: write the interface \
                          into spec.interface, and no peerAddress";

/// FRR ends every session whose own end is an address that zebra does not tell it, and zebra tells none of these.
const LOOPBACK: &str = "is the node's own loopback address, over which FRR keeps no session: if a router does listen \
                        there, set sourceAddress to another address of the node, and ebgpMultiHop";

/// `spec.sourceAddress`; `None` for one that leaves the choice to the kernel.
pub(super) fn of_source(written: &str, peer: Option<IpAddr>) -> Result<Option<IpAddr>, String> {
    let Some(ip) = address(written) else { return Err(format!("{written:?} is not an IP address")) };
    if let Some(peer) = peer
        && Family::of(peer) != Family::of(ip)
    {
        let (own, other) = (Family::of(ip), Family::of(peer));
        return Err(format!("{written:?} is an {own} address, and peerAddress is an {other} address"));
    }
    if ip.is_multicast() {
        return Err(format!("{written:?} is a multicast address, which nothing can come from"));
    }
    if is_broadcast(ip) {
        return Err(format!("{written:?} is the broadcast address, which nothing can come from"));
    }
    Ok(Some(ip).filter(|ip| !ip.is_unspecified()))
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// `fe80::1%eth0`.
fn is_scoped(text: &str) -> bool {
    let address = text.split_once('%').and_then(|(address, _)| address.parse::<Ipv6Addr>().ok());
    address.is_some_and(|ip| ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_cannot_work_is_refused() {
        for (written, source, expected) in [
            ("192.0.2.1", None, Ok("192.0.2.1")),
            ("2001:db8::1", None, Ok("2001:db8::1")),
            // odd, but FRR calls there
            ("169.254.1.1", None, Ok("169.254.1.1")),
            ("::ffff:192.0.2.1", None, Ok("192.0.2.1")),
            ("127.0.0.2", Some("192.0.2.9"), Ok("127.0.0.2")),
            ("::1", Some("2001:db8::9"), Ok("::1")),
            ("127.0.0.1", None, Err("loopback")),
            ("127.9.9.9", Some("127.0.0.2"), Err("loopback")),
            ("::1", None, Err("loopback")),
            ("::ffff:127.0.0.1", None, Err("loopback")),
            ("0.0.0.0", None, Err("nobody's")),
            ("::", None, Err("nobody's")),
            ("224.0.0.1", None, Err("multicast")),
            ("ff02::1", None, Err("multicast")),
            ("::ffff:239.1.1.1", None, Err("multicast")),
            ("255.255.255.255", None, Err("broadcast")),
            ("fe80::1", None, Err("spec.interface")),
            ("fe80::1%eth0", None, Err("spec.interface")),
            ("tor-1", None, Err("\"tor-1\"")),
            ("192.0.2.1\n", None, Err("\"192.0.2.1\\n\"")),
        ] {
            match (of_peer(written, source.map(|s: &str| s.parse().unwrap())), expected) {
                (Ok(ip), Ok(expected)) => assert_eq!(ip.to_string(), expected),
                (Err(why), Err(part)) => {
                    assert!(why.starts_with("invalid BGPPeer address") && why.contains(part), "{why}");
                }
                (found, expected) => panic!("{written}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_source_is_of_the_peers_family() {
        for (written, peer, expected) in [
            ("192.0.2.2", "192.0.2.1", Ok(Some("192.0.2.2"))),
            ("::ffff:192.0.2.2", "192.0.2.1", Ok(Some("192.0.2.2"))),
            ("fe80::2", "2001:db8::1", Ok(Some("fe80::2"))),
            ("0.0.0.0", "192.0.2.1", Ok(None)),
            ("::", "2001:db8::1", Ok(None)),
            ("::", "192.0.2.1", Err("is an IPv6 address, and peerAddress is an IPv4 address")),
            ("192.0.2.2", "2001:db8::1", Err("is an IPv4 address, and peerAddress is an IPv6 address")),
            ("224.0.0.1", "192.0.2.1", Err("multicast")),
            ("ff02::1", "2001:db8::1", Err("multicast")),
            ("255.255.255.255", "192.0.2.1", Err("broadcast")),
            ("eth0", "192.0.2.1", Err("not an IP address")),
        ] {
            match (of_source(written, peer.parse().ok()), expected) {
                (Ok(ip), Ok(expected)) => assert_eq!(ip.map(|ip| ip.to_string()).as_deref(), expected),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, expected) => panic!("{written}: {found:?}, not {expected:?}"),
            }
        }
    }
}
