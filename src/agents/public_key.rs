//! Registered keys: P-256 only, as SPKI PEM.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::PublicKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey;

use crate::keys::thumbprint;
use crate::kit::error::{Kind, Result, refuse_at};

/// A key that was found to be a point of the curve.
#[derive(Clone, Debug)]
pub struct RegisteredKey {
    /// As it came.
    pub pem: String,
    /// RFC 7638, base64url.
    pub thumbprint: String,
}

/// Parses SPKI PEM of a P-256 key.
pub fn parse(pem: &str) -> Result<RegisteredKey> {
    let bad = || {
        let why = "public_key_pem is not a P-256 key in SPKI PEM (-----BEGIN PUBLIC KEY-----)";
        refuse_at(Kind::InvalidRequest, why, "body.public_key_pem", "")
    };
    let key = PublicKey::from_public_key_pem(pem.trim()).map_err(|_| bad())?;
    let point = key.to_sec1_point(false);
    let (Some(x), Some(y)) = (point.x(), point.y()) else { return Err(bad()) };
    let thumbprint = thumbprint(&URL_SAFE_NO_PAD.encode(x), &URL_SAFE_NO_PAD.encode(y));
    Ok(RegisteredKey { pem: pem.to_owned(), thumbprint })
}
