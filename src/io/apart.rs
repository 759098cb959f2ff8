//! A task on a thread of its own, with a runtime of its own: whatever else this program computes, it is not late.

use anyhow::Context;
use std::{future::Future, thread};
use tokio::sync::oneshot;

/// Runs what `task` makes on a thread of this name until it ends. Dropping the future lets it go on: it has to notice
/// by itself that nobody needs it any more.
pub(super) async fn apart<F>(
    name: &'static str,
    task: impl FnOnce() -> F + Send + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let (ended, end) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let run = |runtime: tokio::runtime::Runtime| runtime.block_on(async { task().await });
        let _ = ended.send(runtime.with_context(|| format!("make a runtime for {name}")).and_then(run));
    });
    thread.with_context(|| format!("start the thread of {name}"))?;
    end.await.with_context(|| format!("the thread of {name} panicked"))?
}
