//! SQL of identities in full.

use uuid::Uuid;

use super::{Change, Identity};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;

/// Writes what a PATCH says beside the members of an agent.
pub async fn change(cx: &mut Cx, id: Uuid, change: &Change) -> sqlx::Result<()> {
    let [capability_tier, risk_tier, ial] = &change.tiers;
    sqlx::query(
        "update identities set
             owner_user_id = coalesce($4, owner_user_id),
             allowed_scopes = case when $5 then $6 else allowed_scopes end,
             credential_policy_id = coalesce($7, credential_policy_id),
             expires_at = case when $8 then $9 else expires_at end,
             capability_tier = coalesce($10, capability_tier),
             risk_tier = coalesce($11, risk_tier),
             ial = coalesce($12, ial),
             updated_at = $13
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(&change.owner_user_id)
    .bind(change.allowed_scopes.is_some())
    .bind(change.allowed_scopes.as_ref().and_then(Option::as_ref))
    .bind(change.policy_id)
    .bind(change.expires_at.is_some())
    .bind(change.expires_at.flatten())
    .bind(capability_tier)
    .bind(risk_tier)
    .bind(ial)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn by_uri(cx: &mut Cx, uri: &str) -> sqlx::Result<Option<Identity>> {
    sqlx::query_as("select * from agents where account_id = $1 and project_id = $2 and wimse_uri = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(uri)
        .fetch_optional(&mut *cx.tx)
        .await
}

/// The active identities whose end comes until then, the nearest first.
pub async fn ending(cx: &mut Cx, until: Time, most: i64) -> sqlx::Result<Vec<Identity>> {
    sqlx::query_as(
        "select * from agents
         where account_id = $1 and project_id = $2 and status = 'active' and expires_at > $3 and expires_at <= $4
         order by expires_at, id limit $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(cx.now)
    .bind(until)
    .bind(most)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Facet, value and number of the tenant's identities that have it. Of creators the most frequent hundred.
pub async fn facets(cx: &mut Cx) -> sqlx::Result<Vec<(String, String, i64)>> {
    sqlx::query_as(
        "with mine as (
             select identity_type, trust_level, status, origin, created_by, owner_user_id,
                 case when metadata ? 'created_via' then 'code_agent' else 'custom' end as identity_class
             from identities where account_id = $1 and project_id = $2
         ), counted as (
             select 'identity_types' as facet, identity_type as value, count(*) as count from mine group by 2
             union all select 'trust_levels', trust_level, count(*) from mine group by 2
             union all select 'statuses', status, count(*) from mine group by 2
             union all select 'origins', origin, count(*) from mine group by 2
             union all select 'identity_classes', identity_class, count(*) from mine group by 2
             union all (select 'created_by', created_by, count(*) from mine group by 2 order by 3 desc, 2 limit 100)
             union all select 'ownerless', '', count(*) from mine where owner_user_id = ''
             union all select 'discovered', '', count(*) from mine where status = 'discovered'
         )
         select facet, value, count from counted order by facet, count desc, value",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .fetch_all(&mut *cx.tx)
    .await
}
