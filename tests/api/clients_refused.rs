//! What is refused of a registration, and leaves nothing behind.

use serde_json::{Value, json};

use crate::clients::{jwk, new_client};
use crate::server::Server;

/// Requires a refusal at this member that changes nothing and echoes no private part of the body.
async fn assert_refused(server: &Server, more: Value, status: u16, location: &str) {
    let before = (server.everything().await, server.audited().await);
    let answer = server.register_client("fresh", more.clone()).await;
    assert_eq!(answer.status, status, "{more}: {}", answer.text);
    let answer = answer.problem(status);
    let at = answer.body["errors"][0]["location"].as_str().unwrap_or_default();
    assert!(at.starts_with(location), "{more}: {at}");
    let after = (server.everything().await, server.audited().await);
    assert_eq!(after, (before.0, before.1 + 1), "{more}");
}

#[tokio::test]
async fn a_client_id_is_plain_and_a_name_is_there() {
    let server = Server::new().await;
    for good in ["a", "-", ".", "A.b_c:d-9", &"x".repeat(255)] {
        server.register_client(good, Value::Null).await.expect(201);
    }
    for bad in ["a b", "a/b", "ä", "a\n", "a%20", "a*", "a@b", "https://app.example/", &"x".repeat(256)] {
        assert_refused(&server, json!({ "client_id": bad }), 400, "body.client_id").await;
    }
    for bad in [json!(""), json!(null), json!(7), json!(["a"])] {
        assert_refused(&server, json!({ "client_id": bad }), 422, "body").await;
    }
    for bad in [json!(""), json!("  "), json!(null), json!(7)] {
        assert_refused(&server, json!({ "name": bad }), 422, "body").await;
    }
    for missing in ["client_id", "name"] {
        let mut body = new_client("fresh", &Value::Null);
        body.as_object_mut().unwrap().remove(missing);
        let refused = server.admin("POST", "/oauth/clients").json(body).send().await.problem(422);
        assert!(refused.text_of("detail").contains(missing), "{}", refused.text);
    }
}

#[tokio::test]
async fn members_of_another_type_or_size_are_refused() {
    let server = Server::new().await;
    for (member, bad, status) in [
        ("confidential", json!("yes"), 422),
        ("grant_types", json!("client_credentials"), 422),
        ("grant_types", json!([1]), 422),
        ("scopes", json!("a b"), 422),
        ("redirect_uris", json!("https://app.example"), 422),
        ("access_token_ttl", json!(1.5), 422),
        ("access_token_ttl", json!("60"), 422),
        ("access_token_ttl", json!(2_147_483_648_i64), 422),
        ("access_token_ttl", json!(-1), 400),
        ("refresh_token_ttl", json!(-1), 400),
        ("refresh_token_reuse", json!("never"), 400),
        ("refresh_token_reuse", json!(1), 422),
        ("identity_id", json!("nonsense"), 422),
        ("metadata", json!([]), 422),
        ("contacts", json!([null]), 422),
        ("token_endpoint_auth_method", json!("client_secret_jwt"), 422),
        ("token_endpoint_auth_method", json!("NONE"), 422),
        ("token_profile", json!("custom"), 400),
    ] {
        assert_refused(&server, json!({ member: bad }), status, &format!("body.{member}")).await;
    }
    let long = "x".repeat(4097);
    for more in [
        json!({ "name": long }),
        json!({ "description": long }),
        json!({ "software_id": long }),
        json!({ "software_version": long }),
        json!({ "contacts": [long] }),
        json!({ "redirect_uris": [format!("https://app.example/{long}")] }),
        json!({ "scopes": vec!["a"; 101] }),
        json!({ "scopes": ["a b"] }),
        json!({ "scopes": [""] }),
    ] {
        let before = server.everything().await;
        server.register_client("fresh", more).await.problem(400);
        assert_eq!(server.everything().await, before);
    }
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_and_says_so() {
    let server = Server::new().await;
    for (member, value, hint) in [
        ("jwks_uri", "https://app.example/jwks", "send jwks"),
        ("jwks_uri", "http://169.254.169.254/", "send jwks"),
        ("backchannel_token_delivery_mode", "ping", "poll"),
        ("backchannel_token_delivery_mode", "push", "poll"),
        ("backchannel_token_delivery_mode", "Poll", "poll"),
        ("client_notification_endpoint", "https://app.example/notify", "poll"),
    ] {
        assert_refused(&server, json!({ member: value }), 400, &format!("body.{member}")).await;
        let answer = server.register_client("fresh", json!({ member: value })).await.problem(400);
        assert!(answer.text_of("detail").contains(hint), "{}", answer.text);
    }
}

#[tokio::test]
async fn grants_are_known_and_fit_the_kind_of_client() {
    let server = Server::new().await;
    for bad in ["password", "implicit", "ciba", "", "urn:ietf:params:oauth:grant-type:device_code"] {
        let more = json!({ "confidential": true, "grant_types": ["client_credentials", bad] });
        assert_refused(&server, more, 400, "body.grant_types[1]").await;
    }
    for public in [
        json!({ "grant_types": ["client_credentials"] }),
        json!({ "grant_types": ["authorization_code", "client_credentials"], "confidential": false }),
    ] {
        assert_refused(&server, public, 400, "body.grant_types").await;
    }
    let all = json!(["jwt_bearer", "token_exchange", "api_key", "authorization_code", "refresh_token"]);
    let answer = server.register_client("public", json!({ "grant_types": all })).await.expect(201);
    assert_eq!(answer.body["client"]["grant_types"], all);
}

#[tokio::test]
async fn redirect_uris_are_exact_and_safe() {
    let server = Server::new().await;
    for bad in [
        "",
        "/callback",
        "https://app.example/cb#",
        "https://user@app.example/cb",
        "https://app.example\\@evil.example/",
        "https://app.example/a/../cb",
        "http://app.example/cb",
        "http://localhost.evil.example/cb",
        "JavaScript:alert(1)",
        "myapp:/callback",
        "*",
        "https://*.example/cb",
    ] {
        let more = json!({ "redirect_uris": ["https://app.example/cb", bad] });
        if bad == "https://*.example/cb" {
            // A star means itself: it is never a pattern.
            server.register_client("star", more).await.expect(201);
            continue;
        }
        assert_refused(&server, more, 400, "body.redirect_uris[1]").await;
    }
}

#[tokio::test]
async fn keys_are_public_strong_and_where_they_are_used() {
    let server = Server::new().await;
    let private = "fPzWq5sLNfSxzv2QxcKEhkLdNGJGmrDBQbLvyKBzPo4";
    let mut leaked = jwk();
    leaked["d"] = json!(private);
    let mut foreign = jwk();
    foreign["alg"] = json!("HS256");
    for keys in
        [json!([leaked]), json!([foreign]), json!([{ "kty": "oct", "k": private }]), json!("x"), json!({})]
    {
        let more = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": keys } });
        let answer = server.register_client("fresh", more.clone()).await.problem(400);
        assert!(!answer.text.contains(private), "{}", answer.text);
        assert_refused(&server, more, 400, "body.jwks").await;
    }
    assert!(!server.everything().await.contains(private));
    let keys = json!({ "keys": [jwk()] });
    assert_refused(&server, json!({ "jwks": keys }), 400, "body.jwks").await;
    assert_refused(&server, json!({ "jwks": keys, "confidential": true }), 400, "body.jwks").await;
    let without = json!({ "token_endpoint_auth_method": "private_key_jwt" });
    assert_refused(&server, without.clone(), 400, "body.jwks").await;
    // An agent of the same name, or one that is named, may bring the key.
    server.agent("fresh").await;
    server.register_client("fresh", without.clone()).await.expect(201);
    let (agent, _) = server.agent("other").await;
    let more = json!({ "token_endpoint_auth_method": "private_key_jwt", "identity_id": agent });
    server.register_client("bound", more).await.expect(201);
}

#[tokio::test]
async fn a_body_that_can_not_be_read_leaves_a_row_and_nothing_else() {
    let server = Server::new().await;
    let (id, _) = server.confidential("worker").await;
    for (method, path) in [
        ("POST", "/oauth/clients".to_owned()),
        ("PATCH", format!("/oauth/clients/{id}")),
        ("POST", format!("/oauth/clients/{id}/rotate-secret")),
        ("POST", format!("/oauth/clients/{id}/revoke-tokens")),
        ("POST", "/admin/oauth/revoke-by-pattern".to_owned()),
    ] {
        for (kind, body, status) in [
            ("application/json", "{".to_owned(), 400),
            ("application/json", "[1]".to_owned(), 422),
            ("application/json", "{\"reason\":\"\\u0000\"}".to_owned(), 400),
            ("text/plain", "{}".to_owned(), 415),
            ("application/json", " ".repeat(1_048_577), 413),
        ] {
            let before = (server.everything().await, server.audited().await);
            let answer = server.admin(method, &path).raw(kind, body).send().await;
            assert_eq!(answer.status, status, "{method} {path} {kind}: {}", answer.text);
            answer.problem(status);
            let after = (server.everything().await, server.audited().await);
            assert_eq!(after, (before.0, before.1 + 1), "{method} {path} {status}");
        }
    }
}
