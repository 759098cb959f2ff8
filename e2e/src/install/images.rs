//! The images that the nodes run: archives that `e2e/images/build.sh` makes once per content and keeps.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{bins, process::Spawn};

/// A small program for Pods of the tests: `pause`, or `serve NAME PORT`, which answers as [`crate::pod`] does.
pub const POD: &str = "ferrolb.test/pod:1";

/// Archives, as `ctr images import` takes them.
#[derive(Clone, Debug)]
pub struct Images {
    archives: Vec<PathBuf>,
}

impl Images {
    /// Builds what is not built yet; once per process.
    ///
    /// # Errors
    /// When a tool is missing or a build fails; the message holds what it wrote.
    pub fn find() -> Result<Self> {
        static FOUND: OnceLock<Result<Images, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| build().map_err(|error| format!("{error:#}")));
        found.clone().map_err(|text| anyhow!("{text}"))
    }

    /// The directory that everything about them is kept in.
    ///
    /// # Errors
    /// When there are none.
    pub fn cache(&self) -> Result<&Path> {
        let archive = self.archives.first().context("there are no images")?;
        archive.parent().and_then(Path::parent).context("an archive outside the cache")
    }

    /// The archives, in the order in which they were named.
    pub fn archives(&self) -> impl Iterator<Item = &Path> {
        self.archives.iter().map(PathBuf::as_path)
    }
}

fn build() -> Result<Images> {
    let script = bins::checkout()?.join("e2e/images/build.sh");
    let text = Spawn::new(script).limit(Duration::from_mins(30)).text().context("build the images")?;
    Ok(Images { archives: text.lines().map(PathBuf::from).collect() })
}
