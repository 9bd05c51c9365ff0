//! Secrets: the plain one is shown once, the hashed one is only compared. What must be read again is sealed (`seal`).

use std::fmt;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::Result;

/// `N` random bytes from the operating system's generator.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the random generator failed"))?;
    Ok(bytes)
}

/// SHA-256, for values that are not secret or have 256 random bits themselves.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Whether two byte strings are equal, in a time that tells nothing of where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A secret in clear: shown to its owner once, then forgotten. Neither `Debug` nor `Display` shows it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps what a caller presented.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// `prefix` and then `bytes` random bytes as unpadded base64url.
    pub fn generate<const BYTES: usize>(prefix: &str) -> Result<Self> {
        let random = Zeroizing::new(random::<BYTES>()?);
        Ok(Self::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(*random))))
    }

    /// The clear text, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The first 16 characters: enough to recognise a key in a list, useless to use it.
    pub fn prefix(&self) -> &str {
        self.0.get(..16).unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret as it is stored: HMAC-SHA-256 under the pepper named beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHash {
    /// Which pepper made it.
    pub pepper_id: Uuid,
    /// The keyed hash.
    pub mac: Vec<u8>,
}

/// The random key under which secrets are hashed. It outlives every rotation of the master key that seals it.
pub struct Pepper {
    id: Uuid,
    key: hmac::Key,
}

impl Pepper {
    /// A pepper from its stored bytes.
    pub fn new(id: Uuid, bytes: &[u8]) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// The keyed hash of a secret.
    pub fn hash(&self, secret: &str) -> SecretHash {
        SecretHash { pepper_id: self.id, mac: hmac::sign(&self.key, secret.as_bytes()).as_ref().to_vec() }
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_hide_themselves() {
        let secret = Secret::generate::<24>("zid_sk_").unwrap();
        assert_eq!(secret.expose().len(), 39);
        assert!(!format!("{secret:?}").contains(secret.expose()));
        assert_eq!(secret.prefix().len(), 16);
    }

    #[test]
    fn a_hash_depends_on_the_pepper_and_the_whole_secret() {
        let one = Pepper::new(Uuid::from_u128(1), &[1; 32]);
        let two = Pepper::new(Uuid::from_u128(2), &[2; 32]);
        assert_ne!(one.hash("secret").mac, two.hash("secret").mac);
        let long = "x".repeat(100);
        assert_ne!(one.hash(&long).mac, one.hash(&format!("{long}y")).mac);
    }
}
