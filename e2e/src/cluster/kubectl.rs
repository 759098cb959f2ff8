//! The real `kubectl`, as the cluster's administrator or as one of the product's accounts.

use std::{
    fmt::Display,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Foundation, programs::Programs};
use crate::process::{Running, Spawn};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What `kubectl kustomize` makes of a directory; needs no cluster.
///
/// # Errors
/// When the directory is not as kustomize wants it.
pub fn kustomize(dir: &Path) -> Result<String> {
    let programs = Programs::find()?;
    let program = programs.program("kubectl");
    Spawn::new(&program.binary).args(program.name).arg("kustomize").arg(dir).text()
}

/// `kubectl` with somebody's kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl<'a> {
    base: &'a Foundation,
    config: PathBuf,
}

impl<'a> Kubectl<'a> {
    pub(super) const fn new(base: &'a Foundation, config: PathBuf) -> Self {
        Self { base, config }
    }

    /// How it is called, for a shell that has its kubeconfig in the environment.
    #[must_use]
    pub fn line(&self) -> String {
        let program = self.base.programs.program("kubectl");
        format!("{} {}", program.binary.display(), program.name.unwrap_or_default())
    }

    /// Its kubeconfig.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Runs `kubectl` with these arguments and gives its standard output.
    ///
    /// # Errors
    /// When it ends with another status than 0; the message holds what it wrote.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let words = self.words();
        let (program, first) = words.split_first().context("kubectl has a name")?;
        Spawn::new(program).args(first).args(args).in_net(self.base.fabric.control.path()).text()
    }

    /// Runs lines as a user's shell would, in `dir`, up to the first that fails; gives what they printed.
    ///
    /// # Errors
    /// When a line fails; the message holds what it wrote.
    pub fn script(&self, dir: &Path, lines: &str) -> Result<String> {
        let bin = self.base.dir.join("bin");
        fs::create_dir_all(&bin)?;
        let words: Vec<String> = self.words().iter().map(|word| format!("'{word}'")).collect();
        let wrapper = bin.join("kubectl");
        fs::write(&wrapper, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        Spawn::new("sh")
            .args(["-euc", "PATH=$1:$PATH; cd \"$2\"; eval \"$3\"", "sh"])
            .args([bin.as_path(), dir])
            .arg(lines)
            .in_net(self.base.fabric.control.path())
            .limit(Duration::from_mins(3))
            .text()
            .with_context(|| format!("the lines\n{lines}"))
    }

    /// Starts `kubectl` with these arguments and lets it run; what it prints goes to a file of this name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str], log: &str) -> Result<Running> {
        let words = self.words();
        let (program, first) = words.split_first().context("kubectl has a name")?;
        let spawn = Spawn::new(program).args(first).args(args).in_net(self.base.fabric.control.path());
        spawn.log(self.base.dir.join(log)).start(&self.base.fabric.warden)
    }

    /// Its program, and the words before any other.
    fn words(&self) -> Vec<String> {
        let program = self.base.programs.program("kubectl");
        let mut words = vec![program.binary.display().to_string()];
        words.extend(program.name.map(str::to_owned));
        words.push(format!("--kubeconfig={}", self.config.display()));
        words.push(format!("--cache-dir={}", self.base.dir.join("kubectl").display()));
        words
    }

    /// The objects that `kubectl get <args>` finds, decoded.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], args].concat())?;
        serde_json::from_str(&text).context("decode what kubectl printed")
    }

    /// `kubectl apply -f` of these objects (YAML or JSON).
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn apply(&self, objects: &impl Display) -> Result<String> {
        self.apply_file(&self.write(objects)?)
    }

    /// `kubectl create -f` of these objects (YAML or JSON), and what the API server made of them.
    ///
    /// # Errors
    /// As [`Kubectl::run`], or when what it printed is no JSON.
    pub fn create(&self, objects: &impl Display) -> Result<Value> {
        let path = self.write(objects)?;
        // its own validation would ask for what an account may not see
        let text =
            self.run(&["create", "--validate=false", "-o", "json", "-f", &path.display().to_string()])?;
        serde_json::from_str(&text).context("decode what kubectl printed")
    }

    /// `kubectl apply -f FILE`.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn apply_file(&self, path: &Path) -> Result<String> {
        self.run(&["apply", "-f", &path.display().to_string()])
    }

    fn write(&self, objects: &impl Display) -> Result<PathBuf> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.base.dir.join(format!("objects-{number}.yaml"));
        fs::write(&path, objects.to_string()).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Merges `body` into the status of an object.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn patch_status(&self, object: &[&str], body: &Value) -> Result<()> {
        let body = body.to_string();
        self.run(&[&["patch"], object, &["--subresource=status", "--type=merge", "-p", &body]].concat())
            .map(drop)
    }
}
