//! Codes at the token endpoint (RFC 6749 section 4.1.3, RFC 7636): what must be right, how long, how often.

use serde_json::json;
use time::Duration;

use crate::people::{Ask, CALLBACK, VERIFIER};
use crate::server::{ISSUER, Server};
use crate::tools::{assert_error, claims, credentials};

async fn stage() -> (Server, String) {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    (server, cookie)
}

/// What is wrong does not use the code up.
#[tokio::test]
async fn rfc6749_s4_1_3_whatever_is_wrong_gets_nothing_and_the_code_stays() {
    let (server, cookie) = stage().await;
    server.program_of_people("other", json!({})).await;
    let code = server.code(&Ask::of("diary"), &cookie).await;
    let challenge = crate::people::CHALLENGE;
    let flipped = format!("{}{}", if code.starts_with('A') { "B" } else { "A" }, &code[1..]);
    for (name, value, status, error) in [
        ("code", "", 400, "invalid_request"),
        ("code", "x", 400, "invalid_grant"),
        ("code", flipped.as_str(), 400, "invalid_grant"),
        ("code", &code[..42], 400, "invalid_grant"),
        ("client_id", "", 400, "invalid_request"),
        ("client_id", "other", 400, "invalid_grant"),
        ("client_id", "unknown", 401, "invalid_client"),
        ("code_verifier", "", 400, "invalid_request"),
        ("code_verifier", "x", 400, "invalid_grant"),
        ("code_verifier", challenge, 400, "invalid_grant"),
        ("redirect_uri", "", 400, "invalid_request"),
        ("redirect_uri", "https://app.example/cb/", 400, "invalid_grant"),
        ("redirect_uri", "https://evil.example/cb", 400, "invalid_grant"),
        ("resource", "https://api.example", 400, "invalid_target"),
        ("scope", "b", 400, "invalid_scope"),
    ] {
        let answer = server.redeem("diary", &code, &[(name, value)]).await;
        assert_error(&answer, status, error);
    }
    assert_eq!(credentials(&server).await, 0);
    server.redeem("diary", &code, &[]).await.expect(200);
}

#[tokio::test]
async fn a_code_lives_one_minute_to_the_edge() {
    let (server, cookie) = stage().await;
    for (waited, good) in
        [(Duration::ZERO, true), (Duration::milliseconds(59_999), true), (Duration::seconds(60), false)]
    {
        let code = server.code(&Ask::of("diary"), &cookie).await;
        server.app.clock.advance(waited);
        let answer = server.redeem("diary", &code, &[]).await;
        if good {
            answer.expect(200);
        } else {
            assert_error(&answer, 400, "invalid_grant");
        }
    }
}

/// RFC 6749 section 4.1.2: a second use is refused and ends what the first one obtained, with all below it.
#[tokio::test]
async fn rfc6749_s4_1_2_a_second_use_ends_what_the_first_obtained() {
    let (server, cookie) = stage().await;
    let replica = server.replica().await;
    let code = server.code(&Ask::of("diary"), &cookie).await;
    let token = server.redeem("diary", &code, &[]).await.token();
    let actor = server.party("fetcher", json!({})).await;
    let below = server.delegate(&token, &actor, "a").await.token();
    let kept = server.redeem("diary", &server.code(&Ask::of("diary"), &cookie).await, &[]).await.token();
    assert!(replica.is_active(&below).await);
    // Also long after the code has expired, and whatever else is wrong with the request.
    server.app.clock.advance(Duration::minutes(10));
    for more in [[("code_verifier", "x")], [("code_verifier", VERIFIER)]] {
        assert_error(&replica.redeem("diary", &code, &more).await, 400, "invalid_grant");
        assert!(!server.is_active(&token).await && !server.is_active(&below).await);
    }
    assert!(server.is_active(&kept).await);
    let rows = server.audit().await;
    assert_eq!(rows.iter().filter(|row| row.0 == "code.replayed" && row.1 == "refused").count(), 2);
    assert_eq!(server.count("select count(*) from revocations where reason = 'code_replayed'").await, 1);
    chancery::tokens::worker::announce(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from outbox where event_type = 'credential.revoked'").await, 2);
}

#[tokio::test]
async fn a_confidential_client_authenticates_and_a_code_is_its_own() {
    let (server, cookie) = stage().await;
    let more = json!({ "confidential": true, "token_endpoint_auth_method": "client_secret_post" });
    let made = server.program_of_people("site", more).await;
    let secret = made.text_of("client_secret").to_owned();
    let code = server.code(&Ask::of("site"), &cookie).await;
    assert_error(&server.redeem("site", &code, &[]).await, 401, "invalid_client");
    assert_error(&server.redeem("site", &code, &[("client_secret", "x")]).await, 401, "invalid_client");
    assert_error(&server.redeem("diary", &code, &[]).await, 400, "invalid_grant");
    server.redeem("site", &code, &[("client_secret", &secret)]).await.expect(200);
}

/// RFC 8707 section 2: the audience is what the person agreed to, and the client may ask for less of it.
#[tokio::test]
async fn rfc8707_s2_a_token_is_for_the_resources_that_were_agreed_to() {
    let (server, cookie) = stage().await;
    let (one, two) = ("https://one.example/", "https://two.example/mcp");
    let both = Ask::of("diary").with("resource", one).and("resource", two);
    for (ask, more, audience) in [
        (both.clone(), "", json!([one, two])),
        (both.clone(), two, json!([two])),
        (Ask::of("diary"), "", json!([ISSUER])),
    ] {
        let code = server.code(&ask, &cookie).await;
        let token = server.redeem("diary", &code, &[("resource", more)]).await.token();
        assert_eq!(claims(&token)["aud"], audience);
    }
    let code = server.code(&both, &cookie).await;
    let answer = server.redeem("diary", &code, &[("resource", "https://three.example")]).await;
    assert_error(&answer, 400, "invalid_target");
}

#[tokio::test]
async fn what_the_client_lost_since_is_not_in_the_token() {
    let (server, cookie) = stage().await;
    let made = server.program_of_people("narrowed", json!({})).await;
    let id = made.body["client"]["id"].as_str().unwrap().to_owned();
    let code = server.code(&Ask::of("narrowed").with("scope", "a b"), &cookie).await;
    server.patch_client(&id, json!({ "scopes": ["b", "c"], "access_token_ttl": 120 })).await.expect(200);
    let answer = server.redeem("narrowed", &code, &[]).await.expect(200);
    assert_eq!((answer.text_of("scope"), &answer.body["expires_in"]), ("b", &json!(120)));
}

/// 127.0.0.1 and localhost are one host; the port of a request stays its port.
#[tokio::test]
async fn the_loopback_host_may_change_its_name() {
    let (server, cookie) = stage().await;
    server.program_of_people("cli", json!({ "redirect_uris": ["http://localhost/cb"] })).await;
    let ask = Ask::of("cli").with("redirect_uri", "http://127.0.0.1:4711/cb");
    let code = server.code(&ask, &cookie).await;
    for bad in ["http://localhost:4712/cb", "http://localhost/cb", "http://localhost:4711/cb2", CALLBACK] {
        assert_error(&server.redeem("cli", &code, &[("redirect_uri", bad)]).await, 400, "invalid_grant");
    }
    server.redeem("cli", &code, &[("redirect_uri", "http://localhost:4711/cb")]).await.expect(200);
}

#[tokio::test]
async fn codes_are_forgotten_when_a_second_use_need_not_be_told() {
    let (server, cookie) = stage().await;
    server.code(&Ask::of("diary"), &cookie).await;
    let forget = async || chancery::authorizations::worker::forget(&server.app).await.unwrap();
    server.app.clock.advance(Duration::hours(23));
    forget().await;
    assert_eq!(server.count("select count(*) from authorization_codes").await, 1);
    server.app.clock.advance(Duration::hours(2));
    forget().await;
    assert_eq!(server.count("select count(*) from authorization_codes").await, 0);
}

/// What was refreshed meanwhile ends too: the family is one.
#[tokio::test]
async fn a_second_use_ends_the_refresh_family_too() {
    let (server, cookie) = stage().await;
    let more = json!({ "grant_types": ["authorization_code", "refresh_token"] });
    server.program_of_people("keeper", more).await;
    let code = server.code(&Ask::of("keeper").with("scope", "a b"), &cookie).await;
    let first = server.redeem("keeper", &code, &[("scope", "a")]).await.expect(200);
    assert_eq!((first.text_of("scope"), &first.body["expires_in"]), ("a", &json!(3600)));
    let refresh = async |token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        server.post("/oauth2/token").form(&form).send().await
    };
    let second = refresh(first.text_of("refresh_token")).await.expect(200);
    assert_eq!(second.text_of("scope"), "a b", "the family keeps what the person agreed to");
    assert!(server.is_active(second.text_of("access_token")).await);
    assert_error(&server.redeem("keeper", &code, &[]).await, 400, "invalid_grant");
    for token in [&first, &second] {
        assert!(!server.is_active(token.text_of("access_token")).await);
    }
    assert_error(&refresh(second.text_of("refresh_token")).await, 400, "invalid_grant");
}

/// RFC 9449 section 10: a code is bound to the key that was named, and is worth nothing without it.
#[tokio::test]
async fn rfc9449_s10_a_code_that_is_bound_to_a_key_needs_a_proof_of_it() {
    let (server, cookie) = stage().await;
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let code = server.code(&Ask::of("diary").with("dpop_jkt", jkt), &cookie).await;
    assert_error(&server.redeem("diary", &code, &[]).await, 400, "invalid_dpop_proof");
    assert_eq!(credentials(&server).await, 0);
}

/// What an administrator took from the client while the code was on its way is not obtained with it.
#[tokio::test]
async fn a_code_obtains_nothing_that_the_client_has_lost_since() {
    for (changed, error) in [
        (json!({ "redirect_uris": ["https://new.example/cb"] }), "invalid_grant"),
        (json!({ "scopes": ["b"] }), "invalid_scope"),
        (json!({ "scopes": [] }), "invalid_scope"),
        (json!({ "grant_types": ["api_key"] }), "unauthorized_client"),
    ] {
        let server = Server::new().await;
        let made = server.program_of_people("diary", json!({})).await;
        let id = made.body["client"]["id"].as_str().unwrap().to_owned();
        let cookie = server.cookie(&server.person("u-ada").await).await;
        let code = server.code(&Ask::of("diary"), &cookie).await;
        server.patch_client(&id, changed.clone()).await.expect(200);
        assert_error(&server.redeem("diary", &code, &[]).await, 400, error);
        // It is not used up: what is given back in time is there again.
        let back = json!({ "redirect_uris": [CALLBACK], "scopes": ["a", "b"], "grant_types": ["authorization_code"] });
        server.patch_client(&id, back).await.expect(200);
        server.redeem("diary", &code, &[]).await.expect(200);
    }
}
