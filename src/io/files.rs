//! The manifest directory: the same objects as an API server would serve, read from the YAML of `DIR/*.yaml`, and the
//! statuses beside them, in `DIR/status/services/`.
//!
//! One task reads and writes, so that the two cannot cross; the disk and the parser keep a thread of their own busy
//! meanwhile, never one that answers others. A directory has no API server in front of it: serde fills
//! in the defaults, and what the schemas would refuse (bounds, enums, CEL) is `config::parse`'s to find. A document
//! that does not parse keeps the objects that were read from it last. Sub-directories other than `status` and files
//! whose name begins with a dot are not read.

mod directory;
mod drain;
mod flow;
mod manifest;
pub(super) mod naming;
mod problems;
mod states;
mod status;

pub use drain::drain;
pub use problems::write as write_problems;
pub use states::run as write_states;

use super::{
    observe::{Change, Observed, Role},
    write::{Status, Wrote},
};
use anyhow::Context;
use directory::Directory;
use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use std::{io, path::Path, time::Duration};
use tokio::{
    sync::mpsc::{Receiver, Sender},
    time::{sleep, timeout},
};

/// Where statuses are, below the directory.
const STATUS: &str = "status";

/// Where the statuses of Services are, below the directory.
const SERVICES: &str = "status/services";

/// Changes come in bursts: so long must it be quiet before the directory is read.
const QUIET: Duration = Duration::from_millis(10);

/// But no longer than this.
const LONGEST: Duration = Duration::from_millis(200);

/// Reads the directory at once and after every change of it, for ever, and carries out every [`Status`]; a speaker is
/// given none. Returns when nobody listens any more.
///
/// Every reading is told as a listing of each kind that `role` needs. Cancelled in the middle, the directory is as
/// before: files are written whole, under another name first.
///
/// # Errors
/// When the directory is not there at the start, or the kernel refuses to watch it. Later it may go and come back.
pub async fn run(
    dir: &Path,
    namespace: &str,
    role: Role,
    to: Sender<Change>,
    mut statuses: Option<(Receiver<Status>, Sender<Wrote>)>,
) -> anyhow::Result<()> {
    let inotify = Inotify::init().context("watch a directory")?;
    let mut watches = inotify.watches();
    let mut events = inotify.into_event_stream(vec![0; 4096]).context("watch a directory")?;
    let mut watch = || -> io::Result<()> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        watches.add(dir, mask).map_err(|fault| blame("watch", dir, &fault))?;
        for below in [STATUS, SERVICES] {
            let path = dir.join(below);
            match watches.add(&path, mask) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
                    return Err(blame("watch", &path, &fault));
                }
                _ => {}
            }
        }
        Ok(())
    };
    watch().with_context(|| format!("--manifests={}", dir.display()))?;
    let mut directory = Directory::new(dir, namespace, role);
    let mut missing = false;
    loop {
        let writes = statuses.is_some();
        let watched = watch();
        let read = aside(directory, move |directory| {
            let changes = watched.and_then(|()| directory.read())?;
            if writes {
                directory.sweep();
            }
            Ok::<_, io::Error>(changes)
        });
        let changes;
        (directory, changes) = read.await?;
        match changes {
            Ok(changes) => {
                if std::mem::take(&mut missing) {
                    tracing::info!(dir = %dir.display(), "the manifests are read again");
                }
                for change in changes {
                    if to.send(change).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Err(fault) => {
                if !std::mem::replace(&mut missing, true) {
                    tracing::error!(dir = %dir.display(), %fault, "cannot read the manifests; what was read last stands");
                }
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        }
        loop {
            // Statuses first: each makes events of its own, and one reading after the last of them is enough.
            tokio::select! {
                biased;
                Some(status) = next(&mut statuses) => {
                    let write = aside(directory, move |directory| {
                        let result = directory.write(&status);
                        Wrote { key: status.key, result }
                    });
                    let answer;
                    (directory, answer) = write.await?;
                    if let Some((_, wrote)) = &statuses
                        && wrote.send(answer).await.is_err()
                    {
                        return Ok(());
                    }
                }
                event = events.next() => {
                    event.context("the kernel's watch ended")?.context("watch a directory")?;
                    let quiet = async { while let Ok(Some(Ok(_))) = timeout(QUIET, events.next()).await {} };
                    // Somebody who never stops writing is read in between.
                    let _ = timeout(LONGEST, quiet).await;
                    break;
                }
                () = to.closed() => return Ok(()),
            }
        }
    }
}

/// What the directory says now, once and without changing anything: for a command that prints.
///
/// # Errors
/// When the directory cannot be read.
pub fn read(dir: &Path, namespace: &str, role: Role) -> anyhow::Result<Observed> {
    let changes =
        Directory::new(dir, namespace, role).read().with_context(|| format!("read {}", dir.display()))?;
    let mut observed = Observed::new(role);
    for change in changes {
        observed.apply(change);
    }
    Ok(observed)
}

/// Does `work` on a thread that may wait for the disk: thousands of objects take seconds, in which ARP, NDP and probes
/// want their answers. A cancelled caller does not stop it, but nobody sees the directory any more.
async fn aside<T: Send + 'static>(
    mut directory: Directory,
    work: impl FnOnce(&mut Directory) -> T + Send + 'static,
) -> anyhow::Result<(Directory, T)> {
    let both = move || {
        let done = work(&mut directory);
        (directory, done)
    };
    tokio::task::spawn_blocking(both).await.context("the thread of the manifests ended")
}

async fn next(statuses: &mut Option<(Receiver<Status>, Sender<Wrote>)>) -> Option<Status> {
    match statuses {
        Some((statuses, _)) => statuses.recv().await,
        None => None,
    }
}

/// `fault`, which came when somebody was `doing` something to `path`, with what would mend it.
fn blame(doing: &str, path: &Path, fault: &io::Error) -> io::Error {
    let above = path.ancestors().skip(1).find(|path| path.symlink_metadata().is_ok());
    let cure = match above {
        Some(above) if !above.is_dir() => {
            format!(": {} is there, but is no directory, which it must be", above.display())
        }
        Some(above) if fault.kind() == io::ErrorKind::PermissionDenied && doing == "write" => {
            let above = above.display();
            format!(": the user that this runs as needs the rights w and x on the directory {above}")
        }
        _ if fault.kind() == io::ErrorKind::PermissionDenied => {
            ": the user that this runs as needs the right r on it, and x on what it is in".into()
        }
        _ => String::new(),
    };
    io::Error::new(fault.kind(), format!("{doing} {}: {fault}{cure}", path.display()))
}

/// Writes `text` to `path`, below directories that are made where they lack, so that a reader sees the old file or the
/// new one, never a part.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|fault| {
        // What is left is hidden, and goes with the next try.
        let _ = std::fs::remove_file(&temporary);
        blame("write", path, &fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root may do everything, so that the fault itself is made up.
    #[test]
    fn a_missing_right_is_told_with_the_directory_that_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = blame("write", &dir.path().join("status/services/a.b.yaml"), &denied).to_string();
        assert!(told.starts_with("write ") && told.contains("/status/services/a.b.yaml: "), "{told}");
        let cure = format!("needs the rights w and x on the directory {}", dir.path().display());
        assert!(told.ends_with(&cure), "{told}");
        let told = blame("watch", dir.path(), &denied).to_string();
        assert!(told.ends_with("needs the right r on it, and x on what it is in"), "{told}");
    }
}
