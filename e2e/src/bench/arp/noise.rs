//! Other people's traffic: UDP over both families, to one host mostly, to all hosts sometimes, at a steady rate.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{netns::Net, wait};

/// What one packet carries, and the frame that it makes at least.
const PAYLOAD: [u8; 1400] = [0; 1400];
const FRAME: u32 = 14 + 20 + 8 + 1400;

/// Of so many packets, this many go to all hosts.
const ROUND: usize = 20;
const TO_ALL: usize = 2;

/// The port that they go to; somebody listens there, and never reads.
const PORT: u16 = 9;

/// Who is sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts {
    /// The host's addresses.
    pub(super) one: (Ipv4Addr, Ipv6Addr),
    /// Its segment's broadcast address.
    pub(super) all: Ipv4Addr,
}

/// Sends at `rate`, in Mbit/s, for `time` if the machine can.
///
/// # Errors
/// When the kernel refuses to send.
pub(super) fn make(from: &Net, interface: &str, to: Hosts, rate: u32, time: Duration) -> Result<()> {
    from.enter(|| {
        let index = nix::net::if_::if_nametoindex(interface)?;
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let targets: Vec<SocketAddr> = (0..ROUND)
            .map(|n| match (n % 2 == 0, n < TO_ALL) {
                (true, true) => (to.all, PORT).into(),
                (true, false) => (to.one.0, PORT).into(),
                (false, true) => SocketAddrV6::new(all_nodes, PORT, 0, index).into(),
                (false, false) => (to.one.1, PORT).into(),
            })
            .collect();
        let (v4, v6) =
            (UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?, UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?);
        v4.set_broadcast(true)?;
        let share = Duration::from_secs_f64(f64::from(FRAME) * 8.0 / (f64::from(rate) * 1e6));
        let (start, mut sent) = (wait::now(), 0_u32);
        while start.elapsed() < time {
            for target in &targets {
                let socket = if target.is_ipv4() { &v4 } else { &v6 };
                socket.send_to(&PAYLOAD, target).context("send a packet of noise")?;
            }
            sent += u32::try_from(ROUND)?;
            let ahead = (share * sent).saturating_sub(start.elapsed());
            if ahead > Duration::from_millis(1) {
                wait::pass(ahead);
            }
        }
        Ok(())
    })
}

/// Takes the packets and throws them away, as long as it lives.
#[derive(Debug)]
pub(super) struct Sink {
    _sockets: [UdpSocket; 2],
}

impl Sink {
    /// Listens in a namespace.
    ///
    /// # Errors
    /// When the port is in use.
    pub(super) fn open(net: &Net) -> Result<Self> {
        net.enter(|| {
            let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            let v6 = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None)?;
            v6.set_only_v6(true)?;
            v6.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
            Ok(Self { _sockets: [v4, v6.into()] })
        })
    }
}
