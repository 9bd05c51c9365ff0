//! The table of forged tokens, presented to every place that accepts a token: refused, without a change or a fault.

use chancery::kit::config::AdminAuth;
use serde_json::json;

use crate::bad_jwts::{Bad as Forgery, forgeries};
use crate::server::{Answer, Server};

/// Every admin route, below each of its mounts.
const ADMIN: [(&str, &str); 26] = [
    ("POST", "/agents/register"),
    ("GET", "/agents/registry"),
    ("GET", "/agents/registry/{id}"),
    ("PATCH", "/agents/registry/{id}"),
    ("DELETE", "/agents/registry/{id}"),
    ("POST", "/agents/registry/{id}/activate"),
    ("POST", "/agents/registry/{id}/deactivate"),
    ("POST", "/agents/registry/{id}/rotate-key"),
    ("GET", "/credentials?identity_id={id}"),
    ("POST", "/credentials/issue"),
    ("GET", "/credentials/{id}"),
    ("POST", "/credentials/{id}/revoke"),
    ("POST", "/credentials/{id}/rotate"),
    ("GET", "/oauth/clients"),
    ("POST", "/oauth/clients"),
    ("GET", "/oauth/clients/{id}"),
    ("PATCH", "/oauth/clients/{id}"),
    ("DELETE", "/oauth/clients/{id}"),
    ("POST", "/oauth/clients/{id}/rotate-secret"),
    ("POST", "/oauth/clients/{id}/revoke-tokens"),
    ("POST", "/admin/oauth/revoke-by-pattern"),
    ("GET", "/delegations/by-jti/{id}"),
    ("GET", "/delegations/graph?identity_id={id}"),
    ("GET", "/delegations/chains"),
    ("GET", "/admin/may-act"),
    ("POST", "/admin/may-act"),
];

/// On how many of them each forgery is presented, in turn.
const EACH: usize = 8;

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
    // What no header can carry is for the places that take a parameter.
    let mut forged = forgeries(&server.app, &real, &other);
    forged.retain(|forgery| forgery.token.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert!(forged.len() > 350);
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

/// Presents every forgery on some admin routes, so that every route meets many. In the open mode it must not pass for no credential at all.
async fn sweep(server: Server) {
    let stage = stage(server).await;
    let before = state(&stage.server).await;
    let mut routes = ADMIN.iter().cycle();
    for forgery in &stage.forged {
        for (method, path) in routes.by_ref().take(EACH) {
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
        let error = if forgery.token.len() > 16_384 { "invalid_request" } else { "invalid_grant" };
        assert_eq!(answer.text_of("error"), error, "{}", forgery.what);
        assert_silent(&answer, forgery);
    }
    stage.assert_unchanged(&before).await;
}
