//! A node's machine: processes and mounts of its own around the node's network namespace.
//!
//! Its first process is ours ([`live`]): it gives the machine a `/var` and a `/run` and then only buries the dead. All
//! others are started beside it. When it ends, the kernel ends every process of the machine, containers included, and
//! with the last one every mount is gone; so a node leaves nothing behind, however it ends.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{kubelet, runtime, store};
use crate::{
    bins,
    cluster::{Foundation, PATIENCE, plane},
    fabric::Node,
    process::{Running, Spawn},
    wait,
    warden::cgroup,
};

/// A running node. Its programs end in the order of the fields.
#[derive(Debug)]
pub struct Machine {
    /// kube-proxy.
    pub proxy: Running,
    /// The kubelet.
    pub kubelet: Running,
    /// containerd.
    pub containerd: Running,
    // the machine's first process; all others end with it
    first: Running,
    place: Place,
}

/// Where a machine is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `n1`.
    pub(super) name: String,
    /// Its directory; the machine's `/var` is in it.
    pub(super) dir: PathBuf,
    /// Its control group, as the kubelet knows it: `/fl1234/n1`.
    pub(super) cgroup: String,
    first: u32,
}

impl Machine {
    pub(super) fn start(base: &Foundation, node: &Node, store: &Path) -> Result<Self> {
        let warden = &base.fabric.warden;
        let dir = warden.make_dir(node.name())?;
        let cgroup = format!("{}/{}", warden.id(), node.name());
        cgroup::make(&cgroup)?;
        store::fill(&dir.join("var/lib/containerd"), store)?;
        let first = node
            .net
            .command("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(bins::own("lab")?)
            .arg("machine")
            .arg(&dir)
            .log(dir.join("machine.log"))
            .start(warden)?;
        first.wait_for_log(PATIENCE, UP)?;
        let place = Place {
            name: node.name().to_owned(),
            dir,
            cgroup: format!("/{cgroup}"),
            first: only_child(first.pid())?,
        };
        let containerd = runtime::start(&place, warden)?;
        let kubelet = kubelet::start(&place, base, node)?;
        let program = base.programs.program("kube-proxy");
        let proxy = place
            .command(&program.binary)
            .args(program.name)
            .args(plane::proxy_flags(base, &node.net))
            .log(place.dir.join("kube-proxy.log"))
            .start(warden)?;
        Ok(Self { proxy, kubelet, containerd, first, place })
    }

    /// Starts the kubelet again after [`Running::stop`].
    pub(super) fn start_kubelet(&mut self, base: &Foundation, node: &Node) -> Result<()> {
        self.kubelet = kubelet::start(&self.place, base, node)?;
        Ok(())
    }

    /// What containerd's own tool says to this.
    pub(super) fn ctr(&self, args: &[&str]) -> Result<String> {
        runtime::ctr(&self.place, args)
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// A program to be run on the machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Spawn {
        self.place.command(program)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // `unshare` lets no signal through; its only child takes them
        let first = i32::try_from(self.place.first).map(Pid::from_raw);
        if let (Ok(first), Ok(None)) = (first, self.first.ended()) {
            kill(first, Signal::SIGTERM).ok();
        }
        // what is left over is the warden's
        wait::until(PATIENCE, "the machine to end", || self.first.ended()).ok();
    }
}

impl Place {
    /// A program inside all of the machine's namespaces. It ends with the one that this process waits for.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Spawn {
        let target = self.first.to_string();
        Spawn::new("nsenter")
            .args(["--target", &target, "--mount", "--pid", "--net", "--"])
            .args(["setpriv", "--pdeathsig", "TERM", "--"])
            .arg(program.as_ref())
    }
}

const UP: &str = "the machine is up";

/// Kernel parameters that a kubelet sets when they differ. They are the whole kernel's and not the machine's, so the
/// machine sees files of its own there that hold what the kubelet wants.
const TUNED: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The life of a machine's first process, in namespaces made for it; ends on SIGTERM.
///
/// # Errors
/// When it is not the first process of its namespace, or the kernel refuses a mount.
pub fn live(dir: &Path) -> Result<()> {
    if std::process::id() != 1 {
        bail!("`lab machine` is the first process of a node: the harness starts it");
    }
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block()?;
    furnish(dir)?;
    eprintln!("{UP}");
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => bury()?,
            _ => return Ok(()),
        }
    }
}

fn furnish(dir: &Path) -> Result<()> {
    let (var, tuned) = (dir.join("var"), dir.join("tuned"));
    for below in ["lib", "log", "tmp", "cache"] {
        fs::create_dir_all(var.join(below))?;
    }
    match symlink("/run", var.join("run")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error)?,
        _ => {}
    }
    let none: Option<&str> = None;
    mount(Some(&var), "/var", none, MsFlags::MS_BIND, none).context("mount /var")?;
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).context("mount /run")?;
    fs::create_dir_all(&tuned)?;
    for (number, (parameter, value)) in TUNED.iter().enumerate() {
        let file = tuned.join(number.to_string());
        fs::write(&file, value)?;
        let target = Path::new("/proc/sys").join(parameter);
        mount(Some(&file), &target, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {}", target.display()))?;
    }
    Ok(())
}

fn bury() -> Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The process that `unshare` started.
pub(super) fn only_child(pid: u32) -> Result<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    text.trim().parse().with_context(|| format!("{file} holds {text:?} instead of one process"))
}
