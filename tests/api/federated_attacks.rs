//! Attacks with tokens of trusted issuers, each at every entrance at which such a token is taken.

use serde_json::{Value, json};
use time::Duration;

use crate::client_documents::fetching;
use crate::federation::{GITHUB, Platform, SUBJECT, trusted};
use crate::https::{Site, raw};
use crate::outside_subject::{ID_TOKEN, JWT};
use crate::server::{Answer, Server};
use crate::signer::with;

const KUBERNETES: &str = "https://cluster.example";

/// Where a token of a trusted issuer is taken.
const ENTRANCES: [&str; 4] = ["client_assertion", "assertion", "subject_token", "id_token"];

async fn enter(server: &Server, entrance: &str, token: &str) -> Answer {
    match entrance {
        "client_assertion" => server.federate(token, "a").await,
        "assertion" => server.federate_as_assertion(token).await,
        "subject_token" => server.exchange_outside(token, JWT, &[]).await,
        _ => server.exchange_outside(token, ID_TOKEN, &[]).await,
    }
}

/// How an entrance says no to a token that it does not believe, and to one that came before.
fn no(entrance: &str) -> (u16, &'static str) {
    if entrance == "client_assertion" { (401, "invalid_client") } else { (400, "invalid_grant") }
}

const SPENT: (u16, &str) = (400, "invalid_grant");

/// Two issuers of one tenant that both name their key `k1`, and both speak of the same subject.
async fn two(server: &Server) -> (Platform, Platform) {
    let (github, cluster) = (Platform::new(GITHUB), Platform::new(KUBERNETES));
    let (_, agent) = trusted(server, &github, json!({})).await;
    let other = server.trust(&cluster, json!({})).await.expect(201).text_of("id").to_owned();
    server.link_subject(&other, SUBJECT, &agent).await.expect(201);
    (github, cluster)
}

#[tokio::test]
async fn one_trusted_issuer_does_not_speak_for_another() {
    let server = Server::new().await;
    let (github, cluster) = two(&server).await;
    for entrance in ENTRANCES {
        let swapped = github.token(&server, &json!({ "iss": KUBERNETES }));
        assert_eq!(enter(&server, entrance, &swapped).await.refusal(), no(entrance), "{entrance}");
        // The same jti of two issuers is two tokens: neither burns the other's.
        let jti = json!({ "jti": github.claims(&server)["jti"] });
        for platform in [&github, &cluster] {
            enter(&server, entrance, &platform.token(&server, &jti)).await.expect(200);
        }
        for platform in [&github, &cluster] {
            let answer = enter(&server, entrance, &platform.token(&server, &jti)).await;
            assert_eq!(answer.refusal(), SPENT, "{entrance}");
        }
    }
}

/// The second use is refused by memory while the token could pass, and by its end after: there is no moment between.
#[tokio::test]
async fn a_spent_token_is_remembered_for_as_long_as_it_could_pass() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (github, _) = two(&server).await;
    let spent: Vec<(&str, String)> =
        ENTRANCES.iter().map(|entrance| (*entrance, github.token(&server, &json!({})))).collect();
    for (entrance, token) in &spent {
        enter(&server, entrance, token).await.expect(200);
    }
    // They live 300 seconds, and clocks may be 30 apart.
    for (seconds, remembered) in [(200, true), (100, true), (29, true), (1, false), (300, false)] {
        server.app.clock.advance(Duration::seconds(seconds));
        chancery::tokens::worker::forget(&server.app).await.unwrap();
        for (used_at, token) in &spent {
            for entrance in ENTRANCES {
                let answer = enter(&replica, entrance, token).await;
                let wanted = if remembered { SPENT } else { no(entrance) };
                assert_eq!(answer.refusal(), wanted, "{used_at} {entrance}: {}", answer.text);
            }
        }
    }
    assert_eq!(server.count("select count(*) from credentials").await, 4);
    assert_eq!(server.count("select count(*) from used_once").await, 0, "what can't pass is forgotten");
}

/// Where an issuer publishes its keys, at every entrance: a rotation works, an outage is told as one, and nothing is
/// fetched from where it may not be.
#[tokio::test]
async fn the_keys_of_an_issuer_at_every_entrance() {
    for entrance in ENTRANCES {
        let (server, site, inside) = (fetching().await, Site::start().await, Site::start().await);
        let platform = Platform::new(GITHUB);
        site.json("/keys", platform.jwks());
        let (entry, _) =
            trusted(&server, &platform, json!({ "jwks": null, "jwks_uri": site.url("/keys") })).await;
        let by = |platform: &Platform, kid: &str| {
            platform.signer.jws(&json!({ "alg": "ES256", "kid": kid }), &platform.claims(&server))
        };
        enter(&server, entrance, &by(&platform, "k1")).await.expect(200);
        let next = Platform::new(GITHUB);
        let keys = json!({ "keys": [with(&next.signer.jwk(), &json!({ "kid": "k2" }))] });
        site.json("/keys", keys);
        server.app.clock.advance(Duration::seconds(10));
        enter(&server, entrance, &by(&next, "k2")).await.expect(200);
        // The set of before is gone with the key that was taken back.
        let answer = enter(&server, entrance, &by(&platform, "k1")).await;
        assert_eq!(answer.refusal(), no(entrance), "{entrance}");
        // A redirect leads nowhere, and an issuer that has not answered for an hour is not believed.
        inside.json("/keys", platform.jwks());
        site.set("/keys", raw(&format!("302 Found\r\nLocation: {}", inside.url("/keys")), ""));
        server.app.clock.advance(Duration::minutes(61));
        let answer = enter(&server, entrance, &by(&platform, "k1")).await.expect(503);
        assert_eq!((answer.text_of("error"), answer.header("retry-after")), ("temporarily_unavailable", "1"));
        assert_eq!(inside.hits(), 0, "{entrance}");
        // Nor does an address of this machine, for a server that may not fetch from it.
        let guarded = server
            .replica_with(|config| config.outbound.allow_private = String::new().parse().unwrap())
            .await;
        let before = site.hits();
        enter(&guarded, entrance, &by(&next, "k2")).await.expect(503);
        let path = format!("/trusted-issuers/{entry}");
        let patch = json!({ "jwks_uri": inside.url("/keys") });
        guarded.admin("PATCH", &path).json(patch).send().await.expect(400);
        assert_eq!((site.hits(), inside.hits()), (before, 0), "{entrance}");
    }
}

/// What nobody could sign, in every place of a request that takes such a token: never a fault, never a token.
#[tokio::test]
async fn what_is_no_token_at_all_is_refused_at_every_entrance() {
    let server = Server::new().await;
    let (github, _) = two(&server).await;
    let good = github.token(&server, &json!({}));
    let (head, rest) = good.split_once('.').unwrap();
    let claims = rest.split('.').next().unwrap();
    for token in [
        "x".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{head}.{claims}"),
        format!("{head}.{claims}."),
        format!("{head}..{claims}"),
        format!("{good}.{claims}"),
        format!("{good} "),
        format!(".{claims}.{head}"),
        json!({ "payload": claims, "protected": head, "signature": "AAAA" }).to_string(),
        "x".repeat(100_000),
    ] {
        for entrance in ENTRANCES {
            let answer = enter(&server, entrance, &token).await;
            assert!((400..500).contains(&answer.status.as_u16()), "{entrance} {token:.60}: {}", answer.text);
            assert!(answer.body.get("access_token").is_none());
        }
    }
    let none: Value = server.count("select count(*) from credentials").await.into();
    assert_eq!(none, json!(0));
}
