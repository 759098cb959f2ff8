//! Whatever ends a lab, nothing of it is left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    bins,
    netns::Net,
    process::{Running, Spawn},
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
        let victim = Victim::start(&warden, &std::env::temp_dir(), &[])?;
        assert!(victim.is_up());
        victim.process.signal(signal)?;
        wait::until_true(DEADLINE, "the directory to go", || Ok(!victim.dir.exists()))?;
        assert!(victim.is_gone(), "something outlived {signal}");
    }
    Ok(())
}

/// `lab down` without a name ends what was left up and what a crash left behind, and never the lab of a harness at
/// work; that one goes when it is named. In a directory of the test's own, since the labs of others are there too.
#[test]
fn down_leaves_the_living_alone() -> Result<()> {
    let warden = Warden::start()?;
    let tmp = warden.make_dir("tmp")?;
    let down =
        |name: &[&str]| Spawn::new(bins::own("lab")?).arg("down").args(name).env("TMPDIR", &tmp).text();
    let [working, crashed] = [Victim::start(&warden, &tmp, &[])?, Victim::start(&warden, &tmp, &[])?];
    let kept = Victim::start(&warden, &tmp, &["--kept"])?;
    // so that nobody is left to clean
    let cleaner = crashed.warden()?;
    Spawn::new("kill").args(["-KILL", &cleaner.to_string()]).text()?;
    crashed.process.kill()?;
    assert!(working.is_up() && kept.is_up() && crashed.dir.exists() && namespace(&crashed.id, "a").exists());

    down(&[])?;
    assert!(kept.is_gone() && crashed.is_gone());
    assert!(working.is_up() && working.process.ended()?.is_none(), "a lab in use was ended");

    down(&[&working.id])?;
    assert!(working.is_gone());
    Ok(())
}

/// A harness with a lab of one namespace, in which a child and a grandchild live.
struct Victim {
    process: Running,
    id: String,
    dir: PathBuf,
    inside: Vec<u32>,
}

impl Victim {
    /// Starts it, with its lab's directory in `tmp`.
    fn start(warden: &Warden, tmp: &Path, flags: &[&str]) -> Result<Self> {
        let log = warden.make_dir("victims")?;
        let log = log.join(fs::read_dir(&log)?.count().to_string());
        let spawn = Spawn::new(bins::own("lab")?).arg("victim").args(flags).env("TMPDIR", tmp);
        let process = spawn.log(log).start(warden)?;
        let id = process.wait_for(DEADLINE, "the victim's lab", || {
            Ok(process.log_text().lines().find_map(|line| line.strip_prefix("up ").map(str::to_owned)))
        })?;
        let inside = Spawn::new("ip").args(["netns", "pids", &format!("{id}-a")]).text()?;
        let inside = inside.lines().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { process, dir: tmp.join(&id), id, inside })
    }

    /// The process that cleans up after it.
    fn warden(&self) -> Result<u32> {
        let pid = self.process.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut children = children.split_whitespace().map(str::parse::<u32>).filter_map(Result::ok);
        let is_warden = |pid: &u32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split('\0').nth(1) == Some("warden")
        };
        children.find(is_warden).context("the victim has no warden")
    }

    fn is_up(&self) -> bool {
        let living = self.inside.iter().filter(|pid| clean::lives(**pid)).count();
        self.dir.exists() && namespace(&self.id, "a").exists() && living == 2
    }

    fn is_gone(&self) -> bool {
        let living = self.inside.iter().any(|pid| clean::lives(*pid));
        !(living || self.dir.exists() || namespace(&self.id, "a").exists())
    }
}

fn namespace(id: &str, role: &str) -> PathBuf {
    Path::new("/run/netns").join(format!("{id}-{role}"))
}
