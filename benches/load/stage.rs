//! What the requests need: agents with keys, a client that may act for them, tokens, chains, and proofs signed beforehand.

use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::clock::Clock;
use chancery::kit::ids;
use chancery::kit::secret::sha256;
use serde_json::{Value, json};

use crate::traffic::{Connection, Request};

/// Agents whose keys and tokens are used in turn.
const AGENTS: usize = 200;

/// How deep the tokens stand whose introspection is compared. A root has 0.
pub(crate) const DEPTHS: [usize; 3] = [1, 3, 10];

/// How many tenants take turns in the step that is about them.
pub(crate) const TENANTS: usize = 1000;

/// Chains of each depth.
const CHAINS: usize = 50;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The headers of an administrator of the agents' tenant.
pub(crate) const TENANT: [&str; 3] =
    ["X-Account-ID: acme", "X-Project-ID: load", "Content-Type: application/json"];
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// The requests, and what further ones are made of.
pub(crate) struct Stage {
    address: SocketAddr,
    /// A token for each agent.
    pub(crate) issue: Vec<Request>,
    /// A look at a token of each agent.
    pub(crate) introspect: Vec<Request>,
    /// The bodies by which a client exchanges the agents' tokens.
    exchange: Vec<String>,
    /// The secret of the client, and a token of the agent it is bound to.
    secret: String,
    own: String,
    key: EcdsaKeyPair,
}

impl Stage {
    /// Registers everybody.
    pub(crate) async fn set(address: SocketAddr) -> Result<Self> {
        let mut connection = Connection::new(address);
        let mut send = async |path: &str, body: Value, status: u16| {
            let request = Request::new("POST", path, &TENANT, &body.to_string()).expecting(status);
            anyhow::Ok(serde_json::from_str::<Value>(&connection.send(&request).await?)?)
        };
        let deepest = DEPTHS.into_iter().max().unwrap_or_default();
        let policy = json!({
            "name": "load", "max_ttl_seconds": 3600, "max_delegation_depth": deepest,
            "allowed_grant_types": ["api_key", "token_exchange"],
        });
        let policy = send("/credential-policies", policy, 201).await?;
        let mut agents = Vec::new();
        for number in 0..=AGENTS {
            let (name, id) = (format!("Agent {number}"), format!("load-{number}"));
            let body = json!({
                "name": name, "external_id": id, "created_by": "load@example.com",
                "credential_policy_id": policy["id"],
            });
            let agent = send("/agents/register", body, 201).await?;
            let id = agent["identity"]["id"].as_str().context("no id")?.to_owned();
            agents.push((id, agent["api_key"].as_str().context("no API key")?.to_owned()));
        }
        // The last agent is the one that acts for all others, by a client of its own.
        let (actor, own_key) = agents.pop().context("no agents")?;
        let client = json!({
            "client_id": "load", "name": "load", "confidential": true, "identity_id": actor,
            "grant_types": ["token_exchange"], "scopes": ["data:read"],
        });
        let client = send("/oauth/clients", client, 201).await?;
        let secret = client["client_secret"].as_str().context("no secret")?.to_owned();
        for (id, _) in &agents {
            send("/admin/may-act", json!({ "from_id": actor, "to_id": id }), 201).await?;
        }
        let issue: Vec<Request> = agents.iter().map(|(_, key)| by_key(key)).collect();
        let mut connection = Connection::new(address);
        let mut bodies = Vec::new();
        for request in &issue {
            bodies.push(connection.send(request).await?);
        }
        let subjects = tokens(&bodies)?;
        let own = tokens(&[connection.send(&by_key(&own_key)).await?])?.remove(0);
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let mut stage = Self {
            address,
            issue,
            introspect: introspections(&subjects),
            exchange: Vec::new(),
            secret,
            own,
            key: key.map_err(|_| anyhow!("no key could be made"))?,
        };
        stage.exchange = subjects.iter().map(|token| stage.exchange_body(token)).collect();
        Ok(stage)
    }

    fn exchange_body(&self, subject: &str) -> String {
        format!(
            "grant_type={EXCHANGE}&subject_token={subject}&client_id=load&client_secret={}&scope=data:read",
            self.secret
        )
    }

    /// Requests for exchanges, each with a proof of its own that was just signed.
    pub(crate) fn exchanges(&self, most: usize) -> Result<Vec<Request>> {
        self.exchange.iter().cycle().take(most).map(|body| Ok(self.with_proof(body)?.0)).collect()
    }

    /// An exchange, and the key under which its proof is used up.
    pub(crate) fn exchange_once(&self) -> Result<(Request, [u8; 32])> {
        self.with_proof(&self.exchange[0])
    }

    /// Whether the server binds tokens to the key of such a proof.
    pub(crate) async fn is_bound(&self) -> Result<bool> {
        let (request, _) = self.with_proof(&self.exchange[0])?;
        let answer: Value = serde_json::from_str(&Connection::new(self.address).send(&request).await?)?;
        Ok(answer["token_type"] == "DPoP")
    }

    /// A request with a proof (RFC 9449 section 4.2), and the key under which the proof is used up: the digest of its key's
    /// thumbprint and its jti.
    fn with_proof(&self, body: &str) -> Result<(Request, [u8; 32])> {
        let now = Clock::system().now();
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let jti = ids::new(now).map_err(|_| anyhow!("no id could be made"))?.to_string();
        let thumbprint = URL_SAFE_NO_PAD.encode(sha256(jwk.to_string().as_bytes()));
        let key = sha256(format!("{thumbprint}{jti}").as_bytes());
        let htu = format!("http://{}/oauth2/token", self.address);
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }).to_string();
        let claims =
            json!({ "jti": jti, "htm": "POST", "htu": htu, "iat": now.unix_timestamp() }).to_string();
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.map_err(|_| anyhow!("not signed"))?);
        let proof = format!("DPoP: {input}.{signature}");
        Ok((Request::new("POST", "/oauth2/token", &[FORM, &proof], body), key))
    }

    /// A token for an agent in each of so many tenants, and a look at it.
    pub(crate) async fn in_tenants(&self, tenants: usize) -> Result<[Vec<Request>; 2]> {
        let mut connection = Connection::new(self.address);
        let (mut issue, mut bodies) = (Vec::new(), Vec::new());
        for number in 0..tenants {
            let account = format!("X-Account-ID: tenant-{number}");
            let body = json!({ "name": "Agent", "external_id": "agent", "created_by": "load@example.com" });
            let headers = [account.as_str(), TENANT[1], TENANT[2]];
            let register =
                Request::new("POST", "/agents/register", &headers, &body.to_string()).expecting(201);
            let agent: Value = serde_json::from_str(&connection.send(&register).await?)?;
            let request = by_key(agent["api_key"].as_str().context("no API key")?);
            bodies.push(connection.send(&request).await?);
            issue.push(request);
        }
        Ok([issue, introspections(&tokens(&bodies)?)])
    }

    /// Looks at tokens so deep, each the end of a chain that the acting agent made of a token of its own.
    pub(crate) async fn chains(&self, depth: usize) -> Result<Vec<Request>> {
        let mut connection = Connection::new(self.address);
        let mut ends = Vec::new();
        for _ in 0..CHAINS {
            let mut token = self.own.clone();
            for _ in 0..depth {
                let body = self.exchange_body(&token);
                let request = Request::new("POST", "/oauth2/token", &[FORM], &body);
                token = tokens(&[connection.send(&request).await?])?.remove(0);
            }
            ends.push(token);
        }
        Ok(introspections(&ends))
    }
}

fn by_key(key: &str) -> Request {
    let pairs = [("grant_type", "api_key"), ("api_key", key), ("scope", "data:read")];
    Request::form("/oauth2/token", &pairs)
}

/// The tokens of answers.
pub(crate) fn tokens(answers: &[String]) -> Result<Vec<String>> {
    let token = |answer: &String| {
        let answer: Value = serde_json::from_str(answer)?;
        Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    };
    answers.iter().map(token).collect()
}

/// A look at each token.
pub(crate) fn introspections(tokens: &[String]) -> Vec<Request> {
    tokens.iter().map(|token| Request::form("/oauth2/token/introspect", &[("token", token)])).collect()
}
