//! Secrets: the plain one is shown once, the hashed one is only compared, and what must be read again is sealed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
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

const NONCE: usize = 12;
const KEY_ID: usize = 8;

/// The key that seals what the database may not hold in clear. It stands in a file, never in a row.
pub struct MasterKey {
    id: [u8; KEY_ID],
    key: LessSafeKey,
}

impl MasterKey {
    /// Takes 32 bytes as unpadded base64url, as [`MasterKey::generate`] writes them.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes =
            Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| {
                anyhow::anyhow!("a master key is 32 bytes in base64url; this is not base64url")
            })?);
        if bytes.len() != 32 {
            return Err(anyhow::anyhow!(
                "a master key is 32 bytes in base64url; this is {} bytes",
                bytes.len()
            )
            .into());
        }
        let unbound =
            UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| anyhow::anyhow!("unusable master key"))?;
        let mut id = [0; KEY_ID];
        let named = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), b"chancery master key id");
        id.copy_from_slice(&named.as_ref()[..KEY_ID]);
        Ok(Self { id, key: LessSafeKey::new(unbound) })
    }

    /// A new random key, as text for a file.
    pub fn generate() -> Result<Secret> {
        Secret::generate::<32>("")
    }

    /// Names the key without telling it: 16 hex digits.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// Encrypts `plain` so that it opens only in the place named by `context`.
    /// Layout: key id (8 bytes), nonce (12), AES-256-GCM ciphertext and tag.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce = random::<NONCE>()?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| anyhow::anyhow!("sealing failed"))?;
        Ok([&self.id[..], &nonce[..], &sealed[..]].concat())
    }

    /// Opens what [`MasterKey::seal`] made for the same context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (Some(id), Some(nonce), Some(text)) =
            (sealed.get(..KEY_ID), sealed.get(KEY_ID..KEY_ID + NONCE), sealed.get(KEY_ID + NONCE..))
        else {
            return Err(anyhow::anyhow!("{context}: the sealed value is cut short").into());
        };
        if id != self.id {
            return Err(anyhow::anyhow!(
                "{context} is sealed under master key {}, but the key given is {}; start with the key this database \
                 was set up with",
                hex(id),
                self.id()
            )
            .into());
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow::anyhow!("bad nonce"))?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| anyhow::anyhow!("{context}: the sealed value was changed or belongs elsewhere"))?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MasterKey {
        MasterKey::parse(MasterKey::generate().unwrap().expose()).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_unchanged() {
        let key = key();
        let sealed = key.seal("signing key a", b"private").unwrap();
        assert_eq!(&key.open("signing key a", &sealed).unwrap()[..], b"private");
        assert!(key.open("signing key b", &sealed).is_err());
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(key.open("signing key a", &changed).is_err(), "byte {position} may be changed unnoticed");
        }
        assert!(key.open("signing key a", &sealed[..10]).is_err());
    }

    #[test]
    fn another_master_key_is_named_in_the_error() {
        let sealed = key().seal("pepper", b"x").unwrap();
        let super::super::error::Error::Fault(fault) = key().open("pepper", &sealed).unwrap_err() else {
            panic!("a wrong key is a fault")
        };
        assert!(fault.to_string().contains("is sealed under master key"), "{fault}");
    }

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
