//! Layer 2 on a real wire: two namespaces and a cable, the kernel's own neighbour code, `arping` and `ndisc6` on one
//! end, our sockets and responder on the other, `tshark` as the judge of what was said.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use ferrolb::{
    io::{
        l2::{Claims, Counters, Duty, Sockets, drive, give_up_capabilities},
        link::observe,
    },
    l2::wire,
    net::{Interfaces, Mac},
};
use ferrolb_e2e::{
    netns::{self, Net},
    process::{Running, Spawn},
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
const VIP6: &str = "2001:db8::7";
const CLIENT6: &str = "2001:db8::c1";
/// One of the thousands.
const ASKED: &str = "10.1.19.7";
const SOON: Duration = Duration::from_secs(10);

/// A node that speaks layer 2 and a client beside it.
struct Segment {
    duty: Option<watch::Sender<Duty>>,
    speaker: Option<JoinHandle<Result<()>>>,
    counters: Arc<Counters>,
    node: Net,
    client: Net,
    warden: Arc<Warden>,
}

impl Segment {
    fn new(addresses: &[(&str, Interfaces)]) -> Result<Self> {
        let warden = Warden::start()?;
        let (node, client) = (Net::create(&warden, "node")?, Net::create(&warden, "client")?);
        node.cable("eth0", &["192.0.2.2/24"], &client, "eth0", &["192.0.2.9/24", "2001:db8::c1/64"])?;
        let mut segment =
            Self { duty: None, speaker: None, counters: Arc::new(Counters::default()), node, client, warden };
        segment.speak(addresses)?;
        Ok(segment)
    }

    /// Starts the speaker in the node, on a thread without any capability once the sockets are open.
    fn speak(&mut self, addresses: &[(&str, Interfaces)]) -> Result<()> {
        let (sender, on_duty) = watch::channel(duty(addresses)?);
        let (net, counters) = (File::open(self.node.path())?, Arc::clone(&self.counters));
        self.duty = Some(sender);
        self.speaker = Some(std::thread::spawn(move || {
            setns(net, CloneFlags::CLONE_NEWNET)?;
            let sockets = Sockets::open()?;
            give_up_capabilities()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (links, follow) = observe().await?;
                tokio::select! {
                    end = drive(sockets, on_duty, links, counters, unheard()) => end,
                    end = follow => end,
                }
            })
        }));
        Ok(())
    }

    fn want(&self, addresses: &[(&str, Interfaces)]) -> Result<()> {
        let sender = self.duty.as_ref().context("the speaker has ended")?;
        sender.send(duty(addresses)?).context("the speaker does not listen")
    }

    /// Ends the speaker, and says what it ended with.
    fn end(&mut self) -> Result<()> {
        self.duty = None;
        let speaker = self.speaker.take().context("the speaker has ended")?;
        speaker.join().map_err(|_| anyhow!("the speaker panicked"))?
    }

    /// `arping` from the client, once, of somebody who is to answer: who did first, however long it took.
    fn arping(&self, interface: &str, options: &[&str], target: &str) -> Result<String> {
        // `-W` is the time after the only question
        let answer = self.arping_for("30", interface, &[&["-C", "1"], options].concat(), target)?;
        answer.into_iter().next().with_context(|| format!("nobody answers for {target}: {options:?}"))
    }

    /// The same of whom nobody knows whether he answers: who does within a second.
    fn arping_soon(&self, interface: &str, options: &[&str], target: &str) -> Result<Vec<String>> {
        self.arping_for("1", interface, options, target)
    }

    fn arping_for(
        &self,
        limit: &str,
        interface: &str,
        options: &[&str],
        target: &str,
    ) -> Result<Vec<String>> {
        let arping = self.client.command("arping").args(["-r", "-c", "1", "-W", limit, "-i", interface]);
        let output = arping.args(options).arg(target).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect())
    }

    /// `ndisc6` from the client, of an address that somebody has: what it found, however long it took.
    fn ndisc6(&self, target: &str) -> Result<String> {
        self.ndisc6_for("30000", target)
    }

    /// `ndisc6` from the client, and what it found in this many milliseconds.
    fn ndisc6_for(&self, limit: &str, target: &str) -> Result<String> {
        let found = self.client.command("ndisc6").args(["-q", "-1", "-r", "1", "-w", limit, target, "eth0"]);
        Ok(String::from_utf8_lossy(&found.output()?.stdout).trim().to_lowercase())
    }

    /// How often an address was announced.
    fn announced(&self, ip: &str) -> Result<u64> {
        let totals = self.counters.totals();
        Ok(totals.by_ip.get(&ip.parse::<IpAddr>()?).map_or(0, |counts| counts.gratuitous_sent))
    }

    /// Captures on an interface of the client; a capture ends when the interface goes down.
    fn capture(&self, interface: &str, name: &str) -> Result<Capture> {
        let file = self.warden.dir().join(format!("{name}.pcap"));
        let tcpdump = self
            .client
            .command("tcpdump")
            .args(["-Z", "root", "-n", "-U", "--immediate-mode", "-i", interface, "-w"])
            .arg(&file)
            .arg("arp or ip6 or vlan")
            .log(self.warden.dir().join(format!("{name}.tcpdump.log")))
            .start(&self.warden)?;
        tcpdump.wait_for_log(SOON, "listening on")?;
        Ok(Capture { file, _tcpdump: tcpdump })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.duty = None;
    }
}

/// What the client's end of a cable has seen.
struct Capture {
    file: PathBuf,
    _tcpdump: Running,
}

impl Capture {
    /// The frames that match a display filter, one line of these fields each.
    fn frames(&self, filter: &str, fields: &[&str]) -> Result<Vec<String>> {
        let fields = fields.iter().flat_map(|field| ["-e", field]);
        let tshark =
            Spawn::new("tshark").arg("-r").arg(&self.file).args(["-n", "-Y", filter, "-T", "fields"]);
        let output = tshark.args(fields).output()?;
        // The last frame may be half written while tcpdump runs; any other complaint is a mistake of ours.
        let complaint = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !complaint.contains("cut short") {
            bail!("tshark refused `{filter}`: {complaint}");
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    fn wait(&self, what: &str, filter: &str, count: usize) -> Result<Vec<String>> {
        wait::until(Duration::from_secs(20), what, || {
            let frames = self.frames(filter, &["frame.time_relative", "eth.src"])?;
            Ok((frames.len() >= count).then_some(frames))
        })
    }

    /// Nothing that the node sent is malformed, every checksum is right, every hop limit 255.
    fn assert_sound(&self, node: &str) -> Result<()> {
        let bad = format!("eth.src == {node} && _ws.malformed");
        assert_eq!(self.frames(&bad, &["frame.number", "_ws.col.Info"])?, [""; 0], "malformed frames");
        let ours = format!("eth.src == {node} && icmpv6.type == 136");
        let advertisements = self.frames(&ours, &["icmpv6.checksum.status", "ipv6.hlim"])?;
        assert!(advertisements.iter().all(|line| line == "1\t255"), "{advertisements:?}");
        Ok(())
    }
}

fn duty(addresses: &[(&str, Interfaces)]) -> Result<Duty> {
    let entries = addresses.iter().map(|(ip, interfaces)| Ok((ip.parse::<IpAddr>()?, interfaces.clone())));
    let wanted = Arc::new(entries.collect::<Result<BTreeMap<_, _>>>()?);
    Ok(Duty { wanted, rivals: Arc::default() })
}

/// For claims that nobody wants to hear of.
fn unheard() -> watch::Sender<Claims> {
    watch::channel(Claims::default()).0
}

fn only(name: &str) -> Interfaces {
    Interfaces::Named(BTreeSet::from([Arc::from(name)]))
}

/// Sends a frame on the client's `eth0`.
fn send(client: &Net, frame: &wire::Frame) -> Result<()> {
    client.enter(|| {
        let eth0: LinkAddr = getifaddrs()?
            .filter(|interface| interface.interface_name == "eth0")
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .context("no eth0")?;
        let wire = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)?;
        sendto(wire.as_raw_fd(), &wire::emit(frame), &eth0, MsgFlags::empty())?;
        Ok(())
    })
}

#[test]
fn every_way_to_ask_gets_one_answer() -> Result<()> {
    let mut segment = Segment::new(&[(VIP, Interfaces::All), (VIP6, Interfaces::All)])?;
    let mac = segment.node.mac("eth0")?;
    let (ours, client_mac): (Mac, Mac) = (mac.parse()?, segment.client.mac("eth0")?.parse()?);
    let capture = segment.capture("eth0", "first")?;
    wait::until_true(SOON, "the first announcement", || Ok(segment.announced(VIP6)? > 0))?;

    let none: [String; 0] = [];
    assert_eq!(segment.arping("eth0", &[], VIP)?, mac, "broadcast");
    assert_eq!(segment.arping("eth0", &["-t", &mac], VIP)?, mac, "unicast");
    assert_eq!(segment.arping("eth0", &["-0"], VIP)?, mac, "probe");
    assert_eq!(segment.arping_soon("eth0", &[], "192.0.2.8")?, none, "an address that is nobody's");
    // These two must get no answer; arping would take an announcement for one, so the capture tells, below.
    segment.arping_soon("eth0", &["-t", "02:00:00:00:00:99", "-p"], VIP)?;
    segment.arping_soon("eth0", &["-V", "10"], VIP)?;
    assert_eq!(segment.ndisc6(VIP6)?, mac, "multicast solicitation");
    assert_eq!(segment.ndisc6_for("1000", "2001:db8::8")?, "", "an address that is nobody's");

    // The kernel's own probe of an entry that it has: unicast. It believes only an answer with S set, and asks once,
    // unless that takes longer than anybody would wait.
    segment.client.sysctl(&["net.ipv6.neigh.eth0.retrans_time_ms=30000"])?;
    segment.client.ip(&format!("neigh replace {VIP6} lladdr {mac} dev eth0 nud probe"))?;
    wait::until_true(SOON, "the kernel's unicast probe to be answered", || {
        Ok(segment.client.ip(&format!("neigh show {VIP6} dev eth0"))?.contains("REACHABLE"))
    })?;
    // The same without the option that says where the asker is, and the search for duplicates.
    for (source, destination, to) in [
        (CLIENT6, VIP6.parse()?, ours),
        ("::", wire::solicited_node(VIP6.parse()?), wire::multicast_mac(wire::solicited_node(VIP6.parse()?))),
    ] {
        let message = wire::Solicitation {
            source: source.parse()?,
            destination,
            target: VIP6.parse::<Ipv6Addr>()?,
            link_layer: None,
        };
        let message = wire::Message::Solicitation(message);
        send(&segment.client, &wire::Frame { destination: to, source: client_mac, message })?;
    }
    let answers = "icmpv6.nd.na.target_address == 2001:db8::7 && (icmpv6.nd.na.flag.s == 1)";
    capture.wait("the answer without the option", answers, 3)?;
    let to_all = "icmpv6.nd.na.target_address == 2001:db8::7 && ipv6.dst == ff02::1";
    capture.wait("the answer to all", to_all, usize::try_from(segment.announced(VIP6)?)? + 1)?;

    // Nothing was answered twice, and nothing else was answered: not what was for another station, not what was in
    // a VLAN that the node has no interface for.
    for unanswered in ["eth.dst == 02:00:00:00:00:99", "vlan.id == 10"] {
        let asked = format!("arp.opcode == 1 && arp.dst.proto_ipv4 == {VIP} && {unanswered}");
        assert_eq!(capture.frames(&asked, &["frame.number"])?.len(), 1, "{unanswered}");
    }
    let replies = format!("arp.opcode == 2 && eth.src == {mac} && eth.dst == {client_mac}");
    assert_eq!(capture.frames(&replies, &["arp.src.proto_ipv4"])?, [VIP, VIP, VIP]);
    let flags = ["icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o", "icmpv6.nd.na.flag.r", "icmpv6.opt.linkaddr"];
    let line = format!("1\t1\t0\t{mac}");
    assert_eq!(capture.frames(answers, &flags)?, [line.as_str(); 3]);
    capture.assert_sound(&mac)?;
    let totals = segment.counters.totals();
    let counts = |vip: &str| totals.by_ip.get(&vip.parse::<IpAddr>().unwrap()).copied().unwrap_or_default();
    assert_eq!((counts(VIP).requests_received, counts(VIP).responses_sent), (3, 3));
    assert_eq!((counts(VIP6).requests_received, counts(VIP6).responses_sent), (4, 4));
    assert_eq!(totals.unsent, 0);
    segment.end()
}

#[test]
fn interfaces_come_and_go() -> Result<()> {
    let mut segment = Segment::new(&[])?;
    let mac = segment.node.mac("eth0")?;
    let capture = segment.capture("eth0", "first")?;
    segment.want(&[(VIP, Interfaces::All), (VIP6, Interfaces::All), ("192.0.2.8", only("eth1"))])?;
    let garp = |mac: &str| format!("arp.isgratuitous && eth.src == {mac} && arp.src.proto_ipv4 == {VIP}");
    capture.wait("a burst", &garp(&mac), 4)?;
    let both = capture.frames(&garp(&mac), &["arp.opcode", "eth.dst", "arp.dst.proto_ipv4"])?;
    assert_eq!(both[..2], [format!("1\tff:ff:ff:ff:ff:ff\t{VIP}"), format!("2\tff:ff:ff:ff:ff:ff\t{VIP}")]);
    let unsolicited = "icmpv6.nd.na.flag.s == 0 && icmpv6.nd.na.flag.o == 1 && ipv6.dst == ff02::1";
    capture.wait("an unsolicited advertisement", unsolicited, 1)?;
    let group = "icmpv6.mldr.mar.multicast_address == ff02::1:ff00:7";
    capture.wait("the group's report to switches that snoop", group, 1)?;
    assert_eq!(segment.arping_soon("eth0", &[], "192.0.2.8")?, [""; 0], "not announced on this interface");

    // An interface that appears later.
    segment.node.cable("eth1", &[], &segment.client, "eth1", &["192.0.2.10/24"])?;
    let mac1 = segment.node.mac("eth1")?;
    wait::until_true(SOON, "an answer on the new interface", || {
        Ok(segment.arping_soon("eth1", &[], "192.0.2.8")? == [mac1.as_str()])
    })?;
    assert_eq!(segment.arping("eth1", &[], VIP)?, mac1, "each with its own hardware address");
    assert_eq!(segment.arping("eth0", &[], VIP)?, mac);
    let member = |interface: &str| -> Result<bool> {
        let groups = segment.node.command("cat").arg("/proc/net/igmp6").text()?;
        Ok(groups.lines().any(|l| l.contains(interface) && l.contains("ff0200000000000000000001ff000007")))
    };
    wait::until_true(SOON, "the group on the new interface", || member("eth1"))?;

    // The cable is pulled at the far end, and plugged in again.
    segment.client.ip("link set dev eth0 down")?;
    wait::until_true(SOON, "the group to be left with the carrier gone", || Ok(!member("eth0")?))?;
    segment.client.ip("link set dev eth0 up")?;
    let again = segment.capture("eth0", "again")?;
    again.wait("a burst when the carrier is back", &garp(&mac), 4)?;
    assert!(member("eth0")?, "the group is joined again");
    assert_eq!(segment.arping("eth0", &[], VIP)?, mac);

    // Another hardware address, as a bond takes it in a failover.
    segment.node.ip("link set dev eth1 address 02:00:00:00:00:77")?;
    wait::until_true(SOON, "an answer from the new hardware address", || {
        Ok(segment.arping_soon("eth1", &[], VIP)? == ["02:00:00:00:00:77"])
    })?;

    // An interface that goes away altogether, and an address that is withdrawn.
    segment.node.ip("link delete dev eth1")?;
    segment.want(&[(VIP6, Interfaces::All)])?;
    wait::until_true(SOON, "no more answers for what is withdrawn", || {
        Ok(segment.arping_soon("eth0", &[], VIP)?.is_empty())
    })?;
    assert_eq!(segment.ndisc6(VIP6)?, mac);
    assert_eq!(segment.counters.totals().by_ip.keys().collect::<Vec<_>>(), [&VIP6.parse::<IpAddr>()?]);
    capture.assert_sound(&mac)?;
    segment.end()
}

/// What answers the client on `eth1`, until it is `expected` and nothing else.
fn answers(segment: &Segment, expected: &str, what: &str) -> Result<()> {
    wait::until_true(SOON, what, || Ok(segment.arping_soon("eth1", &["-t", expected], VIP)? == [expected]))
}

/// A first burst that tapers off, then again and again within the 300 s that a switch remembers.
#[test]
fn announcements_taper_off_into_refreshes() -> Result<()> {
    let mut segment = Segment::new(&[])?;
    let mac = segment.node.mac("eth0")?;
    let capture = segment.capture("eth0", "minutes")?;
    segment.want(&[(VIP, Interfaces::All), (VIP6, Interfaces::All)])?;
    let rounds = 7;
    for filter in [
        format!("arp.isgratuitous && arp.opcode == 1 && eth.src == {mac}"),
        format!("arp.isgratuitous && arp.opcode == 2 && eth.src == {mac}"),
        format!("icmpv6.nd.na.target_address == {VIP6} && eth.src == {mac}"),
    ] {
        let times = wait::until(Duration::from_secs(120), "a refresh", || {
            let times = capture.frames(&filter, &["frame.time_epoch"])?;
            Ok((times.len() >= rounds).then_some(times))
        })?;
        let times: Vec<f64> = times.iter().map(|time| Ok(time.parse()?)).collect::<Result<_>>()?;
        let gaps: Vec<f64> = times.windows(2).take(rounds - 1).map(|pair| pair[1] - pair[0]).collect();
        // not earlier; later, on a machine that is busy
        for (gap, expected) in gaps.iter().zip([1.1, 1.1, 2.2, 4.4, 8.8]) {
            assert!((expected - 0.02..expected + 5.0).contains(gap), "{filter}: {gaps:?}");
        }
        assert!((48.0..72.0 + 5.0).contains(&gaps[5]), "{filter}: {gaps:?}");
        eprintln!("{filter}: {gaps:.2?}");
    }
    segment.end()
}

#[test]
fn a_bridge_answers_for_its_ports() -> Result<()> {
    const OTHER: &str = "192.0.2.8";
    let mut segment = Segment::new(&[(VIP, Interfaces::All), (OTHER, Interfaces::All)])?;
    segment.node.cable("eth1", &[], &segment.client, "eth1", &["192.0.2.10/24"])?;
    let (port, bridge) = (segment.node.mac("eth1")?, "02:00:00:00:00:b0");
    answers(&segment, &port, "an answer from the interface")?;
    segment.node.bridge("br0")?;
    segment.node.ip(&format!("link set dev br0 address {bridge}"))?;
    segment.node.ip("link set dev eth1 master br0")?;
    answers(&segment, bridge, "an answer from the bridge")?;
    let capture = segment.capture("eth1", "bridge")?;
    // by the time that the last question is answered, all is said to those before
    for (options, target) in [(&["-t", bridge][..], VIP), (&[], VIP), (&[], OTHER)] {
        assert_eq!(segment.arping("eth1", options, target)?, bridge);
    }
    let client = segment.client.mac("eth1")?;
    let replies = |to: &str| format!("arp.opcode == 2 && eth.dst == {client} && arp.src.proto_ipv4 == {to}");
    capture.wait("the last answer", &replies(OTHER), 1)?;
    let replies = capture.frames(&replies(VIP), &["eth.src"])?;
    assert_eq!(replies, [bridge; 2], "one answer to each, though port and bridge both saw the questions");
    // Leaving the bridge is a notice of deletion, but in the bridge's family only.
    segment.node.ip("link set dev eth1 nomaster")?;
    answers(&segment, &port, "an answer from the interface again")?;
    segment.end()
}

#[test]
fn a_missing_capability_is_named() -> Result<()> {
    let refused = std::thread::spawn(|| give_up_capabilities().map(|()| Sockets::open().map(drop)));
    let refused = refused.join().map_err(|_| anyhow!("the thread panicked"))??;
    let message = format!("{:#}", refused.err().context("sockets opened without the capability")?);
    assert!(message.contains("CAP_NET_RAW") && message.contains("setcap"), "{message}");
    Ok(())
}

#[test]
fn a_claim_by_another_station_is_noticed() -> Result<()> {
    let mut segment = Segment::new(&[(VIP, Interfaces::All), (VIP6, Interfaces::All)])?;
    let claims = |vip: &str| -> Result<u64> {
        let totals = segment.counters.totals();
        Ok(totals.by_ip.get(&vip.parse::<IpAddr>()?).map_or(0, |counts| counts.foreign_claims))
    };
    wait::until_true(SOON, "the first announcements", || {
        Ok(segment.announced(VIP)? > 0 && segment.announced(VIP6)? > 0)
    })?;
    segment.arping_soon("eth0", &["-U", "-P", "-S", VIP], VIP)?;
    wait::until_true(SOON, "the claim by ARP", || Ok(claims(VIP)? > 0))?;
    let client: Mac = segment.client.mac("eth0")?.parse()?;
    let all = "ff02::1".parse()?;
    let message = wire::Advertisement {
        source: CLIENT6.parse()?,
        destination: all,
        target: VIP6.parse()?,
        router: false,
        solicited: false,
        overrides: true,
        link_layer: Some(client),
    };
    let message = wire::Message::Advertisement(message);
    send(&segment.client, &wire::Frame { destination: wire::multicast_mac(all), source: client, message })?;
    wait::until_true(SOON, "the claim by NDP", || Ok(claims(VIP6)? == 1))?;
    segment.end()
}

#[test]
fn thousands_of_addresses_keep_nobody_waiting() -> Result<()> {
    let mut segment = Segment::new(&[])?;
    let texts: Vec<String> = (0..5000_u32)
        .flat_map(|n| {
            [format!("10.1.{}.{}", n / 250, n % 250), format!("2001:db8::{:x}:{:x}", n / 100, n % 100)]
        })
        .collect();
    let many: Vec<(&str, Interfaces)> = texts.iter().map(|text| (text.as_str(), Interfaces::All)).collect();
    let (began, mac) = (wait::now(), segment.node.mac("eth0")?);
    segment.want(&many)?;
    let announced = || segment.counters.totals().by_ip.len();
    wait::until_true(SOON, "the first announcement", || Ok(announced() > 0))?;
    let (mut asked, mut meanwhile, mut slowest) = (0, 0, Duration::ZERO);
    while announced() < many.len() {
        let before = wait::now();
        assert_eq!(segment.arping("eth0", &[], ASKED)?, mac);
        slowest = slowest.max(before.elapsed());
        asked += 1;
        meanwhile += u64::from(announced() < many.len());
        assert!(began.elapsed() < Duration::from_secs(30), "{} announced", announced());
    }
    eprintln!("10000 addresses announced in {:?}; slowest of {asked} arpings {slowest:?}", began.elapsed());
    let counts = segment.counters.totals().by_ip.get(&ASKED.parse::<IpAddr>()?).copied().unwrap_or_default();
    assert!(meanwhile > 0, "none of {asked} was answered while others were announced");
    assert_eq!((counts.requests_received, counts.responses_sent), (asked, asked));
    // More than one socket's memory takes.
    wait::until_true(SOON, "every group", || {
        let groups = segment.node.command("cat").arg("/proc/net/igmp6").text()?;
        Ok(groups.lines().filter(|line| line.contains("ff0200000000000000000001ff")).count() >= 5000)
    })?;
    assert_eq!(segment.ndisc6("2001:db8::31:63")?, mac);
    segment.end()
}

/// A question for `VIP` from the client, with these octets after the hardware addresses of the frame.
fn question(from: &Raw, to: [u8; 6], tag: &[u8], operation: u8) -> Result<Vec<u8>> {
    let (vip, client) = (VIP.parse::<Ipv4Addr>()?.octets(), [192, 0, 2, 9]);
    let arp =
        [&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation][..], &from.mac(), &client, &[0; 6], &vip].concat();
    Ok([&to[..], &from.mac(), tag, &arp].concat())
}

/// An IPv6 packet from the client to `VIP6` with this header after its own, and 64 octets of this one.
fn packet6(from: &Raw, to: [u8; 6], next: u8, kind: u8) -> Result<Vec<u8>> {
    let (source, target) = (CLIENT6.parse::<Ipv6Addr>()?.octets(), VIP6.parse::<Ipv6Addr>()?.octets());
    let head = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 64, next, 255];
    Ok([&to[..], &from.mac(), &head, &source, &target, &[kind], &[0; 63]].concat())
}

/// The kernel keeps away what is not for the responder: it is not woken for it. What is tagged with VLAN 0 is for it.
#[test]
fn other_traffic_does_not_wake_the_responder() -> Result<()> {
    let mut segment = Segment::new(&[(VIP, Interfaces::All), (VIP6, Interfaces::All)])?;
    let mac = segment.node.mac("eth0")?.parse::<Mac>()?.0;
    let other = [2, 0, 0, 0, 0, 0x99];
    let all = |segment: &Segment| segment.counters.totals().dropped.values().sum::<u64>();
    let asked = |segment: &Segment, ip: &str| -> Result<u64> {
        let totals = segment.counters.totals();
        Ok(totals.by_ip.get(&ip.parse()?).map_or(0, |counts| counts.requests_received))
    };
    wait::until_true(SOON, "the announcements", || Ok(segment.counters.totals().by_ip.len() == 2))?;
    let raw = segment.client.enter(|| Raw::open("eth0", Heard::Nothing))?;
    let udp = [&mac[..], &raw.mac(), &[0x08, 0, 0x45, 0, 0, 46], &[0; 5], &[17], &[0; 80]].concat();
    let mut noise = vec![
        ("UDP", udp),
        ("LLDP", [&[1, 0x80, 0xc2, 0, 0, 0x0e][..], &raw.mac(), &[0x88, 0xcc], &[0; 50]].concat()),
        ("reverse ARP", question(&raw, [0xff; 6], &[], 3)?),
        ("ARP for another station", question(&raw, other, &[], 1)?),
        ("ARP of VLAN 10", question(&raw, [0xff; 6], &[0x81, 0, 0, 10], 1)?),
        ("UDP over IPv6", packet6(&raw, mac, 17, 135)?),
        ("a solicitation for another station", packet6(&raw, other, 58, 135)?),
        ("a solicitation behind another header", packet6(&raw, mac, 0, 135)?),
    ];
    for kind in [1, 128, 129, 133, 134, 137, 143] {
        noise.push(("another message of ICMPv6", packet6(&raw, mac, 58, kind)?));
    }
    let before = all(&segment);
    for (_, frame) in &noise {
        for _ in 0..100 {
            raw.send(frame)?;
        }
    }
    // Frames are taken in order: when this one is answered, all of those have been through.
    raw.send(&question(&raw, [0xff; 6], &[0x81, 0, 0, 0], 1)?)?;
    wait::until_true(SOON, "the answer to a question in VLAN 0", || Ok(asked(&segment, VIP)? == 1))?;
    let mut message = wire::Solicitation {
        source: CLIENT6.parse()?,
        destination: VIP6.parse()?,
        target: VIP6.parse::<Ipv6Addr>()?,
        link_layer: None,
    };
    let mut ask = |hops: u8| -> Result<()> {
        let frame = wire::Frame {
            destination: Mac(mac),
            source: Mac(raw.mac()),
            message: wire::Message::Solicitation(message),
        };
        let mut octets = wire::emit(&frame).to_vec();
        *octets.get_mut(21).context("no hop limit")? = hops;
        message.link_layer = Some(Mac(raw.mac()));
        raw.send(&octets)
    };
    ask(255)?;
    wait::until_true(SOON, "the answer to a solicitation", || Ok(asked(&segment, VIP6)? == 1))?;
    assert_eq!(all(&segment), before, "of {} kinds of frames, some came through", noise.len());
    // These are looked at, and get no answer: what a router passed on, and, by the sum, what is spoilt.
    ask(254)?;
    raw.send(&packet6(&raw, mac, 58, 135)?)?;
    ask(255)?;
    wait::until_true(SOON, "the next answer", || Ok(asked(&segment, VIP6)? == 2))?;
    assert_eq!(all(&segment), before + 2);
    segment.end()
}

/// A bridge that snoops passes a solicitation only to ports that reported its group: those of the node do, on an
/// interface that comes later too, and the kernel's own search and its unicast probes both succeed through it.
#[test]
fn a_switch_that_snoops_lets_solicitations_through() -> Result<()> {
    const BRIDGE: &str = "lan";
    let warden = Warden::start()?;
    let net = |role: &str| Net::create(&warden, role);
    let (switch, node, client, third) = (net("switch")?, net("node")?, net("client")?, net("third")?);
    switch.bridge(BRIDGE)?;
    switch.ip(&format!(
        "link set dev {BRIDGE} type bridge mcast_snooping 1 mcast_query_response_interval 20 \
         mcast_startup_query_interval 100 mcast_querier 1"
    ))?;
    for (host, address) in
        [(&node, "2001:db8::2/64"), (&client, "2001:db8::c1/64"), (&third, "2001:db8::3/64")]
    {
        host.plug("eth0", &[address], &switch, BRIDGE)?;
    }
    let mut segment = Segment {
        duty: None,
        speaker: None,
        counters: Arc::new(Counters::default()),
        node,
        client,
        warden: Arc::clone(&warden),
    };
    segment.speak(&[(VIP6, Interfaces::All)])?;
    let mac = segment.node.mac("eth0")?;
    let reported = |port: &str| -> Result<bool> {
        let table = Spawn::new("bridge").args(["-n", switch.name(), "mdb", "show"]).text()?;
        Ok(table.lines().any(|line| line.contains(&format!("port {port} grp ff02::1:ff00:7 "))))
    };
    wait::until_true(SOON, "the group at the node's port", || reported(&netns::port("node", BRIDGE)))?;

    // The switch snoops when a bystander no longer hears who is asked for in vain.
    let heard = |segment: &Segment, target: &str| -> Result<usize> {
        let raw = third.enter(|| Raw::open("eth0", Heard::Everything))?;
        segment.ndisc6_for("1000", target)?;
        let (mut count, mut room) = (0, [0; 2048]);
        while let Some(length) = raw.receive(&mut room)? {
            let frame = room.get(..length).unwrap_or_default();
            count += usize::from(frame.get(20) == Some(&58) && frame.get(54) == Some(&135));
        }
        Ok(count)
    };
    wait::until_true(Duration::from_secs(30), "the switch to snoop", || {
        Ok(heard(&segment, "2001:db8::99")? == 0)
    })?;
    assert_eq!(segment.ndisc6(VIP6)?, mac, "asked by multicast");
    assert_eq!(heard(&segment, VIP6)?, 0, "and nobody else heard it");
    assert!(!reported(&netns::port("third", BRIDGE))?);

    // The kernel's own search, and its probe of what it has found.
    let neighbour = |segment: &Segment| segment.client.ip(&format!("neigh show {VIP6} dev eth0"));
    segment.client.ip("neigh flush all")?;
    segment.client.enter(|| Ok(UdpSocket::bind(":::0")?.send_to(&[0], (VIP6, 9))?))?;
    wait::until_true(SOON, "the kernel's search", || Ok(neighbour(&segment)?.contains(&mac)))?;
    for state in ["probe", "stale"] {
        segment.client.ip(&format!("neigh replace {VIP6} lladdr {mac} dev eth0 nud {state}"))?;
        // it lets another five seconds pass before it probes what is stale
        wait::until_true(Duration::from_secs(30), "the kernel's probe of a neighbour", || {
            segment.client.enter(|| Ok(UdpSocket::bind(":::0")?.send_to(&[0], (VIP6, 9))?))?;
            Ok(neighbour(&segment)?.contains("REACHABLE"))
        })?;
    }

    // An interface that comes later.
    segment.node.ip(&format!("link add name eth1 type veth peer name late netns {}", switch.name()))?;
    switch.ip(&format!("link set dev late master {BRIDGE} up"))?;
    segment.node.ip("link set dev eth1 up")?;
    wait::until_true(SOON, "the group at the later port", || reported("late"))?;
    segment.end()
}

/// Thousands of addresses that give way to others, again and again, take no more sockets than the first did.
#[test]
fn memberships_that_change_share_their_sockets() -> Result<()> {
    const MANY: u32 = 3000;
    let mut segment = Segment::new(&[])?;
    let joined = |round: u32| -> Result<bool> {
        let groups = segment.node.command("cat").arg("/proc/net/igmp6").text()?;
        let group = format!("ff0200000000000000000001ff{round:02x}");
        Ok(groups.lines().filter(|line| line.contains(&group)).count() >= usize::try_from(MANY)?)
    };
    let sockets = || -> Result<u32> {
        let text = segment.node.command("cat").arg("/proc/net/sockstat").text()?;
        let count = text.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse().ok());
        count.context("no count of sockets")
    };
    let mut first = None;
    for round in 1..=4_u32 {
        let texts: Vec<String> = (0..MANY).map(|n| format!("2001:db8::{round:x}:{n:x}")).collect();
        // one stays, so that its socket does
        let mut many = vec![(VIP6, Interfaces::All)];
        many.extend(texts.iter().map(|text| (text.as_str(), Interfaces::All)));
        segment.want(&many)?;
        wait::until_true(Duration::from_secs(30), "every group", || joined(round))?;
        let used = sockets()?;
        assert!(used <= *first.get_or_insert(used), "{used} sockets in round {round}, {first:?} at first");
    }
    assert_eq!(segment.ndisc6("2001:db8::4:bb7")?, segment.node.mac("eth0")?);
    segment.end()
}
