//! Idempotency of creating requests: for a minute, a request that says it is a repetition gets the first one's answer.
//! Answers may show a secret once, so they are kept sealed.
mod store;
pub mod worker;

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::Duration;

use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::{parse, read_json};
use crate::kit::http::problem::Problem;
use crate::kit::secret;

/// How long an answer is kept.
const KEPT: Duration = Duration::seconds(60);

/// The body of a creating request, with what tells it from others.
#[derive(Debug)]
pub struct Creation<T> {
    /// What is to be created.
    pub body: T,
    /// By what a repetition is recognised.
    pub fingerprint: Fingerprint,
}

/// By what a repetition is recognised.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    body_sha256: [u8; 32],
    /// `Idempotency-Key`, which the first request carries too.
    key: Option<String>,
    /// `X-Idempotency-Key`, which the SDK puts on repetitions only: the body tells which request they repeat.
    repetition: bool,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Creation<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (headers, text) = read_json(request, app).await?;
        let fingerprint = Fingerprint {
            body_sha256: secret::sha256(&text),
            key: header(&headers, "idempotency-key")?,
            repetition: header(&headers, "x-idempotency-key")?.is_some(),
        };
        Ok(Self { body: parse(&text, &app.config.limits)?, fingerprint })
    }
}

fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=255).contains(&text.len()));
    let text = text.ok_or_else(|| {
        refuse_at(
            Kind::InvalidRequest,
            format!("{name} has 1 to 255 plain characters"),
            format!("header.{name}"),
            "",
        )
    })?;
    Ok(Some(text.to_owned()))
}

/// The kept answer, if this request repeats one. Requests with the same key wait for each other.
pub async fn replay(app: &App, cx: &mut Cx, route: &str, request: &Fingerprint) -> Result<Option<Response>> {
    let kept = if let Some(key) = &request.key {
        store::lock(cx, route, key).await?;
        store::by_key(cx, route, key).await?
    } else if request.repetition {
        store::by_body(cx, route, &request.body_sha256).await?
    } else {
        None
    };
    let Some(kept) = kept else { return Ok(None) };
    if kept.body_sha256 != request.body_sha256 {
        let why = "this Idempotency-Key was used for another request; take a new one";
        return Err(refuse_at(Kind::Invalid, why, "header.idempotency-key", ""));
    }
    let body = app.keys.open_sealed(&context(cx, route, &kept.body_sha256), &kept.sealed_body)?;
    let status = u16::try_from(kept.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    Ok(Some(json(status.unwrap_or(StatusCode::CREATED), body.to_vec())))
}

/// Makes the answer of a creation and keeps it, in the creation's own transaction.
pub async fn created<T: Serialize>(
    app: &App,
    cx: &mut Cx,
    route: &str,
    request: &Fingerprint,
    answer: &T,
) -> Result<Response> {
    let body = serde_json::to_vec(answer)?;
    let sealed = app.keys.seal(&context(cx, route, &request.body_sha256), &body)?;
    store::keep(cx, route, request, &sealed).await?;
    Ok(json(StatusCode::CREATED, body))
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What an answer is sealed for: it opens for the same caller, route and body only.
fn context(cx: &Cx, route: &str, body_sha256: &[u8]) -> String {
    let (tenant, caller) = (&cx.tenant, caller(cx));
    format!("answer {}/{} {caller} {route} {body_sha256:02x?}", tenant.account_id, tenant.project_id)
}

fn caller(cx: &Cx) -> String {
    format!("{}:{}", cx.caller.kind, cx.caller.id)
}
