//! Trusted issuers: whose tokens a tenant accepts. A platform such as Kubernetes or GitHub signs them for a workload, an
//! identity provider for a person, and the link of issuer and subject says as which agent or in whose name they act.
mod register;
mod rules;
mod store;
mod subjects;
mod types;
mod update;
mod vouched;

pub mod routes;

pub use register::{NewIssuer, create};
pub use subjects::{LinkedSubject, NewSubject, link, subjects, unlink};
pub use types::TrustedIssuer;
pub use update::{IssuerPatch, delete, update};
pub use vouched::{OUTSIDE_TOKEN, Vouched, Who, is_foreign, verify};

use uuid::Uuid;

use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse};

/// One trusted issuer of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<TrustedIssuer> {
    store::get(cx, id).await?.ok_or_else(unknown)
}

/// All of them, newest first.
pub async fn list(cx: &mut Cx) -> Result<Vec<TrustedIssuer>> {
    Ok(store::list(cx).await?)
}

/// Locks the row until the transaction ends, so that changes of one issuer and its subjects come one after the other.
async fn lock(cx: &mut Cx, id: Uuid) -> Result<TrustedIssuer> {
    store::lock(cx, id).await?.ok_or_else(unknown)
}

/// Another tenant's and none at all are the same answer.
fn unknown() -> Error {
    refuse(Kind::NotFound, "there is no trusted issuer with this id")
}
