//! How many addresses a pool has, saturating where a count would not fit.

use super::{Family, Range};
use std::net::IpAddr;

/// Usable addresses, by family; `i64::MAX` stands for "at least that many", as in IPAddressPool's status.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Capacity {
    /// IPv4 addresses.
    pub v4: i64,
    /// IPv6 addresses.
    pub v6: i64,
}

impl Capacity {
    /// The addresses of `ranges`, without IPv4 addresses that end in 0 or 255 when `avoid_buggy`.
    #[must_use]
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a Range>, avoid_buggy: bool) -> Self {
        ranges.into_iter().fold(Self::default(), |sum, range| {
            let size = size(range, avoid_buggy);
            match range.family() {
                Family::V4 => Self { v4: sum.v4.saturating_add(size), ..sum },
                Family::V6 => Self { v6: sum.v6.saturating_add(size), ..sum },
            }
        })
    }

    /// Both families together.
    #[must_use]
    pub const fn total(self) -> i64 {
        self.v4.saturating_add(self.v6)
    }
}

fn size(range: &Range, avoid_buggy: bool) -> i64 {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (i64::from(first.to_bits()), i64::from(last.to_bits()));
            // Numbers up to and including n that end in the octet `tail`, for n >= -1.
            let ending = |n: i64, tail: i64| (n - tail).div_euclid(256) + 1;
            let buggy: i64 =
                [0, 255].into_iter().map(|tail| ending(last, tail) - ending(first - 1, tail)).sum();
            last - first + 1 - if avoid_buggy { buggy } else { 0 }
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            i64::try_from((last.to_bits() - first.to_bits()).saturating_add(1)).unwrap_or(i64::MAX)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_saturates() {
        let of = |ranges: &[&str], avoid| {
            let ranges: Vec<Range> = ranges.iter().map(|r| r.parse().unwrap()).collect();
            let c = Capacity::of(&ranges, avoid);
            (c.v4, c.v6, c.total())
        };
        assert_eq!(of(&["1.2.3.0/24"], false), (256, 0, 256));
        assert_eq!(of(&["1.2.3.0/24", "2.3.4.128/25"], true), (381, 0, 381));
        assert_eq!(of(&["1.2.3.0/31", "1000::/127"], true), (1, 2, 3));
        assert_eq!(of(&["10.0.1.0/32"], true), (0, 0, 0));
        assert_eq!(of(&["0.0.0.0/0"], false).0, 1 << 32);
        assert_eq!(of(&["1.2.3.0/31", "1000::/127", "1000:1::/64"], true), (1, i64::MAX, i64::MAX));
        assert_eq!(of(&["::/0", "1.2.3.0/24"], false).2, i64::MAX);
    }
}
