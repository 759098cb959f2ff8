//! The statuses of the Services are all that the controller remembers.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use serde_json::json;

use crate::world::world;

#[test]
fn a_killed_controller_comes_back_to_the_same_addresses() -> Result<()> {
    let world = world()?;
    let names: Vec<String> = (0..5).map(|number| format!("stays-{number}")).collect();
    for name in &names {
        world.service(name, &[])?;
    }
    let now = || -> Result<BTreeMap<&str, Vec<IpAddr>>> {
        names.iter().map(|name| Ok((name.as_str(), world.addressed(name)?))).collect()
    };
    // a hole among the addresses, which nobody may move into
    let before = now()?;
    world.kubectl().run(&["-n", "default", "delete", "svc", "stays-1"])?;
    world.without_controller(|| Ok(()))?;
    // one that needs an address proves that the new controller has decided
    world.service("stays-1", &[])?;
    let after = now()?;
    for name in names.iter().filter(|name| *name != "stays-1") {
        assert_eq!(after.get(name.as_str()), before.get(name.as_str()), "{name}");
    }
    Ok(())
}

/// Whoever has an address keeps it, also when the younger Service holds the lower one and an older one holds none.
#[test]
fn addresses_do_not_follow_the_order_of_creation() -> Result<()> {
    let world = world()?;
    let pool = "metallb.io/address-pool: routed";
    let held = world.without_controller(|| {
        for name in ["order-none", "order-high", "order-low"] {
            world.service(name, &[pool])?;
        }
        let mut held = BTreeMap::new();
        // the younger one's status first
        for (name, last) in [("order-low", 100), ("order-high", 101)] {
            let addresses = [format!("10.99.0.{last}"), format!("fd00:99::{last}")];
            let ingress = addresses.each_ref().map(|ip| json!({"ip": ip}));
            world.kubectl().patch_status(
                &["-n", "default", "service", name],
                &json!({"status": {"loadBalancer": {"ingress": ingress}}}),
            )?;
            let addresses = addresses.iter().map(|ip| Ok(ip.parse()?)).collect::<Result<Vec<IpAddr>>>()?;
            held.insert(name, addresses);
        }
        Ok(held)
    })?;
    let newcomer = world.addressed("order-none")?;
    for (name, addresses) in held {
        assert_eq!(world.addresses(name)?, addresses, "{name}");
        assert!(addresses.iter().all(|address| !newcomer.contains(address)), "{newcomer:?}");
    }
    Ok(())
}
