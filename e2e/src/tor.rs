//! The two routers above the nodes, FRR and BIRD, and what their tables hold.
//!
//! Both wait for the nodes to call (the product's bgpd listens nowhere), speak both families, and put what they learn
//! into their kernel, so that a client behind them reaches it.

use std::{collections::BTreeSet, fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    bins,
    fabric::{BIRD, BIRD_ASN, Fabric, NODE_ASN, Node, Segment, TOR_ASN},
    frr::{Frr, Listens},
    process::{Running, Spawn},
    wait,
    warden::Warden,
};

/// Everything that a router knows of a prefix: the addresses it would send to.
pub type NextHops = BTreeSet<IpAddr>;

/// The router that runs FRR.
#[derive(Debug)]
pub struct FrrTor {
    /// Its daemons.
    pub frr: Frr,
}

/// One neighbour of the FRR router, as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Whether routes can flow.
    pub established: bool,
    /// How often it has come up.
    pub came_up: u64,
    /// How often it has been lost.
    pub dropped: u64,
    /// How long it has been up, to the second.
    pub uptime: Duration,
}

impl Session {
    /// Whether this is the session that `before` saw `since` ago: up all the time, and older by just that.
    #[must_use]
    pub fn continues(&self, before: &Self, since: Duration) -> bool {
        let same = (self.established, self.came_up, self.dropped) == (true, before.came_up, before.dropped);
        // the router counts whole seconds
        same && self.uptime + Duration::from_secs(2) > before.uptime + since && self.uptime >= before.uptime
    }
}

impl FrrTor {
    /// Starts it, with a passive neighbour per node and family.
    ///
    /// # Errors
    /// As [`Frr::start`].
    pub fn start(fabric: &Fabric) -> Result<Self> {
        let conf = frr_conf(&fabric.nodes);
        Ok(Self { frr: Frr::start(&fabric.warden, &fabric.tor, Listens::Yes, &conf)? })
    }

    /// Where BGP says that this prefix is (`10.99.0.1/32`); empty when it is not in the table.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub fn next_hops(&self, prefix: &str) -> Result<NextHops> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let table = self.frr.json(&format!("show bgp {family} unicast json"))?;
        let paths = table.get("routes").and_then(|routes| routes.get(prefix)).and_then(Value::as_array);
        Ok(paths
            .into_iter()
            .flatten()
            .filter_map(|path| path.get("nexthops")?.as_array())
            .flatten()
            .filter(|hop| hop.get("scope").and_then(Value::as_str) != Some("link-local"))
            .filter_map(|hop| hop.get("ip")?.as_str()?.parse().ok())
            .collect())
    }

    /// The prefixes in its BGP table, both families.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub fn prefixes(&self) -> Result<BTreeSet<String>> {
        let mut prefixes = BTreeSet::new();
        for family in ["ipv4", "ipv6"] {
            let table = self.frr.json(&format!("show bgp {family} unicast json"))?;
            let routes = table.get("routes").and_then(Value::as_object);
            prefixes.extend(routes.into_iter().flat_map(serde_json::Map::keys).cloned());
        }
        Ok(prefixes)
    }

    /// The session with the neighbour at this address; none while it has no such neighbour.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub fn session(&self, neighbour: IpAddr) -> Result<Option<Session>> {
        let all = self.frr.json("show bgp neighbors json")?;
        Ok(all.get(neighbour.to_string()).map(|facts| Session {
            established: facts.get("bgpState").and_then(Value::as_str) == Some("Established"),
            came_up: facts.get("connectionsEstablished").and_then(Value::as_u64).unwrap_or_default(),
            dropped: facts.get("connectionsDropped").and_then(Value::as_u64).unwrap_or_default(),
            uptime: Duration::from_millis(
                facts.get("bgpTimerUpMsec").and_then(Value::as_u64).unwrap_or_default(),
            ),
        }))
    }

    /// Why the session with the neighbour at this address ended last, in FRR's words; empty while it never did.
    ///
    /// # Errors
    /// When FRR does not answer, or has no such neighbour.
    pub fn last_end(&self, neighbour: IpAddr) -> Result<String> {
        let all = self.frr.json("show bgp neighbors json")?;
        let facts = all.get(neighbour.to_string()).with_context(|| format!("no neighbour {neighbour}"))?;
        let said = ["lastResetDueTo", "lastNotificationReason"].map(|field| facts.get(field)?.as_str());
        Ok(said.into_iter().flatten().collect::<Vec<_>>().join(": "))
    }

    /// Whether it has a BFD session with the neighbour at this address, and that is up.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub fn bfd_is_up(&self, neighbour: IpAddr) -> Result<bool> {
        let all = self.frr.json("show bfd peers json")?;
        let text = |session: &Value, field: &str| Some(session.get(field)?.as_str()?.to_owned());
        let is_up = |session: &Value| {
            text(session, "peer") == Some(neighbour.to_string())
                && text(session, "status").as_deref() == Some("up")
        };
        Ok(all.as_array().into_iter().flatten().any(is_up))
    }
}

/// Whether the kernel of a router has a route to this prefix, whoever is the next hop.
///
/// # Errors
/// When `ip` refuses.
pub fn in_kernel(router: &crate::netns::Net, prefix: &str) -> Result<bool> {
    let (flag, bare) = match prefix.split_once('/') {
        Some((address, "32")) => ("-4", address),
        Some((address, "128")) => ("-6", address),
        _ if prefix.contains(':') => ("-6", prefix),
        _ => ("-4", prefix),
    };
    let routes: Value = serde_json::from_str(&router.ip(&format!("-j {flag} route show"))?)
        .or_else(|_| serde_json::from_str("[]"))?;
    let has = |routes: &Value| {
        let mut all = routes.as_array().into_iter().flatten();
        all.any(|route| route.get("dst").and_then(Value::as_str).is_some_and(|dst| dst == bare))
    };
    Ok(has(&routes))
}

fn frr_conf(nodes: &[Node]) -> String {
    let mut lines = vec![
        "hostname tor".to_owned(),
        format!("router bgp {TOR_ASN}"),
        format!(" bgp router-id {}", Segment::Tor.v4(1)),
        " no bgp ebgp-requires-policy".to_owned(),
        " no bgp default ipv4-unicast".to_owned(),
        " bgp bestpath as-path multipath-relax".to_owned(),
    ];
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for node in nodes {
        let addresses = [Segment::Tor.v4(node.host()).to_string(), Segment::Tor.v6(node.host()).to_string()];
        for address in &addresses {
            lines.push(format!(" neighbor {address} remote-as {NODE_ASN}"));
            lines.push(format!(" neighbor {address} description {}", node.name()));
            lines.push(format!(" neighbor {address} passive"));
            // the longest that a test waits for a node that has lost its power
            lines.push(format!(" neighbor {address} timers 3 9"));
            v6.push(format!("  neighbor {address} activate"));
        }
        // a session over IPv4 may carry both families, one over IPv6 carries its own
        v4.extend(addresses.first().map(|address| format!("  neighbor {address} activate")));
    }
    for (family, activated) in [("ipv4", v4), ("ipv6", v6)] {
        lines.push(format!(" address-family {family} unicast"));
        lines.extend(activated);
        lines.push(" exit-address-family".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The router that runs BIRD 2.
#[derive(Debug)]
pub struct BirdTor {
    process: Running,
    socket: PathBuf,
}

impl BirdTor {
    /// Starts it, with a passive neighbour per node and family.
    ///
    /// # Errors
    /// When BIRD is not installed, or does not come up.
    pub fn start(fabric: &Fabric) -> Result<Self> {
        let warden: &Warden = &fabric.warden;
        let dir = warden.make_dir("bird")?;
        let (conf, socket) = (dir.join("bird.conf"), dir.join("bird.ctl"));
        fs::write(&conf, bird_conf(&fabric.nodes))?;
        let bird = fabric.bird.command(&bins::tool("bird")?.to_string_lossy());
        let process = bird
            .arg("-f")
            .arg("-c")
            .arg(&conf)
            .arg("-s")
            .arg(&socket)
            .log(dir.join("bird.log"))
            .start(warden)?;
        let tor = Self { process, socket };
        tor.process.wait_for(wait::START, "BIRD to answer", || {
            Ok(tor.birdc("show status")?.contains("Daemon is up and running").then_some(()))
        })?;
        Ok(tor)
    }

    /// What `birdc` answers.
    ///
    /// # Errors
    /// When BIRD does not answer.
    pub fn birdc(&self, command: &str) -> Result<String> {
        Spawn::new(bins::tool("birdc")?).arg("-s").arg(&self.socket).args(command.split(' ')).text()
    }

    /// Where it would send packets for this prefix; empty when it is not in the table.
    ///
    /// # Errors
    /// When BIRD does not answer, or what it answers has another form than expected.
    pub fn next_hops(&self, prefix: &str) -> Result<NextHops> {
        let spawn = Spawn::new(bins::tool("birdc")?).arg("-s").arg(&self.socket);
        let output = spawn.args(["show", "route", "for", prefix, "all"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let exact = text.lines().any(|line| line.starts_with(&format!("{prefix} ")));
        let mut hops = NextHops::new();
        for line in text.lines().filter(|_| exact) {
            // global first, link-local after it
            if let Some(list) = line.trim().strip_prefix("BGP.next_hop:") {
                let first = list.split_whitespace().next().context("BIRD names no next hop")?;
                hops.insert(first.parse().with_context(|| format!("BIRD's next hop {first:?}"))?);
            }
        }
        Ok(hops)
    }

    /// Whether the session with this node over this family is up.
    ///
    /// # Errors
    /// When BIRD does not answer.
    pub fn established(&self, node: &str, family: Family) -> Result<bool> {
        let name = format!("{node}_{}", family.name());
        Ok(self.birdc(&format!("show protocols {name}"))?.contains("Established"))
    }

    /// Why the session with this node over this family ended last, in BIRD's words; empty if it never did.
    ///
    /// # Errors
    /// When BIRD does not answer.
    pub fn last_end(&self, node: &str, family: Family) -> Result<String> {
        let text = self.birdc(&format!("show protocols all {node}_{}", family.name()))?;
        let mut lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("Last error:"));
        Ok(lines.next().unwrap_or_default().trim().to_owned())
    }
}

/// An address family, where BIRD and the client need to be told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// `v4` or `v6`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

fn bird_conf(nodes: &[Node]) -> String {
    let mut text = format!(
        "log stderr all;\nrouter id {};\nprotocol device {{ scan time 1; }}\n\
         protocol direct {{ ipv4; ipv6; interface \"{BIRD}\", \"down\"; }}\n",
        Segment::Bird.v4(1)
    );
    for family in ["ipv4", "ipv6"] {
        text.push_str(&format!(
            "protocol kernel {{ merge paths on; {family} {{ import none; export where source = RTS_BGP; }}; }}\n"
        ));
    }
    // who lost a session is not refused for a minute
    for node in nodes {
        let channel = |family: &str| format!("  {family} {{ import all; export none; }};\n");
        for (name, address, channels) in [
            ("v4", IpAddr::from(Segment::Bird.v4(node.host())), channel("ipv4") + &channel("ipv6")),
            ("v6", IpAddr::from(Segment::Bird.v6(node.host())), channel("ipv6")),
        ] {
            let local = if address.is_ipv4() {
                IpAddr::from(Segment::Bird.v4(1))
            } else {
                Segment::Bird.v6(1).into()
            };
            text.push_str(&format!(
                "protocol bgp {}_{name} {{\n  local {local} as {BIRD_ASN};\n  neighbor {address} as {NODE_ASN};\n  \
                 passive on;\n  hold time 9;\n  error wait time 1, 2;\n{channels}}}\n",
                node.name()
            ));
        }
    }
    text
}
