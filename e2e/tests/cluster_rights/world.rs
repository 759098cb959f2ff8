//! The one cluster of these tests: nodes with FRR and no speaker yet, a router, and no controller.

use std::{sync::OnceLock, time::Duration};

use anyhow::{Result, anyhow};
use ferrolb_e2e::{
    cluster::{Cluster, Extent, Pod},
    fabric::Fabric,
    frr::{Frr, Listens},
    netns::Net,
    tor::FrrTor,
};

use crate::objects;

/// Long enough for anything that the product does at once, and for the third try of what it tries again, on a machine
/// that runs eight programs of these tests at a time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// Rows of each program that run at a time.
pub(crate) const LANES: u8 = 4;

/// The node of the test that does everything once; the lanes have the others.
pub(crate) const WHOLE: &str = "n1";

/// It is never dropped, since statics are not: the warden ends it with the process.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) whole: Frr,
    pub(crate) lanes: Vec<Lane>,
    _pod: Pod,
    _tor: FrrTor,
}

/// A node whose speaker is of one row after the other.
pub(crate) struct Lane {
    pub(crate) node: String,
    pub(crate) frr: Frr,
}

/// The cluster, started by whoever asks first.
pub(crate) fn world() -> Result<&'static World> {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().map_err(|text| anyhow!("the cluster does not start: {text}"))
}

fn start() -> Result<World> {
    let fabric = Fabric::create(LANES + 1)?;
    let tor = FrrTor::start(&fabric)?;
    let mut cluster = Cluster::start(fabric, Extent::Whole)?;
    cluster.install()?;
    cluster.kubectl().apply(&objects::router())?;
    let pod = cluster.pod(WHOLE, "web")?;
    let fabric = cluster.fabric();
    let frr = |net: &Net| Frr::start(&fabric.warden, net, Listens::No, "");
    let others = fabric.nodes.iter().filter(|node| node.name() != WHOLE);
    let lanes = others.map(|node| Ok(Lane { node: node.name().to_owned(), frr: frr(&node.net)? }));
    let lanes = lanes.collect::<Result<_>>()?;
    let whole = frr(&fabric.node(WHOLE)?.net)?;
    Ok(World { cluster, whole, lanes, _pod: pod, _tor: tor })
}

/// The status with which `/metrics` answers the bearer of a token.
pub(crate) fn scrape(net: &Net, port: u16, token: &str) -> Result<String> {
    net.command("curl")
        .args(["-sk", "-m", "15", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(["-H", &format!("Authorization: Bearer {token}"), &format!("https://127.0.0.1:{port}/metrics")])
        .text()
}
