//! Registration and reading of OAuth clients, and what the tests of clients share.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use crate::server::{Answer, Server};
use crate::world::MOUNTS;

/// A P-256 key as a JWK.
pub fn jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "x": "JU3pMZKUYtj5tDI9WOmR5jHo41bNWRm4W_K2wDVDtE0",
        "y": "ny8jeOt7xnOo2xdlgXGktRtBTXLB4CzLzcekNfiMKvc",
    })
}

/// Requires that no member is null, however deep: a client refuses the whole answer then.
#[track_caller]
pub fn assert_without_null(value: &Value) {
    assert!(!value.is_null(), "a member is null");
    let items = value.as_array().into_iter().flatten();
    items
        .chain(value.as_object().into_iter().flat_map(|members| members.values()))
        .for_each(assert_without_null);
}

/// A registration; `more` is added to the body.
pub fn new_client(client_id: &str, more: &Value) -> Value {
    let mut body = json!({ "client_id": client_id, "name": format!("Client {client_id}") });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    body
}

impl Server {
    /// Registers a client of acme/demo.
    pub async fn register_client(&self, client_id: &str, more: Value) -> Answer {
        self.admin("POST", "/oauth/clients").json(new_client(client_id, &more)).send().await
    }

    /// A new confidential client of acme/demo: its row's id and its secret.
    pub async fn confidential(&self, client_id: &str) -> (String, String) {
        let answer = self.register_client(client_id, json!({ "confidential": true })).await.expect(201);
        let id = answer.body["client"]["id"].as_str().unwrap().to_owned();
        (id, answer.text_of("client_secret").to_owned())
    }

    /// The client as acme/demo reads it.
    pub async fn read_client(&self, id: &str) -> Value {
        self.admin("GET", &format!("/oauth/clients/{id}")).send().await.expect(200).body
    }

    /// Changes a client of acme/demo.
    pub async fn patch_client(&self, id: &str, body: Value) -> Answer {
        self.admin("PATCH", &format!("/oauth/clients/{id}")).json(body).send().await
    }

    /// A POST below a client of acme/demo.
    pub async fn act_on_client(&self, id: &str, action: &str, body: Value) -> Answer {
        self.admin("POST", &format!("/oauth/clients/{id}/{action}")).body(&body).send().await
    }

    /// The client ids that acme/demo's list shows.
    pub async fn listed_clients(&self) -> Vec<String> {
        let list = self.admin("GET", "/oauth/clients").send().await.expect(200).body;
        let clients = list["clients"].as_array().unwrap();
        assert_eq!(list["total"], clients.len());
        clients.iter().map(|client| client["client_id"].as_str().unwrap().to_owned()).collect()
    }

    /// What issuing finds of a client.
    pub async fn client_evidence(&self, client_id: &str) -> Option<chancery::clients::Evidence> {
        chancery::clients::evidence(&self.app, client_id).await.unwrap()
    }

    /// Whether a client authenticates with a secret.
    pub async fn secret_works(&self, client_id: &str, secret: &str) -> bool {
        let hashes = self.app.keys.hashes(secret);
        let found = self.client_evidence(client_id).await;
        found.is_some_and(|found| found.client.accepts_secret(&hashes, self.app.clock.now()))
    }

    /// A token that this client obtained; it stands as long as the client lets it.
    pub async fn token_of_client(&self, api_key: &str, client_id: &str) -> String {
        let issued = self.exchange(api_key, "").await.expect(200);
        let (token, jti) = (issued.text_of("access_token").to_owned(), issued.text_of("jti"));
        let tied = self
            .run_sql(format!(
                "update credentials c set oauth_client_id = o.id, client_id = o.client_id, client_epoch = o.epoch
                 from oauth_clients o where o.client_id = '{client_id}' and o.deleted_at is null
                   and c.jti = '{jti}'"
            ))
            .await;
        assert_eq!(tied, 1);
        assert!(self.is_active(&token).await);
        token
    }
}

#[tokio::test]
async fn a_public_client_has_no_secret_and_the_defaults_of_its_kind() {
    let server = Server::new().await;
    let answer = server.register_client("app", Value::Null).await.expect(201);
    assert_json_snapshot!("public", answer.body, { ".client.id" => "[id]" });
    assert_eq!(
        server.read_client(answer.body["client"]["id"].as_str().unwrap()).await,
        answer.body["client"]
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_confidential_client_has_a_secret_of_32_random_bytes_shown_once() {
    let server = Server::new().await;
    let answer = server.register_client("worker", json!({ "confidential": true })).await.expect(201);
    assert_json_snapshot!("confidential", answer.body, {
        ".client.id" => "[id]", ".client_secret" => "[secret]",
    });
    let secret = answer.text_of("client_secret");
    assert!(secret.len() == 64 && secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert!(server.secret_works("worker", secret).await);
    assert!(!server.secret_works("worker", &secret[1..]).await && !server.secret_works("worker", "").await);
    let id = answer.body["client"]["id"].as_str().unwrap();
    let shown = server.read_client(id).await;
    assert_eq!(shown, answer.body["client"]);
    assert!(!shown.to_string().contains(secret) && !shown.to_string().contains("hash"));
    assert!(!server.everything().await.contains(secret), "only a keyed hash is stored");
    let (_, other) = server.confidential("other").await;
    assert_ne!(other, secret);
    assert!(!server.secret_works("worker", &other).await);
}

#[tokio::test]
async fn a_client_with_everything_said_of_it_keeps_it() {
    let server = Server::new().await;
    let (agent, _) = server.agent("fetcher").await;
    let more = json!({
        "description": "Fetches ❤ things", "token_endpoint_auth_method": "private_key_jwt", "confidential": true,
        "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange", "token_exchange",
            "urn:openid:params:grant-type:ciba"],
        "scopes": ["a", "b", "a"], "access_token_ttl": 300, "refresh_token_ttl": 86400, "refresh_token_reuse": "reissue", "identity_id": agent,
        "redirect_uris": ["https://app.example/cb?x=1", "com.example.app:/cb", "http://127.0.0.1:1234/cb"],
        "jwks": { "keys": [jwk()], "other": 1 }, "software_id": "s", "software_version": "1.2",
        "contacts": ["dev@company.example"], "metadata": { "deep": { "list": [1, 2.5, true] } },
        "token_profile": "rfc8693", "backchannel_token_delivery_mode": "poll",
        "account_id": "other", "project_id": "other", "is_active": false, "registration_source": "dynamic",
        "epoch": 7, "created_by": "system:root", "unknown_member": ["ignored"],
    });
    let answer = server.register_client("full:v1.2_x-Y", more).await.expect(201);
    assert_json_snapshot!("with_everything", answer.body, {
        ".client.id" => "[id]", ".client.identity_id" => "[agent]",
    });
    assert_eq!(answer.body["client"]["identity_id"], agent);
    assert_eq!(
        server.read_client(answer.body["client"]["id"].as_str().unwrap()).await,
        answer.body["client"]
    );
    assert_without_null(&answer.body);
}

#[tokio::test]
async fn empty_texts_and_lists_count_as_absent() {
    let server = Server::new().await;
    let plain = server.register_client("a", Value::Null).await.expect(201).body;
    let more = json!({
        "description": "", "token_endpoint_auth_method": "", "grant_types": [], "scopes": null, "redirect_uris": [],
        "access_token_ttl": 0, "refresh_token_ttl": 0, "refresh_token_reuse": "", "identity_id": "", "jwks": { "keys": [] }, "jwks_uri": "",
        "software_id": "", "software_version": "", "contacts": [], "metadata": {}, "token_profile": "",
        "backchannel_token_delivery_mode": "", "client_notification_endpoint": "",
    });
    let mut sparse = server.register_client("b", more).await.expect(201).body;
    for member in ["id", "client_id", "name"] {
        sparse["client"][member] = plain["client"][member].clone();
    }
    assert_eq!(sparse, plain);
}

#[tokio::test]
async fn the_method_and_the_kind_of_client_go_together() {
    let server = Server::new().await;
    let secret = ["client_secret_basic", "client_secret_post"];
    for (number, (confidential, method, expected)) in [
        (None, "", Some("none")),
        (None, "none", Some("none")),
        (Some(false), "", Some("none")),
        (Some(false), "none", Some("none")),
        (Some(true), "", Some(secret[0])),
        (Some(true), secret[0], Some(secret[0])),
        (Some(true), secret[1], Some(secret[1])),
        (Some(true), "private_key_jwt", Some("private_key_jwt")),
        (None, secret[1], Some(secret[1])),
        (None, "private_key_jwt", Some("private_key_jwt")),
        (Some(true), "none", None),
        (Some(false), secret[0], None),
        (Some(false), "private_key_jwt", None),
    ]
    .into_iter()
    .enumerate()
    {
        let jwks = (method == "private_key_jwt").then(|| json!({ "keys": [jwk()] }));
        let more =
            json!({ "confidential": confidential, "token_endpoint_auth_method": method, "jwks": jwks });
        let answer = server.register_client(&format!("c{number}"), more.clone()).await;
        let Some(expected) = expected else {
            assert_eq!(
                answer.problem(400).body["errors"][0]["location"],
                "body.token_endpoint_auth_method",
                "{more}"
            );
            continue;
        };
        let answer = answer.expect(201);
        let client = &answer.body["client"];
        let kind = if expected == "none" { "public" } else { "confidential" };
        assert_eq!(
            (&client["token_endpoint_auth_method"], &client["client_type"]),
            (&json!(expected), &json!(kind))
        );
        let grant = if expected == "none" { "authorization_code" } else { "client_credentials" };
        assert_eq!(client["grant_types"], json!([grant]), "{more}");
        assert_eq!(answer.text_of("client_secret").len(), if secret.contains(&expected) { 64 } else { 0 });
    }
}

#[tokio::test]
async fn the_list_shows_all_of_the_tenant_newest_first_and_none_at_first() {
    let server = Server::new().await;
    let empty = server.admin("GET", "/oauth/clients").send().await.expect(200);
    assert_eq!(empty.body, json!({ "clients": [], "total": 0 }));
    let mut newest = Vec::new();
    for number in 0..25 {
        server.register_client(&format!("c{number}"), Value::Null).await.expect(201);
        newest.insert(0, format!("c{number}"));
        if number % 5 == 0 {
            server.app.clock.advance(Duration::seconds(1));
        }
    }
    let listed = server.listed_clients().await;
    assert_eq!(listed.len(), 25);
    assert_eq!(listed, server.listed_clients().await, "the order is stable");
    assert_eq!((&listed[..4], &listed[24..]), (&listed[..4], &newest[24..]));
    let mut sorted = listed.clone();
    sorted.sort();
    newest.sort();
    assert_eq!(sorted, newest);
    let list = server.admin("GET", "/oauth/clients").send().await.expect(200).body;
    let first = &list["clients"][0];
    assert_eq!(*first, server.read_client(first["id"].as_str().unwrap()).await);
    assert_without_null(&list);
}

#[tokio::test]
async fn both_mounts_are_the_same_api() {
    let server = Server::new().await;
    for (mount, other) in [(MOUNTS[0], MOUNTS[1]), (MOUNTS[1], MOUNTS[0])] {
        let body = new_client(&format!("c{}", mount.len()), &Value::Null);
        let answer =
            server.admin("POST", &format!("{mount}/oauth/clients")).json(body).send().await.expect(201);
        let id = answer.body["client"]["id"].as_str().unwrap();
        let found = server.admin("GET", &format!("{other}/oauth/clients/{id}")).send().await.expect(200);
        assert_eq!(found.body, answer.body["client"]);
        let gone = server.admin("DELETE", &format!("{other}/oauth/clients/{id}")).send().await.expect(200);
        assert_eq!(gone.body, json!({ "deleted": true, "id": id }));
        server.admin("GET", &format!("{mount}/oauth/clients/{id}")).send().await.problem(404);
    }
    for (method, path, status) in [
        ("PUT", "/oauth/clients", 405),
        ("DELETE", "/oauth/clients", 405),
        ("GET", "/oauth/clients/", 404),
        ("GET", "/oauth/clients/nonsense", 422),
        ("GET", &format!("/oauth/clients/{}/rotate-secret", Uuid::nil()), 405),
    ] {
        server.admin(method, path).send().await.problem(status);
    }
}
