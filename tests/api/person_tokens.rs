//! Tokens in a person's name: what they say in each profile, what they rest on, and what they are not good for.

use serde_json::{Value, json};

use crate::people::Ask;
use crate::server::Server;
use crate::tools::{assert_error, claims};

/// A client of this profile, bound to an agent or to none, and a token that it obtained in Ada's name.
struct Stage {
    server: Server,
    ada: String,
    cookie: String,
    agent: String,
}

async fn stage() -> Stage {
    let server = Server::new().await;
    let registered = server.register("assistant", json!({ "allowed_scopes": ["a", "b"] })).await.expect(201);
    let agent = registered.body["identity"]["id"].as_str().unwrap().to_owned();
    server
        .run_sql("update credential_policies set allowed_grant_types = allowed_grant_types || '{authorization_code}'")
        .await;
    let ada = server.person("u-ada").await;
    let cookie = server.cookie(&ada).await;
    Stage { server, ada, cookie, agent }
}

impl Stage {
    async fn obtain(&self, client_id: &str, more: Value) -> String {
        self.server.program_of_people(client_id, more).await;
        let code = self.server.code(&Ask::of(client_id), &self.cookie).await;
        self.server.redeem(client_id, &code, &[]).await.token()
    }

    async fn bound(&self, client_id: &str, profile: &str) -> String {
        self.obtain(client_id, json!({ "identity_id": self.agent, "token_profile": profile })).await
    }
}

#[tokio::test]
async fn the_person_is_the_subject_in_every_profile_and_the_agent_acts() {
    let stage = stage().await;
    let uri = "spiffe://chancery.localhost/acme/demo/agent/assistant";
    for profile in ["zeroid", "rfc8693", "shark"] {
        let alone =
            claims(&stage.obtain(&format!("alone-{profile}"), json!({ "token_profile": profile })).await);
        let bound = claims(&stage.bound(&format!("bound-{profile}"), profile).await);
        for found in [&alone, &bound] {
            assert_eq!((&found["sub"], &found["user_id"]), (&json!("u-ada"), &json!("u-ada")), "{profile}");
            let user = (profile == "rfc8693").then(|| json!("user"));
            assert_eq!(found.get("principal_type"), user.as_ref());
            assert!(found.get("delegation_depth").is_none());
        }
        assert!(alone.get("act").is_none());
        assert_eq!(alone["status"], "");
        match profile {
            "zeroid" => {
                assert!(bound.get("act").is_none());
                assert_eq!(
                    (&bound["external_id"], &bound["identity_type"]),
                    (&json!("assistant"), &json!("agent"))
                );
            }
            "rfc8693" => {
                assert_eq!((&bound["act"]["sub"], &bound["external_id"]), (&json!(uri), &json!("")));
            }
            _ => assert_eq!(bound["act"]["sub"], format!("bound-{profile}")),
        }
    }
}

/// The person begins the chain: every profile names them as its principal, with the actors in their order.
#[tokio::test]
async fn an_exchange_goes_on_in_the_persons_name() {
    let stage = stage().await;
    let actor = stage.server.party("fetcher", json!({})).await;
    for (profile, sub) in [("zeroid", actor.uri.as_str()), ("rfc8693", "u-ada"), ("shark", "u-ada")] {
        for token in [
            stage.obtain(&format!("alone-{profile}"), json!({ "token_profile": profile })).await,
            stage.bound(&format!("bound-{profile}"), profile).await,
        ] {
            let below = stage.server.delegate(&token, &actor, "a").await.token();
            let found = claims(&below);
            assert_eq!((&found["sub"], &found["user_id"]), (&json!(sub), &json!("u-ada")), "{profile}");
            assert_eq!(found["delegation_depth"], 1);
            match profile {
                "zeroid" => assert_eq!(found["act"], json!({ "sub": "u-ada" })),
                "rfc8693" => {
                    assert_eq!(
                        (&found["principal_type"], &found["act"]["sub"]),
                        (&json!("user"), &json!(actor.uri))
                    );
                }
                _ => assert_eq!(found["act"]["agent_id"], actor.id),
            }
            let chain = stage
                .server
                .admin("GET", &format!("/delegations/by-jti/{}", text(&found["jti"])))
                .send()
                .await;
            assert_eq!(chain.expect(200).body["edges"].as_array().unwrap().len(), 2);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Ending any of what it rests on ends it, at once and on the other replica.
#[tokio::test]
async fn a_token_ends_with_its_person_its_agent_and_its_client() {
    for (what, name) in ["person", "agent", "client", "tenant"].iter().zip(["p", "a", "c", "t"]) {
        let stage = stage().await;
        let (server, replica) = (&stage.server, stage.server.replica().await);
        let token = stage.bound(name, "zeroid").await;
        let actor = server.party("fetcher", json!({})).await;
        let below = server.delegate(&token, &actor, "a").await.token();
        assert!(replica.is_active(&below).await);
        match *what {
            "person" => {
                server.admin("DELETE", &format!("/users/{}", stage.ada)).send().await.expect(204);
            }
            "agent" => drop(server.act(&stage.agent, "deactivate").await.expect(200)),
            "tenant" => drop(server.run_sql("update tenants set state = 'suspended'").await),
            _ => {
                let clients = server.admin("GET", "/oauth/clients").send().await.expect(200).body;
                let id = text(&clients["clients"][0]["id"]);
                server.admin("POST", &format!("/oauth/clients/{id}/revoke-tokens")).send().await.expect(200);
            }
        }
        assert!(!replica.is_active(&token).await && !replica.is_active(&below).await, "{what}");
    }
}

/// The agent's ceiling, its policy and its end bind what its client obtains in a person's name.
#[tokio::test]
async fn the_agent_of_a_client_bounds_its_tokens() {
    let stage = stage().await;
    let server = &stage.server;
    let more = json!({ "identity_id": stage.agent, "scopes": ["a", "b", "c"], "access_token_ttl": 9000 });
    server.program_of_people("bound", more).await;
    let code = server.code(&Ask::of("bound").with("scope", "c a"), &stage.cookie).await;
    server.run_sql("update credential_policies set max_ttl_seconds = 60").await;
    let answer = server.redeem("bound", &code, &[]).await.expect(200);
    assert_eq!((answer.text_of("scope"), &answer.body["expires_in"]), ("a", &json!(60)));
    let code = server.code(&Ask::of("bound"), &stage.cookie).await;
    server.run_sql("update credential_policies set allowed_grant_types = '{api_key}'").await;
    assert_error(&server.redeem("bound", &code, &[]).await, 400, "policy_violation");
}

/// It is no proof of an agent, administers nothing, and is not rotated; its holder may still read what anybody may.
#[tokio::test]
async fn a_persons_token_is_not_the_agents_own() {
    let stage = stage().await;
    let server = &stage.server;
    for token in [stage.obtain("alone", json!({})).await, stage.bound("bound", "zeroid").await] {
        let jti = text(&claims(&token)["jti"]).to_owned();
        let body = json!({ "new_public_key_pem": "x", "new_key_proof": "x" });
        server.post("/agents/self/public-key").bearer(&token).json(body).send().await.expect(401);
        server.get("/agents/registry").bearer(&token).send().await.expect(403);
        server.get(&format!("/delegations/by-jti/{jti}")).bearer(&token).send().await.expect(200);
        let rotated = server.admin("POST", &format!("/credentials/{jti}/rotate")).send().await.expect(409);
        assert!(rotated.text_of("detail").contains("in a person's name"));
        let form = [("token", token.as_str())];
        server.post("/oauth2/token/revoke").form(&form).send().await.expect(200);
        assert!(!server.is_active(&token).await);
    }
    let kinds: Vec<_> =
        server.audit().await.into_iter().filter(|row| row.0 == "admin.denied").map(|row| row.2).collect();
    assert_eq!(kinds, ["person", "agent"]);
}

/// A client that may be refreshed has short tokens; one that may not has a day.
#[tokio::test]
async fn a_token_lives_as_long_as_its_client_needs() {
    let stage = stage().await;
    for (client, grants, life) in [
        ("day", json!(["authorization_code"]), 24 * 3600),
        ("hour", json!(["authorization_code", "refresh_token"]), 3600),
    ] {
        let found = claims(&stage.obtain(client, json!({ "grant_types": grants })).await);
        assert_eq!(found["exp"].as_i64().unwrap() - found["iat"].as_i64().unwrap(), life, "{client}");
    }
}
