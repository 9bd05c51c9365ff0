//! What ends tokens, for good or for a while, with the counts that the answers promise and the dry runs before them.

use std::collections::BTreeSet;

use chancery::keys::State;
use serde_json::{Value, json};
use time::Duration;

use crate::changing::owner;
use crate::model::{KeyState, Model, Status};
use crate::ops::{Op, Pick};
use crate::world::{Done, World, expect, same, words};

impl World<'_> {
    pub async fn end(&mut self, op: &Op) -> Done {
        let (agents, clients) = (self.model.agents.len(), self.model.clients.len());
        match *op {
            Op::RevokeToken(token) => self.revoke_token(token).await,
            Op::RevokeCredential(token) => self.revoke_credential(token).await,
            Op::RevokeKey(key) => self.revoke_key(key).await,
            Op::ActivateClient(client, on) if clients > 0 => self.activate_client(client % clients, on).await,
            Op::RevokeClientTokens(client) if clients > 0 => {
                self.revoke_client_tokens(client % clients).await
            }
            Op::RevokeByPattern(all) if clients > 0 => self.revoke_by_pattern(all).await,
            Op::DeleteClient(client) if clients > 0 => self.delete_client(client % clients).await,
            Op::RevokeAgentTokens(agent) if agents > 0 => self.revoke_agent_tokens(agent % agents).await,
            Op::Offboard(who) => self.offboard(who).await,
            Op::Become(agent, status) if agents > 0 => self.become_(agent % agents, status).await,
            Op::Delete(agent) if agents > 0 => self.delete(agent % agents).await,
            Op::Tenant(active) if agents > 0 => {
                let state = if active { "active" } else { "suspended" };
                let statement = "update tenants set state = $3 where account_id = $1 and project_id = $2";
                self.sql(statement, &[state]).await;
                self.model.tenant_active = active;
                Ok(state.to_owned())
            }
            Op::Expire => {
                chancery::agents::worker::expire(&self.site.servers[0].app).await.unwrap();
                for agent in 0..agents {
                    let known = &self.model.agents[agent];
                    let awake = matches!(known.status, Status::Active | Status::Suspended);
                    if awake && self.model.is_past(known.ends) {
                        self.model.enter(agent, Status::Expired);
                    }
                }
                Ok("agents past their end are expired".to_owned())
            }
            Op::Announce => {
                chancery::tokens::worker::announce(&self.site.servers[1].app).await.unwrap();
                Ok(format!("{} were ended", self.model.marked.len()))
            }
            Op::RevokeSigningKey => self.revoke_signing_key().await,
            _ => Ok("nothing to do".to_owned()),
        }
    }

    /// A leaked key: the next one takes over at once, and every server reads the keys again.
    async fn revoke_signing_key(&mut self) -> Done {
        self.advance(Duration::MILLISECOND);
        let app = &self.site.servers[0].app;
        let keys = chancery::keys::list(&app.db, self.model.now).await.unwrap();
        let active = keys.iter().find(|key| key.state == State::Active).unwrap();
        chancery::keys::revoke(&app.db, &app.config, &app.keys, &active.kid, self.model.now).await.unwrap();
        for server in &self.site.servers {
            server.app.keys.refresh(&server.app.db, self.model.now).await.unwrap();
        }
        self.site.leaked.borrow_mut().insert(active.kid.clone());
        self.follow();
        self.advance(Duration::MILLISECOND);
        Ok(format!("{} is revoked", active.kid))
    }

    /// By whoever holds it (RFC 7009): always 200, also of a dead one.
    async fn revoke_token(&mut self, token: Pick) -> Done {
        let Some(at) = self.token(token) else { return Ok("nothing to do".to_owned()) };
        let text = self.tokens[at].clone();
        let answer = self.call("POST", "/oauth2/token/revoke").form(&[("token", &text)]).send().await;
        expect(&answer, &[200])?;
        Ok(format!("token {at} ended {}", self.model.end(|token, _| token == at).len()))
    }

    /// By an administrator: one that is over is not found.
    async fn revoke_credential(&mut self, token: Pick) -> Done {
        let Some(at) = self.token(token) else { return Ok("nothing to do".to_owned()) };
        let known = &self.model.tokens[at];
        let path = format!("/credentials/{}/revoke", known.jti);
        if known.ended || known.expires <= self.model.now {
            expect(&self.admin("POST", &path).send().await, &[404])?;
            return Ok(format!("token {at} is over"));
        }
        let end = |model: &mut Model| model.end(|token, _| token == at);
        self.rehearse("POST", &path, &Value::Null, end).await?;
        expect(&self.admin("POST", &path).send().await, &[200])?;
        Ok(format!("token {at} ended {}", end(&mut self.model).len()))
    }

    async fn revoke_key(&mut self, key: Pick) -> Done {
        let Some(at) = self.key(key) else { return Ok("nothing to do".to_owned()) };
        let known = &mut self.model.keys[at];
        let before = std::mem::replace(&mut known.state, KeyState::Revoked);
        let path = format!("/api-keys/{}/revoke", known.id);
        let answer = self.admin("POST", &path).send().await;
        expect(&answer, if before == KeyState::Revoked { &[404] } else { &[200] })?;
        Ok(format!("key {at} ended {}", self.model.end(|_, token| token.key == Some(at)).len()))
    }

    async fn activate_client(&mut self, client: usize, on: bool) -> Done {
        self.patch_client(client, json!({ "is_active": on })).await?;
        if self.model.clients[client].deleted {
            return Ok("it is deleted".to_owned());
        }
        let was = std::mem::replace(&mut self.model.clients[client].active, on);
        if was && !on {
            self.model.end(|_, token| token.client == Some(client));
        }
        Ok("changed".to_owned())
    }

    async fn revoke_client_tokens(&mut self, client: usize) -> Done {
        let path = format!("/oauth/clients/{}/revoke-tokens", self.model.clients[client].id);
        if self.model.clients[client].deleted {
            expect(&self.admin("POST", &path).send().await, &[404])?;
            return Ok("it is deleted".to_owned());
        }
        let end = |model: &mut Model| model.end(|_, token| token.client == Some(client));
        self.rehearse("POST", &path, &Value::Null, end).await?;
        let answer = self.admin("POST", &path).send().await;
        expect(&answer, &[200])?;
        let ended = end(&mut self.model);
        same("revoked_count", &answer.body["revoked_count"], &json!(ended.len()))?;
        Ok(format!("ended {}", ended.len()))
    }

    async fn revoke_by_pattern(&mut self, all: bool) -> Done {
        let pattern = format!("{}-{}", self.account, if all { "*" } else { "*[0-1]" });
        let clients = self.model.clients.iter();
        let meant = |id: &str| all || id.ends_with("-0") || id.ends_with("-1");
        let matching: Vec<bool> = clients.map(|client| !client.deleted && meant(&client.name)).collect();
        let end =
            |model: &mut Model| model.end(|_, token| token.client.is_some_and(|client| matching[client]));
        let (path, body) = ("/admin/oauth/revoke-by-pattern", json!({ "client_id_pattern": pattern }));
        self.rehearse("POST", path, &body, end).await?;
        let answer = self.admin("POST", path).json(body).send().await;
        expect(&answer, &[200])?;
        let ended = end(&mut self.model);
        same("revoked_count", &answer.body["revoked_count"], &json!(ended.len()))?;
        Ok(format!("ended {}", ended.len()))
    }

    async fn delete_client(&mut self, client: usize) -> Done {
        let path = format!("/oauth/clients/{}", self.model.clients[client].id);
        if self.model.clients[client].deleted {
            expect(&self.admin("DELETE", &path).send().await, &[404])?;
            return Ok("it is deleted".to_owned());
        }
        let end = |model: &mut Model| model.end(|_, token| token.client == Some(client));
        self.rehearse("DELETE", &path, &Value::Null, end).await?;
        expect(&self.admin("DELETE", &path).send().await, &[200])?;
        self.model.clients[client].deleted = true;
        Ok(format!("ended {}", end(&mut self.model).len()))
    }

    async fn revoke_agent_tokens(&mut self, agent: usize) -> Done {
        let path = format!("/agents/{}/tokens/revoke-all", self.model.agents[agent].id);
        self.rehearse("POST", &path, &Value::Null, |model| model.end(|_, token| token.holder == agent))
            .await?;
        let answer = self.admin("POST", &path).send().await;
        expect(&answer, &[200])?;
        let ended = self.model.end(|_, token| token.holder == agent);
        same("revoked_count", &answer.body["revoked_count"], &json!(ended.len()))?;
        Ok(format!("ended {}", ended.len()))
    }

    async fn offboard(&mut self, who: usize) -> Done {
        let path = "/identities/offboard-by-owner";
        let body = json!({ "owner_user_id": owner(who) });
        self.rehearse("POST", path, &body, |model| offboarded(model, who).1).await?;
        let answer = self.admin("POST", path).json(&body).send().await;
        expect(&answer, &[200])?;
        let (agents, ended) = offboarded(&mut self.model, who);
        same("identities_deactivated", &answer.body["identities_deactivated"], &json!(agents))?;
        same("credentials_revoked", &answer.body["credentials_revoked"], &json!(ended.len()))?;
        Ok(format!("{agents} agents, ended {}", ended.len()))
    }

    async fn become_(&mut self, agent: usize, status: Status) -> Done {
        let id = self.model.agents[agent].id.clone();
        let route = match status {
            Status::Active => Some("activate"),
            Status::Deactivated => Some("deactivate"),
            _ => None,
        };
        if status == Status::Deactivated {
            let path = format!("/agents/registry/{id}/deactivate");
            self.rehearse("POST", &path, &Value::Null, |model| model.enter(agent, status)).await?;
        }
        // Where a route of its own goes there too, one of both is taken.
        let by_route = route.filter(|_| self.model.tokens.len().is_multiple_of(2));
        let answer = match by_route {
            Some(route) => self.admin("POST", &format!("/agents/registry/{id}/{route}")).send().await,
            None => {
                let body = json!({ "status": status.name() });
                self.admin("PATCH", &format!("/agents/registry/{id}")).json(body).send().await
            }
        };
        let before = self.model.agents[agent].status;
        if !before.may_become(status) {
            expect(&answer, &[400])?;
            return Ok(format!("refused from {before:?}"));
        }
        expect(&answer, &[200])?;
        let ended = self.model.enter(agent, status);
        Ok(format!("from {before:?}, ended {}", ended.len()))
    }

    async fn delete(&mut self, agent: usize) -> Done {
        let path = format!("/agents/registry/{}", self.model.agents[agent].id);
        let status = Status::Deactivated;
        self.rehearse("DELETE", &path, &Value::Null, |model| model.enter(agent, status)).await?;
        expect(&self.admin("DELETE", &path).send().await, &[200])?;
        Ok(format!("ended {}", self.model.enter(agent, status).len()))
    }

    /// Asks what a change would end: exactly what the model says, and nothing changes.
    pub async fn rehearse(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        change: impl FnOnce(&mut Model) -> BTreeSet<String>,
    ) -> Result<(), String> {
        let call = self.admin(method, &format!("{path}?dry_run=true"));
        let call = if body.is_null() { call } else { call.json(body) };
        let answer = call.send().await;
        expect(&answer, &[200])?;
        let named: BTreeSet<String> = words(&answer.body["jtis"]).into_iter().map(str::to_owned).collect();
        same("what the dry run names", &named, &change(&mut self.model.clone()))?;
        same("revoked_count of the dry run", &answer.body["revoked_count"], &json!(named.len()))
    }
}

/// All that a person answers for is deactivated: how many agents, and which credentials that ends.
pub fn offboarded(model: &mut Model, who: usize) -> (usize, BTreeSet<String>) {
    let of_owner = |at: &usize| {
        let agent = &model.agents[*at];
        agent.owner == who && agent.status != Status::Deactivated
    };
    let agents: Vec<usize> = (0..model.agents.len()).filter(of_owner).collect();
    let ended = agents.iter().flat_map(|agent| model.enter(*agent, Status::Deactivated)).collect();
    (agents.len(), ended)
}
