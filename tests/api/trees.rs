//! Trees of credentials, grown by SQL below real roots, and answers about them with names instead of ids.

use chancery::kit::clock::Time;
use chancery::kit::ids;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;

use crate::server::{Answer, Server};
use crate::tools::claims;

impl Server {
    /// A new token of an API key: itself and its jti.
    pub async fn root_row(&self, key: &str, scope: &str) -> (String, String) {
        let token = self.exchange(key, scope).await.expect(200).text_of("access_token").to_owned();
        let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
        (token, jti)
    }

    /// A credential below another, held by this agent: its jti.
    pub async fn child_row(&self, parent: &str, holder: &str, scopes: &[&str]) -> String {
        let jti = ids::new(self.app.clock.now()).unwrap().to_string();
        let done = sqlx::query(
            "insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                 parent_jti, ancestors, mission_id, delegation_depth, grant_type, subject, user_id, scopes, audience,
                 delegated_by, issued_at, expires_at)
             select $1::uuid, p.account_id, p.project_id, sha256($1::text::bytea), p.kid, i.id, i.epoch, p.jti,
                 p.ancestors || p.jti, p.mission_id, p.delegation_depth + 1, 'token_exchange', i.wimse_uri, p.user_id,
                 $4, p.audience, p.subject, $5, p.expires_at
             from credentials p, identities i where p.jti = $2::uuid and i.id = $3::uuid",
        )
        .bind(&jti)
        .bind(parent)
        .bind(holder)
        .bind(scopes.iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(self.app.clock.now())
        .execute(&self.app.db)
        .await
        .unwrap();
        assert_eq!(done.rows_affected(), 1);
        jti
    }

    /// A chain of credentials, each below the one before, all of the same agent: their jtis, the root first.
    pub async fn chain_of(&self, depth: usize) -> Vec<String> {
        let (id, key) = self.agent("chained").await;
        let mut jtis = vec![self.root_row(&key, "read").await.1];
        for at in 0..depth {
            jtis.push(self.child_row(&jtis[at], &id, &["read"]).await);
        }
        jtis
    }

    /// A GET as acme/demo.
    pub async fn look(&self, path: &str) -> Answer {
        self.admin("GET", path).send().await
    }

    /// The chain of a credential as acme/demo reads it.
    pub async fn by_jti(&self, jti: &str) -> Value {
        let answer = self.look(&format!("/delegations/by-jti/{jti}")).await.expect(200);
        assert!(!answer.text.contains("null"), "{}", answer.text);
        answer.body
    }

    /// A credential as acme/demo reads it.
    pub async fn credential(&self, jti: &str) -> Value {
        let answer = self.look(&format!("/credentials/{jti}")).await.expect(200);
        assert!(!answer.text.contains("null"), "{}", answer.text);
        answer.body
    }

    /// What the view of the database says of a credential: whether a mark ended it, when and why.
    pub async fn history(&self, jti: &str) -> (bool, Option<String>, String) {
        let sql = "select is_revoked, ended_at, ended_reason from credential_history where jti = $1::uuid";
        let found: (bool, Option<Time>, String) =
            sqlx::query_as(sql).bind(jti).fetch_one(&self.app.db).await.unwrap();
        (found.0, found.1.map(|at| at.format(&Rfc3339).unwrap()), found.2)
    }
}

/// The members of the objects in a list, one of each.
pub fn column<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[member].as_str().unwrap_or_default()).collect()
}

/// Which of the edges are revoked.
pub fn revoked(chain: &Value) -> Vec<bool> {
    chain["edges"].as_array().unwrap().iter().map(|edge| edge["is_revoked"].as_bool().unwrap()).collect()
}

/// The value with names in the place of ids.
pub fn named(value: &Value, names: &[(&str, &str)]) -> Value {
    let text =
        names.iter().fold(value.to_string(), |text, (id, name)| text.replace(id, &format!("[{name}]")));
    serde_json::from_str(&text).unwrap()
}
