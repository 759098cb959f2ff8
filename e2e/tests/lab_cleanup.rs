//! Whatever ends a lab, nothing of it is left.

use std::{path::Path, time::Duration};

use anyhow::Result;
use ferrolb_e2e::{
    bins,
    netns::Net,
    process::Spawn,
    wait,
    warden::{Warden, clean},
};
use nix::sys::signal::Signal;

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_dropped_lab_leaves_nothing() -> Result<()> {
    let warden = Warden::start()?;
    let (id, dir) = (warden.id().to_owned(), warden.dir().to_owned());
    let net = Net::create(&warden, "a")?;
    let inside = net.command("sleep").arg("1000").start(&warden)?;
    let pid = inside.pid();
    drop((inside, net, warden));
    assert!(!dir.exists() && !namespace(&id, "a").exists() && !Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

/// Kills a real harness in its midst, with a daemon inside a namespace that the harness itself did not start.
#[test]
fn a_killed_lab_leaves_nothing() -> Result<()> {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let warden = Warden::start()?;
        let log = warden.dir().join("victim.log");
        let victim = Spawn::new(bins::own("lab")?).arg("victim").log(&log).start(&warden)?;
        let id = victim.wait_for(DEADLINE, "the victim's lab", || {
            Ok(victim.log_text().lines().find_map(|line| line.strip_prefix("up ").map(str::to_owned)))
        })?;
        let dir = std::env::temp_dir().join(&id);
        assert!(dir.exists() && namespace(&id, "a").exists());
        let inside = Spawn::new("ip").args(["netns", "pids", &format!("{id}-a")]).text()?;
        assert_eq!(inside.lines().count(), 2, "a child and a grandchild live inside: {inside}");
        victim.signal(signal)?;
        wait::until_true(DEADLINE, "the directory to go", || Ok(!dir.exists()))?;
        assert!(!namespace(&id, "a").exists());
        for pid in inside.lines() {
            assert!(!clean::lives(pid.parse()?), "{pid} outlived {signal}");
        }
    }
    Ok(())
}

fn namespace(id: &str, role: &str) -> std::path::PathBuf {
    Path::new("/run/netns").join(format!("{id}-{role}"))
}
