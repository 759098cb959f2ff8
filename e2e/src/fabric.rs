//! The cabling of a lab: nodes, two top-of-rack routers, clients, and the addresses of all of them.
//!
//! ```text
//!   client ── lan ──┬── n1 ──┬── tor ─── remote
//!                   ├── n2 ──┤
//!                   └── n3 ──┴── bird ── far
//! ```
//!
//! Every node is on three segments: `lan` (flat, with a client on it), `tor` and `bird` (to the two routers). The
//! segments are bridges in a switch namespace. Everything is dual-stack. Nothing runs here yet: the routing daemons
//! are [`crate::tor`] and [`crate::frr`], the product is [`crate::lab`].

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use anyhow::{Context as _, Result};

use crate::{netns::Net, warden::Warden};

/// The flat segment's bridge, and the nodes' and the client's interface on it.
pub const LAN: &str = "lan";
/// The segment of the FRR router, likewise.
pub const TOR: &str = "tor";
/// The segment of the BIRD router, likewise.
pub const BIRD: &str = "bird";

/// The VRF of a node that has one; also the bridge that all these VRFs are on, and their interface on it.
pub const VRF: &str = "red";

/// The nodes' autonomous system.
pub const NODE_ASN: u32 = 64512;
/// The FRR router's autonomous system.
pub const TOR_ASN: u32 = 64513;
/// The BIRD router's autonomous system.
pub const BIRD_ASN: u32 = 64514;

/// One network of the lab: its number decides its prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Nodes and a client: 172.30.0.0/24, fd00:30::/64.
    Lan,
    /// Nodes and the FRR router: 172.31.1.0/24, fd00:31:1::/64.
    Tor,
    /// Nodes and the BIRD router: 172.31.2.0/24, fd00:31:2::/64.
    Bird,
    /// Beyond the FRR router: 172.31.11.0/24, fd00:31:11::/64.
    Remote,
    /// Beyond the BIRD router: 172.31.12.0/24, fd00:31:12::/64.
    Far,
    /// The nodes' VRFs: 172.31.21.0/24, fd00:31:21::/64.
    Vrf,
}

impl Segment {
    /// The address of a host on it; routers are 1, node k is 10 + k, clients are 100.
    #[must_use]
    pub fn v4(self, host: u8) -> Ipv4Addr {
        match self {
            Self::Lan => Ipv4Addr::new(172, 30, 0, host),
            Self::Tor => Ipv4Addr::new(172, 31, 1, host),
            Self::Bird => Ipv4Addr::new(172, 31, 2, host),
            Self::Remote => Ipv4Addr::new(172, 31, 11, host),
            Self::Far => Ipv4Addr::new(172, 31, 12, host),
            Self::Vrf => Ipv4Addr::new(172, 31, 21, host),
        }
    }

    /// The same, IPv6; the host's decimal number is its hexadecimal digits here, so that both read alike.
    #[must_use]
    pub fn v6(self, host: u8) -> Ipv6Addr {
        let digits = u16::from_str_radix(&host.to_string(), 16).unwrap_or_default();
        match self {
            Self::Lan => Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, digits),
            Self::Tor => Ipv6Addr::new(0xfd00, 0x31, 1, 0, 0, 0, 0, digits),
            Self::Bird => Ipv6Addr::new(0xfd00, 0x31, 2, 0, 0, 0, 0, digits),
            Self::Remote => Ipv6Addr::new(0xfd00, 0x31, 0x11, 0, 0, 0, 0, digits),
            Self::Far => Ipv6Addr::new(0xfd00, 0x31, 0x12, 0, 0, 0, 0, digits),
            Self::Vrf => Ipv6Addr::new(0xfd00, 0x31, 0x21, 0, 0, 0, 0, digits),
        }
    }

    /// The bridge of a segment that has one; clients beyond a router are cabled to it.
    const fn bridge(self) -> &'static str {
        match self {
            Self::Tor => TOR,
            Self::Bird => BIRD,
            Self::Vrf => VRF,
            Self::Lan | Self::Remote | Self::Far => LAN,
        }
    }

    /// Both addresses of a host with their lengths, for an interface.
    fn of(self, host: u8) -> [String; 2] {
        [format!("{}/24", self.v4(host)), format!("{}/64", self.v6(host))]
    }
}

/// A node's place: its number and its namespace.
#[derive(Debug)]
pub struct Node {
    /// 1 for `n1`.
    pub number: u8,
    /// Its namespace, with the interfaces [`LAN`], [`TOR`] and [`BIRD`].
    pub net: Net,
    /// Its VRF [`VRF`], when it has one: a namespace, since not every kernel has VRFs.
    pub vrf: Option<Net>,
}

impl Node {
    /// `n1`.
    pub fn name(&self) -> &str {
        self.net.role()
    }

    /// Its host number on every segment.
    pub fn host(&self) -> u8 {
        10 + self.number
    }

    /// The address of its pod, 10.244.<number>.2.
    pub fn pod_v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number, 2)
    }

    /// The same, IPv6: fd00:244:<number>::2.
    pub fn pod_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x244, u16::from(self.number), 0, 0, 0, 0, 2)
    }

    /// Takes its three cables away, as when the machine loses its power.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn unplug(&self) -> Result<()> {
        self.cables("down")
    }

    /// Plugs them in again. IPv6 addresses live through it, since the links are not deleted.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn replug(&self) -> Result<()> {
        self.cables("up")?;
        self.route()
    }

    fn cables(&self, state: &str) -> Result<()> {
        for interface in [LAN, TOR, BIRD] {
            self.net.ip(&format!("link set dev {interface} {state}"))?;
        }
        Ok(())
    }

    fn route(&self) -> Result<()> {
        for (beyond, by) in [(Segment::Remote, Segment::Tor), (Segment::Far, Segment::Bird)] {
            self.net.ip(&format!("route replace {}/24 via {}", beyond.v4(0), by.v4(1)))?;
            self.net.ip(&format!("-6 route replace {}/64 via {}", beyond.v6(0), by.v6(1)))?;
        }
        Ok(())
    }
}

/// All namespaces of a lab, cabled, addressed and routed as far as static routes go.
#[derive(Debug)]
pub struct Fabric {
    /// `n1`, `n2`, …
    pub nodes: Vec<Node>,
    /// Where the FRR router runs.
    pub tor: Net,
    /// Where the BIRD router runs.
    pub bird: Net,
    /// A client beyond the FRR router.
    pub remote: Net,
    /// A client beyond the BIRD router.
    pub far: Net,
    /// A client on the flat segment.
    pub client: Net,
    /// For a controller or a control plane: host 2 of the flat segment.
    pub control: Net,
    /// The switch with the three bridges; its ports are named `<role>.<bridge>` ([`crate::netns::port`]).
    pub switch: Net,
    /// Ends the lab.
    pub warden: Arc<Warden>,
}

impl Fabric {
    /// Makes it, with this many nodes.
    ///
    /// # Errors
    /// When the kernel refuses, as it does without root.
    pub fn create(nodes: u8) -> Result<Self> {
        let warden = Warden::start()?;
        let net = |role: &str| Net::create(&warden, role);
        let switch = net("switch")?;
        for bridge in [LAN, TOR, BIRD] {
            switch.bridge(bridge)?;
        }
        let fabric = Self {
            nodes: (1..=nodes)
                .map(|number| Ok(Node { number, net: net(&format!("n{number}"))?, vrf: None }))
                .collect::<Result<_>>()?,
            tor: net("tor")?,
            bird: net("bird")?,
            remote: net("remote")?,
            far: net("far")?,
            client: net("client")?,
            control: net("control")?,
            switch,
            warden: Arc::clone(&warden),
        };
        fabric.cable()?;
        Ok(fabric)
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When the lab has none.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name() == name)
            .with_context(|| format!("the lab has no node {name}"))
    }

    /// Gives every node a VRF with an interface on a segment of its own: host 10 + k for node k.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_vrfs(&mut self) -> Result<()> {
        self.switch.bridge(VRF)?;
        for node in &mut self.nodes {
            let net = Net::create(&self.warden, &format!("{}{VRF}", node.name()))?;
            let [v4, v6] = Segment::Vrf.of(node.host());
            net.plug(VRF, &[&v4, &v6], &self.switch, VRF)?;
            node.vrf = Some(net);
        }
        Ok(())
    }

    /// One more machine, with this host number, on a segment that has a bridge.
    ///
    /// # Errors
    /// When the kernel refuses, or the role is too long for a name of a port.
    pub fn add_host(&self, role: &str, segment: Segment, host: u8) -> Result<Net> {
        let net = Net::create(&self.warden, role)?;
        let bridge = segment.bridge();
        let [v4, v6] = segment.of(host);
        net.plug(bridge, &[&v4, &v6], &self.switch, bridge)?;
        Ok(net)
    }

    fn cable(&self) -> Result<()> {
        let plug = |net: &Net, segment: Segment, host: u8| {
            let bridge = segment.bridge();
            let [v4, v6] = segment.of(host);
            net.plug(bridge, &[&v4, &v6], &self.switch, bridge)
        };
        for (router, segment, client, beyond) in [
            (&self.tor, Segment::Tor, &self.remote, Segment::Remote),
            (&self.bird, Segment::Bird, &self.far, Segment::Far),
        ] {
            router.forward()?;
            plug(router, segment, 1)?;
            let ([v4, v6], [client_v4, client_v6]) = (beyond.of(1), beyond.of(100));
            router.cable("down", &[&v4, &v6], client, "up", &[&client_v4, &client_v6])?;
            client.ip(&format!("route add default via {}", beyond.v4(1)))?;
            client.ip(&format!("-6 route add default via {}", beyond.v6(1)))?;
        }
        plug(&self.client, Segment::Lan, 100)?;
        plug(&self.control, Segment::Lan, 2)?;
        for node in &self.nodes {
            node.net.forward()?;
            for segment in [Segment::Lan, Segment::Tor, Segment::Bird] {
                plug(&node.net, segment, node.host())?;
            }
            node.route()?;
            node.net
                .addresses("lo", &[&format!("{}/32", node.pod_v4()), &format!("{}/128", node.pod_v6())])?;
            for other in self.nodes.iter().filter(|other| other.number != node.number) {
                let (v4, v6) = (Segment::Lan.v4(other.host()), Segment::Lan.v6(other.host()));
                node.net.ip(&format!("route add {}/32 via {v4}", other.pod_v4()))?;
                node.net.ip(&format!("-6 route add {}/128 via {v6}", other.pod_v6()))?;
            }
        }
        Ok(())
    }
}
