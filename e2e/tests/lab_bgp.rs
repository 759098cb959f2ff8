//! From a Service to a route at both routers, over BGP, with the real controller, speakers and FRR.
//!
//! One lab for the file; the tests take it in turn, and each leaves it as it found it. Its first node runs the machine's
//! FRR, its second one FRR 10: what a test proves of all nodes it proves of both versions.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ferrolb_e2e::{
    capture::Capture,
    fabric::{BIRD, Segment, TOR},
    lab::{DEADLINE, Lab, Plan, neighbours, prefix},
    objects::{self, PORT, Service},
    pod,
    tor::{Family, Session},
    updates::{Update, updates},
    wait,
};

#[test]
fn created_is_routed_and_deleted_is_gone() -> Result<()> {
    let lab = lab()?;
    let addresses = lab.add(&Service::new("created", "routed", &lab.fabric))?;
    ensure!(addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6), "{addresses:?}");
    for ip in &addresses {
        lab.wait_for_route(*ip, &lab.names())?;
        for client in [&lab.fabric.remote, &lab.fabric.far] {
            let what = format!("a page from {ip} in {}", client.role());
            wait::until(DEADLINE, &what, || pod::fetch(client, *ip, PORT).map(Some))?;
        }
    }
    lab.remove("created")?;
    for ip in &addresses {
        lab.wait_for_route(*ip, &[])?;
    }
    Ok(())
}

/// With `externalTrafficPolicy: Local` the next hop is the node that has an endpoint, and it moves with the endpoint.
#[test]
fn local_is_routed_to_the_nodes_that_serve() -> Result<()> {
    let lab = lab()?;
    let mut service = Service { local: true, ..Service::new("local", "routed", &lab.fabric) };
    for serving in [["n2"], ["n1"]] {
        service.endpoints = serving.map(str::to_owned).to_vec();
        for ip in lab.add(&service)? {
            lab.wait_for_route(ip, &service.endpoints)?;
            let client =
                if ip.is_ipv4() { Segment::Remote.v4(100).into() } else { Segment::Remote.v6(100).into() };
            // the router's kernel may still send to the other node, which passes it on in its own name
            let what = format!("a page from {ip}, asked for in the client's name");
            wait::until_true(DEADLINE, &what, || {
                let (name, asker) = pod::fetch(&lab.fabric.remote, ip, PORT)?;
                ensure!((name.as_str(), asker) == (serving[0], client), "{name} was asked by {asker}");
                Ok(true)
            })?;
        }
    }
    lab.remove("local")
}

/// A Service more, and a Service less, touches no session and no other prefix: judged from the UPDATEs on the wire.
#[test]
fn a_second_service_disturbs_nothing() -> Result<()> {
    let lab = lab()?;
    // From the beginning: of what is sent twice, since a busy machine did not acknowledge it in time, the first must be
    // in it.
    let wires = [(&lab.fabric.tor, TOR), (&lab.fabric.bird, BIRD)]
        .map(|(net, interface)| Capture::start(&lab.fabric.warden, net, interface, "tcp port 179"));
    let first = lab.add(&Service::new("first", "routed", &lab.fabric))?;
    for ip in &first {
        lab.wait_for_route(*ip, &lab.names())?;
    }
    let before = sessions(&lab)?;
    let since = wait::since_epoch()?;
    // Addresses come back: only what is sent from here on is about this Service.
    let earlier = lab
        .names()
        .into_iter()
        .map(|name| Ok((lab.applied(&name)?.len(), name)))
        .collect::<Result<Vec<_>>>()?;

    let second = lab.add(&Service::new("second", "routed", &lab.fabric))?;
    for ip in &second {
        lab.wait_for_route(*ip, &lab.names())?;
    }
    lab.remove("second")?;
    for ip in &second {
        lab.wait_for_route(*ip, &[])?;
    }

    let own: BTreeSet<String> = second.iter().copied().map(prefix).collect();
    let done = wait::since_epoch()?;
    for wire in wires {
        // the keepalives after it
        let all = updates(&wire?.frames_past(done)?)?.into_iter();
        let updates: Vec<Update> =
            all.filter(|update| update.at >= since && is_node(&lab, update.from)).collect();
        let announced: BTreeSet<String> =
            updates.iter().flat_map(|update| update.announced.clone()).collect();
        let withdrawn: BTreeSet<String> =
            updates.iter().flat_map(|update| update.withdrawn.clone()).collect();
        assert_eq!(withdrawn, own, "nothing else was withdrawn: {updates:#?}");
        assert_eq!(announced, own, "nothing else was announced anew: {updates:#?}");
    }
    continued(&lab, &before)?;
    for (earlier, name) in earlier {
        for prefix in &own {
            // it is told when all answers are there, which may be after the router heard of it
            let what = format!("{name} to tell of {prefix}");
            let about = wait::until(DEADLINE, &what, || {
                let lines = lab.applied(&name)?.into_iter().skip(earlier).flat_map(|delta| delta.lines);
                let about: Vec<String> = lines.filter(|line| line.contains(prefix.as_str())).collect();
                Ok((about.len() >= 2).then_some(about))
            })?;
            assert_eq!(
                about.len(),
                2,
                "{name}: one line to announce {prefix}, one to withdraw it: {about:?}"
            );
        }
    }
    lab.remove("first")
}

/// What cannot be used is reported, and everything else goes on: what was there stays, what comes is served.
#[test]
fn bad_manifests_are_left_out() -> Result<()> {
    let lab = lab()?;
    let steady = lab.add(&Service::new("steady", "routed", &lab.fabric))?;
    for ip in &steady {
        lab.wait_for_route(*ip, &lab.names())?;
    }
    let before = sessions(&lab)?;
    let overlap = objects::pool("overlapping", &["10.99.0.128/25"]);
    let address = objects::peer("bad-address", "172.31.1.999", 64513);
    let password = objects::peer("bad-password", "172.31.1.77", 64513)
        + "  password: \"a\\n neighbor 6.6.6.6 shutdown\"\n";
    for (file, yaml, component, object) in [
        ("bad-pool", overlap.as_str(), "controller", "overlapping"),
        ("bad-address", &address, "speaker-n1", "bad-address"),
        ("bad-password", &password, "speaker-n1", "bad-password"),
        ("bad-yaml", "kind: Service\n\tmetadata: [", "controller", "bad-yaml"),
    ] {
        lab.manifests.put(file, yaml)?;
        let what = format!("{object} in the {component}'s problems");
        wait::until_true(DEADLINE, &what, || Ok(lab.manifests.problems(component)?.contains(object)))
            .with_context(|| lab.logs())?;
        let name = format!("after-{file}");
        let addresses = lab.add(&Service::new(&name, "routed", &lab.fabric))?;
        for ip in addresses.iter().chain(&steady) {
            lab.wait_for_route(*ip, &lab.names())?;
        }
        lab.remove(&name)?;
        lab.manifests.remove(file)?;
        let what = format!("{object} to go from the {component}'s problems");
        wait::until_true(DEADLINE, &what, || Ok(!lab.manifests.problems(component)?.contains(object)))?;
    }
    for name in lab.names() {
        let frr = lab.frr(&name)?;
        let texts = [frr.vtysh("show running-config")?, std::fs::read_to_string(frr.conf())?];
        assert!(
            texts.iter().all(|text| !text.contains("6.6.6.6") && !text.contains("172.31.1.77")),
            "{texts:?}"
        );
    }
    continued(&lab, &before)?;
    lab.remove("steady")
}

/// Without a peer the nodes leave the routers with a NOTIFICATION, after which neither keeps a route: not even BIRD,
/// which takes a session that ends without one for a restart.
#[test]
fn without_a_peer_no_router_keeps_a_route() -> Result<()> {
    let lab = lab()?;
    let addresses = lab.add(&Service::new("left", "routed", &lab.fabric))?;
    for ip in &addresses {
        lab.wait_for_route(*ip, &lab.names())?;
    }
    lab.manifests.remove("peers")?;
    let start = wait::now();
    for ip in &addresses {
        lab.wait_for_route(*ip, &[])?;
    }
    println!("gone after {:.1?}", start.elapsed());
    // for that reason, and not since any hold time (9 s) or restart time (120 s) was over
    for node in &lab.fabric.nodes {
        for ip in neighbours(node) {
            let why = lab.tor.last_end(ip)?;
            ensure!(
                why == "BGP Notification received: Cease/Peer De-configured",
                "{ip} at the FRR router: {why:?}"
            );
        }
        for family in Family::ALL {
            let why = lab.bird.last_end(node.name(), family)?;
            ensure!(why == "Received: Peer de-configured", "{} at BIRD: {why:?}", node.name());
        }
    }
    lab.remove("left")?;
    lab.manifests.put("peers", &objects::peers())?;
    lab.wait_for_sessions(&lab.names())
}

/// Every session of every node with the FRR router, and when each was looked at.
fn sessions(lab: &Lab) -> Result<Vec<(IpAddr, Session, Instant)>> {
    let neighbours = lab.fabric.nodes.iter().flat_map(neighbours);
    let session = |ip| lab.tor.session(ip)?.with_context(|| format!("no neighbour {ip}"));
    neighbours.map(|ip| Ok((ip, session(ip)?, wait::now()))).collect()
}

/// All of these sessions have been up since.
fn continued(lab: &Lab, sessions: &[(IpAddr, Session, Instant)]) -> Result<()> {
    for (ip, before, at) in sessions {
        let since = at.elapsed();
        let after = lab.tor.session(*ip)?.with_context(|| format!("no neighbour {ip}"))?;
        ensure!(after.continues(before, since), "{ip}: {before:?}, then {after:?}");
    }
    Ok(())
}

fn is_node(lab: &Lab, ip: IpAddr) -> bool {
    let routers = [Segment::Tor, Segment::Bird].into_iter();
    lab.fabric.nodes.iter().any(|node| {
        let host = node.host();
        routers.clone().any(|segment| [IpAddr::from(segment.v4(host)), segment.v6(host).into()].contains(&ip))
    })
}

fn lab() -> Result<MutexGuard<'static, Lab>> {
    static LAB: OnceLock<Result<Mutex<Lab>, String>> = OnceLock::new();
    let lab = LAB.get_or_init(|| {
        Lab::start_as(Plan::of(2).both_versions()).map(Mutex::new).map_err(|error| format!("{error:#}"))
    });
    // a test that failed poisons it; the others judge for themselves
    Ok(lab.as_ref().map_err(|error| anyhow!(error.clone()))?.lock().unwrap_or_else(PoisonError::into_inner))
}
