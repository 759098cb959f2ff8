//! Which binary serves as which Kubernetes program.
//!
//! Normally all of them are `e2e/cluster`'s one binary. A directory in `KUBEBUILDER_ASSETS` (etcd, kube-apiserver and
//! kubectl, as Kubernetes' own test set-up tools lay them out) takes precedence, program by program.

use std::{ffi::OsString, path::PathBuf, sync::OnceLock, time::Duration};

use anyhow::{Result, anyhow};

use crate::{bins, process::Spawn};

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    assets: Option<PathBuf>,
    built: PathBuf,
}

/// How a program is called: its binary, and the words before its own flags.
#[derive(Debug)]
pub(crate) struct Program {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Its name, when one binary is many programs.
    pub(crate) name: Option<&'static str>,
}

impl Programs {
    /// Builds what is not built yet; once per process.
    pub(crate) fn find() -> Result<Self> {
        static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let built = FOUND.get_or_init(|| build().map_err(|error| format!("{error:#}")));
        let built = built.as_ref().map_err(|text| anyhow!("{text}"))?.clone();
        Ok(Self { assets: assets().map(PathBuf::from), built })
    }

    /// The program of this name.
    pub(crate) fn program(&self, name: &'static str) -> Program {
        let asset = self.assets.as_ref().map(|dir| dir.join(name)).filter(|path| path.is_file());
        asset.map_or_else(
            || Program { binary: self.built.clone(), name: Some(name) },
            |binary| Program { binary, name: None },
        )
    }
}

fn build() -> Result<PathBuf> {
    let script = bins::checkout()?.join("e2e/cluster/build.sh");
    let path = Spawn::new(script).limit(Duration::from_mins(40)).text()?;
    Ok(PathBuf::from(path.trim()))
}

fn assets() -> Option<OsString> {
    std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty())
}
