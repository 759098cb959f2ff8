//! Asks by ARP as fast as it gets answers: so many questions in flight and no more, each marked by the address of its
//! sender.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    bench::stats::Samples,
    raw::{Heard, Raw},
    wait,
};

/// The senders' addresses: this one and those after it, one for each question in flight.
const SENDERS: u32 = u32::from_be_bytes([10, 96, 0, 0]);

/// An answer that takes longer is lost.
const LIMIT: Duration = Duration::from_secs(1);

/// What came of the questions.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// How long each answer took.
    pub(super) took: Samples,
    /// How many came.
    pub(super) count: u32,
    /// Questions without an answer.
    pub(super) lost: u32,
    /// The time of all of them.
    pub(super) time: Duration,
}

impl Answers {
    /// Answers in a second.
    pub(super) fn per_second(&self) -> f64 {
        f64::from(self.count) / self.time.as_secs_f64()
    }

    /// A percentile, in microseconds.
    pub(super) fn micros(&self, percent: usize) -> f64 {
        self.took.percentile(percent) * 1000.0
    }
}

/// A question that has no answer yet.
#[derive(Clone, Copy)]
struct Open {
    target: Ipv4Addr,
    since: Instant,
}

/// Asks for `time` for these addresses in turn, `flight` questions at once, of the station `mac`.
///
/// # Errors
/// When the interface does not take a frame, or an answer is wrong.
pub(super) fn ask(
    raw: &Raw,
    targets: &[Ipv4Addr],
    flight: u16,
    mac: [u8; 6],
    time: Duration,
) -> Result<Answers> {
    let mut turn = targets.iter().copied().cycle();
    let mut question = |place: usize| -> Result<Open> {
        let target = turn.next().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let since = wait::now();
        raw.send(&request(raw.mac(), sender(place), target))?;
        Ok(Open { target, since })
    };
    let mut open = (0..usize::from(flight)).map(&mut question).collect::<Result<Vec<Open>>>()?;
    let (mut answers, start, mut room) = (Answers::default(), wait::now(), [0; 128]);
    while start.elapsed() < time {
        let Some(length) = raw.receive(&mut room)? else {
            raw.wait(Duration::from_millis(10))?;
            let now = wait::now();
            for (place, slot) in open.iter_mut().enumerate() {
                if now.duration_since(slot.since) > LIMIT {
                    answers.lost += 1;
                    *slot = question(place)?;
                }
            }
            continue;
        };
        let Some(reply) = room.get(..length).and_then(|frame| reply(frame, raw.mac())) else { continue };
        let place = usize::try_from(u32::from(reply.asker).wrapping_sub(SENDERS))?;
        let Some(slot) = open.get_mut(place) else { continue };
        // an answer to a question that was given up: counted as lost already
        if reply.ip != slot.target {
            continue;
        }
        ensure!(reply.mac == mac, "{} is at {:02x?}, not at {mac:02x?}", reply.ip, reply.mac);
        answers.took.push(wait::now().duration_since(slot.since));
        answers.count += 1;
        *slot = question(place)?;
    }
    answers.time = start.elapsed();
    Ok(answers)
}

/// Counts the announcements of some time: broadcast frames of ARP.
///
/// # Errors
/// When the socket cannot be read.
pub(super) fn announcements(raw: &Raw, time: Duration) -> Result<u32> {
    let (mut count, start, mut room) = (0, wait::now(), [0; 128]);
    while start.elapsed() < time {
        match raw.receive(&mut room)? {
            Some(_) => count += u32::from(room.starts_with(&[0xff; 6])),
            None => raw.wait(Duration::from_millis(10))?,
        }
    }
    Ok(count)
}

/// Asks once and waits for the answer, for a second at most.
///
/// # Errors
/// As [`ask`].
pub(super) fn is_answered(net: &crate::netns::Net, interface: &str, ip: Ipv4Addr) -> Result<bool> {
    net.enter(|| {
        let raw = Raw::open(interface, Heard::Arp)?;
        raw.send(&request(raw.mac(), sender(0), ip))?;
        let (start, mut room) = (wait::now(), [0; 128]);
        while start.elapsed() < LIMIT {
            match raw.receive(&mut room)? {
                Some(length) => {
                    let reply = room.get(..length).and_then(|frame| reply(frame, raw.mac()));
                    if reply.is_some_and(|reply| reply.ip == ip) {
                        return Ok(true);
                    }
                }
                None => raw.wait(Duration::from_millis(10))?,
            }
        }
        Ok(false)
    })
}

fn sender(place: usize) -> Ipv4Addr {
    Ipv4Addr::from(SENDERS.wrapping_add(u32::try_from(place).unwrap_or_default()))
}

fn request(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    let parts: [&[u8]; 7] = [
        &[0xff; 6],
        &mac,
        &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
        &mac,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    ];
    for (to, from) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    frame
}

struct Reply {
    ip: Ipv4Addr,
    mac: [u8; 6],
    asker: Ipv4Addr,
}

/// An answer to the station `own`.
fn reply(frame: &[u8], own: [u8; 6]) -> Option<Reply> {
    let head = frame.first_chunk::<22>()?;
    let is_ours = head.starts_with(&own) && head.ends_with(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
    let [m0, m1, m2, m3, m4, m5, i0, i1, i2, i3, _, _, _, _, _, _, a0, a1, a2, a3] =
        *frame.get(22..)?.first_chunk::<20>()?;
    is_ours.then_some(Reply {
        ip: [i0, i1, i2, i3].into(),
        mac: [m0, m1, m2, m3, m4, m5],
        asker: [a0, a1, a2, a3].into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_and_no_other_frame() {
        let (own, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (asker, ip) = (sender(5), Ipv4Addr::new(10, 64, 0, 9));
        assert_eq!(asker, Ipv4Addr::new(10, 96, 0, 5));
        let mut frame = request(other, ip, asker);
        assert!(reply(&frame, own).is_none(), "a question");
        frame[..6].copy_from_slice(&own);
        frame[21] = 2;
        let found = reply(&frame, own).unwrap();
        assert_eq!((found.ip, found.mac, found.asker), (ip, other, asker));
        assert!(reply(&frame, other).is_none(), "to somebody else");
        assert!(reply(&frame[..41], own).is_none(), "cut short");
    }
}
