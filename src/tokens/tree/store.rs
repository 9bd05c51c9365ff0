//! SQL of the walk down a tree of credentials.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Node;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::tokens::revoke::Anchor;

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
