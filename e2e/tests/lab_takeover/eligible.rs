//! Who may answer, when what the API says of nodes, of the Service or of the advertisement changes: judged by who does.

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    flat::{Flat, POOL},
    lab::DEADLINE,
    neighbour::Claim,
    objects::{self, Service},
    wait,
};

use crate::{PAUSE, QUIET, addresses, served};

const SERVICE: &str = "eligible";

/// Puts a Node with these lines of its labels and conditions.
fn node(lab: &Flat, name: &str, label: &str, condition: &str) -> Result<()> {
    let node = objects::node(lab.fabric.node(name)?);
    let label = format!("  labels:\n    {label}\n");
    let condition = format!("  conditions:\n  - {condition}\n");
    let text = node.replacen("  labels:\n", &label, 1).replacen("  conditions:\n", &condition, 1);
    assert!(text.contains(&label) && text.contains(&condition), "{text}");
    lab.manifests.put(&format!("node-{name}"), &text)
}

const LABEL: &str = "lab: \"1\"";
const READY: &str = "{type: PIDPressure, status: \"False\"}";

#[test]
fn who_may_answer() -> Result<()> {
    // one of its own: where it fails, not all may answer
    let mut lab = Flat::start(3, &["172.30.0.200-172.30.0.209", "fd00:30::200-fd00:30::209"], "")?;
    let ips = addresses(205)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = served(&mut lab, SERVICE, &ips, &watch)?;
    let [(first, _), (second, _), (third, _)] = order.as_slice() else { return Ok(()) };
    let ad = |more: &str| lab.manifests.put("advertisements", &(objects::l2_advertisement(POOL) + more));
    let of = |name: &str| format!("matchLabels: {{kubernetes.io/hostname: {name}}}");
    let local = |endpoints: &str| {
        let endpoints = vec![endpoints.to_owned()];
        let service =
            Service { endpoints, local: true, pool: POOL, ..Service::new(SERVICE, POOL, &lab.fabric) };
        lab.manifests.put(&format!("service-{SERVICE}"), &service.yaml(&lab.fabric))
    };
    let any = || {
        let service = Service::new(SERVICE, POOL, &lab.fabric);
        lab.manifests.put(&format!("service-{SERVICE}"), &service.yaml(&lab.fabric))
    };
    let answers = |what: &str, name: &str| -> Result<()> {
        let mac = &order.iter().find(|(node, _)| node == name).context("no such node")?.1;
        let since = wait::since_epoch()?;
        // both may answer for a moment: the one goes on until it knows of the other
        for ip in ips {
            watch.settled(ip, mac, since, QUIET).with_context(|| format!("{what}\n{}", lab.logs()))?;
        }
        Ok(())
    };

    node(&lab, first, LABEL, "{type: NetworkUnavailable, status: \"True\"}")?;
    answers("its network is unavailable", second)?;
    node(&lab, first, LABEL, "{type: NetworkUnavailable, status: \"False\"}")?;
    answers("its network is available", first)?;
    node(&lab, first, "node.kubernetes.io/exclude-from-external-load-balancers: \"\"", READY)?;
    answers("it is labelled to be excluded", second)?;
    node(&lab, first, LABEL, READY)?;
    answers("it is not any more", first)?;
    ad(&format!("  nodeSelectors:\n  - {}\n  - {}\n", of(second), of(third)))?;
    answers("the advertisement is for others", second)?;
    ad(&format!(
        "  preferredNodeSelectors:\n  - {{weight: 1, preference: {{{}}}}}\n  - {{weight: 2, preference: {{{}}}}}\n",
        of(second),
        of(third)
    ))?;
    answers("another one is preferred", third)?;
    ad("")?;
    answers("nobody is", first)?;
    local(second)?;
    answers("local traffic alone, and the pods are elsewhere", second)?;
    any()?;
    answers("any traffic", first)?;

    let since = wait::since_epoch()?;
    ad("  serviceSelectors:\n  - matchLabels: {app: another}\n")?;
    wait::until_true(DEADLINE, "silence", || {
        let since = wait::since_epoch()?.saturating_sub(QUIET).max(since);
        let quiet = wait::since_epoch()?.saturating_sub(since) >= QUIET;
        let ours = |claim: &Claim| ips.contains(&claim.ip) && claim.at >= since;
        Ok(quiet && !watch.claims()?.iter().any(ours))
    })?;
    ad("")?;
    answers("the advertisement is for it again", first)
}
