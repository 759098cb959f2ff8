//! Who says that it has an address: the questions of ARP and NDP that a client on the flat segment asks, and a count
//! of the answers on the wire.
//!
//! `arping` and `ndisc6` ask as a user would; the unicast solicitation, which no common tool sends, is made here.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use pnet::datalink;

use crate::{
    bins,
    capture::{Capture, Frame},
    fabric::LAN,
    netns::Net,
    wait,
    warden::Warden,
};

/// The filter that passes ARP and neighbour discovery, for [`Capture::start`].
pub const FILTER: &str = "arp or (icmp6 and (ip6[40] == 135 or ip6[40] == 136))";

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Everyone: broadcast (ARP), or the solicited-node group (NDP).
    All,
    /// Only the owner of this hardware address, as a client does that refreshes what it knows.
    Only(&'a str),
}

/// A claim seen on the wire: this hardware address has this address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// When, since the epoch.
    pub at: Duration,
    /// The claimed address.
    pub ip: IpAddr,
    /// The hardware address that claims it, as `02:00:00:00:00:01`.
    pub mac: String,
    /// An answer to one asker, or an announcement to all (gratuitous ARP, unsolicited advertisement).
    pub answer: bool,
}

/// How long an answer may take that is to come; a machine that is busy gets this time.
const ANSWER: Duration = Duration::from_secs(30);

/// How long one is waited for that nobody is to give.
const SILENCE: Duration = Duration::from_secs(1);

/// Asks once for `ip` on the flat segment and collects the answers, whether somebody gives one or nobody: those that
/// come within a second, and then within `patience` (the whole of it, so that a second answer is not missed).
///
/// # Errors
/// When a tool is missing or the capture fails. No answer is no error: the list is empty.
pub fn ask(
    warden: &Warden,
    client: &Net,
    ip: IpAddr,
    how: Ask<'_>,
    patience: Duration,
) -> Result<Vec<String>> {
    let capture = Capture::start(warden, client, LAN, FILTER)?;
    send(&capture, client, ip, how, SILENCE)?;
    second(&capture, ip, patience)
}

/// The same where somebody is to answer: however long that takes, the answer is waited for, and only then a second one.
///
/// # Errors
/// As [`ask`], and when nobody answers.
pub fn answered(
    warden: &Warden,
    client: &Net,
    ip: IpAddr,
    how: Ask<'_>,
    patience: Duration,
) -> Result<Vec<String>> {
    let capture = Capture::start(warden, client, LAN, FILTER)?;
    send(&capture, client, ip, how, ANSWER)?;
    let what = format!("an answer for {ip}, asked of {how:?}");
    wait::until_true(ANSWER, &what, || Ok(!answers(&capture.frames()?, ip).is_empty()))?;
    second(&capture, ip, patience)
}

/// Asks once and waits for an answer, this long at most.
fn send(capture: &Capture, client: &Net, ip: IpAddr, how: Ask<'_>, limit: Duration) -> Result<()> {
    match (ip, how) {
        (IpAddr::V4(ip), how) => {
            let arping = client.command(&bins::tool("arping")?.to_string_lossy());
            let arping = match how {
                Ask::All => arping,
                Ask::Only(mac) => arping.args(["-t", mac]),
            };
            // `-W` is the time after the only question. Its status says whether there was an answer; the capture says
            // how many
            let limit = limit.as_secs().to_string();
            arping.args(["-i", LAN, "-c", "1", "-C", "1", "-W", &limit, &ip.to_string()]).output()?;
        }
        (IpAddr::V6(ip), Ask::All) => {
            let ndisc6 = client.command(&bins::tool("ndisc6")?.to_string_lossy());
            let limit = limit.as_millis().to_string();
            ndisc6.args(["-1", "-r", "1", "-w", &limit, &ip.to_string(), LAN]).output()?;
        }
        (IpAddr::V6(target), Ask::Only(mac)) => {
            solicit(client, target, mac)?;
            // as those programs do
            wait::until_true(limit, "an answer", || Ok(!answers(&capture.frames()?, ip).is_empty())).ok();
        }
    }
    Ok(())
}

/// No condition says that no second answer comes: this waits for one, and not seeing it is the good case.
fn second(capture: &Capture, ip: IpAddr, patience: Duration) -> Result<Vec<String>> {
    let mut found = Vec::new();
    wait::until_true(patience, "a second answer", || {
        found = answers(&capture.frames()?, ip);
        Ok(found.len() > 1)
    })
    .ok();
    Ok(found)
}

/// What the client's kernel does before it sends a packet: it resolves, by its own NDP or ARP; gives what it found.
///
/// # Errors
/// When `ip` refuses.
pub fn known(client: &Net, ip: IpAddr) -> Result<Option<String>> {
    let table: serde_json::Value =
        serde_json::from_str(&client.ip(&format!("-j neigh show {ip} dev {LAN}"))?)
            .or_else(|_| serde_json::from_str("[]"))?;
    Ok(table.pointer("/0/lladdr").and_then(serde_json::Value::as_str).map(str::to_owned))
}

/// The question of everyone who has `ip`, by the station `own` with these addresses: broadcast, or to the
/// solicited-node group.
#[must_use]
pub fn question(own: [u8; 6], from: (Ipv4Addr, Ipv6Addr), ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => {
            let head = [0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1];
            [&[0xff; 6][..], &own, &head, &own, &from.0.octets(), &[0; 6], &ip.octets()].concat()
        }
        IpAddr::V6(ip) => {
            let [.., a, b, c] = ip.octets();
            let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
            solicitation(own, from.1, ([0x33, 0x33, 0xff, a, b, c], group), ip)
        }
    }
}

/// When this station first claims `ip` at this time or later.
#[must_use]
pub fn first(claims: &[Claim], ip: IpAddr, mac: &str, since: Duration) -> Option<Duration> {
    let mut of = claims.iter().filter(|claim| claim.ip == ip && claim.mac == mac && claim.at >= since);
    of.next().map(|claim| claim.at)
}

/// For how long two stations claimed `ip` at once, at this time or later: the length of [`doubling`].
#[must_use]
pub fn doubled(claims: &[Claim], ip: IpAddr, since: Duration) -> Duration {
    let time = doubling(claims, ip, since);
    time.end.saturating_sub(time.start)
}

/// When two stations claimed `ip` at once for the longest time, at this time or later: from when the second of them
/// begins to when one of them is heard last. One that for [`HELD`] alone is heard has the address, and what was before
/// is over; unless somebody who never has it goes on claiming it all the same.
#[must_use]
pub fn doubling(claims: &[Claim], ip: IpAddr, since: Duration) -> Range<Duration> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for claim in claims.iter().filter(|claim| claim.ip == ip && claim.at >= since) {
        match runs.last_mut() {
            Some(run) if run.mac == claim.mac => run.last = claim.at,
            _ => runs.push(Run { mac: &claim.mac, first: claim.at, last: claim.at }),
        }
    }
    let (mut longest, mut began) = (Duration::ZERO..Duration::ZERO, None);
    for three in runs.windows(3) {
        let [before, run, after] = three else { continue };
        if !run.holds() {
            let time = *began.get_or_insert(run.first)..run.last;
            if time.end - time.start >= longest.end - longest.start {
                longest = time;
            }
        } else if before.mac != after.mac || before.holds() {
            began = None;
        }
    }
    longest
}

/// How long a station must be heard without any other until it counts as the one that has the address. Somebody asks all
/// the while, several times in this time.
const HELD: Duration = Duration::from_millis(50);

/// Claims of one station, without one of another between them.
#[derive(Debug)]
struct Run<'a> {
    mac: &'a str,
    first: Duration,
    last: Duration,
}

impl Run<'_> {
    fn holds(&self) -> bool {
        self.last - self.first >= HELD
    }
}

/// The longest time in this one in which nobody answered for `ip`. Somebody asks all the while, and the time is longer
/// than from question to question.
#[must_use]
pub fn silence(claims: &[Claim], ip: IpAddr, time: Range<Duration>) -> Duration {
    let answers = claims.iter().filter(|claim| claim.ip == ip && claim.answer && time.contains(&claim.at));
    let (mut last, mut longest) = (time.start, Duration::ZERO);
    for at in answers.map(|claim| claim.at).chain([time.end]) {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}

/// Every claim in these frames.
#[must_use]
pub fn claims(frames: &[Frame]) -> Vec<Claim> {
    frames.iter().filter_map(claim).collect()
}

fn answers(frames: &[Frame], ip: IpAddr) -> Vec<String> {
    claims(frames).into_iter().filter(|claim| claim.answer && claim.ip == ip).map(|claim| claim.mac).collect()
}

fn claim(frame: &Frame) -> Option<Claim> {
    let (ethernet, packet) = frame.bytes.split_first_chunk::<14>()?;
    let (ip, mac, answer) = match ethernet.last_chunk::<2>()? {
        [0x08, 0x06] => {
            let [_, _, _, _, _, _, _, operation, mac @ .., s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] =
                *packet.first_chunk::<28>()?;
            let (sender, target) = ([s0, s1, s2, s3], [t0, t1, t2, t3]);
            let gratuitous = sender == target;
            // a question claims nothing for others to learn, unless it asks for its own address
            (operation == 2 || gratuitous).then_some(())?;
            (IpAddr::from(sender), mac.to_vec(), operation == 2 && !gratuitous)
        }
        [0x86, 0xdd] => {
            let (header, icmp) = packet.split_first_chunk::<40>()?;
            (*header.get(6)? == 58 && *icmp.first()? == 136).then_some(())?;
            let solicited = *icmp.get(4)? & 0x40 != 0;
            let target: [u8; 16] = *icmp.get(8..)?.first_chunk()?;
            // option 2, of one unit of eight bytes, is the target's hardware address; an answer to a unicast question
            // may leave it out (RFC 4861 section 4.4), since the frame itself says it
            let mac = match icmp.get(24..).and_then(<[u8]>::first_chunk::<8>) {
                Some([2, 1, mac @ ..]) => *mac,
                _ => *ethernet.get(6..12)?.first_chunk()?,
            };
            (IpAddr::from(target), mac.to_vec(), solicited)
        }
        _ => return None,
    };
    Some(Claim { at: frame.at, ip, mac: hex(&mac), answer })
}

/// Sends one neighbour solicitation to one hardware address.
fn solicit(client: &Net, target: Ipv6Addr, to: &str) -> Result<()> {
    let (own, to) = (bytes(&client.mac(LAN)?)?, bytes(to)?);
    let links: serde_json::Value =
        serde_json::from_str(&client.ip(&format!("-j -6 addr show dev {LAN} scope global"))?)?;
    let source = links.pointer("/0/addr_info/0/local").and_then(serde_json::Value::as_str);
    let source: Ipv6Addr = source.context("the client has no IPv6 address")?.parse()?;
    let frame = solicitation(own, source, (to, target), target);
    client.enter(|| {
        let interface = datalink::interfaces().into_iter().find(|interface| interface.name == LAN);
        let interface = interface.context("the client has no flat segment")?;
        match datalink::channel(&interface, datalink::Config::default())? {
            datalink::Channel::Ethernet(mut sender, _) => {
                sender.send_to(&frame, None).context("nothing was sent")??;
                Ok(())
            }
            _ => bail!("not an Ethernet"),
        }
    })
}

/// RFC 4861 section 4.3, with the source's hardware address as its option.
fn solicitation(own: [u8; 6], source: Ipv6Addr, to: ([u8; 6], Ipv6Addr), target: Ipv6Addr) -> Vec<u8> {
    const LENGTH: u16 = 32;
    let mut icmp = vec![135, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(target.octets());
    icmp.extend([1, 1]);
    icmp.extend(own);
    let mut pseudo = source.octets().to_vec();
    pseudo.extend(to.1.octets());
    pseudo.extend(u32::from(LENGTH).to_be_bytes());
    pseudo.extend([0, 0, 0, 58]);
    pseudo.extend(&icmp);
    let checksum = checksum(&pseudo).to_be_bytes();
    if let Some(field) = icmp.get_mut(2..4) {
        field.copy_from_slice(&checksum);
    }
    let mut frame = to.0.to_vec();
    frame.extend(own);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(LENGTH.to_be_bytes());
    // ICMPv6; the hop limit that proves a sender on the link
    frame.extend([58, 255]);
    frame.extend(source.octets());
    frame.extend(to.1.octets());
    frame.extend(icmp);
    frame
}

fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u16::from_be_bytes([*byte, 0]));
    let mut sum: u32 =
        pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum::<u32>() + u32::from(last);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

fn bytes(mac: &str) -> Result<[u8; 6]> {
    let parts: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>()?;
    parts.try_into().ok().with_context(|| format!("{mac} is no hardware address"))
}

fn hex(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_two_claim_it() {
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let claims = |list: &[(u64, &str)]| -> Vec<Claim> {
            let claim = |(ms, mac): &(u64, &str)| Claim {
                at: Duration::from_millis(*ms),
                ip,
                mac: (*mac).to_owned(),
                answer: true,
            };
            list.iter().map(claim).collect()
        };
        let all = claims(&[(1, "a"), (5, "a"), (9, "b"), (12, "b")]);
        assert_eq!(doubled(&all, ip, Duration::ZERO), Duration::ZERO, "one after the other");
        assert_eq!(first(&all, ip, "b", Duration::ZERO), Some(Duration::from_millis(9)));
        assert_eq!(first(&all, ip, "a", Duration::from_millis(6)), None);
        let all = claims(&[(1, "a"), (5, "b"), (8, "a"), (12, "b")]);
        assert_eq!(doubled(&all, ip, Duration::ZERO), Duration::from_millis(3), "from 5 to 8");
        assert_eq!(doubled(&all, ip, Duration::from_millis(9)), Duration::ZERO);
        assert_eq!(doubled(&all, "192.0.2.8".parse().unwrap(), Duration::ZERO), Duration::ZERO);
        let ms = |list: &[(u64, &str)]| doubled(&claims(list), ip, Duration::ZERO).as_millis();
        let three = [(1, "a"), (40, "b"), (200, "b"), (205, "c"), (600, "c"), (605, "b"), (900, "b")];
        assert_eq!(ms(&three), 0, "three have it in turn, one of them twice");
        let three = [&three[..5], &[(604, "b"), (607, "c"), (609, "b"), (615, "c"), (616, "b")]].concat();
        assert_eq!(ms(&three), 615 - 604, "not from when the first of the two had it before");
        let again = [(1, "a"), (90, "a"), (91, "b"), (95, "a"), (1191, "a"), (1192, "b"), (1193, "a")];
        assert_eq!(ms(&again), 1192 - 91, "it never has it, and says again and again that it has");
        let on = (0..400).map(|n| (n, if n % 2 == 0 { "a" } else { "b" })).collect::<Vec<_>>();
        assert_eq!(ms(&on), 398 - 1);
        assert_eq!(doubling(&claims(&on), ip, Duration::ZERO).start, Duration::from_millis(1));
        let silent = |from, to| silence(&all, ip, Duration::from_millis(from)..Duration::from_millis(to));
        assert_eq!(
            [silent(0, 13), silent(8, 13), silent(9, 30), silent(13, 30)].map(|t| t.as_millis()),
            [4, 4, 18, 17]
        );
    }

    #[test]
    fn a_question_is_no_claim_and_its_answer_is() {
        let (own, from) = ([2, 0, 0, 0, 0, 1], (Ipv4Addr::new(192, 0, 2, 9), "2001:db8::9".parse().unwrap()));
        for ip in ["192.0.2.7", "2001:db8::1:7"] {
            let bytes = question(own, from, ip.parse().unwrap());
            let mut frame = Frame { at: Duration::ZERO, bytes };
            assert_eq!(claims(&[frame.clone()]), []);
            assert!(ferrolb::l2::wire::parse(&frame.bytes).is_ok(), "{ip}");
            // the same octets as an answer say that the asker is at its own address
            if ip.contains('.') {
                frame.bytes[21] = 2;
                assert_eq!(claims(&[frame])[0].ip, IpAddr::from(from.0));
            }
        }
    }
}
