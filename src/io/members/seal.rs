//! The seal of the gossip: a datagram that the key does not open is not from one of us.
//!
//! AES-256-GCM with a random nonce; the key is a hash of the Secret that all speakers mount. Who hears a datagram again
//! that was sent before learns nothing new from it: lives, versions and incarnations only go up.

use anyhow::{Context, bail};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use sha2::{Digest, Sha256};
use std::{fmt, path::Path};

/// What a sealed datagram begins with: the version of all that is in it.
const SEALED: u8 = 1;

/// The same of one that is not sealed.
const OPEN: u8 = 0;

/// What it is that the key is for.
const PURPOSE: &str = "ferrolb members v1\0";

/// What a datagram grows by.
pub(super) const OVERHEAD: usize = 1 + NONCE_LEN + 16;

/// The file in the directory of the key.
const FILE: &str = "secretkey";

/// Seals and opens datagrams.
pub(super) struct Seal {
    /// `None` leaves them as they are.
    key: Option<LessSafeKey>,
    random: SystemRandom,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("sealed", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl Seal {
    /// With the key that `secret` makes.
    ///
    /// # Errors
    /// When `secret` is empty.
    pub(super) fn new(secret: &[u8]) -> anyhow::Result<Self> {
        if secret.is_empty() {
            bail!("the key is empty");
        }
        let digest = Sha256::new().chain_update(PURPOSE).chain_update(secret).finalize();
        let key = UnboundKey::new(&AES_256_GCM, &digest).ok().context("make a key")?;
        Ok(Self { key: Some(LessSafeKey::new(key)), random: SystemRandom::new() })
    }

    /// Without a key: everybody who reaches the port is believed.
    #[must_use]
    pub(super) fn open() -> Self {
        Self { key: None, random: SystemRandom::new() }
    }

    /// With the key in `dir`.
    ///
    /// # Errors
    /// When it cannot be read, or is empty.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join(FILE);
        let secret = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        Self::new(&secret).with_context(|| file.display().to_string())
    }

    /// `bytes`, sealed; `None` when the system has no random numbers.
    pub(super) fn seal(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Some(key) = &self.key else { return Some([&[OPEN], bytes].concat()) };
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut inside = bytes.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([SEALED]), &mut inside)
            .ok()?;
        Some([&[SEALED][..], &nonce, &inside].concat())
    }

    /// What is in `datagram`; `None` when it was not sealed with this key.
    pub(super) fn unseal(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (kind, rest) = datagram.split_first()?;
        let Some(key) = &self.key else { return (*kind == OPEN).then(|| rest.to_vec()) };
        let (nonce, inside) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *kind != SEALED {
            return None;
        }
        let mut inside = inside.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::from([SEALED]), &mut inside).ok()?.len();
        inside.truncate(length);
        Some(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_it_and_only_unchanged() {
        let (ours, theirs) = (Seal::new(b"one").unwrap(), Seal::new(b"another").unwrap());
        let sealed = ours.seal(b"hello").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(ours.unseal(&sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(theirs.unseal(&sealed), None);
        assert_eq!(Seal::open().unseal(&sealed), None);
        assert_eq!(ours.unseal(&Seal::open().seal(b"hello").unwrap()), None, "unsealed is not taken");
        for i in 0..sealed.len() {
            let mut other = sealed.clone();
            other[i] ^= 1;
            assert_eq!(ours.unseal(&other), None, "byte {i}");
            assert_eq!(ours.unseal(&sealed[..i]), None, "cut at {i}");
        }
        assert_ne!(ours.seal(b"hello").unwrap(), sealed, "never the same twice");
    }

    #[test]
    fn a_key_is_a_file_with_something_in_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Seal::read(dir.path()).is_err());
        std::fs::write(dir.path().join("secretkey"), "").unwrap();
        assert!(Seal::read(dir.path()).unwrap_err().to_string().contains("secretkey"));
        std::fs::write(dir.path().join("secretkey"), "s3cret").unwrap();
        let sealed = Seal::read(dir.path()).unwrap().seal(b"x").unwrap();
        assert!(Seal::new(b"s3cret").unwrap().unseal(&sealed).is_some());
    }
}
