//! The standing peers of the lab, and the routers at their other ends: where a case more begins.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context as _, Result, anyhow};
use ferrolb_e2e::{
    fabric::{Fabric, NODE_ASN, Node, Segment},
    frr::Version,
    netns::Net,
    peer::{At, Make, Neighbour, Peer, Settings},
    tor::Family,
};

/// The network between the FRR router and the router that is two hops away from the nodes.
pub(crate) const HOP: &str = "172.31.13";
/// An address that belongs to no network: the router `loop` has it on its loopback.
pub(crate) const LOOP: &str = "fd00:31:ff::36";
/// The AS that the nodes show to the router `alias`.
pub(crate) const ALIAS: u32 = 64999;
/// The password of the router `go`.
pub(crate) const PASSWORD: &str = "s3cret-0f-the-lab";
/// n1's second address on the ToR segment, which the router `bd` knows as a neighbour, too.
pub(crate) const SECOND: Ipv4Addr = Ipv4Addr::new(172, 31, 1, 111);

/// A BGPPeer, and what the router at its other end should see of each node.
pub(crate) struct Standing {
    /// The object.
    pub(crate) object: PeerObject,
    /// The router.
    pub(crate) router: &'static str,
    /// How that router calls a node.
    pub(crate) at: fn(&Node) -> At,
    /// The AS that it should see.
    pub(crate) asn: u32,
    /// The hold time that should have been negotiated.
    pub(crate) hold: u64,
    /// The families that both ends should speak.
    pub(crate) families: &'static [Family],
}

/// The annotation that makes packets from too far away count for nothing.
pub(crate) const TTL_SECURITY: &str = "ferrolb.io/ttl-security-hops";

/// A BGPPeer: its name, and its spec's fields as YAML.
#[derive(Clone)]
pub(crate) struct PeerObject {
    /// Its name.
    pub(crate) name: &'static str,
    fields: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
}

impl PeerObject {
    /// One with nothing but this field, our AS, and an attempt to connect every second.
    pub(crate) fn new(name: &'static str, field: &'static str, value: impl ToString) -> Self {
        let object = Self { name, fields: BTreeMap::new(), annotations: BTreeMap::new() };
        object.with("myASN", NODE_ASN).with("connectTime", "1s").with(field, value)
    }

    /// The same with one field more, or with another value of it.
    #[must_use]
    pub(crate) fn with(mut self, field: &'static str, value: impl ToString) -> Self {
        self.fields.insert(field, value.to_string());
        self
    }

    /// The same with an annotation, or with another value of it.
    #[must_use]
    pub(crate) fn annotated(mut self, annotation: &'static str, value: impl ToString) -> Self {
        self.annotations.insert(annotation, value.to_string());
        self
    }

    /// The same without annotations.
    #[must_use]
    pub(crate) fn bare(mut self) -> Self {
        self.annotations.clear();
        self
    }

    /// The same without a field.
    #[must_use]
    pub(crate) fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    /// The value of a field.
    pub(crate) fn field(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata:\n  name: {}\n  namespace: metallb-system\n",
            self.name
        );
        if !self.annotations.is_empty() {
            text += "  annotations:\n";
            text.extend(self.annotations.iter().map(|(name, value)| format!("    {name}: {value:?}\n")));
        }
        text += "spec:\n";
        for (field, value) in &self.fields {
            // a list or an object is written as YAML's flow, every other text in quotes
            let plain = value.starts_with(['[', '{']) || value.bytes().all(|byte| byte.is_ascii_digit());
            let bare = plain || matches!(value.as_str(), "true" | "false");
            text += &if bare { format!("  {field}: {value}\n") } else { format!("  {field}: {value:?}\n") };
        }
        text
    }
}

fn tor_v4(node: &Node) -> At {
    IpAddr::from(Segment::Tor.v4(node.host())).into()
}

fn tor_v6(node: &Node) -> At {
    IpAddr::from(Segment::Tor.v6(node.host())).into()
}

fn vrf_v4(node: &Node) -> At {
    IpAddr::from(Segment::Vrf.v4(node.host())).into()
}

fn line(node: &Node) -> At {
    At::Interface(if node.number == 1 { "l1" } else { "l2" })
}

/// One entry per BGPPeer. A case more is one entry here and a neighbour in [`routers`].
pub(crate) fn standing() -> Vec<Standing> {
    const V4: &[Family] = &[Family::V4];
    const V6: &[Family] = &[Family::V6];
    const BOTH: &[Family] = &Family::ALL;
    let address = |name, segment: Segment, host| PeerObject::new(name, "peerAddress", segment.v4(host));
    let address_v6 = |name, segment: Segment, host| PeerObject::new(name, "peerAddress", segment.v6(host));
    let peer = |router, object: PeerObject, at, hold, families| {
        let object = object.with("holdTime", format!("{hold}s")).with("keepaliveTime", "3s");
        Standing { object, router, at, asn: NODE_ASN, hold, families }
    };
    let tor = Segment::Tor;
    vec![
        // eBGP
        peer(
            "f8",
            address("f8-v4", tor, 31).with("peerASN", 65031).with("enableGracefulRestart", true),
            tor_v4,
            21,
            V4,
        ),
        peer("f8", address_v6("f8-v6", tor, 31).with("dynamicASN", "external"), tor_v6, 22, V6),
        // iBGP
        peer("f10", address("f10-v4", tor, 32).with("dynamicASN", "internal"), tor_v4, 23, V4),
        peer("f10", address_v6("f10-v6", tor, 32).with("peerASN", NODE_ASN), tor_v6, 24, V6),
        peer("bd", address("bd-v4", tor, 34).with("peerASN", NODE_ASN), tor_v4, 25, V4),
        peer(
            "bd",
            address_v6("bd-v6", tor, 34).with("peerASN", NODE_ASN).with("dualStackAddressFamily", true),
            tor_v6,
            26,
            BOTH,
        ),
        // another port, a password, both families over one session, graceful restart
        peer(
            "go",
            address("go", tor, 33)
                .with("peerASN", 65033)
                .with("peerPort", 1790)
                .with("password", PASSWORD)
                .with("dualStackAddressFamily", true)
                .with("enableGracefulRestart", true),
            tor_v4,
            27,
            BOTH,
        ),
        // two hops away
        peer(
            "hop",
            PeerObject::new("hop", "peerAddress", format!("{HOP}.2"))
                .with("peerASN", 65035)
                .with("ebgpMultiHop", true),
            tor_v4,
            28,
            V4,
        ),
        // one hop away, at an address of no common network: FRR has to be told not to mind
        peer("loop", PeerObject::new("loop", "peerAddress", LOOP).with("peerASN", 65036), tor_v6, 29, V6),
        // under another AS, at a router that hears nothing from farther than the next hop
        Standing {
            asn: ALIAS,
            ..peer(
                "alias",
                address("alias", tor, 37)
                    .with("peerASN", 65037)
                    .with("localASN", ALIAS)
                    .annotated(TTL_SECURITY, 1),
                tor_v4,
                30,
                V4,
            )
        },
        // unnumbered
        peer("line", PeerObject::new("line", "interface", "line").with("peerASN", 65038), line, 31, BOTH),
        // in a VRF
        peer(
            "red",
            address("red", Segment::Vrf, 39)
                .with("peerASN", 65039)
                .with("vrf", "red")
                .with("routerID", "192.0.2.88"),
            vrf_v4,
            32,
            V4,
        ),
    ]
}

/// The routers, with the neighbours that [`standing`] needs.
pub(crate) fn routers(fabric: &Fabric) -> Result<BTreeMap<&'static str, Peer>> {
    let each = |at: fn(&Node) -> At, change: fn(Neighbour) -> Neighbour| {
        let plain = |at| Neighbour { at, ..Neighbour::new(Ipv4Addr::LOCALHOST.into(), NODE_ASN) };
        fabric.nodes.iter().map(move |node| change(plain(at(node)))).collect::<Vec<_>>()
    };
    let v4 = |change| each(tor_v4, change);
    let v6 = |change: fn(Neighbour) -> Neighbour| {
        let mut all = each(tor_v6, change);
        all.iter_mut().filter(|n| n.families == [Family::V4]).for_each(|n| n.families = vec![Family::V6]);
        all
    };
    let same = |neighbour| neighbour;
    let settings = |asn, host: u8, neighbours| Settings {
        asn,
        id: Ipv4Addr::new(192, 0, 2, host),
        local: None,
        port: 179,
        neighbours,
    };
    let second = Neighbour::new(SECOND.into(), NODE_ASN);
    let eight = Make::Frr(Version::Own);
    let ten = Make::Frr(Version::Ten);
    let plans = vec![
        ("f8", eight, settings(65031, 31, [v4(same), v6(same)].concat())),
        ("f10", ten, settings(NODE_ASN, 32, [v4(same), v6(same)].concat())),
        (
            "go",
            Make::GoBgp,
            Settings {
                port: 1790,
                ..settings(65033, 33, v4(|n| Neighbour { password: Some(PASSWORD), ..n.dual() }))
            },
        ),
        ("bd", Make::Bird, settings(NODE_ASN, 34, [v4(same), v6(Neighbour::dual), vec![second]].concat())),
        // BIRD has BFD over hops between two known addresses only
        (
            "hop",
            Make::Bird,
            Settings {
                local: Some(format!("{HOP}.2").parse()?),
                ..settings(65035, 35, v4(|n| Neighbour { multihop: true, hops: Some(2), bfd: true, ..n }))
            },
        ),
        ("loop", Make::Bird, Settings { local: Some(LOOP.parse()?), ..settings(65036, 36, v6(same)) }),
        ("alias", Make::Bird, settings(65037, 37, v4(|n| Neighbour { asn: ALIAS, hops: Some(1), ..n }))),
        ("line", ten, settings(65038, 38, each(line, Neighbour::dual))),
        ("red", eight, settings(65039, 39, each(vrf_v4, same))),
    ];
    let cabled = plans.into_iter().map(|(role, make, settings)| {
        let host = settings.id.octets()[3];
        let net = match role {
            "hop" => {
                let net = Net::create(&fabric.warden, role)?;
                let (near, there) = (format!("{HOP}.1/24"), format!("{HOP}.2/24"));
                net.cable("up", &[&there], &fabric.tor, "hop", &[&near])?;
                net.ip(&format!("route add default via {HOP}.1"))?;
                net
            }
            "line" => {
                let net = Net::create(&fabric.warden, role)?;
                for (node, end) in fabric.nodes.iter().zip(["l1", "l2"]) {
                    net.cable(end, &[], &node.net, "line", &[])?;
                }
                net
            }
            "red" => fabric.add_host(role, Segment::Vrf, host)?,
            _ => fabric.add_host(role, Segment::Tor, host)?,
        };
        net.forward()?;
        Ok((role, make, settings, net))
    });
    let cabled = cabled.collect::<Result<Vec<_>>>()?;
    for (role, .., net) in &cabled {
        if *role == "loop" {
            net.addresses("lo", &[&format!("{LOOP}/128")])?;
        }
    }
    for node in &fabric.nodes {
        node.net.ip(&format!("route add {HOP}.0/24 via {}", Segment::Tor.v4(1)))?;
        node.net.ip(&format!("-6 route add {LOOP}/128 via {}", Segment::Tor.v6(36)))?;
    }
    std::thread::scope(|scope| {
        let starts: Vec<_> = cabled
            .into_iter()
            .map(|(role, make, settings, net)| {
                (role, scope.spawn(move || Peer::start(&fabric.warden, net, make, &settings)))
            })
            .collect();
        let routers = starts.into_iter().map(|(role, start)| {
            let peer = start.join().map_err(|_| anyhow!("starting {role} panicked"))?;
            Ok((role, peer.with_context(|| format!("the router {role}"))?))
        });
        routers.collect()
    })
}
