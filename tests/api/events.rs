//! The worker of revocations: in the end one event for each credential that a mark ended, whatever happens to the worker.

use std::pin::pin;
use std::task::Poll;

use chancery::tokens::worker::announce;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use crate::forest::Node;
use crate::server::Server;

/// Runs a future for this many polls and drops it then, as a kill would.
pub async fn for_polls<F: Future>(mut polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Lets the worker run until no mark waits. One that was killed may hold its lock for a moment.
pub async fn settle(server: &Server) {
    while server.count("select count(*) from revocations where announced_at is null").await > 0 {
        announce(&server.app).await.unwrap();
    }
}

impl Server {
    async fn events(&self) -> i64 {
        self.count("select count(*) from outbox where event_type = 'credential.revoked'").await
    }

    /// The reason in the event of a credential, "" where there is no event.
    async fn told(&self, node: &Node) -> String {
        let sql = "select coalesce((select payload ->> 'reason' from outbox where subject_id = '{}'), '')";
        self.text_from_sql(sql.replace("{}", &node.jti.to_string())).await
    }

    async fn revoke(&self, node: &Node) {
        self.post("/oauth2/token/revoke").form(&[("token", &node.token)]).send().await.expect(200);
    }
}

#[tokio::test]
async fn each_credential_below_a_mark_has_its_event_with_what_a_reader_needs() {
    let server = Server::new().await;
    let (a, key) = server.agent("a").await;
    let (b, _) = server.agent("b").await;
    let root = server.root(&key).await;
    let links = server.chain(&root, &[&b, &a]).await;
    let beside = server.root(&key).await;
    announce(&server.app).await.unwrap();
    assert_eq!(server.events().await, 0);
    server.revoke(&links[0]).await;
    assert_eq!(server.events().await, 0, "the mark itself waits for nobody");
    announce(&server.app).await.unwrap();
    let row: (String, String, Value) = sqlx::query_as(
        "select account_id, project_id, payload from outbox where subject_id = $1
         and occurred_at = (select revoked_at from credentials where jti = $1)",
    )
    .bind(links[0].jti)
    .fetch_one(&server.app.db)
    .await
    .unwrap();
    let payload = json!({
        "jti": links[0].jti, "identity_id": b, "account_id": "acme", "project_id": "demo",
        "reason": "oauth2_revocation", "revoked_at": "2026-12-01T12:00:00.123456Z",
        "expires_at": "2026-12-01T13:00:00Z",
    });
    assert_eq!(row, ("acme".to_owned(), "demo".to_owned(), payload));
    assert_eq!(server.told(&links[1]).await, "oauth2_revocation");
    assert_eq!([server.told(&root).await, server.told(&beside).await], ["", ""]);
    announce(&server.app).await.unwrap();
    assert_eq!(server.events().await, 2);
}

#[tokio::test]
async fn the_first_mark_on_a_credential_is_the_one_that_is_told() {
    let server = Server::new().await;
    let (a, key) = server.agent("a").await;
    let (b, _) = server.agent("b").await;
    let (c, _) = server.agent("c").await;
    let root = server.root(&key).await;
    let links = server.chain(&root, &[&b, &c, &b]).await;
    let short = server.child(&root, &c).await;
    server.alter(&short, "expires_at = expires_at - interval '50 minutes'").await;
    let second = Duration::SECOND;
    server.revoke(&links[1]).await;
    server.app.clock.advance(second);
    server.act(&b, "deactivate").await.expect(200);
    server.app.clock.advance(second * 900);
    server.act(&a, "deactivate").await.expect(200);
    server.app.clock.advance(second);
    server.revoke(&root).await;
    server.revoke(&links[2]).await;
    announce(&server.app).await.unwrap();
    let mut told = Vec::new();
    for node in [&root, &links[0], &links[1], &links[2], &short] {
        told.push(server.told(node).await);
    }
    let expected =
        ["identity_deactivated", "identity_deactivated", "oauth2_revocation", "oauth2_revocation", ""];
    assert_eq!(told, expected, "the last had expired when its mark came");
    let times = "select string_agg(distinct payload ->> 'revoked_at', ' ') from outbox
        where payload ->> 'reason' = 'identity_deactivated'";
    assert_eq!(server.text_from_sql(times).await, "2026-12-01T12:00:01.123456Z 2026-12-01T12:15:01.123456Z");
    assert_eq!(server.count("select count(*) from revocations where announced_at is null").await, 0);
}

#[tokio::test]
async fn what_a_signing_key_ended_gets_no_event() {
    let server = Server::new().await;
    let (a, key) = server.agent("a").await;
    let (b, _) = server.agent("b").await;
    let root = server.root(&key).await;
    server.child(&root, &b).await;
    let sql = format!("update signing_keys set revoked_at = '{}'", server.app.clock.now());
    server.run_sql(sql).await;
    server.app.clock.advance(Duration::SECOND);
    server.revoke(&root).await;
    server.act(&a, "deactivate").await.expect(200);
    announce(&server.app).await.unwrap();
    assert_eq!(server.events().await, 0);
}

/// Nobody can tell whether such a token was committed before the mark, and stood for a moment, or after it.
#[tokio::test]
async fn what_bears_a_later_time_than_the_mark_gets_an_event_too() {
    let server = Server::new().await;
    let (a, key) = server.agent("a").await;
    let (b, _) = server.agent("b").await;
    let root = server.root(&key).await;
    server.act(&a, "deactivate").await.expect(200);
    server.app.clock.advance(Duration::SECOND);
    let late = server.child(&root, &b).await;
    announce(&server.app).await.unwrap();
    assert_eq!([server.told(&root).await, server.told(&late).await], ["identity_deactivated"; 2]);
}

/// A root with this many below it, marked.
async fn marked_tree(server: &Server, below: i64) -> Node {
    marked_tree_of(server, "planter", below).await
}

async fn marked_tree_of(server: &Server, planter: &str, below: i64) -> Node {
    let (_, key) = server.agent(planter).await;
    let root = server.root(&key).await;
    server.grow(&root, below, 20).await;
    server.revoke(&root).await;
    root
}

#[tokio::test]
async fn a_worker_that_breaks_half_way_goes_on_later() {
    let server = Server::new().await;
    marked_tree(&server, 2500).await;
    server
        .run_sql(
            "create function no_room() returns trigger language plpgsql as $$ begin
                 if (select count(*) from outbox) > 1000 then raise 'no room'; end if; return null; end $$",
        )
        .await;
    server.run_sql("create trigger no_room after insert on outbox execute function no_room()").await;
    assert!(announce(&server.app).await.is_err());
    let some = server.events().await;
    assert!(some > 0 && some <= 1000, "{some}");
    assert!(announce(&server.app).await.is_err());
    assert_eq!(server.events().await, some);
    server.run_sql("drop trigger no_room on outbox").await;
    settle(&server).await;
    assert_eq!(server.events().await, 2501);
}

#[tokio::test]
async fn a_worker_that_is_killed_at_any_moment_goes_on_later() {
    let server = Server::new().await;
    let (mut partial, mut due) = (0, 0);
    // How many polls a step takes is for the machine to say: where none of the kills came half-way, another tree is marked.
    for tree in ["first", "second", "third", "fourth", "fifth"] {
        marked_tree_of(&server, tree, 2500).await;
        let before = due;
        due += 2501;
        for polls in 1..400 {
            if for_polls(polls, announce(&server.app)).await.is_some_and(|done| done.is_ok()) {
                break;
            }
            let events = server.events().await;
            partial += i64::from(events > before && events < due);
        }
        settle(&server).await;
        if partial > 0 {
            break;
        }
    }
    assert!(partial > 0, "no kill came half-way");
    let jtis: i64 = server.count("select count(distinct subject_id) from outbox").await;
    assert_eq!((server.events().await, jtis), (due, due));
}

#[tokio::test]
async fn workers_of_two_replicas_at_once_tell_each_once() {
    let server = Server::new().await;
    let replica = server.replica().await;
    for name in ["a", "b", "c"] {
        let (id, key) = server.agent(name).await;
        let root = server.root(&key).await;
        server.grow(&root, 1200, 10).await;
        server.act(&id, "deactivate").await.expect(200);
    }
    let (one, two) = tokio::join!(announce(&server.app), announce(&replica.app));
    one.and(two).unwrap();
    settle(&replica).await;
    assert_eq!(server.events().await, 3 * 1201);
}

#[tokio::test]
async fn a_server_that_is_about_to_stop_leaves_the_rest_to_others() {
    let server = Server::new().await;
    let replica = server.replica().await;
    marked_tree(&server, 10).await;
    server.app.draining.cancel();
    announce(&server.app).await.unwrap();
    assert_eq!(server.events().await, 0);
    settle(&replica).await;
    assert_eq!(server.events().await, 11);
}

#[tokio::test]
async fn marks_of_an_unknown_kind_keep_nobody_waiting() {
    let server = Server::new().await;
    server.run_sql("alter table revocations drop constraint revocations_anchor_check").await;
    server
        .run_sql(format!(
            "insert into revocations (id, account_id, project_id, anchor, anchor_id, reason, marked_at)
             values ('{}', 'acme', 'demo', 'constellation', gen_random_uuid(), 'x', now())",
            Uuid::nil()
        ))
        .await;
    marked_tree(&server, 3).await;
    announce(&server.app).await.unwrap();
    assert_eq!(server.events().await, 4);
}
