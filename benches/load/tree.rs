//! Large trees of credentials below a real root, and what becomes of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chancery::kit::clock::Stopwatch;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Uuid;

use crate::stage::TENANT;
use crate::traffic::{Connection, Request};

/// How many hang below each.
const FAN: i64 = 10;

/// How long the events of one tree may take.
const LONGEST: f64 = 300.0;

/// A root that was issued, with credentials below it.
pub(crate) struct Tree {
    address: SocketAddr,
    root: Uuid,
    pub(crate) size: usize,
}

impl Tree {
    /// Issues the root and grows the rest by SQL, level by level.
    pub(crate) async fn grow(
        db: &mut PgConnection,
        address: SocketAddr,
        issue: &Request,
        size: usize,
    ) -> Result<Self> {
        let answer: Value = serde_json::from_str(&Connection::new(address).send(issue).await?)?;
        let root: Uuid = answer["jti"].as_str().context("no jti")?.parse()?;
        let (mut depth, mut left) = (0, i64::try_from(size)?);
        while left > 0 {
            let rows = grow_level(db, root, depth, left).await?;
            ensure!(rows > 0, "the root has no row");
            left -= rows;
            depth += 1;
        }
        sqlx::query("analyze credentials").execute(db).await?;
        Ok(Self { address, root, size })
    }

    /// Looks at so many of those below the root, spread over all levels.
    pub(crate) async fn looks(&self, db: &mut PgConnection, most: usize) -> Result<Vec<Request>> {
        let jtis: Vec<Uuid> = sqlx::query_scalar(
            "select jti from credentials where mission_id = $1 and jti <> $1 order by md5(jti::text) limit $2",
        )
        .bind(self.root)
        .bind(i64::try_from(most)?)
        .fetch_all(db)
        .await?;
        Ok(crate::stage::introspections(&jtis.into_iter().map(token).collect::<Vec<_>>()))
    }

    /// Revokes the root; answers how long that took. On a connection of its own: the server closes one that idles for long.
    pub(crate) async fn revoke(&self) -> Result<f64> {
        let path = format!("/credentials/{}/revoke", self.root);
        let request = Request::new("POST", &path, &TENANT, &json!({ "reason": "load" }).to_string());
        let watch = Stopwatch::start();
        Connection::new(self.address).send(&request).await?;
        Ok(watch.seconds())
    }

    /// Waits until every credential of the tree has its event.
    pub(crate) async fn announced(&self, db: &mut PgConnection) -> Result<()> {
        let watch = Stopwatch::start();
        while watch.seconds() < LONGEST {
            let announced: Option<bool> =
                sqlx::query_scalar("select announced_at is not null from revocations where anchor_id = $1")
                    .bind(self.root)
                    .fetch_optional(&mut *db)
                    .await?;
            if announced.context("the root has no mark")? {
                let events: i64 = sqlx::query_scalar(
                    "select count(*) from outbox o join credentials c on c.jti = o.subject_id
                     where o.event_type = 'credential.revoked' and c.mission_id = $1",
                )
                .bind(self.root)
                .fetch_one(db)
                .await?;
                ensure!(usize::try_from(events)? == self.size + 1, "{events} events of {}", self.size + 1);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("the tree was not announced within {LONGEST} s")
    }
}

/// A token is recognised by its digest, so one that nobody signed stands for a row that was made by SQL.
fn token(jti: Uuid) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(format!(r#"{{"jti":"{jti}"}}"#)))
}

/// Grows the children of one level, as an exchange would give them to the same agent.
async fn grow_level(db: &mut PgConnection, root: Uuid, depth: i32, most: i64) -> Result<i64> {
    let done = sqlx::query(
        r#"insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch, parent_jti,
             ancestors, mission_id, delegation_depth, grant_type, subject, scopes, audience, issued_at, expires_at)
         select n.jti, p.account_id, p.project_id,
             sha256(('e30.' || translate(encode(convert_to('{"jti":"' || n.jti || '"}', 'utf8'), 'base64'), '+/=', '-_')
                 || '.e30')::bytea),
             p.kid, p.identity_id, p.agent_epoch, p.jti, p.ancestors || p.jti, p.mission_id, p.delegation_depth + 1,
             'token_exchange', p.subject, p.scopes, p.audience, p.issued_at, p.expires_at
         from credentials p, generate_series(1, $1) g,
             lateral (select (left(p.jti::text, 15) || substr(md5(p.jti::text || g)::uuid::text, 16))::uuid as jti) n
         where p.mission_id = $2 and p.delegation_depth = $3 limit $4"#,
    )
    .bind(FAN)
    .bind(root)
    .bind(depth)
    .bind(most)
    .execute(db)
    .await?;
    Ok(i64::try_from(done.rows_affected())?)
}
