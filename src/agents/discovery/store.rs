//! SQL of discovery.

use uuid::Uuid;

use super::Source;
use crate::agents::{NewAgent, TrustLevel};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;

/// What a source says of an identity that is known.
#[derive(Debug)]
pub struct Seen {
    pub source_id: String,
    /// The URI under the type that it now has, where that may change.
    pub uri: Option<String>,
    /// Owner and trust, where the source is believed about them.
    pub judged: Option<(String, TrustLevel)>,
    pub rest: NewAgent,
}

/// Refreshes what a source says. The source that came first stays.
pub async fn reconcile(cx: &mut Cx, id: Uuid, seen: &Seen) -> sqlx::Result<()> {
    let rest = &seen.rest;
    let sub_type = rest.sub_type.as_deref().unwrap_or(rest.identity_type.default_sub_type());
    let (owner, trust) = seen.judged.as_ref().map(|(owner, trust)| (owner, trust)).unzip();
    sqlx::query(
        "update identities set
             name = $4, framework = $5, version = $6, publisher = $7, description = $8, capabilities = $9, labels = $10,
             metadata = $11, source_id = case when source_id = '' then $12 else source_id end, seen_at = $13,
             wimse_uri = coalesce($14, wimse_uri),
             identity_type = case when $14 is null then identity_type else $15 end,
             sub_type = case when $14 is null then sub_type else $16 end,
             owner_user_id = coalesce($17, owner_user_id), trust_level = coalesce($18, trust_level), updated_at = $13
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(&rest.name)
    .bind(&rest.framework)
    .bind(&rest.version)
    .bind(&rest.publisher)
    .bind(&rest.description)
    .bind(sqlx::types::Json(&rest.capabilities))
    .bind(sqlx::types::Json(&rest.labels))
    .bind(sqlx::types::Json(&rest.metadata))
    .bind(&seen.source_id)
    .bind(cx.now)
    .bind(&seen.uri)
    .bind(rest.identity_type)
    .bind(sub_type)
    .bind(owner)
    .bind(trust)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// Locks what a source reported last before then and nobody took in, in the order of the ids; ids and epochs.
pub async fn lock_unseen(cx: &mut Cx, source: &Source, since: Time) -> sqlx::Result<Vec<(Uuid, i32)>> {
    sqlx::query_as(
        "select id, epoch from identities
         where account_id = $1 and project_id = $2 and origin = $3 and origin <> 'native' and source_id = $4
           and status = 'discovered' and seen_at < $5
         order by id for update",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&source.origin)
    .bind(&source.source_id)
    .bind(since)
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn release(cx: &mut Cx, source: &Source) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "update identities set source_id = '', updated_at = $5
         where account_id = $1 and project_id = $2 and origin = $3 and origin <> 'native' and source_id = $4
           and source_id <> ''",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&source.origin)
    .bind(&source.source_id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected())
}

pub async fn set_owner(cx: &mut Cx, id: Uuid, owner: &str, policy_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update identities set owner_user_id = $4, credential_policy_id = $5, updated_at = $6
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(owner)
    .bind(policy_id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}
