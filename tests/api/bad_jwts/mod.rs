//! One table of bad JWTs, presented at every place that accepts a JWT: each is refused as the place refuses, and nothing
//! changes.
mod algorithms;
mod claims;
mod fuzz;
mod headers;
mod maker;
mod neighbours;
mod place;
mod shapes;
mod stage;

use std::sync::Arc;

use chancery::kit::app::App;
use serde_json::{Value, json};

use crate::tools::part;
pub use maker::Bad;
use maker::{Key, Maker, Passes, Rows};
use neighbours::neighbours;
use place::Place;
use stage::Stage;

/// The whole table for one maker.
fn table(maker: &Maker) -> Vec<Bad> {
    let mut rows = Rows(Vec::new());
    algorithms::rows(maker, &mut rows);
    headers::rows(maker, &mut rows);
    // A proof of possession speaks of a request and of nobody; `dpop::proofs` has what it claims.
    if maker.header["typ"] != "dpop+jwt" {
        claims::rows(maker, &mut rows);
    }
    shapes::rows(maker, &mut rows);
    rows.0
}

/// What imitates two tokens of ours, for tests of further places.
pub fn forgeries(app: &Arc<App>, real: &str, other: &str) -> Vec<Bad> {
    table(&Maker {
        header: part(real, 0),
        claims: part(real, 1),
        longest: 3600,
        key: Key::Ours(app.clone()),
        good: [real.to_owned(), other.to_owned()],
        jwk: published_key(app),
    })
}

/// The public half of the server's key.
fn published_key(app: &App) -> Value {
    let jwks: Value = serde_json::from_slice(&app.keys.ring().jwks().0).unwrap();
    jwks["keys"][0].clone()
}

/// What a sweep of one place found.
#[derive(Default)]
struct Swept {
    refused: usize,
    passed: usize,
    neighbours: usize,
    faults: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_place_refuses_every_bad_jwt() {
    let (mut cells, mut faults) = (0, Vec::new());
    for (place, swept) in at_every_place(sweep).await {
        let count = swept.refused + swept.passed + swept.neighbours;
        println!(
            "bad JWTs at {place:?}: {count} ({} bad, {} ignored by design, {} of other places)",
            swept.refused, swept.passed, swept.neighbours
        );
        let least = if place == Place::DpopProof { 300 } else { 400 };
        assert!(count >= least, "{place:?}");
        cells += count;
        faults.extend(swept.faults);
    }
    println!("bad JWTs: {cells} cells at {} places", Place::ALL.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Runs something at every place, a few at a time: each has a server with connections of its own.
async fn at_every_place<T, F>(run: impl Fn(Place) -> F) -> Vec<(Place, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut all = Vec::new();
    for places in Place::ALL.chunks(3) {
        let runs: Vec<_> = places.iter().map(|place| (*place, tokio::spawn(run(*place)))).collect();
        for (place, run) in runs {
            all.push((place, run.await.unwrap()));
        }
    }
    all
}

/// Presents the table and the neighbours at one place, then what is good there after all.
async fn sweep(place: Place) -> Swept {
    let stage = Stage::new().await;
    let maker = stage.maker(place);
    let others = neighbours(&stage).await;
    let others = others.into_iter().filter(|(kind, _)| !place.takes(*kind));
    let mut swept = Swept::default();
    let before = stage.state().await;
    // Some texts are no header's value: they never arrive.
    let arrives =
        |bad: &Bad| !place.is_header() || bad.token.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let (pass, mut bad): (Vec<_>, Vec<_>) =
        table(&maker).into_iter().filter(arrives).partition(|bad| place.lets_pass(bad));
    swept.refused = bad.len();
    bad.extend(others.map(|(kind, token)| Bad { what: format!("{kind:?}"), token, passes: Passes::Nowhere }));
    swept.neighbours = bad.len() - swept.refused;
    for bad in &bad {
        let answer = stage.present(place, &bad.token).await;
        if let Err(fault) = place.check(bad, &answer) {
            swept.faults.push(format!("{place:?}: {}: {fault}", bad.what));
        }
    }
    if stage.state().await != before {
        swept.faults.push(format!("{place:?}: something was changed"));
    }
    swept.passed = pass.len();
    let good = [("the good token", maker.good[0].as_str()), ("the other good token", &maker.good[1])];
    let ignored = pass.iter().map(|bad| (bad.what.as_str(), bad.token.as_str()));
    for (what, token) in ignored.chain(good) {
        stage.reset().await;
        let answer = stage.present(place, token).await;
        if !Stage::accepted(place, &answer) {
            swept.faults.push(format!("{place:?}: {what} is not accepted: {}", answer.text));
        }
    }
    swept
}

/// RFC 8725 section 3.10: what a header says of keys is not believed. It harms nobody when the right key signs.
#[tokio::test]
async fn what_only_describes_a_token_is_ignored_where_the_right_key_signs() {
    let others = |place: &Place| place.is_for_ours() || *place == Place::DpopProof;
    for place in Place::ALL.into_iter().filter(|place| !others(place)) {
        let stage = Stage::new().await;
        let maker = stage.maker(place);
        let now = maker.claim("iat").as_i64().unwrap();
        let (aud, header, claims) = (maker.claim("aud"), maker.header.to_string(), maker.claims.to_string());
        let deep = format!("{{\"deep\":{}{},{}", "[".repeat(200), "]".repeat(200), &claims[1..]);
        for (what, token) in [
            ("jwk", maker.with_header(&json!({ "jwk": maker.jwk }))),
            ("a foreign jwk", maker.with_header(&json!({ "jwk": { "kty": "oct", "k": "AA" } }))),
            ("jku", maker.with_header(&json!({ "jku": "https://evil.example/jwks.json" }))),
            ("x5u and x5c", maker.with_header(&json!({ "x5u": "https://evil.example", "x5c": ["AA"] }))),
            ("an unknown member", maker.with_header(&json!({ "more": { "a": [1] } }))),
            ("typ in small letters", maker.with_header(&json!({ "typ": "jwt" }))),
            ("an unknown claim", maker.with_claims(&json!({ "scope": "nhi:manage", "more": null }))),
            ("an unknown claim 200 levels deep", maker.jws_of(header.as_bytes(), deep.as_bytes())),
            ("a list of audiences", maker.with_claims(&json!({ "aud": ["https://other.example", aud] }))),
            ("nbf", maker.with_claims(&json!({ "nbf": now }))),
            ("an end within the skew", maker.with_claims(&json!({ "iat": now - 60, "exp": now - 29 }))),
            ("the longest life", maker.with_claims(&json!({ "exp": now + maker.longest }))),
            ("no iat", maker.without("iat")),
        ] {
            stage.reset().await;
            let answer = stage.present(place, &token).await;
            assert!(Stage::accepted(place, &answer), "{place:?}: {what}: {}", answer.text);
            let again = stage.present(place, &token).await;
            assert!(!Stage::accepted(place, &again), "{place:?}: {what} a second time: {}", again.text);
        }
    }
}
