//! The commands of `docs/migrate.md`, as they stand there: what the guide says is what the tests run.

use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    cluster::{Cluster, MetalLb, SYSTEM},
    process::Spawn,
};

/// The steps that the tests run; the guide marks each with `<!-- tried: NAME -->` above its lines.
const TRIED: [&str; 11] = [
    "versions",
    "save",
    "stop",
    "keep-frr-k8s",
    "stop-frr-k8s",
    "apply",
    "clean",
    "clean-frr-k8s",
    "compare",
    "back",
    "clean-back",
];

const NOT_TRIED: &str = "<!-- not tried -->";

fn text() -> Result<String> {
    let path = bins::checkout()?.join("docs/migrate.md");
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The shell lines of a step.
pub(crate) fn step(name: &str) -> Result<String> {
    let text = text()?;
    let start = format!("<!-- tried: {name} -->\n```sh\n");
    let (_, rest) = text.split_once(&start).with_context(|| format!("the guide has no step {name}"))?;
    let (lines, _) = rest.split_once("\n```").with_context(|| format!("step {name} does not end"))?;
    Ok(lines.to_owned())
}

/// Follows a step in a directory that holds what the guide's reader has: the manifests of both.
pub(crate) fn follow(cluster: &Cluster, metallb: &MetalLb, mode: &str, name: &str) -> Result<String> {
    let dir = cluster.fabric().warden.make_dir("desk")?;
    let manifests = bins::checkout()?.join("manifests");
    Spawn::new("cp").args([OsStr::new("-r"), manifests.as_os_str(), dir.as_os_str()]).text()?;
    fs::copy(metallb.manifest(mode), dir.join("metallb.yaml"))?;
    cluster.kubectl().script(&dir, &step(name)?).with_context(|| format!("step {name} of the guide"))
}

/// Installs MetalLB as its users do, with configuration objects. Its webhooks come last: where no kubelet runs, nobody
/// answers them, and nothing could be configured any more.
pub(crate) fn install_metallb(cluster: &Cluster, manifest: &Path, configuration: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let without_webhooks: Vec<String> = ferrolb_e2e::cluster::documents(manifest)?
        .into_iter()
        .filter(|document| !document.contains("kind: ValidatingWebhookConfiguration"))
        .collect();
    kubectl.apply(&without_webhooks.join("\n---\n"))?;
    cluster.wait_for_kinds()?;
    kubectl.apply(&configuration)?;
    kubectl.apply_file(manifest).map(drop)
}

/// Whether a user can change a pool.
pub(crate) fn pool_can_be_changed(cluster: &Cluster, value: &str) -> Result<()> {
    let label = format!("changed={value}");
    let kubectl = cluster.kubectl();
    kubectl.run(&["-n", SYSTEM, "label", "--overwrite", "ipaddresspools.metallb.io/lone", &label]).map(drop)
}

#[test]
fn every_line_of_the_guide_says_whether_it_was_tried() -> Result<()> {
    let text = text()?;
    let mut marks = BTreeSet::new();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1] == "```sh") {
        let tried = pair[0].strip_prefix("<!-- tried: ").and_then(|rest| rest.strip_suffix(" -->"));
        ensure!(tried.is_some() || pair[0] == NOT_TRIED, "{:?} stands above a block", pair[0]);
        marks.extend(tried);
    }
    assert_eq!(marks, BTreeSet::from(TRIED));
    Ok(())
}
