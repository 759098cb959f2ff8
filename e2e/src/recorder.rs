//! A BGP neighbour that announces nothing and writes down every UPDATE that it is told; and that can ask for everything
//! again at any moment (RFC 2918), as a router may.
//!
//! IPv4 unicast, four-byte AS numbers. It does not judge: tests do.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};

use crate::{netns::Net, updates::Update, wait};

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
const REFRESH: u8 = 5;

/// The neighbour.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    told: Vec<Update>,
    sessions: u32,
    /// Two threads write to it, a whole message at a time.
    writer: Option<Arc<Mutex<TcpStream>>>,
    fault: Option<String>,
}

impl Recorder {
    /// Waits for calls at `address` in `net`, as a router of AS `asn`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn listen(net: &Net, address: SocketAddrV4, asn: u32) -> Result<Self> {
        let listener = net.enter(|| Ok(TcpListener::bind(address)?))?;
        let shared = Arc::<Mutex<Shared>>::default();
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = stream.map_err(Into::into).and_then(|s| serve(s, *address.ip(), asn, &state));
                if let Err(error) = served {
                    lock(&state).fault = Some(format!("{error:#}"));
                }
            }
        });
        Ok(Self { shared })
    }

    /// What it was told so far, or since the last [`Recorder::take`].
    ///
    /// # Errors
    /// When a session ended: nothing that a test does here may end one.
    pub fn told(&self) -> Result<Vec<Update>> {
        let shared = lock(&self.shared);
        match &shared.fault {
            Some(fault) => bail!("the session ended: {fault}"),
            None => Ok(shared.told.clone()),
        }
    }

    /// The same, whether or not sessions ended.
    #[must_use]
    pub fn any(&self) -> Vec<Update> {
        lock(&self.shared).told.clone()
    }

    /// As [`Recorder::told`], and forgets it.
    ///
    /// # Errors
    /// As [`Recorder::told`].
    pub fn take(&self) -> Result<Vec<Update>> {
        let told = self.told()?;
        lock(&self.shared).told.drain(..told.len());
        Ok(told)
    }

    /// How many sessions it has had.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        lock(&self.shared).sessions
    }

    /// Asks for everything again.
    ///
    /// # Errors
    /// When there is no session.
    pub fn refresh(&self) -> Result<()> {
        let writer = lock(&self.shared).writer.clone().context("no session")?;
        Ok(lock(&writer).write_all(&message(REFRESH, &[0, 1, 0, 1])?)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(body.len() + 19)?.to_be_bytes());
    message.push(kind);
    message.extend(body);
    Ok(message)
}

fn serve(mut stream: TcpStream, id: Ipv4Addr, asn: u32, shared: &Mutex<Shared>) -> Result<()> {
    let from = stream.peer_addr()?.ip();
    // IPv4 unicast, route refresh, four-byte AS numbers
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 2, 0, 65, 4];
    capabilities.extend(asn.to_be_bytes());
    let mut open = vec![4];
    open.extend(u16::try_from(asn).unwrap_or(23456).to_be_bytes());
    open.extend([0, 180]);
    open.extend(id.octets());
    let length = u8::try_from(capabilities.len())?;
    open.extend([length + 2, 2, length]);
    open.extend(capabilities);
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    let say = |kind, body: &[u8]| -> Result<()> { Ok(lock(&writer).write_all(&message(kind, body)?)?) };
    say(OPEN, &open)?;
    loop {
        let mut head = [0; 19];
        stream.read_exact(&mut head)?;
        let [.., l0, l1, kind] = head;
        let length = usize::from(u16::from_be_bytes([l0, l1])).checked_sub(19).context("a short message")?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        match kind {
            OPEN => {
                say(KEEPALIVE, &[])?;
                let mut shared = lock(shared);
                shared.sessions += 1;
                shared.writer = Some(Arc::clone(&writer));
            }
            KEEPALIVE => say(KEEPALIVE, &[])?,
            UPDATE => {
                let update = Update::read(&body, wait::since_epoch()?, from)?;
                lock(shared).told.push(update);
            }
            // it has nothing to tell
            REFRESH => {}
            _ => bail!("message {kind}: {body:?}"),
        }
    }
}
