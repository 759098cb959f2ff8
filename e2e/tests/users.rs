//! What users' FRRConfigurations bring, at a real neighbour: routes that come in, and next hops.

#![allow(
    clippy::expect_used,
    reason = "functions of a test may fail it; clippy only knows those that are tests themselves"
)]

use anyhow::{Context as _, Result, ensure};
use ferrolb::{
    api::FRRConfiguration,
    frr::{self, Model},
    io::frr::{Paths, Report, drive},
};
use ferrolb_e2e::{
    frr::{Frr, Listens, Setup, Version},
    netns::Net,
    wait,
    warden::Warden,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A router that tells four prefixes, one of them with a tag that looks like ours.
const ROUTER: &str = "route-map LC permit 10
 set large-community 4294967295:1:2 65001:1:1
exit
router bgp 65001
 bgp router-id 10.7.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.7.0.1 remote-as 64512
 neighbor 10.7.0.1 timers connect 1
 address-family ipv4 unicast
  network 10.1.0.0/16 route-map LC
  network 10.1.2.0/24
  network 10.96.7.0/24
  network 192.0.2.0/24
 exit-address-family
exit
";

/// A node's model: our peer, and a user who lets in what `receive` says and names a next hop.
fn model(receive: &Value) -> Result<Model> {
    let object = |name: &str, router: Value| -> Result<FRRConfiguration> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": name},
            "spec": {"bgp": {"routers": [router]}},
        }))?)
    };
    let peer = json!({"address": "10.7.0.2", "asn": 65001, "connectTime": "1s",
        "toAdvertise": {"allowed": {"mode": "all"}}});
    let ours = json!({"asn": 64512, "id": "10.7.0.1", "prefixes": ["198.51.100.1/32"], "neighbors": [peer]});
    let peer = json!({"address": "10.7.0.2", "asn": 65001, "toReceive": {"allowed": receive},
        "toAdvertise": {"nextHop": {"ipv4": "10.7.0.77"}}});
    let users = [("user".to_owned(), object("user", json!({"asn": 64512, "neighbors": [peer]}))?)].into();
    let (ours, block) = (object("metallb-n1", ours)?, ["10.96.0.0/12".parse()?]);
    let merged = frr::merge(&frr::Sources { users: &users, block: &block, ..frr::Sources::only(&ours) });
    ensure!(merged.problems.is_empty(), "{:?}", merged.problems);
    Ok(merged.model)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_in_as_users_say() -> Result<()> {
    routes_come_in(Version::Own).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_in_as_users_say_in_frr_10() -> Result<()> {
    routes_come_in(Version::Ten).await
}

/// Only what is accepted comes in, and never what is blocked; more of it comes, and less, without a new session. A tag
/// of ours does not come back from outside. The neighbour is told the next hop of the user.
async fn routes_come_in(version: Version) -> Result<()> {
    let warden = Warden::start()?;
    let (node, outside) = (Net::create(&warden, "node")?, Net::create(&warden, "outside")?);
    node.cable("up", &["10.7.0.1/24"], &outside, "down", &["10.7.0.2/24"])?;
    let router = Frr::start(&warden, &outside, Listens::Yes, ROUTER)?;
    let setup = Setup { version, listens: Listens::No, vrfs: &[] };
    let frr = Frr::start_as(&setup, &warden, &node, &frr::render(&Model::default())?)?;
    let (desired, wanted) = watch::channel(None);
    let (sender, mut reports) = mpsc::channel(1000);
    let paths = Paths { vty_dir: frr.vty_dir().to_owned(), conf: frr.conf().to_owned() };
    let driver = tokio::spawn(drive(paths, wanted, sender));

    let some = |le: u32| json!({"prefixes": [{"prefix": "10.0.0.0/8", "le": le}]});
    let mut session = None;
    for (receive, comes) in [
        (some(16), &["10.1.0.0/16"][..]),
        (some(24), &["10.1.0.0/16", "10.1.2.0/24"]),
        (json!({"mode": "all"}), &["10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24"]),
        (json!({"prefixes": [{"prefix": "192.0.2.0/24"}]}), &["192.0.2.0/24"]),
        (json!({}), &[]),
    ] {
        desired.send_replace(Some(Arc::new(model(&receive)?)));
        loop {
            match timeout(DEADLINE, reports.recv()).await?.context("ended")? {
                Report::Applied { .. } => break,
                Report::Connected { foreign, .. } if foreign.is_empty() => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        let comes: BTreeSet<String> = comes.iter().map(ToString::to_string).collect();
        tokio::task::block_in_place(|| {
            wait::until_true(DEADLINE, &format!("{comes:?} of {receive}"), || {
                let table: Value = serde_json::from_str(&frr.vtysh("show bgp ipv4 unicast json")?)?;
                let routes = table.get("routes").and_then(Value::as_object).context("no routes")?;
                let heard = routes.keys().filter(|prefix| *prefix != "198.51.100.1/32").cloned();
                Ok(heard.collect::<BTreeSet<_>>() == comes && routes.contains_key("198.51.100.1/32"))
            })
            .with_context(|| {
                let show = [
                    "show running-config bgpd",
                    "show route-map 10.7.0.2-in",
                    "show ip prefix-list",
                    "show bgp ipv4 unicast json",
                    "show bgp ipv4 unicast",
                ];
                show.map(|command| frr.vtysh(command).unwrap_or_default()).join("\n----\n")
            })
        })?;
        let neighbors: Value = serde_json::from_str(&frr.vtysh("show bgp neighbors 10.7.0.2 json")?)?;
        let established = neighbors.pointer("/10.7.0.2/connectionsEstablished").cloned();
        assert_eq!(*session.get_or_insert_with(|| established.clone()), established, "{neighbors:#}");
        if comes.contains("10.1.0.0/16") {
            let route = frr.vtysh("show bgp ipv4 unicast 10.1.0.0/16")?;
            assert!(route.contains("65001:1:1") && !route.contains("4294967295"), "{route}");
        }
    }
    let told: Value = serde_json::from_str(&router.vtysh("show bgp ipv4 unicast 198.51.100.1/32 json")?)?;
    assert_eq!(told.pointer("/paths/0/nexthops/0/ip"), Some(&json!("10.7.0.77")), "{told:#}");
    drop(desired);
    driver.await?;
    Ok(())
}
