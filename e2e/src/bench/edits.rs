//! What random edits of the objects cost those that did not change: sessions, and prefixes that stayed wanted.
//!
//! One node with the product's FRR, four sessions: IPv4 and IPv6 with the FRR router and with BIRD. Each edit changes one
//! object of the manifest directory, and marks what everyone is told all the time; then the node's sessions are watched
//! until each of the routers was told what it should know, computed here from the objects and the statuses. Judged is
//! every UPDATE on the wire, and every end of a session. In the end FRR's running configuration is compared with that of
//! an FRR which started afresh.

mod judge;
mod objects;
mod users;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bins,
    capture::{Capture, Frame},
    fabric::{BIRD, TOR},
    frr::{Frr, Listens},
    lab::{DEADLINE, DRIFT, Lab},
    netns::Net,
    process::Spawn,
    updates::{ends, updates},
    wait,
};
use judge::{Counts, Passed, Verdict};
use objects::{Edited, Objects, Random, Told};

/// The captures begin anew after so many edits: each look reads them whole.
const BLOCK: usize = 50;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many edits.
    pub edits: usize,
    /// What decides which.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { edits: 1000, seed: 1 }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Sessions that were dropped although their own settings had not changed.
    pub sessions_dropped: usize,
    /// Withdrawals of prefixes that were wanted before and after.
    pub stray_withdraws: usize,
    /// Whether FRR runs what a fresh one would.
    pub equal: bool,
}

/// Edits, and tells what it finds through `say`; the last one is the line that machines read.
///
/// # Errors
/// When something does not start, or a router is not told in time what it should know.
pub fn run(options: Options, say: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let lab = Lab::start(1)?;
    let mut random = Random::new(options.seed);
    let mut objects = Objects::default();
    objects.write_all(&lab)?;
    let mut watch = Watch::start(&lab)?;
    let mut before = watch.settled(&lab, &objects, "the beginning")?;
    watch.judged();
    let mut outcome = Outcome { sessions_dropped: 0, stray_withdraws: 0, equal: false };
    // the sessions whose own settings changed, by this edit and by the last one: an end may come late
    let mut touched: [Option<IpAddr>; 2] = [None, None];
    let mut slowest = Duration::ZERO;
    for number in 1..=options.edits {
        let Edited { what, peer } = objects.edit(&mut random, &lab)?;
        objects.mark(&lab, number)?;
        touched.rotate_right(1);
        if let Some(newest) = touched.first_mut() {
            *newest = peer;
        }
        let start = wait::now();
        let after = watch.settled(&lab, &objects, &format!("edit {number}: {what}"))?;
        slowest = slowest.max(start.elapsed());
        let verdict = watch.passed.judge(&before, &after, &touched);
        for session in &verdict.dropped {
            say(&format!("edit {number}: {what}: the session of {session} ended"));
        }
        for (session, prefix) in &verdict.strays {
            say(&format!("edit {number}: {what}: {session} withdrew {prefix}"));
        }
        outcome.sessions_dropped += verdict.dropped.len();
        outcome.stray_withdraws += verdict.strays.len();
        before = after;
        watch.judged();
        if number % BLOCK == 0 {
            say(&format!("{number} edits, {} Services", objects.services()));
            watch.renew(&lab, &before, &touched)?;
        }
    }
    say(&format!("the slowest edit was at all routers after {slowest:.1?}"));
    objects.mend(&lab)?;
    objects.mark(&lab, 0)?;
    watch.settled(&lab, &objects, "the end")?;
    outcome.equal = same_as_fresh(&lab, say)?;
    say(&format!(
        "edits={} sessions_dropped={} stray_withdraws={} final_state={}",
        options.edits,
        outcome.sessions_dropped,
        outcome.stray_withdraws,
        if outcome.equal { "equal" } else { "differs" }
    ));
    Ok(outcome)
}

/// What passes on the node's wires, and what the routers know from it. A session is called by the node's own address.
struct Watch {
    wires: [Capture; 2],
    /// What the routers knew when the captures began.
    base: Told,
    /// What they know now.
    told: Told,
    /// What was judged already of these captures, and what passed since.
    judged: Counts,
    passed: Passed,
}

impl Watch {
    /// From before the first session that is judged: the peers are made anew.
    fn start(lab: &Lab) -> Result<Self> {
        lab.manifests.remove("peers")?;
        wait::until_true(DEADLINE, "an FRR without neighbours", || {
            Ok(!lab.frr("n1")?.vtysh("show running-config bgpd")?.contains(" neighbor "))
        })?;
        let watch = Self {
            wires: wires(lab)?,
            base: Told::new(),
            told: Told::new(),
            judged: Counts::default(),
            passed: Passed::default(),
        };
        Objects::default().write_peers(lab)?;
        Ok(watch)
    }

    /// Waits until every router was told what `objects` want, and gives that.
    fn settled(&mut self, lab: &Lab, objects: &Objects, what: &str) -> Result<Told> {
        wait::until(DEADLINE, what, || {
            let Some(wanted) = objects.wanted(lab)? else { return Ok(None) };
            self.look()?;
            for (session, wanted) in &wanted {
                let told = self.told.get(session);
                ensure!(told == Some(wanted), "{session} has told {told:#?}, and not {wanted:#?}");
            }
            Ok(Some(wanted))
        })
        .with_context(|| lab.logs())
    }

    fn look(&mut self) -> Result<()> {
        let mut frames = Vec::new();
        for wire in &self.wires {
            frames.extend(wire.frames()?);
        }
        frames.sort_by_key(|frame: &Frame| frame.at);
        (self.told, self.passed) = judge::follow(&self.base, &ends(&frames), &updates(&frames)?, self.judged);
        Ok(())
    }

    const fn judged(&mut self) {
        self.judged = self.passed.counts;
    }

    /// New captures. What passes between the last look and their beginning would be missed: they overlap. What has
    /// passed since the last edit was judged is judged like it: the end of a touched session may come late.
    fn renew(&mut self, lab: &Lab, wanted: &Told, touched: &[Option<IpAddr>]) -> Result<()> {
        let wires = wires(lab)?;
        self.look()?;
        let verdict = self.passed.judge(wanted, wanted, touched);
        ensure!(verdict == Verdict::default(), "while nothing was edited: {verdict:?}");
        self.wires = wires;
        self.base = self.told.clone();
        self.judged = Counts::default();
        Ok(())
    }
}

fn wires(lab: &Lab) -> Result<[Capture; 2]> {
    let node = lab.fabric.node("n1")?;
    let wire = |interface| Capture::start(&lab.fabric.warden, &node.net, interface, "tcp port 179");
    Ok([wire(TOR)?, wire(BIRD)?])
}

/// Whether the node's FRR runs what one runs that has just started with what the objects are now.
fn same_as_fresh(lab: &Lab, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let render = Spawn::new(bins::product("ferrolb")?).args(["render", "--node", "n1", "--manifests"]);
    let conf = render.arg(lab.manifests.dir()).text()?;
    let warden = &lab.fabric.warden;
    let net = Net::create(warden, "fresh")?;
    let fresh = Frr::start(warden, &net, Listens::No, &conf)?;
    let repairs = || Ok::<_, anyhow::Error>(lab.speaker_log("n1")?.matches(DRIFT).count());
    let (before, mut left) = (repairs()?, Vec::new());
    // what was marked last may be at the routers before users' lines stand again where it took them along
    let equal = wait::until_true(DEADLINE, "FRR as a fresh one", || {
        left = differences(lab.frr("n1")?, &fresh)?;
        Ok(left.is_empty())
    });
    // nor is it equal if the speaker only found out when it looked
    if repairs()? != before {
        left.push("the speaker had to put something right".to_owned());
    }
    left.iter().for_each(|line| say(line));
    if left.is_empty() { equal.map(|()| true) } else { Ok(false) }
}

/// The lines that only one of the two runs.
fn differences(edited: &Frr, fresh: &Frr) -> Result<Vec<String>> {
    let mut found = Vec::new();
    // a file is offered to every daemon, and some take lines that mean nothing to them
    for (daemon, own) in [("bgpd", &[""][..]), ("bfdd", &["bfd"]), ("staticd", &["ip route", "ipv6 route"])] {
        let config =
            |frr: &Frr| Ok::<_, anyhow::Error>(lines(&frr.vtysh(&format!("show running-config {daemon}"))?));
        let (edited, fresh) = (config(edited)?, config(fresh)?);
        for (whose, a, b) in [("edited", &edited, &fresh), ("fresh", &fresh, &edited)] {
            let of =
                |line: &&Vec<String>| line.first().is_some_and(|l| own.iter().any(|own| l.starts_with(own)));
            for line in a.difference(b).filter(of) {
                found.push(format!("only in the {whose} {daemon}: {}", line.join(" / ")));
            }
        }
    }
    Ok(found)
}

/// Every line with those that it stands under: daemons print the same things in different orders.
fn lines(config: &str) -> BTreeSet<Vec<String>> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut lines = BTreeSet::new();
    for line in config.lines() {
        let text = line.trim();
        let depth = line.len() - line.trim_start().len();
        // the last one is for the file alone: nothing is routed by it
        let silent = ["!", "exit", "end", "Building ", "Current ", "log timestamp "];
        if text.is_empty() || silent.iter().any(|word| text.starts_with(word)) {
            continue;
        }
        path.retain(|(above, _)| *above < depth);
        path.push((depth, text.to_owned()));
        lines.insert(path.iter().map(|(_, text)| text.clone()).collect());
    }
    lines
}
