//! The warden: one small process per lab that cleans up after it, however the lab ended.
//!
//! The lab notes what it makes in `<dir>/state` *before* (namespaces, control groups, paths) or right after (processes) making it.
//! The warden reads a pipe that only the harness holds open. When it closes (the lab was dropped, the test panicked,
//! the harness got Ctrl-C, SIGTERM or SIGKILL) the warden ends the noted processes by pid, and every process inside
//! the noted namespaces, deletes the namespaces and the noted control groups and removes the lab's directory. There is no second clean-up path.

pub mod cgroup;
pub mod clean;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};

use crate::{bins, process};

/// The beginning of every lab's name: of its namespaces and of its directory.
pub const PREFIX: &str = "fl";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A lab's name and directory, and the process that ends it.
#[derive(Debug)]
pub struct Warden {
    id: String,
    dir: PathBuf,
    state: Mutex<File>,
    process: Mutex<Option<Child>>,
}

impl Warden {
    /// Takes a free name, makes the lab's directory and starts the warden process.
    ///
    /// # Errors
    /// When there is no directory to be had, or the warden's binary is missing.
    pub fn start() -> Result<Arc<Self>> {
        let program = bins::own("lab")?;
        let (id, dir) = claim(&std::env::temp_dir())?;
        let mut state = OpenOptions::new().create(true).append(true).open(dir.join("state"))?;
        let me = std::process::id();
        writeln!(state, "owner {me} {}", clean::birth(me).context("find out when this process began")?)?;
        let args = [OsStr::new("warden"), dir.as_os_str()];
        let child = process::detached(&program, &args, &dir.join("warden.log"))?;
        if let Some(birth) = clean::birth(child.id()) {
            writeln!(state, "warden {} {birth}", child.id())?;
        }
        Ok(Arc::new(Self { id, dir, state: Mutex::new(state), process: Mutex::new(Some(child)) }))
    }

    /// The lab's name, which no other lab on this machine has.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The lab's directory: short enough for sockets, passable for everyone, removed at the end.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new directory inside [`Warden::dir`].
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }

    /// Notes a namespace that is about to be made.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn note_net(&self, name: &str) -> Result<()> {
        self.note(&format!("net {name}"))
    }

    /// Notes a process that was just started.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn note_process(&self, pid: u32) -> Result<()> {
        // with its birth, since the number alone may be another's when the lab ends; one that has ended needs no note
        clean::birth(pid).map_or(Ok(()), |birth| self.note(&format!("pid {pid} {birth}")))
    }

    /// Notes a directory that is about to be made at the top of every hierarchy of control groups.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn note_cgroup(&self, name: &str) -> Result<()> {
        self.note(&format!("cgroup {name}"))
    }

    /// Notes that the lab is left up for people: a `lab down` without a name may end it from now on.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn note_kept(&self) -> Result<()> {
        self.note("kept")
    }

    fn note(&self, line: &str) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(state, "{line}").context("write the lab's state")
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut process) = process {
            // wait() closes the pipe first, which is the sign to clean
            process.wait().ok();
        }
    }
}

/// A directory that nobody had: its making decides who has the name.
fn claim(parent: &Path) -> Result<(String, PathBuf)> {
    for _ in 0..1000 {
        let number = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let id = format!("{PREFIX}{:04x}", number % 0x1_0000);
        let dir = parent.join(&id);
        match fs::DirBuilder::new().mode(0o755).create(&dir) {
            Ok(()) => return Ok((id, dir)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("make {}", dir.display())),
        }
    }
    bail!("{} is full of labs: `lab down` ends those that nobody uses", parent.display())
}
