//! Who may act for whom in a token exchange: by an assertion of his own, by a may-act grant, by the token's own word, or
//! for himself.

use serde_json::{Value, json};
use time::Duration;

use crate::party::{Party, Program, TOKEN_EXCHANGE};
use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims, credentials};

/// A principal whose token is exchanged, and two clients with agents of their own.
struct Stage {
    server: Server,
    principal: Party,
    subject: String,
    actor: Party,
    client: Program,
    second: Program,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::new().await;
        let principal = server.party("principal", json!({})).await;
        let subject = server.exchange(&principal.api_key, "a b").await.token();
        let actor = server.party("actor", json!({})).await;
        let (second, _) = server.agent("second-agent").await;
        let client = server.program("client", &actor.id, json!({})).await;
        let second = server.program("second", &second, json!({})).await;
        Self { server, principal, subject, actor, client, second }
    }

    async fn grant(&self, from: &str, to: &str, more: Value) -> String {
        let mut body = json!({ "from_id": from, "to_id": to });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.server.admin("POST", "/admin/may-act").json(body).send().await.expect(201);
        answer.text_of("id").to_owned()
    }

    /// The client exchanges the subject token.
    async fn exchange(&self, scope: &str) -> Answer {
        self.server.delegate_to_client(&self.subject, &self.client, scope).await
    }

    /// A token of the principal that says who may act.
    async fn naming(&self, may_act: Value) -> String {
        let body = json!({ "identity_id": self.principal.id, "scopes": ["a", "b"], "may_act": may_act });
        let answer = self.server.admin("POST", "/credentials/issue").json(body).send().await.expect(201);
        answer.body["token"]["access_token"].as_str().unwrap().to_owned()
    }
}

/// Security row 17: the named actor, another one, none, and a token that names nobody.
#[tokio::test]
async fn rfc8693_s4_4_whom_a_token_names_may_act_and_nobody_else() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let named = stage.naming(json!({ "sub": "client" })).await;
    let other = stage.naming(json!({ "sub": "second" })).await;
    assert_eq!(claims(&named)["may_act"], json!({ "sub": "client" }));
    // The named one, without any grant.
    let token = server.delegate_to_client(&named, &stage.client, "a").await.token();
    assert_eq!(claims(&token)["sub"], stage.actor.uri);
    assert!(claims(&token).get("may_act").is_none());
    // Another one, be he a client with a grant, an agent with an assertion, or the holder himself.
    stage.grant("client", &stage.principal.id, json!({})).await;
    assert_error(&server.delegate_to_client(&other, &stage.client, "a").await, 403, "access_denied");
    assert_error(&server.delegate(&other, &stage.actor, "a").await, 403, "access_denied");
    assert_error(&server.delegate(&other, &stage.principal, "a").await, 403, "access_denied");
    // None: nobody who could act.
    let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token", &*named), ("scope", "a")];
    assert_error(&server.post("/oauth2/token").form(&form).send().await, 400, "invalid_request");
    // A token that names nobody: an assertion or the grant is enough, nothing at all is not.
    server.delegate(&stage.subject, &stage.actor, "a").await.expect(200);
    stage.exchange("a").await.expect(200);
    let without = server.delegate_to_client(&stage.subject, &stage.second, "a").await;
    assert_error(&without, 403, "access_denied");
}

#[tokio::test]
async fn a_token_names_its_actors_in_several_ways_and_garbage_names_nobody() {
    let stage = Stage::new().await;
    let (id, uri) = (stage.actor.id.clone(), stage.actor.uri.clone());
    for (may_act, good) in [
        (json!("client"), true),
        (json!({ "sub": id }), true),
        (json!({ "sub": uri }), true),
        (json!({ "sub": "actor", "iss": "x" }), true),
        (json!(["second", "client"]), true),
        (json!([{ "sub": "second" }, { "sub": "client" }]), true),
        (json!(null), false),
        (json!({}), false),
        (json!([]), false),
        (json!(""), false),
        (json!(true), false),
        (json!(7), false),
        (json!({ "sub": ["client"] }), false),
        (json!({ "sub": null }), false),
        (json!({ "client_id": "client" }), false),
        (json!("Client"), false),
        (json!("client "), false),
        (json!("*"), false),
    ] {
        let subject = stage.naming(may_act.clone()).await;
        let answer = stage.server.delegate_to_client(&subject, &stage.client, "a").await;
        if good {
            answer.expect(200);
        } else {
            assert_error(&answer, 403, "access_denied");
        }
    }
}

/// Security row 18.
#[tokio::test]
async fn a_grant_bounds_the_hops() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let third = server.program("third", &server.agent("third-agent").await.0, json!({})).await;
    let mut grants = Vec::new();
    for client in ["client", "second", "third"] {
        grants.push(stage.grant(client, &stage.principal.id, json!({ "max_hops": 2 })).await);
    }
    let one = stage.exchange("a").await.token();
    let two = server.delegate_to_client(&one, &stage.second, "a").await;
    // A grant names whom one acts for: the holder of the token and the principal of its chain.
    let two = two.token();
    let refused = server.delegate_to_client(&two, &third, "a").await;
    assert_error(&refused, 403, "access_denied");
    assert!(refused.text_of("error_description").contains("max_hops"), "{}", refused.text);
    server.run_sql(format!("update may_act_grants set max_hops = 3 where id = '{}'", grants[2])).await;
    let three = server.delegate_to_client(&two, &third, "a").await.token();
    assert_eq!(claims(&three)["delegation_depth"], 3);
    // One hop: only what was not delegated yet.
    server.run_sql(format!("update may_act_grants set max_hops = 1 where id = '{}'", grants[1])).await;
    assert_error(&server.delegate_to_client(&one, &stage.second, "a").await, 403, "access_denied");
    server.delegate_to_client(&stage.subject, &stage.second, "a").await.expect(200);
}

#[tokio::test]
async fn a_grant_bounds_the_scopes() {
    let stage = Stage::new().await;
    stage.grant("client", &stage.principal.id, json!({ "scopes": ["a", "z"] })).await;
    for (asked, granted) in
        [("a", Some("a")), ("b a", Some("a")), ("b", None), ("z", None), ("", None), ("nhi:manage", None)]
    {
        let before = credentials(&stage.server).await;
        let answer = stage.exchange(asked).await;
        match granted {
            Some(granted) => assert_eq!(answer.expect(200).text_of("scope"), granted, "{asked}"),
            None => {
                assert_error(&answer, 400, "invalid_scope");
                assert_eq!(credentials(&stage.server).await, before);
            }
        }
    }
}

#[tokio::test]
async fn a_grant_works_while_it_stands_and_in_its_direction() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let replica = server.replica().await;
    stage.grant(&stage.principal.id, "client", json!({})).await;
    assert_error(&stage.exchange("a").await, 403, "access_denied");
    let end = json!({ "expires_at": "2026-12-01T12:01:00Z" });
    stage.grant("client", &stage.principal.id, end).await;
    let token = stage.exchange("a").await.token();
    server.app.clock.advance(Duration::seconds(60));
    assert_error(&stage.exchange("a").await, 403, "access_denied");
    let grant = stage.grant("client", &stage.principal.id, json!({})).await;
    stage.exchange("a").await.expect(200);
    replica.admin("DELETE", &format!("/admin/may-act/{grant}")).send().await.expect(200);
    let before = (credentials(server).await, server.audited().await);
    assert_error(&stage.exchange("a").await, 403, "access_denied");
    assert_eq!((credentials(server).await, server.audited().await), (before.0, before.1 + 1));
    assert!(server.is_active(&token).await, "what was exchanged lives out its time");
}

#[tokio::test]
async fn both_go_by_any_of_their_names_and_only_within_the_tenant() {
    let stage = Stage::new().await;
    let actors = ["client", "actor", &stage.actor.id, &stage.actor.uri];
    let principals = ["principal", stage.principal.id.as_str(), &stage.principal.uri];
    for from in actors {
        for to in principals {
            assert_error(&stage.exchange("a").await, 403, "access_denied");
            let grant = stage.grant(from, to, json!({})).await;
            stage.exchange("a").await.expect(200);
            let path = format!("/admin/may-act/{grant}");
            stage.server.admin("DELETE", &path).send().await.expect(200);
        }
    }
    for (from, to) in [("second", "principal"), ("client", "second-agent"), ("*", "*"), ("client", "client")]
    {
        stage.grant(from, to, json!({})).await;
        assert_error(&stage.exchange("a").await, 403, "access_denied");
    }
    let body = json!({ "from_id": "client", "to_id": "principal" });
    let call = stage.server.call("POST", "/admin/may-act").tenant("other", "demo");
    call.json(body).send().await.expect(201);
    assert_error(&stage.exchange("a").await, 403, "access_denied");
}

#[tokio::test]
async fn of_several_grants_the_newest_that_allows_the_hop_decides() {
    let stage = Stage::new().await;
    let scope = async || stage.exchange("a b").await.expect(200).text_of("scope").to_owned();
    stage.grant("client", "principal", json!({ "scopes": ["a"] })).await;
    assert_eq!(scope().await, "a");
    stage.server.app.clock.advance(Duration::seconds(1));
    let wider = stage.grant("actor", "principal", json!({ "scopes": ["b"], "max_hops": 5 })).await;
    assert_eq!(scope().await, "b");
    stage.server.admin("DELETE", &format!("/admin/may-act/{wider}")).send().await.expect(200);
    assert_eq!(scope().await, "a");
}

#[tokio::test]
async fn a_client_narrows_a_token_of_its_own_without_a_grant() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let own = server.client_credentials(&stage.client, "a b").await.token();
    for (asked, granted) in [("a", Some("a")), ("b a c", Some("b a")), ("c", None), ("", None)] {
        let answer = server.delegate_to_client(&own, &stage.client, asked).await;
        match granted {
            Some(granted) => {
                let answer = answer.expect(200);
                assert_eq!(answer.text_of("scope"), granted);
                let (new, old) = (claims(answer.text_of("access_token")), claims(&own));
                assert_eq!((&new["sub"], &new["aud"], &new["exp"]), (&old["sub"], &old["aud"], &old["exp"]));
                assert_eq!((&new["mission_id"], &new["delegation_depth"]), (&old["jti"], &json!(1)));
            }
            None => assert_error(&answer, 400, "invalid_scope"),
        }
    }
    assert_error(&server.delegate_to_client(&own, &stage.second, "a").await, 403, "access_denied");
    // Narrowing is no hop: a grant of one hop still lets another act.
    let narrowed = server.delegate_to_client(&own, &stage.client, "a").await.token();
    stage.grant("second", "client", json!({})).await;
    server.delegate_to_client(&narrowed, &stage.second, "a").await.expect(200);
}

#[tokio::test]
async fn an_actor_token_beside_a_client_is_its_own_agents() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let ask = async |actor: &Party, client: &Program| {
        let assertion = server.assertion(actor);
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", stage.subject.as_str()),
            ("actor_token", &assertion),
            ("client_id", &client.client_id),
            ("client_secret", &client.secret),
            ("scope", "a"),
        ];
        server.post("/oauth2/token").form(&form).send().await
    };
    let token = ask(&stage.actor, &stage.client).await.token();
    assert_eq!(claims(&token)["client_id"], "client");
    assert_error(&ask(&stage.principal, &stage.client).await, 400, "invalid_request");
    assert_error(&ask(&stage.actor, &stage.second).await, 400, "invalid_request");
    let body = json!({
        "client_id": "unbound", "name": "U", "confidential": true, "grant_types": ["token_exchange"], "scopes": ["a"],
    });
    let made = server.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
    let unbound = Program {
        id: String::new(),
        client_id: "unbound".to_owned(),
        secret: made.text_of("client_secret").to_owned(),
    };
    assert_error(&ask(&stage.actor, &unbound).await, 400, "invalid_request");
    assert_error(&server.delegate_to_client(&stage.subject, &unbound, "a").await, 400, "unauthorized_client");
}

#[tokio::test]
async fn a_client_that_proved_nothing_or_is_of_another_tenant_acts_for_nobody() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let grants = json!(["token_exchange"]);
    let public = json!({
        "client_id": "phone", "name": "P", "grant_types": grants, "scopes": ["a"], "identity_id": stage.actor.id,
    });
    server.admin("POST", "/oauth/clients").json(public).send().await.expect(201);
    stage.grant("phone", "principal", json!({})).await;
    let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token", &stage.subject), ("scope", "a")];
    let call = server.post("/oauth2/token").form(&[&form[..], &[("client_id", "phone")]].concat());
    assert_error(&call.send().await, 400, "invalid_request");
    let abroad = |path: &'static str| server.call("POST", path).tenant("other", "demo");
    let body = json!({ "name": "A", "external_id": "abroad", "created_by": "x" });
    let id = abroad("/agents/register").json(body).send().await.expect(201).body["identity"]["id"].clone();
    let body = json!({
        "client_id": "foreigner", "name": "F", "confidential": true, "grant_types": grants, "scopes": ["a"],
        "identity_id": id,
    });
    let made = abroad("/oauth/clients").json(body).send().await.expect(201);
    let grant = json!({ "from_id": "foreigner", "to_id": stage.principal.id });
    abroad("/admin/may-act").json(&grant).send().await.expect(201);
    stage.grant("foreigner", "principal", json!({})).await;
    let foreigner = Program {
        id: String::new(),
        client_id: "foreigner".to_owned(),
        secret: made.text_of("client_secret").to_owned(),
    };
    let answer = server.delegate_to_client(&stage.subject, &foreigner, "a").await;
    assert_error(&answer, 400, "invalid_grant");
    let dead = server.delegate_to_client("x.y.z", &foreigner, "a").await;
    assert_eq!(answer.text, dead.text, "it learns nothing of another tenant's token");
}
