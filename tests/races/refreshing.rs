//! One refresh token, fifty callers, two servers: one successor, whatever the client lets become of the others.

use serde_json::json;
use time::Duration;

use crate::pair::{Pair, at_once, rounds};
use crate::refresher::Refresher;
use crate::server::Answer;

const CALLERS: usize = 50;

const ROUNDS: usize = 4;

/// Presents the token by all callers at once.
async fn all(pair: &Pair, who: &Refresher, token: &str) -> Vec<Answer> {
    at_once((0..CALLERS).map(|number| {
        let (server, who, token) = (pair.at(number), who.clone(), token.to_owned());
        async move { server.refresh(&who, &token).await }
    }))
    .await
}

/// Tokens that were not spent, of all families together.
async fn lines(pair: &Pair) -> i64 {
    let unspent = "select count(*) from refresh_tokens t
        where not exists (select from refresh_tokens n where n.predecessor_id = t.id)";
    pair.one.count(unspent).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn one_of_fifty_obtains_the_successor_and_the_others_are_refused() {
    let pair = Pair::new().await;
    let who = pair.one.public_refresher("quiet").await;
    for round in 1..=rounds(ROUNDS) {
        let first = pair.one.begin(&who).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            all(&pair, &who, &first.refresh).await.into_iter().partition(|answer| answer.status.is_success());
        assert_eq!((won.len(), lost.len()), (1, CALLERS - 1));
        assert!(lost.iter().all(|answer| answer.refusal() == (400, "invalid_grant")));
        assert_eq!(lines(&pair).await, i64::try_from(round).unwrap());
        let second = won.into_iter().next().unwrap().tokens();
        assert!(pair.is_active(&first.access).await && pair.is_active(&second.access).await);
        let third = pair.two.refresh(&who, &second.refresh).await.tokens();
        assert!(pair.is_active(&third.access).await);
        pair.one.app.clock.advance(Duration::seconds(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn where_reuse_ends_the_family_fifty_at_once_leave_nothing() {
    let pair = Pair::new().await;
    let who = pair.one.refresher("refuse", json!({ "refresh_token_reuse": "refuse" })).await;
    for round in 1..=rounds(ROUNDS) {
        let first = pair.one.begin(&who).await;
        let answers = all(&pair, &who, &first.refresh).await;
        let won: Vec<_> = answers.into_iter().filter(|answer| answer.status.is_success()).collect();
        assert_eq!(won.len(), 1);
        let second = won.into_iter().next().unwrap().tokens();
        assert!(!pair.is_active(&first.access).await && !pair.is_active(&second.access).await);
        assert_eq!(pair.two.refresh(&who, &second.refresh).await.refusal(), (400, "invalid_grant"));
        let ended = "select count(*) from audit_events where action = 'refresh_family.revoked'";
        assert_eq!(pair.one.count(ended).await, i64::try_from(round).unwrap());
        pair.one.app.clock.advance(Duration::seconds(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn where_answers_are_given_again_fifty_at_once_obtain_one_successor() {
    let pair = Pair::new().await;
    let who = pair.one.refresher("reissue", json!({ "refresh_token_reuse": "reissue" })).await;
    for round in 1..=rounds(ROUNDS) {
        let first = pair.one.begin(&who).await;
        let mut successors: Vec<String> = all(&pair, &who, &first.refresh)
            .await
            .into_iter()
            .map(|answer| answer.tokens().refresh)
            .collect();
        assert_eq!(successors.len(), CALLERS);
        successors.sort();
        successors.dedup();
        assert_eq!(successors.len(), 1);
        assert_eq!(lines(&pair).await, i64::try_from(round).unwrap());
        assert!(pair.two.refreshes(&who, &successors[0]).await);
        pair.one.app.clock.advance(Duration::seconds(1));
    }
}
