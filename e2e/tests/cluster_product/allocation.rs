//! A Service applied with `kubectl` gets its addresses, and `kubectl` shows them and says why.

use std::net::IpAddr;

use anyhow::Result;
use ferrolb_e2e::wait;
use serde_json::Value;

use crate::world::{DEADLINE, world};

#[test]
fn kubectl_shows_the_address_the_pool_and_the_event() -> Result<()> {
    let world = world()?;
    world.service("shown", &[])?;
    let addresses = world.addressed("shown")?;
    assert!(addresses.iter().any(|ip| ip.to_string().starts_with("10.98.0.")), "{addresses:?}");
    assert!(addresses.iter().any(|ip| ip.to_string().starts_with("fd00:98::")), "{addresses:?}");

    let row = world.kubectl().run(&["-n", "default", "get", "svc", "shown", "--no-headers"])?;
    for address in &addresses {
        assert!(row.contains(&address.to_string()), "EXTERNAL-IP lacks {address}: {row}");
    }
    let service = world.kubectl().get(&["-n", "default", "service", "shown"])?;
    let pool = service.pointer("/metadata/annotations/metallb.io~1ip-allocated-from-pool");
    assert_eq!(pool.and_then(Value::as_str), Some("everyone"));

    let message = world.event("shown", "IPAllocated")?;
    for address in &addresses {
        assert!(message.contains(&address.to_string()), "{message}");
    }
    let described = world.kubectl().run(&["-n", "default", "describe", "svc", "shown"])?;
    assert!(described.contains("IPAllocated"), "{described}");
    world.cluster.no_right_missing()
}

/// Both annotation prefixes that users have: `metallb.io/` and the older `metallb.universe.tf/`.
#[test]
fn a_service_gets_what_its_annotations_ask_for() -> Result<()> {
    let world = world()?;
    for (prefix, name, last) in [("metallb.io", "asks", 50), ("metallb.universe.tf", "asks-old", 51)] {
        let wanted: [IpAddr; 2] = [format!("10.99.0.{last}").parse()?, format!("fd00:99::{last}").parse()?];
        let [v4, v6] = wanted;
        world.service(&format!("{name}-ip"), &[&format!("{prefix}/loadBalancerIPs: \"{v4},{v6}\"")])?;
        assert_eq!(world.addressed(&format!("{name}-ip"))?, wanted, "{prefix}");

        world.service(&format!("{name}-pool"), &[&format!("{prefix}/address-pool: routed")])?;
        for address in world.addressed(&format!("{name}-pool"))? {
            let address = address.to_string();
            assert!(
                address.starts_with("10.99.0.") || address.starts_with("fd00:99::"),
                "{prefix}: {address}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_full_pool_is_an_event_until_there_is_room() -> Result<()> {
    let world = world()?;
    world.service("tiny-first", &["metallb.io/address-pool: tiny"])?;
    let addresses = world.addressed("tiny-first")?;
    world.service("tiny-second", &["metallb.io/address-pool: tiny"])?;
    let message = world.event("tiny-second", "AllocationFailed")?;
    assert!(message.contains("tiny") || message.contains("no available"), "{message}");
    assert_eq!(world.addresses("tiny-second")?, Vec::<IpAddr>::new());

    world.kubectl().run(&["-n", "default", "delete", "svc", "tiny-first"])?;
    assert_eq!(world.addressed("tiny-second")?, addresses);
    Ok(())
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_gives_its_address_back() -> Result<()> {
    let world = world()?;
    world.service("turns", &[])?;
    world.addressed("turns")?;
    world.kubectl().run(&[
        "-n",
        "default",
        "patch",
        "svc",
        "turns",
        "-p",
        r#"{"spec":{"type":"ClusterIP"}}"#,
    ])?;
    wait::until_true(DEADLINE, "the addresses of `turns` to go", || {
        Ok(world.addresses("turns")?.is_empty())
    })?;
    wait::until_true(DEADLINE, "the pool's annotation of `turns` to go", || {
        let service = world.kubectl().get(&["-n", "default", "service", "turns"])?;
        Ok(service.pointer("/metadata/annotations/metallb.io~1ip-allocated-from-pool").is_none())
    })
}
