//! Introspection (RFC 7662): whether a token stands at this moment, on every replica. An answer may be asked for as a
//! signed JWT (RFC 9701).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::client_auth::{Authenticated, inspector};
use super::error::OauthError;
use super::params::Params;
use super::requests::PresentedToken;
use crate::access::origin;
use crate::keys::Typ;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::{Kind, Result, refuse};
use crate::tokens::{self, Claims, Found, payload, raw_claims};

/// The media type of a signed answer.
const SIGNED: &str = "application/token-introspection+jwt";

/// What is told of a token: nothing but `active` where it does not stand, else its claims too.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Introspection<'a> {
    /// Whether it stands at this moment.
    active: bool,
    /// `Bearer` or `DPoP`.
    #[serde(skip_serializing_if = "str::is_empty")]
    token_type: &'static str,
    /// Its claims; `status` is that of this moment.
    #[serde(flatten)]
    #[schema(value_type = Claims<'static>)]
    told: Option<Told<'a>>,
}

/// What is live or only the row knows, and the token's own claims as they are written there.
#[derive(Debug, Serialize)]
struct Told<'a> {
    scope: String,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<Uuid>,
    #[serde(flatten)]
    claims: BTreeMap<&'a str, &'a RawValue>,
}

/// Tells what a token says, and whether it stands.
///
/// Anything that does not stand, or that the caller may not see, is `{"active": false}` and nothing else (RFC 7662 section 2.2).
/// Who accepts `application/token-introspection+jwt` gets the answer signed (RFC 9701).
#[utoipa::path(post, path = "/oauth2/token/introspect",
    request_body(content(
        (PresentedToken = "application/x-www-form-urlencoded"),
        (PresentedToken = "application/json"),
    )),
    responses((status = 200, content(
        (Introspection = "application/json"), (String = "application/token-introspection+jwt"),
    ))), security((), ("client" = [])))]
pub async fn introspect(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<Response, OauthError> {
    let now = app.clock.now();
    let inspector = inspector(&app, &parts.headers, &params, &origin(&parts), now).await?;
    let audience = wants_signed(&parts.headers).then(|| recipient(inspector.as_ref())).transpose()?;
    let token = params.required("token")?;
    let text = payload(token).unwrap_or_default();
    let found = tokens::verify_by(&app, token, &text, now).await?;
    let sees = |found: &Found| inspector.as_ref().is_none_or(|known| known.sees(found, app.config.issuer()));
    let found = found.filter(sees);
    let answer = found.as_ref().and_then(|found| Some(answer(found, raw_claims(&text)?)));
    let answer = answer.unwrap_or_default();
    match audience {
        None => Ok(axum::Json(answer).into_response()),
        Some(audience) => {
            let signed = sign(&app, audience, &answer, now)?;
            Ok(([(header::CONTENT_TYPE, SIGNED)], signed).into_response())
        }
    }
}

/// What a token says, save what is told of it as it is now.
fn answer<'a>(found: &'a Found, mut claims: BTreeMap<&'a str, &'a RawValue>) -> Introspection<'a> {
    for told in ["scopes", "token_type", "scope", "status", "active"] {
        claims.remove(told);
    }
    if found.identity_id.is_some() {
        claims.remove("agent_id");
    }
    let told = Told {
        scope: found.scopes.join(" "),
        status: found.agent_status.as_deref().unwrap_or_default(),
        agent_id: found.identity_id,
        claims,
    };
    let token_type = if found.jkt.is_some() { "DPoP" } else { "Bearer" };
    Introspection { active: true, token_type, told: Some(told) }
}

/// The claims of a signed answer. `sub` and `exp` stand inside of `token_introspection` only, so that nobody takes the
/// answer for an access token (RFC 9701 section 5).
#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a Introspection<'a>,
}

fn sign(app: &App, audience: &str, answer: &Introspection<'_>, now: Time) -> Result<String> {
    let ring = app.keys.ring();
    let key = ring.signer(now, app.config.keys.jwks_lifetime_seconds)?;
    let claims = Signed {
        iss: app.config.issuer(),
        aud: audience,
        iat: now.unix_timestamp(),
        token_introspection: answer,
    };
    key.sign(Typ::Introspection, &claims)
}

/// For whom an answer is signed: a client that proved who it is (RFC 9701 section 4).
fn recipient(inspector: Option<&Authenticated>) -> Result<&str> {
    let why =
        "a signed answer is made for a client that has authenticated; present a client_id and its secret";
    let known = inspector.filter(|known| known.proven).ok_or_else(|| refuse(Kind::InvalidClient, why))?;
    Ok(&known.client.client_id)
}

/// Whether the caller accepts the signed form by its name, and prefers JSON no more than that.
fn wants_signed(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<&str> = ranges.flat_map(|value| value.split(',')).collect();
    let weight = |media: &str| ranges.iter().find_map(|range| weight(range, media));
    let signed = weight(SIGNED).unwrap_or_default();
    signed > 0.0 && signed >= weight("application/json").unwrap_or_default()
}

/// The weight that a range of `Accept` gives to this media type, if it names it (RFC 9110 section 12.5.1).
fn weight(range: &str, media: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(media) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    weight.map_or(Some(1.0), |weight| Some(weight.parse().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_form_is_given_to_those_who_name_it() {
        for (accept, signed) in [
            ("application/token-introspection+jwt", true),
            ("APPLICATION/Token-Introspection+JWT; q=0.5, */*", true),
            ("application/json;q=0.9, application/token-introspection+jwt", true),
            ("application/json, application/token-introspection+jwt", true),
            ("application/json, application/token-introspection+jwt;q=0.5", false),
            ("application/token-introspection+jwt;q=0", false),
            ("application/token-introspection+jwt;q=x", false),
            ("application/jwt", false),
            ("application/*", false),
            ("*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_signed(&headers), signed, "{accept}");
        }
        assert!(!wants_signed(&HeaderMap::new()));
    }
}
