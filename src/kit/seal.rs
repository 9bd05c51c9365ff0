//! Sealing: what must be read again but may not stand in the database in clear is encrypted under a master key. The key
//! stands in a file, never in a row.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::error::Result;
use super::secret::{Secret, random};

/// The master keys of a server: the first seals, all of them open. A sealed value names its key, so that keys can
/// change while servers run.
pub struct MasterKeys {
    current: MasterKey,
    former: Vec<MasterKey>,
}

impl MasterKeys {
    /// Takes a key per line, 32 bytes each in unpadded base64url; the first line is the current one.
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(MasterKey::parse);
        let current = keys.next().ok_or_else(|| anyhow::anyhow!("the master key file is empty"))??;
        Ok(Self { current, former: keys.collect::<Result<_>>()? })
    }

    /// A new random key, as a line for the file.
    pub fn generate() -> Result<Secret> {
        Secret::generate::<32>("")
    }

    /// Names the current key without telling it: 16 hex digits.
    pub fn id(&self) -> String {
        self.current.id()
    }

    /// Whether the key of this name is among them.
    pub fn knows(&self, id: &str) -> bool {
        self.all().any(|key| key.id() == id)
    }

    /// Whether a sealed value names the current key.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(..KEY_ID) == Some(&self.current.id)
    }

    /// Encrypts `plain` so that it opens only in the place named by `context`.
    /// Layout: key id (8 bytes), nonce (12), AES-256-GCM ciphertext and tag.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>> {
        self.current.seal(context, plain)
    }

    /// Opens what was sealed for the same context under any of the keys.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let named = sealed.get(..KEY_ID).unwrap_or_default();
        let key = self.all().find(|key| key.id == named).ok_or_else(|| {
            anyhow::anyhow!(
                "{context} is sealed under master key {}, which is not in the file; add its line below the current key",
                hex(named)
            )
        })?;
        key.open(context, sealed)
    }

    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeys({})", self.id())
    }
}

const NONCE: usize = 12;
const KEY_ID: usize = 8;

struct MasterKey {
    id: [u8; KEY_ID],
    key: LessSafeKey,
}

impl MasterKey {
    fn parse(text: &str) -> Result<Self> {
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
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(anyhow::anyhow!(
                "this master key is one byte repeated, as in an example; make a real one with \
                                        `chancery keys add-master-key`"
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

    fn id(&self) -> String {
        hex(&self.id)
    }

    fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>> {
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

    fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (Some(id), Some(nonce), Some(text)) =
            (sealed.get(..KEY_ID), sealed.get(KEY_ID..KEY_ID + NONCE), sealed.get(KEY_ID + NONCE..))
        else {
            return Err(anyhow::anyhow!("{context}: the sealed value is cut short").into());
        };
        if id != self.id {
            return Err(anyhow::anyhow!("{context} is sealed under another master key").into());
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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::error::Error;

    fn line() -> String {
        MasterKeys::generate().unwrap().expose().to_owned()
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_unchanged() {
        let keys = MasterKeys::parse(&line()).unwrap();
        let sealed = keys.seal("signing key a", b"private").unwrap();
        assert_eq!(&keys.open("signing key a", &sealed).unwrap()[..], b"private");
        assert!(keys.open("signing key b", &sealed).is_err());
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(
                keys.open("signing key a", &changed).is_err(),
                "byte {position} may be changed unnoticed"
            );
        }
        assert!(keys.open("signing key a", &sealed[..10]).is_err());
    }

    #[test]
    fn a_former_key_opens_and_the_current_one_seals() {
        let (old, new) = (line(), line());
        let before = MasterKeys::parse(&old).unwrap();
        let both = MasterKeys::parse(&format!("{new}\n{old}\n")).unwrap();
        let sealed = before.seal("pepper", b"x").unwrap();
        assert_eq!(&both.open("pepper", &sealed).unwrap()[..], b"x");
        assert!(!both.is_current(&sealed) && both.knows(&before.id()));
        let again = both.seal("pepper", b"x").unwrap();
        let after = MasterKeys::parse(&new).unwrap();
        assert_eq!(&after.open("pepper", &again).unwrap()[..], b"x");
        let Error::Fault(fault) = after.open("pepper", &sealed).unwrap_err() else {
            panic!("a lost key is a fault")
        };
        assert!(fault.to_string().contains(&before.id()), "{fault}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "\n", "short", "!!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(MasterKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
