//! What ends such a client's tokens: its document, its person, an administrator, a setting.

use serde_json::{Value, json};

use super::{APP, Stage, document, refresh, told_here};
use crate::https::raw;
use crate::people::Ask;
use crate::tools::assert_error;

/// What the document says when the code or the refresh token is redeemed is what counts.
#[tokio::test]
async fn a_document_that_has_changed_meanwhile_counts_as_it_is_now() {
    let stage = Stage::new().await;
    let Stage { server, site, url, .. } = &stage;
    let with = |name: &str, value: Value| {
        let mut changed = document(url);
        changed[name] = value;
        changed
    };
    let (_, token) = stage.tokens().await;
    let code = stage.code().await;
    for (changed, status, error) in [
        (with("redirect_uris", json!(["https://evil.example/cb"])), 400, "invalid_grant"),
        (with("client_id", json!("https://evil.example/app.json")), 401, "invalid_client"),
        (with("token_endpoint_auth_method", json!("private_key_jwt")), 401, "invalid_client"),
        (with("scope", json!("b")), 400, "invalid_scope"),
    ] {
        site.json(APP, changed);
        // A server that has not seen it before.
        assert_error(&server.replica().await.redeem(url, &code, &[]).await, status, error);
    }
    site.json(APP, with("grant_types", json!(["authorization_code"])));
    assert_error(&refresh(&server.replica().await, url, &token).await, 400, "unauthorized_client");
    site.set(APP, raw("503 Busy", ""));
    for answer in [
        server.replica().await.redeem(url, &code, &[]).await,
        refresh(&server.replica().await, url, &token).await,
    ] {
        assert_error(&answer, 503, "temporarily_unavailable");
    }
    site.set(APP, raw("404 Not Found", ""));
    assert_error(&refresh(&server.replica().await, "", &token).await, 401, "invalid_client");
    // None of that spent anything.
    site.json(APP, document(url));
    let replica = server.replica().await;
    replica.redeem(url, &code, &[]).await.expect(200);
    refresh(&replica, url, &token).await.expect(200);
}

/// Every way to end it does.
#[tokio::test]
async fn the_person_the_consent_the_pattern_and_the_setting_end_it() {
    for way in ["person", "consent", "pattern"] {
        let stage = Stage::new().await;
        let Stage { server, url, person, .. } = &stage;
        let other = stage.beside("/other.json");
        let kept =
            server.redeem(&other, &server.code(&Ask::of(&other), &stage.cookie).await, &[]).await.token();
        let (access, token) = stage.tokens().await;
        let waiting = stage.code().await;
        match way {
            "person" => drop(
                server
                    .admin("PATCH", &format!("/users/{person}"))
                    .json(json!({ "is_active": false }))
                    .send()
                    .await
                    .expect(200),
            ),
            "consent" => {
                let listed = server.admin("GET", "/admin/oauth/consents").send().await.expect(200).body;
                let listed = listed["data"].as_array().unwrap().clone();
                let consent = listed.iter().find(|one| one["client_id"] == json!(url)).unwrap();
                let path = format!("/admin/oauth/consents/{}", consent["id"].as_str().unwrap());
                server.admin("DELETE", &path).send().await.expect(200);
            }
            _ => {
                let body = json!({ "client_id_pattern": "https://*/app.json", "reason": "drill" });
                let path = "/admin/oauth/revoke-by-pattern";
                let would = server
                    .admin("POST", &format!("{path}?dry_run=true"))
                    .json(&body)
                    .send()
                    .await
                    .expect(200);
                assert!(server.is_active(&access).await, "{}", would.text);
                let foreign = server.call("POST", path).tenant("other", "live").json(&body).send().await;
                assert_eq!(foreign.expect(200).body["revoked_count"], 0);
                assert!(server.is_active(&access).await);
                let answer = server.admin("POST", path).json(&body).send().await.expect(200);
                assert_eq!(answer.body["revoked_count"], 1);
                let again = server.admin("POST", path).json(&body).send().await.expect(200);
                assert_eq!(again.body["revoked_count"], 0);
            }
        }
        assert!(!server.is_active(&access).await, "{way}");
        assert_error(&refresh(server, url, &token).await, 400, "invalid_grant");
        server.redeem(url, &waiting, &[]).await.expect(400);
        assert_eq!(server.is_active(&kept).await, way != "person", "{way}");
        if way != "person" {
            stage.ask(&Ask::of(url)).await.expect(200);
        }
    }
}

/// A server that takes no such clients any more refuses those it took before.
#[tokio::test]
async fn the_setting_ends_what_comes_later_and_the_metadata_says_so() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens().await;
    let code = stage.code().await;
    let off = stage.server.replica_with(|config| config.clients.metadata_documents = false).await;
    told_here(&off.ask(&Ask::of(&stage.url), &stage.cookie).await.expect(401), "invalid_client");
    assert_error(&off.redeem(&stage.url, &code, &[]).await, 401, "invalid_client");
    assert_error(&refresh(&off, &stage.url, &token).await, 401, "invalid_client");
    for (server, said) in [(&stage.server, Some(&json!(true))), (&off, None)] {
        for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
            let metadata = server.get(path).send().await.expect(200).body;
            assert_eq!(metadata.get("client_id_metadata_document_supported"), said);
        }
    }
}
