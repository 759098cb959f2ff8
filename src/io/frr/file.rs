//! `frr.conf` on disk: what FRR starts from when it, or the node, starts again.
//!
//! Written whole and put in place by a rename, so that FRR never reads half of it; only its owner may read it, for
//! it holds passwords.

use super::Report;
use crate::frr::{Model, render};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// The shortest and the longest pause before a file that could not be written is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Keeps `path` in step with `wanted` until its sender is gone. Renders and writes on a thread of its own: a model
/// that comes while one is being written waits, and only the newest is written then.
pub(super) async fn keep(
    path: PathBuf,
    mut wanted: watch::Receiver<Option<Arc<Model>>>,
    reports: mpsc::Sender<Report>,
) {
    let mut last = None;
    // told once for each time that it begins; tried again until it works
    let mut failing: Option<Duration> = None;
    loop {
        let model = wanted.borrow_and_update().clone();
        if let Some(model) = model {
            let (path, before) = (path.clone(), last);
            let task = tokio::task::spawn_blocking(move || refresh(&path, &model, before));
            let result = task.await.context("the thread that writes ended").and_then(|result| result);
            match result {
                Ok(digest) => (last, failing) = (Some(digest), None),
                Err(error) => {
                    last = None;
                    if failing.is_none() {
                        // nobody left to tell is no reason to stop
                        let _ = reports.send(Report::Unwritten { error }).await;
                    }
                    failing = Some(failing.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1)));
                }
            }
        }
        let again = async {
            match failing {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = again => {}
        }
    }
}

/// The SHA-256 of a text that was written: less to keep than thousands of lines.
type Written = [u8; 32];

/// Writes the model unless its text is `before`.
fn refresh(path: &Path, model: &Model, before: Option<Written>) -> Result<Written> {
    let text = render(model).context("render frr.conf")?;
    let digest = Sha256::digest(&text).into();
    if before != Some(digest) {
        write(path, text.as_bytes()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(digest)
}

/// Replaces the file `path`: afterwards it holds `content`, or what it held before.
///
/// # Errors
/// The directory cannot be written to.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.file_name().context("not the path of a file")?.to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // left over from a crash, perhaps with other rights
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        // the rename itself must survive a power cut
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frr.conf");
        std::fs::write(&path, "old").unwrap();
        std::fs::write(dir.path().join("frr.conf.new"), "half").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// A directory that appears later gets its file without any further change of the model.
    #[tokio::test]
    async fn a_file_that_could_not_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/frr.conf");
        let (model, wanted) = watch::channel(Some(Arc::new(Model::default())));
        let (to, mut reports) = mpsc::channel(4);
        let keeper = tokio::spawn(keep(path.clone(), wanted, to));
        assert!(matches!(reports.recv().await, Some(Report::Unwritten { .. })));
        std::fs::create_dir(dir.path().join("later")).unwrap();
        let written = async {
            while !path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
        drop(model);
        keeper.await.unwrap();
        assert!(reports.try_recv().is_err(), "told once");
    }
}
