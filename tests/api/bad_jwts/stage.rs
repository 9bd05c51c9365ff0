//! A server with everybody who makes or presents a token, and how a token comes to each place.

use serde_json::{Value, json};

use super::maker::{Key, Maker, changed, header};
use super::place::{By, Endpoint, Place};
use super::published_key;
use crate::party::{JWT_BEARER, Party, TOKEN_EXCHANGE};
use crate::proof::{ath, proof_claims};
use crate::server::{Answer, ISSUER, Server};
use crate::signer::{Signer, assertion_claims};
use crate::tools::part;

const REGISTRY: &str = "/agents/registry";
const SELF: &str = "/agents/self/public-key";
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who takes part.
pub struct Stage {
    pub server: Server,
    /// An administering agent with a key.
    pub agent: Party,
    pub other: Party,
    /// One without a key.
    pub keyless: Party,
    keyless_token: String,
    /// The key that is to be enrolled.
    pub next: Signer,
    /// The key of the client that has a set.
    pub set_client: Signer,
    /// The secret of a further client.
    pub secret: String,
    /// Two tokens of the agent.
    pub real: String,
    pub another: String,
    /// A token of the agent that is bound to the next key.
    bound: String,
}

impl Stage {
    pub async fn new() -> Self {
        let server = Server::new().await;
        let agent = server.party("agent", json!({ "allowed_scopes": ["a", "nhi:manage"] })).await;
        let other = server.party("other", json!({})).await;
        let keyless = server.party("keyless", json!({ "public_key_pem": null })).await;
        let set_client = Signer::new();
        let set = json!({ "keys": [changed(&set_client.jwk(), &json!({ "kid": "one" }))] });
        let method = "private_key_jwt";
        let more = json!({ "token_endpoint_auth_method": method, "jwks": set });
        server.program("set-client", &other.id, more).await;
        let more = json!({ "token_endpoint_auth_method": method });
        server.program("agent-client", &agent.id, more).await;
        let secret = server.program("secret-client", &other.id, json!({})).await.secret;
        let keyless_token = server.exchange(&keyless.api_key, "").await.token();
        let real = server.exchange(&agent.api_key, "a nhi:manage").await.token();
        let another = server.exchange(&agent.api_key, "a nhi:manage").await.token();
        let next = Signer::new();
        let bound = server.bound(&agent, "nhi:manage", &next).await;
        server.run_sql("delete from used_once").await;
        Self { server, agent, other, keyless, keyless_token, next, set_client, secret, real, another, bound }
    }

    /// Who makes the tokens for a place.
    pub fn maker(&self, place: Place) -> Maker {
        let of = |signer: &Signer, header: Value, claims: Value, longest: i64| {
            let second = changed(&claims, &json!({ "jti": "another" }));
            let good = [signer.jws(&header, &claims), signer.jws(&header, &second)];
            Maker { header, longest, good, jwk: signer.jwk(), key: Key::Of(signer.clone()), claims }
        };
        let now = self.server.app.clock.now();
        match place {
            Place::Assertion | Place::Subject | Place::ActorToken => {
                of(&self.agent.signer, header(), assertion_claims(&self.agent.uri, now), 300)
            }
            Place::ClientAssertion(_, By::Set) => {
                let header = changed(&header(), &json!({ "kid": "one" }));
                let mut maker = of(&self.set_client, header, assertion_claims("set-client", now), 300);
                maker.jwk["kid"] = json!("one");
                maker
            }
            Place::ClientAssertion(_, By::Agent) => {
                of(&self.agent.signer, header(), assertion_claims("agent-client", now), 300)
            }
            Place::NewKeyProof => of(&self.next, header(), self.proof_claims(&self.keyless.uri), 120),
            Place::CurrentKeyProof => {
                of(&self.agent.signer, header(), self.proof_claims(&self.agent.uri), 120)
            }
            Place::DpopProof => {
                let mut claims = proof_claims("GET", REGISTRY, now);
                claims["ath"] = json!(ath(&self.bound));
                of(&self.next, self.next.proof_header(), claims, 0)
            }
            _ => Maker {
                header: part(&self.real, 0),
                claims: part(&self.real, 1),
                longest: 3600,
                key: Key::Ours(self.server.app.clone()),
                good: [self.real.clone(), self.another.clone()],
                jwk: published_key(&self.server.app),
            },
        }
    }

    fn proof_claims(&self, uri: &str) -> Value {
        let mut claims = assertion_claims(uri, self.server.app.clock.now());
        claims["aud"] = json!(format!("{ISSUER}{SELF}"));
        claims["nkt"] = json!(self.next.spki_digest());
        claims
    }

    /// A good proof by this key for this agent, naming the next key.
    pub fn proof(&self, signer: &Signer, uri: &str) -> String {
        signer.jws(&header(), &self.proof_claims(uri))
    }

    /// Presents a token.
    pub async fn present(&self, place: Place, token: &str) -> Answer {
        match place {
            Place::NewKeyProof | Place::CurrentKeyProof | Place::OwnBearer => self.enrol(place, token).await,
            Place::AdminBearer => self.server.admin("GET", REGISTRY).bearer(token).send().await,
            Place::DpopProof => {
                let call = self.server.get(REGISTRY).with("Authorization", &format!("DPoP {}", self.bound));
                call.with("DPoP", token).send().await
            }
            Place::ForwardedBearer => self.server.get("/oauth2/token/verify").bearer(token).send().await,
            _ => {
                let (path, form) = self.form(place, token);
                let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                self.server.post(path).form(&form).send().await
            }
        }
    }

    async fn enrol(&self, place: Place, token: &str) -> Answer {
        let (mut bearer, agent) = match place {
            Place::NewKeyProof => (self.keyless_token.as_str(), &self.keyless),
            _ => (self.real.as_str(), &self.agent),
        };
        let mut body = json!({
            "new_public_key_pem": self.next.pem(),
            "new_key_proof": self.proof(&self.next, &agent.uri),
            "current_key_proof": self.proof(&agent.signer, &agent.uri),
        });
        match place {
            Place::NewKeyProof => body["new_key_proof"] = json!(token),
            Place::CurrentKeyProof => body["current_key_proof"] = json!(token),
            _ => bearer = token,
        }
        self.server.post(SELF).bearer(bearer).json(body).send().await
    }

    fn form(&self, place: Place, token: &str) -> (&'static str, Vec<(&'static str, String)>) {
        let token = token.to_owned();
        let real = self.real.clone();
        let grant = |name: &str| vec![("grant_type", name.to_owned()), ("scope", "a".to_owned())];
        let (path, mut form) = match place {
            Place::Assertion | Place::Subject => ("/oauth2/token", grant(JWT_BEARER)),
            Place::ActorToken | Place::SubjectToken => ("/oauth2/token", grant(TOKEN_EXCHANGE)),
            Place::ClientAssertion(Endpoint::Token, _) => ("/oauth2/token", grant("client_credentials")),
            Place::ClientAssertion(Endpoint::Introspect, _) => {
                ("/oauth2/token/introspect", vec![("token", real)])
            }
            Place::ClientAssertion(Endpoint::Revoke, _) => ("/oauth2/token/revoke", vec![("token", real)]),
            Place::RevokedToken => ("/oauth2/token/revoke", Vec::new()),
            _ => ("/oauth2/token/introspect", Vec::new()),
        };
        form.extend(match place {
            Place::Assertion => vec![("assertion", token)],
            Place::Subject => vec![("subject", token)],
            Place::ActorToken => vec![("actor_token", token), ("subject_token", self.real.clone())],
            Place::SubjectToken => {
                vec![("subject_token", token), ("actor_token", self.server.assertion(&self.other))]
            }
            Place::ClientAssertion(..) => {
                vec![("client_assertion", token), ("client_assertion_type", TYPE.to_owned())]
            }
            _ => vec![("token", token)],
        });
        (path, form)
    }

    /// Whether the place took the token for a good one.
    pub fn accepted(place: Place, answer: &Answer) -> bool {
        match place {
            Place::IntrospectedToken => answer.body["active"] == true,
            _ => answer.status.is_success(),
        }
    }

    /// Everything that a token might change, as one text; refusals in the audit log are no change.
    pub async fn state(&self) -> String {
        self.server
            .text_from_sql(
                "select coalesce(string_agg(line, '|' order by line), '') from (
                     select c::text as line from credentials c union all select i::text from identities i
                     union all select k::text from api_keys k union all select o::text from oauth_clients o
                     union all select u::text from used_once u union all select r::text from revocations r
                     union all select a::text from audit_events a where outcome <> 'refused') as lines",
            )
            .await
    }

    /// Forgets what was used and enrolled, so that a further good token meets what the first one met.
    pub async fn reset(&self) {
        self.server.run_sql("delete from used_once").await;
        let keyless = format!("update identities set public_key_pem = null where id = '{}'", self.keyless.id);
        let (id, pem) = (&self.agent.id, self.agent.signer.pem());
        let agent = format!("update identities set public_key_pem = '{pem}' where id = '{id}'");
        assert_eq!((self.server.run_sql(keyless).await, self.server.run_sql(agent).await), (1, 1));
    }
}
