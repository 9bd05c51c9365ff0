//! Errors of the OAuth endpoints (RFC 6749 section 5.2): one table from kind to code and status.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::client_auth::tries_basic;
use crate::kit::error::{Error, Kind};
use crate::kit::http::trace::{Fault, FreshNonce};

/// An error on its way out of an OAuth endpoint.
#[derive(Debug)]
pub struct OauthError {
    error: Error,
    /// Whether the client tried HTTP Basic, which then has to be named in the answer.
    basic: bool,
}

impl From<Error> for OauthError {
    fn from(error: Error) -> Self {
        Self { error, basic: false }
    }
}

impl OauthError {
    /// The code on the wire, for metrics.
    pub fn code(&self) -> &'static str {
        match &self.error {
            Error::Refused(refused) => code(refused.kind).0,
            Error::Fault(_) => "server_error",
        }
    }

    /// An error for a client that may have tried HTTP Basic.
    pub fn told(error: Error, headers: &HeaderMap) -> Self {
        Self { error, basic: tries_basic(headers) }
    }
}

/// The body of an error (RFC 6749 section 5.2).
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct Body<'a> {
    /// The code.
    error: &'static str,
    /// What is wrong, and what to do.
    error_description: &'a str,
}

/// The code and status for each kind of refusal.
pub fn code(kind: Kind) -> (&'static str, StatusCode) {
    match kind {
        Kind::InvalidRequest | Kind::Invalid | Kind::Conflict => ("invalid_request", StatusCode::BAD_REQUEST),
        Kind::NotFound => ("invalid_request", StatusCode::NOT_FOUND),
        Kind::MethodNotAllowed => ("invalid_request", StatusCode::METHOD_NOT_ALLOWED),
        Kind::TooLarge => ("invalid_request", StatusCode::PAYLOAD_TOO_LARGE),
        Kind::TooSlow => ("invalid_request", StatusCode::REQUEST_TIMEOUT),
        Kind::UnsupportedMediaType => ("invalid_request", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        Kind::InvalidGrant => ("invalid_grant", StatusCode::BAD_REQUEST),
        Kind::InvalidClient => ("invalid_client", StatusCode::UNAUTHORIZED),
        Kind::UnauthorizedClient => ("unauthorized_client", StatusCode::BAD_REQUEST),
        Kind::InvalidScope => ("invalid_scope", StatusCode::BAD_REQUEST),
        Kind::InvalidTarget => ("invalid_target", StatusCode::BAD_REQUEST),
        Kind::UnsupportedResponseType => ("unsupported_response_type", StatusCode::BAD_REQUEST),
        Kind::LoginRequired => ("login_required", StatusCode::UNAUTHORIZED),
        Kind::UnsupportedGrantType => ("unsupported_grant_type", StatusCode::BAD_REQUEST),
        Kind::PolicyViolation => ("policy_violation", StatusCode::BAD_REQUEST),
        Kind::InvalidDpopProof => ("invalid_dpop_proof", StatusCode::BAD_REQUEST),
        Kind::UseDpopNonce => ("use_dpop_nonce", StatusCode::BAD_REQUEST),
        Kind::MissingCredential | Kind::InvalidToken => ("invalid_token", StatusCode::UNAUTHORIZED),
        Kind::InsufficientScope => ("insufficient_scope", StatusCode::FORBIDDEN),
        Kind::Forbidden => ("access_denied", StatusCode::FORBIDDEN),
        Kind::TooManyRequests => ("slow_down", StatusCode::TOO_MANY_REQUESTS),
        Kind::Unavailable => ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE),
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let refused = match self.error {
            Error::Refused(refused) => refused,
            Error::Fault(fault) => {
                let why = "the server met a fault; it is logged under this answer's X-Request-ID";
                let body = Body { error: "server_error", error_description: why };
                let mut response = (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
                response.extensions_mut().insert(Fault::new(fault));
                return response;
            }
        };
        let (error, status) = code(refused.kind);
        let mut response = (status, Json(Body { error, error_description: &refused.why })).into_response();
        if refused.kind == Kind::UseDpopNonce {
            response.extensions_mut().insert(FreshNonce);
        }
        let headers = response.headers_mut();
        if refused.kind == Kind::InvalidClient && self.basic {
            let challenge = HeaderValue::from_static("Basic realm=\"chancery\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = refused.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // RFC 6749 section 5.1.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
