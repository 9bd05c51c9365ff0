//! One predicate everywhere: every place that says whether a token stands says the same, and what the model says.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::changing::owner;
use crate::ending::offboarded;
use crate::model::{Status, Token};
use crate::ops::Op;
use crate::scopes::Scopes;
use crate::world::{World, expect, same};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

impl World<'_> {
    /// Asks every place about every token. The error shows the history.
    pub async fn check_agreement(&self) -> Result<(), String> {
        for at in 0..self.tokens.len() {
            let standing = self.model.is_active(at);
            let faults = [
                self.ask_introspection(at).await,
                self.ask_forward_auth(at).await,
                self.ask_as_subject(at).await,
                self.ask_as_bearer(at).await,
                self.ask_chain(at).await,
            ];
            let faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
            if !faults.is_empty() {
                let token = &self.model.tokens[at];
                return Err(self.story(&format!("token {at}, {standing}, {faults:?}: {token:?}")));
            }
        }
        for agent in 0..self.model.agents.len() {
            let faults = [
                self.ask_credentials(agent).await,
                self.ask_agent_tokens(agent).await,
                self.ask_graph(agent).await,
            ];
            let faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
            if !faults.is_empty() {
                return Err(self.story(&format!("agent {agent}: {faults:?}")));
            }
        }
        self.ask_dry_runs().await.map_err(|why| self.story(&why))?;
        self.check_events().await.map_err(|why| self.story(&why))?;
        self.count_rows().await.map_err(|why| self.story(&why))
    }

    /// Wakes all that sleeps and replaces all that can be replaced. What had ended must not come back.
    pub async fn check_nothing_comes_back(&mut self) -> Result<(), String> {
        self.step(&Op::Tenant(true)).await?;
        for agent in 0..self.model.agents.len() {
            for op in [Op::Become(agent, Status::Active), Op::RotateKey(agent), Op::RegisterAgain(agent)] {
                self.step(&op).await?;
            }
        }
        for client in 0..self.model.clients.len() {
            self.step(&Op::ActivateClient(client, true)).await?;
            self.step(&Op::ClientAgain(client)).await?;
        }
        for at in 0..self.tokens.len() {
            self.ask_introspection(at).await.map_err(|why| self.story(&format!("token {at}: {why}")))?;
        }
        Ok(())
    }

    async fn ask_introspection(&self, at: usize) -> Result<(), String> {
        let token = &self.model.tokens[at];
        for server in &self.site.servers {
            let answer = server.introspect(&self.tokens[at]).await;
            same("active at introspection", &answer["active"], &json!(self.model.is_active(at)))?;
            if !self.model.is_active(at) {
                same("an inactive answer", &answer, &json!({ "active": false }))?;
                continue;
            }
            let scope = answer["scope"].as_str().unwrap_or_default().split(' ');
            same("scope", &Scopes::of(scope.filter(|scope| !scope.is_empty())), &token.scopes)?;
            same("exp", &answer["exp"], &json!(token.expires.unix_timestamp()))?;
            same("agent_id", &answer["agent_id"], &json!(self.model.agents[token.holder].id))?;
            same("status", &answer["status"], &json!("active"))?;
        }
        Ok(())
    }

    async fn ask_forward_auth(&self, at: usize) -> Result<(), String> {
        let answer = self.call("GET", "/oauth2/token/verify").bearer(&self.tokens[at]).send().await;
        expect(&answer, if self.model.is_active(at) { &[200] } else { &[401] })
    }

    /// An exchange for a scope that nobody holds issues nothing, and tells whether the subject stood.
    async fn ask_as_subject(&self, at: usize) -> Result<(), String> {
        let token = &self.model.tokens[at];
        let actor = &self.model.agents[token.may_act.unwrap_or(token.holder)];
        let assertion = self.signers[actor.signer].assertion(&actor.uri, self.model.now);
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &self.tokens[at]),
            ("actor_token", &assertion),
            ("scope", "nobody-holds-this"),
        ];
        let answer = self.call("POST", "/oauth2/token").form(&form).send().await;
        let code = if self.model.is_active(at) { "invalid_scope" } else { "invalid_grant" };
        same("the refusal of an exchange", &answer.text_of("error"), &code)
    }

    async fn ask_as_bearer(&self, at: usize) -> Result<(), String> {
        let path = format!("/delegations/by-jti/{}", self.model.tokens[at].jti);
        let answer = self.call("GET", &path).bearer(&self.tokens[at]).send().await;
        // One that is meant for somebody else only is nothing here.
        let ours = self.model.tokens[at].audience.contains(&crate::server::ISSUER);
        expect(&answer, if ours && self.model.is_active(at) { &[200] } else { &[401] })
    }

    /// Whoever reads a chain knows whether it stands: no edge is revoked or over, and every node is active.
    async fn ask_chain(&self, at: usize) -> Result<(), String> {
        let answer =
            self.admin("GET", &format!("/delegations/by-jti/{}", self.model.tokens[at].jti)).send().await;
        expect(&answer, &[200])?;
        let (nodes, edges) = (&answer.body["nodes"], &answer.body["edges"]);
        let mut chain: Vec<&str> = self.model.chain(at).map(|token| token.jti.as_str()).collect();
        chain.reverse();
        let edges: Vec<&Value> = edges.as_array().unwrap().iter().collect();
        same(
            "the chain",
            &edges.iter().map(|edge| edge["jti"].as_str().unwrap()).collect::<Vec<_>>(),
            &chain,
        )?;
        for edge in &edges {
            let token = self.model.tokens.iter().find(|token| edge["jti"] == *token.jti).unwrap();
            let is_revoked = token.ended || !self.model.tenant_active;
            same("is_revoked of an edge", &edge["is_revoked"], &json!(is_revoked))?;
            same("scopes_out", &Scopes::of_json(&edge["scopes_out"]), &token.scopes)?;
            let parent = token.parent.map_or(token.scopes, |parent| self.model.tokens[parent].scopes);
            same("scopes_in", &Scopes::of_json(&edge["scopes_in"]), &parent)?;
        }
        let stands = |edge: &&Value| {
            let expires = edge["expires_at"].as_str().unwrap();
            edge["is_revoked"] == false
                && time::OffsetDateTime::parse(expires, &Rfc3339).unwrap() > self.model.now
        };
        let active = nodes.as_array().unwrap().iter().all(|node| node["status"] == "active");
        same("what a chain tells", &(active && edges.iter().all(stands)), &self.model.is_active(at))
    }

    async fn ask_credentials(&self, agent: usize) -> Result<(), String> {
        let path = format!("/credentials?identity_id={}", self.model.agents[agent].id);
        let answer = self.admin("GET", &path).send().await;
        expect(&answer, &[200])?;
        let held = || self.model.tokens.iter().filter(|token| token.holder == agent);
        same("total", &answer.body["total"], &json!(held().count()))?;
        for row in answer.body["credentials"].as_array().unwrap() {
            let token = held().find(|token| row["jti"] == *token.jti).ok_or("an unknown credential")?;
            same("is_revoked of a credential", &row["is_revoked"], &json!(token.ended))?;
            same("a reason", &row.get("revoke_reason").is_some(), &token.ended)?;
            let expires = token.expires.format(&Rfc3339).unwrap();
            same("expires_at of a credential", &row["expires_at"], &json!(expires))?;
        }
        Ok(())
    }

    async fn ask_agent_tokens(&self, agent: usize) -> Result<(), String> {
        let path = format!("/agents/{}/tokens?limit=200", self.model.agents[agent].id);
        let held = (0..self.tokens.len()).filter(|at| self.model.tokens[*at].holder == agent);
        let meant = |at: usize| (self.model.tokens[at].jti.as_str(), self.model.is_active(at));
        let all: BTreeSet<(&str, bool)> = held.map(meant).collect();
        let standing: BTreeSet<(&str, bool)> = all.iter().copied().filter(|(_, active)| *active).collect();
        for (path, meant) in [(path.clone(), standing), (format!("{path}&include_revoked=true"), all)] {
            let answer = self.admin("GET", &path).send().await;
            expect(&answer, &[200])?;
            let rows = answer.body["data"].as_array().unwrap();
            let shown =
                rows.iter().map(|row| (row["jti"].as_str().unwrap(), row["active"] == true)).collect();
            same(&path, &shown, &meant)?;
        }
        Ok(())
    }

    /// The trees in which an agent holds something, whole: by the graph, and each by its mission.
    async fn ask_graph(&self, agent: usize) -> Result<(), String> {
        let tokens = || (0..self.tokens.len()).map(|at| (self.model.root(at), &self.model.tokens[at]));
        let roots: BTreeSet<usize> =
            tokens().filter(|(_, token)| token.holder == agent).map(|(root, _)| root).collect();
        let ended = |token: &Token| token.ended || !self.model.tenant_active;
        // A graph goes no deeper than ten generations below the root.
        let shown = tokens().filter(|(root, token)| roots.contains(root) && token.depth <= 10);
        let meant: BTreeSet<(&str, bool)> =
            shown.map(|(_, token)| (token.jti.as_str(), ended(token))).collect();
        let path = format!("/delegations/graph?depth=10&identity_id={}", self.model.agents[agent].id);
        let answer = self.admin("GET", &path).send().await;
        expect(&answer, &[200])?;
        let edges = answer.body["edges"].as_array().unwrap().iter();
        let told = edges.map(|edge| (edge["jti"].as_str().unwrap(), edge["is_revoked"] == true)).collect();
        same("the graph", &told, &meant)?;
        for root in roots {
            let path = format!("/credentials?mission_id={}", self.model.tokens[root].jti);
            let answer = self.admin("GET", &path).send().await;
            expect(&answer, &[200])?;
            let rows = answer.body["credentials"].as_array().unwrap().iter();
            let told = rows.map(|row| (row["jti"].as_str().unwrap(), row["is_revoked"] == true)).collect();
            let tree = tokens().filter(|(of, _)| *of == root);
            let meant: BTreeSet<(&str, bool)> =
                tree.map(|(_, token)| (token.jti.as_str(), token.ended)).collect();
            same("the mission", &told, &meant)?;
        }
        Ok(())
    }

    /// What every change that ends would end, of everything there is.
    async fn ask_dry_runs(&self) -> Result<(), String> {
        for (at, agent) in self.model.agents.iter().enumerate() {
            let path = format!("/agents/registry/{}/deactivate", agent.id);
            let deactivated = Status::Deactivated;
            self.rehearse("POST", &path, &Value::Null, |model| model.enter(at, deactivated)).await?;
            let path = format!("/agents/{}/tokens/revoke-all", agent.id);
            self.rehearse("POST", &path, &Value::Null, |model| model.end(|_, token| token.holder == at))
                .await?;
        }
        for (at, client) in self.model.clients.iter().enumerate().filter(|(_, client)| !client.deleted) {
            let path = format!("/oauth/clients/{}/revoke-tokens", client.id);
            let end = |model: &mut crate::model::Model| model.end(|_, token| token.client == Some(at));
            self.rehearse("POST", &path, &Value::Null, end).await?;
        }
        for who in 0..2 {
            let body = json!({ "owner_user_id": owner(who) });
            let end = |model: &mut crate::model::Model| offboarded(model, who).1;
            self.rehearse("POST", "/identities/offboard-by-owner", &body, end).await?;
        }
        Ok(())
    }

    /// Each credential that a mark ended before its time has its one event, and no other has.
    async fn check_events(&self) -> Result<(), String> {
        let app = &self.site.servers[0].app;
        chancery::tokens::worker::announce(app).await.unwrap();
        let told: Vec<String> = sqlx::query_scalar(
            "select subject_id::text from outbox 
             where account_id = $1 and project_id = $2 and event_type = 'credential.revoked'",
        )
        .bind(&self.account)
        .bind(self.project)
        .fetch_all(&app.db)
        .await
        .unwrap();
        same("the number of events", &told.len(), &self.model.marked.len())?;
        same("what events tell of", &told.into_iter().collect(), &self.model.marked)
    }

    /// Nothing was written that was not given out, in the ledger or elsewhere in the account.
    async fn count_rows(&self) -> Result<(), String> {
        let rows: i64 =
            sqlx::query_scalar("select count(*) from credentials where account_id = $1 and project_id = $2")
                .bind(&self.account)
                .bind(self.project)
                .fetch_one(&self.site.servers[0].app.db)
                .await
                .unwrap();
        same("the number of credentials", &rows, &i64::try_from(self.tokens.len()).unwrap())
    }
}
