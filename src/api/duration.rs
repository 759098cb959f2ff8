//! A duration as Kubernetes writes it: `90s`, `1m30s`, `1.5h`, `-2ms`, `0`.
//!
//! Kept as the text it was, so that a wrong one becomes a problem of its field and not an object that cannot be
//! read.

use std::borrow::Cow;

/// A duration's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of numbers with units.
    #[error("invalid duration {0:?}: write it like 90s, 1m30s or 500ms")]
    Syntax(String),
    /// More than 64 bits of nanoseconds.
    #[error("invalid duration {0:?}: more than 292 years")]
    Long(String),
}

impl schemars::JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl Duration {
    /// Its nanoseconds.
    ///
    /// # Errors
    /// It is not one.
    pub fn nanos(&self) -> Result<i64, DurationError> {
        let syntax = || DurationError::Syntax(self.0.clone());
        let (sign, mut rest) = match self.0.as_bytes() {
            [b'-', ..] => (-1, self.0.get(1..).unwrap_or_default()),
            [b'+', ..] => (1, self.0.get(1..).unwrap_or_default()),
            _ => (1, self.0.as_str()),
        };
        if rest == "0" {
            return Ok(0);
        }
        if rest.is_empty() {
            return Err(syntax());
        }
        let mut sum: i128 = 0;
        while !rest.is_empty() {
            let (term, after) = term(rest).ok_or_else(syntax)?;
            sum = sum.saturating_add(term);
            rest = after;
        }
        i64::try_from(sum.saturating_mul(sign)).map_err(|_| DurationError::Long(self.0.clone()))
    }
}

/// The first number with its unit, in nanoseconds, and what follows it.
fn term(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(end)?;
    let unit: i128 = match unit {
        "ns" => 1,
        // Both the micro sign and the Greek letter are in use.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let number = |digits: &str| {
        digits.bytes().fold(0_i128, |n, d| n.saturating_mul(10).saturating_add(i128::from(d - b'0')))
    };
    // Beyond eighteen digits a fraction of an hour is below a nanosecond.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = fraction.bytes().fold(1_i128, |n, _| n * 10);
    let nanos = number(whole).saturating_mul(unit).saturating_add(number(fraction) * unit / scale);
    Some((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax() {
        let second = 1_000_000_000;
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("90s", 90 * second),
            ("1m30s", 90 * second),
            ("1h0m0.5s", 3600 * second + second / 2),
            (".5s", second / 2),
            ("5.s", 5 * second),
            ("-1.5h", -5400 * second),
            ("+3ms", 3_000_000),
            ("7us", 7_000),
            ("7\u{b5}s", 7_000),
            ("7\u{3bc}s1ns", 7_001),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
        ] {
            assert_eq!(Duration(text.into()).nanos(), Ok(nanos), "{text}");
        }
        for bad in ["", "-", "90", "s", ".s", "1d", "1 s", " 1s", "1s ", "--1s", "1e3s", "1ss", "x"] {
            assert_eq!(Duration(bad.into()).nanos(), Err(DurationError::Syntax(bad.into())), "{bad}");
        }
        let long = "99999999999999999999999999999999999999999999h";
        assert_eq!(Duration(long.into()).nanos(), Err(DurationError::Long(long.into())));
    }
}
