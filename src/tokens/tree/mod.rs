//! What hangs below a mark. The walk goes down the tree in pages, so that no statement grows with the tree: one statement
//! over all of it is planned as a scan of the whole table.

mod store;

use std::collections::{HashSet, VecDeque};

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::revoke::Anchor;
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::Result;

/// How many credentials one statement looks at.
const PAGE: usize = 1000;

/// The same where nobody waits for the end: what runs beside it waits for no more than this.
const SMALL_PAGE: usize = 50;

/// How many anchors one statement takes.
const ANCHORS: usize = 100;

/// How many ids a dry run names.
const NAMED: usize = 100_000;

/// What a change would end, as the answer to `?dry_run=true`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DryRun {
    /// Always true.
    #[serde(rename = "dry_run")]
    is: bool,
    /// How many credentials would end.
    revoked_count: usize,
    /// Their ids.
    jtis: Vec<Uuid>,
    /// Whether there are more than are named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl DryRun {
    /// The answer that names these credentials, as many as an answer holds.
    pub fn of(mut jtis: Vec<Uuid>) -> Self {
        let revoked_count = jtis.len();
        jtis.truncate(NAMED);
        Self { is: true, revoked_count, jtis, truncated: revoked_count > NAMED }
    }
}

/// The answer of a change that may be tried first: what it did or, with `?dry_run=true`, what it would end.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Tried<T> {
    /// It is done.
    Done(T),
    /// Nothing happened.
    Not(DryRun),
}

impl<T> Tried<T> {
    /// The answer of a change that was only tried, by the credentials that it would end.
    pub fn not(jtis: Vec<Uuid>) -> Self {
        Self::Not(DryRun::of(jtis))
    }
}

/// The credentials of the tenant that marks on the anchors would end now: all that rests on them, has not expired and
/// was not ended before. What only sleeps counts, since it would wake. Ask before you mark.
pub async fn changed_by(cx: &mut Cx, anchors: &[Anchor]) -> Result<Vec<Uuid>> {
    let mut walk = Walk::from(&mut cx.tx, &cx.tenant, anchors).await?;
    let mut changed = Vec::new();
    while let Some(nodes) = walk.next(&mut cx.tx).await? {
        changed.extend(nodes.iter().filter(|node| node.expires_at > cx.now).map(|node| node.jti));
    }
    Ok(changed)
}

/// A credential that the walk meets.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Node {
    /// Its id.
    pub jti: Uuid,
    /// Who holds it.
    pub identity_id: Option<Uuid>,
    /// Its own end.
    pub expires_at: Time,
    /// Whether a mark that counts ended it.
    pub ended: bool,
}

/// A walk from anchors down. It leads through what has expired, and not below what a mark has ended: all of that ended
/// with it.
#[derive(Debug)]
pub struct Walk<'a> {
    tenant: &'a Tenant,
    /// Only marks before this moment count; `None` counts all.
    before: Option<Time>,
    page: usize,
    /// Met and not yet looked at.
    met: VecDeque<Uuid>,
    /// Looked at; their children were not fetched yet.
    parents: VecDeque<Uuid>,
    /// Whether those met rest on the anchors themselves. Only above them may there be something not yet looked at.
    anchored: bool,
    /// Everything met so far, which also ends a circle.
    seen: HashSet<Uuid>,
}

impl<'a> Walk<'a> {
    /// Begins at what rests on the anchors themselves; every mark counts.
    pub async fn from(db: &mut PgConnection, tenant: &'a Tenant, anchors: &[Anchor]) -> Result<Self> {
        Self::begin(db, tenant, anchors, None, PAGE).await
    }

    /// The same as it was when the anchor was marked: marks before that moment count. Nothing is left out for having been
    /// issued later: a mark bears the time of its request, and is committed, maybe after waiting for a lock, when more has
    /// been issued, at other servers by other clocks. So a token that was born inactive may be among them.
    pub async fn as_of(db: &mut PgConnection, tenant: &'a Tenant, anchor: Anchor, at: Time) -> Result<Self> {
        Self::begin(db, tenant, &[anchor], Some(at), SMALL_PAGE).await
    }

    async fn begin(
        db: &mut PgConnection,
        tenant: &'a Tenant,
        anchors: &[Anchor],
        before: Option<Time>,
        page: usize,
    ) -> Result<Self> {
        let (met, parents, seen) = (VecDeque::new(), VecDeque::new(), HashSet::new());
        let mut walk = Self { tenant, before, page, met, parents, anchored: true, seen };
        for anchors in anchors.chunks(ANCHORS) {
            walk.meet(store::anchored(db, tenant, anchors).await?);
        }
        Ok(walk)
    }

    /// The next credentials that no mark has ended, expired or not. `None` when all were met.
    pub async fn next(&mut self, db: &mut PgConnection) -> Result<Option<Vec<Node>>> {
        while self.met.is_empty() {
            if self.parents.is_empty() {
                return Ok(None);
            }
            self.anchored = false;
            let parents = page(&mut self.parents, self.page);
            self.meet(store::children(db, self.tenant, &parents).await?);
        }
        let jtis = page(&mut self.met, self.page);
        let mut nodes = store::nodes(db, self.tenant, &jtis, self.before, self.anchored).await?;
        nodes.retain(|node| !node.ended);
        self.parents.extend(nodes.iter().map(|node| node.jti));
        Ok(Some(nodes))
    }

    fn meet(&mut self, jtis: Vec<Uuid>) {
        self.met.extend(jtis.into_iter().filter(|jti| self.seen.insert(*jti)));
    }
}

fn page(queue: &mut VecDeque<Uuid>, most: usize) -> Vec<Uuid> {
    queue.drain(..queue.len().min(most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_counts_all_and_names_as_many_as_an_answer_holds() {
        for (count, named, truncated) in [(0, 0, false), (NAMED, NAMED, false), (NAMED + 1, NAMED, true)] {
            let answer = serde_json::to_value(DryRun::of(vec![Uuid::nil(); count])).unwrap();
            assert_eq!(answer["revoked_count"], count);
            assert_eq!(answer["jtis"].as_array().unwrap().len(), named);
            assert_eq!(answer.get("truncated").is_some(), truncated);
        }
    }
}
