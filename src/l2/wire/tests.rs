//! The codec: octets written down, every check, and bytes at random.

use super::*;
use proptest::prelude::*;

const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 0xc1]);
const NODE: Mac = Mac([2, 0, 0, 0, 0, 0xa1]);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Frames written down octet by octet; the checksums are computed by another program.
fn vectors() -> [(Frame, Vec<u8>); 3] {
    [
        (
            Frame {
                destination: Mac::BROADCAST,
                source: CLIENT,
                message: Message::Arp(Arp {
                    operation: Operation::Request,
                    sender_mac: CLIENT,
                    sender_ip: Ipv4Addr::new(192, 0, 2, 9),
                    target_mac: Mac::ZERO,
                    target_ip: Ipv4Addr::new(192, 0, 2, 7),
                }),
            },
            bytes(
                "ffffffffffff 0200000000c1 0806 0001 0800 06 04 0001
                 0200000000c1 c0000209 000000000000 c0000207",
            ),
        ),
        (
            Frame {
                destination: Mac([0x33, 0x33, 0xff, 0, 0, 7]),
                source: CLIENT,
                message: Message::Solicitation(Solicitation {
                    source: v6("2001:db8::c1"),
                    destination: v6("ff02::1:ff00:7"),
                    target: v6("2001:db8::7"),
                    link_layer: Some(CLIENT),
                }),
            },
            bytes(
                "3333ff000007 0200000000c1 86dd 60000000 0020 3a ff
                 20010db80000000000000000000000c1 ff0200000000000000000001ff000007
                 87 00 1a9d 00000000 20010db8000000000000000000000007 01 01 0200000000c1",
            ),
        ),
        (
            Frame {
                destination: CLIENT,
                source: NODE,
                message: Message::Advertisement(Advertisement {
                    source: v6("2001:db8::7"),
                    destination: v6("2001:db8::c1"),
                    target: v6("2001:db8::7"),
                    router: false,
                    solicited: true,
                    overrides: true,
                    link_layer: Some(NODE),
                }),
            },
            bytes(
                "0200000000c1 0200000000a1 86dd 60000000 0020 3a ff
                 20010db8000000000000000000000007 20010db80000000000000000000000c1
                 88 00 8908 60000000 20010db8000000000000000000000007 02 01 0200000000a1",
            ),
        ),
    ]
}

#[test]
fn frames_are_these_octets() {
    for (frame, octets) in vectors() {
        assert_eq!(parse(&octets), Ok(frame));
        assert_eq!(emit(&frame)[..], octets);
    }
}

#[test]
fn padding_of_a_short_frame_is_ignored() {
    for (frame, mut octets) in vectors() {
        octets.resize(128, 0xee);
        assert_eq!(parse(&octets), Ok(frame));
    }
}

#[test]
fn a_frame_cut_short_is_malformed() {
    for (_, octets) in vectors() {
        for length in 0..octets.len() {
            assert!(parse(&octets[..length]).is_err(), "{length}");
        }
    }
}

/// Changes one octet of vector `which`, and puts the checksum right again where `sum` says so.
fn spoilt(which: usize, at: usize, octet: u8, sum: bool) -> Result<Frame, Fault> {
    let (_, mut octets) = vectors().into_iter().nth(which).unwrap();
    octets[at] = octet;
    if sum {
        resum(&mut octets);
    }
    parse(&octets)
}

fn resum(octets: &mut [u8]) {
    let end = 54 + usize::from(octets[19]);
    octets[56] = 0;
    octets[57] = 0;
    let end = end.min(octets.len());
    let mut sum: u32 = octets[22..end]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    sum += u32::from(octets[19]) + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    octets[56..58].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[test]
fn every_check_has_its_fault() {
    let (arp, solicit, advert) = (0, 1, 2);
    for (which, at, octet, sum, fault) in [
        (arp, 12, 0x81, false, Fault::EtherType),
        (arp, 15, 6, false, Fault::ArpKind),
        (arp, 17, 1, false, Fault::ArpKind),
        (arp, 18, 8, false, Fault::ArpKind),
        (arp, 19, 16, false, Fault::ArpKind),
        (arp, 21, 3, false, Fault::ArpKind),
        (arp, 22, 3, false, Fault::Sender),
        (arp, 6, 0xff, false, Fault::Sender),
        (solicit, 14, 0x40, false, Fault::Ipv6Kind),
        (solicit, 20, 0, false, Fault::Ipv6Kind),
        (solicit, 18, 1, false, Fault::Short),
        (solicit, 21, 254, false, Fault::HopLimit),
        (solicit, 54, 133, true, Fault::Ipv6Kind),
        (solicit, 55, 1, true, Fault::Code),
        (solicit, 57, 0, false, Fault::Checksum),
        (solicit, 62, 0xff, true, Fault::Addresses),
        (solicit, 22, 0xff, true, Fault::Addresses),
        (solicit, 79, 0, true, Fault::Option),
        (solicit, 79, 2, true, Fault::Option),
        (solicit, 80, 1, true, Fault::Sender),
        (advert, 38, 0xff, true, Fault::Addresses),
        (advert, 79, 0, true, Fault::Option),
        (advert, 62, 0xff, true, Fault::Addresses),
    ] {
        assert_eq!(spoilt(which, at, octet, sum), Err(fault), "vector {which}, octet {at} = {octet}");
    }
}

#[test]
fn a_probe_comes_without_the_option_and_to_the_group() {
    let probe = |destination, link_layer| {
        let message = Solicitation {
            source: Ipv6Addr::UNSPECIFIED,
            destination: v6(destination),
            target: v6("2001:db8::7"),
            link_layer,
        };
        let frame = Frame {
            destination: multicast_mac(v6(destination)),
            source: CLIENT,
            message: Message::Solicitation(message),
        };
        parse(&emit(&frame)).map(|parsed| assert_eq!(parsed, frame))
    };
    assert_eq!(probe("ff02::1:ff00:7", None), Ok(()));
    assert_eq!(probe("ff02::1:ff00:7", Some(CLIENT)), Err(Fault::Addresses));
    assert_eq!(probe("2001:db8::7", None), Err(Fault::Addresses));
}

#[test]
fn other_options_are_stepped_over() {
    // A nonce (RFC 3971) of 8 octets before the address.
    let (frame, mut octets) = vectors().into_iter().nth(1).unwrap();
    octets.splice(78..78, [14, 1, 1, 2, 3, 4, 5, 6]);
    octets[19] += 8;
    resum(&mut octets);
    assert_eq!(parse(&octets), Ok(frame));
}

#[test]
fn groups_of_an_address() {
    let group = solicited_node(v6("2001:db8::1234:5678"));
    assert_eq!(group, v6("ff02::1:ff34:5678"));
    assert_eq!(multicast_mac(group), Mac([0x33, 0x33, 0xff, 0x34, 0x56, 0x78]));
}

fn station() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] = octets[0] & 0xfe | 2;
        Mac(octets)
    })
}

fn unicast() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 3 | 1 << 125))
}

fn message() -> impl Strategy<Value = Message> {
    let arp = (any::<bool>(), station(), any::<u32>(), any::<[u8; 6]>(), any::<u32>());
    let solicit = (unicast(), unicast(), unicast(), proptest::option::of(station()));
    let advert = (unicast(), unicast(), unicast(), any::<[bool; 3]>(), proptest::option::of(station()));
    prop_oneof![
        arp.prop_map(|(request, sender_mac, sender_ip, target_mac, target_ip)| Message::Arp(Arp {
            operation: if request { Operation::Request } else { Operation::Reply },
            sender_mac,
            sender_ip: sender_ip.into(),
            target_mac: Mac(target_mac),
            target_ip: target_ip.into(),
        })),
        solicit.prop_map(|(source, destination, target, link_layer)| Message::Solicitation(Solicitation {
            source,
            destination,
            target,
            link_layer,
        })),
        advert.prop_map(|(source, destination, target, [router, solicited, overrides], link_layer)| {
            Message::Advertisement(Advertisement {
                source,
                destination,
                target,
                router,
                solicited,
                overrides,
                link_layer,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_emitted_parses_to_itself(
        destination in any::<[u8; 6]>(),
        source in station(),
        message in message(),
    ) {
        let frame = Frame { destination: Mac(destination), source, message };
        prop_assert_eq!(parse(&emit(&frame)), Ok(frame));
    }

    #[test]
    fn no_bytes_panic(octets in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&octets);
    }

    /// Random changes to good frames, sums put right, get deeper than random bytes do.
    #[test]
    fn no_spoilt_frame_panics(
        which in 0..3_usize,
        changes in proptest::collection::vec((12..96_usize, any::<u8>()), 0..4),
        length in 0..128_usize,
    ) {
        let (_, mut octets) = vectors().into_iter().nth(which).unwrap();
        octets.resize(128, 0);
        for (at, octet) in changes {
            octets[at] = octet;
        }
        if which > 0 {
            resum(&mut octets);
        }
        let _ = parse(&octets[..length]);
        let _ = parse(&octets);
    }
}
