//! What works once works once, however many callers bring it to however many servers at the same moment.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};
use time::Duration;

use crate::pair::{Pair, at_once, rounds};
use crate::party::Party;
use crate::server::{Answer, ISSUER, Server};
use crate::signer::{Signer, assertion_claims, header, with};

/// How many bring it.
pub const CALLERS: usize = 50;

const ROUNDS: usize = 7;

const BY_ASSERTION: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

const KEY_PATH: &str = "/agents/self/public-key";

/// Rows that a contest may leave: credentials, refusals in the audit log, what was used up.
async fn books(server: &Server) -> [i64; 3] {
    [
        server.count("select count(*) from credentials").await,
        server.count("select count(*) from audit_events where outcome = 'refused'").await,
        server.count("select count(*) from used_once").await,
    ]
}

/// Fifty callers do the same at once. One wins, all others are told `lost`, and the database has so many new rows.
pub async fn contest<C>(
    pair: &Pair,
    call: impl Fn(usize, Arc<Server>) -> C,
    lost: (u16, &str),
    rows: [i64; 3],
) -> Answer
where
    C: Future<Output = Answer> + Send + 'static,
{
    let before = books(&pair.one).await;
    let answers = at_once((0..CALLERS).map(|number| call(number, pair.at(number)))).await;
    let (mut won, others): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status.is_success());
    for answer in &others {
        assert_eq!(answer.refusal(), lost, "{}", answer.text);
    }
    assert_eq!((won.len(), others.len()), (1, CALLERS - 1));
    let after = books(&pair.one).await;
    let new = [after[0] - before[0], after[1] - before[1], after[2] - before[2]];
    assert_eq!(new, rows, "credentials, refusals and what was used up");
    pair.one.app.clock.advance(Duration::seconds(1));
    won.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_assertion_obtains_one_token() {
    let pair = Pair::new().await;
    let party = pair.one.party("asserting", json!({ "allowed_scopes": ["a"] })).await;
    for _ in 0..rounds(ROUNDS) {
        let assertion = pair.one.assertion(&party);
        let call = |_, server: Arc<Server>| {
            let assertion = assertion.clone();
            async move { server.assert(&assertion, "a").await }
        };
        let won = contest(&pair, call, (400, "invalid_grant"), [1, 49, 1]).await;
        assert!(pair.is_active(&won.token()).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_actor_token_obtains_one_token() {
    let pair = Pair::new().await;
    let (subject, actor) = subject_and_actor(&pair).await;
    for _ in 0..rounds(ROUNDS) {
        let assertion = pair.one.assertion(&actor);
        let call = |_, server: Arc<Server>| {
            let (subject, assertion) = (subject.clone(), assertion.clone());
            async move { server.delegate_by(&subject, &assertion, "a").await }
        };
        let won = contest(&pair, call, (400, "invalid_grant"), [1, 49, 1]).await;
        assert!(pair.is_active(&won.token()).await);
    }
}

/// A token with the scope `a`, and another agent that may have it too.
async fn subject_and_actor(pair: &Pair) -> (String, Party) {
    let scopes = json!({ "allowed_scopes": ["a"] });
    let owner = pair.one.party("owner", scopes.clone()).await;
    let actor = pair.one.party("actor", scopes).await;
    (pair.one.exchange(&owner.api_key, "a").await.token(), actor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_assertion_that_comes_as_a_grant_and_as_an_actor_token_obtains_one_token() {
    let pair = Pair::new().await;
    let (subject, actor) = subject_and_actor(&pair).await;
    for _ in 0..rounds(ROUNDS) {
        let assertion = pair.one.assertion(&actor);
        let call = |number: usize, server: Arc<Server>| {
            let (subject, assertion) = (subject.clone(), assertion.clone());
            async move {
                if (number / 2).is_multiple_of(2) {
                    server.assert(&assertion, "a").await
                } else {
                    server.delegate_by(&subject, &assertion, "a").await
                }
            }
        };
        contest(&pair, call, (400, "invalid_grant"), [1, 49, 1]).await;
    }
}

/// The key of a client that signs its assertions.
async fn signing_client(pair: &Pair) -> Signer {
    let (agent, _) = pair.one.agent("of-the-client").await;
    let signer = Signer::new();
    let more = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [signer.jwk()] } });
    let body = with(
        &json!({
            "client_id": "signing", "name": "signing", "confidential": true, "identity_id": agent,
            "grant_types": ["client_credentials", "token_exchange"], "scopes": ["a"],
        }),
        &more,
    );
    pair.one.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
    signer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_client_assertion_obtains_one_token() {
    let pair = Pair::new().await;
    let signer = signing_client(&pair).await;
    for _ in 0..rounds(ROUNDS) {
        let assertion = signer.assertion("signing", pair.one.app.clock.now());
        let call = |_, server: Arc<Server>| {
            let assertion = assertion.clone();
            async move {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_assertion", &assertion),
                    BY_ASSERTION,
                    ("scope", "a"),
                ];
                server.post("/oauth2/token").form(&form).send().await
            }
        };
        let won = contest(&pair, call, (401, "invalid_client"), [1, 49, 1]).await;
        assert!(pair.is_active(&won.token()).await);
    }
}

/// Introspection and revocation refuse without an audit row, as they refuse a wrong secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_client_assertion_works_at_one_endpoint_only() {
    let pair = Pair::new().await;
    let signer = signing_client(&pair).await;
    let mut winners = [0; 3];
    for _ in 0..rounds(ROUNDS) {
        let assertion = signer.assertion("signing", pair.one.app.clock.now());
        let call = |number: usize, server: Arc<Server>| {
            let assertion = assertion.clone();
            async move {
                let path = ["/oauth2/token", "/oauth2/token/introspect", "/oauth2/token/revoke"][number % 3];
                let form = [
                    ("grant_type", "client_credentials"),
                    ("token", "x"),
                    ("client_assertion", &assertion),
                    BY_ASSERTION,
                    ("scope", "a"),
                ];
                (number % 3, server.post(path).form(&form).send().await)
            }
        };
        let before = books(&pair.one).await;
        let answers = at_once((0..CALLERS).map(|number| call(number, pair.at(number)))).await;
        let (won, others): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(_, answer)| answer.status.is_success());
        assert!(others.iter().all(|(_, answer)| answer.refusal() == (401, "invalid_client")));
        assert_eq!(won.len(), 1);
        winners[won[0].0] += 1;
        // Every third caller, and so 17 of them, asked for a token.
        let (token, refused) = if won[0].0 == 0 { (1, 16) } else { (0, 17) };
        let expected = [before[0] + token, before[1] + refused, before[2] + 1];
        assert_eq!(books(&pair.one).await, expected);
        pair.one.app.clock.advance(Duration::seconds(1));
    }
    println!("won at the token endpoint, at introspection, at revocation: {winners:?}");
}

/// A proof of possession for the enrolment of a key; `next` is the new key that the current one names.
fn proof(pair: &Pair, agent: &Party, by: &Signer, next: Option<&Signer>) -> String {
    let nkt = next.map_or(Value::Null, |next| json!(next.spki_digest()));
    let claims = assertion_claims(&agent.uri, pair.one.app.clock.now());
    by.jws(&header(), &with(&claims, &json!({ "aud": format!("{ISSUER}{KEY_PATH}"), "nkt": nkt })))
}

fn enrolment(pair: &Pair, agent: &Party, current: &Signer, next: &Signer) -> Value {
    json!({
        "new_public_key_pem": next.pem(),
        "new_key_proof": proof(pair, agent, next, None),
        "current_key_proof": proof(pair, agent, current, Some(next)),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn proofs_of_keys_replace_a_key_once() {
    let pair = Pair::new().await;
    let mut agent = pair.one.party("enrolling", json!({ "allowed_scopes": ["a"] })).await;
    for round in 0..rounds(ROUNDS) {
        let token = pair.one.token(&agent.api_key).await;
        // In turns the same key fifty times, and fifty keys of which one can be the next.
        let keys: Vec<Signer> =
            (0..if round % 2 == 0 { 1 } else { CALLERS }).map(|_| Signer::new()).collect();
        let bodies: Vec<Value> =
            keys.iter().map(|next| enrolment(&pair, &agent, &agent.signer, next)).collect();
        let call = |number: usize, server: Arc<Server>| {
            let (token, body) = (token.clone(), bodies[number % bodies.len()].clone());
            async move { server.post(KEY_PATH).bearer(&token).json(body).send().await }
        };
        let won = contest(&pair, call, (403, ""), [0, 49, 2]).await;
        let thumbprint = won.text_of("public_key_thumbprint").to_owned();
        let registered = pair.two.admin("GET", &format!("/agents/registry/{}", agent.id)).send().await;
        assert_eq!(registered.expect(200).text_of("public_key_thumbprint"), thumbprint);
        agent.signer = winner(&pair, &agent, keys).await;
    }
}

/// The one of the keys with which the agent can sign now.
async fn winner(pair: &Pair, agent: &Party, keys: Vec<Signer>) -> Signer {
    let mut winners = Vec::new();
    for key in keys {
        let assertion = key.assertion(&agent.uri, pair.one.app.clock.now());
        let answer = pair.two.assert(&assertion, "a").await;
        if answer.status.is_success() {
            winners.push(key);
        } else {
            assert_eq!(answer.refusal(), (400, "invalid_grant"));
        }
    }
    assert_eq!(winners.len(), 1, "keys that the agent can sign with");
    winners.remove(0)
}
