//! Agents with keys and clients with secrets, and what they ask of the token endpoint.

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::signer::Signer;

/// The names of the grants on the wire.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// An agent of acme/demo with an API key and a registered key.
pub struct Party {
    pub id: String,
    pub uri: String,
    pub api_key: String,
    pub signer: Signer,
}

/// A client of acme/demo with a secret.
pub struct Program {
    pub id: String,
    pub client_id: String,
    pub secret: String,
}

impl Server {
    /// Registers an agent with a key of its own; `more` is added to the body.
    pub async fn party(&self, external_id: &str, more: Value) -> Party {
        let signer = Signer::new();
        let mut body = json!({ "public_key_pem": signer.pem() });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.register(external_id, body).await.expect(201);
        let text = |member: &str| answer.body["identity"][member].as_str().unwrap().to_owned();
        let api_key = answer.text_of("api_key").to_owned();
        Party { id: text("id"), uri: text("wimse_uri"), api_key, signer }
    }

    /// An assertion of this agent, fresh.
    pub fn assertion(&self, party: &Party) -> String {
        party.signer.assertion(&party.uri, self.app.clock.now())
    }

    /// Presents an assertion for a token of the agent's own.
    pub async fn assert(&self, assertion: &str, scope: &str) -> Answer {
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion), ("scope", scope)];
        self.post("/oauth2/token").form(&form).send().await
    }

    /// Exchanges a subject token for one of the actor, as the SDK does.
    pub async fn delegate(&self, subject: &str, actor: &Party, scope: &str) -> Answer {
        self.delegate_by(subject, &self.assertion(actor), scope).await
    }

    /// The same with this actor token.
    pub async fn delegate_by(&self, subject: &str, actor_token: &str, scope: &str) -> Answer {
        let body = json!({
            "grant_type": TOKEN_EXCHANGE, "subject_token": subject, "actor_token": actor_token, "scope": scope,
            "account_id": "default", "project_id": "default",
        });
        self.post("/oauth2/token").json(body).send().await
    }

    /// A confidential client bound to an agent; `more` is added to the body.
    pub async fn program(&self, client_id: &str, identity_id: &str, more: Value) -> Program {
        let mut body = json!({
            "client_id": client_id, "name": client_id, "confidential": true, "identity_id": identity_id,
            "grant_types": ["client_credentials", "token_exchange"], "scopes": ["a", "b", "c"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
        Program {
            id: answer.body["client"]["id"].as_str().unwrap().to_owned(),
            client_id: client_id.to_owned(),
            secret: answer.text_of("client_secret").to_owned(),
        }
    }

    /// A token by client credentials, the secret in the body as the SDK sends it.
    pub async fn client_credentials(&self, program: &Program, scope: &str) -> Answer {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &program.client_id),
            ("client_secret", &program.secret),
            ("account_id", "default"),
            ("project_id", "default"),
            ("scope", scope),
        ];
        self.post("/oauth2/token").form(&form).send().await
    }

    /// Exchanges a subject token with the client as the actor.
    pub async fn delegate_to_client(&self, subject: &str, program: &Program, scope: &str) -> Answer {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("client_id", &program.client_id),
            ("client_secret", &program.secret),
            ("scope", scope),
        ];
        self.post("/oauth2/token").form(&form).send().await
    }
}

impl Answer {
    /// The access token of an answer that must be good.
    #[track_caller]
    pub fn token(self) -> String {
        self.expect(200).text_of("access_token").to_owned()
    }

    /// The OAuth error code of an answer, with its status.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["error"].as_str().unwrap_or_default())
    }
}
