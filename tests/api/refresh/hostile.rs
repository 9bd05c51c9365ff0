//! Refresh tokens that are not quite one, and one in the place of everything else.

use serde_json::json;

use super::assert_dead;
use crate::server::Server;
use crate::tools::{assert_error, credentials};

#[tokio::test]
async fn no_other_text_passes_for_a_refresh_token() {
    let server = Server::with(|config| config.lockout.failures = 0).await;
    let who = server.public_refresher("app").await;
    let token = server.begin(&who).await.refresh;
    let mut forged: Vec<String> = (0..token.len()).map(|length| token[..length].to_owned()).collect();
    for at in 0..token.len() {
        for other in ["A", "B", "_", "=", " ", "%", "."] {
            forged.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
        }
    }
    for end in ["=", "A", " ", "\n", ".", "\u{301}"] {
        forged.push(format!("{token}{end}"));
        forged.push(format!("{end}{token}"));
    }
    forged.extend([token.to_uppercase(), token.to_lowercase(), token.repeat(2), token.repeat(300)]);
    forged.retain(|text| *text != token);
    let before = credentials(&server).await;
    for text in forged {
        let answer = server.refresh(&who, &text).await;
        let missing = text.is_empty() || text.len() >= 16_384;
        assert_error(&answer, 400, if missing { "invalid_request" } else { "invalid_grant" });
        assert!(text.len() < 20 || !answer.text.contains(&text), "it is not echoed");
        let unnamed = [("grant_type", "refresh_token"), ("refresh_token", text.as_str())];
        assert_eq!(server.post("/oauth2/token").form(&unnamed).send().await.status, 400);
    }
    assert_eq!(credentials(&server).await, before);
    assert!(server.refreshes(&who, &token).await);
}

#[tokio::test]
async fn unknown_tokens_lock_an_address_out_and_known_ones_do_not() {
    let server = Server::with(|config| config.lockout.failures = 3).await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    let second = server.refresh(&who, &first.refresh).await.tokens();
    let from = async |address: &str, token: &str| {
        server.post("/oauth2/token").form(&who.form(token, &[])).from(address).send().await
    };
    let (here, there) = ("203.0.113.7:4000", "203.0.113.8:4000");
    for _ in 0..5 {
        from(here, &first.refresh).await.expect(400);
    }
    for _ in 0..3 {
        assert_dead(&from(here, "zid_rt_unknown").await);
    }
    assert_error(&from(here, &second.refresh).await, 429, "slow_down");
    from(there, &second.refresh).await.expect(200);
}

#[tokio::test]
async fn rfc8693_s2_1_a_refresh_token_passes_for_nothing_else_and_nothing_else_for_it() {
    let server = Server::new().await;
    let party = server.party("agent", json!({ "allowed_scopes": ["a"] })).await;
    let who = server.public_refresher("app").await;
    let tokens = server.begin(&who).await;
    let (assertion, refresh) = (server.assertion(&party), tokens.refresh.as_str());
    let exchange = crate::party::TOKEN_EXCHANGE;
    let bearer = crate::party::JWT_BEARER;
    let kind = "urn:ietf:params:oauth:token-type:refresh_token";
    for form in [
        &[("grant_type", "api_key"), ("api_key", refresh)][..],
        &[("grant_type", bearer), ("assertion", refresh)],
        &[("grant_type", exchange), ("subject_token", refresh), ("actor_token", &assertion), ("scope", "a")],
        &[
            ("grant_type", exchange),
            ("subject_token", &tokens.access),
            ("actor_token", refresh),
            ("scope", "a"),
        ],
        &[("grant_type", exchange), ("subject_token", refresh), ("subject_token_type", kind)],
        &[("grant_type", exchange), ("subject_token", &tokens.access), ("requested_token_type", kind)],
        &[("grant_type", "client_credentials"), ("client_id", "app"), ("client_secret", refresh)],
    ] {
        let answer = server.post("/oauth2/token").form(form).send().await;
        assert!(answer.status.is_client_error(), "{form:?}: {}", answer.text);
    }
    let unknown = server.get("/agents/registry").bearer(refresh).send().await;
    assert!(unknown.status.is_client_error(), "{}", unknown.text);
    assert_eq!(server.get("/oauth2/token/verify").bearer(refresh).send().await.status, 401);
    assert_eq!(server.introspect(refresh).await, json!({ "active": false }));
    let own = [("token", refresh), ("client_id", "app"), ("token_type_hint", "refresh_token")];
    let answer = server.post("/oauth2/token/introspect").form(&own).send().await.expect(200);
    assert_eq!(answer.body, json!({ "active": false }));
    for other in [&tokens.access, &assertion, &party.api_key, &who.id] {
        assert_dead(&server.refresh(&who, other).await);
    }
    assert!(server.refreshes(&who, refresh).await);
}

#[tokio::test]
async fn the_parameter_is_a_text_that_is_there() {
    let server = Server::new().await;
    server.public_refresher("app").await;
    for body in [
        json!({}),
        json!({ "refresh_token": "" }),
        json!({ "refresh_token": 7 }),
        json!({ "refresh_token": ["a"] }),
    ] {
        let mut body = body;
        body["grant_type"] = json!("refresh_token");
        body["client_id"] = json!("app");
        assert_error(&server.post("/oauth2/token").json(&body).send().await, 400, "invalid_request");
        body.as_object_mut().unwrap().remove("client_id");
        assert_error(&server.post("/oauth2/token").json(&body).send().await, 400, "invalid_request");
    }
}
