//! The demo: a load balancer at work, told as it happens.
//!
//! Everything is real: the product's own processes, FRR on three nodes, an FRR and a BIRD router above them, clients
//! on the flat segment and beyond the routers. Each line carries the time since the cause that it belongs to.

use std::{
    io::Write as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal};

use crate::{
    fabric::LAN,
    lab::{DEADLINE, Lab, Plan, prefix},
    neighbour::{Ask, ask},
    objects::{self, PORT, Service},
    pod, wait,
};

/// How long a second answer is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// Runs it; with `keep` the lab stays up until Ctrl-C or `lab down`.
///
/// # Errors
/// When a step fails; the lab is taken down all the same.
pub fn run(keep: bool) -> Result<()> {
    let mut demo = Demo { rows: Vec::new(), since: wait::now() };
    say("FerroLB: a lab of three nodes, a router that runs FRR, one that runs BIRD, and clients")?;
    let mut lab = Lab::without_product(Plan::of(3))?;
    demo.line(&format!("the lab {} is up, {} in it", lab.fabric.warden.id(), version(&lab)?))?;
    demo.start(&mut lab)?;
    let routed = demo.routed(&lab)?;
    let flat = demo.flat(&lab)?;
    let stopped = demo.takeover(&mut lab, &flat)?;
    demo.table()?;
    if keep {
        lab.resume_node(&stopped)?;
        for ip in &routed {
            lab.wait_for_route(*ip, &lab.names())?;
        }
        stay(&lab, &routed, &flat)?;
    }
    Ok(())
}

struct Demo {
    /// What happened, what came of it, and how long after its cause.
    rows: Vec<(String, String, Duration)>,
    since: Instant,
}

impl Demo {
    fn start(&mut self, lab: &mut Lab) -> Result<()> {
        self.chapter("controller and speakers start on an empty configuration")?;
        lab.start_controller()?;
        for name in lab.names() {
            lab.start_speaker(&name)?;
        }
        self.line("all ready")?;

        self.chapter("two pools, a peer per router and family, an advertisement of each kind")?;
        lab.manifests.put("pools", &objects::pools())?;
        lab.manifests.put("peers", &objects::peers())?;
        lab.manifests.put("advertisements", &objects::advertisements())?;
        lab.wait_for_sessions(&lab.names())?;
        self.line("every node has a BGP session with each router over each family")?;
        self.row("peers applied", "12 BGP sessions up".to_owned());
        Ok(())
    }

    /// A Service announced over BGP.
    fn routed(&mut self, lab: &Lab) -> Result<Vec<IpAddr>> {
        let before = lab.applied("n1")?.len();
        self.chapter("the Service `web`, of the pool for the routers")?;
        let addresses = lab.add(&Service::new("web", "routed", &lab.fabric))?;
        self.line(&format!("the controller gave it {}", list(&addresses)))?;
        self.row("Service web", list(&addresses));
        let delta = wait::until(DEADLINE, "a delta in the log of n1's speaker", || {
            let applied = lab.applied("n1")?;
            let fresh = applied.get(before..).unwrap_or_default();
            let complete = addresses.iter().all(|ip| fresh.iter().any(|delta| mentions(&delta.lines, *ip)));
            Ok(complete.then(|| fresh.to_vec()))
        })
        .with_context(|| lab.logs())?;
        for applied in &delta {
            self.line(&format!("n1's speaker told FRR, which took {:.1} ms:", applied.ms))?;
            for line in &applied.lines {
                say(&format!("              {line}"))?;
            }
        }
        for ip in &addresses {
            lab.wait_for_route(*ip, &lab.names())?;
            let (prefix, hops) = (prefix(*ip), lab.tor.next_hops(&prefix(*ip))?);
            let hops: Vec<IpAddr> = hops.into_iter().collect();
            self.line(&format!("both routers have {prefix}; the FRR one by {}", list(&hops)))?;
            self.row(&format!("route {prefix}"), format!("both routers, {} next hops", hops.len()));
        }
        for ip in &addresses {
            let what = format!("a page from {ip} beyond the FRR router");
            let (name, _) =
                wait::until(DEADLINE, &what, || pod::fetch(&lab.fabric.remote, *ip, PORT).map(Some))?;
            self.line(&format!("curl to {ip} from beyond the FRR router: {name} served it"))?;
            self.row(&format!("curl {ip}"), format!("served by {name}"));
        }
        Ok(addresses)
    }

    /// A Service announced by ARP and NDP.
    fn flat(&mut self, lab: &Lab) -> Result<Vec<IpAddr>> {
        self.chapter("the Service `flat`, of the pool for the flat segment")?;
        let addresses = lab.add(&Service::new("flat", "flat", &lab.fabric))?;
        self.line(&format!("the controller gave it {}", list(&addresses)))?;
        self.row("Service flat", list(&addresses));
        let elected = lab.elected(&lab.names(), &addresses)?.name();
        for ip in &addresses {
            self.answer(lab, *ip, elected)?;
            let what = format!("a page from {ip} on the flat segment");
            let (name, _) =
                wait::until(DEADLINE, &what, || pod::fetch(&lab.fabric.client, *ip, PORT).map(Some))?;
            self.line(&format!("curl to {ip} from the flat segment: {name} served it"))?;
            self.row(&format!("curl {ip}"), format!("served by {name}"));
        }
        Ok(addresses)
    }

    /// The node that answers for the flat Service loses its power; gives its name.
    fn takeover(&mut self, lab: &mut Lab, addresses: &[IpAddr]) -> Result<String> {
        let all = lab.names();
        let first = lab.elected(&all, addresses)?.name().to_owned();
        let others: Vec<String> = all.into_iter().filter(|name| *name != first).collect();
        self.chapter(&format!("{first} loses its power"))?;
        lab.stop_node(&first)?;
        let second = lab.elected(&others, addresses)?.name();
        for ip in addresses {
            let what = format!("a page from {ip} by {second}");
            wait::until_true(DEADLINE, &what, || Ok(pod::fetch(&lab.fabric.client, *ip, PORT)?.0 == second))
                .with_context(|| lab.logs())?;
            self.line(&format!("curl to {ip} is served again, by {second}"))?;
            self.row(&format!("{first} stopped"), format!("{ip} served by {second}"));
        }
        for ip in addresses {
            self.answer(lab, *ip, second)?;
        }
        Ok(first)
    }

    /// The client asks who has an address; this node must be the one that says so.
    fn answer(&mut self, lab: &Lab, ip: IpAddr, node: &str) -> Result<()> {
        let mac = lab.fabric.node(node)?.net.mac(LAN)?;
        let answers = wait::until(DEADLINE, &format!("an answer for {ip}"), || {
            let answers = ask(&lab.fabric.warden, &lab.fabric.client, ip, Ask::All, PATIENCE)?;
            Ok((!answers.is_empty()).then_some(answers))
        })
        .with_context(|| lab.logs())?;
        ensure!(answers == [mac.as_str()], "{node} ({mac}) should answer for {ip}, and alone: {answers:?}");
        let protocol = if ip.is_ipv4() { "arping" } else { "ndisc6" };
        self.line(&format!("{protocol} {ip}: {mac} answers, and nobody else; that is {node}"))?;
        self.row(&format!("{protocol} {ip}"), format!("{mac} ({node})"));
        Ok(())
    }

    fn chapter(&mut self, title: &str) -> Result<()> {
        say(&format!("\n{title}"))?;
        self.since = wait::now();
        Ok(())
    }

    fn line(&self, text: &str) -> Result<()> {
        say(&format!("  {:>6.3} s  {text}", self.since.elapsed().as_secs_f64()))
    }

    fn row(&mut self, what: &str, outcome: String) {
        self.rows.push((what.to_owned(), outcome, self.since.elapsed()));
    }

    fn table(&self) -> Result<()> {
        if self.rows.is_empty() {
            bail!("nothing happened");
        }
        let width =
            |of: fn(&(String, String, Duration)) -> usize| self.rows.iter().map(of).max().unwrap_or_default();
        let (first, second) = (width(|row| row.0.len()), width(|row| row.1.len()));
        say(&format!("\n{:first$}  {:second$}  after", "what", "outcome"))?;
        say(&format!("{:-<first$}  {:-<second$}  --------", "", ""))?;
        for (what, outcome, after) in &self.rows {
            say(&format!("{what:first$}  {outcome:second$}  {:6.3} s", after.as_secs_f64()))?;
        }
        Ok(())
    }
}

/// Says what to try, and waits for Ctrl-C or `lab down`.
fn stay(lab: &Lab, routed: &[IpAddr], flat: &[IpAddr]) -> Result<()> {
    let (remote, client, n1) =
        (lab.fabric.remote.name(), lab.fabric.client.name(), lab.fabric.node("n1")?.net.name());
    let url = |ip: &IpAddr| if ip.is_ipv4() { format!("http://{ip}/") } else { format!("http://[{ip}]/") };
    let id = lab.fabric.warden.id();
    let tor = lab.tor.frr.vty_dir().display();
    let dir = lab.manifests.dir().display();
    say("\nThe lab stays up. From another terminal, as root:")?;
    for ip in routed {
        say(&format!("  ip netns exec {remote} curl {}", url(ip)))?;
    }
    for ip in flat {
        let ask =
            if ip.is_ipv4() { format!("arping -c 3 -i {LAN} {ip}") } else { format!("ndisc6 {ip} {LAN}") };
        say(&format!("  ip netns exec {client} {ask}"))?;
        say(&format!("  ip netns exec {client} curl {}", url(ip)))?;
    }
    say(&format!("  ip netns exec {n1} curl localhost:7472/metrics"))?;
    say(&format!("  vtysh --vty_socket {tor} -c 'show bgp ipv4 unicast'"))?;
    say(&format!("  ls {dir}    # the manifests: edit them, add some, remove some"))?;
    let program = std::env::current_exe()?;
    say(&format!("  {} down {id}    # or Ctrl-C here\n", program.display()))?;
    let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    // only now: whatever was started before would have inherited it
    ends.thread_block()?;
    lab.fabric.warden.note_kept()?;
    ends.wait()?;
    say("taking the lab down")
}

fn version(lab: &Lab) -> Result<String> {
    let text = lab.tor.frr.vtysh("show version")?;
    let first = text.lines().next().unwrap_or_default();
    Ok(first.split(" (").next().unwrap_or_default().to_owned())
}

fn mentions(lines: &[String], ip: IpAddr) -> bool {
    let prefix = prefix(ip);
    lines.iter().any(|line| line.contains(&prefix))
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
