//! Access tokens in the profile of RFC 9068: its header, its claims, and that they are good wherever ours are.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::party::Program;
use crate::server::{ISSUER, Server};
use crate::tools::{assert_error, claims, part};

const PROFILE: &str = "rfc9068";

/// A client with this profile and an agent of its own.
async fn client(server: &Server, name: &str) -> Program {
    let (agent, _) = server.agent(&format!("{name}-agent")).await;
    server.program(name, &agent, json!({ "token_profile": PROFILE })).await
}

#[tokio::test]
async fn rfc9068_s2_1_the_header_says_at_jwt_and_the_algorithm_is_asymmetric() {
    let server = Server::new().await;
    let program = client(&server, "worker").await;
    let header = part(&server.client_credentials(&program, "a").await.token(), 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let jwks = server.get("/.well-known/jwks.json").send().await.expect(200).body;
    assert!(jwks["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]));
    let (agent, _) = server.agent("plain-agent").await;
    let plain = server.program("plain", &agent, json!({})).await;
    let header = part(&server.client_credentials(&plain, "a").await.token(), 0);
    assert_eq!(header["typ"], "JWT", "who did not ask for it keeps the old type");
}

#[tokio::test]
async fn rfc9068_s2_2_every_required_claim_is_there() {
    let server = Server::new().await;
    let program = client(&server, "worker").await;
    let token = server.client_credentials(&program, "a b").await.token();
    let said = claims(&token);
    assert_json_snapshot!(said, { ".jti" => "[jti]", ".mission_id" => "[mission]" });
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"] {
        assert!(!said[name].is_null(), "{name}");
    }
    assert_eq!((&said["client_id"], &said["scope"]), (&json!("worker"), &json!("a b")));
}

#[tokio::test]
async fn rfc9068_s2_2_who_obtains_a_token_without_a_client_is_the_client() {
    let server = Server::with(|config| config.tokens.profile = chancery::kit::config::Profile::Rfc9068).await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    assert_eq!(part(&token, 0)["typ"], "at+jwt");
    assert_eq!(claims(&token)["client_id"], server.read(&id).await["wimse_uri"]);
}

#[tokio::test]
async fn what_accepts_our_tokens_accepts_this_profile() {
    let server = Server::new().await;
    let (agent, _) = server.agent("worker-agent").await;
    let more = json!({ "token_profile": PROFILE, "scopes": ["a", "nhi:manage"] });
    let program = server.program("worker", &agent, more).await;
    let ceiling = json!({ "allowed_scopes": ["a", "nhi:manage"] });
    server.admin("PATCH", &format!("/agents/registry/{agent}")).json(ceiling).send().await.expect(200);
    let token = server.client_credentials(&program, "a nhi:manage").await.token();
    assert!(server.is_active(&token).await);
    server.get("/oauth2/token/verify").bearer(&token).send().await.expect(200);
    server.get("/agents/registry").bearer(&token).send().await.expect(200);
    let actor = server.party("actor", json!({})).await;
    let child = server.delegate(&token, &actor, "a").await.token();
    let looked = server.introspect(&child).await;
    assert_eq!((&looked["active"], &looked["act"]["sub"]), (&json!(true), &json!(actor.uri)));
    server.post("/oauth2/token/revoke").form(&[("token", &token)]).send().await.expect(200);
    assert!(!server.is_active(&token).await && !server.is_active(&child).await);
}

#[tokio::test]
async fn a_chain_keeps_the_profile_and_nests_its_actors() {
    let server = Server::new().await;
    let program = client(&server, "planner").await;
    let root = server.client_credentials(&program, "a b").await.token();
    let [one, two] = [server.party("one", json!({})).await, server.party("two", json!({})).await];
    let first = server.delegate(&root, &one, "a b").await.token();
    let second = server.delegate(&first, &two, "a").await.token();
    let said = claims(&second);
    assert_eq!(part(&second, 0)["typ"], "at+jwt");
    assert_eq!(said["sub"], claims(&root)["sub"], "the principal stays");
    assert_eq!((&said["act"]["sub"], &said["act"]["act"]["sub"]), (&json!(two.uri), &json!(one.uri)));
    assert_eq!(said["client_id"], json!(two.uri), "it obtained the token by itself");
    assert_eq!(said["act"]["iss"], ISSUER);
}

#[tokio::test]
async fn a_profile_is_one_of_those_there_are() {
    let server = Server::new().await;
    let program = client(&server, "worker").await;
    let path = format!("/oauth/clients/{}", program.id);
    for (profile, status) in
        [("RFC9068", 400), ("at+jwt", 400), ("rfc8693", 200), ("", 200), ("rfc9068", 200)]
    {
        let patch = json!({ "token_profile": profile });
        server.admin("PATCH", &path).json(patch).send().await.expect(status);
    }
    let read = server.admin("GET", &path).send().await.expect(200).body;
    assert_eq!(read["token_profile"], PROFILE);
}

/// Every other JWT that this server signs or accepts, put where an access token belongs, opens nothing.
#[tokio::test]
async fn rfc8725_s3_11_what_is_no_access_token_is_none_anywhere() {
    let server = Server::new().await;
    let program = client(&server, "worker").await;
    let token = server.client_credentials(&program, "a").await.token();
    let form =
        [("token", token.as_str()), ("client_id", &program.client_id), ("client_secret", &program.secret)];
    let call = server.post("/oauth2/token/introspect").form(&form);
    let signed = call.with("Accept", "application/token-introspection+jwt").send().await.expect(200).text;
    assert_eq!(part(&signed, 0)["typ"], "token-introspection+jwt");
    assert_eq!(server.introspect(&signed).await, json!({ "active": false }));
    server.get("/agents/registry").bearer(&signed).send().await.expect(401);
    server.get("/oauth2/token/verify").bearer(&signed).send().await.expect(401);
    let actor = server.party("actor", json!({})).await;
    assert_error(&server.delegate(&signed, &actor, "a").await, 400, "invalid_grant");
    assert_error(&server.delegate_by(&token, &signed, "a").await, 400, "invalid_grant");
    assert_error(&server.assert(&signed, "a").await, 400, "invalid_grant");
    let said = claims(&signed);
    assert!(said.get("sub").is_none() && said.get("exp").is_none());
}
