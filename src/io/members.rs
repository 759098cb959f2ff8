//! Who is alive: the speakers' gossip over UDP, and what each says of itself.
//!
//! Every speaker asks others whether they are there, over and over, and tells what it hears (`gossip`); a node that dies
//! is noticed by all within half a second. Every datagram is sealed. Beside that each speaker brings a [`Fact`] to
//! every other one.
//!
//! A start: a speaker answers for nothing before it has looked around, that is, until most of the others have said what
//! they are, or for a second; routers are told meanwhile. It counts for the others once it says [`Stage::Ready`], with its first decision: until then
//! they go on in its place. A leave: it says [`Stage::Leaving`], the others decide without it and announce, and it goes on
//! answering until it hears that; see `run`'s `handover`. A partition: each side decides by whom it sees.
//!
//! Where nothing gets through between the nodes, Leases do the same in seconds (`lease`).
//!
//! The gossip has a thread of its own: whatever else this program computes, it may not be late, since a quarter of a
//! second of silence counts as death. Nothing is decided here.

mod fact;
mod gossip;
mod identity;
mod key;
pub mod lease;
mod pace;
mod peers;
mod roll;
mod said;
mod seal;
mod strangers;

#[cfg(test)]
mod simulation;

pub use fact::{Fact, Stage};
pub use gossip::{View, Word};
pub use key::Key;
pub use pace::Pace;
pub use peers::Peers;

use super::{apart::apart, clock::now};
use crate::names::NodeName;
use anyhow::Context;
use gossip::Gossip;
use identity::Identity;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use seal::Seal;
use std::{
    collections::BTreeSet,
    future::Future,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use strangers::Strangers;
use tokio::{net::UdpSocket as Socket, sync::watch};

/// The port of MetalLB's memberlist.
pub const PORT: u16 = 7946;

/// Datagrams read before anything else has its turn. What has come counts before what is due: an answer may be there
/// already.
const PORTION: usize = 256;

/// The longest datagram, and some.
const LONGEST: usize = pace::PACKET + seal::OVERHEAD + 64;

/// How to take part.
pub struct Setup {
    /// This node.
    pub node: NodeName,
    /// The address to send from and to be reached at; `None` for the one that the others are reached from.
    pub bind: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Where the others are.
    pub peers: Peers,
    /// What opens their datagrams.
    pub key: Key,
    /// How fast it goes.
    pub pace: Pace,
    /// Numbers for `/metrics`.
    pub counts: Counts,
}

/// Numbers of the gossip.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Who is there, ready or not, without this one.
    pub others: Gauge,
    /// Datagrams that were not sealed with our key.
    pub refused: Counter,
    /// Datagrams that were, and made no sense.
    pub misunderstood: Counter,
}

/// Takes part in the gossip: who is there, what this speaker says, and the task behind it, which ends only with a fault, or
/// when nobody says anything any more. On ending it tells the others that this speaker is gone.
///
/// # Errors
/// When there is no address to send from, or its port is taken.
pub async fn join(
    setup: Setup,
    say: watch::Receiver<Fact>,
) -> anyhow::Result<(watch::Receiver<Arc<View>>, impl Future<Output = anyhow::Result<()>> + Send + 'static)> {
    let Setup { node, bind, port, peers, key, pace, counts } = setup;
    // Whoever says where to send from is told at once when that does not work.
    let socket = bind.map(|ip| bound(ip, port)).transpose()?;
    let (tell, view) = watch::channel(Arc::default());
    let (expect, expected) = watch::channel(None);
    let task = async move {
        let (socket, addr) = match socket {
            Some(socket) => socket,
            None => bound(peers.own(port).await?, port)?,
        };
        // its digits: who starts later ranks higher
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let me = Identity::new(&node, addr, u64::try_from(clock).unwrap_or_default());
        tracing::info!(%addr, peers = %peers, ?pace, "taking part in the speakers' gossip");
        let seal = key.seal().await?;
        let gossip = apart("members", move || {
            let gossip = Gossip::new(me, pace, addr_seed(addr, clock), now());
            Speaker { seal, counts, gossip, tell, strangers: Strangers::default() }.run(socket, say, expected)
        });
        tokio::select! {
            end = gossip => end,
            fault = peers.follow(port, expect) => fault,
        }
    };
    Ok((view, task))
}

/// A socket of the gossip, and its address.
fn bound(ip: IpAddr, port: u16) -> anyhow::Result<(UdpSocket, SocketAddr)> {
    let addr = SocketAddr::new(ip, port);
    let socket =
        UdpSocket::bind(addr).with_context(|| format!("bind UDP {addr} for the speakers' gossip"))?;
    socket.set_nonblocking(true).context("make the gossip's socket wait for nobody")?;
    Ok((socket, addr))
}

/// Chances of its own for everybody.
fn addr_seed(addr: SocketAddr, clock: u128) -> u64 {
    let text = format!("{addr} {clock}");
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

struct Speaker {
    seal: Seal,
    counts: Counts,
    gossip: Gossip,
    tell: watch::Sender<Arc<View>>,
    strangers: Strangers,
}

impl Speaker {
    async fn run(
        mut self,
        socket: UdpSocket,
        mut say: watch::Receiver<Fact>,
        mut expected: watch::Receiver<Option<BTreeSet<SocketAddr>>>,
    ) -> anyhow::Result<()> {
        let socket = Socket::from_std(socket).context("take the gossip's socket")?;
        self.gossip.say(now(), &say.borrow_and_update().clone());
        loop {
            self.send(&socket);
            self.publish();
            tokio::select! {
                biased;
                ready = socket.readable() => {
                    ready.context("wait for the gossip's datagrams")?;
                    self.read(&socket)?;
                }
                changed = say.changed() => {
                    if changed.is_err() {
                        self.gossip.leave(now());
                        self.send(&socket);
                        return Ok(());
                    }
                    self.gossip.say(now(), &say.borrow_and_update().clone());
                }
                Ok(()) = expected.changed() => {
                    if let Some(peers) = expected.borrow_and_update().clone() {
                        self.gossip.expect(now(), peers);
                    }
                }
                () = tokio::time::sleep_until(self.gossip.next().into()) => {}
            }
            // whatever woke us: what keeps coming must not keep us from asking
            self.gossip.pass(now());
        }
    }

    fn read(&mut self, socket: &Socket) -> anyhow::Result<()> {
        let mut buffer = [0; LONGEST];
        for _ in 0..PORTION {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => match buffer.get(..length).and_then(|bytes| self.seal.unseal(bytes)) {
                    Some(bytes) => self.gossip.heard(now(), from, &bytes),
                    None => {
                        self.counts.refused.inc();
                        self.strangers.refused(now(), from.ip());
                    }
                },
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                // a peer's host said so to an earlier datagram of ours
                Err(fault) if fault.kind() == ErrorKind::ConnectionRefused => {}
                Err(fault) => return Err(fault).context("read the gossip's socket"),
            }
        }
        Ok(())
    }

    /// What cannot be sent is lost, as it could be on its way.
    fn send(&mut self, socket: &Socket) {
        for (to, bytes) in self.gossip.sends() {
            if let Some(datagram) = self.seal.seal(&bytes) {
                let _ = socket.try_send_to(&datagram, to);
            }
        }
    }

    fn publish(&mut self) {
        let misunderstood = std::mem::take(&mut self.gossip.misunderstood);
        self.counts.misunderstood.inc_by(misunderstood);
        self.counts.others.set(i64::try_from(self.gossip.others()).unwrap_or(i64::MAX));
        publish(&self.tell, self.gossip.view());
    }
}

/// Tells of a view, if it is another one.
fn publish(tell: &watch::Sender<Arc<View>>, view: &Arc<View>) {
    tell.send_if_modified(|told| {
        let news = !Arc::ptr_eq(told, view);
        if news {
            log(told, view);
            *told = Arc::clone(view);
        }
        news
    });
}

/// Who came and who went.
fn log(before: &View, after: &View) {
    for node in after.members.keys().filter(|node| !before.members.contains_key(*node)) {
        tracing::info!(%node, members = after.members.len(), "a speaker is there");
    }
    for node in before.members.keys().filter(|node| !after.members.contains_key(*node)) {
        tracing::info!(%node, members = after.members.len(), "a speaker is there no more");
    }
    let leaving = |view: &View, node: &NodeName| view.members.get(node).is_some_and(|member| member.leaving);
    for node in after.members.keys().filter(|node| leaving(after, node) && !leaving(before, node)) {
        tracing::info!(%node, "a speaker leaves");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{settings::LogLevel, telemetry::tests::lines};

    /// What the key does not open is counted each time, and told of once.
    #[test]
    fn a_datagram_that_is_not_sealed_with_our_key_is_told_of() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused = Counter::default();
        let lines = lines(LogLevel::Info, || {
            let _guard = runtime.enter();
            let (socket, addr) = bound([127, 0, 0, 1].into(), 0).unwrap();
            let to = socket.local_addr().unwrap();
            let socket = Socket::from_std(socket).unwrap();
            let me = Identity::new(&NodeName::from("a"), addr, 1);
            let mut speaker = Speaker {
                seal: Seal::new(b"ours").unwrap(),
                counts: Counts { refused: refused.clone(), ..Counts::default() },
                gossip: Gossip::new(me, Pace::Local, 1, now()),
                tell: watch::channel(Arc::default()).0,
                strangers: Strangers::default(),
            };
            let other = UdpSocket::bind("127.0.0.1:0").unwrap();
            let theirs = Seal::new(b"theirs").unwrap().seal(b"hello").unwrap();
            for count in 1..=3 {
                other.send_to(&theirs, to).unwrap();
                while refused.get() < count {
                    runtime.block_on(socket.readable()).unwrap();
                    speaker.read(&socket).unwrap();
                }
            }
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line["level"], &line["from"]), (&"warn".into(), &"127.0.0.1".into()));
    }
}
