//! How a client authenticates at the token endpoint (RFC 6749 section 2.3), and what one that does not is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::Duration;

use crate::party::Program;
use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims, credentials, sql};

const TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
const CHALLENGE: &str = "Basic realm=\"chancery\", charset=\"UTF-8\"";

/// An agent of this name with a client bound to it.
async fn bound(server: &Server, client_id: &str, more: Value) -> Program {
    let (agent, _) = server.agent(&format!("agent-of-{client_id}").replace(':', "-")).await;
    server.program(client_id, &agent, more).await
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// Asks for a token by client credentials, with this header and these parameters.
async fn ask(server: &Server, authorization: Option<&str>, more: &[(&str, &str)]) -> Answer {
    let form = [&[("grant_type", "client_credentials"), ("scope", "a")], more].concat();
    let call = server.post("/oauth2/token").form(&form);
    match authorization {
        Some(value) => call.with("Authorization", value).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn rfc6749_s2_3_one_way_at_a_time() {
    let server = Server::new().await;
    let client = bound(&server, "worker", json!({})).await;
    let good = basic("worker", &client.secret);
    let secret = ("client_secret", client.secret.as_str());
    let id = ("client_id", "worker");
    for more in [
        &[secret][..],
        &[("client_id", "another")],
        &[id, secret],
        &[("client_assertion", "a.b.c"), TYPE],
        &[("client_assertion", "a.b.c")],
    ] {
        assert_error(&ask(&server, Some(&good), more).await, 400, "invalid_request");
    }
    for more in [
        &[id, secret, ("client_assertion", "a.b.c"), TYPE][..],
        &[secret, ("client_assertion", "a.b.c"), TYPE],
        &[("client_assertion", "a.b.c")],
        &[("client_assertion", "a.b.c"), ("client_assertion_type", "urn:x:saml2-bearer")],
    ] {
        assert_error(&ask(&server, None, more).await, 400, "invalid_request");
    }
    assert_eq!(credentials(&server).await, 0);
    ask(&server, Some(&good), &[]).await.expect(200);
    // Libraries name the client in the body too; the same name is no second way.
    ask(&server, Some(&good), &[id]).await.expect(200);
    ask(&server, None, &[id, secret]).await.expect(200);
    ask(&server, Some(&good), &[("client_id", ""), ("client_secret", "")]).await.expect(200);
    let body = json!({
        "grant_type": "client_credentials", "client_id": "worker", "client_secret": client.secret,
    });
    server.post("/oauth2/token").json(body).send().await.expect(200);
}

/// A byte as a form escapes it.
fn escape(byte: u8) -> [char; 3] {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap().to_ascii_uppercase();
    ['%', digit(byte >> 4), digit(byte & 15)]
}

#[tokio::test]
async fn rfc6749_s2_3_1_id_and_secret_are_form_encoded_within_basic() {
    let server = Server::new().await;
    let client = bound(&server, "svc:one", json!({})).await;
    let escaped: String = client.secret.bytes().flat_map(escape).collect();
    for good in [
        basic("svc%3Aone", &client.secret),
        basic("svc%3aone", &escaped),
        basic("%73vc%3Aone", &client.secret).replace("Basic", "bAsIc"),
    ] {
        ask(&server, Some(&good), &[]).await.expect(200);
    }
    for bad in [
        basic("svc:one", &client.secret),
        basic("svc%3Aone", &format!("{}+", client.secret)),
        basic("svc%3Aone", &format!("{}%20", client.secret)),
        basic("svc%253Aone", &client.secret),
        basic("svc%3Aone", ""),
        basic("svc%3Aone", &client.secret.to_uppercase()),
    ] {
        assert_error(&ask(&server, Some(&bad), &[]).await, 401, "invalid_client");
    }
    for malformed in [
        basic("svc%3Aone", "%ff"),
        basic("svc%00", "x"),
        "Basic !".to_owned(),
        format!("Basic {}", STANDARD.encode("svc")),
        format!("Basic {}", STANDARD.encode(b"\xff:\xff")),
    ] {
        assert_error(&ask(&server, Some(&malformed), &[]).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_bearer_is_no_client_authentication() {
    let server = Server::new().await;
    let client = bound(&server, "worker", json!({})).await;
    let own = [("client_id", "worker"), ("client_secret", client.secret.as_str())];
    for stray in ["Bearer x", "bearer", "DPoP x", "Digest a"] {
        ask(&server, Some(stray), &own).await.expect(200);
        assert_error(&ask(&server, Some(stray), &[]).await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn rfc6749_s5_2_a_failed_basic_is_challenged_and_nothing_else() {
    let server = Server::new().await;
    bound(&server, "worker", json!({})).await;
    let by_header = ask(&server, Some(&basic("worker", "wrong")), &[]).await;
    assert_error(&by_header, 401, "invalid_client");
    assert_eq!(by_header.header("www-authenticate"), CHALLENGE);
    let by_body = ask(&server, None, &[("client_id", "worker"), ("client_secret", "wrong")]).await;
    assert_error(&by_body, 401, "invalid_client");
    assert_eq!(by_body.header("www-authenticate"), "");
    assert_eq!(by_header.text, by_body.text);
}

#[tokio::test]
async fn whoever_does_not_authenticate_is_told_the_same_whatever_is_wrong() {
    let server = Server::new().await;
    let mut told = Vec::new();
    let mut note = |answer: Answer| {
        assert_error(&answer, 401, "invalid_client");
        let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id");
        let headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        told.push((answer.text, headers));
    };
    let form = async |id: &str, secret: &str| {
        ask(&server, None, &[("client_id", id), ("client_secret", secret)]).await
    };
    let good = bound(&server, "good", json!({})).await;
    let off = bound(&server, "off", json!({})).await;
    server.patch_client(&off.id, json!({ "is_active": false })).await.expect(200);
    let gone = bound(&server, "gone", json!({})).await;
    server.admin("DELETE", &format!("/oauth/clients/{}", gone.id)).send().await.expect(200);
    let keys = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [crate::signer::Signer::new().jwk()] } });
    bound(&server, "keys", keys).await;
    let public = json!({ "client_id": "public", "name": "public", "grant_types": ["api_key"] });
    server.admin("POST", "/oauth/clients").json(public).send().await.expect(201);
    note(form("nobody", "x").await);
    note(form("good", "x").await);
    note(form("good", &good.secret[1..]).await);
    note(form("good", &off.secret).await);
    note(form("GOOD", &good.secret).await);
    note(form("off", &off.secret).await);
    note(form("gone", &gone.secret).await);
    note(form("keys", "x").await);
    note(form("public", "x").await);
    note(ask(&server, None, &[("client_id", "good")]).await);
    note(ask(&server, None, &[("client_id", "nobody")]).await);
    note(ask(&server, None, &[("client_secret", &good.secret)]).await);
    note(ask(&server, None, &[("client_assertion", "a.b.c"), TYPE]).await);
    sql(&server, "update tenants set state = 'suspended'").await;
    note(form("good", &good.secret).await);
    sql(&server, "update tenants set state = 'active'").await;
    for (text, headers) in &told {
        assert_eq!((text, headers), (&told[0].0, &told[0].1));
        assert!(!text.contains("good") && !text.contains(&good.secret));
    }
    form("good", &good.secret).await.expect(200);
}

#[tokio::test]
async fn a_public_client_names_itself_and_proves_nothing() {
    let server = Server::new().await;
    let body =
        json!({ "client_id": "phone", "name": "Phone", "grant_types": ["api_key"], "scopes": ["a", "b"] });
    server.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
    let (_, key) = server.agent("fetcher").await;
    let beside = async |more: &[(&str, &str)]| {
        let form = [&[("grant_type", "api_key"), ("api_key", key.as_str()), ("scope", "a c")], more].concat();
        server.post("/oauth2/token").form(&form).send().await
    };
    let token = beside(&[("client_id", "phone")]).await.token();
    let found = claims(&token);
    assert_eq!((&found["client_id"], &found["scopes"]), (&json!("phone"), &json!(["a"])));
    assert_error(&ask(&server, None, &[("client_id", "phone")]).await, 400, "unauthorized_client");
    for more in [
        &[("client_id", "phone"), ("client_secret", "x")][..],
        &[("client_id", "phones")],
        &[("client_id", "phone\u{0}")],
    ] {
        assert!(beside(more).await.status.is_client_error());
    }
    // It ends what it obtained when it ends.
    let rows = server.count("select count(*) from credentials").await;
    assert_eq!(rows, 1);
    sql(&server, "update oauth_clients set is_active = false").await;
    assert!(!server.is_active(&token).await);
    assert_error(&beside(&[("client_id", "phone")]).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_client_uses_the_grants_it_is_registered_for() {
    let server = Server::new().await;
    let client = bound(&server, "worker", json!({ "grant_types": ["token_exchange"] })).await;
    let (_, key) = server.agent("fetcher").await;
    let own = [("client_id", "worker"), ("client_secret", client.secret.as_str())];
    assert_error(&ask(&server, None, &own).await, 400, "unauthorized_client");
    let form = [&[("grant_type", "api_key"), ("api_key", &key)], &own[..]].concat();
    assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "unauthorized_client");
    let unknown = [&[("grant_type", "password")], &own[..]].concat();
    assert_error(&server.post("/oauth2/token").form(&unknown).send().await, 400, "unsupported_grant_type");
    assert_eq!(credentials(&server).await, 0);
    let rows = server.audit().await;
    let refused: Vec<_> = rows.iter().filter(|(action, ..)| action == "token.refused").collect();
    assert!(refused.len() == 2 && refused.iter().all(|(_, _, kind, _)| kind == "client"), "{rows:?}");
}

#[tokio::test]
async fn a_client_of_another_tenant_is_no_client_of_this_ones_grant() {
    let server = Server::new().await;
    let body = json!({
        "client_id": "foreign", "name": "Foreign", "confidential": true, "grant_types": ["api_key", "jwt_bearer"],
        "scopes": ["a"],
    });
    let call = server.call("POST", "/oauth/clients").tenant("other", "demo");
    let secret = call.json(body).send().await.expect(201).text_of("client_secret").to_owned();
    let agent = server.party("fetcher", json!({})).await;
    let assertion = server.assertion(&agent);
    for grant in [
        [("grant_type", "api_key"), ("api_key", agent.api_key.as_str())],
        [("grant_type", crate::party::JWT_BEARER), ("assertion", &assertion)],
    ] {
        let form = [&grant[..], &[("client_id", "foreign"), ("client_secret", &secret)]].concat();
        assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "invalid_grant");
    }
    assert_eq!(credentials(&server).await, 0);
    let here = "select count(*) from audit_events where action = 'token.refused' and account_id = 'acme'";
    assert_eq!(server.count(here).await, 2, "the tenant of the key and the agent hears of it");
    server.assert(&assertion, "").await.expect(200);
}

/// Wrong secrets, unknown clients and bad assertions count; who is locked out is refused whatever he presents.
#[tokio::test]
async fn wrong_credentials_lock_an_address_out() {
    let server = Server::with(|config| config.lockout.failures = 3).await;
    let client = bound(&server, "worker", json!({})).await;
    let from = async |address: &str, secret: &str| {
        let form = [("grant_type", "client_credentials"), ("client_id", "worker"), ("client_secret", secret)];
        server.post("/oauth2/token").form(&form).from(address).send().await
    };
    let (here, there) = ("203.0.113.7:4000", "203.0.113.8:4000");
    for _ in 0..5 {
        from(here, &client.secret).await.expect(200);
    }
    assert_error(&from(here, "wrong").await, 401, "invalid_client");
    let unknown = [("grant_type", "client_credentials"), ("client_id", "x"), ("client_secret", "x")];
    let call = server.post("/oauth2/token").form(&unknown).from(here);
    assert_error(&call.send().await, 401, "invalid_client");
    let assertion = [("grant_type", "client_credentials"), ("client_assertion", "a.b.c"), TYPE];
    let call = server.post("/oauth2/token").form(&assertion).from(here);
    assert_error(&call.send().await, 401, "invalid_client");
    let locked = from(here, &client.secret).await;
    assert_error(&locked, 429, "slow_down");
    assert_eq!(locked.header("retry-after"), "61");
    let token = [("token", "x"), ("client_id", "worker"), ("client_secret", client.secret.as_str())];
    for path in ["/oauth2/token/introspect", "/oauth2/token/revoke"] {
        let answer = server.post(path).form(&token).from(here).send().await;
        assert_error(&answer, 429, "slow_down");
    }
    from(there, &client.secret).await.expect(200);
    server.app.clock.advance(Duration::seconds(60));
    from(here, &client.secret).await.expect(200);
}
