//! `/oauth/clients`, and the revocation of what clients obtained by a pattern of their ids.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{BulkRevocation, CIBA, Client, ClientPatch, Created, NewClient, Rotation};
use crate::access::{Admin, ManageIdentities};
use crate::audit::Event;
use crate::clients;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json, MaybeJson, Query};
use crate::kit::http::problem::Problem;
use crate::tokens::Tried;

/// The name under which answers of registration are kept.
const CREATE: &str = "POST /oauth/clients";

/// The routes of clients, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/clients", get(list).post(create))
        .route("/oauth/clients/{id}", get(read).patch(update).delete(delete))
        .route("/oauth/clients/{id}/rotate-secret", post(rotate_secret))
        .route("/oauth/clients/{id}/revoke-tokens", post(revoke_tokens))
        .route("/admin/oauth/revoke-by-pattern", post(revoke_by_pattern))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, list, read, update, delete, rotate_secret, revoke_tokens, revoke_by_pattern))]
pub struct Api;

/// A client as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthClient)]
struct Shown {
    #[serde(flatten)]
    client: Client,
    /// The identity as which it acts, "" where there is none.
    identity_id: String,
    /// How it hears of an approval: `poll`, or "" where it uses no CIBA.
    backchannel_token_delivery_mode: &'static str,
    /// How long the secret before the last one works on.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    old_secret_until: Option<Time>,
}

impl From<Client> for Shown {
    fn from(client: Client) -> Self {
        let polls = client.grant_types.iter().any(|grant| grant == CIBA);
        Self {
            identity_id: client.identity_id.map(|id| id.to_string()).unwrap_or_default(),
            backchannel_token_delivery_mode: if polls { "poll" } else { "" },
            old_secret_until: client.secrets.old.as_ref().map(|(_, until)| *until),
            client,
        }
    }
}

/// A client with a secret that is shown this once; "" where it has none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthClientWithSecret)]
struct WithSecret {
    /// The client.
    client: Shown,
    /// The secret, "" where it has none.
    client_secret: String,
    /// A word on it for people.
    note: &'static str,
}

impl From<Created> for WithSecret {
    fn from(created: Created) -> Self {
        let note = match &created.client_secret {
            Some(_) => "keep the secret now: it is not shown again",
            None => "this client has no secret",
        };
        Self {
            client: created.client.into(),
            client_secret: created.client_secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
            note,
        }
    }
}

/// Every client of the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthClientList)]
struct ClientList {
    /// The newest first.
    clients: Vec<Shown>,
    /// How many there are.
    total: usize,
}

/// That a client is gone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthClientDeleted)]
struct Deleted {
    /// Always true.
    deleted: bool,
    /// The client.
    id: Uuid,
}

/// Why the tokens of a client end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = OAuthClientRevocation)]
struct Reason {
    /// Stands with every token that ends.
    reason: String,
}

/// How many tokens of a client ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthClientRevoked)]
struct Revoked {
    /// The client.
    id: Uuid,
    /// How many.
    revoked_count: usize,
}

/// How many tokens ended by a pattern.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthClientsRevoked)]
struct BulkRevoked {
    /// How many.
    revoked_count: usize,
    /// The row in the audit log.
    audit_event_id: Uuid,
    /// The pattern that was sent.
    pattern_matched: String,
}

/// Registers an OAuth client. Its secret is shown this once.
#[utoipa::path(post, path = "/oauth/clients",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = NewClient, responses((status = 201, body = WithSecret)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<NewClient>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: new, fingerprint } = match creation {
        Ok(creation) => creation,
        Err(Problem(error)) => {
            return work.finish(Event::new("client.created", "client", ""), Err(error)).await;
        }
    };
    let replayed = idempotency::replay(&app, &mut work.cx, CREATE, &fingerprint).await?;
    if let Some(answer) = replayed {
        return work.read(Ok(answer)).await;
    }
    let facts = json!({ "client_id": new.client_id.chars().take(255).collect::<String>() });
    let result = clients::create(&app, &mut work.cx, new).await;
    let id = result.as_ref().map(|created| created.client.id.to_string()).unwrap_or_default();
    let event = Event::new("client.created", "client", id).with(facts);
    let answer = match result {
        Ok(created) => {
            let answer = WithSecret::from(created);
            idempotency::created(&app, &mut work.cx, CREATE, &fingerprint, &answer).await
        }
        Err(error) => Err(error),
    };
    work.finish(event, answer).await
}

/// Lists OAuth clients, newest first.
#[utoipa::path(get, path = "/oauth/clients",
    responses((status = 200, body = ClientList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>) -> Result<axum::Json<ClientList>, Problem> {
    let mut work = admin.begin().await?;
    let result = clients::list(&mut work.cx).await;
    let clients: Vec<_> = work.read(result).await?.into_iter().map(Shown::from).collect();
    Ok(axum::Json(ClientList { total: clients.len(), clients }))
}

/// Shows an OAuth client, without its secret.
#[utoipa::path(get, path = "/oauth/clients/{id}",
    responses((status = 200, body = Shown)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Shown>, Problem> {
    let mut work = admin.begin().await?;
    let result = clients::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?.into()))
}

/// Changes an OAuth client. Members that are absent stay as they are.
#[utoipa::path(patch, path = "/oauth/clients/{id}",
    request_body = ClientPatch, responses((status = 200, body = Shown)), security(("admin" = ["nhi:manage"])))]
async fn update(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<ClientPatch>, Problem>,
) -> Result<axum::Json<Shown>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("client.updated", "client", id);
    let (event, result) = match body {
        Ok(Json(patch)) => {
            (event.with(patch.members()), clients::update(&app, &mut work.cx, id, patch).await)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?.into()))
}

/// Ends an OAuth client with its tokens.
#[utoipa::path(delete, path = "/oauth/clients/{id}",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    responses((status = 200, body = Tried<Deleted>)), security(("admin" = ["nhi:manage"])))]
async fn delete(
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    query: Query,
) -> Result<axum::Json<Tried<Deleted>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    if dry_run {
        let ended = clients::would_end(&mut work.cx, id).await;
        let result = clients::delete(&mut work.cx, id).await.and(ended);
        return Ok(axum::Json(work.undo(result.map(Tried::not)).await?));
    }
    let result = clients::delete(&mut work.cx, id).await;
    work.finish(Event::new("client.deleted", "client", id), result).await?;
    Ok(axum::Json(Tried::Done(Deleted { deleted: true, id })))
}

/// Replaces a client's secret. The new one is shown this once, the old one works for a while.
#[utoipa::path(post, path = "/oauth/clients/{id}/rotate-secret",
    request_body = Option<Rotation>, responses((status = 200, body = WithSecret)),
    security(("admin" = ["nhi:manage"])))]
async fn rotate_secret(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<MaybeJson<Rotation>, Problem>,
) -> Result<axum::Json<WithSecret>, Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(MaybeJson(rotation)) => clients::rotate_secret(&app, &mut work.cx, id, rotation).await,
        Err(Problem(error)) => Err(error),
    };
    let event = Event::new("client.secret_rotated", "client", id);
    let event = match result.as_ref().map(|created| &created.client.secrets.old) {
        Ok(Some((_, until))) => event.with(json!({ "old_secret_until": until.unix_timestamp() })),
        _ => event,
    };
    Ok(axum::Json(work.finish(event, result).await?.into()))
}

/// Ends every token of a client.
#[utoipa::path(post, path = "/oauth/clients/{id}/revoke-tokens",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    request_body = Option<Reason>, responses((status = 200, body = Tried<Revoked>)),
    security(("admin" = ["nhi:manage"])))]
async fn revoke_tokens(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    query: Query,
    body: Result<MaybeJson<Reason>, Problem>,
) -> Result<axum::Json<Tried<Revoked>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let event = Event::new("client.tokens_revoked", "client", id);
    let (event, result) = match body {
        Ok(MaybeJson(Reason { reason })) => {
            let result = clients::revoke_tokens(&app, &mut work.cx, id, &reason).await;
            let facts = match &result {
                Ok(ended) => json!({ "reason": reason, "revoked_count": ended.len() }),
                Err(_) => json!({}),
            };
            (event.with(facts), result)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    if dry_run {
        return Ok(axum::Json(work.undo(result.map(Tried::not)).await?));
    }
    let revoked_count = work.finish(event, result).await?.len();
    Ok(axum::Json(Tried::Done(Revoked { id, revoked_count })))
}

/// Ends the tokens of every client whose client_id matches.
#[utoipa::path(post, path = "/admin/oauth/revoke-by-pattern",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    request_body = BulkRevocation, responses((status = 200, body = Tried<BulkRevoked>)),
    security(("admin" = ["nhi:manage"])))]
async fn revoke_by_pattern(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    query: Query,
    body: Result<Json<BulkRevocation>, Problem>,
) -> Result<axum::Json<Tried<BulkRevoked>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let event = Event::new("oauth.bulk_revoke_pattern", "client", "");
    let bulk = match body {
        Ok(Json(bulk)) => bulk,
        Err(Problem(error)) => return work.finish(event, Err(error)).await,
    };
    let result = clients::revoke_by_pattern(&app, &mut work.cx, &bulk).await;
    if dry_run {
        return Ok(axum::Json(work.undo(result.map(Tried::not)).await?));
    }
    let BulkRevocation { client_id_pattern: pattern, reason } = bulk;
    let result = result.map(|ended| ended.len());
    let event = match &result {
        Ok(count) => event.with(json!({ "pattern": pattern, "reason": reason, "revoked_count": count })),
        Err(_) => event,
    };
    let (revoked_count, audit_event_id) = work.finish_recorded(event, result).await?;
    Ok(axum::Json(Tried::Done(BulkRevoked { revoked_count, audit_event_id, pattern_matched: pattern })))
}
