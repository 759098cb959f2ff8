//! One connection to a daemon's vty: lines out, answers in.
//!
//! A daemon reads `LINE NUL` and answers `TEXT NUL NUL NUL CODE`, in order. Lines can be sent before the answers to
//! earlier ones are read; the daemon then works through them at some 20 µs each.

use anyhow::{Context, Result, bail};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// A daemon that says nothing for this long hangs: none of our lines takes more than a few milliseconds. One that is
/// called has no work of ours yet.
const SILENCE: Duration = Duration::from_secs(5);
const GREETING: Duration = Duration::from_secs(3);

/// The most that a connection keeps for the next answer.
const IDLE_BUFFER: usize = 16 * 1024;

/// What a daemon said to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0: done. Anything else: not done.
    pub code: u8,
    /// What it printed.
    pub text: String,
}

/// A connection, in enable mode.
pub struct Vty {
    input: OwnedReadHalf,
    output: OwnedWriteHalf,
    buffer: Vec<u8>,
}

impl Vty {
    /// Connects to the daemon behind the socket `path`.
    ///
    /// # Errors
    /// Nobody listens there, or does not let us in.
    pub async fn open(path: &Path) -> Result<Self> {
        let greet = async {
            let (input, output) = UnixStream::connect(path).await?.into_split();
            let mut vty = Self { input, output, buffer: Vec::new() };
            let answer = vty.ask(&["enable"]).await?;
            match answer.first() {
                Some(Answer { code: 0, .. }) => Ok(vty),
                other => bail!("enable mode refused: {other:?}"),
            }
        };
        timeout(GREETING, greet).await.context("no answer")?
    }

    /// Sends `lines` in one piece and waits for the answer to each.
    ///
    /// Not cancel-safe: a connection that was left in the middle must be dropped.
    ///
    /// # Errors
    /// The connection broke, or the daemon fell silent. Which lines it has worked through is unknown then.
    pub async fn ask<S: AsRef<str>>(&mut self, lines: &[S]) -> Result<Vec<Answer>> {
        let mut message = Vec::new();
        for line in lines {
            message.extend_from_slice(line.as_ref().as_bytes());
            message.push(0);
        }
        let Self { input, output, buffer } = self;
        let send = async { output.write_all(&message).await.context("write to the vty") };
        let receive = async {
            let mut answers = Vec::with_capacity(lines.len());
            while answers.len() < lines.len() {
                answers.push(timeout(SILENCE, receive(input, buffer)).await.context("no answer")??);
            }
            Ok(answers)
        };
        let ((), answers) = tokio::try_join!(send, receive)?;
        Ok(answers)
    }

    /// Waits until the daemon hangs up, or says something unasked, which we would take for an answer.
    ///
    /// Cancel-safe.
    pub async fn lost(&mut self) {
        while self.input.readable().await.is_ok() {
            match self.input.try_read(&mut [0]) {
                // readiness can be a memory of what was read already
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

/// Takes one answer off the stream.
async fn receive(input: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Result<Answer> {
    let mut searched = 0;
    loop {
        let rest = buffer.get(searched..).unwrap_or_default();
        if let Some(at) = rest.windows(3).position(|window| window == [0, 0, 0]).map(|at| at + searched)
            && let Some(&code) = buffer.get(at + 3)
        {
            let text = String::from_utf8_lossy(buffer.get(..at).unwrap_or_default()).into_owned();
            buffer.drain(..at + 4);
            // a running configuration is long, and all other answers are short
            buffer.shrink_to(IDLE_BUFFER);
            return Ok(Answer { code, text });
        }
        searched = buffer.len().saturating_sub(3);
        if input.read_buf(buffer).await.context("read from the vty")? == 0 {
            bail!("the daemon closed the connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// Answers that arrive in pieces, many at a time, and with a code that looks like the end mark.
    #[tokio::test]
    async fn answers_are_taken_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.vty");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while seen.iter().filter(|b| **b == 0).count() < 1 {
                stream.read_buf(&mut seen).await.unwrap();
            }
            stream.write_all(b"\0\0\0\0").await.unwrap();
            while seen.iter().filter(|b| **b == 0).count() < 4 {
                stream.read_buf(&mut seen).await.unwrap();
            }
            for piece in [&b"on"[..], b"e\n\0\0", b"\0\x0d\0\0\0", b"\0two\0\0\0\x02"] {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            seen
        });
        let mut vty = Vty::open(&path).await.unwrap();
        let answers = vty.ask(&["a", "b c", "d"]).await.unwrap();
        let answer = |code, text: &str| Answer { code, text: text.to_owned() };
        assert_eq!(answers, [answer(13, "one\n"), answer(0, ""), answer(2, "two")]);
        assert_eq!(daemon.await.unwrap(), b"enable\0a\0b c\0d\0");
        vty.lost().await;
        assert!(vty.ask(&["x"]).await.is_err());
    }
}
