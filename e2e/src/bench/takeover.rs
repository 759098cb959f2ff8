//! How long an address is without a node when its node dies, for how long it has two when nodes meet again, and what a
//! planned hand-over costs whoever uses it.
//!
//! Three nodes on a flat segment and a client that asks by ARP and NDP every few milliseconds; what its cable carries is
//! the judge. Half of the kills end the speaker only, half take the node's cable too. A sample lasts from just before
//! the kill to the first claim of another node for the later of a Service's two addresses.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::stats::Samples;
use crate::{
    fabric::{LAN, Node},
    flat::{Flat, Watch},
    lab::DEADLINE,
    load::{Load, Tally},
    neighbour::{doubled, known, silence},
    wait,
};

/// The Services' addresses, of each family; different ones, since each has its own elected node.
const SERVICES: u8 = 8;
const POOL: [&str; 2] = ["172.30.0.200-172.30.0.219", "fd00:30::200-fd00:30::219"];

/// From question to question.
const PAUSE: Duration = Duration::from_millis(5);
/// For how long nobody else must be heard before it counts as decided.
const QUIET: Duration = Duration::from_millis(500);

/// A hundred requests a second.
const REQUEST: Duration = Duration::from_millis(10);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Kills.
    pub kills: usize,
    /// Heals of a partition.
    pub heals: usize,
    /// Planned hand-overs, each there and back.
    pub handovers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { kills: 50, heals: 10, handovers: 10 }
    }
}

/// Measures, and tells each finding through `say`; the last one is the line that machines read.
///
/// # Errors
/// When something does not start, or an address is not taken over at all.
pub fn run(options: Options, say: &mut dyn FnMut(&str)) -> Result<()> {
    ensure!(options.kills > 0, "--kills must be at least 1");
    let mut bench = Bench::start()?;
    let (mut of_speaker, mut of_node, mut all) = <(Samples, Samples, Samples)>::default();
    let mut back = Samples::default();
    for number in 0..options.kills {
        let with_cable = number % 2 == 1;
        let (took, both) = bench.kill(number, with_cable)?;
        if with_cable { &mut of_node } else { &mut of_speaker }.push(took);
        all.push(took);
        back.push(both);
    }
    say(&format!("takeover, speaker killed    {of_speaker}"));
    say(&format!("takeover, node dead         {of_node}"));
    say(&format!("two answered, node is back  {back}"));
    let mut healed = Samples::default();
    for number in 0..options.heals {
        healed.push(bench.heal(number)?);
    }
    say(&format!("two answered, after a heal  {healed}"));
    let (mut lost, mut silent) = (Tally::default(), Samples::default());
    for number in 0..options.handovers {
        let (tally, faults, nobody) = bench.hand_over(number)?;
        silent.push(nobody);
        lost.sent += tally.sent;
        lost.failed += tally.failed;
        for fault in faults {
            say(&format!("  hand-over {number}, {fault}"));
        }
    }
    say(&format!("nobody answered, hand-over   {silent}"));
    say(&format!(
        "planned hand-overs          {} there and back, {} requests, {} lost",
        options.handovers, lost.sent, lost.failed
    ));
    say(&format!(
        "takeover kills={} p50_ms={:.1} p99_ms={:.1} double_answer_ms={:.1} lost_handover_requests={}",
        options.kills,
        all.percentile(50),
        all.percentile(99),
        back.percentile(100).max(healed.percentile(100)),
        lost.failed
    ));
    Ok(())
}

/// The lab, with its Services.
struct Bench {
    lab: Flat,
}

/// A node's name and hardware address.
struct Station {
    name: String,
    mac: String,
}

impl Station {
    fn of(node: &Node) -> Result<Self> {
        Ok(Self { name: node.name().to_owned(), mac: node.net.mac(LAN)? })
    }
}

impl Bench {
    fn start() -> Result<Self> {
        let mut lab = Flat::start(3, &POOL, "")?;
        for number in 0..SERVICES {
            lab.serve(&format!("svc-{number}"), &addresses(usize::from(number))?)?;
        }
        let bench = Self { lab };
        for number in 0..usize::from(SERVICES) {
            let (ips, first, _) = bench.case(number)?;
            let watch = bench.lab.watch(false, &ips, PAUSE)?;
            bench.settled(&watch, &ips, &first)?;
        }
        Ok(bench)
    }

    /// The addresses to look at this time, the node that is elected for them and the one after it.
    fn case(&self, number: usize) -> Result<([IpAddr; 2], Station, Station)> {
        let ips = addresses(number)?;
        let mut names = self.lab.names();
        let first = Station::of(self.lab.elected(&names, ips[0])?)?;
        names.retain(|name| *name != first.name);
        let second = Station::of(self.lab.elected(&names, ips[0])?)?;
        Ok((ips, first, second))
    }

    fn settled(&self, watch: &Watch, ips: &[IpAddr], station: &Station) -> Result<()> {
        ips.iter()
            .try_for_each(|ip| watch.settled(*ip, &station.mac, Duration::ZERO, QUIET))
            .with_context(|| self.lab.logs())
    }

    /// Kills the elected node; gives how long the takeover took, and for how long two answered when it came back.
    fn kill(&mut self, number: usize, with_cable: bool) -> Result<(Duration, Duration)> {
        let (ips, first, second) = self.case(number)?;
        let watch = self.lab.watch(false, &ips, PAUSE)?;
        self.settled(&watch, &ips, &first)?;
        let cable = wait::since_epoch()?;
        if with_cable {
            self.lab.fabric.node(&first.name)?.unplug()?;
        }
        let killed = self.lab.kill_speaker(&first.name)?;
        let at = if with_cable { cable } else { killed.start };
        let mut took = Duration::ZERO;
        for ip in ips {
            let taken = watch.claimed(ip, &second.mac, at).with_context(|| self.lab.logs())?;
            took = took.max(taken.saturating_sub(at));
        }
        self.settled(&watch, &ips, &second)?;
        let back = wait::since_epoch()?;
        if with_cable {
            self.lab.fabric.node(&first.name)?.replug()?;
        }
        self.lab.start_speaker(&first.name)?;
        self.settled(&watch, &ips, &first)?;
        Ok((took, most_doubled(&[&watch], &ips, back)?))
    }

    /// Parts a node from the others and heals; gives for how long two answered. The elected node and the one after it
    /// take turns.
    fn heal(&mut self, number: usize) -> Result<Duration> {
        let (ips, first, second) = self.case(number)?;
        let (near, far) = (self.lab.watch(false, &ips, PAUSE)?, self.lab.watch(true, &ips, PAUSE)?);
        let (alone, others) = if number.is_multiple_of(2) { (&first, &second) } else { (&second, &first) };
        self.lab.place(&alone.name, true)?;
        self.settled(&near, &ips, &first)?;
        self.lab.trunk(false)?;
        self.settled(&near, &ips, others)?;
        self.settled(&far, &ips, alone)?;
        let healed = self.lab.trunk(true)?;
        self.settled(&near, &ips, &first)?;
        self.settled(&far, &ips, &first)?;
        let both = most_doubled(&[&near, &far], &ips, healed.start)?;
        self.lab.place(&alone.name, false)?;
        self.settled(&near, &ips, &first)?;
        Ok(both)
    }

    /// Ends the elected node's speaker in good order and starts it again; gives what became of the requests meanwhile,
    /// and how long another client, which asks all the while, got no answer at most.
    fn hand_over(&mut self, number: usize) -> Result<(Tally, Vec<String>, Duration)> {
        let (ips, first, second) = self.case(number)?;
        let ip = ips[0];
        let load = Load::start(&self.lab.fabric.client, ip, REQUEST)?;
        let knows = |lab: &Flat, station: &Station| {
            let client = &lab.fabric.client;
            wait::until_true(DEADLINE, &format!("the client to know {ip} at {}", station.name), || {
                Ok(known(client, ip)?.as_ref() == Some(&station.mac))
            })
            .with_context(|| lab.logs())
        };
        knows(&self.lab, &first)?;
        // at a distance: what is answered to the user's own machine would tell it where the address is
        let watch = self.lab.watch(true, &[ip], PAUSE)?;
        self.settled(&watch, &[ip], &first)?;
        let (start, since) = (wait::now(), wait::since_epoch()?);
        self.lab.stop_speaker(&first.name)?;
        knows(&self.lab, &second)?;
        self.lab.start_speaker(&first.name)?;
        knows(&self.lab, &first)?;
        // requests that are late are a part of it
        wait::pass(QUIET);
        let end = wait::since_epoch()?;
        let (tally, faults) = load.tally(&(start..wait::now()))?;
        Ok((tally, faults, silence(&watch.claims()?, ip, since..end)))
    }
}

fn addresses(number: usize) -> Result<[IpAddr; 2]> {
    let host = 200 + number % usize::from(SERVICES);
    Ok([format!("172.30.0.{host}").parse()?, format!("fd00:30::{host}").parse()?])
}

fn most_doubled(watches: &[&Watch], ips: &[IpAddr], since: Duration) -> Result<Duration> {
    let mut most = Duration::ZERO;
    for watch in watches {
        let claims = watch.claims()?;
        most = ips.iter().map(|ip| doubled(&claims, *ip, since)).fold(most, Duration::max);
    }
    Ok(most)
}
