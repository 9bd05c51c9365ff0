//! The documents that describe the server: keys, metadata, and that they name only what works.

use chancery::kit::config::Introspection;
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::server::{ISSUER, Server};
use crate::tools::{members, part};

const JWKS: &str = "/.well-known/jwks.json";
const SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn the_keys_are_public_and_one_of_them_signs() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let jwks = server.get(JWKS).send().await.expect(200);
    assert_eq!(jwks.header("content-type"), "application/json");
    assert_eq!(members(&jwks.body), ["keys"]);
    let keys = jwks.body["keys"].as_array().unwrap();
    for key in keys {
        assert_eq!(members(key), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(
            (&key["alg"], &key["crv"], &key["use"]),
            (&json!("ES256"), &json!("P-256"), &json!("sig"))
        );
    }
    let kid = &part(&token, 0)["kid"];
    assert_eq!(keys.iter().filter(|key| key["kid"] == *kid).count(), 1);
}

#[tokio::test]
async fn a_replica_publishes_the_same_keys() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (one, two) = (server.get(JWKS).send().await, replica.get(JWKS).send().await);
    assert_eq!((one.text.as_str(), one.header("etag")), (two.text.as_str(), two.header("etag")));
}

#[tokio::test]
async fn the_keys_can_be_cached_and_asked_for_again() {
    let server = Server::with(|config| config.keys.jwks_lifetime_seconds = 77).await;
    let jwks = server.get(JWKS).send().await.expect(200);
    let etag = jwks.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10);
    assert_eq!(jwks.header("cache-control"), "public, max-age=77");
    for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let again = server.get(JWKS).with("If-None-Match", &known).send().await.expect(304);
        assert!(again.text.is_empty());
        assert_eq!(
            (again.header("etag"), again.header("cache-control")),
            (etag.as_str(), "public, max-age=77")
        );
    }
    for unknown in ["\"other\"", "", "W/\"\"", etag.trim_matches('"')] {
        let again = server.get(JWKS).with("If-None-Match", unknown).send().await.expect(200);
        assert_eq!(again.text, jwks.text, "{unknown}");
    }
}

#[tokio::test]
async fn the_metadata_says_what_the_server_does() {
    let server = Server::new().await;
    let metadata = server.get(SERVER).send().await.expect(200);
    assert_json_snapshot!("authorization_server", metadata.body);
    assert_eq!(metadata.header("content-type"), "application/json");
    assert_eq!(server.get(OPENID).send().await.expect(200).text, metadata.text);
    let resource = server.get(RESOURCE).send().await.expect(200);
    assert_json_snapshot!("protected_resource", resource.body);
}

#[tokio::test]
async fn the_issuer_is_the_same_to_the_byte_everywhere() {
    for issuer in ["https://id.example.test", "https://id.example.test:8443", ISSUER] {
        let server = Server::with(|config| issuer.clone_into(&mut config.issuer)).await;
        let (_, key) = server.agent("fetcher").await;
        let token = server.token(&key).await;
        for (path, member) in [(SERVER, "issuer"), (OPENID, "issuer"), (RESOURCE, "resource")] {
            assert_eq!(server.get(path).send().await.expect(200).body[member], issuer);
        }
        assert_eq!(server.get(RESOURCE).send().await.body["authorization_servers"], json!([issuer]));
        assert_eq!(part(&token, 1)["iss"], issuer);
        assert_eq!(server.introspect(&token).await["iss"], issuer);
    }
}

#[tokio::test]
async fn the_host_header_does_not_change_what_the_server_calls_itself() {
    let server = Server::new().await;
    let expected = server.get(SERVER).send().await.expect(200).text;
    let call = server.get(SERVER).instead("host", "evil.example").with("X-Forwarded-Host", "evil.example");
    assert_eq!(call.send().await.expect(200).text, expected);
}

/// The path of an advertised address, which must lie below the issuer.
fn path(metadata: &Value, member: &str) -> String {
    metadata[member].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned()
}

#[tokio::test]
async fn every_advertised_endpoint_answers_and_every_grant_is_known() {
    let server = Server::new().await;
    let metadata = server.get(SERVER).send().await.expect(200).body;
    let (_, key) = server.agent("fetcher").await;
    let endpoints: Vec<_> =
        members(&metadata).into_iter().filter(|name| name.ends_with("_endpoint")).collect();
    let of_people = ["authorization_endpoint", "pushed_authorization_request_endpoint"];
    let of_programs = ["introspection_endpoint", "revocation_endpoint", "token_endpoint"];
    let mut expected = [&of_people[..], &of_programs].concat();
    expected.sort_unstable();
    assert_eq!(endpoints, expected);
    for name in of_people {
        // A request without parameters, at a place that knows them.
        let answer = server.post(&path(&metadata, name)).form(&[]).send().await;
        let error = if name == of_people[0] { "invalid_request" } else { "invalid_client" };
        assert_eq!(answer.text_of("error"), error, "{name}");
    }
    server.get(&path(&metadata, "jwks_uri")).send().await.expect(200);
    let token = server.token(&key).await;
    server
        .post(&path(&metadata, "introspection_endpoint"))
        .form(&[("token", &token)])
        .send()
        .await
        .expect(200);
    server.post(&path(&metadata, "revocation_endpoint")).form(&[("token", &token)]).send().await.expect(200);
    for grant in metadata["grant_types_supported"].as_array().unwrap() {
        let form = [("grant_type", grant.as_str().unwrap())];
        let answer = server.post(&path(&metadata, "token_endpoint")).form(&form).send().await;
        let missing = if grant == "client_credentials" { "invalid_client" } else { "invalid_request" };
        assert_eq!(answer.body["error"], missing, "{grant} is known, only its parameters are missing");
    }
    for grant in ["password", "implicit", "code", "API_KEY", "api_key "] {
        let form = [("grant_type", grant)];
        let answer = server.post(&path(&metadata, "token_endpoint")).form(&form).send().await.expect(400);
        assert_eq!(answer.body["error"], "unsupported_grant_type", "{grant}");
    }
}

#[tokio::test]
async fn the_strict_mode_advertises_what_clients_can_use() {
    let server = Server::with(|config| config.introspection = Introspection::Strict).await;
    let metadata = server.get(SERVER).send().await.expect(200).body;
    for endpoint in ["introspection", "revocation"] {
        assert!(!path(&metadata, &format!("{endpoint}_endpoint")).is_empty());
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert_eq!(methods, &metadata["token_endpoint_auth_methods_supported"]);
    }
}

#[tokio::test]
async fn probes_and_documents_do_not_look_at_credentials() {
    let server = Server::new().await;
    for path in ["/health", "/ready", "/metrics", JWKS, SERVER, OPENID, RESOURCE] {
        for authorization in ["Bearer x", "Basic !!!", "", "nonsense"] {
            let call = server.get(path).with("Authorization", authorization).tenant("default", "default");
            call.with("Content-Type", "application/json").send().await.expect(200);
        }
        server.call("HEAD", path).send().await.expect(200);
    }
}

#[tokio::test]
async fn health_has_what_the_sdk_reads() {
    let server = Server::new().await;
    let health = server.get("/health").send().await.expect(200).body;
    assert_eq!(members(&health), ["service", "status", "timestamp", "uptime_ms"]);
    assert_eq!((&health["status"], &health["service"]), (&json!("healthy"), &json!("chancery")));
    assert_eq!(health["timestamp"], "2026-12-01T12:00:00.123456Z");
    assert!(health["uptime_ms"].is_u64());
}

#[tokio::test]
async fn without_its_database_the_server_lives_but_is_not_ready() {
    let server = Server::with(|config| config.database.acquire_timeout_seconds = 1).await;
    server.get("/ready").send().await.expect(200);
    let keys = server.get(JWKS).send().await.expect(200).text;
    server.app.db.close().await;
    let ready = server.get("/ready").send().await.expect(503);
    assert_eq!(ready.header("retry-after"), "1");
    for path in ["/health", "/metrics", SERVER, OPENID, RESOURCE] {
        server.get(path).send().await.expect(200);
    }
    assert_eq!(server.get(JWKS).send().await.expect(200).text, keys);
    let answer = server.exchange("zid_sk_x", "").await.expect(503);
    assert_eq!((answer.text_of("error"), answer.header("retry-after")), ("temporarily_unavailable", "1"));
}
