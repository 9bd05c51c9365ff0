//! Changes of clients: what is absent stays, and what comes of a change is checked as a new client is.

use serde_json::{Value, json};
use time::Duration;

use crate::clients::{assert_without_null, jwk};
use crate::server::Server;

async fn keyed(server: &Server, more: Value) -> String {
    let mut body = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk()] } });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let answer = server.register_client("keyed", body).await.expect(201);
    answer.body["client"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_member_changes_alone() {
    let server = Server::new().await;
    let more = json!({ "scopes": ["a"], "redirect_uris": ["https://app.example/cb"], "metadata": { "a": 1 },
        "description": "old", "access_token_ttl": 60, "refresh_token_ttl": 90, "refresh_token_reuse": "refuse", "token_profile": "shark" });
    let id = keyed(&server, more).await;
    let mut expected = server.read_client(&id).await;
    let mut other = jwk();
    other["kid"] = json!("second");
    for (member, sent, shown) in [
        ("name", json!("Other"), None),
        ("description", json!(""), None),
        ("grant_types", json!(["urn:ietf:params:oauth:grant-type:jwt-bearer"]), Some(json!(["jwt_bearer"]))),
        ("scopes", json!(["b", "c", "b"]), Some(json!(["b", "c"]))),
        ("scopes", json!([]), None),
        ("redirect_uris", json!([]), None),
        ("access_token_ttl", json!(0), None),
        ("refresh_token_ttl", json!(7), None),
        ("refresh_token_reuse", json!("reissue"), None),
        ("refresh_token_reuse", json!(""), Some(json!("quiet"))),
        ("jwks", json!({ "keys": [other] }), None),
        ("token_profile", json!("rfc8693"), None),
        ("metadata", json!({ "b": [] }), None),
        ("metadata", json!({}), None),
        ("is_active", json!(false), None),
        ("is_active", json!(true), None),
    ] {
        server.app.clock.advance(Duration::seconds(1));
        let answer = server.patch_client(&id, json!({ member: sent })).await.expect(200);
        expected[member] = shown.unwrap_or(sent);
        expected["updated_at"] = answer.body["updated_at"].clone();
        assert_eq!(answer.body, expected, "{member}");
        assert_eq!(server.read_client(&id).await, expected, "{member}");
        assert_without_null(&answer.body);
    }
    let answer = server.patch_client(&id, json!({ "token_profile": "" })).await.expect(200);
    assert!(answer.body.get("token_profile").is_none());
    let polls = json!({ "grant_types": ["urn:openid:params:grant-type:ciba"] });
    assert_eq!(
        server.patch_client(&id, polls).await.expect(200).body["backchannel_token_delivery_mode"],
        "poll"
    );
}

#[tokio::test]
async fn what_no_patch_may_change_stays() {
    let server = Server::new().await;
    let (agent, _) = server.agent("fetcher").await;
    let (id, secret) = server.confidential("worker").await;
    let before = server.read_client(&id).await;
    let all = json!({
        "id": agent, "client_id": "other", "client_type": "public", "confidential": false,
        "token_endpoint_auth_method": "none", "identity_id": agent, "registration_source": "dynamic", "epoch": 9,
        "account_id": "other", "project_id": "other", "secret_hash": "x", "client_secret": "x", "created_by": "x",
        "created_at": "2020-01-01T00:00:00Z", "deleted_at": "2020-01-01T00:00:00Z", "software_id": "x",
    });
    server.patch_client(&id, all).await.expect(200);
    assert_eq!(server.read_client(&id).await, before);
    assert!(server.secret_works("worker", &secret).await);
    let nothing = json!({ "name": null, "scopes": null, "jwks": null, "is_active": null });
    for body in [json!({}), nothing] {
        assert_eq!(server.patch_client(&id, body).await.expect(200).body, before);
    }
}

#[tokio::test]
async fn the_result_is_checked_as_a_new_client_is() {
    let server = Server::new().await;
    let (confidential, _) = server.confidential("worker").await;
    let public = server.register_client("public", Value::Null).await.expect(201);
    let public = public.body["client"]["id"].as_str().unwrap();
    let keyed = keyed(&server, json!({ "grant_types": ["jwt_bearer"] })).await;
    for (id, body, status, location) in [
        (&*confidential, json!({ "name": " " }), 422, "body.name"),
        (&confidential, json!({ "name": 7 }), 422, "body.name"),
        (&confidential, json!({ "grant_types": [] }), 400, "body.grant_types"),
        (&confidential, json!({ "grant_types": ["password"] }), 400, "body.grant_types[0]"),
        (&confidential, json!({ "jwks": { "keys": [jwk()] } }), 400, "body.jwks"),
        (&confidential, json!({ "redirect_uris": ["http://app.example"] }), 400, "body.redirect_uris[0]"),
        (&confidential, json!({ "access_token_ttl": -1 }), 400, "body.access_token_ttl"),
        (&confidential, json!({ "token_profile": "custom" }), 400, "body.token_profile"),
        (&confidential, json!({ "is_active": "no" }), 422, "body.is_active"),
        (public, json!({ "grant_types": ["client_credentials"] }), 400, "body.grant_types"),
        (public, json!({ "jwks": { "keys": [jwk()] } }), 400, "body.jwks"),
        (&keyed, json!({ "jwks": { "keys": [] } }), 400, "body.jwks"),
        (&keyed, json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }), 400, "body.jwks"),
        (&keyed, json!({ "jwks": "x" }), 400, "body.jwks"),
    ] {
        let before = server.everything().await;
        let answer = server.patch_client(id, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert_eq!(answer.problem(status).body["errors"][0]["location"], location, "{body}");
        assert_eq!(server.everything().await, before, "{body}");
    }
    // With an agent that may bring its key, the client needs none of its own.
    server.agent("keyed").await;
    let answer = server.patch_client(&keyed, json!({ "jwks": { "keys": [] } })).await.expect(200);
    assert!(answer.body.get("jwks").is_none());
}

#[tokio::test]
async fn what_a_new_client_may_be_an_old_one_may_become() {
    let server = Server::new().await;
    for (number, (member, value)) in [
        ("name", json!("Other")),
        ("name", json!("")),
        ("name", json!("x".repeat(4097))),
        ("description", json!("x".repeat(4097))),
        ("grant_types", json!(["api_key", "urn:ietf:params:oauth:grant-type:token-exchange"])),
        ("grant_types", json!(["implicit"])),
        ("scopes", json!(["a", "b"])),
        ("scopes", json!(["a b"])),
        ("scopes", json!(vec!["a"; 101])),
        ("redirect_uris", json!(["https://app.example"])),
        ("redirect_uris", json!(["https://app.example/#"])),
        ("access_token_ttl", json!(i32::MAX)),
        ("access_token_ttl", json!(-1)),
        ("refresh_token_ttl", json!(1.5)),
        ("refresh_token_reuse", json!("Reissue")),
        ("refresh_token_reuse", json!(30)),
        ("jwks", json!({ "keys": [] })),
        ("jwks", json!({ "keys": [jwk()] })),
        ("token_profile", json!("shark")),
        ("token_profile", json!("Shark")),
        ("metadata", json!({ "a": null })),
        ("metadata", json!(7)),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, _) = server.confidential(&format!("old{number}")).await;
        let patched = server.patch_client(&id, json!({ member: value })).await;
        let more = json!({ "confidential": true, member: value });
        let created = server.register_client(&format!("new{number}"), more).await;
        assert_eq!(patched.status.is_success(), created.status.is_success(), "{member}: {}", patched.text);
        assert_eq!(patched.body[member], created.body["client"][member], "{member}");
        assert_eq!(patched.body["detail"], created.body["detail"], "{member}");
    }
}

#[tokio::test]
async fn a_refused_change_changes_nothing_of_what_came_with_it() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (id, _) = server.confidential("worker").await;
    let token = server.token_of_client(&key, "worker").await;
    let before = server.everything().await;
    let body = json!({ "name": "Other", "is_active": false, "access_token_ttl": -1 });
    server.patch_client(&id, body).await.problem(400);
    assert_eq!(server.everything().await, before);
    assert!(server.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_meet_all_happen() {
    let server = Server::new().await;
    let (id, _) = server.confidential("worker").await;
    let replica = server.replica().await;
    let (a, b, c, d) = tokio::join!(
        server.patch_client(&id, json!({ "name": "Other" })),
        replica.patch_client(&id, json!({ "scopes": ["a"] })),
        replica.act_on_client(&id, "revoke-tokens", Value::Null),
        server.act_on_client(&id, "rotate-secret", Value::Null),
    );
    let rotated = d.expect(200);
    for answer in [a, b, c] {
        answer.expect(200);
    }
    let client = server.read_client(&id).await;
    assert_eq!((&client["name"], &client["scopes"]), (&json!("Other"), &json!(["a"])));
    assert!(server.secret_works("worker", rotated.text_of("client_secret")).await);
    assert_eq!(server.count("select epoch::bigint from oauth_clients").await, 1);
}
