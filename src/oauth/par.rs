//! Pushed authorization requests (RFC 9126).

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::authorize::{PARAMETERS, check_pushed};
use super::client_auth::{authenticate, unknown, used_before};
use super::error::OauthError;
use super::params::Params;
use super::requests::{AuthorizationRequest, PushedRequest};
use crate::access::origin;
use crate::audit::{self, Event};
use crate::authorizations::{self, LIFETIME};
use crate::kit::app::App;
use crate::kit::cx::{Authority, Caller, Cx};
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::ids;
use crate::tokens::ledger::{self, Outcome};

/// The most bytes of parameters that are kept.
const KEPT: usize = 32 * 1024;

/// Keeps a request of a client that authenticates as at the token endpoint; a public one names itself.
#[utoipa::path(post, path = "/oauth2/par", operation_id = "push",
    request_body(content = AuthorizationRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 201, body = PushedRequest)), security((), ("client" = [])))]
pub async fn push(State(app): State<Arc<App>>, parts: Parts, params: Params) -> Result<Response, OauthError> {
    let (from, now) = (origin(&parts), app.clock.now());
    let known = authenticate(&app, &parts.headers, &params, &from, now).await?.ok_or_else(unknown)?;
    let told = |error| OauthError::told(error, &parts.headers);
    let params = params.naming(&known.client.client_id).map_err(told)?;
    if params.get("request_uri").or(params.get("request")).is_some() {
        let why = "a pushed request holds its parameters themselves: neither request_uri nor request";
        return Err(told(refuse(Kind::InvalidRequest, why)));
    }
    let caller = Caller {
        kind: "client",
        id: known.client.client_id.clone(),
        user: None,
        across_tenants: false,
        authority: Authority::Scopes(Vec::new()),
    };
    let tenant = known.client.tenant.clone();
    let checked = check_pushed(&app, &params, now).await;
    let mut cx = Cx { tx: app.begin().await?, tenant, now, caller, origin: from };
    let pushed = match checked {
        Ok(()) => keep(&app, &mut cx, &params, known.artefact.as_ref()).await,
        Err(error) => Err(error),
    };
    let event = Event::new("authorization.pushed", "client", known.client.id);
    match &pushed {
        Err(Error::Refused(refused)) if known.proven => {
            audit::record_refusal(&mut cx, event, refused).await?;
        }
        _ => {}
    }
    cx.tx.commit().await.map_err(Error::from)?;
    let answer = json!({ "request_uri": pushed.map_err(told)?, "expires_in": LIFETIME.whole_seconds() });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response())
}

async fn keep(
    app: &App,
    cx: &mut Cx,
    params: &Params,
    assertion: Option<&ledger::Artefact>,
) -> Result<String> {
    if let Some(artefact) = assertion {
        let used = ledger::use_up(&mut cx.tx, &[(ids::new(cx.now)?, std::slice::from_ref(artefact))]).await?;
        if used != [Outcome::Written] {
            return Err(used_before(artefact.kind));
        }
    }
    let form = params.form(&PARAMETERS);
    if form.len() > KEPT {
        return Err(refuse(
            Kind::TooLarge,
            format!("a pushed request has at most {KEPT} bytes of parameters"),
        ));
    }
    let client_id = cx.caller.id.clone();
    Ok(authorizations::push(app, cx, &client_id, &form).await?.expose().to_owned())
}
