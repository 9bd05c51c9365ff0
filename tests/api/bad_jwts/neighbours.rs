//! Tokens that are good somewhere else.

use serde_json::json;

use super::stage::Stage;
use crate::server::Server;
use crate::signer::Signer;

/// What a good token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AgentAssertion,
    OtherAgentAssertion,
    /// Of another tenant's agent.
    ForeignAssertion,
    SetClientAssertion,
    AgentClientAssertion,
    NewKeyProof,
    CurrentKeyProof,
    AccessToken,
    DelegatedToken,
    /// An access token of another tenant.
    ForeignToken,
    ApiKey,
    ClientSecret,
}

/// One of each kind, all of them good.
pub async fn neighbours(stage: &Stage) -> Vec<(Kind, String)> {
    let (server, now) = (&stage.server, stage.server.app.clock.now());
    let (foreign_uri, foreign_key, foreign_token) = foreigner(server).await;
    let other = &stage.other;
    let subject = server.exchange(&other.api_key, "a").await.token();
    vec![
        (Kind::AgentAssertion, server.assertion(&stage.agent)),
        (Kind::OtherAgentAssertion, server.assertion(other)),
        (Kind::ForeignAssertion, foreign_key.assertion(&foreign_uri, now)),
        (Kind::SetClientAssertion, stage.set_client.assertion("set-client", now)),
        (Kind::AgentClientAssertion, stage.agent.signer.assertion("agent-client", now)),
        (Kind::NewKeyProof, stage.proof(&stage.next, &stage.keyless.uri)),
        (Kind::CurrentKeyProof, stage.proof(&stage.agent.signer, &stage.agent.uri)),
        (Kind::AccessToken, stage.real.clone()),
        (Kind::DelegatedToken, server.delegate(&subject, &stage.agent, "a").await.token()),
        (Kind::ForeignToken, foreign_token),
        (Kind::ApiKey, stage.agent.api_key.clone()),
        (Kind::ClientSecret, stage.secret.clone()),
    ]
}

/// An agent of another tenant: its URI, key and a token.
async fn foreigner(server: &Server) -> (String, Signer, String) {
    let signer = Signer::new();
    let body = json!({
        "name": "Foreign", "external_id": "foreign", "created_by": "x@other.example", "public_key_pem": signer.pem(),
    });
    let call = server.call("POST", "/agents/register").tenant("other", "demo");
    let answer = call.json(body).send().await.expect(201);
    let token = server.exchange(answer.text_of("api_key"), "a").await.token();
    (answer.body["identity"]["wimse_uri"].as_str().unwrap().to_owned(), signer, token)
}
