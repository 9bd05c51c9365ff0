//! `/agents/register` and `/agents/registry`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::types::{IdentityType, TrustLevel};
use super::{Agent, AgentPatch, Leaver, NewAgent, Status, discovery, filter, identity};
use crate::access::{Admin, ManageCredentials, ManageIdentities, Work};
use crate::agents;
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::{Page, number};
use crate::kit::http::problem::Problem;
use crate::kit::secret::Secret;
use crate::tokens::{self, AgentToken, DryRun, Tried};

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
        .merge(super::bound_key_routes::routes())
        .route("/identities/offboard-by-owner", post(offboard))
        .merge(identity::routes::routes())
        .merge(discovery::routes::routes())
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(
    register,
    list,
    read,
    update,
    delete,
    activate,
    deactivate,
    rotate_key,
    tokens_of,
    revoke_tokens,
    super::bound_key_routes::rotate_dpop_key,
    offboard
))]
pub struct Api;

pub use super::self_routes::{Api as SelfApi, routes as self_routes};

pub use super::discovery::routes::Api as DiscoveryApi;
pub use super::identity::routes::Api as IdentityApi;

/// An agent with a key that is shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentWithKey)]
struct WithKey {
    /// The agent.
    identity: Agent,
    /// The key.
    api_key: String,
}

impl WithKey {
    fn new(identity: Agent, api_key: &Secret) -> axum::Json<Self> {
        axum::Json(Self { identity, api_key: api_key.expose().to_owned() })
    }
}

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
struct AgentList {
    /// Those of the page.
    agents: Vec<Agent>,
    /// With `include_parents`: whom they name as their parents.
    #[serde(skip_serializing_if = "Option::is_none")]
    parents: Option<Vec<Agent>>,
    /// How many match in all.
    total: i64,
    /// How many a page holds.
    limit: i64,
    /// How many came before.
    offset: i64,
}

/// Registers an agent with its first API key, which is shown this once.
#[utoipa::path(post, path = "/agents/register",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = agents::Registration, responses((status = 201, body = WithKey)), security(("admin" = ["nhi:manage"])))]
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

/// Lists agents, newest first.
#[utoipa::path(get, path = "/agents/registry",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "How many at the most; 20 when absent."),
        ("offset" = Option<i32>, Query, minimum = 0, description = "How many to pass over."),
        ("identity_type" = Option<Vec<IdentityType>>, Query, description = "Only of these types."),
        ("status" = Option<Vec<Status>>, Query, description = "Only of these statuses."),
        ("trust_level" = Option<Vec<TrustLevel>>, Query, description = "Only of these trust levels."),
        ("label" = Option<String>, Query, pattern = "^[^:]+:", description = "Only with this label, as key:value."),
        ("product" = Option<String>, Query, description = "Only with this label product."),
        ("metadata" = Option<String>, Query, pattern = "^[^:]", description = "Only with this member of metadata, as key or as key:value."),
        ("is_active" = Option<bool>, Query, description = "Only those that are active, or only those that are not."),
        ("search" = Option<String>, Query, description = "Only where a name or an id holds this text."),
        ("identity_class" = Option<String>, Query, pattern = "^(custom|code_agent)$", description = "Only code agents, or only others."),
        ("origin" = Option<String>, Query, description = "Only those that came to be known in this way."),
        ("owner_user_id" = Option<String>, Query, description = "Only those for whom this person answers."),
        ("ownerless" = Option<bool>, Query, description = "Only those for whom nobody answers."),
        ("include_parents" = Option<bool>, Query, description = "Also show the agents that those on the page name as parents, and theirs."),
    ),
    responses((status = 200, body = AgentList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<AgentList>, Problem> {
    let page = Page::of(&query)?;
    let filter = filter::of(&query)?;
    let mut work = admin.begin().await?;
    let (agents, total) = agents::list(&mut work.cx, &filter, page).await?;
    let parents = match query.flag("include_parents")? {
        Some(true) => Some(agents::parents(&mut work.cx, &agents).await?),
        _ => None,
    };
    let list = AgentList { agents, parents, total, limit: page.limit, offset: page.offset };
    Ok(axum::Json(work.read(Ok(list)).await?))
}

/// Shows an agent.
#[utoipa::path(get, path = "/agents/registry/{id}",
    responses((status = 200, body = Agent)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Agent>, Problem> {
    let mut work = admin.begin().await?;
    let result = agents::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Changes an agent. Members that are absent stay as they are.
#[utoipa::path(patch, path = "/agents/registry/{id}",
    request_body = AgentPatch, responses((status = 200, body = Agent)), security(("admin" = ["nhi:manage"])))]
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

/// Deactivates an agent: its keys and tokens end for good.
#[utoipa::path(delete, path = "/agents/registry/{id}",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    responses((status = 200, body = Tried<Agent>)), security(("admin" = ["nhi:manage"])))]
async fn delete(
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    query: Query,
) -> Result<axum::Json<Tried<Agent>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    if dry_run {
        return rehearse_deactivation(work, id).await;
    }
    let result = agents::delete(&mut work.cx, id).await;
    let agent = work.finish(Event::new("agent.deleted", "agent", id), result).await?;
    Ok(axum::Json(Tried::Done(agent)))
}

/// Activates an agent. Keys and tokens that ended stay dead.
#[utoipa::path(post, path = "/agents/registry/{id}/activate",
    responses((status = 200, body = Agent)), security(("admin" = ["nhi:manage"])))]
async fn activate(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Agent>, Problem> {
    let mut work = admin.begin().await?;
    let result = agents::activate(&mut work.cx, id).await;
    Ok(axum::Json(work.finish(Event::new("agent.activated", "agent", id), result).await?))
}

/// Deactivates an agent: its keys and tokens end for good.
#[utoipa::path(post, path = "/agents/registry/{id}/deactivate",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    responses((status = 200, body = Tried<Agent>)), security(("admin" = ["nhi:manage"])))]
async fn deactivate(
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    query: Query,
) -> Result<axum::Json<Tried<Agent>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    if dry_run {
        return rehearse_deactivation(work, id).await;
    }
    let result = agents::deactivate(&mut work.cx, id).await;
    let agent = work.finish(Event::new("agent.deactivated", "agent", id), result).await?;
    Ok(axum::Json(Tried::Done(agent)))
}

async fn rehearse_deactivation(mut work: Work, id: Uuid) -> Result<axum::Json<Tried<Agent>>, Problem> {
    let result = agents::rehearse_deactivation(&mut work.cx, id).await;
    Ok(axum::Json(work.undo(result.map(Tried::not)).await?))
}

/// Replaces an agent's API keys by a new one, which is shown this once.
#[utoipa::path(post, path = "/agents/registry/{id}/rotate-key",
    responses((status = 200, body = WithKey)), security(("admin" = ["nhi:manage"])))]
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

/// The tokens of an agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentTokenList)]
struct TokenList {
    /// The newest first.
    data: Vec<AgentToken>,
}

/// Lists the tokens of an agent, newest first.
#[utoipa::path(get, path = "/agents/{id}/tokens",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "How many at the most; 50 when absent."),
        ("include_revoked" = Option<bool>, Query, description = "Also show those that do not stand."),
    ),
    responses((status = 200, body = TokenList)),
    security(("admin" = ["nhi:manage"]), ("admin" = ["credentials:manage"])))]
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentTokensRevoked)]
struct TokensRevoked {
    /// The agent.
    agent_id: Uuid,
    /// How many.
    revoked_count: usize,
    /// The same.
    count: usize,
    /// The row in the audit log.
    audit_event_id: Uuid,
}

/// Ends every token of an agent, with everything below them.
#[utoipa::path(post, path = "/agents/{id}/tokens/revoke-all",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    responses((status = 200, body = Tried<TokensRevoked>)),
    security(("admin" = ["nhi:manage"]), ("admin" = ["credentials:manage"])))]
async fn revoke_tokens(
    admin: Admin<ManageCredentials>,
    Id(id): Id,
    query: Query,
) -> Result<axum::Json<Tried<TokensRevoked>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let result = agents::revoke_tokens(&mut work.cx, id).await;
    if dry_run {
        return Ok(axum::Json(work.undo(result.map(Tried::not)).await?));
    }
    let result = result.map(|ended| ended.len());
    let facts = result.as_ref().map_or(json!({}), |count| json!({ "revoked_token_count": count }));
    let event = Event::new("agent.tokens_revoked", "agent", id).with(facts);
    let (count, audit_event_id) = work.finish_recorded(event, result).await?;
    let answer = TokensRevoked { agent_id: id, revoked_count: count, count, audit_event_id };
    Ok(axum::Json(Tried::Done(answer)))
}

/// What an offboarding did.
#[derive(Debug, Serialize, ToSchema)]
struct OwnerOffboarded {
    /// How many identities it deactivated.
    identities_deactivated: usize,
    #[serde(flatten)]
    credentials: Revoked,
}

/// How many credentials ended, or which would.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = OwnerRevoked)]
enum Revoked {
    /// So many ended.
    Counted {
        /// How many.
        credentials_revoked: usize,
    },
    /// Nothing happened.
    DryRun(DryRun),
}

/// Deactivates all that a person answers for.
#[utoipa::path(post, path = "/identities/offboard-by-owner",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    request_body = Leaver, responses((status = 200, body = OwnerOffboarded)), security(("admin" = ["nhi:manage"])))]
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
