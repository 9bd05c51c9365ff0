//! Consents as administrators see them, give them and take them back.

use serde_json::{Value, json};

use crate::people::Ask;
use crate::server::Server;

async fn stage() -> (Server, String, String) {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let (ada, bob) = (server.person("u-ada").await, server.person("u-bob").await);
    (server, ada, bob)
}

async fn list(server: &Server, filter: &str) -> Value {
    server.admin("GET", &format!("/admin/oauth/consents{filter}")).send().await.expect(200).body
}

/// Taking one person's consent back ends what the client obtained in that name, with all below it, and nothing else.
#[tokio::test]
async fn a_consent_that_is_taken_back_takes_its_tokens_along() {
    let (server, ada, bob) = stage().await;
    let replica = server.replica().await;
    let (of_ada, of_bob) = (server.cookie(&ada).await, server.cookie(&bob).await);
    let obtain = async |cookie: &str| {
        let code = server.code(&Ask::of("diary"), cookie).await;
        server.redeem("diary", &code, &[]).await.token()
    };
    let (one, other) = (obtain(&of_ada).await, obtain(&of_bob).await);
    let actor = server.party("fetcher", json!({})).await;
    let below = server.delegate(&one, &actor, "a").await.token();
    let waiting = server.code(&Ask::of("diary"), &of_ada).await;
    let consents = list(&server, &format!("?user_id={ada}")).await;
    let consent = &consents["data"][0];
    assert_eq!((&consent["subject"], &consent["client_id"]), (&json!("u-ada"), &json!("diary")));
    assert_eq!((&consents["total"], &consent["client_name"]), (&json!(1), &json!("Diary & <i>Co</i>")));
    let path = format!("/admin/oauth/consents/{}", consent["id"].as_str().unwrap());
    server.call("DELETE", &path).tenant("other", "demo").send().await.expect(404);
    assert!(server.is_active(&below).await);
    let revoked = server.admin("DELETE", &path).send().await.expect(200);
    assert!(revoked.body["revoked_at"].is_string());
    for token in [&one, &below] {
        assert!(!replica.is_active(token).await);
    }
    assert!(replica.is_active(&other).await);
    server.redeem("diary", &waiting, &[]).await.expect(400);
    assert_eq!(list(&server, &format!("?user_id={ada}")).await["total"], 0);
    assert_eq!(list(&server, "?include_revoked=true").await["total"], 2);
    let credentials = format!("/credentials/{}", crate::tools::claims(&one)["jti"].as_str().unwrap());
    let seen = server.admin("GET", &credentials).send().await.expect(200).body;
    assert_eq!((&seen["is_revoked"], &seen["revoke_reason"]), (&json!(true), &json!("consent_revoked")));
    chancery::tokens::worker::announce(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from outbox where event_type = 'credential.revoked'").await, 2);
    // Asked anew, the person may agree again; what ended stays ended.
    server.ask(&Ask::of("diary"), &of_ada).await.expect(200);
    let again = obtain(&of_ada).await;
    assert!(server.is_active(&again).await && !server.is_active(&one).await);
    server.admin("DELETE", &path).send().await.expect(200);
    assert!(server.is_active(&again).await, "a second time changes nothing");
}

#[tokio::test]
async fn an_administrator_agrees_in_a_persons_stead() {
    let (server, ada, _) = stage().await;
    let give = async |body: Value| server.admin("POST", "/admin/consents").json(body).send().await;
    let made = give(json!({ "user_id": ada, "client_id": "diary", "scopes": ["a"] })).await.expect(201);
    let wider = give(json!({ "user_id": ada, "client_id": "diary", "scope": "b" })).await.expect(200);
    assert_eq!((made.text_of("id"), wider.text_of("scope")), (wider.text_of("id"), "a b"));
    let cookie = server.cookie(&ada).await;
    server.ask(&Ask::of("diary").with("scope", "a b"), &cookie).await.expect(302);
    for (body, status) in [
        (json!({ "user_id": ada, "client_id": "unknown" }), 400),
        (json!({ "user_id": "00000000-0000-0000-0000-000000000000", "client_id": "diary" }), 404),
        (json!({ "user_id": ada, "client_id": "diary", "scopes": ["nhi:manage"] }), 400),
        (json!({ "client_id": "diary" }), 404),
        (json!({ "user_id": "x", "client_id": "diary" }), 422),
    ] {
        give(body).await.expect(status);
    }
    let foreign = json!({ "user_id": ada, "client_id": "diary" });
    server.call("POST", "/admin/consents").tenant("other", "demo").json(foreign).send().await.expect(404);
    assert_eq!(list(&server, "?client_id=diary").await["data"][0]["scopes"], json!(["a", "b"]));
}
