//! Which names an object of a manifest may have: those that an API server would accept.
//!
//! A directory has no API server in front of it, and a name becomes part of a path, of a key and of log lines. So it
//! is proven here, before an object gets any further. Nothing is read or written.

use crate::config::Kind;

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::io) enum NameError {
    /// Not a label of RFC 1123.
    #[error(
        "{0:?} is no name that an API server accepts: at most 63 lower case letters, digits and -, a letter or digit first and last"
    )]
    Label(String),
    /// Not a subdomain of RFC 1123.
    #[error(
        "{0:?} is no name that an API server accepts: at most 253 lower case letters, digits, - and ., a letter or digit first and last and beside each dot"
    )]
    Subdomain(String),
}

/// Whether `name` can be the `metadata.name` of an object of `kind`.
///
/// Services may begin with a digit: so Kubernetes has it by default since 1.36.
pub(in crate::io) fn name(kind: Kind, name: &str) -> Result<(), NameError> {
    match kind {
        Kind::Service | Kind::Namespace => namespace(name),
        _ if name.len() <= 253 && name.split('.').all(is_label) => Ok(()),
        _ => Err(NameError::Subdomain(name.to_owned())),
    }
}

/// Whether `name` can be a `metadata.namespace`.
pub(in crate::io) fn namespace(name: &str) -> Result<(), NameError> {
    if name.len() <= 63 && is_label(name) { Ok(()) } else { Err(NameError::Label(name.to_owned())) }
}

/// Whether `text` is a label but for its length, which a subdomain bounds only as a whole.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `IsDNS1123Label` and `IsDNS1123Subdomain` of Kubernetes have it.
    #[test]
    fn names_are_those_that_an_api_server_accepts() {
        let long = "x".repeat(64);
        for (text, label, subdomain) in [
            ("a", true, true),
            ("web-1", true, true),
            ("1password", true, true),
            (&long[1..], true, true),
            (&long, false, true),
            ("a.b", false, true),
            ("10.0.0.1", false, true),
            ("", false, false),
            ("a..b", false, false),
            (".a", false, false),
            ("a.", false, false),
            ("a.-b", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("A", false, false),
            ("sl/ash", false, false),
            ("../../x", false, false),
            ("a_b", false, false),
            ("a b", false, false),
            ("a\n", false, false),
            ("ä", false, false),
        ] {
            assert_eq!(name(Kind::Service, text).is_ok(), label, "{text:?}");
            assert_eq!(namespace(text).is_ok(), label, "{text:?}");
            assert_eq!(name(Kind::BGPPeer, text).is_ok(), subdomain, "{text:?}");
        }
        assert!(name(Kind::Node, &"x".repeat(253)).is_ok());
        assert_eq!(name(Kind::Node, &"x".repeat(254)), Err(NameError::Subdomain("x".repeat(254))));
    }
}
