//! Who may act for whom.
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kit::clock::Time;

/// A grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MayAct {
    /// A UUID of version 7.
    pub id: Uuid,
    /// The actor, who may act.
    pub from_id: String,
    /// The principal acted for.
    pub to_id: String,
    /// How many actors a chain may have, this one included.
    pub max_hops: i32,
    /// What may be asked for; empty means no limit.
    pub scopes: Vec<String>,
    /// When it ends, if ever.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}
