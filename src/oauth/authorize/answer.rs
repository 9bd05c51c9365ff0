//! What the client is told at its redirect URI.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::request::Target;
use crate::kit::error::{Refused, Result};
use crate::kit::secret::Secret;
use crate::oauth::error::code;

/// The outcome of a request.
pub enum Told<'a> {
    /// The person agreed.
    Code(&'a Secret),
    /// Why there is no code.
    Refused(&'a Refused),
}

/// Sends the browser back to the client. Every answer says whose it is (RFC 9207). After a form the browser must not send
/// it again (RFC 9700 section 4.12).
pub fn redirect(issuer: &str, target: &Target, told: &Told<'_>, after_get: bool) -> Result<Response> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    match told {
        Told::Code(code) => {
            query.append_pair("code", code.expose());
        }
        Told::Refused(refused) => {
            query.append_pair("error", code(refused.kind).0).append_pair("error_description", &refused.why);
        }
    }
    if let Some(state) = &target.state {
        query.append_pair("state", state);
    }
    let query = query.append_pair("iss", issuer).finish();
    let before = if target.redirect_uri.contains('?') { '&' } else { '?' };
    let location = format!("{}{before}{query}", target.redirect_uri);
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, HeaderValue::try_from(location)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let status = if after_get { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
    Ok((status, headers).into_response())
}
