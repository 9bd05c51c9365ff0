//! Introspection answers as signed JWTs (RFC 9701).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::config::Introspection;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use crate::party::Program;
use crate::server::{Answer, ISSUER, Server};
use crate::tools::{assert_error, claims, members, part};

const SIGNED: &str = "application/token-introspection+jwt";

/// A client asks about a token and accepts this.
async fn ask(server: &Server, program: &Program, token: &str, accept: &str) -> Answer {
    let form = [("token", token), ("client_id", &program.client_id), ("client_secret", &program.secret)];
    server.post("/oauth2/token/introspect").form(&form).with("Accept", accept).send().await
}

async fn worker(server: &Server) -> (Program, String) {
    let (agent, _) = server.agent("worker-agent").await;
    let program = server.program("worker", &agent, json!({})).await;
    let token = server.client_credentials(&program, "a").await.token();
    (program, token)
}

#[tokio::test]
async fn rfc9701_s5_the_answer_is_a_jwt_of_its_own_type_for_the_caller() {
    let server = Server::with(|config| config.introspection = Introspection::Strict).await;
    let (program, token) = worker(&server).await;
    let plain = ask(&server, &program, &token, "application/json").await.expect(200);
    assert_eq!(plain.header("content-type"), "application/json");
    let signed = ask(&server, &program, &token, SIGNED).await.expect(200);
    assert_eq!((signed.header("content-type"), signed.header("cache-control")), (SIGNED, "no-store"));
    let (header, said) = (part(&signed.text, 0), claims(&signed.text));
    assert_eq!(members(&header), ["alg", "kid", "typ"]);
    assert_eq!(header["typ"], "token-introspection+jwt");
    assert_eq!(members(&said), ["aud", "iat", "iss", "token_introspection"]);
    assert_eq!((&said["iss"], &said["aud"]), (&json!(ISSUER), &json!("worker")));
    assert_eq!(said["iat"], server.app.clock.now().unix_timestamp());
    assert_eq!(said["token_introspection"], plain.body, "both forms say the same");
}

#[tokio::test]
async fn rfc9701_s5_the_signature_is_by_a_published_key() {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
    let server = Server::new().await;
    let (program, token) = worker(&server).await;
    let signed = ask(&server, &program, &token, SIGNED).await.expect(200).text;
    let jwks = server.get("/.well-known/jwks.json").send().await.expect(200).body;
    let named = |key: &&Value| key["kid"] == part(&signed, 0)["kid"];
    let key = jwks["keys"].as_array().unwrap().iter().find(named).unwrap();
    let key =
        DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap()).unwrap();
    let mut rules = Validation::new(jsonwebtoken::Algorithm::ES256);
    rules.set_required_spec_claims(&["iss", "aud"]);
    rules.validate_exp = false;
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&["worker"]);
    jsonwebtoken::decode::<Value>(&signed, &key, &rules).unwrap();
    let (signed, _) = signed.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([1; 64]));
    assert!(jsonwebtoken::decode::<Value>(&forged, &key, &rules).is_err());
}

#[tokio::test]
async fn rfc9701_s5_an_inactive_answer_has_one_member_in_both_forms() {
    let server = Server::new().await;
    let (program, token) = worker(&server).await;
    let (other, _) = server.agent("other-agent").await;
    let stranger = server.program("stranger", &other, json!({})).await;
    let body = json!({ "identity_id": other, "scopes": ["a"], "audience": ["https://else.example"] });
    let issued = server.admin("POST", "/credentials/issue").json(body).send().await.expect(201);
    let foreign = issued.body["token"]["access_token"].as_str().unwrap();
    assert_eq!(ask(&server, &stranger, foreign, "*/*").await.body["active"], true, "its own agent's");
    server.post("/oauth2/token/revoke").form(&[("token", &token)]).send().await.expect(200);
    for dead in ["x", "a.b.c", &token, foreign, ""] {
        let dead = if dead.is_empty() { "\u{1F512}" } else { dead };
        let plain = ask(&server, &program, dead, "application/json").await.expect(200);
        assert_eq!(plain.text, r#"{"active":false}"#);
        let signed = ask(&server, &program, dead, SIGNED).await.expect(200);
        assert_eq!(claims(&signed.text)["token_introspection"], json!({ "active": false }), "{dead}");
        assert_eq!(members(&claims(&signed.text)), ["aud", "iat", "iss", "token_introspection"]);
    }
}

#[tokio::test]
async fn rfc9701_s4_only_who_authenticated_gets_a_signed_answer() {
    let server = Server::new().await;
    let (program, token) = worker(&server).await;
    let post = || server.post("/oauth2/token/introspect").with("Accept", SIGNED);
    assert_error(&post().form(&[("token", &token)]).send().await, 401, "invalid_client");
    let public = json!({ "client_id": "app", "name": "App" });
    server.admin("POST", "/oauth/clients").json(public).send().await.expect(201);
    let named = [("token", token.as_str()), ("client_id", "app")];
    assert_error(&post().form(&named).send().await, 401, "invalid_client");
    server.post("/oauth2/token/introspect").form(&named).send().await.expect(200);
    let wrong = Program { secret: "x".to_owned(), ..program };
    assert_error(&ask(&server, &wrong, &token, SIGNED).await, 401, "invalid_client");
    assert_eq!(server.introspect(&token).await["active"], true, "the open form goes on");
}

#[tokio::test]
async fn errors_stay_json_whatever_is_accepted() {
    let server = Server::new().await;
    let (program, _) = worker(&server).await;
    assert_error(&ask(&server, &program, "", SIGNED).await, 400, "invalid_request");
}

#[tokio::test]
async fn who_does_not_name_the_signed_form_gets_json() {
    let server = Server::new().await;
    let (program, token) = worker(&server).await;
    for accept in ["", "*/*", "application/*", "application/jwt", "application/token-introspection+jwt;q=0"] {
        let answer = ask(&server, &program, &token, accept).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json", "{accept}");
        assert_eq!(answer.body["active"], true);
    }
}
