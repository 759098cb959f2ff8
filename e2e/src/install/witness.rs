//! What an installation's life looks like from outside: requests through a BGP address and through an L2 address, and
//! what a router was told and did meanwhile.

use std::{
    cell::Cell,
    fmt,
    net::IpAddr,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::Installation;
use crate::{
    capture::Capture,
    cluster::PATIENCE,
    fabric::{Segment, TOR},
    lab::neighbours,
    load::{Load, Tally},
    process::{Running, Spawn},
    tor::FrrTor,
    updates::updates,
    wait,
};

/// Long enough for a rollout over three nodes, each of which has to be ready for ten seconds.
const LONG: Duration = Duration::from_mins(4);

/// Fifty requests a second.
const PAUSE: Duration = Duration::from_millis(20);

/// A network of documentation.
const MARK: &str = "192.0.2.1";

/// Watches from where it was started until it is dropped.
#[derive(Debug)]
pub struct Witness {
    routed: Load,
    flat: Load,
    wire: Capture,
    routes: Running,
    address: IpAddr,
    /// How much of the updates and of the route changes has been told of.
    told: Cell<(usize, usize)>,
}

/// What was seen while something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What happened.
    pub step: String,
    /// How long it took.
    pub took: Duration,
    /// Requests from beyond the router.
    pub bgp: Tally,
    /// Requests from the flat segment.
    pub l2: Tally,
    /// Prefixes that the nodes withdrew at the router.
    pub withdrawn: usize,
    /// How often the router's kernel changed its route.
    pub moved: usize,
    /// When and why requests failed.
    pub faults: Vec<String>,
}

impl Witness {
    /// Starts to ask for the first of each kind of addresses, both of IPv4: `routed` from beyond the router, `flat`
    /// from the flat segment.
    ///
    /// # Errors
    /// When a tool is missing.
    pub fn start(installation: &Installation, routed: IpAddr, flat: IpAddr) -> Result<Self> {
        let fabric = installation.cluster.fabric();
        // a connection's ports choose its node, so that every node is asked
        fabric.tor.sysctl(&["net.ipv4.fib_multipath_hash_policy=1"])?;
        let log = fabric.warden.dir().join("witness-routes.log");
        let routes = Spawn::new("ip").args(["-4", "monitor", "route"]).in_net(fabric.tor.path()).log(log);
        let routes = routes.start(&fabric.warden)?;
        // it does not say when it begins: it does once it shows a change
        routes.wait_for(PATIENCE, "a change of a route", || {
            fabric.tor.ip(&format!("route replace blackhole {MARK}"))?;
            fabric.tor.ip(&format!("route delete blackhole {MARK}"))?;
            Ok(routes.log_text().contains(MARK).then_some(()))
        })?;
        Ok(Self {
            wire: Capture::start(&fabric.warden, &fabric.tor, TOR, "tcp port 179")?,
            routes,
            told: Cell::default(),
            routed: Load::start(&fabric.remote, routed, PAUSE)?,
            flat: Load::start(&fabric.client, flat, PAUSE)?,
            address: routed,
        })
    }

    /// Lets something happen, waits until the router has a fresh route to every node, and tells what was seen
    /// meanwhile.
    ///
    /// # Errors
    /// When it fails, or the router does not come to rest.
    pub fn during(
        &self,
        installation: &mut Installation,
        tor: &FrrTor,
        step: &str,
        happen: impl FnOnce(&mut Installation) -> Result<()>,
    ) -> Result<Seen> {
        let start = wait::now();
        happen(installation).with_context(|| step.to_owned())?;
        settle(installation, tor).with_context(|| step.to_owned())?;
        let time: Range<Instant> = start..wait::now();
        let from_router = [IpAddr::from(Segment::Tor.v4(1)), Segment::Tor.v6(1).into()];
        // what was not written yet when the step before was told of is new now
        let (told, moved) = self.told.get();
        let (said, moves) = (updates(&self.wire.frames()?)?, self.moves());
        self.told.set((said.len(), moves));
        let withdrawn = said
            .iter()
            .skip(told)
            .filter(|update| !from_router.contains(&update.from))
            .map(|update| update.withdrawn.len())
            .sum();
        let ((bgp, beyond), (l2, flat)) = (self.routed.tally(&time)?, self.flat.tally(&time)?);
        let faults = beyond.iter().map(|fault| format!("by BGP {fault}"));
        let faults = faults.chain(flat.iter().map(|fault| format!("on the flat segment {fault}"))).collect();
        Ok(Seen {
            step: step.to_owned(),
            took: time.end - start,
            bgp,
            l2,
            withdrawn,
            moved: moves - moved,
            faults,
        })
    }

    /// How many lines of the kernel name the address.
    fn moves(&self) -> usize {
        let address = self.address.to_string();
        self.routes.log_text().lines().filter(|line| line.contains(&address)).count()
    }
}

/// Waits until all of the router's sessions are up and no route is left over from before a restart.
fn settle(installation: &Installation, tor: &FrrTor) -> Result<()> {
    wait::until_true(LONG, "the router to be at rest", || {
        for node in &installation.cluster.fabric().nodes {
            for ip in neighbours(node) {
                if !tor.session(ip)?.is_some_and(|session| session.established) {
                    return Ok(false);
                }
            }
        }
        let tables = [
            tor.frr.json("show bgp ipv4 unicast json")?.to_string(),
            tor.frr.json("show bgp ipv6 unicast json")?.to_string(),
        ];
        Ok(!tables.iter().any(|table| table.contains("\"stale\":true")))
    })
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<36} {:>6.1} s  failed by BGP {:>3} of {:>5}, on the flat segment {:>3} of {:>5}; {} withdrawn, {} route \
             changes",
            self.step,
            self.took.as_secs_f64(),
            self.bgp.failed,
            self.bgp.sent,
            self.l2.failed,
            self.l2.sent,
            self.withdrawn,
            self.moved
        )?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n    {fault}"))
    }
}
