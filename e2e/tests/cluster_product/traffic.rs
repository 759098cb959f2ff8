//! Clients reach the Pods: one beyond the router through the BGP route, one on the flat segment through ARP and NDP,
//! both through the real kube-proxy.

use std::net::IpAddr;

use anyhow::Result;
use ferrolb_e2e::{netns::Net, pod, wait};

use crate::world::{DEADLINE, World, world};

fn served(world: &World, name: &str, client: &Net) -> Result<Vec<IpAddr>> {
    let addresses = world.addressed(name)?;
    for address in &addresses {
        let what = format!("{} to get an answer from {address}", client.role());
        let (node, _) = wait::until(DEADLINE, &what, || pod::fetch(client, *address, 80).map(Some))?;
        assert!(["n1", "n2"].contains(&node.as_str()), "{node}");
    }
    Ok(addresses)
}

#[test]
fn a_client_beyond_the_router_reaches_the_pods_through_the_bgp_route() -> Result<()> {
    let world = world()?;
    world.service("far", &["metallb.io/address-pool: routed"])?;
    let addresses = served(world, "far", &world.cluster.fabric().remote)?;
    world.kubectl().run(&["-n", "default", "delete", "svc", "far"])?;
    for address in addresses {
        let what = format!("the route of {address} to go");
        wait::until_true(DEADLINE, &what, || {
            Ok(!ferrolb_e2e::tor::in_kernel(&world.cluster.fabric().tor, &address.to_string())?)
        })?;
    }
    world.cluster.no_right_missing()
}

#[test]
fn a_client_on_the_flat_segment_reaches_the_pods_through_arp_and_ndp() -> Result<()> {
    let world = world()?;
    world.service("near", &["metallb.io/address-pool: flat"])?;
    served(world, "near", &world.cluster.fabric().client).map(drop)
}

#[test]
fn the_older_annotations_lead_to_the_pods_too() -> Result<()> {
    let world = world()?;
    world.service("far-old", &["metallb.universe.tf/address-pool: routed"])?;
    world.service("near-old", &["metallb.universe.tf/address-pool: flat"])?;
    served(world, "far-old", &world.cluster.fabric().remote)?;
    served(world, "near-old", &world.cluster.fabric().client).map(drop)
}
