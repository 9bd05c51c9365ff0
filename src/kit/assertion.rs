//! JWTs from outside: assertions and proofs that agents and clients sign themselves. Only a compact JWS with the
//! algorithm of its key passes (RFC 8725 section 3.1), and every claim must be there with its right type.

use serde::Deserialize;
use time::Duration;

use super::clock::Time;
pub use super::jws::{Flaw, Key};
use super::jws::{Jws, present};
use super::secret;

/// How far another clock may be off. The same for every time in every assertion.
pub const SKEW: Duration = Duration::seconds(30);

/// It was signed by somebody else, or there is nobody of whom it speaks: one answer, so that nobody can ask who exists.
pub const NOT_SIGNED: Flaw =
    Flaw("it is not signed by a registered key of its issuer with that key's algorithm");

/// An assertion that was taken apart. Nothing of it is believed yet.
#[derive(Debug)]
pub struct Assertion<'a> {
    jws: Jws<'a>,
    claims: Claims,
}

/// The claims that are read; others are ignored. A number in the place of a text, or the like, does not parse.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    /// Who signed.
    #[serde(default, deserialize_with = "present")]
    pub iss: Option<String>,
    /// Of whom it speaks.
    #[serde(default, deserialize_with = "present")]
    pub sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    jti: Option<String>,
    /// The thumbprint of a new key, in a proof of the current one.
    #[serde(default, deserialize_with = "present")]
    pub nkt: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What must be true of an assertion beside its signature.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who it must be meant for.
    pub audience: &'a str,
    /// The longest time from issue to end.
    pub longest: Duration,
    /// Now.
    pub now: Time,
}

/// What makes an assertion recognisable when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The digest of who signed and its `jti`.
    pub key: [u8; 32],
    /// From when on it is refused anyway.
    pub until: Time,
}

impl<'a> Assertion<'a> {
    /// Takes an assertion apart; `longest` bounds its size in bytes. Refuses what says that it is something else, and
    /// claims of the wrong type.
    pub fn parse(token: &'a str, longest: usize) -> Result<Self, Flaw> {
        let jws = Jws::parse(token, longest)?;
        if jws.typ().is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) {
            return Err(Flaw("its typ is not JWT"));
        }
        let claims: Claims = jws.claims()?;
        // Postgres, which is asked for the issuer before anything is verified, can't hold it.
        if [&claims.iss, &claims.sub].into_iter().flatten().any(|name| name.contains('\0')) {
            return Err(Flaw("its iss or sub holds the NUL character"));
        }
        Ok(Self { jws, claims })
    }

    /// The claims, not to be believed before [`Assertion::verify`]: for finding the key.
    pub fn unverified(&self) -> &Claims {
        &self.claims
    }

    /// The name of the key in the header, not to be believed either.
    pub fn kid(&self) -> Option<&str> {
        self.jws.kid()
    }

    /// Verifies signature, audience, times and presence of `sub`, `exp` and `jti`. Who signed and of whom it speaks is
    /// the caller's to compare. Answers by what a second use is recognised.
    pub fn verify(&self, keys: &[Key], expected: &Expected<'_>) -> Result<Once, Flaw> {
        if !self.jws.is_signed_by(keys) {
            return Err(NOT_SIGNED);
        }
        let claims = &self.claims;
        if !claims.is_for(expected.audience) {
            return Err(Flaw("its aud is not this server"));
        }
        if claims.sub.as_deref().unwrap_or_default().is_empty() {
            return Err(Flaw("it has no sub"));
        }
        let end = claims.check_times(expected)?;
        let jti = claims.jti.as_deref().filter(|jti| (1..=512).contains(&jti.len()));
        let jti = jti.ok_or(Flaw("it has no jti of 1 to 512 characters"))?;
        let signer = claims.iss.as_deref().or(claims.sub.as_deref()).unwrap_or_default();
        let key = secret::sha256(format!("{}:{signer}{jti}", signer.len()).as_bytes());
        Ok(Once { key, until: end + SKEW })
    }
}

impl Claims {
    fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.iter().any(|one| one == audience),
            None => false,
        }
    }

    /// The end, once it lies ahead and not too far.
    fn check_times(&self, expected: &Expected<'_>) -> Result<Time, Flaw> {
        let time = |seconds: i64| match Time::from_unix_timestamp(seconds) {
            Ok(time) if seconds >= 0 => Ok(time),
            _ => Err(Flaw("a time in it is no time")),
        };
        let now = expected.now;
        let end = time(self.exp.ok_or(Flaw("it has no exp"))?)?;
        // Never added to a time that comes from outside: beyond the last year there is none.
        if now - end >= SKEW {
            return Err(Flaw("it has expired"));
        }
        if let Some(start) = self.nbf
            && time(start)? > now + SKEW
        {
            return Err(Flaw("it is not valid yet"));
        }
        let issued = self.iat.map(time).transpose()?;
        if issued.is_some_and(|issued| issued > now + SKEW) {
            return Err(Flaw("its iat lies in the future"));
        }
        if issued.is_some_and(|issued| end < issued) {
            return Err(Flaw("its exp lies before its iat"));
        }
        if end - issued.unwrap_or(now) > expected.longest || end > now + expected.longest + SKEW {
            return Err(Flaw("it lives too long"));
        }
        Ok(end)
    }
}
