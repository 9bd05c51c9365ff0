//! SQL of offboarding.

use uuid::Uuid;

use crate::kit::cx::Cx;

/// For an operator: the projects of the whole account in which the person answers for anything.
pub async fn projects_of_owner(cx: &mut Cx, owner: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct project_id from identities
         where account_id = $1 and owner_user_id = $2 and owner_user_id <> '' order by project_id",
    )
    .bind(&cx.tenant.account_id)
    .bind(owner)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Locks all that a person answers for and that is not deactivated, in the order of the ids, and answers ids and epochs.
/// Nobody answers for what has no owner.
pub async fn lock_of_owner(cx: &mut Cx, owner: &str) -> sqlx::Result<Vec<(Uuid, i32)>> {
    sqlx::query_as(
        "select id, epoch from identities
         where account_id = $1 and project_id = $2 and owner_user_id = $3 and owner_user_id <> ''
           and status <> 'deactivated'
         order by id for update",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(owner)
    .fetch_all(&mut *cx.tx)
    .await
}
