//! Changing credential policies: what is absent stays, what is wrong changes nothing, names are taken once.

use serde_json::{Value, json};
use time::Duration;

use crate::policies::full;
use crate::server::Server;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_wrong_member_is_refused_and_nothing_of_the_request_is_kept() {
    let server = Server::new().await;
    let id = server.make_policy(full()).await.expect(201).text_of("id").to_owned();
    let before = server.everything().await;
    for (wrong, status) in [
        (json!({ "name": " \t" }), 422),
        (json!({ "name": 7 }), 422),
        (json!({ "name": "n".repeat(256) }), 400),
        (json!({ "description": "d".repeat(4097) }), 400),
        (json!({ "max_ttl_seconds": -1 }), 400),
        (json!({ "max_ttl_seconds": "60" }), 422),
        (json!({ "max_ttl_seconds": 1.5 }), 422),
        (json!({ "max_ttl_seconds": 2_147_483_648_u32 }), 422),
        (json!({ "max_delegation_depth": -1 }), 400),
        (json!({ "max_delegation_depth": 65 }), 400),
        (json!({ "allowed_grant_types": ["password"] }), 400),
        (json!({ "allowed_grant_types": ["API_KEY"] }), 400),
        (json!({ "allowed_grant_types": [""] }), 400),
        (json!({ "allowed_grant_types": "api_key" }), 422),
        (json!({ "allowed_scopes": ["two words"] }), 400),
        (json!({ "allowed_scopes": [""] }), 400),
        (json!({ "allowed_scopes": (0..101).map(|n| format!("s{n}")).collect::<Vec<_>>() }), 400),
        (json!({ "required_trust_level": "total" }), 400),
        (json!({ "required_attestation": "software " }), 400),
        (json!({ "is_active": "yes" }), 422),
        (json!({ "expires_at": "2026-12-01T12:00:00Z" }), 400),
        (json!({ "expires_at": "tomorrow" }), 422),
    ] {
        let mut body = json!({ "name": "other", "description": "must not be kept" });
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        server.make_policy(body.clone()).await.problem(status);
        server.change_policy(&id, body.clone()).await.problem(status);
        assert_eq!(server.everything().await, before, "{wrong}");
    }
    server.make_policy(json!({})).await.problem(422);
    server.make_policy(json!({ "name": "" })).await.problem(422);
    server.make_policy(json!({ "name": "x", "source": "s".repeat(256) })).await.problem(400);
    server.make_policy(json!({ "name": "x", "source_key": "s".repeat(256) })).await.problem(400);
    server.change_policy(&id, json!({ "max_ttl_seconds": 0 })).await.problem(400);
    assert_eq!(server.everything().await, before);
    // The longest of everything that stands in an index fits into it.
    let longest = "\u{10ffff}".repeat(255);
    let body = json!({ "name": longest, "source": longest, "source_key": longest });
    let call = server.call("POST", "/credential-policies").tenant(&"a".repeat(255), &"p".repeat(255));
    call.json(body).send().await.expect(201);
}

#[tokio::test]
async fn a_patch_changes_the_members_it_names_and_no_other() {
    let server = Server::new().await;
    let id = server.make_policy(full()).await.expect(201).text_of("id").to_owned();
    let mut expected = server.read_policy(&id).await;
    for (member, value) in [
        ("name", json!("renamed")),
        ("description", json!("")),
        ("max_ttl_seconds", json!(1)),
        ("allowed_grant_types", json!([])),
        ("allowed_scopes", json!([])),
        ("allowed_scopes", json!(["a"])),
        ("required_trust_level", json!("")),
        ("required_attestation", json!("")),
        ("max_delegation_depth", json!(0)),
        ("is_active", json!(false)),
        ("expires_at", json!("2026-12-31T22:30:00Z")),
    ] {
        server.app.clock.advance(Duration::seconds(1));
        let changed = server.change_policy(&id, json!({ member: value })).await.expect(200).body;
        assert_ne!(changed["updated_at"], expected["updated_at"]);
        expected[member] = value;
        expected["updated_at"] = changed["updated_at"].clone();
        assert_eq!(changed, expected, "{member}");
        assert_eq!(server.read_policy(&id).await, expected, "{member}");
    }
    let fixed = json!({
        "id": UNKNOWN, "account_id": "other", "project_id": "other", "source": "x", "source_key": "y",
        "created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z", "unknown": 1, "name": "",
    });
    for no_object in [json!([]), json!(["stolen"]), json!("stolen"), json!(null)] {
        server.change_policy(&id, no_object.clone()).await.problem(422);
        server.make_policy(no_object).await.problem(422);
    }
    for nothing in [json!({}), fixed, json!({ "name": null, "max_ttl_seconds": null, "expires_at": null })] {
        assert_eq!(server.change_policy(&id, nothing).await.expect(200).body, expected);
    }
}

#[tokio::test]
async fn an_end_is_set_kept_or_cleared() {
    let server = Server::new().await;
    let id = server.make_policy(full()).await.expect(201).text_of("id").to_owned();
    let end = async |body: Value| {
        server.change_policy(&id, body).await.expect(200);
        server.read_policy(&id).await.get("expires_at").cloned()
    };
    assert_eq!(end(json!({ "description": "x" })).await, Some(json!("2027-01-01T00:00:00Z")));
    assert_eq!(end(json!({ "expires_at": "" })).await, None);
    assert_eq!(
        end(json!({ "expires_at": "2026-12-01T15:00:01+02:00" })).await,
        Some(json!("2026-12-01T13:00:01Z"))
    );
    // One that is over by now stays until it is changed, and other members can be.
    server.app.clock.advance(Duration::hours(2));
    assert_eq!(end(json!({ "description": "y" })).await, Some(json!("2026-12-01T13:00:01Z")));
    server.change_policy(&id, json!({ "expires_at": "2026-12-01T13:00:01Z" })).await.problem(400);
}

#[tokio::test]
async fn a_name_is_taken_once_in_a_tenant() {
    let server = Server::new().await;
    let one = server.make_policy(json!({ "name": "one" })).await.expect(201).text_of("id").to_owned();
    let two = server.make_policy(json!({ "name": "two" })).await.expect(201).text_of("id").to_owned();
    let before = server.everything().await;
    for answer in [
        server.make_policy(json!({ "name": "one", "description": "x" })).await,
        server.change_policy(&two, json!({ "name": "one", "description": "x" })).await,
    ] {
        let answer = answer.problem(409);
        assert_eq!(answer.body["errors"][0]["value"], one);
        assert_eq!(server.everything().await, before);
    }
    assert_eq!(server.audit().await.last().unwrap().1, "refused", "a clash is committed as a refusal");
    server.change_policy(&two, json!({ "name": "two" })).await.expect(200);
    let elsewhere = server.call("POST", "/credential-policies").tenant("other", "demo");
    elsewhere.json(json!({ "name": "one" })).send().await.expect(201);
    server.change_policy(&one, json!({ "name": "three" })).await.expect(200);
    server.change_policy(&two, json!({ "name": "one" })).await.expect(200);
    assert_eq!(server.read_policy(&two).await["name"], "one");
}

#[tokio::test]
async fn the_default_policy_can_be_changed_but_neither_renamed_nor_deleted() {
    let server = Server::new().await;
    server.agent("fetcher").await;
    let id = server.default_policy().await;
    let before = server.everything().await;
    server.change_policy(&id, json!({ "name": "other" })).await.problem(409);
    server.admin("DELETE", &format!("/credential-policies/{id}")).send().await.problem(409);
    assert_eq!(server.everything().await, before);
    let body = json!({ "name": "default", "max_ttl_seconds": 60 });
    assert_eq!(server.change_policy(&id, body).await.expect(200).body["max_ttl_seconds"], 60);
    server.make_policy(json!({ "name": "default" })).await.problem(409);
    // Not even when nothing refers to it.
    server.run_sql("delete from api_keys").await;
    server.run_sql("delete from identities").await;
    server.admin("DELETE", &format!("/credential-policies/{id}")).send().await.problem(409);
}
