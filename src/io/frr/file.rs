//! `frr.conf` on disk: what FRR starts from when it, or the node, starts again.
//!
//! Written whole and put in place by a rename, so that FRR never reads half of it; only its owner may read it, for
//! it holds passwords. A file of somebody else is kept beside it under another name, and never overwritten. What is
//! on the disk is looked at now and then: whoever spoils the file or deletes it would do so to the next start of FRR.

use super::Report;
use crate::frr::{Model, render};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// The shortest and the longest pause before a file that could not be written is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Between two files: who starts FRR anew finds in it what was wanted a second ago, and the rest is told by the driver.
/// Writing thousands of lines to a disk for each of a thousand Services would hold up everybody else who writes there.
const PACE: Duration = Duration::from_secs(1);

/// How often the file is compared with what was written.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// Keeps `path` in step with `wanted` until its sender is gone, and looks `every` so often whether it still is what was
/// written. Renders and writes on a thread of its own: a model that comes while one is being written waits, and only
/// the newest is written then.
pub(super) async fn keep(
    path: PathBuf,
    mut wanted: watch::Receiver<Option<Arc<Model>>>,
    reports: mpsc::Sender<Report>,
    every: Duration,
) {
    let mut last = None;
    // told once for each time that it begins; tried again until it works
    let mut failing: Option<Duration> = None;
    let mut ended = false;
    loop {
        let model = wanted.borrow_and_update().clone();
        if let Some(model) = model {
            let (path, before) = (path.clone(), last);
            let task = tokio::task::spawn_blocking(move || refresh(&path, &model, before));
            let result = task.await.context("the thread that writes ended").and_then(|result| result);
            match result {
                Ok(digest) => (last, failing) = (Some(digest), None),
                Err(error) => {
                    if failing.is_none() {
                        // nobody left to tell is no reason to stop
                        let _ = reports.send(Report::Unwritten { error }).await;
                    }
                    failing = Some(failing.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1)));
                }
            }
        }
        if ended {
            return;
        }
        let mut due = failing.is_some();
        let rest = async {
            while wanted.changed().await.is_ok() {
                due = true;
            }
        };
        ended = timeout(failing.unwrap_or(PACE), rest).await.is_ok();
        if due {
            continue;
        }
        if ended || !rest_until_due(&mut wanted, &path, last, every).await {
            return;
        }
    }
}

/// Waits until there is something to write: another model, or a file that is not as it was left. False when nobody
/// wants a file any more.
async fn rest_until_due(
    wanted: &mut watch::Receiver<Option<Arc<Model>>>,
    path: &Path,
    last: Option<Written>,
    every: Duration,
) -> bool {
    loop {
        match timeout(every, wanted.changed()).await {
            Ok(changed) => return changed.is_ok(),
            Err(_) => {
                let path = path.to_owned();
                let strange = move || last.is_some_and(|last| !is_as_left(&path, last));
                // a panic there is met again, and told, where it is written
                if tokio::task::spawn_blocking(strange).await.unwrap_or(true) {
                    return true;
                }
            }
        }
    }
}

/// The SHA-256 of a text that was written: less to keep than thousands of lines.
type Written = [u8; 32];

/// Whether the file is what was written last.
fn is_as_left(path: &Path, last: Written) -> bool {
    std::fs::read(path).is_ok_and(|held| Written::from(Sha256::digest(held)) == last)
}

/// Whether nobody but its owner may read it.
fn is_private(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 == 0)
}

/// Writes the model unless the file holds its text; `before` is what was written last.
fn refresh(path: &Path, model: &Model, before: Option<Written>) -> Result<Written> {
    let text = render(model).context("render frr.conf")?;
    let digest = Sha256::digest(&text).into();
    if is_as_left(path, digest) && is_private(path) {
        return Ok(digest);
    }
    let strange = before.is_some_and(|before| !is_as_left(path, before));
    if let Some(saved) = save(path).with_context(|| format!("keep what {} holds", path.display()))? {
        tracing::warn!(
            file = %path.display(),
            saved = %saved.display(),
            "frr.conf was somebody else's: it is kept under another name, and replaced"
        );
    } else if strange {
        tracing::warn!(
            file = %path.display(),
            "somebody else has changed or deleted frr.conf: it is written again"
        );
    }
    write(path, text.as_bytes()).with_context(|| format!("write {}", path.display()))?;
    Ok(digest)
}

/// How the first line of every file that we write begins.
const HEADER: &[u8] = b"! Written by FerroLB.";

/// Gives the file at `path` a second name, which it keeps, unless we have written it or it is empty. A name that
/// another content has is left to that; a number makes the next.
fn save(path: &Path) -> Result<Option<PathBuf>> {
    let content = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        content => content?,
    };
    if content.is_empty() || content.starts_with(HEADER) {
        return Ok(None);
    }
    let name = path.file_name().context("not the path of a file")?;
    let mut number = 1_u32;
    loop {
        let mut other = name.to_owned();
        other.push(".saved");
        if number > 1 {
            other.push(format!(".{number}"));
        }
        let saved = path.with_file_name(other);
        // a link is there whole or not at all, and takes no name from another file
        match std::fs::hard_link(path, &saved) {
            Ok(()) => return Ok(Some(saved)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        if std::fs::read(&saved).is_ok_and(|held| held == content) {
            return Ok(Some(saved));
        }
        number = number.checked_add(1).context("too many saved files")?;
    }
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
    use crate::io::{settings::LogLevel, telemetry::tests::lines};
    use std::os::unix::fs::MetadataExt;

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

    /// What others wrote is still there afterwards, each content once; what we wrote is not kept.
    #[test]
    fn a_file_of_somebody_else_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frr.conf");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        for text in ["", "router bgp 1\n", "router bgp 2\n", "router bgp 1\n"] {
            std::fs::write(&path, text).unwrap();
            refresh(&path, &Model::default(), None).unwrap();
            assert_eq!(read("frr.conf"), render(&Model::default()).unwrap());
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(read("frr.conf.saved"), "router bgp 1\n");
        assert_eq!(read("frr.conf.saved.2"), "router bgp 2\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    /// A directory that appears later gets its file without any further change of the model.
    #[tokio::test]
    async fn a_file_that_could_not_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/frr.conf");
        let (model, wanted) = watch::channel(Some(Arc::new(Model::default())));
        let (to, mut reports) = mpsc::channel(4);
        let keeper = tokio::spawn(keep(path.clone(), wanted, to, LOOK));
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

    /// Whoever changes or deletes the file is told of, once, and it is as it was; a file that is as it should be is
    /// not even touched.
    #[test]
    fn a_spoilt_file_is_told_of_once_and_an_equal_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frr.conf");
        let model = Model::default();
        let last = refresh(&path, &model, None).unwrap();
        let inode = || std::fs::metadata(&path).unwrap().ino();
        for spoil in [
            |path: &Path| std::fs::write(path, "! Written by FerroLB.\nrouter bgp 1\n").unwrap(),
            |path: &Path| std::fs::write(path, "").unwrap(),
            |path: &Path| std::fs::remove_file(path).unwrap(),
            |path: &Path| std::fs::write(path, "router bgp 1\n").unwrap(),
        ] {
            spoil(&path);
            assert!(!is_as_left(&path, last));
            let mut first = 0;
            let lines = lines(LogLevel::Info, || {
                refresh(&path, &model, Some(last)).unwrap();
                first = inode();
                refresh(&path, &model, Some(last)).unwrap();
            });
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!((&line["level"], &line["file"]), (&"warn".into(), &path.to_str().unwrap().into()));
            assert!(is_as_left(&path, last));
            assert_eq!(inode(), first, "an equal file was written again");
        }
        // a new start, on the file that is there, and on one that everybody may read
        let inode_before = inode();
        assert!(lines(LogLevel::Info, || _ = refresh(&path, &model, None).unwrap()).is_empty());
        assert_eq!(inode(), inode_before);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(lines(LogLevel::Info, || _ = refresh(&path, &model, None).unwrap()).is_empty());
        assert!(is_private(&path));
        // and another model is no fault of anybody
        let other = Model { leaving: true, ..model };
        assert!(lines(LogLevel::Info, || _ = refresh(&path, &other, Some(last)).unwrap()).is_empty());
    }

    /// Nothing else has to change for that.
    #[tokio::test]
    async fn a_spoilt_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frr.conf");
        let (model, wanted) = watch::channel(Some(Arc::new(Model::default())));
        let (to, _reports) = mpsc::channel(4);
        let keeper = tokio::spawn(keep(path.clone(), wanted, to, Duration::from_millis(10)));
        for _ in 0..2 {
            let whole = async {
                while std::fs::read_to_string(&path).unwrap_or_default() != render(&Model::default()).unwrap()
                {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), whole).await.unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        drop(model);
        keeper.await.unwrap();
    }

    /// The file is written at most once in a while, and at the end it has what was wanted last.
    #[tokio::test]
    async fn what_comes_in_a_row_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frr.conf");
        let (model, wanted) = watch::channel(Some(Arc::new(Model::default())));
        let (to, _reports) = mpsc::channel(4);
        let keeper = tokio::spawn(keep(path.clone(), wanted, to, LOOK));
        let appears = async {
            while !path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), appears).await.unwrap();
        let first = std::fs::metadata(&path).unwrap().ino();
        let last = Model { leaving: true, ..Model::default() };
        model.send_replace(Some(Arc::new(last.clone())));
        tokio::time::timeout(PACE / 4, model.closed()).await.unwrap_err();
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), first, "too soon");
        drop(model);
        keeper.await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), render(&last).unwrap());
    }
}
