//! Changing an agent: what is absent stays, what is empty clears, what is wrong changes nothing.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;
use crate::world::{OTHER_PEM, PEM};

const FULL: &str = r#"{
    "framework": "graph", "version": "1.2", "publisher": "Acme", "description": "Fetches", "capabilities": ["web"],
    "labels": { "product": "search" }, "metadata": { "team": "core" }, "trust_level": "first_party"
}"#;

async fn full(server: &Server) -> String {
    let answer = server.register("full", serde_json::from_str(FULL).unwrap()).await.expect(201);
    answer.body["identity"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_patch_changes_the_members_it_names_and_no_other() {
    let server = Server::new().await;
    let id = full(&server).await;
    let changes = [
        ("name", json!("Renamed")),
        ("sub_type", json!("evaluator")),
        ("trust_level", json!("unverified")),
        ("framework", json!("chain")),
        ("version", json!("2")),
        ("publisher", json!("Other")),
        ("description", json!("Does other things")),
        ("capabilities", json!([{ "name": "mail" }])),
        ("labels", json!({ "product": "mail" })),
        ("metadata", json!({ "other": [1] })),
        ("status", json!("suspended")),
    ];
    let mut expected = server.read(&id).await;
    for (member, value) in changes {
        server.app.clock.advance(Duration::seconds(1));
        let answer = server.patch(&id, json!({ member: value, "unknown": 1 })).await.expect(200);
        assert_ne!(answer.body["updated_at"], expected["updated_at"]);
        expected[member] = value;
        expected["updated_at"] = answer.body["updated_at"].clone();
        assert_eq!(answer.body, expected, "{member}");
        assert_eq!(server.read(&id).await, expected, "{member}");
    }
}

#[tokio::test]
async fn an_empty_name_or_key_stays_and_other_empty_members_clear() {
    let server = Server::new().await;
    let id = full(&server).await;
    server.patch(&id, json!({ "public_key_pem": PEM })).await.expect(200);
    let before = server.read(&id).await;
    let empty = json!({
        "name": "", "public_key_pem": "", "framework": "", "version": "", "publisher": "", "description": "",
        "sub_type": "", "capabilities": [], "labels": {}, "metadata": {},
    });
    let after = server.patch(&id, empty.clone()).await.expect(200).body;
    assert_eq!(server.read(&id).await, after);
    for member in ["name", "public_key_thumbprint", "trust_level", "status", "external_id"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    for (member, value) in empty.as_object().unwrap() {
        if !["name", "public_key_pem"].contains(&member.as_str()) {
            assert_eq!(&after[member], value, "{member}");
        }
    }
}

#[tokio::test]
async fn an_empty_or_null_patch_changes_nothing_to_be_seen() {
    let server = Server::new().await;
    let id = full(&server).await;
    let before = server.read(&id).await;
    let nulls =
        json!({ "name": null, "labels": null, "status": null, "description": null, "public_key_pem": null });
    for body in [json!({}), nulls] {
        assert_eq!(server.patch(&id, body).await.expect(200).body, before);
    }
    // A list is no patch, though its items might be taken for the members in their order.
    for no_object in [json!([]), json!(["Stolen"]), json!(null), json!("Stolen")] {
        server.patch(&id, no_object).await.problem(422);
    }
    assert_eq!(server.read(&id).await, before);
}

#[tokio::test]
async fn what_makes_an_agent_who_it_is_can_not_be_patched() {
    let server = Server::new().await;
    let id = full(&server).await;
    let before = server.read(&id).await;
    let body = json!({
        "id": "00000000-0000-7000-8000-000000000000", "external_id": "other", "wimse_uri": "spiffe://evil/x",
        "identity_type": "service", "account_id": "other", "project_id": "other", "allowed_scopes": ["nhi:manage"],
        "owner_user_id": "other", "created_by": "other", "credential_policy_id": "", "origin": "other", "epoch": 7,
    });
    assert_eq!(server.patch(&id, body).await.expect(200).body, before);
}

#[tokio::test]
async fn a_wrong_member_is_refused_and_nothing_of_the_patch_is_kept() {
    let server = Server::new().await;
    let id = full(&server).await;
    let before = server.everything().await;
    for (wrong, status) in [
        (json!({ "status": "expired" }), 400),
        (json!({ "status": "pending" }), 400),
        (json!({ "status": "discovered" }), 400),
        (json!({ "status": "asleep" }), 422),
        (json!({ "trust_level": "total" }), 422),
        (json!({ "sub_type": "chatbot" }), 400),
        (json!({ "name": " \t " }), 422),
        (json!({ "name": 7 }), 422),
        (json!({ "capabilities": {} }), 422),
        (json!({ "labels": [] }), 422),
        (json!({ "metadata": "text" }), 422),
        (json!({ "public_key_pem": "no key" }), 400),
        (json!({ "name": "n".repeat(4097) }), 400),
        (json!({ "updated_by": "u".repeat(4097) }), 400),
    ] {
        let mut body = json!({ "description": "must not be kept" });
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = server.patch(&id, body).await;
        assert_eq!(answer.status, status, "{wrong}: {}", answer.text);
        answer.problem(status);
        assert_eq!(server.everything().await, before, "{wrong}");
    }
}

#[tokio::test]
async fn only_keys_of_the_curve_p_256_are_registered() {
    let server = Server::new().await;
    let p384 = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnwrYUFzxxcxvmuXeMcToaf6wKI2AAFXw\n\
        ef7ph6NYhir8AjNyii10nuwRr8mzTyGIFPxgaDklyE/wRauKe69eUCIwDDEPVP6E\n\
        9ETZslfHzJcGa8JGWnq634bTfcj42v07\n-----END PUBLIC KEY-----\n";
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA2M6Y776TESBIoNlgy+KUYnTKrnmY7KeMAfvAId/Seks=\n\
        -----END PUBLIC KEY-----\n";
    let id = full(&server).await;
    let before = server.everything().await;
    for bad in
        [p384, ed25519, "PLANTED-SECRET", &PEM.replace("PUBLIC", "PRIVATE"), &PEM.replace("MFkw", "MFkx")]
    {
        for answer in [
            server.patch(&id, json!({ "public_key_pem": bad })).await,
            server.register("keyed", json!({ "public_key_pem": bad })).await,
        ] {
            let answer = answer.problem(400);
            assert_eq!(answer.body["errors"][0]["location"], "body.public_key_pem");
            assert!(!answer.text.contains("PLANTED") && !answer.text.contains("MHYw"), "{}", answer.text);
        }
    }
    assert_eq!(server.everything().await, before);
    let first = server.patch(&id, json!({ "public_key_pem": PEM })).await.expect(200).body;
    assert_eq!(first["public_key_thumbprint"].as_str().unwrap().len(), 43);
    let second = server.patch(&id, json!({ "public_key_pem": OTHER_PEM })).await.expect(200).body;
    assert_ne!(first["public_key_thumbprint"], second["public_key_thumbprint"]);
    assert_eq!(server.read(&id).await["public_key_thumbprint"], second["public_key_thumbprint"]);
}

#[tokio::test]
async fn who_made_a_change_is_kept_unless_he_takes_the_servers_own_name() {
    let server = Server::new().await;
    let id = full(&server).await;
    let by = "select updated_by from identities";
    server.patch(&id, json!({ "updated_by": "u-7" })).await.expect(200);
    assert_eq!(server.text_from_sql(by).await, "u-7");
    server.patch(&id, json!({ "updated_by": "System:identity_revocation" })).await.expect(200);
    assert_eq!(server.text_from_sql(by).await, "u-7");
    let told = server.text_from_sql("select string_agg(metadata::text, ' ') from audit_events").await;
    assert!(told.contains("u-7") && !told.contains("System:"), "{told}");
}

#[tokio::test]
async fn a_patch_is_felt_in_the_next_token() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let old = server.token(&key).await;
    let change = json!({ "name": "Renamed", "trust_level": "first_party", "capabilities": ["web"] });
    server.patch(&id, change).await.expect(200);
    let found = server.introspect(&server.token(&key).await).await;
    assert_eq!(found["name"], "Renamed");
    assert_eq!(found["trust_level"], "first_party");
    assert!(server.is_active(&old).await);
    assert_ne!(found["jti"], Value::Null);
}
