//! One test for each MUST of the RFCs that applies to what exists, named after its section.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::server::{ISSUER, Server};
use crate::tools::{assert_error, claims, members, part};

async fn token_answer(server: &Server) -> crate::server::Answer {
    let (_, key) = server.agent("fetcher").await;
    server.exchange(&key, "a b").await.expect(200)
}

#[tokio::test]
async fn rfc6749_s5_1_a_token_answer_is_json_with_token_type_and_is_not_cached() {
    let answer = token_answer(&Server::new().await).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.text_of("access_token").is_empty());
    assert_eq!(answer.body["token_type"], "Bearer");
    assert!(answer.body["expires_in"].is_u64());
}

#[tokio::test]
async fn rfc6749_s5_1_a_scope_that_differs_from_the_request_is_told() {
    let server = Server::new().await;
    let registered = server.register("fetcher", json!({ "allowed_scopes": ["a"] })).await.expect(201);
    let answer = server.exchange(registered.text_of("api_key"), "a b").await.expect(200);
    assert_eq!(answer.body["scope"], "a");
}

#[tokio::test]
async fn rfc6749_s3_2_the_token_endpoint_takes_post_only() {
    let server = Server::new().await;
    assert_error(&server.get("/oauth2/token").send().await, 405, "invalid_request");
}

#[tokio::test]
async fn rfc6749_s3_2_parameters_without_a_value_count_as_omitted_and_unknown_ones_are_ignored() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let form = [("grant_type", "api_key"), ("api_key", key.as_str()), ("scope", ""), ("unknown", "x")];
    server.post("/oauth2/token").form(&form).send().await.expect(200);
    let form = [("grant_type", "api_key"), ("api_key", "")];
    assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "invalid_request");
}

#[tokio::test]
async fn rfc6749_s3_2_parameters_stand_once() {
    let server = Server::new().await;
    let form = [("grant_type", "api_key"), ("api_key", "x"), ("api_key", "x")];
    assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "invalid_request");
}

#[tokio::test]
async fn rfc6749_s3_3_scope_values_are_case_sensitive_and_their_order_does_not_matter() {
    let server = Server::new().await;
    let registered = server.register("fetcher", json!({ "allowed_scopes": ["a", "b"] })).await.expect(201);
    let key = registered.text_of("api_key");
    assert_eq!(server.exchange(key, "b a").await.expect(200).body["scope"], "b a");
    assert_error(&server.exchange(key, "A").await, 400, "invalid_scope");
}

#[tokio::test]
async fn rfc6749_s5_2_errors_are_400_json_with_a_registered_code_in_plain_ascii() {
    let server = Server::new().await;
    for (form, error) in [
        (&[("scope", "a")][..], "invalid_request"),
        (&[("grant_type", "x")], "unsupported_grant_type"),
        (&[("grant_type", "api_key"), ("api_key", "x")], "invalid_grant"),
        (&[("grant_type", "api_key"), ("api_key", "x"), ("scope", "\"")], "invalid_scope"),
    ] {
        let answer = server.post("/oauth2/token").form(form).send().await;
        assert_error(&answer, 400, error);
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(answer.text_of("error_description").bytes().all(allowed), "{}", answer.text);
    }
}

#[tokio::test]
async fn rfc6749_s5_2_a_failed_basic_authentication_is_401_with_its_challenge() {
    let server = Server::new().await;
    let call = server.post("/oauth2/token/introspect").with("Authorization", "Basic YTpi");
    let answer = call.form(&[("token", "x")]).send().await;
    assert_error(&answer, 401, "invalid_client");
    assert!(answer.header("www-authenticate").starts_with("Basic realm="));
}

#[tokio::test]
async fn rfc6750_s3_a_refused_bearer_is_401_with_a_bearer_challenge_that_names_the_error() {
    let server = Server::new().await;
    for path in ["/agents/registry", "/oauth2/token/verify"] {
        let answer = server.get(path).bearer("x").send().await.expect(401);
        let challenge = answer.header("www-authenticate").to_owned();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""), "{challenge}");
    }
}

#[tokio::test]
async fn rfc6750_s3_1_without_a_credential_no_error_is_named() {
    let server = Server::with(|config| config.admin_auth = chancery::kit::config::AdminAuth::Required).await;
    for path in ["/agents/registry", "/oauth2/token/verify"] {
        let answer = server.get(path).send().await.expect(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
        assert!(!answer.header("www-authenticate").contains("error"));
    }
}

#[tokio::test]
async fn rfc6750_s3_1_too_little_scope_is_403_insufficient_scope() {
    let server = Server::new().await;
    let answer = token_answer(&server).await;
    let refused =
        server.get("/agents/registry").bearer(answer.text_of("access_token")).send().await.expect(403);
    assert!(refused.header("www-authenticate").starts_with("Bearer error=\"insufficient_scope\""));
}

#[tokio::test]
async fn rfc6750_s2_a_token_in_the_query_or_a_form_opens_nothing() {
    let server = Server::with(|config| config.admin_auth = chancery::kit::config::AdminAuth::Required).await;
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    server.get("/agents/registry").bearer(&key).send().await.expect(200);
    server.get(&format!("/agents/registry?access_token={key}")).send().await.expect(401);
    server.post("/agents/register").form(&[("access_token", &key)]).send().await.expect(401);
}

#[tokio::test]
async fn rfc7662_s2_1_the_token_parameter_is_required() {
    let server = Server::new().await;
    assert_error(&server.post("/oauth2/token/introspect").form(&[]).send().await, 400, "invalid_request");
    assert_error(&server.get("/oauth2/token/introspect?token=x").send().await, 405, "invalid_request");
}

#[tokio::test]
async fn rfc7662_s2_2_the_answer_is_json_and_active_is_a_boolean() {
    let server = Server::new().await;
    let answer = token_answer(&server).await;
    let form = [("token", answer.text_of("access_token"))];
    let found = server.post("/oauth2/token/introspect").form(&form).send().await.expect(200);
    assert_eq!(found.header("content-type"), "application/json");
    assert_eq!(found.body["active"], true);
    for (member, is_right) in [
        ("scope", Value::is_string as fn(&Value) -> bool),
        ("token_type", Value::is_string),
        ("exp", Value::is_u64),
        ("iat", Value::is_u64),
        ("sub", Value::is_string),
        ("aud", Value::is_array),
        ("iss", Value::is_string),
        ("jti", Value::is_string),
    ] {
        assert!(is_right(&found.body[member]), "{member}");
    }
}

#[tokio::test]
async fn rfc7662_s2_2_an_inactive_answer_tells_nothing_more_and_is_no_error() {
    let server = Server::new().await;
    let answer = token_answer(&server).await;
    let token = answer.text_of("access_token");
    server.post("/oauth2/token/revoke").form(&[("token", token)]).send().await.expect(200);
    for token in [token, "unknown"] {
        let found =
            server.post("/oauth2/token/introspect").form(&[("token", token)]).send().await.expect(200);
        assert_eq!(found.text, "{\"active\":false}");
    }
}

#[tokio::test]
async fn rfc7662_s4_introspection_can_require_authentication() {
    let server =
        Server::with(|config| config.introspection = chancery::kit::config::Introspection::Strict).await;
    let answer = server.post("/oauth2/token/introspect").form(&[("token", "x")]).send().await;
    assert_error(&answer, 401, "invalid_client");
}

#[tokio::test]
async fn rfc7009_s2_1_a_wrong_hint_does_not_save_a_token() {
    let server = Server::new().await;
    let answer = token_answer(&server).await;
    let token = answer.text_of("access_token");
    let form = [("token", token), ("token_type_hint", "made-up")];
    server.post("/oauth2/token/revoke").form(&form).send().await.expect(200);
    assert!(!server.is_active(token).await);
}

#[tokio::test]
async fn rfc7009_s2_2_revocation_of_an_invalid_token_is_200() {
    let server = Server::new().await;
    server.post("/oauth2/token/revoke").form(&[("token", "unknown")]).send().await.expect(200);
}

#[tokio::test]
async fn rfc8414_s3_1_the_documents_are_at_their_well_known_paths() {
    let server = Server::new().await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let answer = server.get(path).send().await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn rfc8414_s3_3_the_issuer_is_the_one_whose_path_was_asked() {
    let server = Server::new().await;
    let metadata = server.get("/.well-known/oauth-authorization-server").send().await.expect(200);
    assert_eq!(metadata.body["issuer"], ISSUER);
    assert!(!metadata.text_of("issuer").ends_with('/'));
}

#[tokio::test]
async fn rfc8414_s3_2_a_member_without_elements_is_left_out_save_the_one_that_is_required() {
    for mode in [chancery::kit::config::Introspection::Open, chancery::kit::config::Introspection::Strict] {
        let server = Server::with(|config| config.introspection = mode).await;
        let metadata = server.get("/.well-known/oauth-authorization-server").send().await.expect(200).body;
        for member in members(&metadata) {
            let empty = metadata[member].as_array().is_some_and(Vec::is_empty);
            assert!(!empty || member == "response_types_supported", "{member}");
        }
    }
}

#[tokio::test]
async fn rfc8725_s3_every_token_names_its_algorithm_key_issuer_audience_and_end() {
    let answer = token_answer(&Server::new().await).await;
    let token = answer.text_of("access_token");
    assert_eq!(members(&part(token, 0)), ["alg", "kid", "typ"]);
    for claim in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        assert!(!claims(token)[claim].is_null(), "{claim}");
    }
}

#[tokio::test]
async fn rfc7517_s4_each_key_tells_its_type_use_algorithm_and_id_and_nothing_private() {
    let server = Server::new().await;
    let jwks = server.get("/.well-known/jwks.json").send().await.expect(200).body;
    for key in jwks["keys"].as_array().unwrap() {
        for member in ["kty", "use", "alg", "kid"] {
            assert!(key[member].is_string(), "{member}");
        }
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}

#[tokio::test]
async fn rfc7518_s6_2_coordinates_are_32_bytes_of_base64url_without_padding() {
    let server = Server::new().await;
    let jwks = server.get("/.well-known/jwks.json").send().await.expect(200).body;
    for coordinate in ["x", "y"] {
        let text = jwks["keys"][0][coordinate].as_str().unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(text).unwrap().len(), 32);
    }
}

#[tokio::test]
async fn rfc9728_s3_3_the_resource_is_the_issuer_and_names_it_as_its_server() {
    let server = Server::new().await;
    let resource = server.get("/.well-known/oauth-protected-resource").send().await.expect(200);
    assert_eq!(resource.body["resource"], ISSUER);
    assert_eq!(resource.body["authorization_servers"], json!([ISSUER]));
    assert_eq!(resource.header("content-type"), "application/json");
}

#[tokio::test]
async fn rfc9728_s5_1_every_bearer_challenge_leads_to_the_document() {
    let server = Server::with(|config| config.admin_auth = chancery::kit::config::AdminAuth::Required).await;
    let hint = format!("resource_metadata=\"{ISSUER}/.well-known/oauth-protected-resource\"");
    for path in ["/agents/registry", "/api/v1/agents/registry", "/oauth2/token/verify"] {
        for call in [server.get(path), server.get(path).bearer("x")] {
            let answer = call.send().await.expect(401);
            assert!(answer.header("www-authenticate").ends_with(&hint), "{path}");
        }
    }
}
