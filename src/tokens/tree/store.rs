//! SQL of the walk down a tree of credentials.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Node;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::tokens::revoke::Anchor;

/// Rows of which one epoch is meant, as two columns.
#[derive(Default)]
struct Epochs {
    ids: Vec<Uuid>,
    epochs: Vec<i32>,
}

impl Epochs {
    fn push(&mut self, id: Uuid, epoch: i32) {
        self.ids.push(id);
        self.epochs.push(epoch);
    }
}

/// Anchors by their kind, each a parameter of the statement.
#[derive(Default)]
struct ByKind {
    own: Vec<Uuid>,
    keys: Vec<Uuid>,
    families: Vec<Uuid>,
    consents: Vec<Uuid>,
    identities: Epochs,
    clients: Epochs,
    people: Epochs,
    subjects: Epochs,
}

impl ByKind {
    fn of(anchors: &[Anchor]) -> Self {
        let mut all = Self::default();
        for anchor in anchors {
            match *anchor {
                Anchor::Credential(jti) => all.own.push(jti),
                Anchor::ApiKey(id) => all.keys.push(id),
                Anchor::Family(id) => all.families.push(id),
                Anchor::Consent(id) => all.consents.push(id),
                Anchor::Identity(id, epoch) => all.identities.push(id, epoch),
                Anchor::Client(id, epoch) => all.clients.push(id, epoch),
                Anchor::Person(id, epoch) => all.people.push(id, epoch),
                Anchor::LinkedSubject(id, epoch) => all.subjects.push(id, epoch),
            }
        }
        all
    }
}

/// What rests on the anchors themselves. Each branch begins at an index.
pub async fn anchored(db: &mut PgConnection, tenant: &Tenant, anchors: &[Anchor]) -> sqlx::Result<Vec<Uuid>> {
    let all = ByKind::of(anchors);
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
               (select a.id, a.epoch from unnest($7::uuid[], $8::integer[]) as a (id, epoch))
         union all
         select jti from credentials
         where account_id = $1 and project_id = $2 and person_id = any($9)
           and (person_id, person_epoch) in (select a.id, a.epoch from unnest($9::uuid[], $10::integer[]) as a (id, epoch))
         union all
         select jti from credentials where account_id = $1 and project_id = $2 and family_id = any($11)
         union all
         select jti from credentials where account_id = $1 and project_id = $2 and consent_id = any($12)
         union all
         select jti from credentials
         where account_id = $1 and project_id = $2 and linked_subject_id = any($13)
           and (linked_subject_id, linked_subject_epoch) in
               (select a.id, a.epoch from unnest($13::uuid[], $14::integer[]) as a (id, epoch))",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(all.own)
    .bind(all.keys)
    .bind(all.identities.ids)
    .bind(all.identities.epochs)
    .bind(all.clients.ids)
    .bind(all.clients.epochs)
    .bind(all.people.ids)
    .bind(all.people.epochs)
    .bind(all.families)
    .bind(all.consents)
    .bind(all.subjects.ids)
    .bind(all.subjects.epochs)
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
/// partitions. A mark whose time nobody wrote down is old.
pub async fn nodes(
    db: &mut PgConnection,
    tenant: &Tenant,
    jtis: &[Uuid],
    before: Option<Time>,
    lineage: bool,
) -> sqlx::Result<Vec<Node>> {
    sqlx::query_as(
        "select s.jti, s.identity_id, s.expires_at,
             s.is_marked and ($6::timestamptz is null or coalesce(s.mark_at < $6, true))
             or ($7 and cardinality(s.ancestors) > (
                 select count(*) from credential_standing a
                 where a.jti = any(s.ancestors)
                   and not (a.is_marked and ($6 is null or coalesce(a.mark_at < $6, true))))) as ended
         from credential_standing s
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
