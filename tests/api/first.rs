//! The main job: register, obtain a token, check it, take it back.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn an_agent_is_registered_obtains_a_token_and_loses_it() {
    let server = Server::new().await;
    let registered = server.register("fetcher", json!({})).await.expect(201);
    let token = server.exchange(registered.text_of("api_key"), "data:read").await.expect(200);
    let token = token.text_of("access_token");
    let found = server.introspect(token).await;
    assert_eq!(found["active"], true);
    assert_eq!(found["scope"], "data:read");
    assert_eq!(found["sub"], registered.body["identity"]["wimse_uri"]);
    server.post("/oauth2/token/revoke").form(&[("token", token)]).send().await.expect(200);
    assert_eq!(server.introspect(token).await, json!({ "active": false }));
    let actions: Vec<_> = server.audit().await.into_iter().map(|row| row.0).collect();
    assert_eq!(actions, ["agent.registered", "token.issued", "token.revoked"]);
}
