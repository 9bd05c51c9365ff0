//! Every way to a token: the request, what the model says of it, and whether the answer is that.

use serde_json::{Value, json};

use crate::model::{Key, KeyState, Token};
use crate::ops::{Actor, Op, Pick};
use crate::rules::{Reasons, Wish};
use crate::scopes::{Grant, Scopes};
use crate::server::{Answer, ISSUER};
use crate::world::{Done, World, expect, part, place, same, words};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The audiences that are asked for beside the server's own.
const AUDIENCES: [&str; 2] = ["one", "two"];

/// Nobody is there for the operation.
const NOTHING: &str = "nothing to do";

type Form = Vec<(&'static str, String)>;

impl World<'_> {
    pub async fn issue(&mut self, op: &Op) -> Done {
        match *op {
            Op::ByKey { key, client, scopes } => self.by_key(key, client, scopes).await,
            Op::ByClient { client, old_secret, scopes } => self.by_client(client, old_secret, scopes).await,
            Op::BySignature { agent, old_key, client, scopes } => {
                self.by_signature(agent, old_key, client, scopes).await
            }
            Op::Issue { .. } => self.by_admin(op).await,
            Op::Exchange { subject, actor, scopes, audience } => {
                self.exchange(subject, actor, scopes, audience).await
            }
            Op::RotateCredential(token) => self.rotate(token).await,
            _ => Ok(NOTHING.to_owned()),
        }
    }

    async fn by_key(&mut self, key: Pick, client: Option<usize>, scopes: Scopes) -> Done {
        let Some(key) = self.key(key) else { return Ok(NOTHING.to_owned()) };
        let known = &self.model.keys[key];
        let mut wish = Wish::new(Grant::ApiKey, known.agent, scopes);
        wish.key = Some(key);
        if known.state != KeyState::Live || self.model.is_past(known.ends) {
            wish.reasons.insert("invalid_grant");
        }
        let form = vec![("grant_type", "api_key".to_owned()), ("api_key", self.keys[key].clone())];
        let form = self.beside(client, form, &mut wish);
        self.ask(&wish, form).await
    }

    async fn by_client(&mut self, client: Pick, old_secret: bool, scopes: Scopes) -> Done {
        let Some(client) = self.client(client) else { return Ok(NOTHING.to_owned()) };
        let known = &self.model.clients[client];
        let mut wish = Wish::new(Grant::ClientCredentials, known.agent, scopes);
        let secret = known.old_secret.filter(|_| old_secret).map_or(known.secret, |(old, _)| old);
        wish.client = Some(client);
        wish.reasons = self.model.client_reasons(client, secret, wish.grant);
        if known.scopes.is_empty() {
            wish.reasons.insert("invalid_scope");
        }
        let form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", known.name.clone()),
            ("client_secret", self.secrets[secret].clone()),
        ];
        self.ask(&wish, form).await
    }

    async fn by_signature(
        &mut self,
        agent: Pick,
        old_key: bool,
        client: Option<usize>,
        scopes: Scopes,
    ) -> Done {
        let Some(agent) = self.agent(agent) else { return Ok(NOTHING.to_owned()) };
        let mut wish = Wish::new(Grant::JwtBearer, agent, scopes);
        let signer = self.model.agents[agent].signer;
        // Any other agent's key is as wrong as the agent's own former one.
        let signer = if old_key { signer.saturating_sub(1) } else { signer };
        if signer != self.model.agents[agent].signer {
            wish.reasons.insert("invalid_grant");
        }
        let assertion = self.signers[signer].assertion(&self.model.agents[agent].uri, self.model.now);
        let form = vec![("grant_type", JWT_BEARER.to_owned()), ("assertion", assertion)];
        let form = self.beside(client, form, &mut wish);
        self.ask(&wish, form).await
    }

    async fn exchange(
        &mut self,
        subject: Pick,
        actor: Actor,
        scopes: Scopes,
        audience: Option<usize>,
    ) -> Done {
        let Some(subject) = self.token(subject) else { return Ok(NOTHING.to_owned()) };
        let Some((client, agent)) = self.parties(actor, subject) else { return Ok(NOTHING.to_owned()) };
        let signs = !matches!(actor, Actor::Client(_));
        let mut wish = Wish::new(Grant::TokenExchange, agent, scopes);
        wish.parent = Some(subject);
        wish.audience.clone_from(&self.model.tokens[subject].audience);
        let mut form =
            vec![("grant_type", TOKEN_EXCHANGE.to_owned()), ("subject_token", self.tokens[subject].clone())];
        if !self.model.is_active(subject) {
            wish.reasons.insert("invalid_grant");
        }
        if let Some(audience) = audience.map(|at| [ISSUER, AUDIENCES[0], AUDIENCES[1]][at % 3]) {
            if !wish.audience.contains(&audience) {
                wish.reasons.insert("invalid_target");
            }
            wish.audience = vec![audience];
            form.push(("audience", audience.to_owned()));
        }
        if signs {
            let known = &self.model.agents[agent];
            form.push(("actor_token", self.signers[known.signer].assertion(&known.uri, self.model.now)));
        }
        if client.is_some_and(|client| self.model.clients[client].agent != agent) {
            wish.reasons.insert("invalid_request");
        }
        match self.model.right(agent, client, subject, signs) {
            Some(ceiling) => wish.within = ceiling,
            None => drop(wish.reasons.insert("access_denied")),
        }
        let form = self.beside(client, form, &mut wish);
        self.ask(&wish, form).await
    }

    /// The client that authenticates, if one does, and the agent that acts.
    fn parties(&self, actor: Actor, subject: usize) -> Option<(Option<usize>, usize)> {
        let own = |client: usize| (Some(client), self.model.clients[client].agent);
        match actor {
            Actor::Agent(pick) => Some((None, self.agent(pick)?)),
            Actor::Holder => Some((None, self.model.tokens[subject].holder)),
            Actor::Client(pick) | Actor::Both(pick) => self.client(pick).map(own),
            Actor::Mixed(pick, agent) => {
                Some((Some(self.client(pick)?), place(agent, self.model.agents.len())?))
            }
        }
    }

    /// Adds a client that authenticates beside the grant.
    fn beside(&self, client: Option<usize>, mut form: Form, wish: &mut Wish) -> Form {
        let Some(client) = client.and_then(|client| place(client, self.model.clients.len())) else {
            return form;
        };
        let known = &self.model.clients[client];
        wish.client = Some(client);
        wish.reasons.extend(self.model.client_reasons(client, known.secret, wish.grant));
        form.push(("client_id", known.name.clone()));
        form.push(("client_secret", self.secrets[known.secret].clone()));
        form
    }

    /// Asks at the token endpoint.
    async fn ask(&mut self, wish: &Wish, mut form: Form) -> Done {
        form.push(("scope", wish.scopes.joined()));
        let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.call("POST", "/oauth2/token").form(&pairs).send().await;
        match self.model.judge(wish) {
            Ok(token) => {
                expect(&answer, &[200])?;
                let given = answer.body.clone();
                self.given(wish, &token, &given)
            }
            Err(reasons) => refused(&answer, &reasons),
        }
    }

    async fn by_admin(&mut self, op: &Op) -> Done {
        let Op::Issue { agent, grant, seconds, scopes, audience, may_act } = *op else {
            return Ok(NOTHING.to_owned());
        };
        let Some(agent) = self.agent(agent) else { return Ok(NOTHING.to_owned()) };
        let mut wish = Wish::new(grant, agent, scopes);
        wish.seconds = Some(seconds).filter(|seconds| *seconds > 0);
        wish.may_act = may_act.map(|agent| agent % self.model.agents.len());
        let named = &AUDIENCES[..audience];
        if !named.is_empty() {
            wish.audience = named.to_vec();
        }
        let body = json!({
            "identity_id": self.model.agents[agent].id, "scopes": scopes.json(), "ttl_seconds": seconds,
            "grant_type": grant.name(), "audience": named,
            "may_act": wish.may_act.map(|agent| json!({ "sub": self.model.agents[agent].uri })),
        });
        let answer = self.admin("POST", "/credentials/issue").json(body).send().await;
        self.by_hand(&wish, &answer)
    }

    async fn rotate(&mut self, token: Pick) -> Done {
        let Some(at) = self.token(token) else { return Ok(NOTHING.to_owned()) };
        let old = self.model.tokens[at].clone();
        let mut wish = Wish::new(old.grant, old.holder, old.scopes);
        wish.seconds = Some((old.expires - old.issued).whole_seconds());
        wish.audience.clone_from(&old.audience);
        (wish.key, wish.client) = (old.key, old.client);
        // One without scopes stays without.
        wish.within = Some(old.scopes).filter(|scopes| scopes.is_empty());
        let key = old.key.map(|key| &self.model.keys[key]);
        let mints = |key: &Key| key.state == KeyState::Live && !self.model.is_past(key.ends);
        if old.parent.is_some() || !self.model.is_active(at) || !key.is_none_or(mints) {
            wish.reasons.insert("conflict");
        }
        if old.client.is_some_and(|client| !self.model.clients[client].grants.contains(old.grant)) {
            wish.reasons.insert("unauthorized_client");
        }
        let answer = self.admin("POST", &format!("/credentials/{}/rotate", old.jti)).send().await;
        let before = self.tokens.len();
        let done = self.by_hand(&wish, &answer)?;
        if self.tokens.len() > before {
            self.model.end(|token, _| token == at);
        }
        Ok(done)
    }

    /// The answer of an administrative route.
    fn by_hand(&mut self, wish: &Wish, answer: &Answer) -> Done {
        match self.model.judge(wish) {
            Ok(token) => {
                expect(answer, &[201])?;
                same("grant_type", &answer.body["credential"]["grant_type"], &json!(wish.grant.name()))?;
                same("is_revoked", &answer.body["credential"]["is_revoked"], &json!(false))?;
                self.given(wish, &token, &answer.body["token"])
            }
            Err(reasons) => {
                let status = |reason: &&str| match *reason {
                    "policy_violation" => 403,
                    "conflict" => 409,
                    _ => 400,
                };
                expect(answer, &reasons.iter().map(status).collect::<Vec<_>>())?;
                Ok(format!("refused with {}", answer.status))
            }
        }
    }

    /// Requires that what was given is what the model says, and takes it in.
    fn given(&mut self, wish: &Wish, meant: &Token, answer: &Value) -> Done {
        let text = answer["access_token"].as_str().unwrap_or_default().to_owned();
        let (header, claims) = (part(&text, 0), part(&text, 1));
        let time = |name: &str| {
            time::OffsetDateTime::from_unix_timestamp(claims[name].as_i64().unwrap_or_default()).unwrap()
        };
        let token = Token {
            jti: claims["jti"].as_str().unwrap_or_default().to_owned(),
            kid: header["kid"].as_str().unwrap_or_default().to_owned(),
            scopes: Scopes::of_json(&claims["scopes"]),
            audience: words(&claims["aud"])
                .iter()
                .map(|known| {
                    *[ISSUER, AUDIENCES[0], AUDIENCES[1]].iter().find(|name| *name == known).unwrap()
                })
                .collect(),
            depth: i32::try_from(claims["delegation_depth"].as_i64().unwrap_or(0)).unwrap(),
            issued: time("iat"),
            expires: time("exp"),
            ..meant.clone()
        };
        self.model.check_bounds(wish, &token)?;
        same("the token", &Token { jti: String::new(), kid: String::new(), ..token.clone() }, meant)?;
        same("sub", &claims["sub"], &json!(self.model.agents[meant.holder].uri))?;
        let root = token.parent.map_or(&token, |parent| &self.model.tokens[self.model.root(parent)]);
        same("mission_id", &claims["mission_id"], &json!(root.jti))?;
        let scope = answer["scope"].as_str().unwrap_or_default();
        same("scope", &Scopes::of(scope.split(' ').filter(|scope| !scope.is_empty())), &token.scopes)?;
        same("expires_in", &answer["expires_in"], &json!((token.expires - token.issued).whole_seconds()))?;
        let done = format!("token {} of agent {} with {:?}", self.tokens.len(), token.holder, token.scopes);
        self.tokens.push(text);
        self.model.tokens.push(token);
        Ok(done)
    }
}

/// Requires an OAuth refusal for one of the reasons.
fn refused(answer: &Answer, reasons: &Reasons) -> Done {
    let code = answer.body["error"].as_str().unwrap_or_default();
    if !reasons.contains(code) {
        return Err(format!("answered {} {} and not {reasons:?}", answer.status, answer.text));
    }
    let status = match code {
        "invalid_client" => 401,
        "access_denied" => 403,
        _ => 400,
    };
    expect(answer, &[status])?;
    Ok(format!("refused for {code}"))
}
