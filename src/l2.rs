//! Layer 2: answers ARP and NDP for addresses that no interface of this node owns, and announces them unasked.
//!
//! Sans I/O: bytes and the time come in, frames go out. [`wire`] is the codec, [`Responder`] the state, its
//! timetable, its claims against other stations and its questions to other nodes parts of their own. No socket, no clock, no log; whoever owns the sockets is `io::l2`.

mod fence;
mod responder;
mod schedule;
mod watch;
pub mod wire;

pub use fence::{Claim, Outcome, Rivals};
pub use responder::Responder;

use crate::net::{IfIndex, Mac};
use std::net::IpAddr;
use wire::{Bytes, Fault};

/// An Ethernet frame to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The interface that it leaves by.
    pub link: IfIndex,
    /// The address that it is about.
    pub ip: IpAddr,
    /// The whole frame, from the destination's hardware address on.
    pub bytes: Bytes,
}

/// What a received frame comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It asks for an address of ours: send this.
    Reply(Frame),
    /// Nothing to send.
    Drop(Reason),
}

/// Why a received frame gets no answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Not a well-formed frame of either protocol.
    Malformed(Fault),
    /// An ARP reply about an address that is not announced here.
    ArpReply,
    /// A neighbour advertisement about an address that is not announced here.
    MessageType,
    /// Sent to the hardware address of another station.
    EthernetDestination,
    /// Asks for an address that is not announced by this node.
    AnnounceIp,
    /// Asks for an address of ours, on an interface that it is not announced on.
    NotMatchInterface,
    /// Asks for an address that is wanted here, and that another node has.
    Conceded,
    /// Sent by an interface of this node.
    Own,
    /// Another station says that an address of ours is at its own hardware address.
    ForeignClaim {
        /// The address.
        ip: IpAddr,
        /// Who claims it.
        by: Mac,
    },
}

impl Reason {
    /// Its name as the value of a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "error",
            Self::ArpReply => "ARPReply",
            Self::MessageType => "messageType",
            Self::EthernetDestination => "ethernetDestination",
            Self::AnnounceIp => "announceIP",
            Self::NotMatchInterface => "notMatchInterface",
            Self::Conceded => "conceded",
            Self::Own => "own",
            Self::ForeignClaim { .. } => "foreignClaim",
        }
    }
}

/// An origin for the times of a test.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a point in time can be had in no other way; no test waits for another"
)]
fn origin() -> std::time::Instant {
    std::time::Instant::now()
}
