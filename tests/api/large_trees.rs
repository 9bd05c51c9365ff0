//! A mark takes as long above ten credentials as above a hundred thousand; to count or to tell of them takes longer.

use chancery::kit::clock::Stopwatch;
use chancery::tokens::worker::{announce, maintain};
use serde_json::json;

use crate::server::Server;

/// Ends two trees of this size under two agents, in both ways, and prints the times.
#[expect(clippy::print_stdout, reason = "prints what it measured")]
async fn measure(below: i64) {
    let server = Server::new().await;
    maintain(&server.app).await.unwrap();
    let (counted, key) = server.agent("counted").await;
    let root = server.root(&key).await;
    server.grow(&root, below, 10).await;
    let (marked, other_key) = server.agent("marked").await;
    let other = server.root(&other_key).await;
    server.grow(&other, below, 10).await;
    server.run_sql("analyze").await;
    let path = format!("/agents/{counted}/tokens/revoke-all");
    let watch = Stopwatch::start();
    let dry = server.admin("POST", &format!("{path}?dry_run=true")).send().await.expect(200);
    let rehearsed = watch.seconds();
    assert_eq!(dry.body["revoked_count"], below + 1);
    assert_eq!(dry.body["jtis"].as_array().unwrap().len(), usize::try_from(below + 1).unwrap().min(100_000));
    assert_eq!(dry.body.get("truncated").is_some(), below >= 100_000);
    let watch = Stopwatch::start();
    assert_eq!(server.admin("POST", &path).send().await.expect(200).body["count"], below + 1);
    let counting = watch.seconds();
    let watch = Stopwatch::start();
    server.act(&marked, "deactivate").await.expect(200);
    let marking = watch.seconds();
    for token in [&root.token, &other.token] {
        assert_eq!(server.introspect(token).await, json!({ "active": false }));
    }
    assert!(server.unended().await.is_empty());
    let watch = Stopwatch::start();
    announce(&server.app).await.unwrap();
    let telling = watch.seconds() / 2.0;
    assert_eq!(server.count("select count(distinct subject_id) from outbox").await, 2 * (below + 1));
    println!(
        "{below:>6} descendants: mark {marking:.4} s, count and mark {counting:.4} s, dry run {rehearsed:.4} s, \
         events {telling:.3} s"
    );
}

#[tokio::test]
async fn three_thousand_end_as_ten_do() {
    measure(10).await;
    measure(3000).await;
}

#[tokio::test]
#[ignore = "takes long; prints the table of docs/revocation.md"]
async fn a_hundred_thousand_end_as_ten_do() {
    for below in [10, 1000, 10_000, 100_000] {
        measure(below).await;
    }
}
