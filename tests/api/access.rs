//! Who may administer: admin keys and our own tokens, each within its tenant.

use chancery::access::{self, NewAdminKey};
use chancery::kit::config::AdminAuth;
use chancery::kit::cx::Tenant;
use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, ISSUER, Server};
use crate::world::routes;

const MANAGE: [&str; 1] = ["nhi:manage"];

/// A server that lets nobody in without a credential.
pub async fn closed() -> Server {
    Server::with(|config| config.admin_auth = AdminAuth::Required).await
}

fn new_agent(external_id: &str) -> Value {
    json!({ "name": "New", "external_id": external_id, "created_by": "dev@company.example" })
}

#[track_caller]
fn assert_challenge(answer: &Answer, error: &str) {
    let challenge = answer.header("www-authenticate");
    let hint = format!("resource_metadata=\"{ISSUER}/.well-known/oauth-protected-resource\"");
    assert!(challenge.starts_with("Bearer ") && challenge.ends_with(&hint), "{challenge}");
    match error {
        "" => assert_eq!(challenge, format!("Bearer {hint}")),
        _ => assert!(
            challenge.starts_with(&format!("Bearer error=\"{error}\", error_description=\"")),
            "{challenge}"
        ),
    }
}

#[tokio::test]
async fn without_a_credential_a_closed_server_only_says_where_to_get_one() {
    let server = closed().await;
    let before = server.everything().await;
    for (method, path, body) in routes("01890000-0000-7000-8000-000000000000") {
        let answer = server.admin(method, &path).body(&body).send().await.problem(401);
        assert_challenge(&answer, "");
    }
    assert_eq!(server.everything().await, before);
    assert_eq!(server.audited().await, 0, "nobody is known");
}

#[tokio::test]
async fn a_tenants_key_works_in_its_tenant_and_in_no_other() {
    let server = closed().await;
    let key = server.admin_key(Some(("acme", "demo")), &MANAGE).await;
    let list = |headers: &'static [(&'static str, &'static str)]| {
        let call = server.call("GET", "/agents/registry").bearer(&key);
        headers.iter().fold(call, |call, (name, value)| call.with(name, value)).send()
    };
    let created =
        server.call("POST", "/agents/register").bearer(&key).json(new_agent("fetcher")).send().await;
    assert_eq!(created.expect(201).body["identity"]["account_id"], "acme");
    for good in [
        &[][..],
        &[("X-Account-ID", "acme"), ("X-Project-ID", "demo")],
        &[("X-Account-ID", "default"), ("X-Project-ID", "default")],
        &[("X-Account-ID", "acme")],
        &[("X-Account-ID", ""), ("X-Project-ID", "")],
    ] {
        assert_eq!(list(good).await.expect(200).body["total"], 1, "{good:?}");
    }
    for bad in [
        &[("X-Account-ID", "other"), ("X-Project-ID", "demo")][..],
        &[("X-Account-ID", "acme"), ("X-Project-ID", "default")],
        &[("X-Account-ID", "default")],
        &[("X-Project-ID", "other")],
        &[("X-Account-ID", "ACME"), ("X-Project-ID", "demo")],
    ] {
        list(bad).await.problem(403);
    }
    list(&[("X-Account-ID", "acme"), ("X-Account-ID", "other")]).await.problem(400);
}

#[tokio::test]
async fn reaching_for_another_tenant_leaves_a_row_in_the_callers_own_log() {
    let server = closed().await;
    let key = server.admin_key(Some(("acme", "demo")), &MANAGE).await;
    let before = (server.everything().await, server.audited().await);
    let call = server.call("POST", "/agents/register").bearer(&key).tenant("other", "demo");
    let refused = call.json(new_agent("x")).send().await.problem(403);
    assert_eq!(refused.header("www-authenticate"), "", "no scope would help");
    assert_eq!((server.everything().await, server.audited().await), (before.0, before.1 + 1));
    let row = "select concat_ws(' ', account_id, project_id, actor_type, action, outcome) from audit_events
        order by ctid desc limit 1";
    assert_eq!(server.text_from_sql(row).await, "acme demo admin_key admin.denied refused");
}

#[tokio::test]
async fn an_operators_key_works_across_tenants_and_must_say_in_which() {
    let server = closed().await;
    let key = server.admin_key(None, &MANAGE).await;
    for (account, project) in [("acme", "demo"), ("default", "default"), ("new", "born")] {
        let call = server.call("POST", "/agents/register").bearer(&key).tenant(account, project);
        let answer = call.json(new_agent("fetcher")).send().await.expect(201);
        assert_eq!(answer.body["identity"]["account_id"], account);
        let list = server.call("GET", "/agents/registry").bearer(&key).tenant(account, project).send().await;
        assert_eq!(list.expect(200).body["total"], 1);
    }
    let silent = server.call("GET", "/agents/registry").bearer(&key);
    assert!(silent.send().await.problem(401).text_of("detail").contains("missing tenant context"));
    server
        .call("GET", "/agents/registry")
        .bearer(&key)
        .with("X-Account-ID", "acme")
        .send()
        .await
        .problem(401);
}

#[tokio::test]
async fn a_key_is_dead_when_it_has_expired_or_was_revoked_or_never_was() {
    let server = closed().await;
    let list = async |key: &str| server.call("GET", "/agents/registry").bearer(key).send().await;
    let new = NewAdminKey {
        name: "brief".to_owned(),
        tenant: Some(Tenant { account_id: "acme".to_owned(), project_id: "demo".to_owned() }),
        scopes: vec![],
        lifetime: Some(Duration::hours(1)),
        allowed_networks: chancery::kit::config::Networks::default(),
    };
    let brief = access::create(&server.app, new).await.unwrap().expose().to_owned();
    let lasting = server.admin_key(Some(("acme", "demo")), &MANAGE).await;
    server.app.clock.advance(Duration::minutes(59));
    list(&brief).await.expect(200);
    server.app.clock.advance(Duration::minutes(1));
    assert_challenge(&list(&brief).await.problem(401), "invalid_token");
    list(&lasting).await.expect(200);
    let keys = access::list(&server.app.db).await.unwrap();
    let id = keys.iter().find(|key| lasting.starts_with(&key.key_prefix)).unwrap().id;
    access::revoke(&server.app.db, id, server.app.clock.now()).await.unwrap();
    assert_challenge(&list(&lasting).await.problem(401), "invalid_token");
    assert!(access::revoke(&server.app.db, id, server.app.clock.now()).await.is_err());
    let live = server.admin_key(Some(("acme", "demo")), &MANAGE).await;
    for bad in
        [&live[..live.len() - 1], &format!("{live}x"), "sk_live_", "sk_live_ä", &live.to_uppercase(), "x.y.z"]
    {
        let answer = list(bad).await.problem(401);
        assert_challenge(&answer, "invalid_token");
        assert!(!answer.text.contains(bad), "{}", answer.text);
    }
    list(&live).await.expect(200);
}

#[tokio::test]
async fn an_authorization_header_of_another_form_is_refused_even_in_the_open_mode() {
    let server = Server::new().await;
    for bad in ["Basic dTpw", "Bearer", "Bearer ", "bearer\tx", "Token x", "sk_live_x"] {
        let answer =
            server.admin("GET", "/agents/registry").with("Authorization", bad).send().await.problem(401);
        assert_challenge(&answer, "invalid_token");
    }
    let key = server.admin_key(None, &MANAGE).await;
    server.admin("GET", "/agents/registry").bearer(&key).bearer(&key).send().await.problem(400);
    let answer = server
        .admin("GET", "/agents/registry")
        .with("Authorization", &format!("bEARER  {key} "))
        .send()
        .await;
    answer.expect(200);
}

#[tokio::test]
async fn the_last_use_of_a_key_is_recorded_to_the_minute() {
    let server = closed().await;
    let key = server.admin_key(Some(("acme", "demo")), &MANAGE).await;
    let used = async || access::list(&server.app.db).await.unwrap()[0].last_used_at;
    let list = async || server.call("GET", "/agents/registry").bearer(&key).send().await.expect(200);
    assert_eq!(used().await, None);
    list().await;
    let first = used().await;
    assert_eq!(first, Some(server.app.clock.now()));
    server.app.clock.advance(Duration::seconds(59));
    list().await;
    assert_eq!(used().await, first);
    server.app.clock.advance(Duration::seconds(2));
    list().await;
    assert_eq!(used().await, Some(server.app.clock.now()));
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused_on_every_route_and_the_log_says_so() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let key = server.admin_key(Some(("acme", "demo")), &["credentials:manager", "nhi:manager", "nhi"]).await;
    for (method, path, body) in routes(&id) {
        server.app.clock.advance(Duration::seconds(1));
        let before = (server.everything().await, server.audited().await);
        let answer = server.call(method, &path).bearer(&key).body(&body).send().await.problem(403);
        assert_challenge(&answer, "insufficient_scope");
        assert_eq!((server.everything().await, server.audited().await), (before.0, before.1 + 1), "{path}");
        let (action, outcome, actor, target) = server.audit().await.pop().unwrap();
        assert_eq!(
            (action.as_str(), outcome.as_str(), actor.as_str()),
            ("admin.denied", "refused", "admin_key")
        );
        assert_eq!(target, format!("{method} {}", path.replace(&id, "{id}")));
    }
}

#[tokio::test]
async fn a_token_that_carries_nhi_manage_administers_its_own_tenant() {
    let server = closed().await;
    let operator = server.admin_key(None, &["nhi:manage", "credentials:manage"]).await;
    let body = json!({ "name": "Root", "external_id": "root", "created_by": "u-9", "allowed_scopes": ["nhi:manage"] });
    let call = server.call("POST", "/agents/register").bearer(&operator).tenant("acme", "demo");
    let root = call.json(body).send().await.expect(201);
    let issued = server.exchange(root.text_of("api_key"), "nhi:manage credentials:manage").await.expect(200);
    assert_eq!(issued.text_of("scope"), "nhi:manage");
    let token = issued.text_of("access_token");
    // The creator of the key answers for what the token registers.
    let body = json!({ "name": "Child", "external_id": "child" });
    let call = server.call("POST", "/agents/register").bearer(token).tenant("default", "default");
    let child = call.json(body).send().await.expect(201);
    assert_eq!(child.body["identity"]["created_by"], "u-9");
    assert_eq!(child.body["identity"]["account_id"], "acme");
    let id = child.body["identity"]["id"].as_str().unwrap();
    server.call("GET", &format!("/api/v1/agents/registry/{id}")).bearer(token).send().await.expect(200);
    let foreign = server.call("GET", "/agents/registry").bearer(token).tenant("other", "demo").send().await;
    assert_eq!(foreign.problem(403).header("www-authenticate"), "");
    // Suspended, its token is nobody's; it wakes with it.
    let path = format!("/agents/registry/{}", root.body["identity"]["id"].as_str().unwrap());
    let suspend = async |status: &str| {
        let call = server.call("PATCH", &path).bearer(&operator).tenant("acme", "demo");
        call.json(json!({ "status": status })).send().await.expect(200)
    };
    suspend("suspended").await;
    let answer = server.call("GET", "/agents/registry").bearer(token).send().await.problem(401);
    assert_challenge(&answer, "invalid_token");
    suspend("active").await;
    server.call("GET", "/agents/registry").bearer(token).send().await.expect(200);
    server.app.clock.advance(Duration::hours(1));
    server.call("GET", "/agents/registry").bearer(token).send().await.problem(401);
}

#[tokio::test]
async fn a_token_without_the_scope_is_refused_and_named_in_the_log() {
    let server = closed().await;
    let operator = server.admin_key(None, &["nhi:manage", "credentials:manage"]).await;
    let call = server.call("POST", "/agents/register").bearer(&operator).tenant("acme", "demo");
    let agent = call.json(new_agent("plain")).send().await.expect(201);
    // Asked for admin scopes it does not hold, it gets a token without any.
    let issued = server.exchange(agent.text_of("api_key"), "nhi:manage credentials:manage").await.expect(200);
    assert_eq!(issued.text_of("scope"), "");
    let before = server.everything().await;
    for (method, path, body) in routes(agent.body["identity"]["id"].as_str().unwrap()) {
        let call = server.call(method, &path).bearer(issued.text_of("access_token"));
        assert_challenge(&call.body(&body).send().await.problem(403), "insufficient_scope");
    }
    assert_eq!(server.everything().await, before);
    let actor = "select actor_type || ' ' || actor_id from audit_events order by ctid desc limit 1";
    let uri = agent.body["identity"]["wimse_uri"].as_str().unwrap();
    assert_eq!(server.text_from_sql(actor).await, format!("agent {uri}"));
}

#[tokio::test]
async fn a_token_that_is_meant_for_somebody_else_opens_nothing_here() {
    let server = Server::new().await;
    let (id, _) = server.agent_with_scopes("admin", &["nhi:manage"]).await;
    for (audience, status) in [
        (json!(["https://api.example"]), 401),
        (json!([format!("{ISSUER}/")]), 401),
        (json!(["https://api.example", ISSUER]), 200),
        (json!([]), 200),
    ] {
        let body = json!({ "identity_id": id, "audience": audience });
        let issued = server.admin("POST", "/credentials/issue").json(body).send().await.expect(201);
        let token = issued.body["token"]["access_token"].as_str().unwrap();
        let chain = format!("/delegations/by-jti/{}", issued.body["token"]["jti"].as_str().unwrap());
        for path in ["/agents/registry", &chain] {
            let answer = server.call("GET", path).bearer(token).send().await;
            assert_eq!(answer.status, status, "{path} {audience}");
        }
        let own = server.post("/agents/self/public-key").bearer(token).json(json!({})).send().await;
        assert_eq!(own.status, if status == 401 { 401 } else { 422 }, "{audience}");
        assert!(server.is_active(token).await, "elsewhere it is good");
    }
}
