//! The whole lab on a manifest directory: fabric, routers, nodes with FRR and a pod, and the product's controller and
//! speakers as processes.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    bins, election,
    fabric::{Fabric, Node, Segment, VRF},
    frr::{Frr, Listens, Setup, Version},
    manifests::Manifests,
    netns::Net,
    objects::{self, Service},
    pod::{self, Way},
    process::{Running, Spawn},
    tor::{self, BirdTor, Family, FrrTor, NextHops},
    wait,
};

/// How long anything may take that takes well under a second on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What the speaker's log says when FRR is not as it was told to be.
pub const DRIFT: &str = "somebody else changed FRR's configuration";

const HEALTH_PORT: u16 = 17472;

/// A lab. What it consists of ends in the order of the fields.
#[derive(Debug)]
pub struct Lab {
    /// The manifest directory.
    pub manifests: Manifests,
    /// The router that runs FRR.
    pub tor: FrrTor,
    /// The router that runs BIRD.
    pub bird: BirdTor,
    controller: Option<Running>,
    machines: BTreeMap<String, Machine>,
    ways: Mutex<BTreeMap<String, Way>>,
    /// The namespaces.
    pub fabric: Fabric,
}

/// What a lab's nodes are.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many.
    pub nodes: u8,
    /// What FRR each of them runs.
    pub frr: Versions,
    /// Whether each has a VRF, [`VRF`].
    pub vrf: bool,
}

/// Which node runs which FRR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// All of them this one.
    All(Version),
    /// The odd ones the machine's own, the even ones FRR 10: a test of two nodes is a test of both versions.
    Both,
}

impl Plan {
    /// So many nodes with the machine's FRR.
    #[must_use]
    pub const fn of(nodes: u8) -> Self {
        Self { nodes, frr: Versions::All(Version::Own), vrf: false }
    }

    /// The same, with FRR 10 on every second node.
    #[must_use]
    pub const fn both_versions(self) -> Self {
        Self { frr: Versions::Both, ..self }
    }

    const fn version(self, node: &Node) -> Version {
        match self.frr {
            Versions::All(version) => version,
            Versions::Both if node.number.is_multiple_of(2) => Version::Ten,
            Versions::Both => Version::Own,
        }
    }
}

/// What runs on a node.
#[derive(Debug)]
struct Machine {
    speaker: Option<Running>,
    frr: Option<Frr>,
    version: Version,
    // its HTTP server; runs while the machine does
    _pod: Running,
}

/// One delta that a speaker sent to its FRR, as its log tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The lines, in order.
    pub lines: Vec<String>,
    /// Until FRR had acknowledged all of them.
    pub ms: f64,
}

impl Lab {
    /// Routers, nodes, FRR and pods, without the product; the manifest directory holds the Nodes.
    ///
    /// # Errors
    /// When anything does not come up; the message says what is missing.
    pub fn without_product(plan: Plan) -> Result<Self> {
        let mut fabric = Fabric::create(plan.nodes)?;
        if plan.vrf {
            fabric.add_vrfs()?;
        }
        let fabric = fabric;
        let manifests = Manifests::at(fabric.warden.make_dir("manifests")?);
        let machines = std::thread::scope(|scope| {
            let starts: Vec<_> = fabric
                .nodes
                .iter()
                .map(|node| scope.spawn(|| Machine::start(&fabric, node, plan.version(node))))
                .collect();
            let machines = starts.into_iter().zip(&fabric.nodes).map(|(start, node)| {
                let machine =
                    start.join().map_err(|_| anyhow::anyhow!("starting {} panicked", node.name()))??;
                Ok((node.name().to_owned(), machine))
            });
            machines.collect::<Result<BTreeMap<_, _>>>()
        })?;
        for node in &fabric.nodes {
            manifests.put(&format!("node-{}", node.name()), &objects::node(node))?;
        }
        let (tor, bird) = (FrrTor::start(&fabric)?, BirdTor::start(&fabric)?);
        Ok(Self { manifests, tor, bird, controller: None, machines, ways: Mutex::default(), fabric })
    }

    /// Everything: a controller, a speaker per node, pools, peers and advertisements, all sessions up.
    ///
    /// # Errors
    /// When anything does not come up.
    pub fn start(nodes: u8) -> Result<Self> {
        Self::start_as(Plan::of(nodes))
    }

    /// The same with nodes as `plan` has them.
    ///
    /// # Errors
    /// When anything does not come up.
    pub fn start_as(plan: Plan) -> Result<Self> {
        let mut lab = Self::without_product(plan)?;
        lab.manifests.put("pools", &objects::pools())?;
        lab.manifests.put("peers", &objects::peers())?;
        lab.manifests.put("advertisements", &objects::advertisements())?;
        lab.start_controller()?;
        for name in lab.names() {
            lab.start_speaker(&name)?;
        }
        lab.wait_for_sessions(&lab.names())?;
        Ok(lab)
    }

    /// The nodes' names.
    pub fn names(&self) -> Vec<String> {
        self.fabric.nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    /// Starts the controller and waits until it is ready.
    ///
    /// # Errors
    /// When its binary is missing or it does not become ready.
    pub fn start_controller(&mut self) -> Result<()> {
        let spawn = self.product("controller", &self.fabric.control)?;
        let process =
            spawn.log(self.fabric.warden.dir().join("controller.log")).start(&self.fabric.warden)?;
        ready(&process, &self.fabric.control)?;
        self.controller = Some(process);
        Ok(())
    }

    /// Starts the speaker of a node and waits until it is ready.
    ///
    /// # Errors
    /// When its binary is missing or it does not become ready.
    pub fn start_speaker(&mut self, name: &str) -> Result<()> {
        self.start_speaker_as(name, |spawn| spawn)
    }

    /// Tells the speaker of a node to end, as its Pod's supervisor would, and starts it again as `with` has it.
    ///
    /// # Errors
    /// When it does not end by itself, or as [`Self::start_speaker`].
    pub fn restart_speaker(&mut self, name: &str, with: impl FnOnce(Spawn) -> Spawn) -> Result<()> {
        let machine = self.machines.get_mut(name).context("a node without a machine")?;
        machine.speaker.take().with_context(|| format!("{name} has no speaker running"))?.end()?;
        self.start_speaker_as(name, with)
    }

    fn start_speaker_as(&mut self, name: &str, with: impl FnOnce(Spawn) -> Spawn) -> Result<()> {
        let node = self.fabric.node(name)?;
        let machine = self.machines.get_mut(name).context("a node without a machine")?;
        let frr = machine.frr.as_ref().with_context(|| format!("{name} has no FRR running"))?;
        let spawn = product(&self.manifests, "speaker", &node.net)?
            .args(["--node-name", name])
            .arg("--frr-vty-dir")
            .arg(frr.vty_dir())
            .arg("--frr-conf")
            .arg(frr.conf())
            .log(self.fabric.warden.make_dir(name)?.join("speaker.log"));
        let process = with(spawn).start(&self.fabric.warden)?;
        ready(&process, &node.net)?;
        machine.speaker = Some(process);
        Ok(())
    }

    /// Stops the controller.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_controller(&mut self) -> Result<()> {
        self.controller.take().map_or(Ok(()), |process| process.stop().map(drop))
    }

    /// Takes a node out: its speaker dies without a word, its cables are pulled, its Node is gone from the manifests.
    ///
    /// # Errors
    /// When a step fails.
    pub fn stop_node(&mut self, name: &str) -> Result<()> {
        let machine = self.machines.get_mut(name).with_context(|| format!("the lab has no node {name}"))?;
        if let Some(speaker) = machine.speaker.take() {
            speaker.kill()?;
        }
        self.fabric.node(name)?.unplug()?;
        self.manifests.remove(&format!("node-{name}"))
    }

    /// Brings it back.
    ///
    /// # Errors
    /// When a step fails.
    pub fn resume_node(&mut self, name: &str) -> Result<()> {
        let node = self.fabric.node(name)?;
        node.replug()?;
        self.manifests.put(&format!("node-{name}"), &objects::node(node))?;
        self.start_speaker(name)?;
        self.wait_for_sessions(&[name.to_owned()])
    }

    /// Adds a Service, waits for its addresses and lays the way from them to its pods.
    ///
    /// # Errors
    /// When it gets no address, or fewer than it has families.
    pub fn add(&self, service: &Service) -> Result<Vec<IpAddr>> {
        self.manifests.put(&format!("service-{}", service.name), &service.yaml(&self.fabric))?;
        let what = format!("addresses for the Service {}", service.name);
        let addresses = wait::until(DEADLINE, &what, || {
            let addresses = self.manifests.addresses(&service.name)?;
            Ok((addresses.len() == service.families.len()).then_some(addresses))
        });
        let addresses = addresses.with_context(|| self.logs())?;
        let way =
            Way { addresses: addresses.clone(), port: objects::PORT, endpoints: service.endpoints.clone() };
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).insert(service.name.clone(), way);
        self.lay()?;
        Ok(addresses)
    }

    /// Removes a Service and its way.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, service: &str) -> Result<()> {
        self.manifests.remove(&format!("service-{service}"))?;
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
        self.lay()
    }

    /// The node that should answer for a Service with these addresses, of the nodes named.
    ///
    /// # Errors
    /// When there are no addresses or no nodes.
    pub fn elected(&self, of: &[String], addresses: &[IpAddr]) -> Result<&Node> {
        let first = addresses.first().context("a Service without an address")?;
        let name =
            election::winner(of.iter().map(String::as_str), &first.to_string()).context("no candidate")?;
        self.fabric.node(name)
    }

    /// The deltas that a node's speaker has sent so far.
    ///
    /// # Errors
    /// When the node has no speaker.
    pub fn applied(&self, node: &str) -> Result<Vec<Applied>> {
        Ok(self.speaker_log(node)?.lines().filter_map(applied).collect())
    }

    /// All that a node's speaker has written so far.
    ///
    /// # Errors
    /// When the node has no speaker.
    pub fn speaker_log(&self, node: &str) -> Result<String> {
        let speaker = self.machines.get(node).and_then(|machine| machine.speaker.as_ref());
        Ok(speaker.with_context(|| format!("{node} has no speaker running"))?.log_text())
    }

    /// A node's FRR.
    ///
    /// # Errors
    /// When the node has none.
    pub fn frr(&self, node: &str) -> Result<&Frr> {
        let frr = self.machines.get(node).and_then(|machine| machine.frr.as_ref());
        frr.with_context(|| format!("{node} has no FRR running"))
    }

    /// Kills daemons of a node's FRR, as [`Frr::kill`]; with them ends all of its FRR.
    ///
    /// # Errors
    /// When the node has no FRR, or as [`Frr::kill`].
    pub fn kill_frr(&mut self, node: &str, daemons: &[&str]) -> Result<()> {
        let machine = self.machines.get_mut(node).context("a node without a machine")?;
        machine.frr.take().with_context(|| format!("{node} has no FRR running"))?.kill(daemons)
    }

    /// Kills a node's FRR as a whole, as [`Frr::kill_all`].
    ///
    /// # Errors
    /// When the node has no FRR, or as [`Frr::kill_all`].
    pub fn kill_all_of_frr(&mut self, node: &str) -> Result<()> {
        let machine = self.machines.get_mut(node).context("a node without a machine")?;
        machine.frr.take().with_context(|| format!("{node} has no FRR running"))?.kill_all()
    }

    /// Starts a node's FRR again, as its container would be; the speaker is left to itself.
    ///
    /// # Errors
    /// As [`Frr::resume`].
    pub fn resume_frr(&mut self, node: &str) -> Result<()> {
        let machine = self.machines.get_mut(node).context("a node without a machine")?;
        let node = self.fabric.node(node)?;
        let vrfs = vrfs(node);
        let setup = Setup { version: machine.version, listens: Listens::No, vrfs: &vrfs };
        machine.frr = Some(Frr::resume_as(&setup, &self.fabric.warden, &node.net)?);
        Ok(())
    }

    /// Waits until these nodes' sessions with both routers over both families are up.
    ///
    /// # Errors
    /// When one does not come up; the message holds the speakers' last words.
    pub fn wait_for_sessions(&self, names: &[String]) -> Result<()> {
        for name in names {
            let node = self.fabric.node(name)?;
            // both ends are asked: a router takes a while to see that a node was gone
            let routers = [Segment::Tor, Segment::Bird].into_iter();
            let routers = routers.flat_map(|segment| [IpAddr::from(segment.v4(1)), segment.v6(1).into()]);
            for router in routers {
                wait::until_true(DEADLINE, &format!("the session of {name} with {router}"), || {
                    let facts = self.frr(name)?.json(&format!("show bgp neighbors {router} json"))?;
                    let state = facts.get(router.to_string()).and_then(|facts| facts.get("bgpState"));
                    Ok(state.and_then(Value::as_str) == Some("Established"))
                })
                .with_context(|| self.logs())?;
            }
            for (family, address) in Family::ALL.into_iter().zip(neighbours(node)) {
                let family = family.name();
                wait::until_true(
                    DEADLINE,
                    &format!("the session of {name} with the FRR router ({family})"),
                    || Ok(self.tor.session(address)?.is_some_and(|session| session.established)),
                )
                .with_context(|| self.logs())?;
            }
            for family in Family::ALL {
                let what = format!("the session of {name} with BIRD ({})", family.name());
                wait::until_true(DEADLINE, &what, || self.bird.established(name, family))
                    .with_context(|| self.logs())?;
            }
        }
        Ok(())
    }

    /// Waits until both routers send packets for `ip` to exactly these nodes (to none: have no route), in BGP's table
    /// and, for a route, in the kernel's.
    ///
    /// # Errors
    /// When they do not come to it; the message says what they had.
    pub fn wait_for_route(&self, ip: IpAddr, nodes: &[String]) -> Result<()> {
        let prefix = prefix(ip);
        for (router, net, segment) in
            [("the FRR router", &self.fabric.tor, Segment::Tor), ("BIRD", &self.fabric.bird, Segment::Bird)]
        {
            let host = |name: &String| -> Result<IpAddr> {
                let host = self.fabric.node(name)?.host();
                Ok(if ip.is_ipv4() { segment.v4(host).into() } else { segment.v6(host).into() })
            };
            let wanted: NextHops = nodes.iter().map(host).collect::<Result<_>>()?;
            let what = format!("{prefix} by {wanted:?} at {router}");
            let reached = wait::until_true(DEADLINE, &what, || {
                let found = match segment {
                    Segment::Tor => self.tor.next_hops(&prefix)?,
                    _ => self.bird.next_hops(&prefix)?,
                };
                let in_kernel = tor::in_kernel(net, &prefix)?;
                anyhow::ensure!(found == wanted && in_kernel != wanted.is_empty(), "it has {found:?}");
                Ok(true)
            });
            reached.with_context(|| self.logs())?;
        }
        Ok(())
    }

    /// The last lines that the product's processes wrote, for messages about what did not happen.
    pub fn logs(&self) -> String {
        let speakers = self
            .machines
            .iter()
            .filter_map(|(name, machine)| Some((name.as_str(), machine.speaker.as_ref()?)));
        let controller = self.controller.iter().map(|process| ("controller", process));
        let last = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
        };
        controller
            .chain(speakers)
            .map(|(name, process)| format!("--- {name}\n{}\n", last(process.log_text())))
            .collect()
    }

    fn lay(&self) -> Result<()> {
        pod::lay(&self.fabric, &self.ways.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn product(&self, name: &str, net: &Net) -> Result<Spawn> {
        product(&self.manifests, name, net)
    }
}

impl Machine {
    fn start(fabric: &Fabric, node: &Node, version: Version) -> Result<Self> {
        let vrfs = vrfs(node);
        let setup = Setup { version, listens: Listens::No, vrfs: &vrfs };
        let frr = Frr::start_as(&setup, &fabric.warden, &node.net, "")?;
        Ok(Self { speaker: None, frr: Some(frr), version, _pod: pod::start(&fabric.warden, node)? })
    }
}

fn vrfs(node: &Node) -> Vec<(&'static str, &Net)> {
    node.vrf.iter().map(|net| (VRF, net)).collect()
}

/// The prefix that stands for one address.
#[must_use]
pub fn prefix(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })
}

/// A node's addresses on the FRR router's segment, IPv4 first: its neighbours there.
#[must_use]
pub fn neighbours(node: &Node) -> [IpAddr; 2] {
    [Segment::Tor.v4(node.host()).into(), Segment::Tor.v6(node.host()).into()]
}

pub(crate) fn product(manifests: &Manifests, name: &str, net: &Net) -> Result<Spawn> {
    let program = bins::product(name)?;
    let spawn = net.command(&program.to_string_lossy()).arg("--manifests").arg(manifests.dir());
    Ok(spawn.args(["--port", "7472", "--health-probe-port", &HEALTH_PORT.to_string(), "--log-level", "info"]))
}

pub(crate) fn ready(process: &Running, net: &Net) -> Result<()> {
    process.wait_for(DEADLINE, "readiness", || {
        let url = format!("http://127.0.0.1:{HEALTH_PORT}/readyz");
        let curl =
            net.command("curl").args(["--silent", "--fail", "--max-time", "2", "--noproxy", "*", &url]);
        Ok(curl.output()?.status.success().then_some(()))
    })
}

/// A line of a speaker's log, when it tells of a delta.
fn applied(line: &str) -> Option<Applied> {
    let entry: Value = serde_json::from_str(line).ok()?;
    (entry.get("msg")?.as_str()? == "frr configuration applied").then_some(())?;
    let lines = match entry.get("lines")? {
        // the log's own fields are flat: a list may come as its text
        Value::String(text) => serde_json::from_str(text).ok()?,
        list => serde_json::from_value(list.clone()).ok()?,
    };
    Some(Applied { lines, ms: entry.get("ms")?.as_f64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_in_a_log() {
        let wanted = Applied { lines: vec!["router bgp 1".into(), "exit".into()], ms: 1.5 };
        for line in [
            r#"{"msg":"frr configuration applied","lines":["router bgp 1","exit"],"ms":1.5}"#,
            r#"{"msg":"frr configuration applied","lines":"[\"router bgp 1\", \"exit\"]","ms":1.5}"#,
        ] {
            assert_eq!(applied(line), Some(wanted.clone()));
        }
        assert_eq!(applied("no JSON"), None);
        assert_eq!(applied(r#"{"msg":"ready"}"#), None);
    }
}
