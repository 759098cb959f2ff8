//! The lab itself, without the product: what the other lab tests take for granted.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Result, ensure};
use ferrolb_e2e::{
    capture::Capture,
    fabric::{BIRD_ASN, Fabric, LAN, NODE_ASN, Node, Segment, TOR, TOR_ASN},
    frr::{Frr, Listens, Setup, Version},
    neighbour::{Ask, answered, ask},
    pod,
    process::Spawn,
    tor::{BirdTor, Family, FrrTor, in_kernel},
    updates::updates,
    wait,
    warden::clean,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Two labs at once, each with both routers and a node's FRR from `frr/start`: both peer, and each has its own routes.
#[test]
fn two_labs_side_by_side() -> Result<()> {
    let labs = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..2).map(|_| scope.spawn(|| Peering::start(2))).collect();
        starts.into_iter().map(|start| start.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    let [one, two] = labs.as_slice() else { panic!("two labs") };
    assert_ne!(one.fabric.warden.id(), two.fabric.warden.id());
    for lab in &labs {
        lab.wait_for_sessions()?;
    }
    one.frr[0]
        .vtysh("configure terminal\nrouter bgp 64512\naddress-family ipv4 unicast\nnetwork 10.99.0.1/32")?;
    one.frr[0]
        .vtysh("configure terminal\nrouter bgp 64512\naddress-family ipv6 unicast\nnetwork fd00:99::1/128")?;
    for (prefix, tor, bird) in [
        ("10.99.0.1/32", IpAddr::from(Segment::Tor.v4(11)), IpAddr::from(Segment::Bird.v4(11))),
        ("fd00:99::1/128", Segment::Tor.v6(11).into(), Segment::Bird.v6(11).into()),
    ] {
        wait::until_true(DEADLINE, &format!("{prefix} at the FRR router"), || {
            Ok(one.tor.next_hops(prefix)? == [tor].into())
        })?;
        wait::until_true(DEADLINE, &format!("{prefix} at BIRD"), || {
            Ok(one.bird.next_hops(prefix)? == [bird].into())
        })?;
        wait::until_true(DEADLINE, "the routers' kernels", || {
            Ok(in_kernel(&one.fabric.tor, prefix)? && in_kernel(&one.fabric.bird, prefix)?)
        })?;
        assert!(two.tor.next_hops(prefix)?.is_empty() && two.bird.next_hops(prefix)?.is_empty());
    }
    Ok(())
}

/// The instruments: UPDATEs read off the wire, answers counted, pages fetched through DNAT; each judged by a deed whose
/// outcome is known.
#[test]
fn instruments() -> Result<()> {
    let lab = Peering::start(2)?;
    lab.wait_for_sessions()?;
    let [n1, n2] = lab.fabric.nodes.as_slice() else { panic!("two nodes") };

    let session = || Ok::<_, anyhow::Error>(lab.tor.session(Segment::Tor.v4(11).into())?.expect("a session"));
    let before = session()?;
    let wire = Capture::start(&lab.fabric.warden, &lab.fabric.tor, TOR, "tcp port 179")?;
    let vip = [IpAddr::from([10, 99, 0, 1]), "fd00:99::1".parse()?];
    let prefixes = ["10.99.0.1/32", "fd00:99::1/128"];
    for (command, present) in [("network", true), ("no network", false), ("network", true)] {
        for (prefix, family) in prefixes.iter().zip(["ipv4", "ipv6"]) {
            lab.frr[0].vtysh(&format!(
                "configure terminal\nrouter bgp {NODE_ASN}\naddress-family {family} unicast\n{command} {prefix}"
            ))?;
            wait::until_true(DEADLINE, &format!("{command} {prefix}"), || {
                Ok(lab.tor.next_hops(prefix)?.is_empty() != present)
            })?;
        }
    }
    // the keepalives after it
    let frames = wire.frames_past(wait::since_epoch()?)?;
    for (prefix, from) in prefixes.iter().zip([IpAddr::from(Segment::Tor.v4(11)), Segment::Tor.v6(11).into()])
    {
        let fates: Vec<&str> = updates(&frames)?
            .iter()
            .filter(|update| update.from == from)
            .flat_map(|update| {
                let announced = update.announced.contains(*prefix).then_some("announced");
                announced.into_iter().chain(update.withdrawn.contains(*prefix).then_some("withdrawn"))
            })
            .collect();
        assert_eq!(fates, ["announced", "withdrawn", "announced"], "{prefix} on the wire");
    }
    let after = session()?;
    assert!(after.established, "{after:?}");
    assert_eq!((after.came_up, after.dropped), (before.came_up, before.dropped));

    let mac = n1.net.mac(LAN)?;
    for (ip, nobody) in [
        (IpAddr::from(Segment::Lan.v4(11)), IpAddr::from(Segment::Lan.v4(50))),
        (Segment::Lan.v6(11).into(), Segment::Lan.v6(50).into()),
    ] {
        for how in [Ask::All, Ask::Only(&mac)] {
            let answers =
                answered(&lab.fabric.warden, &lab.fabric.client, ip, how, Duration::from_millis(300))?;
            assert_eq!(answers, [mac.as_str()], "{ip} {how:?}");
        }
        assert!(
            ask(&lab.fabric.warden, &lab.fabric.client, nobody, Ask::All, Duration::from_millis(300))?
                .is_empty()
        );
    }

    let _pods = [pod::start(&lab.fabric.warden, n1)?, pod::start(&lab.fabric.warden, n2)?];
    let way =
        |endpoint: &str| pod::Way { addresses: vip.to_vec(), port: 80, endpoints: vec![endpoint.to_owned()] };
    pod::lay(&lab.fabric, &[("here".to_owned(), way("n1"))].into())?;
    let asker = [IpAddr::from(Segment::Remote.v4(100)), Segment::Remote.v6(100).into()];
    for (ip, asker) in vip.into_iter().zip(asker) {
        let what = format!("{ip} from beyond the FRR router");
        let page = wait::until(DEADLINE, &what, || pod::fetch(&lab.fabric.remote, ip, 80).map(Some))?;
        assert_eq!(page, ("n1".to_owned(), asker), "the pod on the node sees who asks");
        let what = format!("{ip} from beyond BIRD");
        wait::until(DEADLINE, &what, || pod::fetch(&lab.fabric.far, ip, 80).map(Some))?;
    }
    // the routers send to n1, whose pod is gone: it passes the packets on, in its own name
    pod::lay(&lab.fabric, &[("there".to_owned(), way("n2"))].into())?;
    for ip in vip {
        wait::until_true(DEADLINE, &format!("{ip} from n2"), || {
            Ok(pod::fetch(&lab.fabric.remote, ip, 80)?.0 == "n2")
        })?;
    }
    Ok(())
}

/// A daemon that dies takes the node's FRR down as a whole, and a restart serves the frr.conf that is on disk.
#[test]
fn a_dead_daemon_ends_frr_and_a_restart_loads_frr_conf() -> Result<()> {
    let fabric = Fabric::create(1)?;
    let node = &fabric.nodes[0];
    let frr = Frr::start(&fabric.warden, &node.net, Listens::No, &conf(node))?;
    let before = frr.vtysh("show running-config")?;
    assert!(before.contains("router bgp 64512"), "{before}");
    let pids = ["zebra", "bgpd", "bfdd", "staticd"].map(|daemon| frr.daemon_pid(daemon).expect("a pid"));
    Spawn::new("kill").args(["-KILL", &pids[1].to_string()]).text()?;
    let status = wait::until(DEADLINE, "the end of frr/start", || frr.process().ended())?;
    assert!(!status.success(), "{status}");
    assert!(pids.into_iter().all(|pid| !clean::lives(pid)), "a daemon outlives the start script");
    let again = Frr::resume(&fabric.warden, &node.net)?;
    assert_eq!(again.vtysh("show running-config")?, before);
    // an orderly end is a success
    again.stop()
}

/// The probe of FRR's container names the daemon that hangs, or that nobody can ask, and is content otherwise.
#[test]
fn a_hanging_daemon_is_found_and_named() -> Result<()> {
    let fabric = Fabric::create(1)?;
    let node = &fabric.nodes[0];
    let frr = Frr::start(&fabric.warden, &node.net, Listens::No, &conf(node))?;
    // on a machine that is held up, others may be late, too
    let says = |wanted: Option<&str>| {
        wait::until_true(DEADLINE, &format!("the probe to say {wanted:?}"), || {
            let found = frr.check()?;
            ensure!(found.as_deref() == wanted, "{found:?}");
            Ok(true)
        })
    };
    says(None)?;
    for daemon in ["zebra", "bgpd", "bfdd", "staticd"] {
        let pid = frr.daemon_pid(daemon)?.to_string();
        Spawn::new("kill").args(["-STOP", &pid]).text()?;
        let found = says(Some(&format!("frr/check: no answer of {daemon} (vtysh ended with 124)\n")));
        Spawn::new("kill").args(["-CONT", &pid]).text()?;
        found?;
        says(None)?;
    }
    fs::remove_file(frr.vty_dir().join("bfdd.vty"))?;
    says(Some("frr/check: no answer of bfdd (vtysh ended with 0)\n"))?;
    frr.stop()?;
    assert!(frr.check()?.is_some_and(|fault| fault.contains("zebra bgpd bfdd staticd")));
    Ok(())
}

/// Static routes, which only users have, are in the kernel, with either version. FRR 10 may lose those of its file while
/// it starts, and takes them later: the speaker offers them again.
#[test]
fn static_routes_of_users_work() -> Result<()> {
    let fabric = Fabric::create(2)?;
    for (node, version) in fabric.nodes.iter().zip([Version::Own, Version::Ten]) {
        let setup = Setup { version, listens: Listens::No, vrfs: &[] };
        let conf = "ip route 192.0.2.0/24 blackhole\n";
        let frr = Frr::start_as(&setup, &fabric.warden, &node.net, conf)?;
        wait::until_true(DEADLINE, &format!("{version:?} to answer"), || Ok(frr.check()?.is_none()))?;
        wait::until_true(DEADLINE, &format!("the route of {version:?}"), || {
            if version == Version::Ten {
                frr.vtysh("configure terminal\nip route 192.0.2.0/24 blackhole")?;
            }
            Ok(node.net.ip("route show")?.contains("blackhole 192.0.2.0/24"))
        })?;
        frr.vtysh("configure terminal\nno ip route 192.0.2.0/24 blackhole")?;
        wait::until_true(DEADLINE, &format!("no route of {version:?}"), || {
            Ok(!node.net.ip("route show")?.contains("192.0.2.0/24"))
        })?;
        let pid = frr.daemon_pid("staticd")?;
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let own: u64 = memory
            .lines()
            .filter_map(|line| line.strip_prefix("Private_")?.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum();
        println!("staticd of {version:?}: {own} kB of its own");
    }
    Ok(())
}

struct Peering {
    frr: Vec<Frr>,
    tor: FrrTor,
    bird: BirdTor,
    fabric: Fabric,
}

impl Peering {
    fn start(nodes: u8) -> Result<Self> {
        let fabric = Fabric::create(nodes)?;
        let frr = fabric
            .nodes
            .iter()
            .map(|node| Frr::start(&fabric.warden, &node.net, Listens::No, &conf(node)))
            .collect::<Result<_>>()?;
        Ok(Self { tor: FrrTor::start(&fabric)?, bird: BirdTor::start(&fabric)?, frr, fabric })
    }

    fn wait_for_sessions(&self) -> Result<()> {
        for node in &self.fabric.nodes {
            for (family, address) in Family::ALL
                .into_iter()
                .zip([IpAddr::from(Segment::Tor.v4(node.host())), Segment::Tor.v6(node.host()).into()])
            {
                wait::until_true(
                    DEADLINE,
                    &format!("{} at the FRR router over {address}", node.name()),
                    || Ok(self.tor.session(address)?.is_some_and(|session| session.established)),
                )?;
                wait::until_true(
                    DEADLINE,
                    &format!("{} at BIRD over {}", node.name(), family.name()),
                    || self.bird.established(node.name(), family),
                )?;
            }
        }
        Ok(())
    }
}

/// Sessions to both routers over both families, written by hand.
fn conf(node: &Node) -> String {
    let mut text = format!(
        "hostname {}\nrouter bgp {NODE_ASN}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n no bgp network import-check\n",
        node.name(),
        Segment::Lan.v4(node.host())
    );
    for (segment, asn) in [(Segment::Tor, TOR_ASN), (Segment::Bird, BIRD_ASN)] {
        for (address, family) in [(IpAddr::from(segment.v4(1)), "ipv4"), (segment.v6(1).into(), "ipv6")] {
            text += &format!(
                " neighbor {address} remote-as {asn}\n neighbor {address} timers connect 1\n \
                 address-family {family} unicast\n  neighbor {address} activate\n exit-address-family\n"
            );
        }
    }
    text
}
