//! What one read finds of a client: the client itself and the identity it is bound to.

use sqlx::FromRow;
use sqlx::postgres::PgRow;

use super::types::Client;
use crate::agents::Holding;

/// The facts on which a client's request rests.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The client.
    pub client: Client,
    /// The identity it is bound to or, where it is bound to none, the one whose external id is its `client_id`.
    pub holding: Option<Holding>,
}

impl FromRow<'_, PgRow> for Evidence {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { client: Client::from_row(row)?, holding: Holding::joined(row)? })
    }
}
