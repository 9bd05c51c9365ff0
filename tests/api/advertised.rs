//! The metadata against the server: nothing is advertised that is off, and nothing is on that is not advertised.

use std::collections::BTreeSet;

use chancery::kit::config::AdminAuth;
use serde_json::{Value, json};

use crate::server::{ISSUER, Server};
use crate::signer::Signer;
use crate::tools::all_routes;

const SERVER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// Protocol routes that no metadata has a member for.
const UNNAMED: [(&str, &str); 2] = [
    ("/oauth2/token/verify", "forward authentication is a proxy's, not a client's"),
    ("/oauth2/consent", "only our own page leads there"),
];

async fn metadata(server: &Server) -> Value {
    server.get(SERVER).send().await.expect(200).body
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn rfc8414_s2_every_protocol_route_is_advertised_and_every_advertised_one_is_a_route() {
    let server = Server::new().await;
    let metadata = metadata(&server).await;
    let address = |(name, value): (&String, &Value)| {
        let is_address = name.ends_with("_endpoint") || name == "jwks_uri";
        is_address.then(|| value.as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned())
    };
    let advertised: BTreeSet<String> = metadata.as_object().unwrap().iter().filter_map(address).collect();
    let is_protocol = |path: &String| path.starts_with("/oauth2/") || path.ends_with("/jwks.json");
    let unnamed = |path: &String| UNNAMED.iter().any(|(known, _)| known == path);
    let routes: BTreeSet<String> = all_routes()
        .into_iter()
        .map(|route| route.path)
        .filter(|path| is_protocol(path) && !unnamed(path))
        .collect();
    assert_eq!(advertised, routes);
}

#[tokio::test]
async fn a_grant_is_advertised_exactly_when_the_endpoint_knows_it() {
    let server = Server::new().await;
    let metadata = metadata(&server).await;
    let advertised = texts(&metadata["grant_types_supported"]);
    let mut known = BTreeSet::new();
    for grant in [
        "api_key",
        "authorization_code",
        "client_credentials",
        "implicit",
        "password",
        "refresh_token",
        "token_exchange",
        "jwt_bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:pre-authorized_code",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:uma-ticket",
        "urn:openid:params:grant-type:ciba",
    ] {
        let answer = server.post("/oauth2/token").form(&[("grant_type", grant)]).send().await;
        if answer.body["error"] != "unsupported_grant_type" {
            known.insert(grant);
        }
    }
    assert_eq!(advertised, known);
}

#[tokio::test]
async fn a_way_to_authenticate_is_advertised_exactly_when_a_client_can_register_it() {
    let server = Server::new().await;
    let metadata = metadata(&server).await;
    let mut possible = BTreeSet::new();
    for (position, method) in [
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "private_key_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth",
        "attest_jwt_client_auth",
        "none",
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({
            "client_id": format!("client-{position}"), "name": method, "token_endpoint_auth_method": method,
        });
        if method == "private_key_jwt" {
            body["jwks"] = json!({ "keys": [Signer::new().jwk()] });
        }
        let answer = server.admin("POST", "/oauth/clients").json(body).send().await;
        if answer.status == 201 {
            possible.insert(method);
        }
    }
    for endpoint in ["token", "introspection", "revocation"] {
        let advertised = texts(&metadata[format!("{endpoint}_endpoint_auth_methods_supported")]);
        assert_eq!(advertised, possible, "{endpoint}");
    }
}

#[tokio::test]
async fn what_signs_is_what_is_advertised() {
    let server = Server::new().await;
    let metadata = metadata(&server).await;
    let jwks = server.get("/.well-known/jwks.json").send().await.expect(200).body;
    let keys: BTreeSet<&str> =
        jwks["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(texts(&metadata["introspection_signing_alg_values_supported"]), keys);
}

#[tokio::test]
async fn response_types_and_pkce_come_with_the_authorization_endpoint() {
    let server = Server::new().await;
    let metadata = metadata(&server).await;
    let is_there = metadata.get("authorization_endpoint").is_some();
    assert_eq!(!texts(&metadata["response_types_supported"]).is_empty(), is_there);
    assert_eq!(metadata.get("code_challenge_methods_supported").is_some(), is_there);
    let grants = texts(&metadata["grant_types_supported"]);
    assert_eq!(grants.contains("authorization_code"), is_there);
}

#[tokio::test]
async fn rfc8414_s3_1_the_issuer_has_no_path_so_no_other_document_is_its() {
    let server = Server::new().await;
    for document in [SERVER, "/.well-known/openid-configuration", RESOURCE] {
        for path in ["/api/v1", "/oauth2", "/agents/registry", "/mcp", "/"] {
            let answer = server.get(&format!("{document}{path}")).send().await.expect(404);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{document}{path}");
        }
    }
    for path in ["/api/v1", "/oauth2"] {
        for document in [SERVER, "/.well-known/openid-configuration", RESOURCE] {
            server.get(&format!("{path}{document}")).send().await.expect(404);
        }
    }
}

#[tokio::test]
async fn rfc8414_s3_2_the_documents_are_json_and_hold_no_empty_value() {
    let server = Server::new().await;
    for path in [SERVER, "/.well-known/openid-configuration", RESOURCE] {
        let answer = server.get(path).send().await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
        for (name, value) in answer.body.as_object().unwrap() {
            let empty = value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty);
            assert!(!empty || name == "response_types_supported", "{path}: {name} is {value}");
        }
    }
}

/// A client that knows nothing but a route finds the way to a token from the refusal.
#[tokio::test]
async fn rfc9728_s5_1_every_protected_route_names_the_metadata() {
    let server = Server::with(|config| config.admin_auth = AdminAuth::Required).await;
    let mut asked = 0;
    for route in all_routes() {
        let id = "0193f8a0-0000-7000-8000-000000000000";
        let parts = route.path.split('/').map(|part| if part.starts_with('{') { id } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let answer = server.call(&route.method, &path).send().await;
        if answer.status != 401 || path.starts_with("/oauth2/token/i") || path.starts_with("/oauth2/token/r")
        {
            continue;
        }
        asked += 1;
        let challenge = answer.header("www-authenticate");
        let (_, hint) =
            challenge.split_once("resource_metadata=\"").unwrap_or_else(|| panic!("{path}: {challenge}"));
        let hint = hint.split('"').next().unwrap().strip_prefix(ISSUER).unwrap();
        let resource = server.get(hint).send().await.expect(200).body;
        assert_eq!(
            (&resource["resource"], &resource["authorization_servers"]),
            (&json!(ISSUER), &json!([ISSUER]))
        );
    }
    assert!(asked > 40, "only {asked} routes are protected");
    let listed = metadata(&server).await["protected_resources"].clone();
    assert_eq!(listed, json!([server.get(RESOURCE).send().await.body["resource"]]));
}
