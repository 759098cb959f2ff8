//! The lab of these tests: n1 runs FRR 8, n2 FRR 10, and every BGPPeer in [`peers`] is there all the time,
//! each with one option more than nothing, at a router of one make or another.
//!
//! A case edits a manifest by [`World::step`], which waits for what a router then sees, and fails when a session was
//! interrupted that the case does not name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ferrolb_e2e::{
    lab::{DEADLINE, Lab, Plan},
    netns::Net,
    objects,
    peer::{At, Path, Peer, Seen, name},
    wait,
};
use serde_json::Value;

use crate::peers::{self, PeerObject, Standing};

/// Everything.
pub(crate) struct World {
    routers: BTreeMap<&'static str, Peer>,
    lives: Mutex<BTreeMap<(String, String), String>>,
    /// The BGPPeers that are there all the time.
    pub(crate) standing: Vec<Standing>,
    /// The nodes and the product.
    pub(crate) lab: Lab,
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
        let routers = peers::routers(&lab.fabric)?;
        lab.manifests.put("pools", &objects::pool("ads", &["10.66.0.0/24", "fd00:66::/120"]))?;
        lab.manifests.put("bfd", &slow())?;
        lab.start_controller()?;
        let mut world = Self { routers, lives: Mutex::default(), standing: peers::standing(), lab };
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
        for watched in ["f8-v4", "f10-v4", "line"] {
            self.router_watches(watched, Watch::Off)?;
        }
        for standing in &self.standing {
            self.mend(standing.object.name)?;
        }
        // what is put back may end sessions, and ends them only when it is read
        crate::users::settled(self)?;
        self.all_up()
    }

    /// Waits until every standing session is up, and remembers since when: one that is about to end is none.
    pub(crate) fn all_up(&self) -> Result<()> {
        let peers: Vec<&str> = self.standing.iter().map(|standing| standing.object.name).collect();
        let lives =
            wait::until(DEADLINE, "all sessions, and none that ends while they are looked at", || {
                let before = self.lives_now()?;
                self.all_of_them_up(&peers)?;
                Ok((self.lives_now()? == before).then_some(before))
            })?;
        *self.remembered() = lives;
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

    /// The address of a standing peer that has one: its name in the FRR of the nodes.
    pub(crate) fn address(&self, name: &str) -> Result<String> {
        let address = self.standing(name)?.object.field("peerAddress");
        address.map(str::to_owned).with_context(|| format!("{name} has no address"))
    }

    /// Ends a standing peer's sessions at its router, which runs FRR; they come back by themselves.
    pub(crate) fn end_by_router(&self, peer: &str) -> Result<()> {
        let frr = self.router(peer)?.frr().context("it runs FRR")?;
        for node in self.lab.names() {
            frr.vtysh(&format!("clear bgp {}", name(&self.at(peer, &node)?)))?;
        }
        Ok(())
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
            let own = self
                .lab
                .frr(node)
                .and_then(|frr| frr.vtysh(&format!("show bgp neighbors {}", self.address(peer)?)));
            let own = own.unwrap_or_else(|error| format!("{error:#}"));
            format!("it sees {last:#?} and says\n{words}\nthe node:\n{own}\n{}", self.lab.logs())
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
        self.all_of_them_up(&[peer])
    }

    /// The node is asked first: what it was told ends a session there, and the router hears of it.
    fn all_of_them_up(&self, peers: &[&str]) -> Result<()> {
        for node in self.lab.names() {
            wait::until_true(DEADLINE, &format!("{node} to have {peers:?} up"), || {
                let up = self.own(&node)?;
                let missing: Vec<_> = peers.iter().filter(|peer| !up.contains(**peer)).collect();
                ensure!(missing.is_empty(), "{missing:?} are not");
                Ok(true)
            })
            .with_context(|| self.lab.logs())?;
            for peer in peers {
                self.wait_seen(peer, &node, "up", |seen| seen.established)?;
            }
        }
        Ok(())
    }

    /// The standing peers whose sessions are up in a node's own FRR.
    fn own(&self, node: &str) -> Result<BTreeSet<&str>> {
        let all = self.lab.frr(node)?.json("show bgp vrf all summary json")?;
        // by VRF and by family
        let vrfs = all.as_object().into_iter().flatten();
        let families = vrfs.flat_map(|(_, vrf)| vrf.as_object()).flatten();
        let peers: Vec<&Value> = families.filter_map(|(_, family)| family.get("peers")).collect();
        let up = |object: &PeerObject| {
            let name = object.field("peerAddress").or(object.field("interface"));
            let mut states = peers.iter().filter_map(|peers| peers.get(name?)?.get("state")?.as_str());
            states.any(|state| state == "Established")
        };
        let names = self.standing.iter().filter(|standing| up(&standing.object));
        Ok(names.map(|standing| standing.object.name).collect())
    }

    /// Waits until a peer's session is up with no node.
    pub(crate) fn down(&self, peer: &str) -> Result<()> {
        let nodes = self.lab.names();
        nodes
            .iter()
            .try_for_each(|node| self.wait_seen(peer, node, "down", |seen| !seen.established).map(drop))
    }

    /// From now on nothing passes between a peer's router and a node.
    pub(crate) fn cut(&self, peer: &str, node: &str) -> Result<()> {
        let At::Address(node) = self.at(peer, node)? else { bail!("{peer} is unnumbered") };
        let family = if node.is_ipv4() { "ip" } else { "ip6" };
        let rules = format!(
            "add table inet cut; \
             add chain inet cut in {{ type filter hook input priority 0; }}; \
             add chain inet cut out {{ type filter hook output priority 0; }}; \
             add rule inet cut in {family} saddr {node} drop; add rule inet cut out {family} daddr {node} drop"
        );
        self.router(peer)?.net().command("nft").arg(rules).text().map(drop)
    }

    /// Everything passes again, also if it did before.
    pub(crate) fn mend(&self, peer: &str) -> Result<()> {
        let rules = "add table inet cut; delete table inet cut";
        self.router(peer)?.net().command("nft").arg(rules).text().map(drop)
    }

    /// How a standing peer's router, which runs FRR, watches the nodes by BFD from now on.
    pub(crate) fn router_watches(&self, peer: &str, how: Watch) -> Result<()> {
        let frr = self.router(peer)?.frr().context("it runs FRR")?;
        let (no, profile) = match how {
            Watch::Off => ("no ", ""),
            Watch::Closely => ("", ""),
            Watch::Patiently => ("", " profile patient"),
        };
        let mut lines =
            ["configure terminal", "bfd", "profile patient", "detect-multiplier 50", "router bgp"]
                .map(str::to_owned)
                .to_vec();
        for node in self.lab.names() {
            lines.push(format!("{no}neighbor {} bfd{profile}", name(&self.at(peer, &node)?)));
        }
        frr.vtysh(&lines.join("\n")).map(drop)
    }

    /// Waits until no node has BFD with anybody: from then on it ends no session. Those that it has ended come back.
    pub(crate) fn no_bfd(&self) -> Result<()> {
        for node in self.lab.names() {
            let frr = self.lab.frr(&node)?;
            wait::until_true(DEADLINE, &format!("{node} without BFD"), || {
                Ok(frr.json("show bfd peers json")?.as_array().is_some_and(Vec::is_empty))
            })
            .with_context(|| self.lab.logs())?;
        }
        Ok(())
    }

    /// Takes BFD away from a standing peer again, on both ends; the router runs FRR, and nobody else has BFD.
    pub(crate) fn unwatched(&self, peer: &str) -> Result<()> {
        self.router_watches(peer, Watch::Off)?;
        self.put(&self.peer(peer)?)?;
        self.no_bfd()?;
        self.up(peer)?;
        self.undisturbed(&[peer])
    }

    /// A session of its own for a standing peer: what it has negotiated is what its object says.
    pub(crate) fn afresh(&self, peer: &str) -> Result<()> {
        self.step(&[peer], || self.remove(peer), || self.down(peer))?;
        self.step(&[peer], || self.put(&self.peer(peer)?), || self.up(peer))
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

/// How a router watches the nodes by BFD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Not at all.
    Off,
    /// As FRR does when nothing else is said: whoever is silent for a second is missed.
    Closely,
    /// For tests in which nobody is to be missed: whoever is silent for 15 s, which a busy machine makes nobody be.
    Patiently,
}

/// As patient as [`Watch::Patiently`].
fn slow() -> String {
    profile("slow", "{receiveInterval: 400, transmitInterval: 500, detectMultiplier: 50}")
}

/// A BFDProfile with this spec.
pub(crate) fn profile(name: &str, spec: &str) -> String {
    object("BFDProfile", name, spec)
}

/// An object of MetalLB's, with its spec in YAML's flow style.
pub(crate) fn object(kind: &str, name: &str, spec: &str) -> String {
    annotated(kind, name, "{}", spec)
}

/// The same with annotations.
pub(crate) fn annotated(kind: &str, name: &str, annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: metallb-system\n  \
         annotations: {annotations}\nspec: {spec}\n"
    )
}

/// A user's FRRConfiguration.
pub(crate) fn users(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: frrk8s.metallb.io/v1beta1\nkind: FRRConfiguration\nmetadata:\n  name: {name}\n  \
         namespace: metallb-system\nspec: {spec}\n"
    )
}

/// The address by which a node is known at the other end of its unnumbered cable.
fn link_local(net: &Net) -> Result<String> {
    let all: Value = serde_json::from_str(&net.ip("-j -6 addr show dev line scope link")?)?;
    let address = all.pointer("/0/addr_info/0/local").and_then(Value::as_str);
    address.map(str::to_owned).context("no link-local address")
}
