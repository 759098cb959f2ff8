//! The router id of a node, for peers that name none.

use crate::names::NodeName;
use std::net::{IpAddr, Ipv4Addr};

/// What the node's annotation says, or why it says nothing; else a number made of the node's name where the node has
/// no IPv4 address that FRR could take; else nothing, and FRR takes one of its addresses.
pub(super) fn router_id(
    node: &NodeName,
    addresses: &[IpAddr],
    annotation: Option<&str>,
) -> Result<Option<Ipv4Addr>, String> {
    match annotation.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => match text.parse::<Ipv4Addr>().ok().filter(|id| !id.is_unspecified()) {
            Some(id) => Ok(Some(id)),
            None => Err(format!("{text:?} is not a router ID: write it like 192.0.2.1")),
        },
        None if !addresses.is_empty() && addresses.iter().all(IpAddr::is_ipv6) => {
            Ok(Some(of_name(node.as_str())))
        }
        None => Ok(None),
    }
}

/// As frr-k8s has it: the CRC-32 of the name, its least byte first. A node that moves here keeps its id.
fn of_name(name: &str) -> Ipv4Addr {
    Ipv4Addr::from(crc32(name.as_bytes()).to_le_bytes())
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    const REVERSED: u32 = 0xedb8_8320;
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (REVERSED & (crc & 1).wrapping_neg()))
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_id() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(of_name("dummyhostname"), Ipv4Addr::new(167, 62, 253, 30));
    }

    #[test]
    fn who_says_the_id() {
        let id = |addresses: &[&str], annotation| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            router_id(&"dummyhostname".into(), &addresses, annotation)
        };
        let named = Ok(Some(Ipv4Addr::new(167, 62, 253, 30)));
        assert_eq!(id(&["10.0.0.1"], Some("192.0.2.1")), Ok(Some(Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!(id(&["10.0.0.1"], Some(" ")), Ok(None));
        assert_eq!(id(&["10.0.0.1", "fd00::1"], None), Ok(None));
        assert_eq!(id(&[], None), Ok(None));
        assert_eq!(id(&["fd00::1"], None), named);
        for bad in ["0.0.0.0", "fd00::1", "7", "192.0.2.1\nrouter bgp 1"] {
            assert!(id(&["fd00::1"], Some(bad)).is_err(), "{bad}");
        }
    }
}
