//! A spent refresh token that comes again: what each of the client's three ways makes of it, on any server and after a
//! restart.

use serde_json::json;
use time::Duration;

use super::{assert_dead, assert_family_ended};
use crate::events::settle;
use crate::refresher::{Refresher, Tokens};
use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims};

const REUSED: &str = "refresh_token_reuse";

async fn client(server: &Server, reuse: &str) -> Refresher {
    server.refresher(reuse, json!({ "refresh_token_reuse": reuse })).await
}

#[track_caller]
fn assert_refused(answer: &Answer, why: &str) {
    assert_error(answer, 400, "invalid_grant");
    assert!(answer.text_of("error_description").contains(why), "{}", answer.text);
}

const QUIETLY: &str = "use the one that came with the last answer";
const ENDED: &str = "all tokens of its grant have ended";

/// A family whose first token was spent.
async fn rotated(server: &Server, who: &Refresher) -> (Tokens, Tokens) {
    let first = server.begin(who).await;
    let second = server.refresh(who, &first.refresh).await.tokens();
    (first, second)
}

#[tokio::test]
async fn rfc9700_s4_14_2_refuse_ends_the_family_at_once() {
    let server = Server::new().await;
    let who = client(&server, "refuse").await;
    let (first, second) = rotated(&server, &who).await;
    assert_refused(&server.refresh(&who, &first.refresh).await, ENDED);
    assert_family_ended(&server, &who, &[&first, &second], REUSED).await;
    assert_dead(&server.refresh(&who, &first.refresh).await);
}

#[tokio::test]
async fn quiet_lets_a_repetition_pass_for_ten_seconds_and_ends_the_family_after() {
    let server = Server::new().await;
    let who = server.public_refresher("plain").await;
    let (first, second) = rotated(&server, &who).await;
    for wait in [Duration::ZERO, Duration::seconds(10) - Duration::MILLISECOND] {
        server.app.clock.advance(wait);
        assert_refused(&server.refresh(&who, &first.refresh).await, QUIETLY);
        assert!(server.is_active(&first.access).await && server.is_active(&second.access).await);
    }
    let third = server.refresh(&who, &second.refresh).await.tokens();
    server.app.clock.advance(Duration::MILLISECOND);
    // Of the second, the window has only begun.
    assert_refused(&server.refresh(&who, &second.refresh).await, QUIETLY);
    assert_refused(&server.refresh(&who, &first.refresh).await, ENDED);
    assert_family_ended(&server, &who, &[&first, &second, &third], REUSED).await;
}

#[tokio::test]
async fn a_refusal_for_reuse_leaves_its_row_beside_that_of_the_family() {
    let server = Server::new().await;
    let who = client(&server, "refuse").await;
    let (first, _) = rotated(&server, &who).await;
    server.refresh(&who, &first.refresh).await.expect(400);
    let rows = server.audit().await;
    let last: Vec<_> =
        rows[rows.len() - 2..].iter().map(|row| (row.0.as_str(), row.1.as_str(), row.2.as_str())).collect();
    assert_eq!(
        last,
        [("token.refused", "refused", "client"), ("refresh_family.revoked", "success", "client")]
    );
}

#[tokio::test]
async fn each_access_token_of_an_ended_family_has_its_event() {
    let server = Server::new().await;
    let who = client(&server, "refuse").await;
    let (first, second) = rotated(&server, &who).await;
    server.refresh(&who, &first.refresh).await.expect(400);
    settle(&server).await;
    for tokens in [first, second] {
        let jti = claims(&tokens.access)["jti"].as_str().unwrap().to_owned();
        let told = format!(
            "select string_agg(event_type || ' ' || (payload ->> 'reason'), ',') from outbox where subject_id = '{jti}'"
        );
        assert_eq!(server.text_from_sql(told).await, format!("credential.revoked {REUSED}"));
        let path = format!("/credentials/{jti}");
        let credential = server.admin("GET", &path).send().await.expect(200);
        assert_eq!(credential.text_of("revoke_reason"), REUSED);
    }
}

#[tokio::test]
async fn reissue_gives_a_lost_answer_again_and_one_line_lives_on() {
    let server = Server::new().await;
    let who = client(&server, "reissue").await;
    let first = server.begin(&who).await;
    let lost = server.refresh(&who, &first.refresh).await.tokens();
    server.app.clock.advance(Duration::seconds(30) - Duration::MILLISECOND);
    let retried = server.replica().await.refresh(&who, &first.refresh).await.tokens();
    // The same successor, so whoever kept the first answer holds no second line.
    assert_eq!(retried.refresh, lost.refresh);
    assert_ne!(retried.access, lost.access);
    assert!(server.is_active(&retried.access).await);
    let next = server.refresh(&who, &retried.refresh).await.tokens();
    let live = "select count(*) from refresh_tokens t
        where not exists (select from refresh_tokens n where n.predecessor_id = t.id)";
    assert_eq!(server.count(live).await, 1);
    assert!(server.refreshes(&who, &next.refresh).await);
}

#[tokio::test]
async fn reissue_ends_the_family_after_thirty_seconds() {
    let server = Server::new().await;
    let who = client(&server, "reissue").await;
    let (first, second) = rotated(&server, &who).await;
    server.app.clock.advance(Duration::seconds(30));
    assert_refused(&server.refresh(&who, &first.refresh).await, ENDED);
    assert_family_ended(&server, &who, &[&first, &second], REUSED).await;
}

#[tokio::test]
async fn a_thief_within_the_window_of_reissue_gets_no_line_of_his_own() {
    let server = Server::new().await;
    let who = client(&server, "reissue").await;
    let (stolen, owners) = rotated(&server, &who).await;
    let thiefs = server.refresh(&who, &stolen.refresh).await.tokens();
    // Whoever of the two refreshes later tells on both.
    let thiefs_next = server.refresh(&who, &thiefs.refresh).await.tokens();
    assert_refused(&server.refresh(&who, &stolen.refresh).await, QUIETLY);
    server.app.clock.advance(Duration::seconds(30));
    assert_refused(&server.refresh(&who, &owners.refresh).await, ENDED);
    assert_family_ended(&server, &who, &[&owners, &thiefs, &thiefs_next], REUSED).await;
}

#[tokio::test]
async fn a_successor_that_was_kept_is_forgotten_with_its_window() {
    let server = Server::new().await;
    let who = client(&server, "reissue").await;
    rotated(&server, &who).await;
    let kept = "select count(*) from refresh_tokens where sealed is not null";
    for (wait, left) in [(29, 1), (1, 0)] {
        server.app.clock.advance(Duration::seconds(wait));
        chancery::tokens::worker::forget(&server.app).await.unwrap();
        assert_eq!(server.count(kept).await, left);
    }
    let quiet = server.public_refresher("plain").await;
    let (first, _) = rotated(&server, &quiet).await;
    assert_eq!(server.count(kept).await, 0, "nobody else's is kept");
    // What was not kept cannot be given again.
    server.patch_client(&quiet.id, json!({ "refresh_token_reuse": "reissue" })).await.expect(200);
    assert_refused(&server.refresh(&quiet, &first.refresh).await, QUIETLY);
}

#[tokio::test]
async fn spent_tokens_stay_spent_on_every_server_and_after_a_restart() {
    for reuse in ["refuse", "quiet", "reissue"] {
        let server = Server::new().await;
        let who = client(&server, reuse).await;
        let first = server.begin(&who).await;
        let second = server.replica().await.refresh(&who, &first.refresh).await.tokens();
        server.app.clock.advance(Duration::seconds(60));
        // Servers that have never seen it.
        let (one, two) = (server.replica().await, server.replica().await);
        drop(server);
        assert_refused(&one.refresh(&who, &first.refresh).await, ENDED);
        assert_family_ended(&two, &who, &[&first, &second], REUSED).await;
    }
}

#[tokio::test]
async fn other_families_of_the_client_live_on() {
    let server = Server::new().await;
    let who = client(&server, "refuse").await;
    let (first, _) = rotated(&server, &who).await;
    let other = server.begin(&who).await;
    server.refresh(&who, &first.refresh).await.expect(400);
    assert!(server.is_active(&other.access).await);
    assert!(server.refreshes(&who, &other.refresh).await);
}
