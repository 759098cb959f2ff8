//! Programs: started inside a namespace or outside, output to a file, stopped by their own pid.
//!
//! A long-running program is a [`Running`]; it is noted with the [`Warden`] so that it ends even when the harness
//! is killed. A short one is run with [`Spawn::text`]. Nothing here ends a process that it did not start.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{wait, warden::Warden};

/// How a program is to be started.
#[derive(Debug)]
pub struct Spawn {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    net: Option<PathBuf>,
    log: Option<PathBuf>,
    limit: Duration,
}

impl Spawn {
    /// A program by path, or by a name that `PATH` knows.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            net: None,
            log: None,
            limit: Duration::from_secs(60),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Inside the network namespace that this file names (`/run/netns/…`); [`crate::netns::Net::command`] sets it.
    #[must_use]
    pub fn in_net(mut self, file: impl Into<PathBuf>) -> Self {
        self.net = Some(file.into());
        self
    }

    /// Standard output and error are appended to this file; without it, a started program's output is dropped.
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// How long [`Spawn::text`] and [`Spawn::output`] let it run; a minute unless said otherwise.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it and lets it run.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(self, warden: &Warden) -> Result<Running> {
        let mut command = self.command(None);
        command.stdin(Stdio::null());
        match &self.log {
            Some(log) => {
                let out = append(log)?;
                command.stderr(out.try_clone()?).stdout(out);
            }
            None => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        let child = command.spawn().with_context(|| self.not_started())?;
        warden.note_process(child.id())?;
        let name =
            Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned();
        Ok(Running { name, pid: child.id(), log: self.log, child: Mutex::new(child) })
    }

    /// Runs it to its end and gives its standard output.
    ///
    /// # Errors
    /// When it cannot be started, or ends with another status than 0; the message holds what it wrote.
    pub fn text(self) -> Result<String> {
        let line = self.line();
        let output = self.output()?;
        if !output.status.success() {
            bail!(
                "`{line}` ended with {}: {}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end, whatever its status; status 124 means that the time limit ended it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(self) -> Result<Output> {
        self.command(Some(self.limit)).stdin(Stdio::null()).output().with_context(|| self.not_started())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place of the harness where processes begin")]
    fn command(&self, limit: Option<Duration>) -> Command {
        let mut words: Vec<&OsStr> = Vec::new();
        let seconds = limit.map(|limit| format!("{}", limit.as_secs_f64()));
        if let Some(seconds) = &seconds {
            words.extend(["timeout", "--kill-after=1", seconds].map(OsStr::new));
        }
        let net = self.net.as_ref().map(|file| format!("--net={}", file.display()));
        if let Some(net) = &net {
            // nsenter execs: the pid stays the one that we started, and mounts stay as they are
            words.extend(["nsenter", net, "--"].map(OsStr::new));
        }
        words.push(&self.program);
        let (program, first) =
            words.split_first().map_or((self.program.as_os_str(), &[][..]), |(p, rest)| (*p, rest));
        let mut command = Command::new(program);
        command.args(first).args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }

    fn not_started(&self) -> String {
        format!("start `{}` (is it installed? e2e/setup.sh installs what the lab needs)", self.line())
    }
}

/// A program that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    pid: u32,
    log: Option<PathBuf>,
    child: Mutex<Child>,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All that it has written so far.
    pub fn log_text(&self) -> String {
        let bytes = self.log.as_ref().and_then(|log| std::fs::read(log).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, when it has.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?)
    }

    /// Waits for a condition that this program brings about, and gives up at once when it ends instead.
    ///
    /// # Errors
    /// As [`wait::until`], with the end of the program's log.
    pub fn wait_for<T>(
        &self,
        deadline: Duration,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let mut died = None;
        let found = wait::until(deadline, what, || {
            died = self.ended()?;
            if died.is_some() { Ok(Some(None)) } else { Ok(look()?.map(Some)) }
        });
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => match died {
                Some(status) => {
                    bail!("{} ended with {status} while waiting for: {what}\n{}", self.name, self.tail())
                }
                None => bail!("{} ended while waiting for: {what}\n{}", self.name, self.tail()),
            },
            Err(error) => {
                Err(error.context(format!("{} (pid {}) says:\n{}", self.name, self.pid, self.tail())))
            }
        }
    }

    /// Waits until its log holds `text`.
    ///
    /// # Errors
    /// As [`Running::wait_for`].
    pub fn wait_for_log(&self, deadline: Duration, text: &str) -> Result<()> {
        let what = format!("{text:?} in the log of {}", self.name);
        self.wait_for(deadline, &what, || Ok(self.log_text().contains(text).then_some(())))
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// When it does not end by itself within half a minute.
    pub fn end(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        wait::until(Duration::from_secs(30), "the end after SIGTERM", || self.ended()).with_context(|| {
            format!("{} (pid {}) does not end by itself:\n{}", self.name, self.pid, self.tail())
        })
    }

    /// Asks it to end (SIGTERM) and, after five seconds, makes it end.
    ///
    /// # Errors
    /// When even SIGKILL does not end it.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match wait::until(Duration::from_secs(5), "the end after SIGTERM", || self.ended()) {
            Ok(status) => Ok(status),
            Err(_) => self.kill(),
        }
    }

    /// Ends it without asking (SIGKILL).
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        wait::until(Duration::from_secs(5), "the end after SIGKILL", || self.ended())
            .with_context(|| format!("{} (pid {}) does not end", self.name, self.pid))
    }

    /// Sends it a signal; one that has ended gets none, since its pid may be another's by now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // the lock is held while signalling: a child that nobody waits for keeps its pid
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.pid)?), signal)
                .with_context(|| format!("send {signal} to {} (pid {})", self.name, self.pid))?;
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // what is left over is the warden's
        self.stop().ok();
    }
}

/// Starts a program that outlives the harness's terminal: in a process group of its own, reading from a pipe whose
/// other end only the harness holds.
pub(crate) fn detached(program: &Path, args: &[&OsStr], log: &Path) -> Result<Child> {
    let out = append(log)?;
    Spawn::new(program)
        .args(args)
        .command(None)
        .process_group(0)
        .stdin(Stdio::piped())
        .stderr(out.try_clone()?)
        .stdout(out)
        .spawn()
        .with_context(|| format!("start {}", program.display()))
}

fn append(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))
}
