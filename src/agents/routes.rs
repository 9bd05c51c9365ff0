//! `/agents/register` and `/agents/registry`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::types::{IdentityType, TrustLevel};
use super::{Agent, AgentPatch, DpopKeyRotated, Filter, Leaver, NewAgent, NewDpopKey, Status};
use crate::access::{Admin, ManageCredentials, ManageIdentities, Work};
use crate::agents;
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::{Page, number};
use crate::kit::http::problem::Problem;
use crate::kit::secret::Secret;
use crate::tokens::{self, AgentToken, DryRun};

/// The name under which answers of registration are kept.
const REGISTER: &str = "POST /agents/register";

/// The routes of agents, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/agents/register", post(register))
        .route("/agents/registry", get(list))
        .route("/agents/registry/{id}", get(read).patch(update).delete(delete))
        .route("/agents/registry/{id}/activate", post(activate))
        .route("/agents/registry/{id}/deactivate", post(deactivate))
        .route("/agents/registry/{id}/rotate-key", post(rotate_key))
        .route("/agents/{id}/tokens", get(tokens_of))
        .route("/agents/{id}/tokens/revoke-all", post(revoke_tokens))
        .route("/agents/{id}/rotate-dpop-key", post(rotate_dpop_key))
        .route("/identities/offboard-by-owner", post(offboard))
}

pub use super::self_routes::routes as self_routes;

/// An agent with a key that is shown this once.
#[derive(Debug, Serialize)]
struct WithKey {
    identity: Agent,
    api_key: String,
}

impl WithKey {
    fn new(identity: Agent, api_key: &Secret) -> axum::Json<Self> {
        axum::Json(Self { identity, api_key: api_key.expose().to_owned() })
    }
}

#[derive(Debug, Serialize)]
struct AgentList {
    agents: Vec<Agent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parents: Option<Vec<Agent>>,
    total: i64,
    limit: i64,
    offset: i64,
}

async fn register(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<NewAgent>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: new, fingerprint } = match creation {
        Ok(creation) => creation,
        // A body that can't be read is a refusal like any other, and leaves its row.
        Err(Problem(error)) => {
            return work.finish(Event::new("agent.registered", "agent", ""), Err(error)).await;
        }
    };
    let replayed = idempotency::replay(&app, &mut work.cx, REGISTER, &fingerprint).await?;
    if let Some(answer) = replayed {
        return work.read(Ok(answer)).await;
    }
    let facts = json!({ "external_id": new.external_id.chars().take(255).collect::<String>() });
    let result = agents::register(&app, &mut work.cx, new).await;
    let id = result.as_ref().map(|registered| registered.agent.id.to_string()).unwrap_or_default();
    let event = Event::new("agent.registered", "agent", id).with(facts);
    let answer = match result {
        Ok(registered) => {
            let answer = WithKey::new(registered.agent, &registered.api_key).0;
            idempotency::created(&app, &mut work.cx, REGISTER, &fingerprint, &answer).await
        }
        Err(error) => Err(error),
    };
    work.finish(event, answer).await
}

async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<AgentList>, Problem> {
    let page = Page::of(&query)?;
    let filter = filter(&query)?;
    let mut work = admin.begin().await?;
    let (agents, total) = agents::list(&mut work.cx, &filter, page).await?;
    let parents = match query.flag("include_parents")? {
        Some(true) => Some(agents::parents(&mut work.cx, &agents).await?),
        _ => None,
    };
    let list = AgentList { agents, parents, total, limit: page.limit, offset: page.offset };
    Ok(axum::Json(work.read(Ok(list)).await?))
}

async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Agent>, Problem> {
    let mut work = admin.begin().await?;
    let result = agents::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

async fn update(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<AgentPatch>, Problem>,
) -> Result<axum::Json<Agent>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("agent.updated", "agent", id);
    let (event, result) = match body {
        Ok(Json(patch)) => (event.with(patch.members()), agents::update(&app, &mut work.cx, id, patch).await),
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?))
}

async fn delete(admin: Admin<ManageIdentities>, Id(id): Id, query: Query) -> Result<Response, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    if dry_run {
        return rehearse_deactivation(work, id).await;
    }
    let result = agents::delete(&mut work.cx, id).await;
    let agent = work.finish(Event::new("agent.deleted", "agent", id), result).await?;
    Ok(axum::Json(agent).into_response())
}

async fn activate(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Agent>, Problem> {
    let mut work = admin.begin().await?;
    let result = agents::activate(&mut work.cx, id).await;
    Ok(axum::Json(work.finish(Event::new("agent.activated", "agent", id), result).await?))
}

async fn deactivate(admin: Admin<ManageIdentities>, Id(id): Id, query: Query) -> Result<Response, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    if dry_run {
        return rehearse_deactivation(work, id).await;
    }
    let result = agents::deactivate(&mut work.cx, id).await;
    let agent = work.finish(Event::new("agent.deactivated", "agent", id), result).await?;
    Ok(axum::Json(agent).into_response())
}

async fn rehearse_deactivation(mut work: Work, id: Uuid) -> Result<Response, Problem> {
    let result = agents::rehearse_deactivation(&mut work.cx, id).await;
    Ok(axum::Json(work.undo(result.map(DryRun::of)).await?).into_response())
}

async fn rotate_key(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
) -> Result<axum::Json<WithKey>, Problem> {
    let mut work = admin.begin().await?;
    let result = agents::rotate_key(&app, &mut work.cx, id).await;
    let (agent, key) = work.finish(Event::new("agent.key_rotated", "agent", id), result).await?;
    Ok(WithKey::new(agent, &key))
}

#[derive(Debug, Serialize)]
struct TokenList {
    data: Vec<AgentToken>,
}

async fn tokens_of(
    admin: Admin<ManageCredentials>,
    Id(id): Id,
    query: Query,
) -> Result<axum::Json<TokenList>, Problem> {
    let limit = number(&query, "limit", 50, 1..=200)?;
    let all = query.flag("include_revoked")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let result = match agents::get(&mut work.cx, id).await {
        Ok(_) => tokens::of_agent(&mut work.cx, id, limit, all).await,
        Err(error) => Err(error),
    };
    let data = work.read(result).await?;
    Ok(axum::Json(TokenList { data }))
}

/// How many tokens ended, under the two names by which clients ask for it.
#[derive(Debug, Serialize)]
struct TokensRevoked {
    agent_id: Uuid,
    revoked_count: usize,
    count: usize,
    audit_event_id: Uuid,
}

async fn revoke_tokens(
    admin: Admin<ManageCredentials>,
    Id(id): Id,
    query: Query,
) -> Result<Response, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let result = agents::revoke_tokens(&mut work.cx, id).await;
    if dry_run {
        return Ok(axum::Json(work.undo(result.map(DryRun::of)).await?).into_response());
    }
    let result = result.map(|ended| ended.len());
    let facts = result.as_ref().map_or(json!({}), |count| json!({ "revoked_token_count": count }));
    let event = Event::new("agent.tokens_revoked", "agent", id).with(facts);
    let (count, audit_event_id) = work.finish_recorded(event, result).await?;
    let answer = TokensRevoked { agent_id: id, revoked_count: count, count, audit_event_id };
    Ok(axum::Json(answer).into_response())
}

#[derive(Debug, Serialize)]
struct DpopKeyAnswer {
    old_jkt: String,
    new_jkt: String,
    revoked_token_count: usize,
    audit_event_id: Uuid,
}

async fn rotate_dpop_key(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<NewDpopKey>, Problem>,
) -> Result<axum::Json<DpopKeyAnswer>, Problem> {
    let mut work = admin.begin().await?;
    let (reason, result) = match body {
        Ok(Json(new)) => {
            let result = agents::rotate_dpop_key(&mut work.cx, id, &new, &app.config.limits).await;
            (new.reason.filter(|_| result.is_ok()), result)
        }
        Err(Problem(error)) => (None, Err(error)),
    };
    let facts = result.as_ref().map_or(json!({}), |done| {
        let DpopKeyRotated { old_jkt, new_jkt, revoked } = done;
        json!({ "old_jkt": old_jkt, "new_jkt": new_jkt, "revoked_token_count": revoked, "reason": reason })
    });
    let event = Event::new("agent.dpop_key_rotated", "agent", id).with(facts);
    let (done, audit_event_id) = work.finish_recorded(event, result).await?;
    let DpopKeyRotated { old_jkt, new_jkt, revoked } = done;
    Ok(axum::Json(DpopKeyAnswer { old_jkt, new_jkt, revoked_token_count: revoked, audit_event_id }))
}

#[derive(Debug, Serialize)]
struct OwnerOffboarded {
    identities_deactivated: usize,
    #[serde(flatten)]
    credentials: Revoked,
}

/// How many credentials ended, or which would.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Revoked {
    Counted { credentials_revoked: usize },
    DryRun(DryRun),
}

async fn offboard(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    query: Query,
    body: Result<Json<Leaver>, Problem>,
) -> Result<axum::Json<OwnerOffboarded>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let (leaver, result) = match body {
        Ok(Json(leaver)) => {
            let result = agents::offboard(&mut work.cx, &leaver, &app.config.limits).await;
            (leaver, result)
        }
        Err(Problem(error)) => (Leaver::default(), Err(error)),
    };
    if dry_run {
        let done = work.undo(result).await?;
        let credentials = Revoked::DryRun(DryRun::of(done.credentials));
        return Ok(axum::Json(OwnerOffboarded { identities_deactivated: done.identities, credentials }));
    }
    let facts = result.as_ref().map_or(json!({}), |done| done.facts(&leaver));
    let owner: String = leaver.owner_user_id.chars().take(255).collect();
    let event = Event::new("owner.offboarded", "owner", owner);
    let done = work.finish(event.with(facts), result).await?;
    let credentials = Revoked::Counted { credentials_revoked: done.credentials.len() };
    Ok(axum::Json(OwnerOffboarded { identities_deactivated: done.identities, credentials }))
}

fn filter(query: &Query) -> Result<Filter> {
    let (metadata_key, metadata) = match query.one("metadata")? {
        Some(text) if text.contains(':') => (None, query.pair("metadata")?),
        key => (key.map(str::to_owned), None),
    };
    let code_agent = match query.one("identity_class")? {
        None => None,
        Some("custom") => Some(false),
        Some("code_agent") => Some(true),
        Some(other) => {
            let why = "identity_class is custom or code_agent";
            return Err(refuse_at(Kind::InvalidRequest, why, "query.identity_class", other));
        }
    };
    Ok(Filter {
        identity_types: query.words::<IdentityType>("identity_type")?,
        statuses: query.words::<Status>("status")?,
        trust_levels: query.words::<TrustLevel>("trust_level")?,
        label: query.pair("label")?,
        product: query.one("product")?.map(|product| json!({ "product": product })),
        metadata_key,
        metadata,
        is_active: query.flag("is_active")?,
        search: query.one("search")?.map(str::to_owned),
        code_agent,
        origin: query.one("origin")?.map(str::to_owned),
        owner_user_id: query.one("owner_user_id")?.map(str::to_owned),
        ownerless: query.flag("ownerless")?.unwrap_or(false),
    })
}
