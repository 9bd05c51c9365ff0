//! The route of the key to which an agent's tokens are bound.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DpopKeyRotated, NewDpopKey};
use crate::access::{Admin, ManageIdentities};
use crate::agents;
use crate::audit::Event;
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json};
use crate::kit::http::problem::Problem;

/// The route, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/agents/{id}/rotate-dpop-key", post(rotate_dpop_key))
}

/// The keys before and after, and what the change ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct DpopKeyAnswer {
    /// The thumbprint of the key before, "" if there was none.
    old_jkt: String,
    /// The thumbprint of the key now.
    new_jkt: String,
    /// How many tokens ended.
    revoked_token_count: usize,
    /// The row in the audit log.
    audit_event_id: Uuid,
}

/// Registers the key to which all tokens of an agent are bound, and ends those that it holds.
#[utoipa::path(post, path = "/agents/{id}/rotate-dpop-key",
    request_body = NewDpopKey, responses((status = 200, body = DpopKeyAnswer)), security(("admin" = ["nhi:manage"])))]
pub async fn rotate_dpop_key(
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
