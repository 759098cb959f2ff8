//! One FRR, started by the product's own `frr/start`: on a node as the product ships it, or as a router that listens.
//!
//! Each has directories of its own, and a mount of its own over `/var/run/frr`, since newer versions have sockets
//! whose path no option changes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
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
    config_dir: PathBuf,
}

/// Whether bgpd waits for peers that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// As a router does.
    Yes,
    /// As the product's nodes do: with the options of the product's `frr/daemons`.
    No,
}

impl Frr {
    /// Starts it in a namespace, with this configuration ("" for none), and waits until it has loaded it.
    ///
    /// # Errors
    /// When FRR is not installed, or does not come up.
    pub fn start(warden: &Warden, net: &Net, listens: Listens, conf: &str) -> Result<Self> {
        let dir = Self::prepare(warden, net, listens)?;
        if !conf.is_empty() {
            write_conf(&dir.join("frr.conf"), conf)?;
        }
        Self::resume(warden, net)
    }

    /// Starts it again on the frr.conf that is there, as after a reboot of the node.
    ///
    /// # Errors
    /// As [`Frr::start`]; it must have run before.
    pub fn resume(warden: &Warden, net: &Net) -> Result<Self> {
        bins::tool("bgpd")?;
        bins::tool("vtysh")?;
        let dir = warden.dir().join(net.role()).join("frr");
        let (vty_dir, conf, config_dir) = (dir.join("run"), dir.join("frr.conf"), dir.join("etc"));
        let log = dir.join("frr.log");
        // a log of its own per run: the words that tell of readiness must be this run's
        fs::remove_file(&log).ok();
        let process = net
            .command("unshare")
            .args([
                "--mount",
                "sh",
                "-c",
                "mkdir -p /var/run/frr && mount --bind \"$1\" /var/run/frr && exec \"$2\"",
                "sh",
            ])
            .arg(&vty_dir)
            .arg(bins::checkout()?.join("frr/start"))
            .env("FRR_CONFIG_DIR", &config_dir)
            .env("FRR_CONF", &conf)
            .env("FRR_VTY_DIR", &vty_dir)
            .log(&log)
            .start(warden)?;
        process.wait_for(Duration::from_secs(20), "FRR's daemons to answer", || {
            let text = process.log_text();
            Ok(text
                .lines()
                .any(|line| line.starts_with("frr/start:") && line.ends_with(" run"))
                .then_some(()))
        })?;
        Ok(Self { process, vty_dir, conf, config_dir })
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
        let vtysh = Spawn::new("vtysh").arg("--vty_socket").arg(&self.vty_dir);
        vtysh.arg("--config_dir").arg(&self.config_dir).args(["-c", command]).text()
    }

    /// The same for a command that ends in `json`.
    ///
    /// # Errors
    /// As [`Frr::vtysh`], or when the answer is no JSON.
    pub fn json(&self, command: &str) -> Result<Value> {
        let text = self.vtysh(command)?;
        serde_json::from_str(&text).with_context(|| format!("`{command}` answered {text:?}"))
    }

    /// What the probe of its container finds when it is to wait a second: nothing, or the fault.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn check(&self) -> Result<Option<String>> {
        let check = Spawn::new(bins::checkout()?.join("frr/check")).env("FRR_CONFIG_DIR", &self.config_dir);
        let output = check.env("FRR_VTY_DIR", &self.vty_dir).env("FRR_CHECK_LIMIT", "1").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!output.status.success()).then_some(said))
    }

    /// Stops it, as its container would be stopped.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&self) -> Result<()> {
        self.process.stop().map(drop)
    }

    /// Kills some of its daemons (SIGKILL), in this order and at once, and waits until all of it has ended: the start
    /// script ends the others, as it does when a daemon crashes.
    ///
    /// # Errors
    /// When one of them does not run, or the script ends as if nothing had happened.
    pub fn kill(&self, daemons: &[&str]) -> Result<()> {
        // all are looked up first: the first one's death is the sign for the script to end the others
        let alive = daemons.iter().map(|daemon| {
            let pid = self.daemon_pid(daemon)?;
            Ok((pid, clean::birth(pid).with_context(|| format!("{daemon} does not run"))?))
        });
        for (pid, birth) in alive.collect::<Result<Vec<_>>>()? {
            clean::send(pid, birth, Signal::SIGKILL);
        }
        let end = wait::until(Duration::from_secs(20), "the end of frr/start", || self.process.ended())?;
        ensure!(!end.success(), "frr/start ended with {end}");
        Ok(())
    }

    fn prepare(warden: &Warden, net: &Net, listens: Listens) -> Result<PathBuf> {
        let dir = warden.make_dir(&format!("{}/frr", net.role()))?;
        let (run, etc) = (dir.join("run"), dir.join("etc"));
        fs::create_dir_all(&run)?;
        fs::create_dir_all(&etc)?;
        let shipped = bins::checkout()?.join("frr");
        let mut daemons = fs::read_to_string(shipped.join("daemons")).context("read frr/daemons")?;
        if listens == Listens::Yes {
            daemons.push_str("bgpd_options=\"-P 0\"\n");
        }
        fs::write(etc.join("daemons"), daemons)?;
        fs::copy(shipped.join("vtysh.conf"), etc.join("vtysh.conf"))?;
        Ok(dir)
    }
}

fn write_conf(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o640))?;
    Ok(())
}
