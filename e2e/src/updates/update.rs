//! One UPDATE: what it announces, what it withdraws, and with which attributes.
//!
//! Reads what the lab's daemons send: no add-path, IPv4 and IPv6 unicast. Attributes that no test looks at are passed
//! over.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// One UPDATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// When its last byte was seen, since the epoch.
    pub at: Duration,
    /// Who sent it.
    pub from: IpAddr,
    /// The prefixes that it announces, as `10.99.0.1/32`.
    pub announced: BTreeSet<String>,
    /// The prefixes that it withdraws.
    pub withdrawn: BTreeSet<String>,
    /// Communities, as `A:B` and `A:B:C`.
    pub communities: BTreeSet<String>,
    /// Local preference.
    pub local_pref: Option<u32>,
}

impl Update {
    /// Reads the body, which follows the message's header: RFC 4271 section 4.3, RFC 4760 for IPv6, RFC 1997 and RFC
    /// 8092 for communities.
    ///
    /// # Errors
    /// When a length in it does not fit.
    pub fn read(body: &[u8], at: Duration, from: IpAddr) -> Result<Self> {
        let (withdrawn, rest) = counted(body)?;
        let (mut attributes, announced) = counted(rest)?;
        let mut update = Self {
            at,
            from,
            announced: prefixes(announced, false)?,
            withdrawn: prefixes(withdrawn, false)?,
            communities: BTreeSet::new(),
            local_pref: None,
        };
        while let Some(([flags, kind], rest)) = attributes.split_first_chunk::<2>() {
            let (value, after) = if flags & 0x10 != 0 {
                counted(rest)?
            } else {
                let (length, rest) = rest.split_first().context("an attribute without a length")?;
                rest.split_at_checked(usize::from(*length)).context("an attribute longer than the message")?
            };
            attributes = after;
            update.attribute(*kind, value)?;
        }
        Ok(update)
    }

    fn attribute(&mut self, kind: u8, value: &[u8]) -> Result<()> {
        match (kind, value) {
            (5, _) => self.local_pref = value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)),
            (8, _) => self.communities.extend(numbers(value, u16::from_be_bytes)?.chunks(2).map(join)),
            // after the next hop comes a reserved byte
            (14, [0, family @ (1 | 2), 1, hop, rest @ ..]) => {
                let list =
                    rest.get(usize::from(*hop) + 1..).context("a next hop longer than its attribute")?;
                self.announced.extend(prefixes(list, *family == 2)?);
            }
            (15, [0, family @ (1 | 2), 1, list @ ..]) => {
                self.withdrawn.extend(prefixes(list, *family == 2)?);
            }
            (32, _) => self.communities.extend(numbers(value, u32::from_be_bytes)?.chunks(3).map(join)),
            _ => {}
        }
        Ok(())
    }
}

/// A list of numbers without gaps.
fn numbers<N, const LENGTH: usize>(bytes: &[u8], read: fn([u8; LENGTH]) -> N) -> Result<Vec<N>> {
    let (whole, rest) = bytes.as_chunks::<LENGTH>();
    if !rest.is_empty() {
        bail!("half a number ends an attribute");
    }
    Ok(whole.iter().copied().map(read).collect())
}

fn join<N: ToString>(parts: &[N]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(":")
}

/// A list behind its length in bytes, and what comes after it.
fn counted(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>().context("an UPDATE that ends too early")?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).context("a list longer than its UPDATE")
}

fn prefixes(mut bytes: &[u8], v6: bool) -> Result<BTreeSet<String>> {
    let mut prefixes = BTreeSet::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (digits, rest) = rest
            .split_at_checked(usize::from(*length).div_ceil(8))
            .context("a prefix longer than its UPDATE")?;
        let mut whole = [0; 16];
        for (to, from) in whole.iter_mut().zip(digits) {
            *to = *from;
        }
        let address = match (v6, whole.first_chunk::<4>()) {
            (false, Some(four)) => IpAddr::from(Ipv4Addr::from(*four)),
            _ => IpAddr::from(Ipv6Addr::from(whole)),
        };
        prefixes.insert(format!("{address}/{length}"));
        bytes = rest;
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Update> {
        Update::read(body, Duration::ZERO, IpAddr::from([192, 0, 2, 1]))
    }

    /// Withdrawn and announced, by the old fields and by attributes; both kinds of communities.
    #[test]
    fn every_part_is_read() {
        let mut attributes = vec![0x40, 5, 4, 0, 0, 0, 150, 0xc0, 8, 4, 0xfc, 0, 0, 7];
        // with a length of two bytes
        attributes.extend([0xd0, 32, 0, 12, 0, 0, 0xfc, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
        attributes.extend([0x80, 14, 12, 0, 2, 1, 2, 9, 9, 0, 32, 0xfd, 0, 0, 0x99]);
        attributes.extend([0x80, 15, 5, 0, 2, 1, 8, 0xfd]);
        let mut body = vec![0, 4, 24, 198, 51, 100, 0, u8::try_from(attributes.len()).unwrap()];
        body.extend(&attributes);
        body.extend([32, 10, 99, 0, 1]);
        let update = read(&body).unwrap();
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(update.announced, set(&["10.99.0.1/32", "fd00:99::/32"]));
        assert_eq!(update.withdrawn, set(&["198.51.100.0/24", "fd00::/8"]));
        assert_eq!(update.communities, set(&["64512:7", "64512:1:2"]));
        assert_eq!(update.local_pref, Some(150));
        assert!(read(&body[..body.len() - 1]).is_err());
        assert!(read(&[0, 0, 0, 1]).is_err());
        assert!(read(&[0, 0, 0, 6, 0xc0, 8, 3, 0, 1, 2]).is_err());
        assert!(read(&[0, 0, 0, 0]).unwrap().announced.is_empty());
    }
}
