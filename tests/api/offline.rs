//! Verification by somebody else: an issued token against the published keys, with a library that is not the signer.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use crate::server::{ISSUER, Server};

/// Verifies signature, issuer and audience as a resource server would. Time is the test's, so `exp` is only required.
fn verify(token: &str, jwks: &JwkSet, issuer: &str) -> jsonwebtoken::errors::Result<Value> {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
    let header = decode_header(token)?;
    let kid = header.kid.unwrap_or_default();
    let Some(jwk) = jwks.find(&kid) else {
        return Err(jsonwebtoken::errors::ErrorKind::InvalidToken.into());
    };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[issuer]);
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(jwk)?, &validation)?.claims)
}

async fn published(server: &Server) -> JwkSet {
    serde_json::from_value(server.get("/.well-known/jwks.json").send().await.expect(200).body).unwrap()
}

#[tokio::test]
async fn an_issued_token_verifies_against_the_published_keys() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.exchange(&key, "a b").await.expect(200).text_of("access_token").to_owned();
    let claims = verify(&token, &published(&server).await, ISSUER).unwrap();
    assert_eq!(claims["scopes"], serde_json::json!(["a", "b"]));
    assert_eq!(claims["sub"], server.introspect(&token).await["sub"]);
}

#[tokio::test]
async fn another_servers_keys_and_an_altered_token_do_not_verify() {
    let (server, other) = (Server::new().await, Server::new().await);
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    assert!(verify(&token, &published(&other).await, ISSUER).is_err());
    assert!(verify(&token, &published(&server).await, "https://else.example").is_err());
    let (head, signature) = token.rsplit_once('.').unwrap();
    let altered = format!("{}.{signature}", &head[..head.len() - 4]);
    assert!(verify(&altered, &published(&server).await, ISSUER).is_err());
    assert!(verify(&token, &published(&server).await, ISSUER).is_ok());
}

#[tokio::test]
async fn a_token_of_any_replica_verifies_against_any_replicas_keys() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, key) = server.agent("fetcher").await;
    assert!(verify(&replica.token(&key).await, &published(&server).await, ISSUER).is_ok());
    assert!(verify(&server.token(&key).await, &published(&replica).await, ISSUER).is_ok());
}
