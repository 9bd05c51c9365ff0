//! Codes, pushed requests and links, each brought by fifty callers to two servers at once.

use std::sync::Arc;

use serde_json::json;

use crate::once::{CALLERS, contest};
use crate::pair::{Pair, at_once, rounds};
use crate::people::Ask;
use crate::server::{Answer, Server};

const ROUNDS: usize = 5;

/// A person's browser, and a client to which that person agreed.
async fn cookie(pair: &Pair) -> (String, String) {
    pair.one.program_of_people("diary", json!({})).await;
    let person = pair.one.person("u-ada").await;
    let cookie = pair.one.cookie(&person).await;
    pair.one.code(&Ask::of("diary"), &cookie).await;
    (person, cookie)
}

/// The winner's token ends with it: nobody can tell which of the callers had stolen the code.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_code_obtains_one_token_and_its_replay_ends_that() {
    let pair = Pair::new().await;
    let (person, _) = cookie(&pair).await;
    for _ in 0..rounds(ROUNDS) {
        // Every round takes a second, and a browser is known for some minutes only.
        let cookie = pair.one.cookie(&person).await;
        let code = pair.one.code(&Ask::of("diary"), &cookie).await;
        let call = |_, server: Arc<Server>| {
            let code = code.clone();
            async move { server.redeem("diary", &code, &[]).await }
        };
        let won = contest(&pair, call, (400, "invalid_grant"), [1, 49, 1]).await;
        assert!(!pair.is_active(&won.token()).await);
    }
    let replayed = pair.one.count("select count(*) from revocations where reason = 'code_replayed'").await;
    assert_eq!(replayed, i64::try_from(rounds(ROUNDS)).unwrap(), "one mark for each code");
}

/// All at once, and how many of them succeeded with this status; the others are refused with that one.
async fn once(pair: &Pair, won: u16, lost: u16, call: impl Fn(Arc<Server>) -> Request) {
    let answers = at_once((0..CALLERS).map(|number| call(pair.at(number)))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
    assert_eq!((count(won), count(lost)), (1, CALLERS - 1), "{answers:?}");
}

type Request = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_pushed_request_gets_one_code() {
    let pair = Pair::new().await;
    let (_, cookie) = cookie(&pair).await;
    for _ in 0..rounds(ROUNDS) {
        let form = "application/x-www-form-urlencoded";
        let pushed =
            pair.one.post("/oauth2/par").raw(form, Ask::of("diary").query()).send().await.expect(201);
        let uri = pushed.text_of("request_uri").replace(':', "%3A");
        let path = format!("/oauth2/authorize?client_id=diary&request_uri={uri}");
        let before = pair.one.count("select count(*) from authorization_codes").await;
        once(&pair, 302, 400, |server| {
            let (path, cookie) = (path.clone(), cookie.clone());
            Box::pin(async move { server.get(&path).with("Cookie", &cookie).send().await })
        })
        .await;
        assert_eq!(pair.one.count("select count(*) from authorization_codes").await, before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_link_opens_for_one_browser() {
    let pair = Pair::new().await;
    let (person, _) = cookie(&pair).await;
    for _ in 0..rounds(ROUNDS) {
        let link = pair.one.link(&person, "/oauth2/authorize").await;
        once(&pair, 303, 404, |server| {
            let link = link.clone();
            Box::pin(async move { server.get(&link).send().await })
        })
        .await;
    }
}
