//! Prefixes as a prefix-list names them: a prefix, and how much longer those inside it may be.

use crate::net::Family;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{fmt, str::FromStr};

/// A line of a prefix-list. What it means decides whether two are equal, not how they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    net: IpNet,
    /// The shortest and the longest prefix that matches; never shorter than `net`.
    low: u8,
    high: u8,
}

/// `ge` and `le` do not go together with the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ge and le must be at least the length of the prefix, at most {0}, and ge at most le")]
pub struct Bounds(u8);

impl Range {
    /// `net` itself; with `le` also longer ones up to that, with `ge` only those of at least that.
    ///
    /// # Errors
    /// No prefix is as long as that.
    pub fn new(net: IpNet, ge: Option<u8>, le: Option<u8>) -> Result<Self, Bounds> {
        let net = net.trunc();
        let (length, most) = (net.prefix_len(), net.max_prefix_len());
        let low = ge.unwrap_or(length);
        let high = le.unwrap_or(if ge.is_some() { most } else { length });
        if length <= low && low <= high && high <= most {
            Ok(Self { net, low, high })
        } else {
            Err(Bounds(most))
        }
    }

    /// Every prefix of `family`.
    #[must_use]
    pub fn all(family: Family) -> Self {
        let net = match family {
            Family::V4 => IpNet::V4(Ipv4Net::default()),
            Family::V6 => IpNet::V6(Ipv6Net::default()),
        };
        Self { net, low: 0, high: net.max_prefix_len() }
    }

    /// `net` and everything in it.
    #[must_use]
    pub fn inside(net: IpNet) -> Self {
        let net = net.trunc();
        Self { net, low: net.prefix_len(), high: net.max_prefix_len() }
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of_net(self.net)
    }
}

impl fmt::Display for Range {
    /// As FRR prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, most) = (self.net.prefix_len(), self.net.max_prefix_len());
        if *self == Self::all(self.family()) {
            return f.write_str("any");
        }
        write!(f, "{}", self.net)?;
        match (self.low > length, self.high > self.low) {
            (false, false) => Ok(()),
            (false, true) => write!(f, " le {}", self.high),
            (true, _) if self.high == most => write!(f, " ge {}", self.low),
            (true, _) => write!(f, " ge {} le {}", self.low, self.high),
        }
    }
}

/// Not the end of a prefix-list's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither `any` nor a prefix with ge and le")]
pub struct NotARange;

impl Range {
    /// Reads what FRR prints in a list of `family`.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str, family: Family) -> Result<Self, NotARange> {
        if text == "any" {
            return Ok(Self::all(family));
        }
        let mut words = text.split(' ');
        let net = words.next().and_then(|word| IpNet::from_str(word).ok()).ok_or(NotARange)?;
        let (mut ge, mut le) = (None, None);
        while let Some(word) = words.next() {
            let bound = words.next().and_then(|word| word.parse().ok());
            match word {
                "ge" => ge = Some(bound.ok_or(NotARange)?),
                "le" => le = Some(bound.ok_or(NotARange)?),
                _ => return Err(NotARange),
            }
        }
        Self::new(net, ge, le).ok().filter(|range| range.family() == family).ok_or(NotARange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// frr-k8s' own table of lengths, and the edges.
    #[test]
    fn lengths() {
        let range = |net: &str, ge, le| Range::new(net.parse().unwrap(), ge, le).map(|r| r.to_string()).ok();
        for (net, ge, le, shown) in [
            ("10.0.0.0/8", None, None, Some("10.0.0.0/8")),
            ("10.0.0.1/8", None, Some(24), Some("10.0.0.0/8 le 24")),
            ("10.0.0.0/8", Some(16), None, Some("10.0.0.0/8 ge 16")),
            ("10.0.0.0/8", Some(16), Some(24), Some("10.0.0.0/8 ge 16 le 24")),
            ("10.0.0.0/8", Some(8), Some(24), Some("10.0.0.0/8 le 24")),
            ("10.0.0.0/8", Some(8), None, Some("10.0.0.0/8 le 32")),
            ("10.0.0.0/8", None, Some(8), Some("10.0.0.0/8")),
            ("10.0.0.1/32", None, Some(32), Some("10.0.0.1/32")),
            ("10.0.0.0/8", Some(32), Some(32), Some("10.0.0.0/8 ge 32")),
            ("0.0.0.0/0", None, Some(32), Some("any")),
            ("0.0.0.0/0", None, None, Some("0.0.0.0/0")),
            ("::/0", Some(0), None, Some("any")),
            ("2001:db8::/32", Some(48), Some(64), Some("2001:db8::/32 ge 48 le 64")),
            ("10.0.0.0/8", Some(7), None, None),
            ("10.0.0.0/8", None, Some(7), None),
            ("10.0.0.0/8", Some(24), Some(16), None),
            ("10.0.0.0/8", None, Some(33), None),
            ("2001:db8::/32", None, Some(129), None),
        ] {
            assert_eq!(range(net, ge, le).as_deref(), shown, "{net} {ge:?} {le:?}");
            let again = shown.map(|text| {
                Range::parse(text, if net.contains(':') { Family::V6 } else { Family::V4 }).unwrap()
            });
            assert_eq!(again, Range::new(net.parse().unwrap(), ge, le).ok());
        }
        for bad in ["", "all", "10.0.0.0/8 eq 9", "10.0.0.0/8 le", "2001:db8::/32", "10.0.0.0/8 le 4"] {
            assert_eq!(Range::parse(bad, Family::V4), Err(NotARange), "{bad}");
        }
    }
}
