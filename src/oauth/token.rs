//! `POST /oauth2/token`: every step that grants have in common stands here, once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header, request::Parts};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::error::{OauthError, code};
use super::grants::{Denial, Principal, api_key};
use super::params::Params;
use crate::access::origin;
use crate::audit::{Entry, Event};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Origin;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::ids;
use crate::tokens::ledger::{self, Record};
use crate::tokens::{Grant, Issued, issue};

/// The answer of RFC 6749 section 5.1, with what agents' clients read beside it. No member is null.
#[derive(Debug, Serialize)]
struct Answer {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    jti: Uuid,
    iat: i64,
    account_id: String,
    project_id: String,
    external_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
}

/// Exchanges a grant for a token.
pub async fn token(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<Response, OauthError> {
    let now = app.clock.now();
    let (name, outcome) = grant(&app, &params, &origin(&parts), now).await;
    match outcome {
        Ok(answer) => {
            app.metrics.token(name, "issued");
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            Ok((no_store, axum::Json(answer)).into_response())
        }
        Err(error) => {
            let reason = match &error {
                Error::Refused(refused) => code(refused.kind).0,
                Error::Fault(_) => "server_error",
            };
            app.metrics.token(name, reason);
            Err(error.into())
        }
    }
}

/// Runs the grant that was asked for, under the name that metrics know it by.
async fn grant(app: &App, params: &Params, from: &Origin, now: Time) -> (&'static str, Result<Answer>) {
    let grant_type = match params.required("grant_type") {
        Ok(grant_type) => grant_type,
        Err(error) => return ("none", Err(error)),
    };
    let (name, decision) = match grant_type {
        api_key::NAME => (api_key::NAME, api_key::redeem(app, params, from, now).await),
        _ => {
            let why = "the grant type is not supported; see grant_types_supported of the server's metadata";
            return ("other", Err(refuse(Kind::UnsupportedGrantType, why)));
        }
    };
    (name, conclude(app, decision, from, now).await)
}

/// Issues, makes it durable, answers; or makes the refusal durable and answers that.
async fn conclude(
    app: &App,
    decision: Result<(Grant, Principal), Denial>,
    from: &Origin,
    now: Time,
) -> Result<Answer> {
    let denial = match decision {
        Ok((grant, principal)) => match issue(app, &grant, now) {
            Ok(issued) => return record(app, grant, issued, (principal, from), now).await,
            Err(error) => Denial { error, principal: Some(principal) },
        },
        Err(denial) => denial,
    };
    if let (Error::Refused(refused), Some(principal)) = (&denial.error, denial.principal) {
        let event = Event::new("token.refused", "token", "").with(json!({ "error": code(refused.kind).0 }));
        let entry = entry((principal, from), event, Some(refused.why.to_string()), now)?;
        write(app, &[Record::Refusal(entry)]).await?;
    }
    Err(denial.error)
}

async fn record(
    app: &App,
    grant: Grant,
    issued: Issued,
    by: (Principal, &Origin),
    now: Time,
) -> Result<Answer> {
    let Issued { token, credential } = issued;
    let facts = json!({
        "grant_type": grant.grant_type,
        "identity_id": grant.holder.identity_id,
        "scope": credential.scopes.joined(),
    });
    let event = Event::new("token.issued", "credential", credential.jti).with(facts);
    let answer = Answer {
        access_token: token,
        token_type: "Bearer",
        expires_in: (credential.expires_at - credential.issued_at).whole_seconds(),
        scope: credential.scopes.joined(),
        jti: credential.jti,
        iat: credential.issued_at.unix_timestamp(),
        account_id: grant.tenant.account_id,
        project_id: grant.tenant.project_id,
        external_id: grant.holder.external_id,
        user_id: grant.user_id,
    };
    if let Some(key) = credential.api_key_id {
        app.usage.note(key, credential.issued_at, by.1.address);
    }
    let entry = entry(by, event, None, now)?;
    write(app, &[Record::Issue(Box::new(credential), entry)]).await?;
    Ok(answer)
}

fn entry(by: (Principal, &Origin), event: Event, refused: Option<String>, now: Time) -> Result<Entry> {
    let (principal, origin) = by;
    Ok(Entry {
        id: ids::new(now)?,
        tenant: principal.tenant,
        occurred_at: now,
        event,
        actor: (principal.kind, principal.id),
        refused,
        origin: origin.clone(),
    })
}

async fn write(app: &App, records: &[Record]) -> Result<()> {
    let mut db = app.connection().await?;
    ledger::write(&mut db, records).await?;
    Ok(())
}
