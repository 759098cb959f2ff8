//! Where the programs are: ours beside the running executable, others in `PATH`.
//!
//! A missing one is an error that says what makes it; nothing is skipped.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// The product's binary of this name: from `FERROLB_BIN_DIR` when it is set, else from the target directory that the
/// running executable is in.
///
/// # Errors
/// When it is not there.
pub fn product(name: &str) -> Result<PathBuf> {
    match bin_dir_from_environment() {
        Some(dir) => existing(dir.join(name), &format!("FERROLB_BIN_DIR has no {name}")),
        None => existing(target_dir()?.join(name), "build it with `cargo build -p ferrolb --bins`"),
    }
}

/// A binary of this crate, always from the target directory of the running executable.
///
/// # Errors
/// When it is not there.
pub fn own(name: &str) -> Result<PathBuf> {
    existing(target_dir()?.join(name), "build it with `cargo build -p ferrolb-e2e --bins`")
}

/// A program of the operating system.
///
/// # Errors
/// When none of the usual directories has it.
pub fn tool(name: &str) -> Result<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/lib/frr"]
        .iter()
        .map(|dir| PathBuf::from(dir).join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed: run e2e/setup.sh as root"))
}

/// The root of this repository's checkout.
///
/// # Errors
/// When this crate's directory has no parent.
pub fn checkout() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).context("the crate lies at the root of the file system")
}

fn target_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("find the running executable")?;
    let dir = exe.parent().context("the executable has no directory")?;
    // test executables lie in deps/, one below
    let dir =
        if dir.ends_with("deps") || dir.ends_with("examples") { dir.parent().unwrap_or(dir) } else { dir };
    Ok(dir.to_owned())
}

fn existing(path: PathBuf, remedy: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} does not exist: {remedy}", path.display());
    }
    Ok(path)
}

#[expect(clippy::disallowed_methods, reason = "the harness's one read of its environment")]
fn bin_dir_from_environment() -> Option<PathBuf> {
    std::env::var("FERROLB_BIN_DIR").ok().map(PathBuf::from)
}
