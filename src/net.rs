//! Addresses and links: families, ranges, prefixes, hardware addresses, interfaces.
//!
//! Arithmetic only. Nothing here reads an interface or opens a socket; `io::link` does that and hands over [`Links`].

mod capacity;
mod range;

pub use capacity::Capacity;
pub use range::{Range, RangeError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr, sync::Arc};

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `ip`.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family of `prefix`.
    #[must_use]
    pub const fn of_net(prefix: IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// Bits of an address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// A set of families.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.v4 as usize + self.v6 as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        families.into_iter().fold(Self::default(), |set, family| match family {
            Family::V4 => Self { v4: true, ..set },
            Family::V6 => Self { v6: true, ..set },
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The prefix of `length` bits that `ip` lies in; a length beyond the family's is the host prefix.
#[must_use]
pub fn prefix_of(ip: IpAddr, length: u8) -> IpNet {
    match ip {
        IpAddr::V4(ip) => {
            Ipv4Net::new(ip, length.min(32)).map_or_else(|_| IpAddr::V4(ip).into(), |n| n.trunc().into())
        }
        IpAddr::V6(ip) => {
            Ipv6Net::new(ip, length.min(128)).map_or_else(|_| IpAddr::V6(ip).into(), |n| n.trunc().into())
        }
    }
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`.
    pub const ZERO: Self = Self([0; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not six hexadecimal octets with colons between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hardware address")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(MacError)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Self(octets)) }
    }
}

/// The kernel's number of an interface, never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfIndex(pub u32);

/// An interface, as far as announcing on it is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its name, `eth0`.
    pub name: Arc<str>,
    /// Its hardware address; `None` where it has none of six octets.
    pub mac: Option<Mac>,
    /// Up, with a carrier.
    pub up: bool,
    /// Enslaved to a bridge, a bond or a VRF: the master answers, not the port.
    pub enslaved: bool,
    /// Ethernet-like: broadcast, not loopback, without `IFF_NOARP`.
    pub broadcast: bool,
    /// How often its carrier has come or gone. A cable that is pulled and plugged between two looks shows only here.
    pub carrier_changes: u32,
}

impl Link {
    /// Whether addresses may be announced on it.
    #[must_use]
    pub const fn can_announce(&self) -> bool {
        self.up && !self.enslaved && self.broadcast && self.mac.is_some()
    }
}

/// Every interface of the node.
pub type Links = BTreeMap<IfIndex, Link>;

/// The interfaces that an address is announced on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Interfaces {
    /// Every one that can announce.
    All,
    /// Those of these names.
    Named(std::collections::BTreeSet<Arc<str>>),
}

impl Interfaces {
    /// Whether `name` is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Named(mut a), Self::Named(b)) => {
                a.extend(b.iter().cloned());
                Self::Named(a)
            }
            _ => Self::All,
        }
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("any"),
            Self::Named(names) => {
                f.write_str(&names.iter().map(|name| &**name).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_masked_off() {
        assert_eq!(prefix_of("10.1.2.3".parse().unwrap(), 24), "10.1.2.0/24".parse().unwrap());
        assert_eq!(prefix_of("10.1.2.3".parse().unwrap(), 200), "10.1.2.3/32".parse().unwrap());
        assert_eq!(prefix_of("2001:db8::7".parse().unwrap(), 64), "2001:db8::/64".parse().unwrap());
    }

    #[test]
    fn mac_text_round_trips() {
        assert_eq!("02:00:5e:AA:0f:01".parse::<Mac>().unwrap().to_string(), "02:00:5e:aa:0f:01");
        for bad in ["", "02:00:5e:aa:0f", "02:00:5e:aa:0f:01:02", "2:0:5e:aa:f:1", "+2:00:5e:aa:0f:01x"] {
            assert_eq!(bad.parse::<Mac>(), Err(MacError), "{bad}");
        }
    }
}
