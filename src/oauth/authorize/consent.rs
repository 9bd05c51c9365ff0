//! `POST /oauth2/consent`: what a person says on the consent page. Nothing of the page is believed: the request is read and
//! checked anew.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::answer::{self, Told};
use super::{Ready, Step, Visit, page, use_up};
use crate::audit::{self, Event};
use crate::kit::app::App;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::secret;
use crate::oauth::error::OauthError;
use crate::oauth::params::Params;
use crate::oauth::requests::ConsentAnswer;

/// Takes what a person says on the consent page.
///
/// The answer is a redirect to the client, or a page.
#[utoipa::path(post, path = "/oauth2/consent", operation_id = "consent",
    request_body(content = ConsentAnswer, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A page.", body = String, content_type = "text/html"),
        (status = 303, description = "Goes back to the client."),
    ), security(()))]
pub async fn consent(
    State(app): State<Arc<App>>,
    parts: Parts,
    form: Result<Params, OauthError>,
) -> Response {
    let visit = Visit::new(&app, &parts, false);
    match form {
        Ok(form) => visit.conclude(said(&visit, &form).await),
        Err(error) => error.into_response(),
    }
}

async fn said(visit: &Visit<'_>, form: &Params) -> Result<Response> {
    let request = form.required("request")?;
    let params = Params::from_query(request, &visit.app.config.limits)?;
    let ready = match visit.ready(&params).await? {
        Step::Ready(ready) => ready,
        Step::Done(response) => return Ok(response),
    };
    let own = ready.form == request && matches(visit.app, visit.cookie(), request, form.required("csrf")?);
    if !own {
        let why = "the page does not belong to this browser or request; begin again at the client";
        let error = refuse(Kind::Forbidden, why);
        if let Error::Refused(refused) = &error {
            visit.log_refusal(&ready.session, &ready.target, refused).await?;
        }
        return Err(error);
    }
    match form.get("decision") {
        Some("allow") => visit.issue(visit.begin(&ready.session).await?, &ready, true).await,
        Some("deny") => deny(visit, &ready).await,
        _ => Err(refuse(Kind::InvalidRequest, "decision is allow or deny")),
    }
}

async fn deny(visit: &Visit<'_>, ready: &Ready) -> Result<Response> {
    let mut cx = visit.begin(&ready.session).await?;
    use_up(&mut cx, ready.artefact.as_ref()).await?;
    let facts = json!({ "client_id": ready.decided.client_id, "scope": ready.decided.scopes.joined() });
    let event = Event::new("consent.denied", "client", ready.target.logged_as()).with(facts);
    audit::record(&mut cx, event).await?;
    cx.tx.commit().await?;
    if !ready.target.takes_errors {
        return Ok(page::denied());
    }
    match refuse(Kind::Forbidden, "the person said no") {
        Error::Refused(refused) => {
            answer::redirect(visit.app.config.issuer(), &ready.target, &Told::Refused(&refused), false)
        }
        fault @ Error::Fault(_) => Err(fault),
    }
}

/// What binds a form to the browser and the request for which it was made.
pub fn csrf(app: &App, cookie: &str, request: &str) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(app.keys.hash(&bound(cookie, request))?.mac))
}

fn matches(app: &App, cookie: &str, request: &str, presented: &str) -> bool {
    let Ok(presented) = URL_SAFE_NO_PAD.decode(presented) else { return false };
    app.keys.hashes(&bound(cookie, request)).iter().any(|known| secret::same(known, &presented))
}

/// Neither part holds a line break: one is base64url, the other a form.
fn bound(cookie: &str, request: &str) -> String {
    format!("consent\n{cookie}\n{request}")
}
