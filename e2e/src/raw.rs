//! A packet socket on one interface: frames that no common tool sends, and answers in numbers that none reads.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::LinkAddr,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Which frames a [`Raw`] receives. Sending is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// None.
    Nothing,
    /// ARP.
    Arp,
    /// Everything, what the machine sends itself too.
    Everything,
}

/// The socket. It belongs to the namespace that it was opened in, from whichever thread it is used.
#[derive(Debug)]
pub struct Raw {
    socket: Socket,
    mac: [u8; 6],
}

impl Raw {
    /// Opens one on the interface of this name, in the namespace of the calling thread.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses, as it does without root.
    pub fn open(interface: &str, heard: Heard) -> Result<Self> {
        let address: LinkAddr = getifaddrs()?
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .with_context(|| format!("no interface {interface}"))?;
        let ethertype: u16 = match heard {
            Heard::Nothing => 0,
            Heard::Arp => 0x0806,
            Heard::Everything => 0x0003,
        };
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).context("open a packet socket")?;
        socket.set_nonblocking(true)?;
        // the kernel gives what it allows
        socket.set_recv_buffer_size(1 << 23)?;
        nix::sys::socket::bind(socket.as_raw_fd(), &address).context("bind a packet socket")?;
        Ok(Self { socket, mac: address.addr().context("an interface without a hardware address")? })
    }

    /// The interface's hardware address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        (&self.socket).write(frame).map(drop).context("send a frame")
    }

    /// The next frame, if there is one: its length in `room`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&self, room: &mut [u8]) -> Result<Option<usize>> {
        match (&self.socket).read(room) {
            Ok(length) => Ok(Some(length)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error).context("receive a frame"),
        }
    }

    /// Waits until there is a frame, or for this long.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut sockets, PollTimeout::try_from(time)?).map(drop).context("wait for a frame")
    }
}
