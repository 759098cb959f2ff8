//! Who a speaker is in the gossip: its node, where it is reached, and which of its lives this is.

use crate::names::NodeName;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A member as the gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its node; empty as long as only the address is known.
    node: String,
    /// Where it is reached.
    pub(super) addr: SocketAddr,
    /// Which run of the program this is: what it says holds for one run only.
    pub(super) life: u64,
    /// Of two at one address the higher one is the newer one.
    rank: u64,
    /// How often it came back after the others had given it up.
    returns: u8,
}

impl Identity {
    /// A speaker that starts now: `clock` in milliseconds, so that it ranks above its former life.
    pub(super) fn new(node: &NodeName, addr: SocketAddr, clock: u64) -> Self {
        Self { node: node.as_str().to_owned(), addr, life: clock, rank: clock, returns: 0 }
    }

    /// Whoever is at `addr`.
    pub(super) const fn at(addr: SocketAddr) -> Self {
        Self { node: String::new(), addr, life: 0, rank: 0, returns: 0 }
    }

    /// Its node.
    pub(super) fn node(&self) -> NodeName {
        self.node.as_str().into()
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Each return goes up further than the last: a host whose clock was set back must in the end rank above the
    /// life that it had before.
    fn renew(&self) -> Option<Self> {
        let step = 1_u64.checked_shl(u32::from(self.returns)).unwrap_or(1 << 40).min(1 << 40);
        let rank = self.rank.saturating_add(step);
        Some(Self { rank, returns: self.returns.saturating_add(1), ..self.clone() })
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.rank, self.returns, self.life, &self.node)
            > (adversary.rank, adversary.returns, adversary.life, &adversary.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    #[test]
    fn who_comes_back_outranks_what_it_was_even_after_its_clock_was_set_back() {
        let addr = "192.0.2.1:7946".parse().unwrap();
        let former = Identity::new(&"n1".into(), addr, 1_800_000_000_000);
        let mut now = Identity::new(&"n1".into(), addr, 1_799_000_000_000);
        assert!(former.win_addr_conflict(&now));
        let mut returns = 0;
        while former.win_addr_conflict(&now) {
            let back = now.renew().unwrap();
            assert!(back.win_addr_conflict(&now), "each return wins over the last");
            assert_eq!(back.life, now.life, "and is the same run");
            now = back;
            returns += 1;
        }
        assert!(returns <= 40, "{returns}");
    }
}
