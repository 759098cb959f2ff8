//! One FRR, started by the product's own `frr/start`: on a node as the product ships it, or as a router that listens;
//! of this machine's version, or of FRR 10 in a root of its own.
//!
//! Each has directories and mounts of its own: `e2e/frr/enter.sh` makes them.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    bins,
    netns::Net,
    process::{Running, Spawn},
    wait,
    warden::{Warden, clean},
};

/// A running FRR: zebra, bgpd, bfdd (and mgmtd where the version has it).
#[derive(Debug)]
pub struct Frr {
    process: Running,
    vty_dir: PathBuf,
    conf: PathBuf,
    dir: PathBuf,
    root: Option<PathBuf>,
}

/// Which FRR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The machine's own: 8.4 on Debian 12.
    #[default]
    Own,
    /// FRR 10, in the root that `e2e/frr/build.sh` makes.
    Ten,
}

/// How an FRR is to be started.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Which one.
    pub version: Version,
    /// Whether it waits for calls.
    pub listens: Listens,
    /// VRFs by name, each a network namespace: for kernels without VRFs.
    pub vrfs: &'a [(&'a str, &'a Net)],
}

/// Whether bgpd waits for peers that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// As a router does.
    Yes,
    /// The same, at another port.
    Port(u16),
    /// As the product's nodes do: with the options of the product's `frr/daemons`.
    No,
}

impl Frr {
    /// Starts it in a namespace, with this configuration ("" for none), and waits until it has loaded it.
    ///
    /// # Errors
    /// When FRR is not installed, or does not come up.
    pub fn start(warden: &Warden, net: &Net, listens: Listens, conf: &str) -> Result<Self> {
        Self::start_as(&Setup { version: Version::Own, listens, vrfs: &[] }, warden, net, conf)
    }

    /// The same, of another version or with VRFs.
    ///
    /// # Errors
    /// As [`Frr::start`].
    pub fn start_as(setup: &Setup<'_>, warden: &Warden, net: &Net, conf: &str) -> Result<Self> {
        let dir = Self::prepare(warden, net, setup)?;
        if !conf.is_empty() {
            write_conf(&dir.join("frr.conf"), conf)?;
        }
        Self::resume_as(setup, warden, net)
    }

    /// Starts it again on the frr.conf that is there, as after a reboot of the node.
    ///
    /// # Errors
    /// As [`Frr::start`]; it must have run before.
    pub fn resume(warden: &Warden, net: &Net) -> Result<Self> {
        Self::resume_as(&Setup { version: Version::Own, listens: Listens::No, vrfs: &[] }, warden, net)
    }

    /// The same, of another version or with VRFs.
    ///
    /// # Errors
    /// As [`Frr::resume`].
    pub fn resume_as(setup: &Setup<'_>, warden: &Warden, net: &Net) -> Result<Self> {
        let root = match setup.version {
            Version::Own => {
                bins::tool("bgpd")?;
                bins::tool("vtysh")?;
                None
            }
            Version::Ten => Some(root()?),
        };
        let dir = warden.dir().join(net.role()).join("frr");
        let (vty_dir, conf) = (dir.join("run"), dir.join("frr.conf"));
        let inside = inside(root.as_deref(), &dir);
        let log = dir.join("frr.log");
        // a log of its own per run: the words that tell of readiness must be this run's
        fs::remove_file(&log).ok();
        let checkout = bins::checkout()?;
        let vrfs = setup.vrfs.iter().map(|(name, net)| {
            let mut word = OsString::from(format!("{name}="));
            word.push(net.path());
            word
        });
        let process = net
            .command("unshare")
            .arg("--mount")
            .arg(checkout.join("e2e/frr/enter.sh"))
            .arg(root.as_deref().unwrap_or_else(|| Path::new("/")))
            .arg(&dir)
            .arg(checkout.join("frr/start"))
            .args(vrfs)
            .env("FRR_CONFIG_DIR", inside.join("etc"))
            .env("FRR_CONF", inside.join("frr.conf"))
            .env("FRR_VTY_DIR", inside.join("run"))
            .log(&log)
            .start(warden)?;
        process.wait_for(wait::START, "FRR's daemons to answer", || {
            let text = process.log_text();
            Ok(text
                .lines()
                .any(|line| line.starts_with("frr/start:") && line.ends_with(" run"))
                .then_some(()))
        })?;
        Ok(Self { process, vty_dir, conf, dir, root })
    }

    /// The directory of its vty sockets: the speaker's `--frr-vty-dir`.
    pub fn vty_dir(&self) -> &Path {
        &self.vty_dir
    }

    /// Its frr.conf: the speaker's `--frr-conf`.
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// The start script's process, which ends when a daemon ends.
    pub fn process(&self) -> &Running {
        &self.process
    }

    /// The pid of one of its daemons.
    ///
    /// # Errors
    /// When the daemon has written none.
    pub fn daemon_pid(&self, daemon: &str) -> Result<u32> {
        let file = self.vty_dir.join(format!("{daemon}.pid"));
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        text.trim().parse().with_context(|| format!("{} holds no pid", file.display()))
    }

    /// What `vtysh` answers to a command.
    ///
    /// # Errors
    /// When FRR does not answer, or refuses.
    pub fn vtysh(&self, command: &str) -> Result<String> {
        let inside = inside(self.root.as_deref(), &self.dir);
        let vtysh = self.beside("vtysh");
        let vtysh = vtysh.arg("--vty_socket").arg(inside.join("run"));
        vtysh.arg("--config_dir").arg(inside.join("etc")).args(["-c", command]).text()
    }

    /// The same for a command that ends in `json`.
    ///
    /// # Errors
    /// As [`Frr::vtysh`], or when the answer is no JSON.
    pub fn json(&self, command: &str) -> Result<Value> {
        let text = self.vtysh(command)?;
        serde_json::from_str(&text).with_context(|| format!("`{command}` answered {text:?}"))
    }

    /// What the probe of its container finds when it is to wait five seconds: nothing, or the fault.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn check(&self) -> Result<Option<String>> {
        let inside = inside(self.root.as_deref(), &self.dir);
        let check = match self.root {
            None => self.beside(bins::checkout()?.join("frr/check")),
            Some(_) => self.beside("/mnt/product/check"),
        };
        let check = check.env("FRR_CONFIG_DIR", inside.join("etc")).env("FRR_VTY_DIR", inside.join("run"));
        let output = check.env("FRR_CHECK_LIMIT", "5").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!output.status.success()).then_some(said))
    }

    /// A program of the same root: what is of the same version is only visible from where the daemons are.
    fn beside(&self, program: impl AsRef<OsStr>) -> Spawn {
        match self.root {
            None => Spawn::new(program),
            Some(_) => {
                let target = self.process.pid().to_string();
                Spawn::new("nsenter").args(["--target", &target, "--mount", "--root"]).arg(program)
            }
        }
    }

    /// Stops it, as its container would be stopped.
    ///
    /// # Errors
    /// When it does not end by itself, or not as one that was told to: daemons may live on, which the next start would
    /// meet.
    pub fn stop(&self) -> Result<()> {
        let end = self.process.end()?;
        ensure!(end.success(), "frr/start ended with {end}: {}", self.process.log_text());
        Ok(())
    }

    /// Kills some of its daemons (SIGKILL), in this order and at once, and waits until all of it has ended: the start
    /// script ends the others, as it does when a daemon crashes.
    ///
    /// # Errors
    /// As [`Frr::strike`], or when the script ends as if nothing had happened.
    pub fn kill(&self, daemons: &[&str]) -> Result<()> {
        self.strike(daemons)?;
        self.wait_for_end()
    }

    /// Kills some of its daemons, and waits for nothing.
    ///
    /// # Errors
    /// When one of them does not run.
    pub fn strike(&self, daemons: &[&str]) -> Result<()> {
        // all are looked up first: the first one's death is the sign for the script to end the others
        let alive = daemons.iter().map(|daemon| {
            let pid = self.daemon_pid(daemon)?;
            Ok((pid, clean::birth(pid).with_context(|| format!("{daemon} does not run"))?))
        });
        for (pid, birth) in alive.collect::<Result<Vec<_>>>()? {
            clean::send(pid, birth, Signal::SIGKILL);
        }
        Ok(())
    }

    /// Waits until all of it has ended after [`Frr::strike`].
    ///
    /// # Errors
    /// When the script does not end, or as if nothing had happened.
    pub fn wait_for_end(&self) -> Result<()> {
        let end = wait::until(wait::START, "the end of frr/start", || self.process.ended())?;
        ensure!(!end.success(), "frr/start ended with {end}");
        Ok(())
    }

    /// Kills all of it (SIGKILL) at once, the start script first, as the end of its container would; nobody tidies up.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill_all(&self) -> Result<()> {
        let mut all = vec![self.process.pid()];
        let mut at = 0;
        while let Some(parent) = all.get(at).copied() {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            let children = children.with_context(|| format!("the children of {parent}"))?;
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            at += 1;
        }
        let all: Vec<(u32, u64)> =
            all.into_iter().filter_map(|pid| Some((pid, clean::birth(pid)?))).collect();
        for (pid, birth) in &all {
            clean::send(*pid, *birth, Signal::SIGKILL);
        }
        wait::until(wait::START, "the end of frr/start", || self.process.ended())?;
        wait::until_true(wait::START, "the end of FRR's daemons", || {
            Ok(!all.iter().any(|(pid, birth)| clean::birth(*pid) == Some(*birth) && clean::lives(*pid)))
        })
    }

    fn prepare(warden: &Warden, net: &Net, setup: &Setup<'_>) -> Result<PathBuf> {
        let dir = warden.make_dir(&format!("{}/frr", net.role()))?;
        let (run, etc) = (dir.join("run"), dir.join("etc"));
        fs::create_dir_all(&run)?;
        fs::create_dir_all(&etc)?;
        let shipped = bins::checkout()?.join("frr");
        let mut daemons = fs::read_to_string(shipped.join("daemons")).context("read frr/daemons")?;
        match setup.listens {
            Listens::No => {}
            Listens::Yes => daemons.push_str("bgpd_options=\"-P 0\"\n"),
            Listens::Port(port) => daemons.push_str(&format!("bgpd_options=\"-P 0 -p {port}\"\n")),
        }
        if !setup.vrfs.is_empty() {
            daemons.push_str("zebra_options=\"$zebra_options -n\"\n");
        }
        fs::write(etc.join("daemons"), daemons)?;
        fs::copy(shipped.join("vtysh.conf"), etc.join("vtysh.conf"))?;
        Ok(dir)
    }
}

/// Where an FRR sees its directory.
fn inside(root: Option<&Path>, dir: &Path) -> PathBuf {
    root.map_or_else(|| dir.to_owned(), |_| PathBuf::from("/mnt/frr"))
}

/// The root with FRR 10, made when it is not there; once per process.
fn root() -> Result<PathBuf> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let script = bins::checkout().map(|checkout| checkout.join("e2e/frr/build.sh"));
        let path = script.and_then(|script| Spawn::new(script).limit(Duration::from_mins(10)).text());
        path.map(|path| PathBuf::from(path.trim())).map_err(|error| format!("{error:#}"))
    });
    root.clone().map_err(|text| anyhow!("{text}"))
}

fn write_conf(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o640))?;
    Ok(())
}
