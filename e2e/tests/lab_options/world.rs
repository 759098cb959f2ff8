//! The lab of these tests: n1 runs FRR 8, n2 FRR 10, and every BGPPeer in [`World::standing`] is there all the time,
//! each with one option more than nothing, at a router of one make or another.
//!
//! A case edits a manifest by [`World::step`], which waits for what a router then sees, and fails when a session was
//! interrupted that the case does not name.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ferrolb_e2e::{
    fabric::{Fabric, NODE_ASN, Node, Segment},
    frr::Version,
    lab::{DEADLINE, Lab, Plan},
    netns::Net,
    objects,
    peer::{At, Make, Neighbour, Path, Peer, Seen, Settings, name},
    tor::Family,
    wait,
};
use serde_json::Value;

/// The network between the FRR router and the router that is two hops away from the nodes.
const HOP: &str = "172.31.13";
/// An address that belongs to no network: the router `loop` has it on its loopback.
pub(crate) const LOOP: &str = "fd00:31:ff::36";
/// The AS that the nodes show to the router `alias`.
pub(crate) const ALIAS: u32 = 64999;
/// The password of the router `go`.
pub(crate) const PASSWORD: &str = "s3cret-0f-the-lab";
/// n1's second address on the ToR segment, which the router `bd` knows as a neighbour, too.
pub(crate) const SECOND: Ipv4Addr = Ipv4Addr::new(172, 31, 1, 111);

/// Everything.
pub(crate) struct World {
    routers: BTreeMap<&'static str, Peer>,
    lives: Mutex<BTreeMap<(String, String), String>>,
    /// The BGPPeers that are there all the time.
    pub(crate) standing: Vec<Standing>,
    /// The nodes and the product.
    pub(crate) lab: Lab,
}

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

/// A BGPPeer: its name, and its spec's fields as YAML.
#[derive(Clone)]
pub(crate) struct PeerObject {
    /// Its name.
    pub(crate) name: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl PeerObject {
    /// One with nothing but this field, our AS, and an attempt to connect every second.
    pub(crate) fn new(name: &'static str, field: &'static str, value: impl ToString) -> Self {
        let object = Self { name, fields: BTreeMap::new() };
        object.with("myASN", NODE_ASN).with("connectTime", "1s").with(field, value)
    }

    /// The same with one field more, or with another value of it.
    #[must_use]
    pub(crate) fn with(mut self, field: &'static str, value: impl ToString) -> Self {
        self.fields.insert(field, value.to_string());
        self
    }

    /// The same without a field.
    #[must_use]
    pub(crate) fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata:\n  name: {}\n  namespace: metallb-system\nspec:\n",
            self.name
        );
        for (field, value) in &self.fields {
            // a list or an object is written as YAML's flow, every other text in quotes
            let plain = value.starts_with(['[', '{']) || value.bytes().all(|byte| byte.is_ascii_digit());
            let bare = plain || matches!(value.as_str(), "true" | "false");
            text += &if bare { format!("  {field}: {value}\n") } else { format!("  {field}: {value:?}\n") };
        }
        text
    }
}

impl World {
    /// The one of this process, for one test at a time.
    pub(crate) fn get() -> Result<MutexGuard<'static, Self>> {
        static WORLD: OnceLock<Result<Mutex<World>, String>> = OnceLock::new();
        let world = WORLD.get_or_init(|| Self::start().map(Mutex::new).map_err(|error| format!("{error:#}")));
        let world = world.as_ref().map_err(|error| anyhow!(error.clone()))?;
        let world = world.lock().unwrap_or_else(PoisonError::into_inner);
        // a test before this one may have failed in the middle of something
        world.tidy()?;
        Ok(world)
    }

    fn start() -> Result<Self> {
        let mut lab = Lab::without_product(Plan { vrf: true, ..Plan::of(2).both_versions() })?;
        let routers = routers(&lab.fabric)?;
        lab.manifests.put("pools", &objects::pool("ads", &["10.66.0.0/24", "fd00:66::/120"]))?;
        lab.manifests.put("bfd", &slow())?;
        lab.start_controller()?;
        let mut world = Self { routers, lives: Mutex::default(), standing: standing(), lab };
        for node in world.lab.names() {
            world.lab.start_speaker(&node)?;
        }
        for standing in &world.standing {
            world.put(&standing.object)?;
        }
        world.all_up()?;
        Ok(world)
    }

    /// Everything as it was in the beginning: the standing peers, the one profile and the one pool.
    fn tidy(&self) -> Result<()> {
        let known: BTreeSet<String> = self
            .standing
            .iter()
            .map(|standing| format!("peer-{}.yaml", standing.object.name))
            .chain(["pools", "bfd", "node-n1", "node-n2"].map(|name| format!("{name}.yaml")))
            .collect();
        for entry in std::fs::read_dir(self.lab.manifests.dir())? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            if let Some(stem) = file.strip_suffix(".yaml").filter(|_| !known.contains(&file)) {
                match stem.strip_prefix("service-") {
                    Some(service) => self.lab.remove(service)?,
                    None => self.lab.manifests.remove(stem)?,
                }
            }
        }
        for node in &self.lab.fabric.nodes {
            self.lab.manifests.put(&format!("node-{}", node.name()), &objects::node(node))?;
        }
        self.lab.manifests.put("bfd", &slow())?;
        for standing in &self.standing {
            self.put(&standing.object)?;
        }
        self.all_up()
    }

    /// Waits until every standing session is up, and remembers since when.
    pub(crate) fn all_up(&self) -> Result<()> {
        for standing in &self.standing {
            for node in &self.lab.fabric.nodes {
                self.wait_seen(standing.object.name, node.name(), "up", |seen| seen.established)?;
            }
        }
        *self.remembered() = self.lives_now()?;
        Ok(())
    }

    /// Writes a BGPPeer.
    pub(crate) fn put(&self, object: &PeerObject) -> Result<()> {
        self.lab.manifests.put(&format!("peer-{}", object.name), &object.yaml())
    }

    /// The object of a standing peer, to be changed.
    pub(crate) fn peer(&self, name: &str) -> Result<PeerObject> {
        Ok(self.standing(name)?.object.clone())
    }

    /// The router at the other end of a standing peer.
    pub(crate) fn router(&self, peer: &str) -> Result<&Peer> {
        let router = self.standing(peer)?.router;
        self.routers.get(router).with_context(|| format!("no router {router}"))
    }

    fn standing(&self, name: &str) -> Result<&Standing> {
        let found = self.standing.iter().find(|standing| standing.object.name == name);
        found.with_context(|| format!("no peer {name}"))
    }

    /// How the router of a peer calls a node.
    pub(crate) fn at(&self, peer: &str, node: &str) -> Result<At> {
        Ok((self.standing(peer)?.at)(self.lab.fabric.node(node)?))
    }

    /// What a peer's router sees of a node.
    pub(crate) fn seen(&self, peer: &str, node: &str) -> Result<Seen> {
        self.router(peer)?.seen(&self.at(peer, node)?)
    }

    /// Waits until a peer's router sees of a node what it should.
    pub(crate) fn wait_seen(
        &self,
        peer: &str,
        node: &str,
        what: &str,
        right: impl Fn(&Seen) -> bool,
    ) -> Result<Seen> {
        let mut last = None;
        let found = wait::until(DEADLINE, &format!("{peer}'s router to see {node} {what}"), || {
            let seen = self.seen(peer, node)?;
            let right = right(&seen).then(|| seen.clone());
            last = Some(seen);
            Ok(right)
        });
        found.with_context(|| {
            let words = self.router(peer).map(Peer::last_words).unwrap_or_default();
            format!("it sees {last:#?} and says\n{words}\n{}", self.lab.logs())
        })
    }

    /// What a peer's router was told of a prefix by a node over that session.
    pub(crate) fn told(&self, peer: &str, node: &str, prefix: &str) -> Result<Option<Path>> {
        let from = match self.at(peer, node)? {
            At::Address(ip) => ip.to_string(),
            At::Interface(_) => link_local(&self.lab.fabric.node(node)?.net)?,
        };
        let table = self.router(peer)?.table()?;
        Ok(table.get(prefix).into_iter().flatten().find(|path| path.from == from).cloned())
    }

    /// Waits until a peer's router has a prefix by a node as it should; `None` for not at all.
    pub(crate) fn wait_told(
        &self,
        peer: &str,
        node: &str,
        prefix: &str,
        right: impl Fn(Option<&Path>) -> bool,
    ) -> Result<()> {
        let mut last = None;
        let found = wait::until_true(DEADLINE, &format!("{prefix} by {node} at {peer}'s router"), || {
            last = self.told(peer, node, prefix)?;
            Ok(right(last.as_ref()))
        });
        found.with_context(|| {
            let all = self.router(peer).and_then(Peer::table).map(|table| table.get(prefix).cloned());
            format!("it has {last:#?} of {all:#?}\n{}", self.lab.logs())
        })
    }

    /// Waits until a peer's session is up with every node.
    pub(crate) fn up(&self, peer: &str) -> Result<()> {
        let nodes = self.lab.names();
        nodes.iter().try_for_each(|node| self.wait_seen(peer, node, "up", |seen| seen.established).map(drop))
    }

    /// Waits until a peer's session is up with no node.
    pub(crate) fn down(&self, peer: &str) -> Result<()> {
        let nodes = self.lab.names();
        nodes
            .iter()
            .try_for_each(|node| self.wait_seen(peer, node, "down", |seen| !seen.established).map(drop))
    }

    /// Turns the BFD of f10-v4's router on and off.
    pub(crate) fn router_watches(&self, on: bool) -> Result<()> {
        let frr = self.router("f10-v4")?.frr().context("it runs FRR")?;
        let mut lines = vec!["configure terminal".to_owned(), format!("router bgp {NODE_ASN}")];
        for node in self.lab.names() {
            let name = name(&self.at("f10-v4", &node)?);
            lines.push(format!("{}neighbor {name} bfd", if on { "" } else { "no " }));
        }
        frr.vtysh(&lines.join("\n")).map(drop)
    }

    /// Removes a BGPPeer.
    pub(crate) fn remove(&self, peer: &str) -> Result<()> {
        self.lab.manifests.remove(&format!("peer-{peer}"))
    }

    /// Gives a node these labels, `key: value`, besides its own.
    pub(crate) fn label(&self, node: &str, label: &str) -> Result<()> {
        let own = objects::node(self.lab.fabric.node(node)?);
        let own = own.replacen("  labels:\n", &format!("  labels:\n    {label}\n"), 1);
        self.lab.manifests.put(&format!("node-{node}"), &own)
    }

    /// Does `edit`, waits for `come`, and makes sure that no session was interrupted but those with these peers.
    pub(crate) fn step(
        &self,
        touched: &[&str],
        edit: impl FnOnce() -> Result<()>,
        come: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        edit()?;
        come()?;
        self.undisturbed(touched)
    }

    /// Fails when a session was interrupted since it was looked at last, but with these peers, or of a node `@n1`.
    pub(crate) fn undisturbed(&self, touched: &[&str]) -> Result<()> {
        let now = self.lives_now()?;
        let mut remembered = self.remembered();
        let same = |(key, life): (&(String, String), &String)| {
            let of_node = format!("@{}", key.1);
            let named = touched.iter().any(|name| *name == key.0 || *name == of_node);
            named || remembered.get(key) == Some(life)
        };
        let broken: Vec<_> = now
            .iter()
            .filter(|entry| !same(*entry))
            .map(|(key, life)| format!("{} of {}: {:?}, then {life}", key.0, key.1, remembered.get(key)))
            .collect();
        ensure!(broken.is_empty(), "sessions were interrupted: {broken:#?}\n{}", self.lab.logs());
        *remembered = now;
        Ok(())
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By peer and node.
    fn lives_now(&self) -> Result<BTreeMap<(String, String), String>> {
        let mut all = BTreeMap::new();
        for (router, peer) in &self.routers {
            let lives = peer.lives()?;
            for standing in self.standing.iter().filter(|standing| standing.router == *router) {
                for node in &self.lab.fabric.nodes {
                    let life = lives.get(&name(&(standing.at)(node))).cloned().unwrap_or_default();
                    all.insert((standing.object.name.to_owned(), node.name().to_owned()), life);
                }
            }
        }
        Ok(all)
    }
}

fn slow() -> String {
    profile("slow", "{receiveInterval: 400, transmitInterval: 500, detectMultiplier: 5}")
}

/// A BFDProfile with this spec.
pub(crate) fn profile(name: &str, spec: &str) -> String {
    object("BFDProfile", name, spec)
}

/// An object of MetalLB's, with its spec in YAML's flow style.
pub(crate) fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: metallb-system\nspec: {spec}\n"
    )
}

/// The address by which a node is known at the other end of its unnumbered cable.
fn link_local(net: &Net) -> Result<String> {
    let all: Value = serde_json::from_str(&net.ip("-j -6 addr show dev line scope link")?)?;
    let address = all.pointer("/0/addr_info/0/local").and_then(Value::as_str);
    address.map(str::to_owned).context("no link-local address")
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
fn standing() -> Vec<Standing> {
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
        // under another AS
        Standing {
            asn: ALIAS,
            ..peer(
                "alias",
                address("alias", tor, 37).with("peerASN", 65037).with("localASN", ALIAS),
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
fn routers(fabric: &Fabric) -> Result<BTreeMap<&'static str, Peer>> {
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
        ("hop", Make::Bird, settings(65035, 35, v4(|n| Neighbour { multihop: true, ..n }))),
        ("loop", Make::Bird, Settings { local: Some(LOOP.parse()?), ..settings(65036, 36, v6(same)) }),
        ("alias", Make::Bird, settings(65037, 37, v4(|neighbour| Neighbour { asn: ALIAS, ..neighbour }))),
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
