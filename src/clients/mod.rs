//! OAuth clients: programs that authenticate at the protocol's endpoints, by a secret, by a key or, where they are public,
//! not at all. A client may be bound to an identity of its tenant, as which it then acts.
mod documents;
mod evidence;
mod grant_types;
mod lifecycle;
mod redirect_uris;
mod register;
mod rules;
mod store;
mod types;
mod update;

pub mod routes;

pub use documents::{Documents, for_authorization, may_be_described};
pub use evidence::Evidence;
pub use grant_types::{AUTHORIZATION_CODE, CIBA, CLIENT_CREDENTIALS, REFRESH_TOKEN};
pub use lifecycle::{
    BulkRevocation, Rotation, delete, revoke_by_pattern, revoke_tokens, rotate_secret, would_end,
};
pub use redirect_uris::{check as check_redirects, matches as redirect_matches, same as redirect_same};
pub use register::{NewClient, create};
pub use types::{AuthMethod, Client, ClientType, Secrets};
pub use update::{ClientPatch, update};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::db::rows;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::secret::Secret;

/// A client whose secret was made just now, if it has one.
#[derive(Debug)]
pub struct Created {
    /// The client.
    pub client: Client,
    /// Shown this once.
    pub client_secret: Option<Secret>,
}

/// What is known of a client. A deleted client is not found; one that is not active is.
pub async fn evidence(app: &App, client_id: &str) -> Result<Option<Evidence>> {
    app.find_client(client_id.to_owned()).await
}

/// The same for many clients in one statement.
pub async fn find(db: &mut PgConnection, client_ids: &[String]) -> sqlx::Result<Vec<Option<rows::Row>>> {
    rows::to_askers(store::evidence(db, client_ids).await?, "client_id", client_ids, String::eq)
}

/// One client of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<Client> {
    store::get(cx, id).await?.ok_or_else(unknown)
}

/// All clients of the tenant, newest first.
pub async fn list(cx: &mut Cx) -> Result<Vec<Client>> {
    Ok(store::list(cx).await?)
}

/// Locks the client's row until the transaction ends, so that changes of one client come one after the other.
async fn lock(cx: &mut Cx, id: Uuid) -> Result<Client> {
    store::lock(cx, id).await?.ok_or_else(unknown)
}

/// Another tenant's client, a deleted one and no client at all are the same answer.
fn unknown() -> Error {
    refuse(Kind::NotFound, "there is no client with this id")
}
