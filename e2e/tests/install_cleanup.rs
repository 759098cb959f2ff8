//! `make cluster` comes up with a working product; whatever ends it, nothing of it is left.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{bins, process::Spawn, wait, warden::Warden};

/// The whole way up, on a machine that builds something else at the same time.
const UP: Duration = Duration::from_mins(3);

/// Whatever the warden waits for, and some.
const DOWN: Duration = Duration::from_secs(90);

#[test]
fn a_killed_cluster_leaves_nothing() -> Result<()> {
    let tuned = fs::read_to_string("/proc/sys/kernel/panic")?;
    let warden = Warden::start()?;
    let log = warden.dir().join("cluster.log");
    let cluster = Spawn::new(bins::own("lab")?).arg("cluster").log(&log).start(&warden)?;
    cluster.wait_for(UP, "the cluster to be up", || {
        // the last line of what it says
        Ok(cluster.log_text().contains("or Ctrl-C here").then_some(()))
    })?;
    eprintln!("{}", cluster.log_text());
    let text = cluster.log_text();
    let temporary = format!("export KUBECONFIG={}/", std::env::temp_dir().display());
    let (_, rest) = text.split_once(&temporary).context("no KUBECONFIG in what it said")?;
    let (id, _) = rest.split_once('/').context("a KUBECONFIG outside a lab")?;
    assert!(!groups(id)?.is_empty());
    cluster.kill()?;

    let dir = std::env::temp_dir().join(id);
    wait::until_true(DOWN, "the directory to go", || Ok(!dir.exists()))?;
    assert_eq!(groups(id)?, [""; 0]);
    // the warden itself ends a moment after it
    wait::until_true(DOWN, "its processes to end", || {
        let left = processes(id)?;
        ensure!(left.is_empty(), "these run: {left:?}");
        Ok(true)
    })?;
    assert!(!fs::read_to_string("/proc/mounts")?.contains(id));
    assert!(
        !fs::read_dir("/run/netns")?.flatten().any(|net| net.file_name().to_string_lossy().starts_with(id))
    );
    assert_eq!(fs::read_to_string("/proc/sys/kernel/panic")?, tuned, "a kubelet's wish reached the machine");
    Ok(())
}

/// The control groups of a lab.
fn groups(id: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for hierarchy in fs::read_dir("/sys/fs/cgroup")? {
        let group = hierarchy?.path().join(id);
        if group.exists() {
            found.push(group.display().to_string());
        }
    }
    if Path::new("/sys/fs/cgroup").join(id).exists() {
        found.push(id.to_owned());
    }
    Ok(found)
}

/// What runs with the lab's name in its command line or in its control groups.
fn processes(id: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let text = |file| fs::read_to_string(process.path().join(file)).unwrap_or_default();
        if text("cmdline").contains(id) || text("cgroup").contains(id) {
            found.push(text("cmdline"));
        }
    }
    Ok(found)
}
