//! Options of advertisements, in the routers' tables.
//!
//! Every step is a manifest more, less or changed, and no step interrupts a session: an advertisement is nobody's
//! session.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    capture::Capture,
    fabric::{NODE_ASN, TOR},
    lab::DEADLINE,
    objects::Service,
    peer::Path,
    updates::updates,
    wait,
};

use crate::{
    peers::ALIAS,
    users::settled,
    world::{World, annotated, object},
};

/// One peer per make and kind: eBGP and iBGP, over IPv4.
const PEERS: [&str; 4] = ["f8-v4", "f10-v4", "bd-v4", "go"];
/// Those of our own AS, which are told a local preference.
const INTERNAL: [&str; 2] = ["f10-v4", "bd-v4"];

/// Aggregated prefixes stay while any Service is in them, and go with the last one; the other prefix of the same
/// addresses comes and goes by itself.
#[test]
fn aggregates_stay_while_any_service_is_in_them() -> Result<()> {
    let world = World::get()?;
    let wires = ["f8-v4", "bd-v4"].map(|peer| world.router(peer));
    let wires = wires.into_iter().collect::<Result<Vec<_>>>()?;
    advertise(&world, "whole", "{aggregationLength: 24, aggregationLengthV6: 121}")?;
    service(&world, "one", "10.66.0.1,fd00:66::1", "")?;
    told(&world, &PEERS, "10.66.0.0/24", Some(&Wanted::default()))?;
    told(&world, &["f8-v6", "go", "bd-v6"], "fd00:66::/121", Some(&Wanted::default()))?;
    let wires = wires
        .into_iter()
        .map(|router| Capture::start(&world.lab.fabric.warden, router.net(), TOR, "tcp port 179"))
        .collect::<Result<Vec<_>>>()?;
    advertise(&world, "each", "{}")?;
    told(&world, &PEERS, "10.66.0.1/32", Some(&Wanted::default()))?;
    service(&world, "two", "10.66.0.2,fd00:66::2", "")?;
    told(&world, &PEERS, "10.66.0.2/32", Some(&Wanted::default()))?;
    world.lab.remove("one")?;
    told(&world, &PEERS, "10.66.0.1/32", None)?;
    told(&world, &PEERS, "10.66.0.0/24", Some(&Wanted::default()))?;
    for wire in wires {
        let said = updates(&wire.frames_past(wait::since_epoch()?)?)?;
        let withdrawn: BTreeSet<String> = said.into_iter().flat_map(|update| update.withdrawn).collect();
        ensure!(
            withdrawn.iter().all(|prefix| prefix.starts_with("10.66.0.1/") || prefix == "fd00:66::1/128"),
            "an aggregate was withdrawn in between: {withdrawn:?}"
        );
    }
    world.lab.remove("two")?;
    for prefix in ["10.66.0.2/32", "10.66.0.0/24"] {
        told(&world, &PEERS, prefix, None)?;
    }
    told(&world, &["f8-v6", "go", "bd-v6"], "fd00:66::/121", None)?;
    world.undisturbed(&[])
}

/// Local preference within our AS, communities everywhere, aliases as what they stand for; of two advertisements of a
/// prefix the communities of both. Each change arrives, and takes no prefix away.
#[test]
fn attributes() -> Result<()> {
    let world = World::get()?;
    advertise(&world, "base", "{localPref: 300, communities: [\"65001:1\"]}")?;
    service(&world, "one", "10.66.0.1,fd00:66::1", "")?;
    let prefix = "10.66.0.1/32";
    let wanted = |local_pref, communities: &[&'static str]| Wanted {
        local_pref,
        communities: communities.iter().copied().collect(),
    };
    told(&world, &PEERS, prefix, Some(&wanted(Some(300), &["65001:1"])))?;
    told(&world, &["f10-v6", "bd-v6"], "fd00:66::1/128", Some(&wanted(Some(300), &["65001:1"])))?;

    let alias =
        "{communities: [{name: far, value: \"65001:7\"}, {name: big, value: \"large:64512:1:4000000000\"}]}";
    world.lab.manifests.put("aliases", &object("Community", "aliases", alias))?;
    advertise(&world, "base", "{localPref: 200, communities: [\"65001:1\", far, big]}")?;
    let all = ["65001:1", "65001:7", "64512:1:4000000000"];
    told(&world, &PEERS, prefix, Some(&wanted(Some(200), &all)))?;
    world.undisturbed(&[])?;

    advertise(&world, "more", "{localPref: 200, communities: [\"large:64512:2:3\", \"65001:9\"]}")?;
    let union = ["65001:1", "65001:7", "64512:1:4000000000", "64512:2:3", "65001:9"];
    told(&world, &PEERS, prefix, Some(&wanted(Some(200), &union)))?;
    world.undisturbed(&[])?;

    // another preference for the same prefix: the newcomer is left out, and what was there stays
    advertise(&world, "clash", "{localPref: 100, communities: [\"65001:66\"]}")?;
    let reported = || Ok(world.lab.manifests.problems("speaker-n1")?.contains("clash"));
    wait::until_true(DEADLINE, "a problem about the advertisement `clash`", reported)
        .with_context(|| world.lab.logs())?;
    settled(&world)?;
    told(&world, &PEERS, prefix, Some(&wanted(Some(200), &union)))?;
    world.lab.manifests.remove("ad-clash")?;

    world.lab.manifests.remove("ad-base")?;
    told(&world, &PEERS, prefix, Some(&wanted(Some(200), &["64512:2:3", "65001:9"])))?;
    world.undisturbed(&[])
}

/// MED and AS-path prepend, as annotations: other values arrive, and take no prefix away. Our AS is prepended as the
/// router knows it, and never to a router of our own AS, which would take it for a loop. Two that disagree: the newcomer
/// is left out.
#[test]
fn med_and_prepend() -> Result<()> {
    let world = World::get()?;
    let advertise = |name: &str, annotations: &str| {
        world
            .lab
            .manifests
            .put(&format!("ad-{name}"), &annotated("BGPAdvertisement", name, annotations, "{}"))
    };
    let told = |med: Option<u32>, prepended: usize| {
        for peer in ["f8-v4", "f10-v4", "bd-v4", "go", "alias"] {
            let (asn, times) = match peer {
                "alias" => (ALIAS, prepended + 1),
                _ if INTERNAL.contains(&peer) => (NODE_ASN, 0),
                _ => (NODE_ASN, prepended + 1),
            };
            for node in world.lab.names() {
                world.wait_told(peer, &node, "10.66.0.1/32", |path| {
                    // without one, some routers show a 0
                    path.is_some_and(|path| {
                        path.as_path == vec![asn; times]
                            && (path.med == med || (med.is_none() && path.med == Some(0)))
                    })
                })?;
            }
        }
        world.undisturbed(&[])
    };
    service(&world, "one", "10.66.0.1,fd00:66::1", "")?;
    advertise("base", "{}")?;
    told(None, 0)?;
    let wire = Capture::start(&world.lab.fabric.warden, world.router("bd-v4")?.net(), TOR, "tcp port 179")?;
    advertise("base", "{ferrolb.io/med: \"70\", ferrolb.io/as-path-prepend: \"2\"}")?;
    told(Some(70), 2)?;
    advertise("base", "{ferrolb.io/med: \"4294967295\", ferrolb.io/as-path-prepend: \"1\"}")?;
    told(Some(u32::MAX), 1)?;
    advertise("clash", "{ferrolb.io/med: \"5\"}")?;
    let reported = || Ok(world.lab.manifests.problems("speaker-n1")?.contains("clash"));
    wait::until_true(DEADLINE, "a problem about the advertisement `clash`", reported)
        .with_context(|| world.lab.logs())?;
    settled(&world)?;
    told(Some(u32::MAX), 1)?;
    world.lab.manifests.remove("ad-clash")?;
    advertise("base", "{ferrolb.io/med: \"0\"}")?;
    told(Some(0), 0)?;
    advertise("base", "{}")?;
    told(None, 0)?;
    let said = updates(&wire.frames_past(wait::since_epoch()?)?)?;
    ensure!(!said.is_empty() && said.iter().all(|update| update.withdrawn.is_empty()), "{said:#?}");
    Ok(())
}

/// Which peers, which nodes, which Services.
#[test]
fn for_whom() -> Result<()> {
    let world = World::get()?;
    let plain = Wanted::default();
    advertise(&world, "few", "{peers: [f8-v4, bd-v4]}")?;
    service(&world, "gold", "10.66.0.1,fd00:66::1", "tier: gold")?;
    service(&world, "plain", "10.66.0.2,fd00:66::2", "")?;
    for prefix in ["10.66.0.1/32", "10.66.0.2/32"] {
        told(&world, &["f8-v4", "bd-v4"], prefix, Some(&plain))?;
        told(&world, &["f10-v4", "go"], prefix, None)?;
    }
    advertise(&world, "few", "{peers: [go]}")?;
    told(&world, &["go"], "10.66.0.1/32", Some(&plain))?;
    told(&world, &["f8-v4", "bd-v4", "f10-v4"], "10.66.0.1/32", None)?;

    advertise(&world, "few", "{serviceSelectors: [{matchLabels: {tier: gold}}]}")?;
    told(&world, &PEERS, "10.66.0.1/32", Some(&plain))?;
    told(&world, &PEERS, "10.66.0.2/32", None)?;
    // of two that match one Service and disagree, neither counts for it; others go on
    advertise(
        &world,
        "other",
        "{localPref: 50, serviceSelectors: [{matchLabels: {tier: gold}}, {matchLabels: {tier: other}}]}",
    )?;
    service(&world, "other", "10.66.0.3,fd00:66::3", "tier: other")?;
    told(&world, &PEERS, "10.66.0.3/32", Some(&Wanted { local_pref: Some(50), ..Wanted::default() }))?;
    told(&world, &PEERS, "10.66.0.1/32", None)?;
    world.lab.manifests.remove("ad-other")?;
    told(&world, &PEERS, "10.66.0.3/32", None)?;
    told(&world, &PEERS, "10.66.0.1/32", Some(&plain))?;

    advertise(&world, "few", "{nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]}")?;
    for peer in PEERS {
        world.wait_told(peer, "n1", "10.66.0.1/32", |path| path.is_none())?;
        world.wait_told(peer, "n2", "10.66.0.2/32", |path| path.is_some())?;
    }
    // the node's label moves it
    world.label("n1", "rack: a")?;
    advertise(&world, "few", "{nodeSelectors: [{matchLabels: {rack: a}}]}")?;
    for peer in PEERS {
        world.wait_told(peer, "n1", "10.66.0.1/32", |path| path.is_some())?;
        world.wait_told(peer, "n2", "10.66.0.2/32", |path| path.is_none())?;
    }
    world.label("n2", "rack: a")?;
    told(&world, &PEERS, "10.66.0.2/32", Some(&plain))?;
    world.undisturbed(&[])
}

/// With `externalTrafficPolicy: Local`, only the nodes that serve, as their endpoints come and go.
#[test]
fn local_services() -> Result<()> {
    let world = World::get()?;
    advertise(&world, "all", "{}")?;
    let mut local = Service { local: true, ..Service::new("local", "ads", &world.lab.fabric) };
    for serving in [&["n1"][..], &["n1", "n2"], &["n2"], &[]] {
        local.endpoints = serving.iter().map(|name| (*name).to_owned()).collect();
        write(&world, &local, "10.66.0.9,fd00:66::9", "")?;
        for peer in PEERS {
            for node in world.lab.names() {
                let serves = serving.contains(&node.as_str());
                world.wait_told(peer, &node, "10.66.0.9/32", |path| path.is_some() == serves)?;
            }
        }
    }
    world.undisturbed(&[])
}

/// What a prefix should carry.
#[derive(Default)]
struct Wanted {
    local_pref: Option<u32>,
    communities: BTreeSet<&'static str>,
}

/// Waits until every node has told these peers' routers of the prefix with just these attributes; `None` for not at
/// all.
fn told(world: &World, peers: &[&str], prefix: &str, wanted: Option<&Wanted>) -> Result<()> {
    for peer in peers {
        let internal = INTERNAL.contains(peer) || matches!(*peer, "f10-v6" | "bd-v6");
        for node in world.lab.names() {
            world.wait_told(peer, &node, prefix, |path: Option<&Path>| match (path, wanted) {
                (None, None) => true,
                (Some(path), Some(wanted)) => {
                    let communities: BTreeSet<&str> = path.communities.iter().map(String::as_str).collect();
                    let default = wanted.local_pref.unwrap_or(100);
                    // a local preference never leaves the AS: what a router shows is its own
                    let preferred = match internal {
                        true => path.local_pref == Some(default),
                        false => path.local_pref.is_none_or(|pref| pref == 100),
                    };
                    communities == wanted.communities && preferred
                }
                _ => false,
            })?;
        }
    }
    Ok(())
}

fn advertise(world: &World, name: &str, spec: &str) -> Result<()> {
    world.lab.manifests.put(&format!("ad-{name}"), &object("BGPAdvertisement", name, spec))
}

/// A Service with these addresses and, maybe, a label.
fn service(world: &World, name: &str, addresses: &str, label: &str) -> Result<()> {
    write(world, &Service::new(name, "ads", &world.lab.fabric), addresses, label)
}

fn write(world: &World, service: &Service, addresses: &str, label: &str) -> Result<()> {
    let yaml = service.yaml(&world.lab.fabric);
    let wish = format!("metallb.io/loadBalancerIPs: \"{addresses}\"\n");
    let yaml = yaml.replacen("metallb.io/address-pool: ads\n", &wish, 1);
    let yaml = match label {
        "" => yaml,
        label => yaml.replacen(
            "  namespace: default\n",
            &format!("  namespace: default\n  labels: {{{label}}}\n"),
            1,
        ),
    };
    world.lab.manifests.put(&format!("service-{}", service.name), &yaml)
}
