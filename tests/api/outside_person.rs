//! A person's ID token as the subject token of an exchange: a client to which that person agreed acts in their name.

use serde_json::{Value, json};

use crate::federation::{Platform, open_policy};
use crate::outside_subject::ID_TOKEN;
use crate::party::Program;
use crate::server::{Answer, ISSUER, Server};
use crate::signer::with;
use crate::tools::{assert_error, claims, credentials};

/// Where people log in, and what it calls them.
pub const IDP: &str = "https://login.example";
pub const ADA: &str = "00u1ada";

/// People's identity provider, a person whom it knows, a client bound to an agent, and their consent.
pub struct Stage {
    pub server: Server,
    pub idp: Platform,
    pub entry: String,
    pub ada: String,
    pub client: Program,
    pub consent: String,
}

impl Stage {
    pub async fn new() -> Self {
        let (server, idp) = (Server::new().await, Platform::new(IDP));
        let policy = open_policy(&server).await;
        let more = json!({ "credential_policy_id": policy, "allowed_scopes": ["a", "b"] });
        let agent = server.party("assistant", more).await;
        let client = server.program("app", &agent.id, json!({})).await;
        let ada = server.person("u-ada").await;
        let entry = server.trust(&idp, json!({ "audience": "app-at-idp" })).await.expect(201);
        let entry = entry.text_of("id").to_owned();
        let link = json!({ "subject": ADA, "user_id": ada });
        server
            .admin("POST", &format!("/trusted-issuers/{entry}/subjects"))
            .json(link)
            .send()
            .await
            .expect(201);
        let consent = agree(&server, &ada, "app", "a c").await;
        Self { server, idp, entry, ada, client, consent }
    }

    /// A fresh ID token with some claims changed.
    pub fn token(&self, changes: &Value) -> String {
        let own = json!({ "sub": ADA, "aud": "app-at-idp", "azp": "app-at-idp", "nonce": "n", "jti": null });
        // Without a jti it is told from others by what it says.
        let serial = json!({ "sid": chancery::kit::ids::new(self.server.app.clock.now()).unwrap() });
        self.idp.token(&self.server, &with(&with(&own, &serial), changes))
    }

    async fn ask(&self, changes: &Value) -> Answer {
        self.server.exchange_outside_by(&self.client, &self.token(changes), &[]).await
    }
}

async fn agree(server: &Server, person: &str, client: &str, scope: &str) -> String {
    let body = json!({ "user_id": person, "client_id": client, "scope": scope });
    let made = server.admin("POST", "/admin/consents").json(body).send().await;
    assert!(made.status.is_success(), "{}", made.text);
    made.text_of("id").to_owned()
}

#[tokio::test]
async fn a_client_acts_in_the_name_of_a_person_who_agreed() {
    let stage = Stage::new().await;
    let Stage { server, .. } = &stage;
    // The person agreed to a and c, the agent may a and b, the client a, b and c.
    let token = server
        .exchange_outside_by(&stage.client, &stage.token(&json!({})), &[("scope", "a b c")])
        .await
        .token();
    let said = claims(&token);
    assert_eq!(
        (&said["sub"], &said["user_id"], &said["scope"]),
        (&json!("u-ada"), &json!("u-ada"), &json!("a"))
    );
    assert_eq!((&said["principal_type"], &said["client_id"]), (&json!("user"), &json!("app")));
    assert_eq!(said["act"]["sub"], "spiffe://chancery.localhost/acme/demo/agent/assistant");
    assert!(server.is_active(&token).await);
    // Who names no scope gets what was agreed to, as by a code.
    let all = server.exchange_outside_by(&stage.client, &stage.token(&json!({})), &[("scope", "")]).await;
    assert_eq!(all.expect(200).text_of("scope"), "a");
    let actor = server.party("actor", json!({})).await;
    let below = server.delegate(&token, &actor, "a").await.token();
    assert_eq!((&claims(&below)["sub"], &claims(&below)["act"]["sub"]), (&json!("u-ada"), &json!(actor.uri)));
    let (actor_type, facts): (String, Value) = sqlx::query_as(
        "select actor_type, metadata from audit_events where action = 'token.issued' and metadata ? 'trusted_issuer_id'",
    )
    .fetch_one(&server.app.db)
    .await
    .unwrap();
    assert_eq!((actor_type.as_str(), &facts["user_id"]), ("client", &json!("u-ada")));
    assert_eq!((&facts["trusted_issuer_id"], &facts["external_subject"]), (&json!(stage.entry), &json!(ADA)));
    // With the consent it ends.
    let replica = server.replica().await;
    let path = format!("/admin/oauth/consents/{}", stage.consent);
    server.admin("DELETE", &path).send().await.expect(200);
    for token in [&token, &below] {
        assert!(!replica.is_active(token).await);
    }
    assert_error(&stage.ask(&json!({})).await, 403, "access_denied");
}

#[tokio::test]
async fn a_persons_token_is_of_no_use_to_anybody_else() {
    let stage = Stage::new().await;
    let Stage { server, .. } = &stage;
    let fresh = || stage.token(&json!({}));
    let (other, _) = server.agent("other").await;
    let stranger = server.program("stranger", &other, json!({})).await;
    assert_error(&server.exchange_outside_by(&stranger, &fresh(), &[]).await, 403, "access_denied");
    let none = json!({ "client_id": "none", "name": "none", "confidential": true, "scopes": ["a"],
        "grant_types": ["token_exchange"] });
    let none = server.admin("POST", "/oauth/clients").json(none).send().await.expect(201);
    let none = Program {
        id: String::new(),
        client_id: "none".to_owned(),
        secret: none.text_of("client_secret").to_owned(),
    };
    agree(server, &stage.ada, "none", "a").await;
    assert_error(&server.exchange_outside_by(&none, &fresh(), &[]).await, 400, "unauthorized_client");
    assert_error(&server.exchange_outside(&fresh(), ID_TOKEN, &[]).await, 400, "invalid_request");
    server.program_of_people("public", json!({ "grant_types": ["token_exchange"] })).await;
    let answer = server.exchange_outside(&fresh(), ID_TOKEN, &[("client_id", "public")]).await;
    assert_error(&answer, 400, "invalid_request");
    assert_error(&server.federate(&fresh(), "a").await, 401, "invalid_client");
    assert_error(&server.federate_as_assertion(&fresh()).await, 400, "invalid_grant");
    for more in [[("scope", "z")], [("scope", "c")], [("scope", "b")]] {
        assert_error(&server.exchange_outside_by(&stage.client, &fresh(), &more).await, 400, "invalid_scope");
    }
    let far = [("resource", "https://elsewhere.example")];
    assert_error(&server.exchange_outside_by(&stage.client, &fresh(), &far).await, 400, "invalid_target");
    let key = server.admin_key(Some(("evil", "corp")), &["nhi:manage"]).await;
    let body = json!({ "name": "e", "external_id": "e", "created_by": "e@evil.example" });
    let evil = server.call("POST", "/agents/register").bearer(&key).json(body).send().await.expect(201);
    let body = json!({ "client_id": "evil", "name": "evil", "confidential": true, "scopes": ["a"],
        "identity_id": evil.body["identity"]["id"], "grant_types": ["token_exchange"] });
    let evil = server.call("POST", "/oauth/clients").bearer(&key).json(body).send().await.expect(201);
    let evil = Program {
        id: String::new(),
        client_id: "evil".to_owned(),
        secret: evil.text_of("client_secret").to_owned(),
    };
    assert_error(&server.exchange_outside_by(&evil, &fresh(), &[]).await, 403, "access_denied");
    assert_eq!(credentials(server).await, 0);
    stage.ask(&json!({})).await.expect(200);
}

#[tokio::test]
async fn what_an_id_token_says_of_its_party_and_person_is_checked() {
    let stage = Stage::new().await;
    let Stage { server, .. } = &stage;
    for (good, changes) in [
        (true, json!({})),
        (true, json!({ "azp": null })),
        (true, json!({ "aud": ["app-at-idp", "api"] })),
        (false, json!({ "aud": ["app-at-idp", "api"], "azp": null })),
        (false, json!({ "aud": ["app-at-idp", "api"], "azp": "api" })),
        (false, json!({ "azp": "another-app" })),
        (false, json!({ "azp": ["app-at-idp"] })),
        (false, json!({ "azp": 7 })),
        (false, json!({ "aud": "another-app", "azp": "another-app" })),
        (false, json!({ "aud": ISSUER })),
        (false, json!({ "sub": "00u2bob" })),
        (false, json!({ "sub": "u-ada" })),
        (false, json!({ "cnf": { "kid": "x" } })),
    ] {
        let answer = stage.ask(&changes).await;
        let wanted = if good { (200, "") } else { (400, "invalid_grant") };
        assert_eq!(answer.refusal(), wanted, "{changes}: {}", answer.text);
    }
    for (status, may_act) in [
        (200, json!({ "sub": "app" })),
        (200, json!(["x", "spiffe://chancery.localhost/acme/demo/agent/assistant"])),
        (403, json!({ "sub": "other" })),
        (403, json!([])),
    ] {
        let answer = stage.ask(&json!({ "may_act": may_act })).await;
        assert_eq!(answer.status, status, "{may_act}: {}", answer.text);
    }
    let once = stage.token(&json!({}));
    server.exchange_outside_by(&stage.client, &once, &[]).await.expect(200);
    assert_error(&server.exchange_outside_by(&stage.client, &once, &[]).await, 400, "invalid_grant");
    let token = stage.ask(&json!({})).await.token();
    server.admin("DELETE", &format!("/users/{}", stage.ada)).send().await.expect(204);
    assert!(!server.is_active(&token).await);
    assert_error(&stage.ask(&json!({})).await, 400, "invalid_grant");
    server.admin("POST", &format!("/users/{}/activate", stage.ada)).send().await.expect(200);
    stage.ask(&json!({})).await.expect(200);
    assert!(!server.is_active(&token).await);
}

#[tokio::test]
async fn a_subject_is_linked_to_an_agent_or_a_person_of_the_tenant() {
    let stage = Stage::new().await;
    let Stage { server, entry, .. } = &stage;
    let (agent, _) = server.agent("one").await;
    let path = format!("/trusted-issuers/{entry}/subjects");
    let link = async |body: Value| {
        server.admin("POST", &path).json(with(&body, &json!({ "subject": "x" }))).send().await
    };
    link(json!({})).await.expect(400);
    link(json!({ "identity_id": agent, "user_id": stage.ada })).await.expect(400);
    link(json!({ "user_id": agent })).await.expect(404);
    link(json!({ "identity_id": stage.ada })).await.expect(400);
    let theirs = json!({ "user_id": "u-eve", "email": "eve@x.example" });
    let theirs = server.post("/users").tenant("evil", "corp").json(theirs).send().await.expect(201);
    link(json!({ "user_id": theirs.text_of("id") })).await.expect(404);
    let made = link(json!({ "user_id": stage.ada })).await.expect(201).body;
    assert_eq!((&made["user_id"], made.get("identity_id")), (&json!(stage.ada), None));
    link(json!({ "identity_id": agent })).await.expect(409);
    let listed = server.admin("GET", &path).send().await.expect(200).body;
    assert!(listed["subjects"].as_array().unwrap().contains(&made));
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(server.admin("DELETE", &one).send().await.expect(200).body, made);
}
