//! Events for whoever listens, written in the transaction of the change they tell of. Readers follow the order of
//! commits; there is none yet.
mod store;

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::kit::error::Result;
use crate::kit::ids;

/// What happened to what.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose.
    pub tenant: Tenant,
    /// Noun and verb, as `credential.revoked`.
    pub event_type: &'static str,
    /// The id of the thing.
    pub subject_id: Uuid,
    /// Facts for the reader; never a secret.
    pub payload: Value,
    /// When it happened.
    pub occurred_at: Time,
}

/// Writes the events, save those that may be there once and are there already.
pub async fn write(db: &mut PgConnection, now: Time, events: &[Event]) -> Result<()> {
    let ids = events.iter().map(|_| ids::new(now)).collect::<Result<Vec<_>>>()?;
    Ok(store::insert(db, &ids, events).await?)
}

/// Deletes at the most this many events that were written before a moment, and answers how many it deleted.
pub async fn forget(db: &PgPool, before: Time, most: i64) -> Result<u64> {
    Ok(store::forget(db, ids::lower_bound(before), most).await?)
}
