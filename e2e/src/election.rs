//! Which node should answer for an address: computed here once more, apart from the product, to judge it by.

use sha2::{Digest as _, Sha256};

/// The node, of these candidates, that wins the election for a Service whose first address is `ip`.
#[must_use]
pub fn winner<'a>(candidates: impl IntoIterator<Item = &'a str>, ip: &str) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|node| Sha256::digest(format!("{node}#{ip}")).to_vec())
}

#[cfg(test)]
mod tests {
    use super::winner;

    #[test]
    fn known_winners() {
        assert_eq!(winner(["node-a", "node-b", "node-c"], "10.0.0.1"), Some("node-b"));
        assert_eq!(winner(["node-a", "node-c"], "10.0.0.1"), Some("node-a"));
        assert_eq!(winner(["node-a", "node-c"], "10.0.0.2"), Some("node-c"));
        assert_eq!(winner(["iris1", "iris2"], "10.20.30.1"), Some("iris2"));
        assert_eq!(winner(["iris1", "iris2"], "1000::1"), Some("iris1"));
    }
}
