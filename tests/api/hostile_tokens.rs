//! The table of forged tokens, presented to every place that accepts a token: refused, without a change or a fault.

use chancery::kit::config::AdminAuth;
use serde_json::json;

use crate::forge::{Forgery, forgeries};
use crate::server::{Answer, Server};

/// Every admin route, below each of its mounts.
const ADMIN: [(&str, &str); 8] = [
    ("POST", "/agents/register"),
    ("GET", "/agents/registry"),
    ("GET", "/agents/registry/{id}"),
    ("PATCH", "/agents/registry/{id}"),
    ("DELETE", "/agents/registry/{id}"),
    ("POST", "/agents/registry/{id}/activate"),
    ("POST", "/agents/registry/{id}/deactivate"),
    ("POST", "/agents/registry/{id}/rotate-key"),
];

struct Stage {
    server: Server,
    /// The id of an administering agent, whose tokens the forgeries imitate.
    id: String,
    real: String,
    forged: Vec<Forgery>,
}

async fn stage(server: Server) -> Stage {
    let admin = json!({ "allowed_scopes": ["nhi:manage"] });
    let registered = server.register("admin", admin).await.expect(201);
    let (real, other) = (
        server.token(registered.text_of("api_key")).await,
        server.token(registered.text_of("api_key")).await,
    );
    server.get("/agents/registry").bearer(&real).send().await.expect(200);
    let forged = forgeries(&server, &real, &other).await;
    assert!(forged.len() > 150);
    Stage { server, id: registered.body["identity"]["id"].as_str().unwrap().to_owned(), real, forged }
}

/// Everything that a forged token might change.
async fn state(server: &Server) -> Vec<String> {
    sqlx::query_scalar(
        "select c::text from credentials c union all select i::text from identities i
         union all select k::text from api_keys k union all select a::text from audit_events a order by 1",
    )
    .fetch_all(&server.app.db)
    .await
    .unwrap()
}

/// Requires that the answer shows nothing of the token.
#[track_caller]
fn assert_silent(answer: &Answer, forgery: &Forgery) {
    let signature = forgery.token.rsplit('.').next().unwrap();
    let long = forgery.token.len() >= 20;
    assert!(!long || !answer.text.contains(&forgery.token), "{}", forgery.what);
    assert!(signature.len() < 20 || !answer.text.contains(signature), "{}", forgery.what);
}

impl Stage {
    async fn assert_unchanged(&self, before: &[String]) {
        assert_eq!(state(&self.server).await, before);
        assert!(self.server.is_active(&self.real).await);
        self.server.get("/agents/registry").bearer(&self.real).send().await.expect(200);
    }
}

#[tokio::test]
async fn introspection_calls_every_forgery_inactive() {
    let stage = stage(Server::new().await).await;
    let before = state(&stage.server).await;
    for forgery in &stage.forged {
        let form = [("token", forgery.token.as_str())];
        let by_form = stage.server.post("/oauth2/token/introspect").form(&form).send().await;
        let body = json!({ "token": forgery.token });
        let by_json = stage.server.post("/oauth2/token/introspect").json(body).send().await;
        for answer in [by_form, by_json] {
            assert_silent(&answer, forgery);
            if forgery.what == "oversized" {
                assert_eq!((answer.status.as_u16(), answer.text_of("error")), (400, "invalid_request"));
            } else {
                assert_eq!(answer.status, 200, "{}: {}", forgery.what, answer.text);
                assert_eq!(answer.body, json!({ "active": false }), "{}", forgery.what);
            }
        }
    }
    stage.assert_unchanged(&before).await;
}

#[tokio::test]
async fn revocation_of_a_forgery_does_not_end_the_real_token() {
    let stage = stage(Server::new().await).await;
    let before = state(&stage.server).await;
    for forgery in &stage.forged {
        let form = [("token", forgery.token.as_str())];
        let answer = stage.server.post("/oauth2/token/revoke").form(&form).send().await;
        assert_silent(&answer, forgery);
        if forgery.what == "oversized" {
            assert_eq!((answer.status.as_u16(), answer.text_of("error")), (400, "invalid_request"));
        } else {
            assert_eq!(answer.status, 200, "{}: {}", forgery.what, answer.text);
            assert_eq!(answer.body, json!({ "revoked": true }), "{}", forgery.what);
        }
    }
    stage.assert_unchanged(&before).await;
}

#[tokio::test]
async fn forward_authentication_lets_no_forgery_pass() {
    let stage = stage(Server::new().await).await;
    let before = state(&stage.server).await;
    for forgery in &stage.forged {
        let answer = stage.server.get("/oauth2/token/verify").bearer(&forgery.token).send().await;
        assert_eq!(answer.status, 401, "{}: {}", forgery.what, answer.text);
        assert_eq!(answer.body, json!({ "error": "invalid_token" }), "{}", forgery.what);
        assert_eq!(answer.header("x-forwarded-user"), "", "{}", forgery.what);
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    }
    stage.assert_unchanged(&before).await;
}

/// Presents every forgery on every admin route. In the open mode it must not pass for no credential at all.
async fn sweep(server: Server) {
    let stage = stage(server).await;
    let before = state(&stage.server).await;
    for forgery in &stage.forged {
        for (method, path) in ADMIN {
            for mount in ["", "/api/v1"] {
                let path = format!("{mount}{}", path.replace("{id}", &stage.id));
                let call = stage.server.admin(method, &path).bearer(&forgery.token);
                let answer = call.json(json!({ "name": "x", "external_id": "x" })).send().await;
                assert_eq!(answer.status, 401, "{method} {path}: {}: {}", forgery.what, answer.text);
                assert_eq!(answer.header("content-type"), "application/problem+json");
                assert_eq!(answer.body["status"], 401);
                assert!(answer.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""));
                assert_silent(&answer, forgery);
            }
        }
    }
    stage.assert_unchanged(&before).await;
}

#[tokio::test]
async fn no_admin_route_opens_for_a_forgery_in_the_open_mode() {
    sweep(Server::new().await).await;
}

#[tokio::test]
async fn no_admin_route_opens_for_a_forgery_in_the_required_mode() {
    let server = Server::new().await;
    let replica = server.replica_with(|config| config.admin_auth = AdminAuth::Required).await;
    let stage = stage(server).await;
    for forgery in &stage.forged {
        let answer = replica.admin("GET", "/agents/registry").bearer(&forgery.token).send().await;
        assert_eq!(answer.status, 401, "{}: {}", forgery.what, answer.text);
    }
    replica.admin("GET", "/agents/registry").bearer(&stage.real).send().await.expect(200);
}

#[tokio::test]
async fn a_forgery_is_no_api_key_either() {
    let stage = stage(Server::new().await).await;
    let before = state(&stage.server).await;
    for forgery in &stage.forged {
        let answer = stage.server.exchange(&forgery.token, "").await;
        assert_eq!(answer.status, 400, "{}", forgery.what);
        let error = if forgery.what == "oversized" { "invalid_request" } else { "invalid_grant" };
        assert_eq!(answer.text_of("error"), error, "{}", forgery.what);
        assert_silent(&answer, forgery);
    }
    stage.assert_unchanged(&before).await;
}
