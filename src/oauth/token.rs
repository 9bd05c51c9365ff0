//! `POST /oauth2/token`: every step that grants have in common stands here, once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header, request::Parts};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::client_auth::{Authenticated, authenticate_for, used_before};
use super::dpop;
use super::error::{OauthError, code};
use super::grants::{
    Denial, Ends, Principal, Request, api_key, authorization_code, client_credentials, jwt_bearer,
    refresh_token, token_exchange,
};
use super::params::Params;
use super::requests::TokenRequest;
use crate::access::origin;
use crate::access::scope::Scopes;
use crate::audit::{Entry, Event};
use crate::authorizations::CODE;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Profile;
use crate::kit::cx::Origin;
use crate::kit::error::{Error, Kind, Refused, Result, refuse};
use crate::kit::http::trace::FreshNonce;
use crate::kit::ids;
use crate::tokens::ledger::{Artefact, Once, Outcome, Record};
use crate::tokens::refresh::{REFRESH_TOKEN, refuse_reuse};
use crate::tokens::{AccessToken, ClientStamp, Grant, Issued, issue};

/// Exchanges a grant for a token.
#[utoipa::path(post, path = "/oauth2/token",
    request_body(content(
        (TokenRequest = "application/x-www-form-urlencoded"),
        (TokenRequest = "application/json"),
    )),
    responses((status = 200, body = AccessToken)), security((), ("client" = [])))]
pub async fn token(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<Response, OauthError> {
    let now = app.clock.now();
    let (name, outcome) = Box::pin(grant(&app, &params, &parts, &origin(&parts), now)).await;
    match outcome {
        Ok((answer, rotates_nonce)) => {
            app.metrics.token(name, "issued");
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            let mut response = (no_store, axum::Json(answer)).into_response();
            if rotates_nonce {
                response.extensions_mut().insert(FreshNonce);
            }
            Ok(response)
        }
        Err(error) => {
            app.metrics.token(name, error.code());
            Err(error)
        }
    }
}

/// Authenticates the client if one is named, checks the proof if there is one and runs the grant that was asked for, under
/// the name that metrics know it by. Says too whether the client goes by nonces.
async fn grant(
    app: &App,
    params: &Params,
    parts: &Parts,
    from: &Origin,
    now: Time,
) -> (&'static str, Result<(AccessToken, bool), OauthError>) {
    let grant_type = match params.required("grant_type") {
        Ok(grant_type) => grant_type,
        Err(error) => return ("none", Err(error.into())),
    };
    let Some(name) = short_name(grant_type) else {
        let why = "the grant type is not supported; see grant_types_supported of the server's metadata";
        return ("other", Err(refuse(Kind::UnsupportedGrantType, why).into()));
    };
    let headers = &parts.headers;
    let client = match authenticate_for(grant_type, app, headers, (params, from), now).await {
        // A refresh token tells its client, so a public one need not name itself.
        Ok(None) if name == refresh_token::NAME => {
            refresh_token::client(app, params, from, now).await.map_err(OauthError::from)
        }
        client => client,
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return (name, Err(error)),
    };
    let scopes = Scopes::parse(params.get("scope").unwrap_or_default(), app.config.limits.scopes);
    let outcome = match scopes {
        Ok(scopes) => {
            let proof = dpop::proof(app, parts, client.as_ref(), now);
            let (proof, refused) = match proof {
                Ok(proof) => (proof, None),
                Err(error) => (None, Some(error)),
            };
            let (client, proof) = (client.as_ref(), proof.as_ref());
            let request = Request { app, params, scopes, client, proof, repeated: false, from, now };
            let rotates_nonce = proof.is_some_and(|proof| proof.nonce.is_some());
            let answer = match refused {
                None => decide(name, &request).await,
                Some(error) => refuse_proof(&request, error).await,
            };
            answer.map(|answer| (answer, rotates_nonce))
        }
        Err(error) => Err(error),
    };
    (name, outcome.map_err(|error| OauthError::told(error, headers)))
}

/// Runs the grant to its end. Where another request spent the refresh token first, it is decided anew: what becomes of
/// one that comes too late is for the client's rule to say.
async fn decide(name: &'static str, request: &Request<'_>) -> Result<AccessToken> {
    if let Some(answer) = conclude(request, redeem(name, request).await).await? {
        return Ok(answer);
    }
    let decision = redeem(name, request).await;
    let again = Request { repeated: true, scopes: request.scopes.clone(), ..*request };
    let answer = conclude(&again, decision).await?;
    answer.ok_or_else(|| anyhow::anyhow!("a refresh token was spent twice and is not").into())
}

/// Makes the refusal of a proof durable, where the client is known, and answers it.
async fn refuse_proof(request: &Request<'_>, error: Error) -> Result<AccessToken> {
    let answer = conclude(request, Err(error.into())).await?;
    answer.ok_or_else(|| anyhow::anyhow!("a refused proof obtained a token").into())
}

/// The grants of this endpoint, by the name on the wire and the short one.
pub const GRANTS: [(&str, &str); 6] = [
    (api_key::NAME, api_key::NAME),
    (authorization_code::NAME, authorization_code::NAME),
    (client_credentials::NAME, client_credentials::NAME),
    (jwt_bearer::URN, jwt_bearer::NAME),
    (refresh_token::NAME, refresh_token::NAME),
    (token_exchange::URN, token_exchange::NAME),
];

fn short_name(grant_type: &str) -> Option<&'static str> {
    GRANTS.iter().find(|(wire, _)| *wire == grant_type).map(|(_, short)| *short)
}

async fn redeem(name: &'static str, request: &Request<'_>) -> Result<(Grant, Principal), Denial> {
    if let Some(known) = request.client
        && !known.client.grant_types.iter().any(|grant| grant == name)
    {
        let refused = refuse(Kind::UnauthorizedClient, "the client is not registered for this grant type");
        // One that a document describes has no tenant whose log could tell of it.
        let has_log = !known.client.is_described();
        return Err(if has_log {
            client_credentials::principal(known).denied(refused)
        } else {
            refused.into()
        });
    }
    match name {
        api_key::NAME => api_key::redeem(request).await,
        authorization_code::NAME => authorization_code::redeem(request).await,
        client_credentials::NAME => client_credentials::redeem(request).await,
        jwt_bearer::NAME => jwt_bearer::redeem(request).await,
        refresh_token::NAME => refresh_token::redeem(request).await,
        _ => token_exchange::redeem(request).await,
    }
}

/// Issues, makes it durable, answers; or makes the refusal durable and answers that. `None` where another request spent
/// the refresh token first: nothing was written.
async fn conclude(
    request: &Request<'_>,
    decision: Result<(Grant, Principal), Denial>,
) -> Result<Option<AccessToken>> {
    let denial = match decision {
        Ok((grant, principal)) => {
            let mut grant = dpop::bound(with_client(grant, request.client), request.proof);
            if request.repeated {
                // The first attempt used up, for this request, whatever else works once.
                grant.artefacts.retain(|artefact| artefact.kind == REFRESH_TOKEN);
            }
            match check_client(&grant, request.client).and_then(|()| issue(request.app, &grant, request.now))
            {
                Ok(issued) => return record(request, grant, issued, principal).await,
                Err(error) => principal.denied(error),
            }
        }
        Err(denial) => denial,
    };
    // Who authenticated is known, also where what he presented tells nobody.
    let client = request.client.filter(|known| known.proven).map(client_credentials::principal);
    let principal = denial.principal.map(|principal| *principal).or(client);
    if let (Error::Refused(refused), Some(principal)) = (&denial.error, principal)
        && refused.is_decision()
    {
        let ends = denial.ends.map(|ends| *ends);
        let entry = refusal(request, principal, refused, matches!(ends, Some(Ends::FirstUse(_))))?;
        match ends {
            Some(Ends::Family(family)) => refuse_reuse(request.app, entry, family).await?,
            Some(Ends::FirstUse(code)) => drop(request.app.write(Record::Reuse(entry, code)).await?),
            None => drop(request.app.write(Record::Refusal(entry)).await?),
        }
    }
    Err(denial.error)
}

/// What a client that is named adds to every grant: the token rests on it, and its assertion is used up.
fn with_client(mut grant: Grant, client: Option<&Authenticated>) -> Grant {
    let Some(Authenticated { client, artefact, .. }) = client else { return grant };
    grant.client =
        Some(ClientStamp { id: client.row(), client_id: client.client_id.clone(), epoch: client.epoch });
    grant.artefacts.extend(artefact.clone());
    grant.ttl_seconds =
        u32::try_from(client.access_token_ttl).ok().filter(|ttl| *ttl > 0).or(grant.ttl_seconds);
    if let Some(profile) = client.token_profile.as_deref().and_then(Profile::of) {
        grant.profile = profile;
    }
    grant
}

/// A token rests on its client too, so both are of one tenant: nobody else's administrators may end it.
fn check_client(grant: &Grant, client: Option<&Authenticated>) -> Result<()> {
    let registered = client.filter(|known| !known.client.is_described());
    if registered.is_some_and(|known| known.client.tenant != grant.tenant) {
        return Err(refuse(Kind::InvalidGrant, "the client belongs to another tenant than the grant"));
    }
    Ok(())
}

async fn record(
    request: &Request<'_>,
    grant: Grant,
    issued: Issued,
    principal: Principal,
) -> Result<Option<AccessToken>> {
    let mut answer = AccessToken::of(&grant, &issued);
    if grant.grant_type == token_exchange::NAME {
        answer = answer.exchanged(token_exchange::ACCESS_TOKEN);
    }
    let credential = Box::new(issued.credential);
    let mut facts = json!({
        "grant_type": grant.grant_type,
        "identity_id": credential.identity_id,
        "scope": credential.scopes.joined(),
    });
    if let Some(client) = &grant.client {
        facts["client_id"] = json!(client.client_id);
    }
    if let Some(outside) = &grant.outside {
        facts["trusted_issuer_id"] = json!(outside.issuer_id);
        facts["external_subject"] = json!(outside.subject);
    }
    if let Some(person) = &grant.person {
        facts["user_id"] = json!(person.user_id);
    }
    if let Some(parent) = &grant.parent {
        facts["parent_jti"] = json!(parent.jti);
        facts["delegation_depth"] = json!(credential.depth);
    }
    let event = Event::new("token.issued", "credential", credential.jti).with(facts);
    let key = credential.api_key_id;
    let refresh = issued.refresh.and_then(|made| made.row);
    let artefacts = refresh_token_last(grant.artefacts);
    let refusals = refusals(request, &principal, &artefacts)?;
    let entry = entry(request, principal, event, None)?;
    let record = if artefacts.is_empty() && refresh.is_none() {
        Record::Issue(credential, entry)
    } else {
        Record::IssueOnce(credential, entry, Box::new(Once { artefacts, refusals, refresh }))
    };
    match request.app.write(record).await? {
        Outcome::Written => {}
        Outcome::Used(REFRESH_TOKEN) => return Ok(None),
        Outcome::Used(kind) => return Err(used_before(kind)),
    }
    if let Some(key) = key {
        request.app.usage.note(key, request.now, request.from.address);
    }
    Ok(Some(answer))
}

/// So that where it was spent before, all others were used up by this request.
fn refresh_token_last(mut artefacts: Vec<Artefact>) -> Vec<Artefact> {
    artefacts.sort_by_key(|artefact| artefact.kind == REFRESH_TOKEN);
    artefacts
}

/// What is written instead of the token if one of these was used before. A refresh token is decided on anew.
fn refusals(
    request: &Request<'_>,
    principal: &Principal,
    artefacts: &[Artefact],
) -> Result<Vec<(&'static str, Entry)>> {
    let one = |artefact: &Artefact| match used_before(artefact.kind) {
        Error::Refused(refused) => {
            let replayed = artefact.kind == CODE;
            Ok((artefact.kind, refusal(request, principal.clone(), &refused, replayed)?))
        }
        fault @ Error::Fault(_) => Err(fault),
    };
    artefacts.iter().filter(|artefact| artefact.kind != REFRESH_TOKEN).map(one).collect()
}

fn refusal(request: &Request<'_>, principal: Principal, refused: &Refused, replayed: bool) -> Result<Entry> {
    let event = Event::new(if replayed { "code.replayed" } else { "token.refused" }, "token", "");
    let event = event.with(json!({ "error": code(refused.kind).0 }));
    entry(request, principal, event, Some(refused.why.to_string()))
}

fn entry(
    request: &Request<'_>,
    principal: Principal,
    event: Event,
    refused: Option<String>,
) -> Result<Entry> {
    Ok(Entry {
        id: ids::new(request.now)?,
        tenant: principal.tenant,
        occurred_at: request.now,
        event,
        actor: (principal.kind, principal.id),
        refused,
        origin: request.from.clone(),
    })
}
