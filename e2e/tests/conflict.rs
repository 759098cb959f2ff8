//! Two that answer for one address, on a real wire: nodes with different views, a network that was cut and heals, a
//! stranger. Judged by what the client gets to see, not by what we say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::{IpAddr, Ipv6Addr},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ferrolb::{
    io::{
        l2::{Claims, Counters, Duty, Sockets, Wanted, drive, drive_apart},
        link::observe,
    },
    l2::Rivals,
    names::NodeName,
    net::{Interfaces, Mac},
};
use ferrolb_e2e::{
    calm::{self, Round},
    capture::Capture,
    neighbour::{self, Claim, claims, doubling},
    netns::Net,
    raw::{Heard, Raw},
    wait,
    warden::Warden,
};
use nix::{
    ifaddrs::getifaddrs,
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket},
};
use tokio::sync::watch;

const VIP: &str = "192.0.2.7";
/// More than what the product may wait between two questions.
const SOON: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// A node: its network, and layer 2 in it.
struct Node {
    duty: Option<watch::Sender<Duty>>,
    claims: watch::Receiver<Claims>,
    counters: Arc<Counters>,
    speaker: Option<JoinHandle<Result<()>>>,
    mac: Mac,
    // it goes last
    _net: Net,
}

impl Node {
    /// Layer 2 in `net`, with nothing to answer for yet.
    fn new(net: Net) -> Result<Self> {
        let sockets = net.enter(Sockets::open)?;
        Self::on(net, sockets, &[])
    }

    /// Layer 2 in `net` by these sockets, which may have something to read.
    fn on(net: Net, sockets: Sockets, ips: &[IpAddr]) -> Result<Self> {
        let mac = net.mac("lan")?.parse()?;
        let (duty, on_duty) = watch::channel(Duty { wanted: everywhere(ips), rivals: Arc::default() });
        let (claim, claims) = watch::channel(Claims::default());
        let counters = Arc::new(Counters::default());
        let (inside, counts) = (File::open(net.path())?, Arc::clone(&counters));
        let speaker = std::thread::spawn(move || {
            setns(inside, CloneFlags::CLONE_NEWNET)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (links, follow) = observe().await?;
                tokio::select! {
                    end = drive(sockets, on_duty, links, counts, claim) => end,
                    end = follow => end,
                }
            })
        });
        Ok(Self { duty: Some(duty), claims, counters, speaker: Some(speaker), mac, _net: net })
    }

    /// Who the other node is, and whether the addresses are its.
    fn beside(&self, me: &str, other: &Self, name: &str, ips: &[IpAddr], theirs: bool) {
        let owners = ips.iter().filter(|_| theirs).map(|ip| (*ip, BTreeSet::from([NodeName::from(name)])));
        let rivals = Rivals {
            me: Some(me.into()),
            stations: [(other.mac, name.into())].into(),
            owners: owners.collect(),
            ..Rivals::default()
        };
        if let Some(duty) = &self.duty {
            duty.send_modify(|duty| duty.rivals = Arc::new(rivals));
        }
    }

    fn want(&self, ips: &[IpAddr]) -> Result<()> {
        let duty = self.duty.as_ref().context("it has ended")?;
        duty.send_modify(|duty| duty.wanted = everywhere(ips));
        Ok(())
    }

    fn conceded(&self) -> usize {
        self.claims.borrow().values().filter(|claim| claim.conceded).count()
    }

    fn end(mut self) -> Result<()> {
        self.duty = None;
        let speaker = self.speaker.take().context("it has ended")?;
        speaker.join().map_err(|_| anyhow!("it panicked"))?
    }
}

/// These, on every interface.
fn everywhere(ips: &[IpAddr]) -> Wanted {
    Arc::new(ips.iter().map(|ip| (*ip, Interfaces::All)).collect())
}

/// Node `a` and a client on one switch, node `b` on another; a cable between the switches.
struct Halves {
    a: Node,
    b: Node,
    client: Net,
    left: Net,
    _right: Net,
    warden: Arc<Warden>,
}

impl Halves {
    fn new() -> Result<Self> {
        let warden = Warden::start()?;
        let (left, right) = (Net::create(&warden, "left")?, Net::create(&warden, "right")?);
        left.bridge("br")?;
        right.bridge("br")?;
        left.cable("mid", &[], &right, "mid", &[])?;
        left.ip("link set dev mid master br")?;
        right.ip("link set dev mid master br")?;
        let node = |role: &str, address: &str, switch: &Net| {
            let net = Net::create(&warden, role)?;
            net.plug("lan", &[address], switch, "br")?;
            Ok::<_, anyhow::Error>(net)
        };
        let a = Node::new(node("a", "192.0.2.2/24", &left)?)?;
        let b = Node::new(node("b", "192.0.2.3/24", &right)?)?;
        let client = node("client", "192.0.2.9/24", &left)?;
        Ok(Self { a, b, client, left, _right: right, warden })
    }

    /// Asks for these all the time, for each every two milliseconds.
    fn ask(&self, ips: &[IpAddr]) -> Result<Asker> {
        let own: Mac = self.client.mac("lan")?.parse()?;
        let from = ("192.0.2.9".parse()?, Ipv6Addr::UNSPECIFIED);
        let frames: Vec<Vec<u8>> = ips.iter().map(|ip| neighbour::question(own.0, from, *ip)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = self.client.background(move || {
            let lan: LinkAddr = getifaddrs()?
                .filter(|interface| interface.interface_name == "lan")
                .find_map(|interface| interface.address?.as_link_addr().copied())
                .context("no lan")?;
            let wire = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)?;
            while !stopped.load(Ordering::Relaxed) {
                for frame in &frames {
                    sendto(wire.as_raw_fd(), frame, &lan, MsgFlags::empty())?;
                }
                // the pace is what the answers are measured by: nothing is waited for
                wait::pass(2 * MS);
            }
            Ok(())
        })?;
        Ok(Asker { stop, thread: Some(thread) })
    }

    fn cut(&self) -> Result<()> {
        self.left.ip("link set dev mid nomaster").map(drop)
    }

    fn heal(&self) -> Result<()> {
        self.left.ip("link set dev mid master br").map(drop)
    }

    fn capture(&self) -> Result<Capture> {
        Capture::start(&self.warden, &self.client, "lan", neighbour::FILTER)
    }

    fn end(self) -> Result<()> {
        self.a.end()?;
        self.b.end()
    }
}

/// A client that goes on asking until it is dropped.
struct Asker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// When a station answered or announced `VIP`, at the client.
fn heard(capture: &Capture, mac: Mac, answer: bool) -> Result<Vec<Duration>> {
    let (vip, mac): (IpAddr, String) = (VIP.parse()?, mac.to_string());
    let all = claims(&capture.frames()?).into_iter();
    let ours = all.filter(|claim| claim.ip == vip && claim.mac == mac && claim.answer == answer);
    Ok(ours.map(|claim| claim.at).collect())
}

/// `b` thinks that it is chosen, and `a` knows better. Whoever speaks first, `b` is silent ten milliseconds after it
/// has heard `a`, and the last word that the client hears is `a`'s.
#[test]
fn of_two_that_think_they_are_chosen_one_is_silent_in_ten_milliseconds() -> Result<()> {
    calm::rounds(silent_in_ten_milliseconds)
}

fn silent_in_ten_milliseconds(round: &mut Round) -> Result<()> {
    let halves = Halves::new()?;
    let ips: Vec<IpAddr> = vec![VIP.parse()?];
    let (a, b) = (&halves.a, &halves.b);
    a.beside("a", b, "b", &ips, false);
    b.beside("b", a, "a", &ips, true);
    a.want(&ips)?;
    let capture = halves.capture()?;
    let asker = halves.ask(&ips)?;
    wait::until_true(SOON, "answers of a", || Ok(heard(&capture, a.mac, true)?.len() > 10))?;
    b.want(&ips)?;
    wait::until_true(SOON, "b to concede", || Ok(b.conceded() == 1))?;
    let so_far = heard(&capture, a.mac, true)?.len();
    wait::until_true(SOON, "more answers of a", || Ok(heard(&capture, a.mac, true)?.len() > so_far + 100))?;
    drop(asker);

    let claimed = *heard(&capture, b.mac, false)?.first().context("b did not announce")?;
    let defended = heard(&capture, a.mac, false)?.into_iter().find(|at| *at >= claimed);
    let defended = defended.context("a did not announce itself again")?;
    let answers = heard(&capture, b.mac, true)?;
    let last = answers.last().copied().unwrap_or(claimed).max(claimed);
    eprintln!(
        "a announced {:?} after b, which answered {} times, the last {:?} after that",
        defended.saturating_sub(claimed),
        answers.len(),
        last.saturating_sub(defended)
    );
    round.judge("until a announced itself after b", claimed..defended, 10 * MS);
    round.judge("until b was silent after that", defended..last, 10 * MS);
    let last_word = heard(&capture, b.mac, false)?.last().copied().context("b did not announce")?;
    assert!(heard(&capture, a.mac, false)?.iter().any(|at| *at >= last_word));
    for node in [a, b] {
        let counts = node.counters.totals();
        assert!(counts.claims_of_nodes > 0 && counts.claims_of_strangers == 0, "{counts:?}");
    }
    assert_eq!(a.conceded(), 0);
    halves.end()
}

/// The network is cut, each half has its answer; it heals and nobody says so. The client gets two answers for no more
/// than 50 ms, whichever of a thousand addresses it asks for; they are in one hand again, and each of them is announced.
#[test]
fn two_answers_end_with_the_cut() -> Result<()> {
    calm::rounds(end_with_the_cut)
}

fn end_with_the_cut(round: &mut Round) -> Result<()> {
    const VIPS: u32 = 1000;
    let halves = Halves::new()?;
    let mut ips: Vec<IpAddr> = (1..VIPS).map(|n| IpAddr::from((0x0a01_0000 + n).to_be_bytes())).collect();
    ips.push(VIP.parse()?);
    // the first and the last that they would come to in any order, and some between
    let asked: Vec<IpAddr> = ips.iter().step_by(333).copied().collect();
    assert!(asked.len() == 4 && asked.last() == ips.last());
    let (a, b) = (&halves.a, &halves.b);
    a.beside("a", b, "b", &ips, false);
    b.beside("b", a, "a", &ips, true);
    for cut in 1..=3 {
        halves.cut()?;
        a.want(&ips)?;
        b.want(&ips)?;
        wait::until_true(SOON, "b to have them all again", || Ok(b.conceded() == 0))?;
        let capture = halves.capture()?;
        let asker = halves.ask(&asked)?;
        wait::until_true(SOON, "answers of a alone", || Ok(heard(&capture, a.mac, true)?.len() > 50))?;
        ensure!(heard(&capture, b.mac, true)?.is_empty(), "cut {cut}: b is not cut off");
        let healed = wait::since_epoch()?;
        halves.heal()?;
        wait::until_true(SOON, "b to concede them all", || Ok(b.conceded() == ips.len()))?;
        let so_far = heard(&capture, a.mac, true)?.len();
        wait::until_true(SOON, "more answers of a", || {
            Ok(heard(&capture, a.mac, true)?.len() > so_far + 100)
        })?;
        drop(asker);
        let mut announced = BTreeMap::new();
        wait::until_true(SOON, "the addresses to be announced by a", || {
            let all = claims(&capture.frames()?).into_iter();
            for claim in all.filter(|it| it.at >= healed && !it.answer && it.mac == a.mac.to_string()) {
                announced.entry(claim.ip).or_insert(claim.at - healed);
            }
            let counts = a.counters.totals();
            let missing: Vec<_> = ips.iter().filter(|ip| !announced.contains_key(*ip)).collect();
            ensure!(
                missing.is_empty(),
                "{} are missing: {missing:?}; {} claims were heard, {} frames not taken",
                missing.len(),
                counts.claims_of_nodes,
                counts.unsent
            );
            Ok(true)
        })?;
        let answers: Vec<Claim> = claims(&capture.frames()?).into_iter().filter(|it| it.answer).collect();
        for ip in &asked {
            let both = doubling(&answers, *ip, healed);
            round.judge(&format!("cut {cut}: two answers for {ip}"), both, 50 * MS);
        }
        eprintln!("cut {cut}: all announced after {:?}", announced.values().max());
    }
    halves.end()
}

/// Frames that come at once while nobody has the time to read, as from many nodes after a heal, are kept: some hundred
/// more than a socket takes by itself.
#[test]
fn what_comes_at_once_is_not_lost() -> Result<()> {
    const FRAMES: u64 = 450;
    let warden = Warden::start()?;
    let (net, client) = (Net::create(&warden, "a")?, Net::create(&warden, "client")?);
    net.cable("lan", &["192.0.2.2/24"], &client, "lan", &["192.0.2.9/24"])?;
    let (vip, sockets) = (VIP.parse()?, net.enter(Sockets::open)?);
    client.enter(|| {
        let raw = Raw::open("lan", Heard::Nothing)?;
        let question = neighbour::question(raw.mac(), ("192.0.2.9".parse()?, Ipv6Addr::UNSPECIFIED), vip);
        (0..FRAMES).try_for_each(|_| raw.send(&question))
    })?;
    let a = Node::on(net, sockets, &[vip])?;
    let mut counted = 0;
    wait::until_true(SOON, "every question to be read", || {
        counted = a.counters.totals().by_ip.get(&vip).map_or(0, |counts| counts.requests_received);
        Ok(counted == FRAMES)
    })
    .with_context(|| format!("{counted} of {FRAMES} were read"))?;
    a.end()
}

/// While the program computes and leaves its runtime no time at all, questions are answered, as claims are heard: layer 2
/// has a thread of its own.
#[test]
fn no_answer_waits_for_what_else_is_computed() -> Result<()> {
    let warden = Warden::start()?;
    let (node, client) = (Net::create(&warden, "a")?, Net::create(&warden, "client")?);
    node.cable("lan", &["192.0.2.2/24"], &client, "lan", &["192.0.2.9/24"])?;
    let (vip, inside) = (VIP.parse()?, File::open(node.path())?);
    let (stop, computed) = std::sync::mpsc::channel::<()>();
    let (duty, on_duty) = watch::channel(Duty { wanted: everywhere(&[vip]), rivals: Arc::default() });
    let speaker = std::thread::spawn(move || {
        setns(inside, CloneFlags::CLONE_NEWNET)?;
        let sockets = Sockets::open()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (links, _follow) = observe().await?;
            let claims = watch::channel(Claims::default()).0;
            tokio::select! {
                biased;
                end = drive_apart(sockets, on_duty, links, Arc::default(), claims) => end,
                () = async { computed.recv().unwrap_or_default() } => Ok(()),
            }
        })
    });
    let mac = node.mac("lan")?;
    wait::until_true(SOON, "an answer", || {
        let how = neighbour::Ask::All;
        Ok(neighbour::ask(&warden, &client, vip, how, Duration::from_millis(200))? == [mac.clone()])
    })?;
    drop((stop, duty));
    speaker.join().map_err(|_| anyhow!("it panicked"))?
}

/// RFC 5227: one announcement in ten seconds, and the address is kept; told after half a second.
#[test]
fn a_stranger_does_not_get_the_address() -> Result<()> {
    let halves = Halves::new()?;
    let ips: Vec<IpAddr> = vec![VIP.parse()?];
    let a = &halves.a;
    let capture = halves.capture()?;
    a.want(&ips)?;
    let stranger = || {
        let arping = halves.client.command("arping").args(["-q", "-c", "1", "-w", "1", "-i", "lan"]);
        arping.args(["-U", "-P", "-S", VIP, VIP]).output().map(drop)
    };
    // the first burst is over after 18 seconds, and no refresh comes for 48
    wait::until_true(
        Duration::from_secs(30),
        "the burst",
        || Ok(heard(&capture, a.mac, false)?.len() >= 12),
    )?;
    stranger()?;
    wait::until_true(SOON, "the defence", || Ok(heard(&capture, a.mac, false)?.len() == 14))?;
    let told = wait::until(SOON, "the claim to be told", || {
        let claims = a.claims.borrow();
        Ok((!claims.is_empty()).then(|| claims.values().cloned().collect::<Vec<_>>()))
    })?;
    let [claim] = &told[..] else { panic!("{told:?}") };
    assert!(claim.node.is_none() && !claim.conceded);
    let client: Mac = halves.client.mac("lan")?.parse()?;
    assert_eq!(claim.by, client);

    let claimed = || heard(&capture, client, false);
    let first = *claimed()?.first().context("it was not claimed")?;
    // the most of ten seconds, from claim to claim, as somebody who insists
    while claimed()?.last().is_some_and(|last| *last < first + Duration::from_secs(8)) {
        stranger()?;
        wait::pass(250 * MS);
    }
    let within = |times: Vec<Duration>| {
        times.iter().filter(|at| (first..first + Duration::from_secs(10)).contains(*at)).count()
    };
    let (claims, announced) = (within(claimed()?), within(heard(&capture, a.mac, false)?));
    assert!(claims >= 3, "{claims} claims in ten seconds are not somebody who insists");
    assert_eq!(announced, 2, "one announcement, as request and reply, against {claims} claims");
    // what is not answered is not counted again
    let counts = a.counters.totals();
    let defended = u64::try_from(heard(&capture, a.mac, false)?.len() - 12)? / 2;
    assert_eq!(counts.claims_of_nodes, 0);
    assert!((1..=defended).contains(&counts.claims_of_strangers), "{counts:?}, {defended} defences");
    let asker = halves.ask(&ips)?;
    wait::until_true(SOON, "answers all the same", || Ok(heard(&capture, a.mac, true)?.len() > 10))?;
    drop(asker);
    halves.end()
}
