//! SQL of credentials, save their writing, which is the ledger's.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::of_agent::AgentToken;
use super::revoke::{Anchor, Revocation};
use super::tree::Node;
use super::verify::Found;
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};

/// By id alone: the caller compares the digest, which no other tenant can know.
pub async fn find(db: &mut PgConnection, jti: Uuid) -> sqlx::Result<Option<Found>> {
    sqlx::query_as(
        "select jti, account_id, project_id, token_sha256, identity_id, subject, user_id, scopes, agent_status,
             revocation, active_until
         from credential_activity where jti = $1",
    )
    .bind(jti)
    .fetch_optional(db)
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

/// What rests on the anchors themselves. Each branch begins at an index.
pub async fn anchored(db: &mut PgConnection, tenant: &Tenant, anchors: &[Anchor]) -> sqlx::Result<Vec<Uuid>> {
    let (mut own, mut keys) = (Vec::new(), Vec::new());
    let (mut identities, mut clients) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for anchor in anchors {
        match *anchor {
            Anchor::Credential(jti) => own.push(jti),
            Anchor::ApiKey(id) => keys.push(id),
            Anchor::Identity(id, epoch) => {
                identities.0.push(id);
                identities.1.push(epoch);
            }
            Anchor::Client(id, epoch) => {
                clients.0.push(id);
                clients.1.push(epoch);
            }
        }
    }
    sqlx::query_scalar(
        "select jti from credentials where account_id = $1 and project_id = $2 and jti = any($3)
         union all
         select jti from credentials
         where account_id = $1 and project_id = $2 and api_key_id = any($4) and identity_id = any(array(
             select identity_id from api_keys where account_id = $1 and project_id = $2 and id = any($4)))
         union all
         select jti from credentials
         where account_id = $1 and project_id = $2 and identity_id = any($5)
           and (identity_id, agent_epoch) in (select a.id, a.epoch from unnest($5::uuid[], $6::integer[]) as a (id, epoch))
         union all
         select jti from credentials
         where account_id = $1 and project_id = $2 and oauth_client_id = any($7)
           and (oauth_client_id, client_epoch) in
               (select a.id, a.epoch from unnest($7::uuid[], $8::integer[]) as a (id, epoch))",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(own)
    .bind(keys)
    .bind(identities.0)
    .bind(identities.1)
    .bind(clients.0)
    .bind(clients.1)
    .fetch_all(db)
    .await
}

pub async fn children(db: &mut PgConnection, tenant: &Tenant, parents: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select jti from credentials where account_id = $1 and project_id = $2 and parent_jti = any($3)",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(parents)
    .fetch_all(db)
    .await
}

/// The credentials with whether a mark before `before` ended them, each by itself or, with `lineage`, by any of its
/// ancestors. Whoever comes down the tree has seen these already. The bounds on the ids let the plan leave out
/// partitions. A signing key's mark is asked for again, as a later one of the credential's own covers it in the view. A mark
/// whose time nobody wrote down is old.
pub async fn nodes(
    db: &mut PgConnection,
    tenant: &Tenant,
    jtis: &[Uuid],
    before: Option<Time>,
    lineage: bool,
) -> sqlx::Result<Vec<Node>> {
    sqlx::query_as(
        "select s.jti, s.identity_id, s.expires_at,
             s.is_marked and ($6::timestamptz is null or coalesce(least(s.mark_at, k.revoked_at) < $6, true))
             or ($7 and cardinality(s.ancestors) > (
                 select count(*) from credential_standing a left join signing_keys ak on ak.kid = a.kid
                 where a.jti = any(s.ancestors)
                   and not (a.is_marked
                            and ($6 is null or coalesce(least(a.mark_at, ak.revoked_at) < $6, true))))) as ended
         from credential_standing s left join signing_keys k on k.kid = s.kid
         where s.account_id = $1 and s.project_id = $2 and s.jti = any($3) and s.jti between $4 and $5",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(jtis)
    .bind(jtis.iter().min())
    .bind(jtis.iter().max())
    .bind(before)
    .bind(lineage)
    .fetch_all(db)
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
pub async fn lock_announcing(db: &mut PgConnection) -> sqlx::Result<bool> {
    let (locked, _): (bool, String) = sqlx::query_as(
        "select pg_try_advisory_lock(7163384505), set_config('statement_timeout', '10min', false)",
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
