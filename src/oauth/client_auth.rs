//! Client authentication (RFC 6749 section 2.3). No client can be registered yet, so none authenticates: what remains is
//! to read what was presented, refuse it, and to let anonymous callers in where the mode is open.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::OauthError;
use super::params::Params;
use crate::kit::app::App;
use crate::kit::error::{Error, Kind, refuse};

/// Lets an anonymous caller inspect or revoke a token in the open mode; anything presented must be good.
pub fn check_inspector(app: &App, headers: &HeaderMap, params: &Params) -> Result<(), OauthError> {
    let basic = basic(headers)?;
    let in_body = params.get("client_id").is_some() || params.get("client_secret").is_some();
    match (basic, in_body || params.get("client_assertion").is_some()) {
        (true, true) => {
            Err(refuse(Kind::InvalidRequest, "the client authenticates in two ways at once; use one").into())
        }
        (true, false) => Err(OauthError::of_basic(unknown())),
        (false, true) => Err(unknown().into()),
        (false, false) if app.config.introspection_open() => Ok(()),
        (false, false) => {
            let why = "this endpoint needs client authentication; present a client_id and its secret";
            Err(refuse(Kind::InvalidClient, why).into())
        }
    }
}

/// Whether HTTP Basic was presented and is well formed. Other schemes are not client authentication.
fn basic(headers: &HeaderMap) -> Result<bool, OauthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(false) };
    let malformed = || refuse(Kind::InvalidRequest, "the Authorization header is malformed");
    if values.next().is_some() {
        return Err(malformed().into());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(false);
    }
    let decoded = STANDARD.decode(credentials.trim()).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    if decoded.contains(':') { Ok(true) } else { Err(malformed().into()) }
}

/// An unknown client and a wrong secret are the same answer.
fn unknown() -> Error {
    refuse(Kind::InvalidClient, "the client is unknown or its credentials are wrong")
}
