//! Users: how they are made, found, changed and deactivated.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

async fn make(server: &Server, body: Value) -> Answer {
    server.admin("POST", "/users").json(body).send().await
}

#[tokio::test]
async fn a_user_is_made_found_and_changed() {
    let server = Server::new().await;
    let body = json!({
        "user_id": "u-ada", "email": "Ada@company.example", "email_verified": true, "name": "Ada",
        "metadata": { "team": "a" },
    });
    let made = make(&server, body).await.expect(201);
    let id = made.text_of("id").to_owned();
    let path = format!("/api/v1/users/{id}");
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body, made.body);
    assert_eq!((&made.body["is_active"], &made.body["email_verified"]), (&json!(true), &json!(true)));
    assert!(!made.text.contains("null") && made.body.get("epoch").is_none());
    for (filter, total) in [
        ("", 1),
        ("?email=ada@COMPANY.example", 1),
        ("?email=bob", 0),
        ("?user_id=u-ada", 1),
        ("?is_active=false", 0),
    ] {
        let list = server.admin("GET", &format!("/users{filter}")).send().await.expect(200);
        assert_eq!(list.body["total"], total, "{filter}");
        assert_eq!(list.body["data"].as_array().unwrap().len(), total, "{filter}");
    }
    let patch = json!({ "name": "Ada L.", "email": "", "metadata": {}, "user_id": "other", "epoch": 7 });
    let changed = server.admin("PATCH", &path).json(patch).send().await.expect(200);
    assert_eq!((changed.text_of("name"), changed.text_of("email")), ("Ada L.", ""));
    assert_eq!((changed.text_of("user_id"), &changed.body["email_verified"]), ("u-ada", &json!(true)));
    server.admin("DELETE", &path).send().await.expect(204);
    server.admin("DELETE", &path).send().await.expect(204);
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body["is_active"], false);
    server.admin("POST", &format!("{path}/activate")).send().await.expect(200);
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body["is_active"], true);
    let rows: Vec<_> = server.audit().await.into_iter().map(|row| (row.0, row.3 == id)).collect();
    let actions = ["created", "updated", "deactivated", "deactivated", "activated"];
    assert_eq!(rows, actions.map(|action| (format!("user.{action}"), true)));
}

#[tokio::test]
async fn names_and_addresses_are_one_persons_of_a_tenant() {
    let server = Server::new().await;
    let anonymous = make(&server, json!({})).await.expect(201);
    assert_eq!(anonymous.text_of("user_id"), anonymous.text_of("id"));
    make(&server, json!({})).await.expect(201);
    make(&server, json!({ "user_id": "u", "email": "u@x.example" })).await.expect(201);
    for taken in [json!({ "user_id": "u" }), json!({ "email": "U@x.example" })] {
        make(&server, taken.clone()).await.expect(409);
        let elsewhere = server.call("POST", "/users").tenant("other", "demo").json(taken).send().await;
        elsewhere.expect(201);
    }
    let other = make(&server, json!({ "user_id": "v" })).await.expect(201);
    let path = format!("/users/{}", other.text_of("id"));
    let patch = json!({ "email": "U@X.example" });
    server.admin("PATCH", &path).json(patch).send().await.expect(409);
    for bad in ["", "a b", "spiffe://x/acme/demo/agent/a", "System:root", "ä"] {
        let answer = make(&server, json!({ "user_id": bad })).await;
        assert_eq!(answer.status.as_u16(), if bad.is_empty() { 201 } else { 400 }, "{bad:?}");
    }
    for bad in ["x", "@x", "x@", "a b@x.example"] {
        make(&server, json!({ "email": bad })).await.expect(400);
    }
}

#[tokio::test]
async fn another_tenants_user_is_unknown() {
    let server = Server::new().await;
    let id = make(&server, json!({ "user_id": "u" })).await.expect(201).text_of("id").to_owned();
    let path = format!("/users/{id}");
    for (method, path) in [
        ("GET", path.clone()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/activate")),
    ] {
        let foreign = server.call(method, &path).tenant("other", "demo").json(json!({})).send().await;
        assert_eq!(foreign.expect(404).text_of("detail"), "there is no user with this id", "{method}");
    }
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body["is_active"], true);
}

#[tokio::test]
async fn a_repeated_creation_gets_the_first_answer() {
    let server = Server::new().await;
    let body = json!({ "user_id": "u" });
    let ask = || server.admin("POST", "/users").with("Idempotency-Key", "k1").json(&body).send();
    let (one, two) = (ask().await.expect(201), ask().await.expect(201));
    assert_eq!(one.body, two.body);
}

/// Postgres writes such a number out in full, and then nobody can read it.
#[tokio::test]
async fn a_number_that_could_not_be_read_again_is_refused() {
    let server = Server::new().await;
    let send = async |number: &str| {
        let body = format!(r#"{{ "user_id": "u-{number}", "metadata": {{ "n": {number} }} }}"#);
        server.admin("POST", "/users").raw("application/json", body).send().await
    };
    for number in ["-1.7976931348623157e308", "1e308", "1e999"] {
        assert_eq!(send(number).await.status.as_u16(), 400, "{number}");
    }
    let id = send("9e307").await.expect(201).text_of("id").to_owned();
    let kept = server.admin("GET", &format!("/users/{id}")).send().await.expect(200);
    assert_eq!(kept.body["metadata"]["n"], json!(9e307));
}
