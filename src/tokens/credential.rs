//! Credentials as administrators see them: the record of an issued token, never the token.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ended::{Standing, ended};
use super::store;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::http::page::Page;

/// A credential on the wire. No member is ever null: clients refuse that.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct IssuedCredential {
    /// The same as `jti`.
    pub id: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// The token's id.
    pub jti: Uuid,
    /// Its `sub`.
    pub subject: String,
    /// Who holds it, "" for a client without an identity.
    pub identity_id: String,
    /// When it was issued.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub issued_at: Time,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub expires_at: Time,
    /// How long it lives in all.
    pub ttl_seconds: i64,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whether a mark ended it, its own or one on something it rests on. It may be inactive without that.
    #[sqlx(skip)]
    pub is_revoked: bool,
    /// When it was revoked, where that is known.
    #[sqlx(skip)]
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub revoked_at: Option<Time>,
    /// Why, if it is.
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_reason: Option<String>,
    /// Short name of the grant.
    pub grant_type: String,
    /// How many delegations lie between it and its root.
    pub delegation_depth: i32,
    /// The one it was derived from; absent for a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_jti: Option<Uuid>,
    /// The `sub` of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegated_by_wimse_uri: Option<String>,
    /// The root of its tree.
    pub mission_id: Uuid,
    /// The key that its presenter must prove, if any (RFC 7638).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_key_thumbprint: Option<String>,
}

/// A credential as it is read, before its ancestors are looked at.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Record {
    #[sqlx(flatten)]
    pub credential: IssuedCredential,
    #[sqlx(flatten)]
    pub standing: Standing,
}

/// Whose credentials a list shows.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// An identity's, newest first.
    Identity(Uuid),
    /// A tree's, by depth and then by time.
    Mission(Uuid),
}

/// One credential of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<IssuedCredential> {
    let unknown = || refuse(Kind::NotFound, "there is no credential with this id");
    read(cx, &[id]).await?.pop().ok_or_else(unknown)
}

/// A page of credentials, and how many there are in all.
pub async fn list(cx: &mut Cx, of: Of, page: Page) -> Result<(Vec<IssuedCredential>, i64)> {
    let (ids, total) = match of {
        Of::Identity(id) => store::of_identity(cx, id, page).await?,
        Of::Mission(id) => store::of_mission(cx, id, page).await?,
    };
    Ok((read(cx, &ids).await?, total))
}

/// The credentials in the order given, with what ended each.
async fn read(cx: &mut Cx, ids: &[Uuid]) -> Result<Vec<IssuedCredential>> {
    let records = store::records(cx, ids).await?;
    let mut known: HashMap<Uuid, Standing> =
        records.iter().map(|record| (record.standing.jti, record.standing.clone())).collect();
    let above: HashSet<Uuid> = records.iter().flat_map(|record| record.standing.ancestors.clone()).collect();
    let missing: Vec<Uuid> = above.into_iter().filter(|jti| !known.contains_key(jti)).collect();
    if !missing.is_empty() {
        known.extend(store::standings(cx, &missing).await?.into_iter().map(|above| (above.jti, above)));
    }
    let with_end = |Record { mut credential, standing }| {
        if let Some(end) = ended(&standing, |jti| known.get(jti)) {
            credential.is_revoked = true;
            credential.revoked_at = end.at;
            credential.revoke_reason = Some(end.reason);
        }
        credential
    };
    Ok(records.into_iter().map(with_end).collect())
}
