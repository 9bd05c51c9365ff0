//! Forward authentication: a proxy asks whether the bearer of a request may pass, and forwards who he is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::OauthError;
use crate::kit::app::App;
use crate::tokens::{self, claims_of};

/// The claims that go out as headers.
const FORWARDED: [(&str, HeaderName); 6] = [
    ("sub", HeaderName::from_static("x-forwarded-user")),
    ("identity_type", HeaderName::from_static("x-zeroid-identity-type")),
    ("trust_level", HeaderName::from_static("x-zeroid-trust-level")),
    ("account_id", HeaderName::from_static("x-zeroid-account-id")),
    ("project_id", HeaderName::from_static("x-zeroid-project-id")),
    ("external_id", HeaderName::from_static("x-zeroid-external-id")),
];

/// That the bearer may pass.
#[derive(Debug, Serialize, ToSchema)]
pub struct Passed {
    /// Always true.
    active: bool,
}

/// That he may not.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotPassed {
    /// `missing_token`, `invalid_authorization_header` or `invalid_token`.
    error: &'static str,
}

/// Tells a proxy whether the bearer of a request may pass.
///
/// 200 with the identity's headers while the token stands, else 401.
#[utoipa::path(get, path = "/oauth2/token/verify",
    responses((status = 200, body = Passed), (status = 401, body = NotPassed)), security(("token" = [])))]
pub async fn verify(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, OauthError> {
    let token = match presented(&headers) {
        Ok(token) => token,
        Err(error) => return Ok(refusal(&app, error)),
    };
    let found = tokens::verify(&app, token, app.clock.now()).await?;
    let Some(claims) = found.and_then(|_| claims_of(token)) else {
        return Ok(refusal(&app, "invalid_token"));
    };
    Ok((identity(&claims), axum::Json(Passed { active: true })).into_response())
}

fn presented(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or("missing_token")?;
    if values.next().is_some() {
        return Err("invalid_authorization_header");
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or("invalid_authorization_header")?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err("invalid_authorization_header");
    }
    Ok(token.trim())
}

fn identity(claims: &Map<String, Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: Option<&Value>| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(text)) {
            headers.insert(name, value);
        }
    };
    for (claim, name) in FORWARDED {
        put(name, claims.get(claim));
    }
    let actor = claims.get("act").and_then(|act| act.get("sub"));
    put(HeaderName::from_static("x-zeroid-act-sub"), actor);
    headers
}

fn refusal(app: &App, error: &'static str) -> Response {
    let hint = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource\"", app.config.issuer());
    let named =
        |code: &str, why: &str| format!("Bearer error=\"{code}\", error_description=\"{why}\", {hint}");
    let challenge = match error {
        "missing_token" => format!("Bearer {hint}"),
        "invalid_authorization_header" => {
            named("invalid_request", "send one header of the form Authorization: Bearer TOKEN")
        }
        _ => named("invalid_token", "the token is unknown, expired or revoked"),
    };
    let body = axum::Json(NotPassed { error });
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], body).into_response()
}
