//! An installation on real nodes: how long it takes until an address answers, what its containers hold, and what its
//! life costs whoever uses it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::memory::Memory;
use crate::{
    install::{Installation, life, witness::Seen},
    tor::{BirdTor, FrrTor},
    wait,
};

/// What runs in which container; FRR's share one.
const CONTAINERS: [(&str, &[&str]); 3] = [
    ("controller", &["controller"]),
    ("speaker", &["speaker"]),
    ("frr", &["zebra", "bgpd", "bfdd", "staticd"]),
];

/// Measures, and tells each finding as one line; the last one holds the figures that are compared.
///
/// # Errors
/// When a step does not end well.
pub fn run(tell: &mut dyn FnMut(&str)) -> Result<()> {
    let start = wait::now();
    let mut installation = Installation::start(3)?;
    let fabric = installation.cluster.fabric();
    let routers = (FrrTor::start(fabric)?, BirdTor::start(fabric)?);
    installation.serve("web")?;
    tell(&format!("three nodes and their Pods are Ready after {:.1} s", start.elapsed().as_secs_f64()));
    let (first, all, addresses) = life::install(&installation)?;
    tell(&format!(
        "kubectl apply -> the first address answers: {:.1} s, all four: {:.1} s",
        first.as_secs_f64(),
        all.as_secs_f64()
    ));
    let mut last = |seen: &Seen| tell(&seen.to_string());
    let away = Duration::from_mins(2);
    let seen = life::happenings(&mut installation, &routers.0, &addresses, away, &mut last)?;
    let mut memory = Vec::new();
    for (container, programs) in CONTAINERS {
        let most = most(&installation, programs)?;
        tell(&format!("{container:<10} {most}"));
        memory.push(most.now);
    }
    let retracted = life::retract(&installation, (&routers.0, &routers.1), &addresses)?;
    tell(&format!("BGPAdvertisements deleted: no route at a router after {:.1} s", retracted.as_secs_f64()));
    installation.uninstall("ferrolb.yaml", None)?;
    let (flat, _) = life::gone(&installation, (&routers.0, &routers.1), &addresses)?;
    tell(&format!("uninstalled: no answer on the flat segment after {:.1} s", flat.as_secs_f64()));
    let failed = |what: &str| -> usize {
        let steps = seen.iter().filter(|seen| seen.step.starts_with(what));
        steps.map(|seen| seen.bgp.failed + seen.l2.failed).sum()
    };
    let [controller, speaker, ..] = *memory else { return Err(anyhow::anyhow!("memory was not read")) };
    tell(&format!(
        "install first_vip_s={:.1} restart_failed_requests={} upgrade_failed_requests={} controller_mb={controller:.1} \
         speaker_mb={speaker:.1}",
        first.as_secs_f64(),
        failed("restart"),
        failed("upgrade")
    ));
    Ok(())
}

/// What these programs hold together on the node where they hold most.
fn most(installation: &Installation, programs: &[&str]) -> Result<Memory> {
    let mut most = Memory::default();
    for node in installation.cluster.fabric().nodes.iter().map(crate::fabric::Node::name) {
        let mut sum = Memory::default();
        for program in programs {
            for pid in installation.processes_on(node, program)? {
                let memory = Memory::of(pid)?;
                sum = Memory { now: sum.now + memory.now, peak: sum.peak + memory.peak };
            }
        }
        if sum.now > most.now {
            most = sum;
        }
    }
    (most.now > 0.0).then_some(most).with_context(|| format!("{programs:?} do not run"))
}
