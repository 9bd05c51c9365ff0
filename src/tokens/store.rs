//! SQL of credentials, save their writing, which is the ledger's.

use std::sync::LazyLock;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use super::admin::Kept;
use super::credential::Record;
use super::ended::Standing;
use super::ledger::Artefact;
use super::of_agent::AgentToken;
use super::revoke::{Anchor, Revocation};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::http::page::Page;

/// By ids alone: the caller compares the digest, which no other tenant can know. The range lets a generic plan leave out
/// the partitions in which none of them can be.
pub async fn find(db: &mut PgConnection, jtis: &[Uuid]) -> sqlx::Result<Vec<PgRow>> {
    presented(db, jtis, FIND).await
}

/// The same of those that were not delegated; others are not found.
pub async fn find_roots(db: &mut PgConnection, jtis: &[Uuid]) -> sqlx::Result<Vec<PgRow>> {
    static FIND_ROOTS: LazyLock<String> = LazyLock::new(|| of_roots(FIND));
    presented(db, jtis, &FIND_ROOTS).await
}

const FIND: &str = "select jti, account_id, project_id, token_sha256, identity_id, oauth_client_id, subject,
         coalesce(actors -> 0 ->> 'sub', subject) as presenter, user_id, scopes, audience, grant_type,
         delegation_depth, jkt, agent_status, revocation, active_until
     from credential_activity where jti = any($1) and jti between $2 and $3";

/// A statement that looks at credentials that were not delegated only, and so at no ancestors: to prepare the search for
/// them costs as much as the rest.
pub(super) fn of_roots(sql: &str) -> String {
    sql.replace("credential_activity", "credential_roots")
}

async fn presented(db: &mut PgConnection, jtis: &[Uuid], sql: &'static str) -> sqlx::Result<Vec<PgRow>> {
    sqlx::query(AssertSqlSafe(sql))
        .bind(jtis)
        .bind(jtis.iter().min())
        .bind(jtis.iter().max())
        .fetch_all(db)
        .await
}

/// What rotation keeps of a credential of the tenant, and what it was obtained by.
pub async fn kept(cx: &mut Cx, jti: Uuid) -> sqlx::Result<Option<Kept>> {
    sqlx::query_as(
        "select c.identity_id, c.agent_epoch, c.api_key_id, c.oauth_client_id, c.client_id, c.client_epoch,
             c.linked_subject_id, c.linked_subject_epoch, c.parent_jti is not null as delegated,
             c.person_id is not null as of_person, c.grant_type, c.scopes, c.audience, c.token_profile, c.user_id, c.jkt,
             extract(epoch from c.expires_at - c.issued_at)::bigint as ttl_seconds,
             c.revocation = '' and c.active_until > $4 as active,
             k.replaced_at is not null as key_replaced, k.expires_at as key_expires_at, k.scopes as key_scopes,
             p.id as key_policy_id, p.max_ttl_seconds as key_policy_ttl, p.allowed_grant_types as key_policy_grants,
             p.allowed_scopes as key_policy_scopes, p.required_trust_level as key_policy_trust,
             p.required_attestation as key_policy_attestation, p.max_delegation_depth as key_policy_depth,
             p.is_active as key_policy_active, p.expires_at as key_policy_expires,
             o.scopes as client_scopes, o.grant_types as client_grants, o.allowed_audiences as client_audiences
         from credential_activity c
         left join api_keys k on k.id = c.api_key_id
         left join credential_policies p on p.id = k.credential_policy_id
         left join oauth_clients o on o.id = c.oauth_client_id
         where c.account_id = $1 and c.project_id = $2 and c.jti = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jti)
    .bind(cx.now)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// Whether the mark is new.
pub async fn revoke(cx: &mut Cx, jti: Uuid, reason: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update credentials set revoked_at = $4, revoked_by = $5, revoke_reason = $6
         where account_id = $1 and project_id = $2 and jti = $3 and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jti)
    .bind(cx.now)
    .bind(&cx.caller.id)
    .bind(reason)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a mark or its own end ended the credential; `None` when the tenant has none with this id.
pub async fn is_over(cx: &mut Cx, jti: Uuid) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "select is_revoked or expires_at <= $4 from credential_history
         where account_id = $1 and project_id = $2 and jti = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jti)
    .bind(cx.now)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// One row for each anchor, under the id at the same place.
pub async fn note(cx: &mut Cx, ids: &[Uuid], anchors: &[Anchor], reason: &str) -> sqlx::Result<()> {
    let (mut kinds, mut rows, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, row, epoch) in anchors.iter().map(|anchor| anchor.columns()) {
        kinds.push(kind);
        rows.push(row);
        epochs.push(epoch);
    }
    sqlx::query(
        "insert into revocations (id, account_id, project_id, anchor, anchor_id, epoch, reason, marked_by, marked_at)
         select m.id, $1, $2, m.anchor, m.anchor_id, m.epoch, $7, $8, $9
         from unnest($3::uuid[], $4::text[], $5::uuid[], $6::integer[]) as m (id, anchor, anchor_id, epoch)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(kinds)
    .bind(rows)
    .bind(epochs)
    .bind(reason)
    .bind(&cx.caller.id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// In the order given; one that is not there is left out. The bounds on the ids let the plan leave out partitions.
pub async fn records(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<Vec<Record>> {
    sqlx::query_as(
        "select s.jti as id, s.account_id, s.project_id, s.jti, s.subject,
             coalesce(s.identity_id::text, '') as identity_id, s.issued_at, s.expires_at,
             extract(epoch from s.expires_at - s.issued_at)::bigint as ttl_seconds, s.scopes, s.grant_type,
             s.delegation_depth, s.parent_jti, nullif(s.delegated_by, '') as delegated_by_wimse_uri, s.mission_id,
             s.jkt as dpop_key_thumbprint, s.ancestors, s.standing, s.is_marked, s.mark_at, s.mark_reason
         from credential_standing s
         where s.account_id = $1 and s.project_id = $2 and s.jti = any($3) and s.jti between $4 and $5
         order by array_position($3, s.jti)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(ids.iter().min())
    .bind(ids.iter().max())
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn standings(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<Vec<Standing>> {
    sqlx::query_as(
        "select jti, ancestors, standing, is_marked, mark_at, mark_reason from credential_standing
         where account_id = $1 and project_id = $2 and jti = any($3) and jti between $4 and $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(ids.iter().min())
    .bind(ids.iter().max())
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn newest_of_agent(cx: &mut Cx, agent: Uuid, most: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select jti from credentials where account_id = $1 and project_id = $2 and identity_id = $3
         order by jti desc limit $4",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(agent)
    .bind(most)
    .fetch_all(&mut *cx.tx)
    .await
}

/// The page of an identity's credentials, newest first, and the number of all.
pub async fn of_identity(cx: &mut Cx, identity_id: Uuid, page: Page) -> sqlx::Result<(Vec<Uuid>, i64)> {
    sqlx::query_as(
        "select array(select jti from credentials where account_id = $1 and project_id = $2 and identity_id = $3
                      order by jti desc limit $4 offset $5),
             (select count(*) from credentials where account_id = $1 and project_id = $2 and identity_id = $3)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_id)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_one(&mut *cx.tx)
    .await
}

/// The page of a tree's credentials from the root downwards, and the number of all. What was refreshed after the root has
/// its mission.
pub async fn of_mission(cx: &mut Cx, mission_id: Uuid, page: Page) -> sqlx::Result<(Vec<Uuid>, i64)> {
    sqlx::query_as(
        "with recursive tree as (
             select c.jti, c.delegation_depth, c.issued_at from credentials c
             where c.account_id = $1 and c.project_id = $2 and c.jti = $3 and c.mission_id = $3
             union all
             select c.jti, c.delegation_depth, c.issued_at
             from credentials first join credentials c on c.family_id = first.family_id
             where first.account_id = $1 and first.project_id = $2 and first.jti = $3 and first.mission_id = $3
               and c.account_id = $1 and c.project_id = $2 and c.jti <> $3
             union all
             select c.jti, c.delegation_depth, c.issued_at from tree join credentials c on c.parent_jti = tree.jti
             where c.account_id = $1 and c.project_id = $2
         )
         select array(select jti from tree order by delegation_depth, issued_at, jti limit $4 offset $5),
             (select count(*) from tree)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(mission_id)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_one(&mut *cx.tx)
    .await
}

/// What fell by itself is left out first: to look at the ancestors costs more.
pub async fn active_of_agent(cx: &mut Cx, agent: Uuid, most: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select jti from credential_activity
         where account_id = $1 and project_id = $2 and identity_id = $3 and standing = '' and stands_until > $4
           and revocation = '' and active_until > $4
         order by jti desc limit $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(agent)
    .bind(cx.now)
    .bind(most)
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn of_agent(cx: &mut Cx, jtis: &[Uuid]) -> sqlx::Result<Vec<AgentToken>> {
    sqlx::query_as(
        "select jti as id, jti, identity_id as agent_id, client_id, grant_type, user_id,
             array_to_string(scopes, ' ') as scope, audience, jkt, jkt as dpop_jkt,
             nullif(delegated_by, '') as delegation_subject, delegation_depth, issued_at as created_at, expires_at,
             revocation = '' and active_until > $6 as active,
             case when is_revoked then ended_at end as revoked_at,
             case when is_revoked then ended_reason end as revoke_reason
         from credential_history
         where account_id = $1 and project_id = $2 and jti = any($3) and jti between $4 and $5
         order by jti desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jtis)
    .bind(jtis.iter().min())
    .bind(jtis.iter().max())
    .bind(cx.now)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Across tenants: whether some mark waits for its events.
pub async fn is_any_unannounced(db: &PgPool) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from revocations where announced_at is null)")
        .fetch_one(db)
        .await
}

/// Held until the connection closes; false when another holds it. A look at a large tree may take longer than a request.
/// Commits don't wait for the disk, which all others would wait for too: what a crash of the database loses of the events, it
/// loses of the mark that they were written, and they are written again.
pub async fn lock_announcing(db: &mut PgConnection) -> sqlx::Result<bool> {
    let (locked, _, _): (bool, String, String) = sqlx::query_as(
        "select pg_try_advisory_lock(7163384505), set_config('statement_timeout', '10min', false),
             set_config('synchronous_commit', 'off', false)",
    )
    .fetch_one(db)
    .await?;
    Ok(locked)
}

/// Across tenants: marks that wait for their events, the oldest first, for the worker that acts in each one's tenant.
pub async fn unannounced(db: &mut PgConnection, most: i64) -> sqlx::Result<Vec<Revocation>> {
    sqlx::query_as(
        "select id, account_id, project_id, anchor, anchor_id, epoch, reason, marked_at
         from revocations where announced_at is null order by id limit $1",
    )
    .bind(most)
    .fetch_all(db)
    .await
}

pub async fn set_announced(db: &mut PgConnection, revocation: &Revocation, now: Time) -> sqlx::Result<()> {
    sqlx::query(
        "update revocations set announced_at = $4 where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&revocation.tenant.account_id)
    .bind(&revocation.tenant.project_id)
    .bind(revocation.id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Across tenants: uses one artefact up where no other work depends on it, and says whether it was unused. The insert itself is the
/// arbiter, so one statement is enough.
pub async fn use_once(db: &mut PgConnection, user: Uuid, artefact: &Artefact) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into used_once (kind, key, used_by, expires_at) values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(artefact.kind)
    .bind(&artefact.key[..])
    .bind(user)
    .bind(artefact.until)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Across tenants: what is spent and has expired is nobody's.
pub async fn forget_used(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from used_once where (kind, key) in (
             select kind, key from used_once where expires_at <= $1 order by expires_at limit $2
             for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Across tenants: marks so old that no row of a credential they ended is left.
pub async fn forget_revocations(db: &PgPool, before: Uuid, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from revocations where id in (
             select id from revocations where id < $1 and announced_at is not null order by id limit $2)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Held until the transaction ends: one replica at a time. What follows does not wait long for the table itself.
pub async fn lock_partitions(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(7163384503), set_config('lock_timeout', '2s', true)")
        .execute(db)
        .await?;
    Ok(())
}

pub async fn make_partition(db: &mut PgConnection, name: &str, lower: Uuid, upper: Uuid) -> sqlx::Result<()> {
    sqlx::query("select make_credentials_partition($1, $2, $3)")
        .bind(name)
        .bind(lower)
        .bind(upper)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn drop_partition(db: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("select drop_credentials_partition($1)").bind(name).execute(db).await?;
    Ok(())
}

/// The names of the partitions that there are.
pub async fn partitions(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = to_regclass('credentials') order by 1",
    )
    .fetch_all(db)
    .await
}
