//! What passed on a wire: tcpdump writes, this reads.
//!
//! Tests judge from the frames, not only from the state that both ends come to in the end: a route that went away and
//! came back looks the same in a table as one that stayed.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{bins, netns::Net, process::Running, wait, warden::Warden};

/// Bytes of a frame that are kept, and kilobytes for frames that are not written yet: 8,192 of them.
const LONGEST: &str = "2000";
const BUFFER: &str = "16384";

/// A capture that runs until it is dropped.
#[derive(Debug)]
pub struct Capture {
    process: Running,
    file: PathBuf,
    so_far: Mutex<SoFar>,
}

/// What has been read of the file: so many bytes, and the frames in them. Who waits for a frame looks again and again,
/// and each look reads what is new.
#[derive(Debug, Default)]
struct SoFar {
    bytes: usize,
    frames: Vec<Frame>,
}

/// One Ethernet frame and when the kernel saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Time since the epoch.
    pub at: Duration,
    /// From the destination's hardware address on.
    pub bytes: Vec<u8>,
}

impl Capture {
    /// Captures on an interface of a namespace what `filter` passes (tcpdump's language), from the moment that this
    /// returns.
    ///
    /// # Errors
    /// When tcpdump is missing or refuses the filter.
    pub fn start(warden: &Warden, net: &Net, interface: &str, filter: &str) -> Result<Self> {
        let dir = warden.make_dir("captures")?;
        let number = fs::read_dir(&dir)?.count();
        let name = format!("{}-{interface}-{number}", net.role());
        let (file, log) = (dir.join(format!("{name}.pcap")), dir.join(format!("{name}.log")));
        let tcpdump = bins::tool("tcpdump")?;
        let process = net
            .command(&tcpdump.to_string_lossy())
            // each frame is written at once; as root, so that it may write into our directory. The kernel's ring has
            // slots of the longest frame: with no limit eight of them, and the ninth frame that comes at once is lost
            .args([
                "-i",
                interface,
                "--immediate-mode",
                "-U",
                "-n",
                "-s",
                LONGEST,
                "-B",
                BUFFER,
                "-Z",
                "root",
            ])
            .arg("-w")
            .arg(&file)
            .arg(filter)
            .log(log)
            .start(warden)?;
        process.wait_for_log(wait::START, "listening on")?;
        Ok(Self { process, file, so_far: Mutex::default() })
    }

    /// The frames so far, in order.
    ///
    /// # Errors
    /// When the file is not what tcpdump writes, or tcpdump has ended.
    pub fn frames(&self) -> Result<Vec<Frame>> {
        self.frames_after(0)
    }

    /// The same without so many of the first.
    ///
    /// # Errors
    /// As [`Capture::frames`].
    pub fn frames_after(&self, count: usize) -> Result<Vec<Frame>> {
        if let Some(status) = self.process.ended()? {
            bail!("tcpdump ended with {status}: {}", self.process.log_text());
        }
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let name = || format!("read {}", self.file.display());
        let file = File::open(&self.file).with_context(name)?;
        let length = usize::try_from(file.metadata().with_context(name)?.len())?;
        let mut new = vec![0; length.saturating_sub(so_far.bytes)];
        file.read_exact_at(&mut new, u64::try_from(so_far.bytes)?).with_context(name)?;
        so_far.read(&new)?;
        Ok(so_far.frames.get(count..).unwrap_or_default().to_vec())
    }

    /// The frames so far, and certainly all that passed before this moment ([`wait::since_epoch`]): there is a later one.
    /// On a wire where something is always said, as the keepalives of a session are.
    ///
    /// # Errors
    /// As [`Self::frames`], or when nothing is said any more.
    pub fn frames_past(&self, moment: Duration) -> Result<Vec<Frame>> {
        wait::until(Duration::from_secs(30), "a frame later than now", || {
            let frames = self.frames()?;
            Ok(frames.iter().any(|frame| frame.at > moment).then_some(frames))
        })
    }
}

impl SoFar {
    /// Reads what follows in a pcap file in this machine's byte order, with microseconds; half a frame at its end is one
    /// that is being written, and is read with what follows then.
    fn read(&mut self, mut rest: &[u8]) -> Result<()> {
        const MAGIC: u32 = 0xa1b2_c3d4;
        if self.bytes == 0 {
            let Some((header, body)) = rest.split_first_chunk::<24>() else { return Ok(()) };
            if header.first_chunk().map(|magic| u32::from_ne_bytes(*magic)) != Some(MAGIC) {
                bail!("not a pcap file");
            }
            (self.bytes, rest) = (header.len(), body);
        }
        while let Some((header, body)) = rest.split_first_chunk::<16>() {
            let word = |index: usize| {
                let bytes =
                    header.get(index * 4..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                u32::from_ne_bytes(bytes)
            };
            let length = usize::try_from(word(2))?;
            let Some((frame, after)) = body.split_at_checked(length) else { break };
            let at = Duration::from_secs(word(0).into()) + Duration::from_micros(word(1).into());
            self.frames.push(Frame { at, bytes: frame.to_vec() });
            (self.bytes, rest) = (self.bytes + header.len() + length, after);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_up_to_the_one_being_written() {
        let mut file = 0xa1b2_c3d4_u32.to_ne_bytes().to_vec();
        file.extend([0; 20]);
        for (second, body) in [(1_u32, &[7_u8, 8][..]), (2, &[9])] {
            for word in [second, 5, u32::try_from(body.len()).unwrap(), 60] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(body);
        }
        let read = |parts: &[&[u8]]| {
            let mut so_far = SoFar::default();
            // as of a file that grows: what was not read is there again
            let mut all = Vec::new();
            for part in parts {
                all.extend_from_slice(part);
                so_far.read(&all[so_far.bytes..])?;
            }
            Ok::<_, anyhow::Error>(so_far.frames)
        };
        let whole = read(&[&file]).unwrap();
        assert_eq!(whole.iter().map(|frame| frame.bytes.as_slice()).collect::<Vec<_>>(), [&[7, 8][..], &[9]]);
        assert_eq!(whole[0].at, Duration::from_micros(1_000_005));
        for at in 0..file.len() {
            assert_eq!(read(&[&file[..at], &file[at..]]).unwrap(), whole, "{at} octets, then the others");
        }
        file.pop();
        assert_eq!(read(&[&file]).unwrap(), whole[..1]);
        assert!(read(&[b"something else that is long enough"]).is_err());
        assert!(read(&[b""]).unwrap().is_empty());
    }
}
