//! Errors of the admin API as problem documents (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::kit::error::{Error, Kind, Refused};
use crate::kit::http::trace::{Challenge, Fault, FreshNonce};

/// An error on its way out of the admin API.
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// The body of a problem document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// The status of the answer.
    status: u16,
    /// What it is called.
    title: &'a str,
    /// What is wrong, and what to do.
    detail: &'a str,
    /// Which member is at fault, where one is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Detail<'a>>,
}

/// A member at fault.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProblemDetail)]
pub struct Detail<'a> {
    /// What is wrong with it.
    message: &'a str,
    /// Where it stands, as `body.name`, `query.limit`, `path.id` or `header.x-account-id`.
    location: &'a str,
    /// What was sent, where that may be shown; "" otherwise.
    value: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self.0 {
            Error::Refused(refused) => refusal(&refused),
            Error::Fault(fault) => {
                let mut response = document(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the server met a fault; it is logged under this answer's X-Request-ID",
                    None,
                );
                response.extensions_mut().insert(Fault::new(fault));
                response
            }
        }
    }
}

fn refusal(refused: &Refused) -> Response {
    let status = status(refused.kind);
    let mut response = document(status, &refused.why, refused.at.as_ref());
    if let Some(challenge) = Challenge::of(refused) {
        response.extensions_mut().insert(challenge);
    }
    if refused.kind == Kind::UseDpopNonce {
        response.extensions_mut().insert(FreshNonce);
    }
    if let Some(seconds) = refused.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn document(
    status: StatusCode,
    detail: &str,
    at: Option<&(std::borrow::Cow<'static, str>, String)>,
) -> Response {
    let errors = at
        .map(|(location, value)| Detail { message: detail, location, value })
        .into_iter()
        .collect::<Vec<_>>();
    let title = status.canonical_reason().unwrap_or_default();
    let body = Json(Document { status: status.as_u16(), title, detail, errors });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// The status of the admin API for each kind of refusal.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidRequest
        | Kind::InvalidGrant
        | Kind::InvalidScope
        | Kind::InvalidTarget
        | Kind::UnauthorizedClient
        | Kind::UnsupportedResponseType
        | Kind::UnsupportedGrantType => StatusCode::BAD_REQUEST,
        Kind::MissingCredential
        | Kind::InvalidToken
        | Kind::InvalidClient
        | Kind::LoginRequired
        | Kind::InvalidDpopProof
        | Kind::UseDpopNonce => StatusCode::UNAUTHORIZED,
        Kind::Forbidden | Kind::InsufficientScope | Kind::PolicyViolation => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
