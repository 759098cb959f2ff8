//! A delta makes of an FRR with the one model an FRR with the other: real daemons, the real driver.

use anyhow::{Context as _, Result};
use ferrolb::{
    frr::{self, Model},
    io::frr::{Paths, Report, Vty, drive},
};
use ferrolb_e2e::{
    frr::{Frr, Listens},
    models,
    netns::Net,
    wait,
    warden::Warden,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

const CASES: usize = 40;
const DEADLINE: Duration = Duration::from_secs(30);

/// One FRR goes from model to model by deltas. After each, what its daemons run is what those of an FRR run that was
/// started with the model's file; and both are read back as that model. No line is refused, or answered with a
/// warning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_deltas_or_from_the_file_is_the_same() -> Result<()> {
    let warden = Warden::start()?;
    let (one, two) = (Net::create(&warden, "driven")?, Net::create(&warden, "started")?);
    let driven = Frr::start(&warden, &one, Listens::No, &frr::render(&Model::default())?)?;
    let mut driver = Driver::start(&driven);
    let mut runner = TestRunner::deterministic();
    let mut before = Model::default();
    for case in 0..CASES {
        let model = models::model().new_tree(&mut runner).expect("a model").current();
        let text = frr::render(&model)?;
        let what = || format!("case {case}, from\n{}to\n{text}", frr::render(&before).unwrap_or_default());
        driver.go(&before, &model).await.with_context(what)?;
        let started = Frr::start(&warden, &two, Listens::No, &text)?;
        for daemon in ["bgpd", "bfdd"] {
            let driven = running_config(driven.vty_dir(), daemon).await?;
            let started = running_config(started.vty_dir(), daemon).await?;
            assert_same(&driven, &started, || format!("{daemon}, {}", what()));
        }
        for (way, frr) in [("driven", &driven), ("started", &started)] {
            let mut all = running_config(frr.vty_dir(), "bgpd").await?;
            all.push_str(&running_config(frr.vty_dir(), "bfdd").await?);
            let found = frr::read(&all);
            assert!(found.foreign.is_empty(), "{way}: {:?}, {}", found.foreign, what());
            assert!(found.model == model, "{way}: {:#?}\n{model:#?}\n{}\n{all}", found.model, what());
        }
        let show = "show running-config";
        assert_same(&driven.vtysh(show)?, &started.vtysh(show)?, || format!("vtysh, {}", what()));
        wait::until_true(DEADLINE, "frr.conf of the model", || {
            Ok(std::fs::read_to_string(driven.conf())? == text)
        })?;
        started.stop()?;
        before = model;
    }
    driver.stop().await;
    Ok(())
}

/// The driver, and what it reported.
struct Driver {
    desired: watch::Sender<Option<Arc<Model>>>,
    reports: mpsc::Receiver<Report>,
    task: tokio::task::JoinHandle<()>,
}

impl Driver {
    fn start(frr: &Frr) -> Self {
        let (desired, wanted) = watch::channel(None);
        let (sender, reports) = mpsc::channel(1000);
        let paths = Paths { vty_dir: frr.vty_dir().to_owned(), conf: frr.conf().to_owned() };
        Self { desired, reports, task: tokio::spawn(drive(paths, wanted, sender)) }
    }

    /// Sends `to`, and waits until it is applied.
    async fn go(&mut self, from: &Model, to: &Model) -> Result<()> {
        self.desired.send_replace(Some(Arc::new(to.clone())));
        let mut applied = frr::delta(from, to).is_empty();
        while !applied {
            match timeout(DEADLINE, self.reports.recv()).await.context("no report")?.context("ended")? {
                Report::Applied { .. } => applied = true,
                Report::Connected { foreign, .. } if foreign.is_empty() => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        Ok(())
    }

    async fn stop(self) {
        drop(self.desired);
        self.task.await.expect("no panic");
    }
}

async fn running_config(vty_dir: &Path, daemon: &str) -> Result<String> {
    let mut vty = Vty::open(&vty_dir.join(format!("{daemon}.vty"))).await?;
    let answers = vty.ask(&["show running-config"]).await?;
    Ok(answers.into_iter().next().context("no answer")?.text)
}

fn assert_same(driven: &str, started: &str, what: impl Fn() -> String) {
    let (driven, started) = (blocks(driven), blocks(started));
    let only = |a: &BTreeSet<Vec<String>>, b| a.difference(b).cloned().collect::<Vec<_>>();
    let (here, there) = (only(&driven, &started), only(&started, &driven));
    assert!(driven == started, "only driven: {here:#?}\nonly started: {there:#?}\n{}", what());
}

/// Every line with the lines that it stands under, as a set: daemons print the same things in different orders.
fn blocks(config: &str) -> BTreeSet<Vec<String>> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut lines = BTreeSet::new();
    for line in config.lines() {
        let text = line.trim();
        let depth = line.len() - line.trim_start().len();
        let silent = ["!", "exit", "end", "Building ", "Current "];
        if text.is_empty() || silent.iter().any(|word| text.starts_with(word)) {
            continue;
        }
        path.retain(|(above, _)| *above < depth);
        path.push((depth, text.to_owned()));
        lines.insert(path.iter().map(|(_, text)| text.clone()).collect());
    }
    lines
}
