//! Pushed authorization requests (RFC 9126).

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::authorize::{PARAMETERS, check_pushed};
use super::client_auth::{Authenticated, authenticate, unknown, used_before};
use super::dpop;
use super::error::OauthError;
use super::params::Params;
use super::requests::{AuthorizationRequest, PushedRequest};
use crate::access::{origin, possession};
use crate::audit::{self, Event};
use crate::authorizations::{self, LIFETIME};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::{Authority, Caller, Cx};
use crate::kit::dpop::Proof;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::trace::FreshNonce;
use crate::kit::ids;
use crate::tokens::ledger::{self, Artefact, Outcome};

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
    let checked = check(&app, &parts, &known, params, now).await;
    let rotates_nonce =
        checked.as_ref().is_ok_and(|(_, proof)| proof.as_ref().is_some_and(|proof| proof.nonce.is_some()));
    let mut cx = Cx { tx: app.begin().await?, tenant, now, caller, origin: from };
    let pushed = match checked {
        Ok((params, proof)) => {
            let proof = proof.as_ref().map(possession::artefact);
            let artefacts: Vec<_> = known.artefact.iter().cloned().chain(proof).collect();
            keep(&app, &mut cx, &params, &artefacts).await
        }
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
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    let mut response = (StatusCode::CREATED, no_store, axum::Json(answer)).into_response();
    if rotates_nonce {
        response.extensions_mut().insert(FreshNonce);
    }
    Ok(response)
}

/// The request as it will be answered, with the proof that it carries. A proof says what `dpop_jkt` says (RFC 9449 section
/// 10.1).
async fn check(
    app: &App,
    parts: &Parts,
    known: &Authenticated,
    params: Params,
    now: Time,
) -> Result<(Params, Option<Proof>)> {
    let proof = dpop::offered(app, parts, Some(known), now)?;
    let params = match &proof {
        Some(proof) => params.naming_key(&proof.jkt)?,
        None => params,
    };
    check_pushed(app, &params, now).await?;
    Ok((params, proof))
}

async fn keep(app: &App, cx: &mut Cx, params: &Params, artefacts: &[Artefact]) -> Result<String> {
    if !artefacts.is_empty() {
        let used = ledger::use_up(&mut cx.tx, &[(ids::new(cx.now)?, artefacts)]).await?;
        if let [Outcome::Used(kind)] = used[..] {
            return Err(used_before(kind));
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
