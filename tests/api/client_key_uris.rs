//! Clients whose keys are fetched from their `jwks_uri`.

use serde_json::{Value, json};
use time::Duration;

use crate::client_documents::fetching;
use crate::https::{Site, raw};
use crate::server::{Answer, Server};
use crate::signer::{Signer, with};
use crate::tools::assert_error;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn ask(server: &Server, signer: &Signer, kid: &str) -> Answer {
    let claims = crate::signer::assertion_claims("worker", server.app.clock.now());
    let assertion = signer.jws(&json!({ "alg": "ES256", "kid": kid }), &claims);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion", assertion.as_str()),
        ("client_assertion_type", TYPE),
    ];
    server.post("/oauth2/token").form(&form).send().await
}

fn set(keys: &[(&Signer, &str)]) -> Value {
    let keys: Vec<_> = keys.iter().map(|(key, kid)| with(&key.jwk(), &json!({ "kid": kid }))).collect();
    json!({ "keys": keys })
}

/// A client `worker` with this address of its keys.
async fn register(server: &Server, uri: &str) -> String {
    let (agent, _) = server.agent("a").await;
    let more = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri });
    server.program("worker", &agent, more).await.id
}

#[tokio::test]
async fn a_client_rotates_its_keys_where_it_publishes_them() {
    let (server, site, first, second) = (fetching().await, Site::start().await, Signer::new(), Signer::new());
    site.json("/keys", set(&[(&first, "1")]));
    let id = register(&server, &site.url("/keys")).await;
    let shown = server.admin("GET", &format!("/oauth/clients/{id}")).send().await.expect(200).body;
    assert_eq!(shown["jwks_uri"], site.url("/keys"));
    assert!(shown.get("jwks").is_none());
    ask(&server, &first, "1").await.expect(200);
    ask(&server, &first, "1").await.expect(200);
    assert_eq!(site.hits(), 1);
    assert_error(&ask(&server, &second, "1").await, 401, "invalid_client");
    site.json("/keys", set(&[(&first, "1"), (&second, "2")]));
    server.app.clock.advance(Duration::seconds(10));
    ask(&server, &second, "2").await.expect(200);
    assert_eq!(site.hits(), 2);
    // Inline keys take the address's place, and the other way round.
    let path = format!("/oauth/clients/{id}");
    let inline = json!({ "jwks": set(&[(&second, "2")]) });
    let changed = server.admin("PATCH", &path).json(inline).send().await.expect(200).body;
    assert!(changed.get("jwks_uri").is_none());
    assert_error(&ask(&server, &first, "1").await, 401, "invalid_client");
    let back = json!({ "jwks_uri": site.url("/keys") });
    let changed = server.admin("PATCH", &path).json(back).send().await.expect(200).body;
    assert!(changed.get("jwks").is_none());
    ask(&server, &first, "1").await.expect(200);
}

#[tokio::test]
async fn keys_that_can_not_be_fetched_are_an_outage_and_no_wrong_client() {
    let (server, site, inside, key) =
        (fetching().await, Site::start().await, Site::start().await, Signer::new());
    inside.json("/keys", set(&[(&key, "1")]));
    site.set("/keys", raw(&format!("302 Found\r\nLocation: {}", inside.url("/keys")), ""));
    register(&server, &site.url("/keys")).await;
    let answer = ask(&server, &key, "1").await.expect(503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!((site.hits(), inside.hits()), (1, 0));
    let guarded =
        server.replica_with(|config| config.outbound.allow_private = String::new().parse().unwrap()).await;
    ask(&guarded, &key, "1").await.expect(503);
    assert_eq!(site.hits(), 1, "a private address is not reached");
}

#[tokio::test]
async fn an_address_that_can_not_be_asked_is_refused_at_registration_and_change() {
    let (server, key) = (Server::new().await, Signer::new());
    let (agent, _) = server.agent("a").await;
    let method = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": set(&[(&key, "1")]) });
    let path = format!("/oauth/clients/{}", server.program("good", &agent, method).await.id);
    for uri in [
        "http://keys.example/jwks",
        "https://127.0.0.1/jwks",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/jwks",
        "https://2130706433/jwks",
        "https://localhost/jwks",
        "https://10.0.0.1/jwks",
        "https://1.1.1.1:22/jwks",
        "https://user:hunter2@keys.example/jwks",
        "https://keys.example/jwks#x",
        "keys.example",
    ] {
        let body = json!({
            "client_id": "new", "name": "New", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri,
        });
        let made = server.admin("POST", "/oauth/clients").json(body).send().await;
        let changed = server.admin("PATCH", &path).json(json!({ "jwks_uri": uri })).send().await;
        for answer in [made, changed] {
            assert_eq!(
                (answer.status.as_u16(), answer.text.contains("hunter2")),
                (400, false),
                "{uri}: {}",
                answer.text
            );
        }
    }
    let both = json!({ "jwks": set(&[(&key, "1")]), "jwks_uri": "https://keys.example/jwks" });
    server.admin("PATCH", &path).json(both).send().await.expect(400);
    let secret = json!({
        "client_id": "new", "name": "New", "confidential": true, "jwks_uri": "https://keys.example/jwks",
    });
    server.admin("POST", "/oauth/clients").json(secret).send().await.expect(400);
}
