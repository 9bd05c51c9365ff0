//! Large trees of credentials below real tokens. The rows are made by SQL, of every depth and width, with links that ended
//! before.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::pair::Pair;
use crate::server::Server;
use crate::world::jti;

/// How many hang below each credential of a level. Levels after the last begin anew.
const FANS: [i64; 9] = [3, 1, 4, 1, 7, 2, 1, 9, 1];

/// The credentials of some set.
pub type Set = BTreeSet<Uuid>;

impl Server {
    /// The credentials that a condition on `credentials` names.
    pub async fn set(&self, condition: &str) -> Set {
        self.ids(format!("select jti from credentials where {condition}")).await
    }

    /// Those of them that stand, by the predicate of activity.
    pub async fn standing(&self, condition: &str) -> Set {
        let now = self.app.clock.now();
        self.ids(format!(
            "select jti from credential_activity where revocation = '' and active_until > '{now}'
             and jti = any(array(select jti from credentials where {condition}))"
        ))
        .await
    }

    async fn ids(&self, sql: String) -> Set {
        let rows: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.app.db).await.unwrap();
        rows.into_iter().collect()
    }
}

/// A condition for a token and all that hangs below it.
pub fn tree_of(token: &str) -> String {
    let root = jti(token);
    format!("(jti = '{root}' or '{root}' = any(ancestors))")
}

/// Agents to hold what is grown.
pub async fn holders(pair: &Pair) {
    for number in 0..7 {
        pair.one.agent(&format!("holds-{number}")).await;
    }
}

/// Grows `total` credentials below a token: nine tenths in ever wider levels, the rest in chains that hang from them.
pub async fn grow(pair: &Pair, token: &str, total: i64) {
    let depth = format!("select delegation_depth::bigint from credentials where jti = '{}'", jti(token));
    let (mut grown, mut level) = (0, pair.one.number(&depth).await);
    for fan in FANS.into_iter().cycle() {
        let wide = total * 9 / 10;
        let (fan, parents, most) =
            if grown < wide { (fan, total, wide - grown) } else { (1, 20, total - grown) };
        if most == 0 {
            return;
        }
        grown += grow_level(&pair.one, token, level, (parents, fan, most)).await;
        level += 1;
    }
}

/// Of at most so many parents of this depth so many children each, but no more than the last number in all.
async fn grow_level(server: &Server, token: &str, level: i64, (parents, fan, most): (i64, i64, i64)) -> i64 {
    let tree = tree_of(token);
    let rows = server
        .sql(format!(
            "insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                 parent_jti, ancestors, mission_id, delegation_depth, grant_type, subject, delegated_by, scopes,
                 audience, issued_at, expires_at)
             select (left(p.jti::text, 15) || substr(gen_random_uuid()::text, 16))::uuid, p.account_id, p.project_id,
                 p.token_sha256, p.kid, i.id, i.epoch, p.jti, p.ancestors || p.jti, p.mission_id,
                 p.delegation_depth + 1, 'token_exchange', i.wimse_uri, p.subject, p.scopes, p.audience, p.issued_at,
                 p.expires_at
             from (select *, row_number() over (order by jti) as place from credentials
                   where {tree} and delegation_depth = {level} order by jti limit {parents}) p
             cross join generate_series(1, {fan}) as twin
             join (select *, row_number() over (order by id) - 1 as place, count(*) over () as many
                   from identities where external_id like 'holds-%') i on i.place = (p.place + twin) % i.many
             limit {most}",
        ))
        .await;
    assert!(rows > 0, "nothing to grow from");
    i64::try_from(rows).unwrap()
}

/// Ends every `part`th credential of the middle levels below a token, and lets every `part`th of them expire with what
/// hangs below.
pub async fn cut_links(pair: &Pair, token: &str, part: i64) {
    let (server, tree) = (&pair.one, tree_of(token));
    let now = server.app.clock.now();
    let links = format!(
        "select jti, row_number() over (order by jti) as place from credentials
         where {tree} and grant_type = 'token_exchange' and subject like '%holds-%' and delegation_depth between 3 and 7"
    );
    let revoked = server
        .sql(format!(
            "update credentials c set revoked_at = '{now}'::timestamptz - interval '1 minute', revoke_reason = 'earlier'
             from ({links}) l where l.jti = c.jti and l.place % {part} = 1"
        ))
        .await;
    let expired = server
        .sql(format!(
            "update credentials c set expires_at = '{now}'::timestamptz - interval '1 second'
             from ({links}) l where l.place % {part} = 2 and (c.jti = l.jti or l.jti = any(c.ancestors))"
        ))
        .await;
    assert!(revoked > 0 && expired > 0, "{revoked} {expired}");
}

impl Server {
    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.app.db).await.unwrap()
    }
}
