//! A mark ends all that hangs below it, at once and on every replica, and nothing else.

use chancery::kit::error::{Error, Kind, Refused};
use chancery::tokens;
use serde_json::json;
use time::Duration;

use crate::forest::Node;
use crate::server::Server;

async fn revoke(server: &Server, node: &Node) {
    server.post("/oauth2/token/revoke").form(&[("token", &node.token)]).send().await.expect(200);
}

/// Agents a, b and c with their keys, and a root of each.
async fn three(server: &Server) -> [(String, String, Node); 3] {
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let (id, key) = server.agent(name).await;
        let root = server.root(&key).await;
        all.push((id, key, root));
    }
    all.try_into().unwrap()
}

#[tokio::test]
async fn all_below_a_revoked_token_is_inactive_and_nothing_beside_or_above_it() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let [(a, _, root), (b, _, other), (c, ..)] = three(&server).await;
    let middle = server.child(&root, &b).await;
    let mut below = server.chain(&middle, &[&c, &a, &b]).await;
    below.push(server.child(&middle, &c).await);
    let beside = [root.clone(), other, server.child(&root, &b).await, server.child(&root, &c).await];
    assert_eq!(server.active(&below).await, [0, 1, 2, 3]);
    revoke(&replica, &middle).await;
    for server in [&server, &replica] {
        assert!(server.active(&below).await.is_empty() && !server.is_active(&middle.token).await);
        assert_eq!(server.active(&beside).await, [0, 1, 2, 3]);
    }
    // Again, and a link below by itself: nothing more to end.
    revoke(&server, &middle).await;
    assert_eq!(server.active(&beside).await, [0, 1, 2, 3]);
    assert_eq!(server.count("select count(*) from revocations").await, 1);
}

#[tokio::test]
async fn a_mark_reaches_through_links_that_are_dead_or_expired() {
    let server = Server::new().await;
    let [(a, _, root), (b, ..), (c, ..)] = three(&server).await;
    let links = server.chain(&root, &[&a, &b, &c, &a, &b, &c]).await;
    let expired = server.chain(&root, &[&b, &c]).await;
    server.alter(&expired[0], &format!("expires_at = '{}'", server.app.clock.now())).await;
    revoke(&server, &links[3]).await;
    assert_eq!(server.active(&links).await, [0, 1, 2]);
    server.patch(&c, json!({ "status": "suspended" })).await.expect(200);
    let found = {
        let mut cx = server.cx().await;
        tokens::changed_by(&mut cx, &[tokens::Anchor::Credential(root.jti)]).await.unwrap()
    };
    let mut expected: Vec<_> = [&root, &links[0], &links[1], &links[2], &expired[1]].map(|n| n.jti).to_vec();
    let mut found = found;
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "the sleeping one and the one below the expired count, the dead ones do not");
    revoke(&server, &root).await;
    server.patch(&c, json!({ "status": "active" })).await.expect(200);
    assert!(server.active(&links).await.is_empty() && server.active(&expired).await.is_empty());
    assert!(server.unended().await.iter().all(|jti| !expected.contains(jti)));
}

#[tokio::test]
async fn a_circle_in_the_rows_ends_the_walk() {
    let server = Server::new().await;
    let [(a, _, root), (b, ..), _] = three(&server).await;
    let links = server.chain(&root, &[&b, &a, &b]).await;
    server.alter(&links[0], &format!("parent_jti = '{}'", links[2].jti)).await;
    let mut cx = server.cx().await;
    let found = tokens::changed_by(&mut cx, &[tokens::Anchor::Credential(links[1].jti)]).await.unwrap();
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn an_agent_that_is_deactivated_takes_along_what_others_hold_through_it() {
    let server = Server::new().await;
    let [(_, _, root), (b, ..), (c, ..)] = three(&server).await;
    let links = server.chain(&root, &[&b, &c]).await;
    let own = server.child(&root, &c).await;
    let all = [root, links[0].clone(), links[1].clone(), own];
    assert_eq!(server.active(&all).await, [0, 1, 2, 3]);
    server.act(&b, "deactivate").await.expect(200);
    assert_eq!(server.active(&all).await, [0, 3], "parents and siblings live on");
    server.act(&b, "activate").await.expect(200);
    assert_eq!(server.active(&all).await, [0, 3], "what ended stays so");
}

#[tokio::test]
async fn tokens_sleep_under_suspension_and_end_under_what_ends_an_epoch_in_any_order() {
    for (steps, wakes) in [
        (&["suspended", "active"][..], true),
        (&["suspended", "suspended", "active", "active"], true),
        (&["deactivated", "active"], false),
        (&["suspended", "deactivated", "active"], false),
        (&["deactivated", "active", "suspended", "active"], false),
        (&["suspended", "revoke-all", "active"], false),
        (&["revoke-all"], false),
        (&["revoke-all", "suspended", "active"], false),
    ] {
        let server = Server::new().await;
        let [(a, _, root), (b, ..), _] = three(&server).await;
        let nodes = [root.clone(), server.child(&root, &b).await];
        for step in steps {
            match *step {
                "revoke-all" => {
                    let path = format!("/agents/{a}/tokens/revoke-all");
                    server.admin("POST", &path).send().await.expect(200);
                }
                status => {
                    server.patch(&a, json!({ "status": status })).await.expect(200);
                }
            }
            if server.read(&a).await["status"] != "active" {
                assert!(server.active(&nodes).await.is_empty(), "{steps:?}");
            }
        }
        assert_eq!(server.active(&nodes).await.len(), if wakes { 2 } else { 0 }, "{steps:?}");
    }
}

#[tokio::test]
async fn what_is_issued_at_the_moment_of_the_mark_is_born_inactive() {
    let server = Server::new().await;
    let [(a, _, root), (b, ..), (c, ..)] = three(&server).await;
    let middle = server.child(&root, &b).await;
    server.act(&b, "deactivate").await.expect(200);
    let late = [server.child(&middle, &c).await, server.child(&middle, &a).await];
    assert!(server.active(&late).await.is_empty());
    // And so is what an exchange decided on the former epoch and wrote after the mark.
    let raced = server.child(&root, &b).await;
    server.alter(&raced, "agent_epoch = agent_epoch - 1").await;
    server.act(&b, "activate").await.expect(200);
    assert!(!server.is_active(&raced.token).await);
}

#[tokio::test]
async fn every_mark_of_an_epoch_is_written_down_with_its_reason() {
    let server = Server::new().await;
    let end =
        (server.app.clock.now() + Duration::hours(2)).format(&time::format_description::well_known::Rfc3339);
    let brief = server.register("brief", json!({ "expires_at": end.unwrap() })).await.expect(201);
    let brief = brief.body["identity"]["id"].as_str().unwrap().to_owned();
    let (id, _) = server.agent("fetcher").await;
    for action in ["deactivate", "deactivate", "activate", "deactivate"] {
        server.act(&id, action).await.expect(200);
    }
    server.app.clock.advance(Duration::hours(3));
    chancery::agents::worker::expire(&server.app).await.unwrap();
    let rows: Vec<(String, i32, String, String)> = sqlx::query_as(
        "select anchor_id::text, epoch, reason, marked_by from revocations where anchor = 'identity' order by 3, 2",
    )
    .fetch_all(&server.app.db)
    .await
    .unwrap();
    let row =
        |id: &str, epoch, reason: &str, by: &str| (id.to_owned(), epoch, reason.to_owned(), by.to_owned());
    let expected = [
        row(&brief, 0, "expired", "expiry"),
        row(&id, 0, "identity_deactivated", ""),
        row(&id, 1, "identity_deactivated", ""),
    ];
    assert_eq!(rows, expected);
    let keys = "select revoke_reason from api_keys where identity_id = (select id from identities where external_id = 'brief')";
    assert_eq!(server.text_from_sql(keys).await, "expired");
}

/// Revokes by id as the routes of credentials will, and commits what was done.
async fn revoke_by_id(server: &Server, jti: uuid::Uuid, account: &str, reason: Option<&str>) -> bool {
    let mut cx = server.cx().await;
    account.clone_into(&mut cx.tenant.account_id);
    let result = tokens::revoke_by_id(&mut cx, jti, reason).await;
    cx.tx.commit().await.unwrap();
    let Err(error) = result else { return true };
    assert!(matches!(error, Error::Refused(Refused { kind: Kind::NotFound, .. })), "{error:?}");
    false
}

#[tokio::test]
async fn a_credential_is_revoked_by_its_id_once_and_only_while_it_stands() {
    let server = Server::new().await;
    let [(_, _, root), (b, _, other), (c, ..)] = three(&server).await;
    let links = server.chain(&root, &[&b, &c]).await;
    assert!(!revoke_by_id(&server, uuid::Uuid::nil(), "acme", None).await, "unknown");
    assert!(!revoke_by_id(&server, links[0].jti, "evil", None).await, "another tenant's");
    assert_eq!(server.active(&links).await, [0, 1]);
    assert!(revoke_by_id(&server, links[0].jti, "acme", None).await);
    assert!(server.active(&links).await.is_empty() && server.is_active(&root.token).await);
    assert!(!revoke_by_id(&server, links[0].jti, "acme", None).await, "revoked before");
    assert!(!revoke_by_id(&server, links[1].jti, "acme", None).await, "ended with its parent");
    // What sleeps may be revoked, and does not wake.
    server.patch(&b, json!({ "status": "suspended" })).await.expect(200);
    assert!(revoke_by_id(&server, other.jti, "acme", Some("stolen")).await);
    server.patch(&b, json!({ "status": "active" })).await.expect(200);
    assert!(!server.is_active(&other.token).await);
    let reasons =
        "select string_agg(reason, ' ' order by reason) from revocations where anchor = 'credential'";
    assert_eq!(server.text_from_sql(reasons).await, "manual_revocation stolen");
    server.app.clock.advance(Duration::hours(1));
    assert!(!revoke_by_id(&server, root.jti, "acme", None).await, "expired");
}

#[tokio::test]
async fn two_who_revoke_one_credential_at_once_do_it_once() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let [(_, _, root), ..] = three(&server).await;
    let (one, two) = tokio::join!(
        revoke_by_id(&server, root.jti, "acme", None),
        revoke_by_id(&replica, root.jti, "acme", None),
    );
    assert!(one != two, "{one} {two}");
    assert_eq!(server.count("select count(*) from revocations").await, 1);
    assert_eq!(server.introspect(&root.token).await, json!({ "active": false }));
}
