//! Policies under requests that meet: one winner, no dangling reference, no fault.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::server::{Answer, Server};

/// How many of the answers have this status.
fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status.as_u16() == status).count()
}

/// How many rows refer to a policy that is not there.
async fn dangling(server: &Server) -> i64 {
    server
        .count(
            "select count(*) from (select credential_policy_id from identities
                 union all select credential_policy_id from api_keys) as named
             where credential_policy_id not in (select id from credential_policies)",
        )
        .await
}

#[tokio::test]
async fn of_two_who_make_one_name_one_wins() {
    let server = Server::new().await;
    let other = server.replica().await;
    for round in 0..8 {
        let body = json!({ "name": format!("policy {round}") });
        let (a, b) = tokio::join!(server.make_policy(body.clone()), other.make_policy(body.clone()));
        let answers = [a, b];
        assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 1));
    }
    assert_eq!(server.count("select count(*) from credential_policies").await, 8);
}

#[tokio::test]
async fn of_two_who_take_one_name_by_renaming_one_wins() {
    let server = Server::new().await;
    let other = server.replica().await;
    for round in 0..8 {
        let make = async |name: String| {
            server.make_policy(json!({ "name": name })).await.expect(201).text_of("id").to_owned()
        };
        let (one, two) = (make(format!("one {round}")).await, make(format!("two {round}")).await);
        let body = json!({ "name": format!("policy {round}") });
        let (a, b, c) = tokio::join!(
            server.change_policy(&one, body.clone()),
            other.change_policy(&two, body.clone()),
            server.make_policy(body.clone())
        );
        let won = u16::from(a.status == 200) + u16::from(b.status == 200) + u16::from(c.status == 201);
        assert_eq!((won, count(&[a, b, c], 409)), (1, 2));
    }
}

#[tokio::test]
async fn one_source_and_key_make_one_policy_for_all_who_ask() {
    let server = Server::new().await;
    let other = server.replica().await;
    for round in 0..8 {
        let body =
            json!({ "name": format!("policy {round}"), "source": "s", "source_key": format!("{round}") });
        let mut again = body.clone();
        again["description"] = json!("x");
        let (a, b) = tokio::join!(server.make_policy(body), other.make_policy(again));
        assert_eq!(a.expect(201).body, b.expect(201).body);
    }
    assert_eq!(server.count("select count(*) from credential_policies").await, 8);
    let created = "select count(*) from audit_events where action = 'policy.created'";
    assert_eq!(server.count(created).await, 8, "one was made, the other was found");
}

#[tokio::test]
async fn a_deletion_and_a_first_reference_never_leave_a_dangling_one() {
    let server = Server::new().await;
    let other = server.replica().await;
    for round in 0..12 {
        let body = json!({ "name": format!("policy {round}"), "allowed_grant_types": ["api_key"] });
        let policy = server.make_policy(body).await.expect(201).text_of("id").to_owned();
        let path = format!("/credential-policies/{policy}");
        let name = format!("agent-{round}");
        let more = match round % 2 {
            0 => json!({ "credential_policy_id": policy }),
            _ => json!({ "api_key_credential_policy_id": policy }),
        };
        let (registered, deleted) =
            tokio::join!(other.register(&name, more), server.admin("DELETE", &path).send());
        match (registered.status.as_u16(), deleted.status.as_u16()) {
            (201, 409) => assert!(server.key_works(registered.text_of("api_key")).await),
            (400, 204) => {}
            both => panic!("{both:?}: {} {}", registered.text, deleted.text),
        }
        assert_eq!(dangling(&server).await, 0);
    }
}

/// Runs `first` inside a transaction of its own, sends the request while that is open, requires it to wait, commits and
/// gives its answer.
async fn meanwhile(server: &Server, first: &str, request: impl Future<Output = Answer>) -> Answer {
    let mut tx = server.app.db.begin().await.unwrap();
    sqlx::query(AssertSqlSafe(first.to_owned())).execute(&mut *tx).await.unwrap();
    let mut request = std::pin::pin!(request);
    let waits = async {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        while server.count(waiting).await == 0 {}
    };
    tokio::select! {
        answer = &mut request => panic!("it did not wait: {}", answer.text),
        () = waits => {}
    }
    tx.commit().await.unwrap();
    request.await
}

#[tokio::test]
async fn who_refers_to_a_policy_waits_for_its_deletion_and_finds_it_gone() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    for (round, key) in [false, true].into_iter().enumerate() {
        let body = json!({ "name": format!("policy {round}"), "allowed_grant_types": ["api_key"] });
        let policy = server.make_policy(body).await.expect(201).text_of("id").to_owned();
        let deletion = format!("delete from credential_policies where id = '{policy}'");
        let answer = if key {
            let body = json!({ "name": "k", "identity_id": id, "credential_policy_id": policy });
            meanwhile(&server, &deletion, server.make_key(body)).await
        } else {
            meanwhile(&server, &deletion, server.register("x", json!({ "credential_policy_id": policy })))
                .await
        };
        answer.problem(400);
    }
    assert_eq!(dangling(&server).await, 0);
}

#[tokio::test]
async fn a_deletion_waits_for_who_is_about_to_refer_and_is_refused() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let policy = server.make_policy(json!({ "name": "policy" })).await.expect(201).text_of("id").to_owned();
    let reference = format!(
        "with seen as (select id from credential_policies where id = '{policy}' for share)
         update identities set credential_policy_id = seen.id from seen where identities.id = '{id}'"
    );
    let path = format!("/credential-policies/{policy}");
    meanwhile(&server, &reference, server.admin("DELETE", &path).send()).await.problem(409);
    assert_eq!((dangling(&server).await, server.audit().await.last().unwrap().1.as_str()), (0, "refused"));
}

#[tokio::test]
async fn a_policy_is_not_opened_beside_a_registration_that_relies_on_its_mask() {
    let server = Server::new().await;
    let body = json!({ "name": "poor", "allowed_scopes": ["a"] });
    let policy = server.make_policy(body).await.expect(201).text_of("id").to_owned();
    let (id, _) = server.agent("fetcher").await;
    let reference = format!(
        "with seen as (select id from credential_policies where id = '{policy}' for share)
         update identities set credential_policy_id = seen.id, allowed_scopes = array['vault:read']
         from seen where identities.id = '{id}'"
    );
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let opening = server.call("PATCH", &format!("/credential-policies/{policy}")).bearer(&key);
    let opening = opening.json(json!({ "allowed_scopes": [] })).send();
    meanwhile(&server, &reference, opening).await.problem(403);
}

#[tokio::test]
async fn changes_of_one_policy_come_one_after_the_other() {
    let server = Server::new().await;
    let other = server.replica().await;
    let id = server.make_policy(json!({ "name": "policy" })).await.expect(201).text_of("id").to_owned();
    for round in 1..8 {
        let (a, b) = tokio::join!(
            server.change_policy(&id, json!({ "max_ttl_seconds": round })),
            other.change_policy(&id, json!({ "max_delegation_depth": round }))
        );
        a.expect(200);
        b.expect(200);
        let read: Value =
            server.admin("GET", &format!("/credential-policies/{id}")).send().await.expect(200).body;
        assert_eq!((&read["max_ttl_seconds"], &read["max_delegation_depth"]), (&json!(round), &json!(round)));
    }
}
