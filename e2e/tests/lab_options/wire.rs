//! What of a session's options the wire carries.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    capture::Capture,
    fabric::{Segment, TOR},
    lab::DEADLINE,
    tcp::{self, MD5, segments},
    wait,
};

use crate::{peers::TTL_SECURITY, world::World};

/// Every segment of a session with a password is signed. With another password there is no session: the node calls and
/// is not heard; with the right one it is up again.
#[test]
fn passwords_sign_every_segment() -> Result<()> {
    let world = World::get()?;
    let wire = capture(&world, "go", TOR)?;
    let calls = || Ok::<_, anyhow::Error>(said(&wire)?.iter().filter(|segment| segment.calls).count());
    let wrong = world.peer("go")?.with("password", "not-this-one");
    world.step(&["go"], || world.put(&wrong), || world.down("go"))?;
    let before = calls()?;
    wait::until_true(DEADLINE, "calls that nobody hears", || Ok(calls()? > before + 6))?;
    world.down("go")?;
    world.step(&["go"], || world.put(&world.peer("go")?), || world.up("go"))?;
    let said = said(&wire)?;
    let unsigned: Vec<_> = said.iter().filter(|segment| !segment.options.contains(&MD5)).collect();
    ensure!(unsigned.is_empty(), "{unsigned:#?}");
    ensure!(said.iter().any(|segment| !segment.data.is_empty()), "nothing was said");
    let ports = said.iter().all(|segment| [segment.from.port(), segment.to.port()].contains(&1790));
    ensure!(ports, "the router listens at port 1790");
    Ok(())
}

/// A packet to a direct neighbour may make one hop, one to a neighbour farther away more.
#[test]
fn hops_and_keepalives() -> Result<()> {
    let world = World::get()?;
    let (near, far) = (capture(&world, "f8-v4", TOR)?, capture(&world, "hop", "up")?);
    for peer in ["f8-v4", "hop"] {
        world.step(&[peer], || world.remove(peer), || world.down(peer))?;
    }
    let start = wait::since_epoch()?;
    let often = world.peer("f8-v4")?.with("keepaliveTime", "1s").with("holdTime", "9s");
    world.step(&["f8-v4"], || world.put(&often), || world.up("f8-v4"))?;
    world.step(&["hop"], || world.put(&world.peer("hop")?), || world.up("hop"))?;
    for node in &world.lab.fabric.nodes {
        let from = IpAddr::from(Segment::Tor.v4(node.host()));
        let of = |wire: &Capture| {
            let all = said(wire)?.into_iter().filter(|segment| segment.from.ip() == from);
            Ok::<_, anyhow::Error>(all.filter(|segment| segment.at > start).collect::<Vec<_>>())
        };
        // a keepalive every second, where a third of the hold time is three
        let alive = |segment: &&tcp::Segment| segment.data.get(16..19) == Some(&[0, 19, 4]);
        let times = wait::until(DEADLINE, "seven keepalives", || {
            let near = of(&near)?;
            let times: Vec<Duration> = near.iter().filter(alive).map(|segment| segment.at).collect();
            Ok((times.len() >= 7).then_some(times))
        })?;
        let (gap, gaps) = gap(&times, 1);
        ensure!(gap < Duration::from_millis(1800), "{gaps:?}");
        ensure!(of(&near)?.iter().all(|segment| segment.ttl == 1), "{from}: the router is a neighbour");
        let far = of(&far)?;
        ensure!(!far.is_empty() && far.iter().all(|segment| segment.ttl > 30), "{far:#?}");
    }
    world.afresh("f8-v4")
}

/// RFC 5082: every packet says 255 hops when it leaves, and what the router sends counts for nothing when it comes from
/// farther away than the annotation says. Both routers are such that a packet with less is none.
#[test]
fn ttl_security() -> Result<()> {
    let world = World::get()?;
    let (near, far) = (capture(&world, "alias", TOR)?, capture(&world, "hop", "up")?);
    let unheard = |peer: &str, wire: &Capture| {
        let before = said(wire)?.len();
        wait::until_true(DEADLINE, "words that come to nothing", || Ok(said(wire)?.len() > before + 6))?;
        world.down(peer)
    };
    for peer in ["alias", "hop"] {
        world.step(&[peer], || world.remove(peer), || world.down(peer))?;
    }
    let start = wait::since_epoch()?;
    world.step(&["alias"], || world.put(&world.peer("alias")?), || world.up("alias"))?;
    let two = world.peer("hop")?.without("ebgpMultiHop").annotated(TTL_SECURITY, 2);
    world.step(&["hop"], || world.put(&two), || world.up("hop"))?;
    for (wire, ttl) in [(&near, 255), (&far, 254)] {
        let said: Vec<_> = said(wire)?.into_iter().filter(|segment| segment.at > start).collect();
        ensure!(!said.is_empty() && said.iter().all(|segment| segment.ttl == ttl), "{said:#?}");
    }

    // the router is two hops away, and one is allowed
    world.step(&["hop"], || world.remove("hop"), || world.down("hop"))?;
    world.step(&["hop"], || world.put(&two.annotated(TTL_SECURITY, 1)), || unheard("hop", &far))?;
    world.step(&["hop"], || world.put(&world.peer("hop")?), || world.up("hop"))
}

/// A router that refuses is called again after the time that was asked for.
#[test]
fn connect_time() -> Result<()> {
    let world = World::get()?;
    let wire = capture(&world, "alias", TOR)?;
    // with TTL security the refusal would be from too far away to be heard
    let closed = world.peer("alias")?.bare().with("peerPort", 1791).with("connectTime", "2s");
    world.step(&["alias"], || world.put(&closed), || world.down("alias"))?;
    for node in &world.lab.fabric.nodes {
        let from = IpAddr::from(Segment::Tor.v4(node.host()));
        let calls = wait::until(DEADLINE, "seven calls at the closed port", || {
            let said = said(&wire)?.into_iter();
            let calls = said.filter(|s| s.calls && s.from.ip() == from && s.to.port() == 1791);
            let calls: Vec<Duration> = calls.map(|segment| segment.at).collect();
            Ok((calls.len() >= 7).then_some(calls))
        })
        .with_context(|| world.lab.logs())?;
        // the first one or two come when the options do
        let (gap, gaps) = gap(&calls, 2);
        ensure!((Duration::from_millis(1400)..Duration::from_millis(3200)).contains(&gap), "{gaps:?}");
    }
    Ok(())
}

/// The time between two of these moments but for the first gaps: the middle one of all, which one stall of the machine
/// does not change; and all of them.
fn gap(times: &[Duration], but: usize) -> (Duration, Vec<Duration>) {
    let gaps = times.iter().zip(times.iter().skip(1)).map(|(a, b)| b.saturating_sub(*a));
    let gaps: Vec<Duration> = gaps.collect();
    let mut sorted = gaps.get(but..).unwrap_or_default().to_vec();
    sorted.sort_unstable();
    (sorted.get(sorted.len() / 2).copied().unwrap_or_default(), gaps)
}

fn capture(world: &World, peer: &str, interface: &str) -> Result<Capture> {
    Capture::start(&world.lab.fabric.warden, world.router(peer)?.net(), interface, "tcp")
}

/// What nodes said to the router.
fn said(wire: &Capture) -> Result<Vec<tcp::Segment>> {
    let all = segments(&wire.frames()?).into_iter();
    Ok(all.filter(|segment| segment.from.port() > 1790).collect())
}
