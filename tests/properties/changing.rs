//! Everything that is not an issuance: what furnishes the world, and what changes the ceilings and the parties in it.

use serde_json::{Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use crate::model::{Agent, Client, Key, KeyState, MayAct, Policy, Rules, TRUST};
use crate::ops::{AgentSpec, Change, ClientSpec, Op};
use crate::scopes::{Ceiling, Grants, Scopes};
use crate::signer::Signer;
use crate::world::{Done, World, expect, place};

impl World<'_> {
    pub async fn change(&mut self, op: &Op) -> Done {
        let (agents, clients) = (self.model.agents.len(), self.model.clients.len());
        let (policies, keys) = (self.model.policies.len(), self.model.keys.len());
        match *op {
            Op::NewPolicy(rules) => self.new_policy(rules).await,
            Op::Register(spec) if policies > 0 => self.register(spec).await,
            Op::RegisterAgain(agent) if agents > 0 => self.register_again(agent % agents).await,
            Op::NewClient(spec) if agents > 0 => self.new_client(spec, None).await,
            Op::ClientAgain(client) if clients > 0 => {
                let known = &self.model.clients[client % clients];
                let (agent, scopes, grants, ttl) = (known.agent, known.scopes, known.grants, known.ttl);
                let client_id = known.name.clone();
                self.new_client(ClientSpec { agent, scopes, grants, ttl }, Some(client_id)).await
            }
            Op::NewKey { agent, policy, scopes } if agents > 0 => {
                self.new_key(agent % agents, policy.map(|policy| policy % policies), scopes).await
            }
            Op::KeyEnds { key, seconds } if keys > 0 => self.key_ends(key % keys, seconds).await,
            Op::RotateKey(agent) if agents > 0 => self.rotate_key(agent % agents).await,
            Op::RotateSecret { client, overlap } if clients > 0 => {
                self.rotate_secret(client % clients, overlap).await
            }
            Op::ChangeClient { client, scopes, grants } if clients > 0 => {
                self.change_client(client % clients, scopes, grants).await
            }
            Op::NewSigner(agent) if agents > 0 => self.new_signer(agent % agents).await,
            Op::Trust(agent, level) if agents > 0 => {
                self.model.agents[agent % agents].trust = level;
                self.patch_agent(agent % agents, json!({ "trust_level": TRUST[level] })).await
            }
            Op::Allow(agent, ceiling) if agents > 0 => self.allow(agent % agents, ceiling).await,
            Op::Move(agent, policy) if agents > 0 => self.put_under(agent % agents, policy % policies).await,
            Op::ChangePolicy(policy, change) if policies > 0 => {
                self.change_policy(policy % policies, change).await
            }
            Op::MayAct { actor, principal, hops, scopes } if agents > 0 => {
                self.may_act(actor % agents, principal % agents, hops, scopes).await
            }
            Op::MayNotAct(grant) => self.may_not_act(grant).await,
            Op::MeetEnd(token, before) => {
                let Some(at) = self.token(token) else { return Ok("nothing to do".to_owned()) };
                let end = self.model.tokens[at].expires - Duration::microseconds(i64::from(before));
                self.advance((end - self.model.now).max(Duration::ZERO));
                Ok(format!("{}, for token {at}", self.model.now))
            }
            Op::Advance(seconds) => {
                self.advance(Duration::seconds(seconds));
                Ok(self.model.now.to_string())
            }
            _ => self.end(op).await,
        }
    }

    /// Nothing new is made in a tenant that is suspended.
    fn made(&self) -> &'static [u16] {
        if self.model.tenant_active { &[201] } else { &[403] }
    }

    async fn new_policy(&mut self, rules: Rules) -> Done {
        let names = (self.model.policies.len(), Scopes::json);
        let body = json!({
            "name": format!("policy-{}", names.0), "max_ttl_seconds": rules.ttl,
            "allowed_grant_types": rules.grants.names(), "allowed_scopes": rules.scopes.map(names.1),
            "required_trust_level": TRUST[rules.trust], "max_delegation_depth": rules.depth,
            "is_active": rules.active,
        });
        let answer = self.admin("POST", "/credential-policies").json(body).send().await;
        expect(&answer, self.made())?;
        if answer.status == 201 {
            self.model.policies.push(Policy { id: answer.text_of("id").to_owned(), rules, ends: None });
        }
        Ok(answer.status.to_string())
    }

    async fn register(&mut self, spec: AgentSpec) -> Done {
        let policies = self.model.policies.len();
        let (policy, key_policy) = (spec.policy % policies, spec.key_policy.map(|policy| policy % policies));
        let external_id = format!("agent-{}", self.model.agents.len());
        let signer = Signer::new();
        let ends = spec.ends.map(|seconds| self.model.now + Duration::seconds(seconds));
        let body = json!({
            "name": external_id, "external_id": external_id, "created_by": owner(spec.owner),
            "trust_level": TRUST[spec.trust], "public_key_pem": signer.pem(),
            "allowed_scopes": spec.allowed.unwrap_or_default().json(),
            "credential_policy_id": self.model.policies[policy].id,
            "api_key_credential_policy_id": key_policy.map(|policy| &self.model.policies[policy].id),
            "expires_at": ends.map(|end| end.format(&Rfc3339).unwrap()),
        });
        let answer = self.admin("POST", "/agents/register").json(body).send().await;
        if !key_policy.is_none_or(|key| self.model.is_subset(key, policy)) {
            expect(&answer, if self.model.tenant_active { &[400] } else { &[400, 403] })?;
            return Ok("the key's policy is too broad".to_owned());
        }
        expect(&answer, self.made())?;
        if answer.status == 201 {
            let text = |member: &str| answer.body["identity"][member].as_str().unwrap().to_owned();
            let agent = self.model.agents.len();
            self.model.agents.push(Agent {
                id: text("id"),
                external_id,
                uri: text("wimse_uri"),
                owner: spec.owner,
                status: crate::model::Status::Active,
                allowed: spec.allowed,
                trust: spec.trust,
                policy,
                ends,
                signer: self.signers.len(),
            });
            self.signers.push(signer);
            let policy = key_policy.unwrap_or(policy);
            let id = self.newest_key_id(agent).await?;
            let state = KeyState::Live;
            self.model.keys.push(Key { id, agent, scopes: None, policy, ends, state });
            self.keys.push(answer.text_of("api_key").to_owned());
        }
        Ok(answer.status.to_string())
    }

    /// The id of the key that was made just now, which the answer does not tell.
    async fn newest_key_id(&self, agent: usize) -> Result<String, String> {
        let path = format!("/api-keys?state=active&limit=100&application_id={}", self.model.agents[agent].id);
        let answer = self.admin("GET", &path).send().await;
        expect(&answer, &[200])?;
        let known = |id: &str| self.model.keys.iter().any(|key| key.id == id);
        let ids = answer.body["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap());
        let mut new = ids.filter(|id| !known(id));
        new.next().map(str::to_owned).ok_or_else(|| format!("no new key is shown: {}", answer.text))
    }

    /// An external id is never freed, whatever became of its agent.
    async fn register_again(&mut self, agent: usize) -> Done {
        let body = json!({
            "name": "again", "external_id": self.model.agents[agent].external_id, "created_by": owner(0),
        });
        let answer = self.admin("POST", "/agents/register").json(body).send().await;
        expect(&answer, if self.model.tenant_active { &[409] } else { &[403, 409] })?;
        Ok(answer.status.to_string())
    }

    async fn new_client(&mut self, spec: ClientSpec, again: Option<String>) -> Done {
        let agent = spec.agent % self.model.agents.len();
        let new = format!("{}-{}-{}", self.account, self.project, self.model.clients.len());
        let taken =
            self.model.clients.iter().any(|known| !known.deleted && again.as_ref() == Some(&known.name));
        let client_id = again.unwrap_or(new);
        let body = json!({
            "client_id": client_id, "name": client_id, "confidential": true, "scopes": spec.scopes.json(),
            "identity_id": self.model.agents[agent].id, "grant_types": spec.grants.names(),
            "access_token_ttl": spec.ttl,
        });
        let answer = self.admin("POST", "/oauth/clients").json(body).send().await;
        expect(&answer, if taken { &[403, 409] } else { self.made() })?;
        if answer.status == 201 {
            self.model.clients.push(Client {
                id: answer.body["client"]["id"].as_str().unwrap().to_owned(),
                name: client_id,
                agent,
                scopes: spec.scopes,
                grants: spec.grants,
                ttl: spec.ttl,
                active: true,
                deleted: false,
                secret: self.secrets.len(),
                old_secret: None,
            });
            self.secrets.push(answer.text_of("client_secret").to_owned());
        }
        Ok(answer.status.to_string())
    }

    async fn new_key(&mut self, agent: usize, policy: Option<usize>, scopes: Ceiling) -> Done {
        self.advance(Duration::MILLISECOND);
        let known = &self.model.agents[agent];
        let over = known.policy;
        let policy = policy.unwrap_or(over);
        let body = json!({
            "name": "further", "identity_id": known.id, "scopes": scopes.unwrap_or_default().json(),
            "credential_policy_id": self.model.policies[policy].id,
        });
        let ends = known.ends;
        let dead = matches!(known.status, crate::model::Status::Deactivated | crate::model::Status::Expired);
        let answer = self.admin("POST", "/api-keys").json(body).send().await;
        if dead || self.model.is_past(ends) || !self.model.is_subset(policy, over) {
            expect(&answer, if self.model.tenant_active { &[400] } else { &[400, 403] })?;
            return Ok(answer.status.to_string());
        }
        expect(&answer, self.made())?;
        if answer.status == 201 {
            let id = answer.text_of("id").to_owned();
            self.model.keys.push(Key { id, agent, scopes, policy, ends, state: KeyState::Live });
            self.keys.push(answer.text_of("key").to_owned());
        }
        Ok(answer.status.to_string())
    }

    /// No route sets an end closer than a day.
    async fn key_ends(&mut self, key: usize, seconds: i64) -> Done {
        let end = self.model.now + Duration::seconds(seconds);
        let end = self.model.keys[key].ends.map_or(end, |known| known.min(end));
        let (id, text) = (self.model.keys[key].id.clone(), end.format(&Rfc3339).unwrap());
        let statement = "update api_keys set expires_at = $4::text::timestamptz
             where account_id = $1 and project_id = $2 and id = $3::text::uuid";
        self.sql(statement, &[&id, &text]).await;
        self.model.keys[key].ends = Some(end);
        Ok(text)
    }

    async fn rotate_key(&mut self, agent: usize) -> Done {
        self.advance(Duration::MILLISECOND);
        let path = format!("/agents/registry/{}/rotate-key", self.model.agents[agent].id);
        let answer = self.admin("POST", &path).send().await;
        if !self.model.is_usable(agent) {
            expect(&answer, &[400])?;
            return Ok("it is not usable".to_owned());
        }
        expect(&answer, &[200])?;
        let kept = self.model.newest_key(agent).unwrap();
        let (scopes, policy, ends) = (kept.scopes, kept.policy, self.model.agents[agent].ends);
        for key in self.model.keys.iter_mut().filter(|key| key.agent == agent && key.state == KeyState::Live)
        {
            key.state = KeyState::Replaced;
        }
        let id = self.newest_key_id(agent).await?;
        self.model.keys.push(Key { id, agent, scopes, policy, ends, state: KeyState::Live });
        self.keys.push(answer.text_of("api_key").to_owned());
        Ok("a new key".to_owned())
    }

    async fn rotate_secret(&mut self, client: usize, overlap: i64) -> Done {
        let path = format!("/oauth/clients/{}/rotate-secret", self.model.clients[client].id);
        let body = json!({ "overlap_seconds": overlap });
        let answer = self.admin("POST", &path).json(body).send().await;
        if self.model.clients[client].deleted {
            expect(&answer, &[404])?;
            return Ok("it is deleted".to_owned());
        }
        expect(&answer, &[200])?;
        let until = self.model.now + Duration::seconds(overlap);
        let known = &mut self.model.clients[client];
        known.old_secret = Some((known.secret, until)).filter(|_| overlap > 0);
        known.secret = self.secrets.len();
        self.secrets.push(answer.text_of("client_secret").to_owned());
        Ok("a new secret".to_owned())
    }

    async fn change_client(&mut self, client: usize, scopes: Scopes, grants: Grants) -> Done {
        let body = json!({ "scopes": scopes.json(), "grant_types": grants.names() });
        let done = self.patch_client(client, body).await?;
        let known = &mut self.model.clients[client];
        if !known.deleted {
            (known.scopes, known.grants) = (scopes, grants);
        }
        Ok(done)
    }

    async fn new_signer(&mut self, agent: usize) -> Done {
        let signer = Signer::new();
        self.model.agents[agent].signer = self.signers.len();
        let done = self.patch_agent(agent, json!({ "public_key_pem": signer.pem() })).await;
        self.signers.push(signer);
        done
    }

    pub async fn patch_client(&self, client: usize, body: Value) -> Done {
        let path = format!("/oauth/clients/{}", self.model.clients[client].id);
        let answer = self.admin("PATCH", &path).json(body).send().await;
        expect(&answer, if self.model.clients[client].deleted { &[404] } else { &[200] })?;
        Ok(answer.status.to_string())
    }

    async fn patch_agent(&self, agent: usize, body: Value) -> Done {
        let path = format!("/agents/registry/{}", self.model.agents[agent].id);
        let answer = self.admin("PATCH", &path).json(body).send().await;
        expect(&answer, &[200])?;
        Ok("changed".to_owned())
    }

    /// No route changes an agent's own ceiling.
    async fn allow(&mut self, agent: usize, ceiling: Ceiling) -> Done {
        self.model.agents[agent].allowed = ceiling;
        let id = self.model.agents[agent].id.clone();
        let scopes = ceiling.unwrap_or_default().joined();
        let statement = "update identities set allowed_scopes = string_to_array($4, ' ')
             where account_id = $1 and project_id = $2 and id = $3::text::uuid";
        self.sql(statement, &[&id, &scopes]).await;
        Ok("changed".to_owned())
    }

    /// No route puts an agent under another policy.
    async fn put_under(&mut self, agent: usize, policy: usize) -> Done {
        self.model.agents[agent].policy = policy;
        let (id, policy) = (self.model.agents[agent].id.clone(), self.model.policies[policy].id.clone());
        let statement = "update identities set credential_policy_id = $4::text::uuid
             where account_id = $1 and project_id = $2 and id = $3::text::uuid";
        self.sql(statement, &[&id, &policy]).await;
        Ok("changed".to_owned())
    }

    async fn change_policy(&mut self, policy: usize, change: Change) -> Done {
        let known = &mut self.model.policies[policy];
        let rules = &mut known.rules;
        let body = match change {
            Change::Ttl(ttl) => {
                rules.ttl = ttl;
                json!({ "max_ttl_seconds": ttl })
            }
            Change::Grants(grants) => {
                rules.grants = grants;
                json!({ "allowed_grant_types": grants.names() })
            }
            Change::Scopes(scopes) => {
                rules.scopes = scopes;
                json!({ "allowed_scopes": scopes.unwrap_or_default().json() })
            }
            Change::Depth(depth) => {
                rules.depth = depth;
                json!({ "max_delegation_depth": depth })
            }
            Change::Trust(trust) => {
                rules.trust = trust;
                json!({ "required_trust_level": TRUST[trust] })
            }
            Change::Ends(seconds) => {
                let end = self.model.now + Duration::seconds(seconds);
                known.ends = Some(end);
                json!({ "expires_at": end.format(&Rfc3339).unwrap() })
            }
            Change::Active(active) => {
                rules.active = active;
                json!({ "is_active": active })
            }
        };
        let path = format!("/credential-policies/{}", self.model.policies[policy].id);
        expect(&self.admin("PATCH", &path).json(body).send().await, &[200])?;
        Ok("changed".to_owned())
    }

    async fn may_act(&mut self, actor: usize, principal: usize, hops: usize, scopes: Ceiling) -> Done {
        self.advance(Duration::MILLISECOND);
        let body = json!({
            "from_id": self.model.agents[actor].id, "to_id": self.model.agents[principal].uri, "max_hops": hops,
            "scopes": scopes.unwrap_or_default().json(),
        });
        let answer = self.admin("POST", "/admin/may-act").json(body).send().await;
        expect(&answer, self.made())?;
        if answer.status == 201 {
            let id = answer.text_of("id").to_owned();
            self.model.may_acts.push(MayAct { id, actor, principal, hops, scopes, live: true });
        }
        Ok(answer.status.to_string())
    }

    async fn may_not_act(&mut self, grant: usize) -> Done {
        let Some(grant) = place(grant, self.model.may_acts.len()) else { return Ok("nothing to do".into()) };
        let path = format!("/admin/may-act/{}", self.model.may_acts[grant].id);
        expect(&self.admin("DELETE", &path).send().await, &[200])?;
        self.model.may_acts[grant].live = false;
        Ok("taken back".to_owned())
    }
}

/// The people who answer for agents.
pub fn owner(number: usize) -> String {
    format!("owner-{number}@company.example")
}
