//! Trees of credentials. Roots are real tokens; below them rows are copied by SQL, each with a token of its own that
//! introspection recognises by its digest as it does a real one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::cx::{Cx, Tenant};
use chancery::kit::ids;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::server::Server;
use crate::tools::claims;

/// A credential with the token that stands for it.
#[derive(Clone, Debug)]
pub struct Node {
    pub jti: Uuid,
    pub token: String,
}

impl Server {
    /// A context of acme/demo for a verb that no route calls yet.
    pub async fn cx(&self) -> Cx {
        let tenant = Tenant { account_id: "acme".to_owned(), project_id: "demo".to_owned() };
        Cx::command_line(self.app.begin().await.unwrap(), Some(tenant), self.app.clock.now())
    }

    /// A real token for an API key.
    pub async fn root(&self, api_key: &str) -> Node {
        let token = self.token(api_key).await;
        Node { jti: claims(&token)["jti"].as_str().unwrap().parse().unwrap(), token }
    }

    /// What an exchange of `parent` would give to the agent with the id `holder`.
    pub async fn child(&self, parent: &Node, holder: &str) -> Node {
        let jti = ids::new(self.app.clock.now()).unwrap();
        let token = format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(json!({ "jti": jti }).to_string()));
        let rows = sqlx::query(
            "insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                 parent_jti, ancestors, mission_id, delegation_depth, grant_type, subject, user_id, scopes, audience,
                 issued_at, expires_at, delegated_by)
             select $1, p.account_id, p.project_id, $2, p.kid, i.id, i.epoch, p.jti, p.ancestors || p.jti,
                 p.mission_id, p.delegation_depth + 1, 'token_exchange', i.wimse_uri, p.user_id, p.scopes, p.audience,
                 $3, p.expires_at, p.subject
             from credentials p join identities i on i.id = $5::uuid where p.jti = $4",
        )
        .bind(jti)
        .bind(digest(&SHA256, token.as_bytes()).as_ref())
        .bind(self.app.clock.now())
        .bind(parent.jti)
        .bind(holder.parse::<Uuid>().unwrap())
        .execute(&self.app.db)
        .await
        .unwrap();
        assert_eq!(rows.rows_affected(), 1);
        Node { jti, token }
    }

    /// A chain below `parent`, one link for each holder.
    pub async fn chain(&self, parent: &Node, holders: &[&str]) -> Vec<Node> {
        let mut nodes = vec![parent.clone()];
        for holder in holders {
            let link = self.child(nodes.last().unwrap(), holder).await;
            nodes.push(link);
        }
        nodes.split_off(1)
    }

    /// Grows `total` credentials below a root, level by level, `fan` below each. They have no tokens.
    pub async fn grow(&self, root: &Node, total: i64, fan: i64) {
        let (mut grown, mut depth) = (0, 0);
        while grown < total {
            let rows = sqlx::query(
                "insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                     parent_jti, ancestors, mission_id, delegation_depth, grant_type, subject, scopes, audience,
                     issued_at, expires_at)
                 select (left(p.jti::text, 15) || substr(gen_random_uuid()::text, 16))::uuid, p.account_id,
                     p.project_id, p.token_sha256, p.kid, p.identity_id, p.agent_epoch, p.jti, p.ancestors || p.jti,
                     p.mission_id, p.delegation_depth + 1, 'token_exchange', p.subject, p.scopes, p.audience,
                     p.issued_at, p.expires_at
                 from credentials p, generate_series(1, $1)
                 where p.mission_id = $2 and p.delegation_depth = $3 limit $4",
            )
            .bind(fan)
            .bind(root.jti)
            .bind(depth)
            .bind(total - grown)
            .execute(&self.app.db)
            .await
            .unwrap();
            grown += i64::try_from(rows.rows_affected()).unwrap();
            depth += 1;
        }
    }

    /// Changes columns of a credential as nobody can through the API.
    pub async fn alter(&self, node: &Node, set: &str) {
        assert_eq!(self.run_sql(format!("update credentials set {set} where jti = '{}'", node.jti)).await, 1);
    }

    /// Which of the nodes introspection reports as active, by their place.
    pub async fn active(&self, nodes: &[Node]) -> Vec<usize> {
        let mut active = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            if self.is_active(&node.token).await {
                active.push(place);
            }
        }
        active
    }

    /// The credentials that no mark has ended and that have not expired, sorted.
    pub async fn unended(&self) -> Vec<Uuid> {
        let sql = "select jti from credential_history where not is_revoked and expires_at > $1 order by jti";
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(self.app.clock.now())
            .fetch_all(&self.app.db)
            .await
            .unwrap()
    }
}
