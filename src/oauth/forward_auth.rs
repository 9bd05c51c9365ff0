//! Forward authentication: a proxy asks whether the bearer of a request may pass, and forwards who he is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::{OauthError, code};
use crate::access::possession::{self, Target};
use crate::access::presented;
use crate::kit::app::App;
use crate::kit::error::{Error, Kind, Refused};
use crate::kit::http::trace::{Challenge, FreshNonce};
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
    /// `missing_token`, `invalid_authorization_header`, `invalid_token`, `invalid_dpop_proof` or `use_dpop_nonce`.
    error: &'static str,
}

/// Tells a proxy whether the bearer of a request may pass.
///
/// 200 with the identity's headers while the token stands, else 401.
#[utoipa::path(get, path = "/oauth2/token/verify",
    responses((status = 200, body = Passed), (status = 401, body = NotPassed)), security(("token" = [])))]
pub async fn verify(State(app): State<Arc<App>>, parts: Parts) -> Result<Response, OauthError> {
    let presented = match presented(&parts.headers) {
        Ok(Some(presented)) => presented,
        Ok(None) => return Ok(refusal(&app, "missing_token")),
        Err(_) => return Ok(refusal(&app, "invalid_authorization_header")),
    };
    let now = app.clock.now();
    let Some(found) = tokens::verify(&app, presented.token, now).await? else {
        return Ok(refusal(&app, "invalid_token"));
    };
    // The proof was made for the request that the proxy holds, not for this one.
    let target = Target::forwarded(&app, &parts);
    let shown = possession::Shown { presented: &presented, found: &found };
    match possession::check(&app, &parts, target.as_ref(), shown, now).await {
        Ok(()) => {}
        Err(Error::Refused(refused)) => return Ok(unproven(&app, &refused)),
        Err(fault) => return Err(fault.into()),
    }
    let Some(claims) = claims_of(presented.token) else { return Ok(refusal(&app, "invalid_token")) };
    Ok((identity(&claims), axum::Json(Passed { active: true })).into_response())
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

/// The refusal of a token that stands, and is not presented as it was issued.
fn unproven(app: &App, refused: &Refused) -> Response {
    let (error, _) = code(refused.kind);
    let mut response = (StatusCode::UNAUTHORIZED, axum::Json(NotPassed { error })).into_response();
    if let Some(challenge) =
        Challenge::of(refused).and_then(|challenge| challenge.header(app.config.issuer()))
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if refused.kind == Kind::UseDpopNonce {
        response.extensions_mut().insert(FreshNonce);
    }
    response
}
