//! The tokens of one agent, as its administrator sees them.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::Result;

/// A token as the list of an agent's tokens shows it. The token itself is nowhere.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct AgentToken {
    /// The same as `jti`.
    pub id: Uuid,
    /// The token's id.
    pub jti: Uuid,
    /// Who holds it.
    pub agent_id: Uuid,
    /// The OAuth client that obtained it, "" if none.
    pub client_id: String,
    /// Short name of the grant.
    pub grant_type: String,
    /// The person behind it, "" if unknown.
    pub user_id: String,
    /// What it may do.
    pub scope: String,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// Thumbprint of the key it is bound to; absent when it is bound to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// The same under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// Who delegated it; absent of a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegation_subject: Option<String>,
    /// How many delegations lie between it and its root.
    pub delegation_depth: i32,
    /// When it was issued.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub expires_at: Time,
    /// Whether it stands now.
    pub active: bool,
    /// When a mark ended it, where that is known.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub revoked_at: Option<Time>,
    /// Why; absent while no mark ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_reason: Option<String>,
}

/// The newest tokens of an agent, at most `limit`: those that stand, or all of which there is a row.
pub async fn of_agent(cx: &mut Cx, agent: Uuid, limit: i64, all: bool) -> Result<Vec<AgentToken>> {
    let newest = if all {
        store::newest_of_agent(cx, agent, limit).await?
    } else {
        store::active_of_agent(cx, agent, limit).await?
    };
    Ok(store::of_agent(cx, &newest).await?)
}
