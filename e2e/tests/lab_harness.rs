//! The lab itself, without the product: what the other lab tests take for granted.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use ferrolb_e2e::{
    fabric::{BIRD_ASN, Fabric, NODE_ASN, Node, Segment, TOR_ASN},
    frr::{Frr, Listens},
    tor::{BirdTor, Family, FrrTor, in_kernel},
    wait,
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
