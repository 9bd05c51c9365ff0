//! `/delegations` and `/admin/may-act`.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use serde::Serialize;
use serde_json::json;
use time::Duration;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{Chain, Graph, Lineage, MayAct, MayActFilter, NewMayAct};
use crate::access::{Admin, AnyCredential, ManageIdentities};
use crate::audit::Event;
use crate::delegations;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::{Page, number};
use crate::kit::http::problem::Problem;
use crate::kit::timestamp;

/// How far back chains are looked for by default.
const RECENT: Duration = Duration::days(30);

/// The most grants of a page, and its size by default: clients of this wire know no pages.
const GRANTS: i64 = 1000;

/// The routes of delegation, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/delegations/by-jti/{jti}", get(by_jti))
        .route("/delegations/graph", get(graph))
        .route("/delegations/chains", get(chains))
        .route("/admin/may-act", get(list).post(create))
        .route("/admin/may-act/{id}", delete(revoke))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(by_jti, graph, chains, list, create, revoke))]
pub struct Api;

/// Trees in which something was issued.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DelegationChainList)]
struct ChainList {
    /// The latest activity first.
    chains: Vec<Chain>,
}

/// A page of may-act grants.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MayActList)]
struct GrantList {
    /// Those of the page.
    grants: Vec<MayAct>,
    /// How many match in all.
    total: i64,
}

/// Shows the chain of a credential, from the root to it.
#[utoipa::path(get, path = "/delegations/by-jti/{jti}",
    params(("jti" = Uuid, Path, description = "The jti of the credential, in lower case.")),
    responses((status = 200, body = Lineage)), security(("admin" = [])))]
async fn by_jti(
    admin: Admin<AnyCredential>,
    path: Result<Path<String>, PathRejection>,
) -> Result<axum::Json<Lineage>, Problem> {
    let jti = path.ok().and_then(|Path(text)| canonical(&text)).ok_or_else(|| {
        refuse_at(Kind::Invalid, "the jti in the path is not a lowercase UUID", "path.jti", "")
    })?;
    let mut work = admin.begin().await?;
    let result = delegations::by_jti(&mut work.cx, jti).await;
    Ok(axum::Json(work.read(result).await?))
}

/// A UUID in the one form in which tokens have it.
fn canonical(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.to_string() == text)
}

/// Shows the trees in which an identity holds a credential.
#[utoipa::path(get, path = "/delegations/graph",
    params(
        ("identity_id" = Uuid, Query, description = "The identity."),
        ("depth" = Option<i32>, Query, minimum = 1, maximum = 10, description = "How many generations below the root; 10 when absent."),
    ),
    responses((status = 200, body = Graph)), security(("admin" = ["nhi:manage"])))]
async fn graph(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<Graph>, Problem> {
    let identity_id =
        query.one("identity_id")?.and_then(|text| Uuid::try_parse(text).ok()).ok_or_else(|| {
            refuse_at(Kind::Invalid, "identity_id is the UUID of an identity", "query.identity_id", "")
        })?;
    let depth = number(&query, "depth", 10, 1..=10)?;
    let mut work = admin.begin().await?;
    let result = delegations::graph(&mut work.cx, identity_id, depth).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Lists the trees in which something was issued lately.
#[utoipa::path(get, path = "/delegations/chains",
    params(
        ("since" = Option<OffsetDateTime>, Query, description = "From this moment; 30 days before until when absent."),
        ("until" = Option<OffsetDateTime>, Query, description = "To this moment; now when absent."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "How many at the most; 50 when absent."),
    ),
    responses((status = 200, body = ChainList)), security(("admin" = ["nhi:manage"])))]
async fn chains(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<ChainList>, Problem> {
    let (since, until) = (moment(&query, "since")?, moment(&query, "until")?);
    let limit = number(&query, "limit", 50, 1..=500)?;
    let mut work = admin.begin().await?;
    let until = until.unwrap_or(work.cx.now);
    let since = since.unwrap_or_else(|| until.checked_sub(RECENT).unwrap_or(Time::UNIX_EPOCH));
    let result = delegations::chains(&mut work.cx, since, until, limit).await;
    Ok(axum::Json(ChainList { chains: work.read(result).await? }))
}

fn moment(query: &Query, name: &'static str) -> Result<Option<Time>> {
    let malformed = |text| {
        let why = format!("{name} is a time of RFC 3339, as 2030-01-31T00:00:00Z");
        refuse_at(Kind::InvalidRequest, why, format!("query.{name}"), text)
    };
    query.one(name)?.map(|text| timestamp::parse(text).ok_or_else(|| malformed(text))).transpose()
}

/// Lists may-act grants, newest first.
#[utoipa::path(get, path = "/admin/may-act",
    params(
        ("from_id" = Option<String>, Query, description = "Only of this actor."),
        ("to_id" = Option<String>, Query, description = "Only for this principal."),
        ("include_revoked" = Option<bool>, Query, description = "Also show those that were taken back."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "How many at the most; 1000 when absent."),
        ("offset" = Option<i32>, Query, minimum = 0, description = "How many to pass over."),
    ),
    responses((status = 200, body = GrantList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<GrantList>, Problem> {
    let filter = MayActFilter {
        from_id: query.one("from_id")?.map(str::to_owned),
        to_id: query.one("to_id")?.map(str::to_owned),
        include_revoked: query.flag("include_revoked")?.unwrap_or(false),
        page: Page::up_to(&query, GRANTS)?,
    };
    let mut work = admin.begin().await?;
    let result = delegations::list(&mut work.cx, &filter).await;
    let (grants, total) = work.read(result).await?;
    Ok(axum::Json(GrantList { grants, total }))
}

/// Lets an actor act for a principal.
#[utoipa::path(post, path = "/admin/may-act",
    request_body = NewMayAct, responses((status = 201, body = MayAct)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    body: Result<Json<NewMayAct>, Problem>,
) -> Result<(StatusCode, axum::Json<MayAct>), Problem> {
    let mut work = admin.begin().await?;
    let (facts, result) = match body {
        Ok(Json(new)) => (new.facts(), delegations::create(&app, &mut work.cx, new).await),
        Err(Problem(error)) => (json!({}), Err(error)),
    };
    let id = result.as_ref().map(|grant| grant.id.to_string()).unwrap_or_default();
    let event = Event::new("may_act.created", "may_act_grant", id).with(facts);
    Ok((StatusCode::CREATED, axum::Json(work.finish(event, result).await?)))
}

/// Takes a grant back. What was exchanged by it lives out its time.
#[utoipa::path(delete, path = "/admin/may-act/{id}",
    responses((status = 200, body = MayAct)), security(("admin" = ["nhi:manage"])))]
async fn revoke(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<MayAct>, Problem> {
    let mut work = admin.begin().await?;
    let result = delegations::revoke(&mut work.cx, id).await;
    let event = Event::new("may_act.revoked", "may_act_grant", id);
    Ok(axum::Json(work.finish(event, result).await?))
}
