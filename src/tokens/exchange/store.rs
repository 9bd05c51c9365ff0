//! SQL of token exchange.

use std::sync::LazyLock;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection};

use super::Asked;
use crate::tokens::store;

/// By ids alone: the caller compares the digests. The actor must be of the subject's tenant, and so must the grants. The
/// subjects come first and stay apart, so that no order of joins is tried that would read their table. Tenants are compared
/// in a way that no index helps with: else a plan that was made while the tables were small reads all agents or grants of a
/// tenant.
const EXCHANGES: &str =
    "with subjects as materialized (
     select s.jti, s.account_id, s.project_id, s.token_sha256, s.scopes, s.audience, s.identity_id,
         s.oauth_client_id, s.client_id, s.token_profile, s.revocation, s.subject, s.ancestors, s.mission_id,
         s.delegation_depth, s.active_until, s.principal, s.actors, s.jkt, i.id as holder_id,
         i.wimse_uri as holder_uri, i.external_id as holder_external_id, i.identity_type as holder_type,
         i.trust_level as holder_trust
     from credential_activity s left join identities i on i.id = s.identity_id
     where s.jti = any($1) and s.jti between $2 and $3)
 select s.jti as subject_jti, s.account_id as subject_account_id, s.project_id as subject_project_id,
     s.token_sha256 as subject_token_sha256, s.scopes as subject_scopes, s.audience as subject_audience,
     s.identity_id as subject_identity_id, s.oauth_client_id as subject_oauth_client_id,
     s.client_id as subject_client_id, s.token_profile as subject_profile, s.revocation as subject_revocation,
     s.subject as subject_sub, s.ancestors as subject_ancestors, s.mission_id as subject_mission_id,
     s.delegation_depth as subject_depth, s.active_until as subject_active_until,
     s.principal as subject_principal, s.actors as subject_actors, s.jkt as subject_jkt,
     coalesce(s.holder_uri, s.subject) as subject_uri,
     coalesce(s.holder_external_id, '') as subject_external_id,
     coalesce(s.holder_type, '') as subject_identity_type,
     coalesce(s.holder_trust, '') as subject_trust_level, h.*,
     (select coalesce(jsonb_agg(to_jsonb(g) order by g.created_at desc, g.id desc), '[]')
      from may_act_grants g
      where g.to_id = any(array[s.holder_id::text, s.holder_uri, s.holder_external_id, nullif(s.client_id, ''),
              s.subject, s.principal ->> 'sub', s.principal ->> 'identity_id', s.principal ->> 'external_id',
              nullif(s.principal ->> 'client_id', '')])
        and (g.account_id, g.project_id) is not distinct from (s.account_id, s.project_id)
        and g.revoked_at is null and coalesce(g.expires_at > a.now, true)
        and (a.names ? g.from_id or g.from_id in (h.identity_id::text, h.wimse_uri, h.external_id))) as may_act
 from unnest($1::uuid[], $4::text[], $5::timestamptz[], $6::jsonb[])
         with ordinality as a (jti, uri, now, names, at)
 left join subjects s on s.jti = a.jti
 left join holders h
   on h.wimse_uri = a.uri and (h.account_id, h.project_id) is not distinct from (s.account_id, s.project_id)
 order by a.at";

/// What each exchange rests on, in their order.
pub async fn exchanges(db: &mut PgConnection, asked: &[&Asked]) -> sqlx::Result<Vec<PgRow>> {
    find(db, asked, EXCHANGES).await
}

/// The same for subjects that were not delegated; others are not found.
pub async fn of_roots(db: &mut PgConnection, asked: &[&Asked]) -> sqlx::Result<Vec<PgRow>> {
    static OF_ROOTS: LazyLock<String> = LazyLock::new(|| store::of_roots(EXCHANGES));
    find(db, asked, &OF_ROOTS).await
}

async fn find(db: &mut PgConnection, asked: &[&Asked], sql: &'static str) -> sqlx::Result<Vec<PgRow>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let jtis: Vec<_> = asked.iter().map(|one| one.subject.jti).collect();
    sqlx::query(AssertSqlSafe(sql))
        .bind(&jtis)
        .bind(jtis.iter().min())
        .bind(jtis.iter().max())
        .bind(asked.iter().map(|one| one.actor.uri.as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.now).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| Json(&one.actor.names)).collect::<Vec<_>>())
        .fetch_all(db)
        .await
}
