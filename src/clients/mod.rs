//! OAuth clients: programs that authenticate at the protocol's endpoints, by a secret, by a key or, where they are public,
//! not at all. A client may be bound to an identity of its tenant, as which it then acts.
mod evidence;
mod store;
mod types;

pub use evidence::Evidence;
pub use types::{AuthMethod, Client, ClientType, Secrets};

use sqlx::PgConnection;

use crate::kit::error::Result;

/// What is known of a client, in one statement. A deleted client is not found; one that is not active is.
pub async fn evidence(db: &mut PgConnection, client_id: &str) -> Result<Option<Evidence>> {
    Ok(store::evidence(db, client_id).await?)
}
