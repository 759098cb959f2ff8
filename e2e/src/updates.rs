//! BGP UPDATEs from captured frames: which prefixes were announced and which withdrawn, and when.
//!
//! Anything that it cannot follow (a hole in the stream, a message of an impossible length) is an error, since a
//! withdrawal might hide in it.

mod update;

pub use update::Update;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::capture::Frame;

const BGP: u16 = 179;
const MARKER: [u8; 16] = [0xff; 16];

/// The UPDATEs in these frames, in the order in which they were completed. End-of-RIB markers, which name no prefix,
/// are left out.
///
/// # Errors
/// When a stream cannot be followed.
pub fn updates(frames: &[Frame]) -> Result<Vec<Update>> {
    let mut streams: BTreeMap<(IpAddr, u16, IpAddr, u16), Stream> = BTreeMap::new();
    let mut updates = Vec::new();
    for frame in frames {
        let Some(segment) = Segment::of(&frame.bytes) else { continue };
        if segment.from.1 != BGP && segment.to.1 != BGP {
            continue;
        }
        let key = (segment.from.0, segment.from.1, segment.to.0, segment.to.1);
        if segment.begins {
            streams.remove(&key);
        }
        let stream = streams.entry(key).or_default();
        stream.take(&segment).with_context(|| format!("the stream from {} to {}", key.0, key.2))?;
        while let Some(body) = stream.message()? {
            let update = Update::read(&body, frame.at, segment.from.0)?;
            if !(update.announced.is_empty() && update.withdrawn.is_empty()) {
                updates.push(update);
            }
        }
    }
    Ok(updates)
}

/// A session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Duration,
    /// Whose: the one that had called.
    pub caller: IpAddr,
}

/// The ends of the connections in these frames on which anything was said, in order.
#[must_use]
pub fn ends(frames: &[Frame]) -> Vec<End> {
    let mut live = BTreeSet::new();
    let mut ends = Vec::new();
    for frame in frames {
        let Some(segment) = Segment::of(&frame.bytes) else { continue };
        let caller = match (segment.from.1, segment.to.1) {
            (_, BGP) => segment.from,
            (BGP, _) => segment.to,
            _ => continue,
        };
        if segment.ends {
            if live.remove(&caller) {
                ends.push(End { at: frame.at, caller: caller.0 });
            }
        } else if !segment.data.is_empty() {
            live.insert(caller);
        }
    }
    ends
}

/// A TCP segment, as far as it matters here.
struct Segment<'a> {
    from: (IpAddr, u16),
    to: (IpAddr, u16),
    sequence: u32,
    /// Whether it opens a connection.
    begins: bool,
    /// Whether it closes or resets one.
    ends: bool,
    data: &'a [u8],
}

impl<'a> Segment<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let (header, packet) = frame.split_first_chunk::<14>()?;
        let (from, to, tcp) = match header.last_chunk::<2>()? {
            [0x08, 0x00] => {
                let head = packet.first_chunk::<20>()?;
                let [first, .., s0, s1, s2, s3, d0, d1, d2, d3] = *head;
                let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
                let tcp = packet.get(usize::from(first & 15) * 4..total)?;
                let protocol = *packet.get(9)?;
                (protocol == 6).then_some(())?;
                (IpAddr::from([s0, s1, s2, s3]), IpAddr::from([d0, d1, d2, d3]), tcp)
            }
            [0x86, 0xdd] => {
                let (head, payload) = packet.split_first_chunk::<40>()?;
                let length = usize::from(u16::from_be_bytes([*head.get(4)?, *head.get(5)?]));
                (*head.get(6)? == 6).then_some(())?;
                let from: [u8; 16] = *head.get(8..24)?.first_chunk()?;
                let to: [u8; 16] = *head.last_chunk()?;
                (IpAddr::from(from), IpAddr::from(to), payload.get(..length)?)
            }
            _ => return None,
        };
        let head = tcp.first_chunk::<20>()?;
        let [p0, p1, q0, q1, n0, n1, n2, n3, _, _, _, _, offset, flags, ..] = *head;
        Some(Self {
            from: (from, u16::from_be_bytes([p0, p1])),
            to: (to, u16::from_be_bytes([q0, q1])),
            sequence: u32::from_be_bytes([n0, n1, n2, n3]),
            begins: flags & 2 != 0,
            ends: flags & 5 != 0,
            data: tcp.get(usize::from(offset >> 4) * 4..)?,
        })
    }
}

/// One direction of a connection: what is not yet a whole message.
#[derive(Default)]
struct Stream {
    next: Option<u32>,
    bytes: Vec<u8>,
}

impl Stream {
    fn take(&mut self, segment: &Segment<'_>) -> Result<()> {
        if segment.begins {
            self.next = Some(segment.sequence.wrapping_add(1));
            return Ok(());
        }
        if segment.data.is_empty() {
            return Ok(());
        }
        let next = *self.next.get_or_insert(segment.sequence);
        // a retransmission lies behind; what lies ahead means that the capture has lost something
        let behind = next.wrapping_sub(segment.sequence);
        if behind > u32::MAX / 2 {
            bail!("{} bytes are missing", segment.sequence.wrapping_sub(next));
        }
        let fresh = segment.data.get(usize::try_from(behind)?..).unwrap_or_default();
        self.bytes.extend_from_slice(fresh);
        self.next = Some(next.wrapping_add(u32::try_from(fresh.len())?));
        Ok(())
    }

    /// The body of the next UPDATE, without its header.
    fn message(&mut self) -> Result<Option<Vec<u8>>> {
        while let Some((head, _)) = self.bytes.split_first_chunk::<19>() {
            let (marker, [l0, l1, kind]) =
                (head.first_chunk::<16>(), *head.last_chunk::<3>().unwrap_or(&[0; 3]));
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            if marker != Some(&MARKER) || length < 19 {
                bail!("no BGP message begins where one should");
            }
            if self.bytes.len() < length {
                break;
            }
            let message: Vec<u8> = self.bytes.drain(..length).collect();
            if kind == 2 {
                return Ok(Some(message.get(19..).unwrap_or_default().to_vec()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: ([u8; 4], u16) = ([172, 31, 1, 11], 40000);
    const ROUTER: ([u8; 4], u16) = ([172, 31, 1, 1], BGP);

    /// An IPv4 frame with these TCP flags and data.
    fn frame(at: u64, from: ([u8; 4], u16), to: ([u8; 4], u16), flags: u8, data: &[u8]) -> Frame {
        let mut bytes = vec![0; 12];
        bytes.extend([
            0x08,
            0x00,
            0x45,
            0,
            0,
            u8::try_from(40 + data.len()).unwrap(),
            0,
            0,
            0,
            0,
            64,
            6,
            0,
            0,
        ]);
        bytes.extend(from.0);
        bytes.extend(to.0);
        bytes.extend(from.1.to_be_bytes());
        bytes.extend(to.1.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        bytes.extend(data);
        Frame { at: Duration::from_secs(at), bytes }
    }

    /// An end counts once, by whichever side, for the one that had called; a call in vain is none.
    #[test]
    fn a_session_that_was_live_ends_once() {
        let (syn, ack, fin, rst) = (2, 16, 1, 4);
        let again = (NODE.0, 40001);
        let frames = [
            // refused
            frame(1, NODE, ROUTER, syn, &[]),
            frame(1, ROUTER, NODE, rst | ack, &[]),
            // alive, and closed by both
            frame(2, again, ROUTER, syn, &[]),
            frame(3, again, ROUTER, ack, b"open"),
            frame(4, ROUTER, again, fin | ack, &[]),
            frame(5, again, ROUTER, fin | ack, &[]),
            // another service's
            frame(6, (NODE.0, 1), (ROUTER.0, 2), ack, b"data"),
            frame(7, (NODE.0, 1), (ROUTER.0, 2), rst, &[]),
            // called by the router, reset by the node
            frame(8, (ROUTER.0, 50000), (NODE.0, BGP), ack, b"open"),
            frame(9, (NODE.0, BGP), (ROUTER.0, 50000), rst, &[]),
        ];
        let end = |at, caller: [u8; 4]| End { at: Duration::from_secs(at), caller: caller.into() };
        assert_eq!(ends(&frames), [end(4, NODE.0), end(9, ROUTER.0)]);
    }
}
