//! The credential in the `Authorization` header.

use std::fmt;

use axum::http::{HeaderMap, header};

use crate::kit::error::{Kind, Result, refuse};

/// As what a credential is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Whoever has it may use it (RFC 6750).
    Bearer,
    /// Whoever also proves a key may use it (RFC 9449 section 7.1).
    Dpop,
}

/// A credential that a request presents. `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// As what.
    pub scheme: Scheme,
    /// The credential itself.
    pub token: &'a str,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({:?}, …)", self.scheme)
    }
}

/// The credential of a request (RFC 6750 section 2.1: in the header and nowhere else).
pub fn presented(headers: &HeaderMap) -> Result<Option<Presented<'_>>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse(Kind::InvalidRequest, "more than one Authorization header"));
    }
    let malformed = || {
        refuse(Kind::InvalidToken, "the Authorization header is not of the form: Bearer TOKEN, or DPoP TOKEN")
    };
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Scheme::Bearer,
        "dpop" => Scheme::Dpop,
        _ => return Err(malformed()),
    };
    let token = token.trim();
    if token.is_empty() {
        return Err(malformed());
    }
    Ok(Some(Presented { scheme, token }))
}
