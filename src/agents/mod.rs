//! Agents and the other identities of a tenant: what they are, when they are usable, and how an administrator changes
//! them.
mod bound_key;
mod bound_key_routes;
mod discovery;
mod enrol;
mod filter;
mod holder;
mod identity;
mod lifecycle;
mod offboard;
mod public_key;
mod register;
mod store;
mod types;
mod update;

pub mod routes;
mod self_routes;
pub mod worker;

pub use bound_key::{DpopKeyRotated, NewDpopKey, rotate_dpop_key};
pub use holder::{Holder, Holding};
pub use identity::{is_wimse_uri, wimse_uri};
pub use lifecycle::{
    activate, check_binding, contain, deactivate, delete, for_further_key, rehearse_deactivation,
    revoke_tokens, rotate_key, usable,
};
pub use offboard::{Leaver, Offboarded, offboard};
pub use register::{NewAgent, Registered, Registration, register, register_for_key};
pub use store::Filter;
pub use types::{Agent, IdentityType, Status, TrustLevel};
pub use update::{AgentPatch, ceiling, check_takeover, update};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::kit::cx::Cx;
use crate::kit::db::rows;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::http::page::Page;

/// One agent of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<Agent> {
    find(cx, id).await?.ok_or_else(unknown)
}

/// The same, for those who say otherwise what it means that there is none.
pub async fn find(cx: &mut Cx, id: Uuid) -> Result<Option<Agent>> {
    Ok(store::get(cx, id).await?)
}

/// The agent of the tenant that has this external id.
pub async fn by_external_id(cx: &mut Cx, external_id: &str) -> Result<Option<Agent>> {
    Ok(store::by_external_ids(cx, &[external_id.to_owned()]).await?.pop())
}

/// An identity of the tenant as issuing reads it.
pub async fn holding(cx: &mut Cx, id: Uuid) -> Result<Option<Holding>> {
    Ok(store::holding(cx, id).await?)
}

/// Identities by their URIs in one statement. A URI is unique among all tenants and names its own.
pub async fn by_uris(db: &mut PgConnection, uris: &[String]) -> sqlx::Result<Vec<Option<rows::Row>>> {
    rows::to_askers(store::by_uris(db, uris).await?, "wimse_uri", uris, String::eq)
}

/// A page of the tenant's agents, newest first, and the number of all that match.
pub async fn list(cx: &mut Cx, filter: &Filter, page: Page) -> Result<(Vec<Agent>, i64)> {
    Ok(store::list(cx, filter, page).await?)
}

/// How many generations of parents a list resolves.
const GENERATIONS: usize = 8;

/// The agents that those given name as their parents in `metadata.parent_external_id`, and theirs in turn.
pub async fn parents(cx: &mut Cx, of: &[Agent]) -> Result<Vec<Agent>> {
    let parent = |agent: &Agent| agent.metadata.get("parent_external_id")?.as_str().map(str::to_owned);
    let mut seen: Vec<String> = of.iter().map(|agent| agent.external_id.clone()).collect();
    let mut wanted: Vec<String> = of.iter().filter_map(parent).collect();
    let mut parents = Vec::new();
    for _ in 0..GENERATIONS {
        wanted.retain(|external_id| !seen.contains(external_id));
        if wanted.is_empty() {
            break;
        }
        let found = store::by_external_ids(cx, &wanted).await?;
        seen.append(&mut wanted);
        wanted = found.iter().filter_map(parent).collect();
        parents.extend(found);
    }
    Ok(parents)
}

/// Locks the agent's row until the transaction ends, so that changes of one agent come one after the other.
async fn lock(cx: &mut Cx, id: Uuid) -> Result<Agent> {
    store::lock(cx, id).await?.ok_or_else(unknown)
}

/// Another tenant's agent and no agent at all are the same answer.
fn unknown() -> crate::kit::error::Error {
    refuse(Kind::NotFound, "there is no agent with this id")
}
