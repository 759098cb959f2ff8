//! What users' raw lines have put into FRR and somebody takes out by hand: it is put back, by itself, and nobody notices.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    fabric::NODE_ASN,
    lab::{DEADLINE, DRIFT},
    wait,
};

use crate::world::{World, users};

/// Whatever somebody changes is put right within this time.
const REPAIRED: Duration = Duration::from_secs(60);

const LIST: &str = "ip prefix-list THEIRS seq 5 permit 10.201.0.0/16";
const ROUTE: &str = "ip route 192.0.2.0/24 blackhole";
const PATHS: &str = "bgp as-path access-list THEIRS seq 5 permit _65000_";

/// Lines at the top and below a neighbour's, of an FRRConfiguration and of `bgpextras`; those of another daemon on the
/// other node, where they cannot come back in the wake of bgpd's.
#[test]
fn raw_lines_that_somebody_takes_away_come_back() -> Result<()> {
    let world = World::get()?;
    let peer = world.address("f8-v4")?;
    let (router, family) = (format!("router bgp {NODE_ASN}"), "address-family ipv4 unicast");
    let pace = format!("neighbor {peer} advertisement-interval 1");
    let keep = format!("neighbor {peer} soft-reconfiguration inbound");
    let all = [LIST, ROUTE, PATHS, &pace, &keep];
    let raw = format!("{LIST}\\n{ROUTE}\\n{router}\\n {pace}\\n {family}\\n  {keep}\\n");
    let extras = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bgpextras\n  namespace: metallb-system\ndata:\n  \
         extras: |\n    {PATHS}\n"
    );
    let has = |node: &str, limit: Duration, wanted: bool| {
        wait::until_true(limit, &format!("all raw lines in the FRR of {node}: {wanted}"), || {
            let text = world.lab.frr(node)?.vtysh("show running-config")?;
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            ensure!(all.iter().all(|line| lines.contains(line) == wanted), "{text}");
            Ok(true)
        })
        .with_context(|| world.lab.logs())
    };
    let nodes = world.lab.names();
    let everywhere = |wanted| nodes.iter().try_for_each(|node| has(node, DEADLINE, wanted));
    let put = || {
        world.lab.manifests.put("raw", &users("raw", &format!("{{raw: {{rawConfig: \"{raw}\"}}}}")))?;
        world.lab.manifests.put("extras", &extras)
    };
    world.step(&[], put, || everywhere(true))?;

    let of_bgpd = format!("no {LIST}\nno {PATHS}\n{router}\nno {pace}\n{family}\nno {keep}");
    let take_away = || {
        nodes.iter().zip([of_bgpd, format!("no {ROUTE}")]).try_for_each(|(node, lines)| {
            world.lab.frr(node)?.vtysh(&format!("configure terminal\n{lines}"))?;
            Ok::<_, anyhow::Error>(())
        })
    };
    let logs = || nodes.iter().map(|node| world.lab.speaker_log(node)).collect::<Result<Vec<_>>>();
    let (start, before) = (wait::now(), logs()?);
    world.step(&[], take_away, || nodes.iter().try_for_each(|node| has(node, REPAIRED, true)))?;
    println!("put back after {:.1?}", start.elapsed());
    for ((node, log), before) in nodes.iter().zip(logs()?).zip(before) {
        let log = log.get(before.len()..).unwrap_or_default();
        let told = log.lines().filter(|line| line.contains(DRIFT));
        // once, and once more when the look fell between two of the lines
        ensure!((1..=2).contains(&told.count()), "{node}: {log}");
        ensure!(!log.contains("telling it again does not help"), "{node}: {log}");
    }

    world.lab.manifests.remove("raw")?;
    world.step(&[], || world.lab.manifests.remove("extras"), || everywhere(false))
}
