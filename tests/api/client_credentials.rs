//! The client_credentials grant (RFC 6749 section 4.4): for which tenant and identity, with which scopes, for how long.

use serde_json::{Value, json};

use crate::party::Program;
use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims, credentials};

/// An agent with these members and a client with those bound to it.
async fn program(server: &Server, agent: Value, client: Value) -> Program {
    let registered = server.register("worker-agent", agent).await.expect(201);
    let id = registered.body["identity"]["id"].as_str().unwrap().to_owned();
    server.program("worker", &id, client).await
}

async fn ask(server: &Server, program: &Program, more: &[(&str, &str)]) -> Answer {
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", program.client_id.as_str()),
        ("client_secret", &program.secret),
    ];
    server.post("/oauth2/token").form(&[&own[..], more].concat()).send().await
}

#[tokio::test]
async fn rfc6749_s4_4_a_client_obtains_a_token_for_its_agent() {
    let server = Server::new().await;
    let program = program(&server, json!({ "trust_level": "first_party" }), json!({})).await;
    let answer = ask(&server, &program, &[("scope", "b a z")]).await.expect(200);
    assert_eq!((answer.text_of("scope"), answer.text_of("token_type")), ("b a", "Bearer"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.body.get("refresh_token").is_none() && !answer.text.contains("null"), "RFC 6749 4.4.3");
    let found = claims(answer.text_of("access_token"));
    let uri = "spiffe://chancery.localhost/acme/demo/agent/worker-agent";
    assert_eq!((&found["sub"], &found["client_id"]), (&json!(uri), &json!("worker")));
    assert_eq!(
        (&found["grant_type"], &found["trust_level"]),
        (&json!("client_credentials"), &json!("first_party"))
    );
    assert_eq!(found["mission_id"], found["jti"]);
    assert!(found.get("act").is_none() && found.get("user_id").is_none());
    assert_eq!(server.introspect(answer.text_of("access_token")).await["client_id"], "worker");
    let rows = server.audit().await;
    let last = rows.last().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str(), last.2.as_str()), ("token.issued", "success", "client"));
}

#[tokio::test]
async fn the_client_tells_its_tenant_and_another_ones_name_is_refused() {
    let server = Server::new().await;
    let program = program(&server, json!({}), json!({})).await;
    for (account, project, good) in [
        ("", "", true),
        ("default", "default", true),
        ("acme", "demo", true),
        ("acme", "default", true),
        ("default", "demo", true),
        ("acme", "", true),
        ("other", "demo", false),
        ("acme", "other", false),
        ("other", "other", false),
        ("default", "other", false),
        ("demo", "acme", false),
        ("ACME", "demo", false),
        ("' or '1'='1", "demo", false),
    ] {
        let before = credentials(&server).await;
        let answer = ask(&server, &program, &[("account_id", account), ("project_id", project)]).await;
        if good {
            assert_eq!(answer.expect(200).text_of("account_id"), "acme", "{account}/{project}");
        } else {
            assert_error(&answer, 401, "invalid_client");
            assert_eq!(credentials(&server).await, before);
        }
    }
}

#[tokio::test]
async fn a_client_without_scopes_obtains_nothing_by_asking() {
    let server = Server::new().await;
    let program = program(&server, json!({}), json!({ "scopes": [] })).await;
    for scope in ["", "a", "nhi:manage", "a nhi:manage"] {
        assert_error(&ask(&server, &program, &[("scope", scope)]).await, 400, "invalid_scope");
    }
    assert_eq!(credentials(&server).await, 0);
}

#[tokio::test]
async fn scopes_are_what_client_agent_and_policy_have_in_common() {
    let server = Server::new().await;
    let policy = server.policy("narrow", "array['a', 'b', 'c']").await;
    server.run_sql("update credential_policies set allowed_grant_types = array['client_credentials']").await;
    let agent = json!({ "allowed_scopes": ["a", "b", "x"], "credential_policy_id": policy });
    let program = program(&server, agent, json!({ "scopes": ["b", "a", "c", "x"] })).await;
    for (asked, granted) in [
        ("", Some("b a")),
        ("a", Some("a")),
        ("a a b", Some("a b")),
        ("x a", Some("a")),
        ("c", None),
        ("x", None),
        ("z", None),
        ("A", None),
    ] {
        let answer = ask(&server, &program, &[("scope", asked)]).await;
        match granted {
            Some(granted) => assert_eq!(answer.expect(200).text_of("scope"), granted, "{asked}"),
            None => assert_error(&answer, 400, "invalid_scope"),
        }
    }
}

/// A scope that administers the server is in no open ceiling, and a client that stands beside another grant adds none.
#[tokio::test]
async fn a_client_beside_a_key_or_assertion_narrows_and_never_adds() {
    let server = Server::new().await;
    let body = json!({
        "client_id": "console", "name": "Console", "grant_types": ["api_key", "jwt_bearer"],
        "scopes": ["a", "nhi:manage"],
    });
    server.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
    let open = server.party("open", json!({})).await;
    let admin = server.party("admin", json!({ "allowed_scopes": ["a", "b", "nhi:manage"] })).await;
    for (agent, asked, granted) in [
        (&open, "", "a"),
        (&open, "a nhi:manage", "a"),
        (&open, "nhi:manage", ""),
        (&admin, "", "a nhi:manage"),
        (&admin, "b nhi:manage", "nhi:manage"),
    ] {
        let assertion = server.assertion(agent);
        for grant in [
            [("grant_type", "api_key"), ("api_key", agent.api_key.as_str())],
            [("grant_type", crate::party::JWT_BEARER), ("assertion", &assertion)],
        ] {
            let form = [&grant[..], &[("client_id", "console"), ("scope", asked)]].concat();
            let answer = server.post("/oauth2/token").form(&form).send().await.expect(200);
            assert_eq!(answer.text_of("scope"), granted, "{} asks for {asked:?}: {}", agent.uri, answer.text);
        }
    }
}

#[tokio::test]
async fn the_identity_is_the_bound_one_or_that_of_the_same_name() {
    let server = Server::new().await;
    let body = json!({ "client_id": "fetcher", "name": "Fetcher", "confidential": true, "scopes": ["a"] });
    let made = server.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
    let program = Program {
        id: made.body["client"]["id"].as_str().unwrap().to_owned(),
        client_id: "fetcher".to_owned(),
        secret: made.text_of("client_secret").to_owned(),
    };
    assert_error(&ask(&server, &program, &[]).await, 401, "invalid_client");
    let foreign = json!({ "name": "F", "external_id": "fetcher", "created_by": "x" });
    server.call("POST", "/agents/register").tenant("other", "demo").json(foreign).send().await.expect(201);
    assert_error(&ask(&server, &program, &[]).await, 401, "invalid_client");
    server.agent("fetcher").await;
    assert_eq!(ask(&server, &program, &[]).await.expect(200).text_of("external_id"), "fetcher");
    let (other, _) = server.agent("other").await;
    let bound = server.program("other-than-its-name", &other, json!({})).await;
    server.agent("other-than-its-name").await;
    assert_eq!(ask(&server, &bound, &[]).await.expect(200).text_of("external_id"), "other");
}

#[tokio::test]
async fn a_token_lives_as_long_as_client_policy_and_server_let_it() {
    let server = Server::with(|config| config.tokens.max_ttl_seconds = 5000).await;
    let program = program(&server, json!({}), json!({})).await;
    let set = async |client: i64, policy: i64| {
        server.patch_client(&program.id, json!({ "access_token_ttl": client })).await.expect(200);
        server.run_sql(format!("update credential_policies set max_ttl_seconds = {policy}")).await;
        let answer = ask(&server, &program, &[]).await.expect(200);
        let found = claims(answer.text_of("access_token"));
        let life = found["exp"].as_i64().unwrap() - found["iat"].as_i64().unwrap();
        assert_eq!(answer.body["expires_in"], life);
        life
    };
    for (client, policy, life) in [
        (0, 9000, 3600),
        (120, 9000, 120),
        (4000, 9000, 4000),
        (8000, 9000, 5000),
        (4000, 60, 60),
        (1, 60, 1),
    ] {
        assert_eq!(set(client, policy).await, life, "{client} under {policy}");
    }
}

#[tokio::test]
async fn the_clients_profile_shapes_its_tokens() {
    let server = Server::new().await;
    let program = program(&server, json!({}), json!({})).await;
    let uri = "spiffe://chancery.localhost/acme/demo/agent/worker-agent";
    for (profile, sub, principal, agent_id) in [
        ("", uri, false, false),
        ("zeroid", uri, false, false),
        ("rfc8693", uri, true, false),
        ("shark", "worker", false, true),
    ] {
        server.patch_client(&program.id, json!({ "token_profile": profile })).await.expect(200);
        let token = ask(&server, &program, &[]).await.token();
        let found = claims(&token);
        assert_eq!(found["sub"], sub, "{profile}");
        assert_eq!(found.get("principal_type").is_some(), principal, "{profile}");
        assert_eq!(found.get("agent_id").is_some(), agent_id, "{profile}");
        let looked = server.introspect(&token).await;
        assert_eq!((&looked["active"], &looked["sub"]), (&json!(true), &json!(sub)));
    }
}
