//! Signing keys over time: published before they sign, kept until their tokens are gone, revoked at once.

use chancery::keys;
use serde_json::Value;
use time::Duration;

use crate::server::Server;

/// The ids in the JWKS.
async fn published(server: &Server) -> Vec<String> {
    let jwks = server.get("/.well-known/jwks.json").send().await.expect(200).body;
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The id in a token's header.
fn kid(token: &str) -> String {
    use base64::Engine;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// What the workers do every few seconds.
async fn work(server: &Server) {
    keys::worker::rotate(&server.app).await.unwrap();
    keys::worker::refresh(&server.app).await.unwrap();
}

#[tokio::test]
async fn the_next_key_is_published_a_period_before_it_signs() {
    let server = Server::new().await;
    let (_, api_key) = server.agent("fetcher").await;
    let first = published(&server).await;
    assert_eq!(first.len(), 2, "one signs, one is next");
    let token = server.token(&api_key).await;
    assert_eq!(kid(&token), first[0]);

    server.app.clock.advance(Duration::seconds(server.app.config.keys.rotation_seconds.into()));
    work(&server).await;
    let rotated = server.token(&api_key).await;
    assert_eq!(kid(&rotated), first[1], "the key that was published all along took over");
    let second = published(&server).await;
    assert_eq!(second[..2], first[..], "the old key is kept for its tokens");
    assert_eq!(second.len(), 3, "and another is next");
}

#[tokio::test]
async fn an_old_key_leaves_the_jwks_when_its_longest_token_has_expired() {
    let server = Server::new().await;
    let first = published(&server).await;
    server.app.clock.advance(Duration::seconds(server.app.config.keys.rotation_seconds.into()));
    work(&server).await;
    server.app.clock.advance(Duration::seconds(i64::from(server.app.config.tokens.max_ttl_seconds) - 1));
    work(&server).await;
    assert!(published(&server).await.contains(&first[0]));
    server.app.clock.advance(Duration::seconds(1));
    work(&server).await;
    assert!(!published(&server).await.contains(&first[0]));
}

#[tokio::test]
async fn a_forced_rotation_waits_until_every_verifier_knows_the_key() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, api_key) = server.agent("fetcher").await;
    let before = published(&server).await;
    let now = server.app.clock.now();
    let (next, at) = keys::rotate(&server.app.db, &server.app.config, &server.app.keys, now).await.unwrap();
    assert_eq!(next, before[1]);
    let lifetime = Duration::seconds(server.app.config.keys.jwks_lifetime_seconds.into());
    assert!(at >= now + lifetime, "it was published only now");
    work(&server).await;
    assert_eq!(kid(&server.token(&api_key).await), before[0], "until then the old one signs");

    server.app.clock.advance(at - now);
    work(&replica).await;
    assert_eq!(kid(&replica.token(&api_key).await), next);
    // By now the one after it is long published, so the next forced rotation takes effect at once.
    server.app.clock.advance(lifetime * 2);
    let now = server.app.clock.now();
    let (_, at) = keys::rotate(&server.app.db, &server.app.config, &server.app.keys, now).await.unwrap();
    assert_eq!(at, now);
}

#[tokio::test]
async fn a_revoked_key_ends_its_tokens_at_once_on_every_replica() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, api_key) = server.agent("fetcher").await;
    let token = server.token(&api_key).await;
    let leaked = kid(&token);
    let now = server.app.clock.now();
    keys::revoke(&server.app.db, &server.app.config, &server.app.keys, &leaked, now).await.unwrap();
    assert!(!server.is_active(&token).await);
    assert!(!replica.is_active(&token).await);
    for server in [&server, &replica] {
        work(server).await;
        assert!(!published(server).await.contains(&leaked));
        let token = server.token(&api_key).await;
        assert_ne!(kid(&token), leaked);
        assert!(server.is_active(&token).await);
    }
    let again = keys::revoke(&server.app.db, &server.app.config, &server.app.keys, &leaked, now).await;
    assert!(again.is_err(), "a key is revoked once");
}

#[tokio::test]
async fn an_older_key_does_not_sign_again_when_its_successor_is_revoked() {
    let server = Server::new().await;
    let (_, api_key) = server.agent("fetcher").await;
    let oldest = kid(&server.token(&api_key).await);
    server.app.clock.advance(Duration::seconds(server.app.config.keys.rotation_seconds.into()));
    work(&server).await;
    let active = kid(&server.token(&api_key).await);
    let now = server.app.clock.now();
    keys::revoke(&server.app.db, &server.app.config, &server.app.keys, &active, now).await.unwrap();
    work(&server).await;
    let signs = kid(&server.token(&api_key).await);
    assert!(signs != oldest && signs != active);
}

#[tokio::test]
async fn a_key_that_was_revoked_before_its_time_supersedes_nobody() {
    let server = Server::new().await;
    let (_, api_key) = server.agent("fetcher").await;
    let active = kid(&server.token(&api_key).await);
    let (db, now) = (&server.app.db, server.app.clock.now());
    let (next, at) = keys::rotate(db, &server.app.config, &server.app.keys, now).await.unwrap();
    assert!(at > now);
    keys::revoke(db, &server.app.config, &server.app.keys, &next, now).await.unwrap();
    // Past the moment at which it would have taken over, before any worker looked.
    server.app.clock.advance(at - now);
    keys::worker::refresh(&server.app).await.unwrap();
    assert_eq!(kid(&server.token(&api_key).await), active);
    work(&server).await;
    assert_eq!(kid(&server.token(&api_key).await), active);
    let retiring = "select count(*) from signing_keys where retire_at is not null";
    assert_eq!(server.count(retiring).await, 0, "the one that signs does not retire");
    assert_eq!(published(&server).await.len(), 2);
}

#[tokio::test]
async fn a_ring_that_could_not_be_read_lately_does_not_sign() {
    let server = Server::with(|config| config.keys.jwks_lifetime_seconds = 0).await;
    let (_, api_key) = server.agent("fetcher").await;
    let answer = server.exchange(&api_key, "").await.expect(503);
    assert_eq!(answer.text_of("error"), "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    server.get("/.well-known/jwks.json").send().await.expect(200);
}

#[tokio::test]
async fn the_states_are_listed() {
    let server = Server::new().await;
    let states = |server: &Server| {
        let (db, now) = (server.app.db.clone(), server.app.clock.now());
        async move {
            let listed = keys::list(&db, now).await.unwrap();
            listed.into_iter().map(|key| serde_json::to_value(key.state).unwrap()).collect::<Vec<_>>()
        }
    };
    assert_eq!(states(&server).await, ["published", "active"]);
    server.app.clock.advance(Duration::seconds(server.app.config.keys.rotation_seconds.into()));
    work(&server).await;
    assert_eq!(states(&server).await, ["published", "active", "retiring"]);
}
