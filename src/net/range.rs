//! An inclusive range of addresses of one family: what an entry of a pool means.

use super::Family;
use ipnet::IpNet;
use std::{cmp::Ordering, fmt, net::IpAddr, str::FromStr};

/// `first..=last`, one family, `first <= last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// Why a text is not a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither `CIDR` nor `start-end`.
    #[error("invalid CIDR {0:?}: write 192.0.2.0/24, 192.0.2.7/32 or 192.0.2.1-192.0.2.9")]
    Syntax(String),
    /// An end of the range is no address.
    #[error("invalid IP range {0:?}: {1:?} is not an IP address")]
    Address(String, String),
    /// An IPv4 and an IPv6 end.
    #[error("invalid IP range {0:?}: its ends are of different families")]
    Families(String),
    /// The end comes before the start.
    #[error("invalid IP range {0:?}: the end is before the start")]
    Backwards(String),
}

impl Range {
    /// Its lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Its highest address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of all its addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether `ip` lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.family() == Family::of(ip) && self.first <= ip && ip <= self.last
    }

    /// Whether an address lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The fewest prefixes that cover it exactly, in ascending order.
    #[must_use]
    pub fn prefixes(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => ipnet::Ipv4Subnets::new(a, b, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(a), IpAddr::V6(b)) => ipnet::Ipv6Subnets::new(a, b, 0).map(IpNet::V6).collect(),
            _ => Vec::new(),
        }
    }
}

/// The address after `ip`; `None` after the highest of its family.
#[must_use]
pub(super) fn successor(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_add(1).map(|n| std::net::Ipv4Addr::from_bits(n).into()),
        IpAddr::V6(ip) => ip.to_bits().checked_add(1).map(|n| std::net::Ipv6Addr::from_bits(n).into()),
    }
}

impl Range {
    /// The address after `ip` in this range; `None` at its end.
    #[must_use]
    pub fn after(&self, ip: IpAddr) -> Option<IpAddr> {
        successor(ip).filter(|next| self.contains(*next))
    }
}

impl From<IpNet> for Range {
    fn from(net: IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

impl FromStr for Range {
    type Err = RangeError;

    /// A prefix, whose host bits are masked off, or `start-end` with spaces around the dash if one likes.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let Some((first, last)) = text.split_once('-') else {
            let net: IpNet = text.trim().parse().map_err(|_| RangeError::Syntax(text.into()))?;
            return Ok(net.into());
        };
        let end = |part: &str| -> Result<IpAddr, RangeError> {
            part.trim().parse().map_err(|_| RangeError::Address(text.into(), part.trim().into()))
        };
        let (first, last) = (end(first)?, end(last)?);
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::Families(text.into()));
        }
        match first.cmp(&last) {
            Ordering::Greater => Err(RangeError::Backwards(text.into())),
            Ordering::Less | Ordering::Equal => Ok(Self { first, last }),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefixes().as_slice() {
            [one] => one.fmt(f),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_pool() {
        for (text, shown) in [
            ("10.20.30.40/24", "10.20.30.0/24"),
            ("192.0.2.7/32", "192.0.2.7/32"),
            ("192.0.2.7-192.0.2.7", "192.0.2.7/32"),
            ("40.0.0.210 - 40.0.0.240", "40.0.0.210-40.0.0.240"),
            ("2001:db8::/120", "2001:db8::/120"),
        ] {
            assert_eq!(text.parse::<Range>().unwrap().to_string(), shown);
        }
        for bad in ["192.0.2.7", "1.2.3.10-1.2.3.1", "1.2.3.4-2001:db8::1", "1.2.3.4-", "x/24", ""] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_is_covered_exactly() {
        let pieces = |text: &str| -> Vec<String> {
            text.parse::<Range>().unwrap().prefixes().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            pieces("40.0.0.150-40.0.0.200"),
            ["40.0.0.150/31", "40.0.0.152/29", "40.0.0.160/27", "40.0.0.192/29", "40.0.0.200/32"]
        );
        assert_eq!(
            pieces("40.0.0.210-40.0.0.240"),
            ["40.0.0.210/31", "40.0.0.212/30", "40.0.0.216/29", "40.0.0.224/28", "40.0.0.240/32"]
        );
    }

    #[test]
    fn the_last_address_has_no_successor() {
        let all: Range = "255.255.255.254/31".parse().unwrap();
        assert_eq!(all.after(all.first()), Some(all.last()));
        assert_eq!(all.after(all.last()), None);
    }
}
