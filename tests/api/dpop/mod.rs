//! DPoP (RFC 9449): proofs of possession at the token endpoint and at our own protected endpoints.
mod exchange;
mod nonces;
mod proofs;
mod registered;
mod resources;
mod scoreboard;
mod through_proxies;
mod window;

use serde_json::{Value, json};

use crate::party::{Party, Program, TOKEN_EXCHANGE};
use crate::server::{Answer, Call, Server};
use crate::signer::Signer;

/// The token endpoint.
pub const TOKEN: &str = "/oauth2/token";

impl Server {
    /// A fresh proof for the token endpoint.
    pub fn proof(&self, key: &Signer) -> String {
        key.proof("POST", TOKEN, self.app.clock.now())
    }

    /// The same with some claims set; `null` removes one.
    pub fn proof_with(&self, key: &Signer, changes: &Value) -> String {
        key.proof_with("POST", TOKEN, self.app.clock.now(), changes)
    }

    /// Exchanges an API key and sends this proof.
    pub async fn prove(&self, api_key: &str, scope: &str, proof: &str) -> Answer {
        let form = [("grant_type", "api_key"), ("api_key", api_key), ("scope", scope)];
        self.post(TOKEN).form(&form).with("DPoP", proof).send().await
    }

    /// A token of the agent, bound to this key.
    pub async fn bound(&self, agent: &Party, scope: &str, key: &Signer) -> String {
        let answer = self.prove(&agent.api_key, scope, &self.proof(key)).await.expect(200);
        assert_eq!(answer.text_of("token_type"), "DPoP");
        answer.token()
    }

    /// An exchange with an actor token, and with a proof if there is one.
    pub async fn exchange_by(
        &self,
        subject: &str,
        actor: &Party,
        scope: &str,
        proof: Option<&str>,
    ) -> Answer {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("actor_token", &self.assertion(actor)),
            ("scope", scope),
        ];
        with_proof(self.post(TOKEN).form(&form), proof).send().await
    }

    /// An exchange with a client as the actor, and with a proof if there is one.
    pub async fn exchange_as(
        &self,
        subject: &str,
        program: &Program,
        scope: &str,
        proof: Option<&str>,
    ) -> Answer {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("client_id", &program.client_id),
            ("client_secret", &program.secret),
            ("scope", scope),
        ];
        with_proof(self.post(TOKEN).form(&form), proof).send().await
    }

    /// A request to one of our own endpoints with a bound token and a fresh proof for it.
    pub fn possessed(&self, method: &str, path: &str, token: &str, key: &Signer) -> Call<'_> {
        let bare = path.split('?').next().unwrap();
        let proof = key.proof_for(token, method, bare, self.app.clock.now());
        self.call(method, path).with("Authorization", &format!("DPoP {token}")).with("DPoP", &proof)
    }

    /// An agent that may administer.
    pub async fn administrator(&self) -> Party {
        self.party("administrator", json!({ "allowed_scopes": ["nhi:manage", "a"] })).await
    }
}

fn with_proof<'a>(call: Call<'a>, proof: Option<&str>) -> Call<'a> {
    match proof {
        Some(proof) => call.with("DPoP", proof),
        None => call,
    }
}
