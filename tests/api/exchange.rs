//! Token exchange (RFC 8693) as the SDK asks for it: a subject token and an assertion of the actor.

use serde_json::{Value, json};
use time::Duration;

use crate::party::TOKEN_EXCHANGE;
use crate::server::Server;
use crate::tools::{assert_error, claims};

#[tokio::test]
async fn rfc8693_s2_2_1_an_exchange_answers_with_the_type_of_what_it_issued() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let subject = server.exchange(&planner.api_key, "a b").await.token();
    let answer = server.delegate(&subject, &fetcher, "a").await.expect(200);
    assert_eq!(answer.text_of("issued_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!((answer.text_of("token_type"), answer.text_of("scope")), ("Bearer", "a"));
    assert_eq!(answer.text_of("external_id"), "fetcher");
}

#[tokio::test]
async fn rfc8693_s4_1_a_chain_of_three_shrinks_at_every_hop() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let writer = server.party("writer", json!({})).await;
    let root = server.exchange(&planner.api_key, "a b c").await.token();
    server.app.clock.advance(Duration::seconds(100));
    let first = server.delegate(&root, &fetcher, "c a x").await.token();
    let second = server.delegate(&first, &writer, "a b").await.token();
    let (root, first, second) = (claims(&root), claims(&first), claims(&second));
    assert_eq!((&first["sub"], &first["act"]), (&json!(fetcher.uri), &json!({ "sub": planner.uri })));
    assert_eq!((&second["sub"], &second["act"]), (&json!(writer.uri), &json!({ "sub": fetcher.uri })));
    assert_eq!((&first["scopes"], &second["scopes"]), (&json!(["c", "a"]), &json!(["a"])));
    assert_eq!((&first["delegation_depth"], &second["delegation_depth"]), (&json!(1), &json!(2)));
    for child in [&first, &second] {
        assert_eq!((&child["mission_id"], &child["grant_type"]), (&root["jti"], &json!("token_exchange")));
        assert_eq!((&child["exp"], &child["aud"]), (&root["exp"], &root["aud"]), "it ends with its parent");
    }
}

#[tokio::test]
async fn what_hangs_below_ends_with_what_is_above_it_and_not_the_other_way() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let root = server.exchange(&planner.api_key, "a").await.token();
    let child = server.delegate(&root, &fetcher, "a").await.token();
    let sibling = server.delegate(&root, &fetcher, "a").await.token();
    let grandchild = server.delegate(&child, &planner, "a").await.token();
    server.post("/oauth2/token/revoke").form(&[("token", &child)]).send().await.expect(200);
    for (token, stands) in [(&root, true), (&sibling, true), (&child, false), (&grandchild, false)] {
        assert_eq!(replica.is_active(token).await, stands);
    }
    assert_error(&replica.delegate(&grandchild, &fetcher, "a").await, 400, "invalid_grant");
    server.act(&planner.id, "deactivate").await.expect(200);
    for token in [&root, &sibling, &child, &grandchild] {
        assert!(!replica.is_active(token).await);
    }
}

#[tokio::test]
async fn rfc8693_s2_1_only_access_tokens_are_exchanged_for_access_tokens() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let subject = server.exchange(&agent.api_key, "a").await.token();
    for (name, value) in [
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2"),
        ("actor_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("actor_token_type", "access_token"),
    ] {
        let actor = server.assertion(&agent);
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &subject),
            ("actor_token", &actor),
            ("scope", "a"),
            (name, value),
        ];
        assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "invalid_request");
    }
    for missing in ["subject_token", "actor_token"] {
        let actor = server.assertion(&agent);
        let all = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &subject),
            ("actor_token", &actor),
            ("scope", "a"),
        ];
        let form: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn nothing_is_delegated_that_the_subject_lacks_or_that_nobody_asked_for() {
    let server = Server::new().await;
    let planner = server.party("planner", json!({ "allowed_scopes": ["a", "b", "nhi:manage"] })).await;
    let narrow = server.party("narrow", json!({ "allowed_scopes": ["b", "c"] })).await;
    let open = server.party("open", json!({})).await;
    let subject = server.exchange(&planner.api_key, "a b nhi:manage").await.token();
    for (actor, scope, granted) in [
        (&narrow, "a b c", Some("b")),
        (&narrow, "a", None),
        (&open, "", None),
        (&open, "z", None),
        (&open, "b a nhi:manage", Some("b a")),
        (&open, "nhi:manage", None),
        (&planner, "nhi:manage", Some("nhi:manage")),
    ] {
        let answer = server.delegate(&subject, actor, scope).await;
        match granted {
            Some(granted) => assert_eq!(answer.expect(200).text_of("scope"), granted, "{scope}"),
            None => assert_error(&answer, 400, "invalid_scope"),
        }
    }
}

#[tokio::test]
async fn the_audience_only_shrinks() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let body =
        json!({ "identity_id": agent.id, "scopes": ["a"], "audience": ["https://one.example", "two"] });
    let issued = server.admin("POST", "/credentials/issue").json(body).send().await.expect(201);
    let subject = issued.body["token"]["access_token"].as_str().unwrap().to_owned();
    let ask = async |name: &'static str, value: &str| {
        let actor = server.assertion(&agent);
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &subject),
            ("actor_token", &actor),
            ("scope", "a"),
            (name, value),
        ];
        server.post("/oauth2/token").form(&form).send().await
    };
    let aud = |token: String| claims(&token)["aud"].clone();
    assert_eq!(aud(ask("x", "").await.token()), json!(["https://one.example", "two"]));
    assert_eq!(aud(ask("audience", "two").await.token()), json!(["two"]));
    assert_eq!(aud(ask("resource", "https://one.example").await.token()), json!(["https://one.example"]));
    assert_error(&ask("audience", "three").await, 400, "invalid_target");
    assert_error(&ask("resource", crate::server::ISSUER).await, 400, "invalid_target");
}

#[tokio::test]
async fn a_chain_is_as_deep_as_the_actors_policy_allows() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let mut token = server.exchange(&agent.api_key, "a").await.token();
    for depth in 1..=5 {
        token = server.delegate(&token, &agent, "a").await.token();
        assert_eq!(claims(&token)["delegation_depth"], depth);
    }
    assert_error(&server.delegate(&token, &agent, "a").await, 400, "policy_violation");
}

#[tokio::test]
async fn an_actor_of_another_tenant_is_refused() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let subject = server.exchange(&agent.api_key, "a").await.token();
    let signer = crate::signer::Signer::new();
    let body = json!({ "name": "Foreign", "external_id": "foreign", "created_by": "x", "public_key_pem": signer.pem() });
    let call = server.call("POST", "/agents/register").tenant("other", "demo");
    let foreign = call.json(body).send().await.expect(201);
    let uri = foreign.body["identity"]["wimse_uri"].as_str().unwrap();
    let actor = signer.assertion(uri, server.app.clock.now());
    assert_error(&server.delegate_by(&subject, &actor, "a").await, 400, "invalid_grant");
    let rows: Value = json!(server.count("select count(*) from credentials").await);
    assert_eq!(rows, 1);
}
