//! `POST /oauth2/token` with an API key: what comes back, and what the token says.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::server::{ISSUER, START, Server};
use crate::tools::{claims, members, part, sql};

#[tokio::test]
async fn a_form_and_a_json_body_get_the_same_answer() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let form = [("grant_type", "api_key"), ("api_key", key.as_str()), ("scope", "a b")];
    let body = json!({ "grant_type": "api_key", "api_key": key, "scope": "a b" });
    let form = server.post("/oauth2/token").form(&form).send().await.expect(200);
    let json = server.post("/oauth2/token").json(body).send().await.expect(200);
    assert_eq!(members(&form.body), members(&json.body));
    for member in
        ["token_type", "expires_in", "scope", "iat", "account_id", "project_id", "external_id", "user_id"]
    {
        assert_eq!(form.body[member], json.body[member], "{member}");
    }
    assert_ne!(form.body["jti"], json.body["jti"]);
}

#[tokio::test]
async fn the_answer_has_the_members_that_clients_read_and_no_null() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let answer = server.exchange(&key, "data:read tools:execute").await.expect(200);
    assert_json_snapshot!(answer.body, { ".access_token" => "[token]", ".jti" => "[uuid]" });
    assert_eq!(answer.body["iat"], START.unix_timestamp());
    assert_eq!(claims(answer.text_of("access_token"))["jti"], answer.body["jti"]);
}

#[tokio::test]
async fn the_answer_leaves_out_what_is_empty() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update api_keys set created_by = ''").await;
    let answer = server.exchange(&key, "").await.expect(200);
    assert!(!answer.text.contains("null"));
    for absent in ["scope", "user_id", "refresh_token"] {
        assert!(answer.body.get(absent).is_none(), "{absent}");
    }
    let claims = claims(answer.text_of("access_token"));
    for absent in
        ["scope", "scopes", "user_id", "act", "framework", "capabilities", "delegation_depth", "cnf"]
    {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn a_token_says_all_that_is_known_of_its_agent() {
    let server = Server::new().await;
    let agent = json!({
        "identity_type": "agent", "sub_type": "orchestrator", "trust_level": "first_party", "framework": "langgraph",
        "version": "1.2.3", "publisher": "Example", "description": "Plans", "capabilities": ["search", "write"],
        "labels": { "team": "core" }, "metadata": { "secretish": "not for tokens" },
    });
    let registered = server.register("planner", agent).await.expect(201);
    let answer = server.exchange(registered.text_of("api_key"), "tools:read tools:execute").await.expect(200);
    let token = answer.text_of("access_token");
    assert_json_snapshot!("header", part(token, 0), { ".kid" => "[kid]" });
    assert_json_snapshot!("claims", claims(token), { ".jti" => "[uuid]", ".mission_id" => "[uuid]" });
    assert_eq!(claims(token)["mission_id"], claims(token)["jti"]);
    assert_eq!(claims(token)["sub"], registered.body["identity"]["wimse_uri"]);
    assert_eq!(claims(token)["iss"], ISSUER);
}

#[tokio::test]
async fn tools_that_are_no_plain_names_stay_out_of_the_token() {
    let server = Server::new().await;
    let tools = json!({ "capabilities": [{ "name": "search" }, "write"] });
    let registered = server.register("planner", tools).await.expect(201);
    let token = server.token(registered.text_of("api_key")).await;
    assert!(claims(&token).get("capabilities").is_none());
}

#[tokio::test]
async fn the_tenant_in_the_body_is_ignored_because_the_key_tells_its_own() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    for (account, project) in [("default", "default"), ("other", "place"), ("", ""), ("../..", "a b")] {
        let form = [
            ("grant_type", "api_key"),
            ("api_key", key.as_str()),
            ("account_id", account),
            ("project_id", project),
        ];
        let call = server.post("/oauth2/token").tenant("nobody", "nowhere");
        let answer = call.form(&form).send().await.expect(200);
        let claims = claims(answer.text_of("access_token"));
        for body in [&answer.body, &claims] {
            assert_eq!((&body["account_id"], &body["project_id"]), (&json!("acme"), &json!("demo")));
        }
    }
}

#[tokio::test]
async fn unknown_and_empty_parameters_count_for_nothing() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let form = [
        ("grant_type", "api_key"),
        ("api_key", key.as_str()),
        ("scope", ""),
        ("colour", "blue"),
        ("additional_claims", "{\"role\":\"admin\"}"),
        ("sub", "somebody-else"),
    ];
    let answer = server.post("/oauth2/token").form(&form).send().await.expect(200);
    let claims = claims(answer.text_of("access_token"));
    assert_eq!(claims["aud"], json!([ISSUER]));
    assert!(claims.get("role").is_none());
    let body = json!({ "grant_type": "api_key", "api_key": key, "scope": null, "additional_claims": { "role": "x" } });
    server.post("/oauth2/token").json(body).send().await.expect(200);
}

#[tokio::test]
async fn every_token_has_an_id_of_its_own_and_a_row_that_tells_of_it() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (one, two) = (server.token(&key).await, server.token(&key).await);
    assert_ne!(claims(&one)["jti"], claims(&two)["jti"]);
    let issued: Vec<_> = server.audit().await.into_iter().filter(|row| row.0 == "token.issued").collect();
    let ids: Vec<_> = issued.iter().map(|row| row.3.as_str()).collect();
    assert_eq!(ids, [claims(&one)["jti"].as_str().unwrap(), claims(&two)["jti"].as_str().unwrap()]);
    assert!(issued.iter().all(|row| row.1 == "success" && row.2 == "api_key"));
}
