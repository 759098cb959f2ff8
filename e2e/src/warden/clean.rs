//! What the warden does when the pipe closes, and `lab down` when the warden itself is gone.
//!
//! Only what the state names is touched: processes by pid and birth, processes inside the lab's own namespaces, the
//! namespaces, the control groups, the directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{PREFIX, cgroup};
use crate::{process::Spawn, wait};

/// How long whoever is asked to end may take.
const GRACE: Duration = Duration::from_secs(3);

/// The same for the kernel, on a machine that is short of time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The warden's whole life: wait until the harness lets go of the pipe, then clean.
///
/// # Errors
/// When something is left over.
pub fn watch(dir: &Path) -> Result<()> {
    // nothing is ever written; the read ends when the last writer is gone
    std::io::stdin().read_to_end(&mut Vec::new()).context("read the pipe")?;
    clean(dir)
}

/// Ends and removes all that the state in `dir` names, and `dir`.
///
/// # Errors
/// When something is left over; `dir` then stays, so that `lab down` can try again.
pub fn clean(dir: &Path) -> Result<()> {
    let state = State::read(dir)?;
    end_processes(&state)?;
    for net in &state.nets {
        if Path::new("/run/netns").join(net).exists() {
            Spawn::new("ip").args(["netns", "delete", net]).text()?;
        }
    }
    for name in &state.cgroups {
        // a process that was killed leaves its group a moment later than it ends
        wait::until(PATIENCE, "the control groups to go", || cgroup::remove(name).map(Some))?;
    }
    fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}

/// Ends the lab of this name or, without a name, the labs that nobody uses any more: those that were left up on purpose,
/// and those whose harness is dead. Every other lab belongs to a harness at work, and is left alone. A harness that
/// lives is asked to end, and its warden cleans; where neither lives, this cleans. Gives the names of those ended.
///
/// # Errors
/// When a lab stays, or there is none of this name.
pub fn down(only: Option<&str>) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    for (id, dir) in labs()? {
        let state = match State::read(&dir) {
            Ok(state) => state,
            // ended by itself meanwhile
            Err(_) if !dir.exists() => continue,
            Err(error) => return Err(error),
        };
        if only.map_or_else(|| !state.left_over(), |only| only != id) {
            continue;
        }
        if let Some((owner, birth)) = state.owner {
            send(owner, birth, Signal::SIGTERM);
        }
        // as long as there is a warden that cleans
        let over = || Ok(!dir.exists() || !state.is_watched());
        wait::until_true(GRACE + PATIENCE * 3, "the warden to clean", over).ok();
        if dir.exists() {
            clean(&dir)?;
        }
        ended.push(id);
    }
    match only {
        Some(only) if ended.is_empty() => bail!("there is no lab {only}"),
        _ => Ok(ended),
    }
}

/// Every lab on this machine, with its directory.
///
/// # Errors
/// When the directory for temporary files cannot be read.
pub fn labs() -> Result<BTreeMap<String, PathBuf>> {
    let mut labs = BTreeMap::new();
    for entry in fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && entry.path().join("state").is_file() {
            labs.insert(name, entry.path());
        }
    }
    Ok(labs)
}

/// When the process began, in the kernel's ticks; with the pid it names a process for good.
#[must_use]
pub fn birth(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name, in parentheses, may hold anything; the start time is the 22nd field, the 20th after it
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[derive(Debug, Default)]
struct State {
    owner: Option<(u32, u64)>,
    warden: Option<(u32, u64)>,
    /// Whether its owner only waits for `lab down`.
    kept: bool,
    processes: BTreeSet<(u32, u64)>,
    nets: BTreeSet<String>,
    cgroups: BTreeSet<String>,
}

impl State {
    fn read(dir: &Path) -> Result<Self> {
        let file = dir.join("state");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let mut state = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["owner", pid, birth] => state.owner = Some((pid.parse()?, birth.parse()?)),
                ["warden", pid, birth] => state.warden = Some((pid.parse()?, birth.parse()?)),
                ["kept"] => state.kept = true,
                ["pid", pid, birth] => {
                    state.processes.insert((pid.parse()?, birth.parse()?));
                }
                ["net", name] => {
                    state.nets.insert((*name).to_owned());
                }
                ["cgroup", name] => {
                    state.cgroups.insert((*name).to_owned());
                }
                // a harness that was killed while writing leaves half a line
                _ => {}
            }
        }
        Ok(state)
    }

    /// Whether nobody uses the lab any more. Without an owner in its state it is just being made.
    fn left_over(&self) -> bool {
        self.kept || self.owner.is_some_and(|owner| !is_alive(owner))
    }

    /// Whether its owner lives, or the warden, who cleans up after it.
    fn is_watched(&self) -> bool {
        self.owner.into_iter().chain(self.warden).any(is_alive)
    }

    /// The noted processes that still live, and all that live inside the lab's namespaces.
    fn living(&self) -> Result<BTreeSet<(u32, u64)>> {
        let mut living: BTreeSet<(u32, u64)> =
            self.processes.iter().copied().filter(|(pid, born)| birth(*pid) == Some(*born)).collect();
        let inodes: BTreeSet<(u64, u64)> =
            self.nets.iter().filter_map(|net| inode(&Path::new("/run/netns").join(net))).collect();
        for entry in fs::read_dir("/proc")? {
            let Ok(entry) = entry else { continue };
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let inside = inode(&entry.path().join("ns/net")).is_some_and(|inode| inodes.contains(&inode));
            if let Some(born) = birth(pid).filter(|_| inside) {
                living.insert((pid, born));
            }
        }
        living.retain(|(pid, _)| lives(*pid));
        Ok(living)
    }
}

fn end_processes(state: &State) -> Result<()> {
    for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, PATIENCE)] {
        for (pid, born) in state.living()? {
            send(pid, born, signal);
        }
        if wait::until_true(patience, "the end of the lab's processes", || Ok(state.living()?.is_empty()))
            .is_ok()
        {
            return Ok(());
        }
    }
    bail!("these processes do not end: {:?}", state.living()?)
}

/// Sends a signal to the process of this pid and birth; to none when it has ended.
pub fn send(pid: u32, born: u64, signal: Signal) {
    if birth(pid) == Some(born)
        && let Ok(pid) = i32::try_from(pid)
    {
        // one that has just ended is as good as one that the signal ends
        kill(Pid::from_raw(pid), signal).ok();
    }
}

/// Whether the process of this pid and birth runs.
fn is_alive((pid, born): (u32, u64)) -> bool {
    birth(pid) == Some(born) && lives(pid)
}

/// Whether the process runs; a zombie does not, it is its parent's to bury.
#[must_use]
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    // a namespace file may be a link whose target has no path; metadata follows it all the same
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}
