//! The keys of trusted issuers: how often they are fetched, from where, and for how long they count.

use serde_json::json;
use time::Duration;

use crate::client_documents::fetching;
use crate::federation::{GITHUB, Platform, trusted};
use crate::https::{Site, raw};
use crate::server::{Answer, Server};
use crate::signer::{Signer, with};
use crate::tools::assert_error;

/// An entry whose keys are fetched, and its subject's agent.
async fn published(server: &Server, site: &Site, platform: &Platform) {
    site.json("/keys", platform.jwks());
    trusted(server, platform, json!({ "jwks": null, "jwks_uri": site.url("/keys") })).await;
}

#[tokio::test]
async fn a_rotation_at_the_issuer_works_within_one_fetch_and_strange_kids_cause_none() {
    let (server, site, platform) = (fetching().await, Site::start().await, Platform::new(GITHUB));
    published(&server, &site, &platform).await;
    let advance = |seconds| server.app.clock.advance(Duration::seconds(seconds));
    let ask = async |platform: &Platform| server.federate(&platform.token(&server, &json!({})), "a").await;
    let many = tokio::join!(ask(&platform), ask(&platform), ask(&platform), ask(&platform));
    for answer in <[Answer; 4]>::from(many) {
        answer.expect(200);
    }
    assert_eq!(site.hits(), 1, "many at once fetch once");
    // A new key under a new name is found; until the pause is over nobody makes us ask.
    let next = Platform { signer: Signer::new(), ..platform.clone() };
    let named = |platform: &Platform, kid: &str| {
        platform.signer.jws(&json!({ "alg": "ES256", "kid": kid }), &platform.claims(&server))
    };
    let mut keys = platform.jwks()["keys"].as_array().unwrap().clone();
    keys.push(with(&next.signer.jwk(), &json!({ "kid": "k2" })));
    site.json("/keys", json!({ "keys": keys }));
    for kid in ["k2", "strange", "k3"] {
        assert_error(&server.federate(&named(&next, kid), "a").await, 401, "invalid_client");
    }
    assert_eq!(site.hits(), 1);
    advance(10);
    server.federate(&named(&next, "k2"), "a").await.expect(200);
    for kid in ["strange", "k3", "k4", "k5"] {
        assert_error(&server.federate(&named(&next, kid), "a").await, 401, "invalid_client");
    }
    assert_eq!(site.hits(), 2);
    // What the issuer takes back counts for five minutes at most.
    site.json("/keys", json!({ "keys": [keys[1]] }));
    advance(299);
    ask(&platform).await.expect(200);
    advance(1);
    assert_error(&ask(&platform).await, 401, "invalid_client");
    assert_eq!(site.hits(), 3);
}

#[tokio::test]
async fn an_outage_at_the_issuer_is_bridged_for_an_hour_and_then_nothing_passes() {
    let (server, site, platform) = (fetching().await, Site::start().await, Platform::new(GITHUB));
    published(&server, &site, &platform).await;
    let ask = async || server.federate(&platform.token(&server, &json!({})), "a").await;
    ask().await.expect(200);
    for down in [
        raw("503 Busy", ""),
        raw("200 OK\r\nContent-Type: application/json", "[]"),
        raw("302 Found\r\nLocation: /", ""),
    ] {
        site.set("/keys", down);
        server.app.clock.advance(Duration::minutes(19));
        ask().await.expect(200);
    }
    server.app.clock.advance(Duration::minutes(3));
    let before = site.hits();
    for _ in 0..3 {
        let answer = ask().await.expect(503);
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(site.hits() - before, 1, "an issuer that is down is not asked by everybody");
    site.json("/keys", platform.jwks());
    server.app.clock.advance(Duration::seconds(10));
    ask().await.expect(200);
}

#[tokio::test]
async fn nothing_is_fetched_for_a_token_that_could_not_pass_anyhow() {
    let (server, site, platform) = (fetching().await, Site::start().await, Platform::new(GITHUB));
    published(&server, &site, &platform).await;
    for changes in [json!({ "iss": site.url("/keys") }), json!({ "aud": "https://neighbour.example" })] {
        assert_error(&server.federate(&platform.token(&server, &changes), "a").await, 401, "invalid_client");
    }
    let header = json!({ "alg": "HS256", "kid": "k1", "jku": site.url("/keys") });
    let token = platform.signer.jws(&header, &platform.claims(&server));
    assert_error(&server.federate(&token, "a").await, 401, "invalid_client");
    assert_eq!(site.hits(), 0);
}

#[tokio::test]
async fn keys_on_a_private_address_or_behind_a_redirect_are_never_reached() {
    let (site, inside) = (Site::start().await, Site::start().await);
    let server = fetching().await;
    let platform = Platform::new(GITHUB);
    published(&server, &site, &platform).await;
    inside.json("/keys", platform.jwks());
    site.set("/keys", raw(&format!("302 Found\r\nLocation: {}", inside.url("/keys")), ""));
    server.federate(&platform.token(&server, &json!({})), "a").await.expect(503);
    assert_eq!((site.hits(), inside.hits()), (1, 0));
    // The same database, a server that may not fetch from this machine.
    let guarded =
        server.replica_with(|config| config.outbound.allow_private = String::new().parse().unwrap()).await;
    guarded.federate(&platform.token(&server, &json!({})), "a").await.expect(503);
    assert_eq!(site.hits(), 1);
}
