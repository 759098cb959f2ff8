//! Identities: what the objects of this program are called.
//!
//! Every name that crosses a room is one of these newtypes, so that a pool's name cannot be passed where a
//! peer's is due. Nothing here touches the world; nothing here knows what a name stands for.

use std::{
    borrow::Borrow,
    fmt,
    num::{NonZeroU32, ParseIntError},
    str::FromStr,
    sync::Arc,
};

/// Text that is safe in a line of `frr.conf`: not empty, at most 255 bytes, printable ASCII without white space.
///
/// The only text type that may reach FRR. A line break in a password or a name would otherwise be a line of
/// configuration of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Arc<str>);

/// Why a text is not a [`Word`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No character at all.
    #[error("must not be empty")]
    Empty,
    /// Longer than 255 bytes.
    #[error("is {0} bytes long, the limit is 255")]
    Long(usize),
    /// A character that a word of `frr.conf` cannot hold, and its byte offset.
    #[error("has {0:?} at byte {1}: only printable ASCII without white space can go into frr.conf")]
    Character(char, usize),
    /// FRR would take the word for the start of a comment.
    #[error("starts with {0:?}, which frr.conf takes for a comment")]
    Comment(char),
}

impl Word {
    /// The longest word, in bytes.
    pub const MAX: usize = 255;

    /// Proves `text` safe.
    ///
    /// # Errors
    /// The first thing that makes it unsafe.
    pub fn new(text: &str) -> Result<Self, WordError> {
        if text.len() > Self::MAX {
            return Err(WordError::Long(text.len()));
        }
        match text.chars().next() {
            None => return Err(WordError::Empty),
            Some(c @ ('!' | '#')) => return Err(WordError::Comment(c)),
            Some(_) => {}
        }
        match text.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
            Some((at, c)) => Err(WordError::Character(c, at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::new(text)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A password as a line of `frr.conf` holds it: a [`Word`] of at most 80 bytes, which is what FRR takes.
///
/// It is never displayed, and in a dump it is three stars: only whoever asks for [`Password::as_str`] sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Password(Word);

/// Why a text is not a [`Password`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Not a word.
    #[error(transparent)]
    Word(#[from] WordError),
    /// Longer than 80 bytes.
    #[error("is {0} bytes long, the limit is {max}", max = Password::MAX)]
    Long(usize),
}

impl Password {
    /// The longest TCP MD5 password that FRR takes, in bytes.
    pub const MAX: usize = 80;

    /// Proves `text` safe.
    ///
    /// # Errors
    /// What makes it unsafe, which can name one of its characters.
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        let word = Word::new(text)?;
        if text.len() > Self::MAX { Err(PasswordError::Long(text.len())) } else { Ok(Self(word)) }
    }

    /// The password.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// `metadata.name` of a Node.
    NodeName
);
name!(
    /// `metadata.name` of an IPAddressPool.
    PoolName
);
name!(
    /// `metadata.name` of a BGPPeer.
    PeerName
);
name!(
    /// `metadata.name` of a BFDProfile.
    BfdName
);
name!(
    /// `metadata.name` of an L2Advertisement or a BGPAdvertisement.
    AdvertisementName
);
name!(
    /// `metadata.name` of a Namespace.
    Namespace
);

/// `namespace/name` of a Service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace it lives in.
    pub namespace: Namespace,
    /// Its name there.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// The key of `namespace/name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Fit for a line of text, whatever a manifest calls its Service.
impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace.as_str().escape_debug(), self.name.escape_debug())
    }
}

/// An autonomous system number (RFC 6793), never 0 (RFC 7607).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Asn(NonZeroU32);

impl Asn {
    /// `number` as an AS number; `None` for 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for Asn {
    type Err = ParseIntError;
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_break_out_of_its_line() {
        for (text, fault) in [
            ("", WordError::Empty),
            ("a b", WordError::Character(' ', 1)),
            ("a\nrouter bgp 1", WordError::Character('\n', 1)),
            ("a\r", WordError::Character('\r', 1)),
            ("a\0b", WordError::Character('\0', 1)),
            ("pässword", WordError::Character('ä', 1)),
            ("!x", WordError::Comment('!')),
            ("#x", WordError::Comment('#')),
        ] {
            assert_eq!(Word::new(text), Err(fault), "{text:?}");
        }
        assert_eq!(Word::new(&"x".repeat(256)), Err(WordError::Long(256)));
        assert_eq!(Word::new("a!b#c").unwrap().as_str(), "a!b#c");
    }

    #[test]
    fn a_password_is_not_dumped() {
        let password = Password::new("hunter2").unwrap();
        assert_eq!((format!("{password:?}").as_str(), password.as_str()), ("***", "hunter2"));
        assert_eq!(Password::new(&"x".repeat(81)), Err(PasswordError::Long(81)));
        assert_eq!(Password::new(""), Err(PasswordError::Word(WordError::Empty)));
    }

    #[test]
    fn a_key_in_a_message_is_on_one_line() {
        assert_eq!(format!("{:?}", ServiceKey::new("n", "a\nb")), "n/a\\nb");
        assert_eq!(format!("{:?}", ServiceKey::new("ns-1", "web.a")), "ns-1/web.a");
    }

    #[test]
    fn asn_zero_does_not_exist() {
        assert_eq!(Asn::new(0), None);
        assert!("0".parse::<Asn>().is_err());
        assert_eq!("4294967295".parse::<Asn>().unwrap().get(), u32::MAX);
    }
}
