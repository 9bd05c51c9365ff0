//! Workloads that present the token of a platform instead of a secret.

use crate::party::JWT_BEARER;
use crate::server::{Answer, ISSUER, Server};
use crate::signer::{Signer, with};
use crate::tools::{assert_error, claims};
use serde_json::{Value, json};

/// A platform: an issuer's name and its key.
#[derive(Clone)]
pub struct Platform {
    pub issuer: String,
    pub signer: Signer,
}

/// The token of a workload, as its platform's shape has it.
pub const GITHUB: &str = "https://token.actions.githubusercontent.com";
pub const SUBJECT: &str = "repo:acme/shop:ref:refs/heads/main";
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Platform {
    pub fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), signer: Signer::new() }
    }

    /// Its keys, this one under the name `k1`.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [with(&self.signer.jwk(), &json!({ "kid": "k1", "alg": "ES256", "use": "sig" }))] })
    }

    pub fn claims(&self, server: &Server) -> Value {
        let now = server.app.clock.now();
        let iat = now.unix_timestamp();
        let jti = chancery::kit::ids::new(now).unwrap().to_string();
        json!({
            "iss": self.issuer, "sub": SUBJECT, "aud": ISSUER, "iat": iat, "nbf": iat, "exp": iat + 300, "jti": jti,
            "repository_owner_id": "1234567",
        })
    }

    /// A fresh token with some claims changed; `null` removes one.
    pub fn token(&self, server: &Server, changes: &Value) -> String {
        self.signer
            .jws(&json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" }), &with(&self.claims(server), changes))
    }
}

impl Server {
    /// Registers a trusted issuer of acme/demo with inline keys; `more` is added to the body.
    pub async fn trust(&self, platform: &Platform, more: Value) -> Answer {
        let body = with(&json!({ "issuer": platform.issuer, "jwks": platform.jwks() }), &more);
        self.admin("POST", "/trusted-issuers").json(body).send().await
    }

    /// Links a subject of an issuer to an agent.
    pub async fn link_subject(&self, issuer: &str, subject: &str, agent: &str) -> Answer {
        let body = json!({ "subject": subject, "identity_id": agent });
        self.admin("POST", &format!("/trusted-issuers/{issuer}/subjects")).json(body).send().await
    }

    /// Presents a workload's token as the SDK does.
    pub async fn federate(&self, token: &str, scope: &str) -> Answer {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", TYPE),
            ("client_assertion", token),
            ("scope", scope),
        ];
        self.post("/oauth2/token").form(&form).send().await
    }

    /// Presents it as an assertion.
    pub async fn federate_as_assertion(&self, token: &str) -> Answer {
        self.post("/oauth2/token").form(&[("grant_type", JWT_BEARER), ("assertion", token)]).send().await
    }
}

/// What every grant needs.
pub async fn open_policy(server: &Server) -> String {
    let body = json!({
        "name": "all", "allowed_grant_types": ["client_credentials", "jwt_bearer", "token_exchange", "api_key"],
        "max_delegation_depth": 3,
    });
    server.admin("POST", "/credential-policies").json(body).send().await.expect(201).text_of("id").to_owned()
}

/// An issuer with inline keys whose subject is linked to an agent: both ids.
pub async fn trusted(server: &Server, platform: &Platform, more: Value) -> (String, String) {
    let policy = open_policy(server).await;
    let agent = server
        .register("shop", json!({ "credential_policy_id": policy, "allowed_scopes": ["a", "b"] }))
        .await;
    let agent = agent.expect(201).body["identity"]["id"].as_str().unwrap().to_owned();
    let issuer = server.trust(platform, more).await.expect(201).text_of("id").to_owned();
    server.link_subject(&issuer, SUBJECT, &agent).await.expect(201);
    (issuer, agent)
}

#[tokio::test]
async fn a_workload_obtains_tokens_of_its_agent_by_both_grants() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let (issuer, agent) = trusted(&server, &platform, json!({})).await;
    let answer = server.federate(&platform.token(&server, &json!({})), "a z").await.expect(200);
    assert_eq!((answer.text_of("scope"), answer.text_of("external_id")), ("a", "shop"));
    let token = answer.token();
    let said = claims(&token);
    assert_eq!((&said["grant_type"], &said["external_id"]), (&json!("client_credentials"), &json!("shop")));
    assert!(said["sub"].as_str().unwrap().ends_with("/shop"));
    assert!(server.is_active(&token).await);
    let token = server.federate_as_assertion(&platform.token(&server, &json!({}))).await.token();
    assert_eq!(claims(&token)["grant_type"], "jwt_bearer");
    let (actor, facts): (String, Value) = sqlx::query_as(
        "select actor_type, metadata from audit_events where action = 'token.issued' order by id limit 1",
    )
    .fetch_one(&server.app.db)
    .await
    .unwrap();
    assert_eq!(actor, "agent");
    assert_eq!(
        (&facts["identity_id"], &facts["trusted_issuer_id"], &facts["external_subject"]),
        (&json!(agent), &json!(issuer), &json!(SUBJECT))
    );
}

#[tokio::test]
async fn a_token_works_once_on_every_server_and_by_every_grant() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let replica = server.replica().await;
    trusted(&server, &platform, json!({})).await;
    let once = platform.token(&server, &json!({}));
    server.federate(&once, "a").await.expect(200);
    assert_error(&server.federate(&once, "a").await, 400, "invalid_grant");
    assert_error(&replica.federate(&once, "a").await, 400, "invalid_grant");
    assert_error(&replica.federate_as_assertion(&once).await, 400, "invalid_grant");
    // The same jti in other words is the same token.
    let same = json!({ "jti": platform.claims(&server)["jti"] });
    server.federate(&platform.token(&server, &same), "a").await.expect(200);
    let later = with(&same, &json!({ "exp": server.app.clock.now().unix_timestamp() + 200 }));
    assert_error(&replica.federate(&platform.token(&server, &later), "a").await, 400, "invalid_grant");
    assert_eq!(server.count("select count(*) from credentials").await, 2);
}

#[tokio::test]
async fn without_a_jti_it_is_recognised_by_what_was_signed() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    trusted(&server, &platform, json!({})).await;
    let header = json!({ "alg": "ES256", "kid": "k1" });
    let claims = with(&platform.claims(&server), &json!({ "jti": null }));
    server.federate(&platform.signer.jws(&header, &claims), "a").await.expect(200);
    // ECDSA is random: the same content under another good signature.
    assert_error(&server.federate(&platform.signer.jws(&header, &claims), "a").await, 400, "invalid_grant");
    let other = with(&claims, &json!({ "exp": claims["exp"].as_i64().unwrap() + 1 }));
    server.federate(&platform.signer.jws(&header, &other), "a").await.expect(200);
}

#[tokio::test]
async fn of_many_that_present_one_token_at_once_one_obtains_a_token() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let replica = server.replica().await;
    trusted(&server, &platform, json!({})).await;
    let once = platform.token(&server, &json!({}));
    let answers = tokio::join!(
        server.federate(&once, "a"),
        replica.federate(&once, "a"),
        server.federate_as_assertion(&once),
        replica.federate_as_assertion(&once)
    );
    let answers = <[Answer; 4]>::from(answers);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.refusal() == (400, "invalid_grant")).count(), 3);
    assert_eq!(server.count("select count(*) from credentials").await, 1);
}

#[tokio::test]
async fn issuer_audience_life_and_types_are_checked() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let rules = json!({
        "max_lifetime_seconds": 600, "max_age_seconds": 120, "subject_pattern": "repo:acme/*",
        "required_claims": { "repository_owner_id": "1234567" },
    });
    let (issuer, agent) = trusted(&server, &platform, rules).await;
    for other in ["repo:evil/shop", "repo:acme/other"] {
        let answer = server.link_subject(&issuer, other, &agent).await;
        answer.expect(if other.contains("evil") { 400 } else { 201 });
    }
    let at = server.app.clock.now().unix_timestamp();
    for (good, changes) in [
        (true, json!({})),
        (true, json!({ "aud": ["sts.amazonaws.com", ISSUER] })),
        (true, json!({ "exp": at + 600 })),
        (true, json!({ "iat": at - 149 })),
        (true, json!({ "iat": at - 100, "exp": at - 29 })),
        (true, json!({ "iat": at + 30, "nbf": at + 30 })),
        (true, json!({ "sub": "repo:acme/other" })),
        (false, json!({ "exp": at + 601 })),
        (false, json!({ "iat": at - 150 })),
        (false, json!({ "iat": at - 100, "exp": at - 30 })),
        (false, json!({ "iat": at + 31 })),
        (false, json!({ "nbf": at + 31 })),
        (false, json!({ "aud": "https://neighbour.example" })),
        (false, json!({ "aud": ["https://neighbour.example"] })),
        (false, json!({ "aud": format!("{ISSUER}/") })),
        (false, json!({ "aud": format!("{ISSUER}/oauth2/token") })),
        (false, json!({ "aud": [] })),
        (false, json!({ "aud": vec![ISSUER; 17] })),
        (false, json!({ "aud": ["a\u{0}", ISSUER] })),
        (false, json!({ "iss": "https://token.actions.githubusercontent.com/" })),
        (false, json!({ "iss": "https://TOKEN.actions.githubusercontent.com" })),
        (false, json!({ "iss": "https://other.example" })),
        (false, json!({ "iss": GITHUB.replace("https", "http") })),
        (false, json!({ "sub": "repo:acme/shop" })),
        (false, json!({ "sub": "repo:acme/shop:ref:refs/heads/Main" })),
        (false, json!({ "sub": format!("{SUBJECT} ") })),
        (false, json!({ "sub": "repo:evil/shop" })),
        (false, json!({ "sub": "repo:acme/*" })),
        (false, json!({ "sub": "" })),
        (false, json!({ "sub": "repo:acme/\u{0}" })),
        (false, json!({ "repository_owner_id": "7654321" })),
        (false, json!({ "repository_owner_id": 1_234_567 })),
        (false, json!({ "repository_owner_id": ["1234567"] })),
        (false, json!({ "repository_owner_id": null })),
    ] {
        let answer = server.federate(&platform.token(&server, &changes), "a").await;
        if good {
            assert_eq!(answer.status, 200, "{changes}: {}", answer.text);
        } else {
            assert_eq!(answer.refusal(), (401, "invalid_client"), "{changes}: {}", answer.text);
            let answer = server.federate_as_assertion(&platform.token(&server, &changes)).await;
            assert_eq!(answer.refusal(), (400, "invalid_grant"), "{changes}: {}", answer.text);
        }
    }
    for name in ["iss", "sub", "aud", "exp", "iat"] {
        for value in [Value::Null, json!({}), json!(true), json!([7]), json!(-1), json!(1e40), json!("x y")] {
            let answer = server.federate(&platform.token(&server, &json!({ name: value })), "a").await;
            assert_eq!(answer.refusal(), (401, "invalid_client"), "{name} {value}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn algorithm_and_key_are_the_issuers() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let (issuer, _) = trusted(&server, &platform, json!({ "algorithms": ["ES256"] })).await;
    let mallory = Signer::new();
    let claims = || platform.claims(&server);
    let by = |header: Value| platform.signer.jws(&header, &claims());
    let jwk = mallory.jwk();
    for (why, token) in [
        ("another key", mallory.jws(&json!({ "alg": "ES256", "kid": "k1" }), &claims())),
        (
            "another key, that the header holds",
            mallory.jws(&json!({ "alg": "ES256", "jwk": jwk }), &claims()),
        ),
        (
            "a key elsewhere",
            mallory.jws(&json!({ "alg": "ES256", "jku": "https://evil.example/jwks" }), &claims()),
        ),
        (
            "a certificate",
            mallory.jws(&json!({ "alg": "ES256", "x5u": "https://evil.example", "x5c": ["x"] }), &claims()),
        ),
        ("no algorithm", by(json!({ "alg": "none", "kid": "k1" }))),
        ("a symmetric one", by(json!({ "alg": "HS256", "kid": "k1" }))),
        ("another one", by(json!({ "alg": "RS256", "kid": "k1" }))),
        ("another curve", by(json!({ "alg": "ES384", "kid": "k1" }))),
        ("another spelling", by(json!({ "alg": "es256", "kid": "k1" }))),
        ("an unknown kid", by(json!({ "alg": "ES256", "kid": "k2" }))),
        ("a kid that is a path", by(json!({ "alg": "ES256", "kid": "../../k1" }))),
        ("a critical extension", by(json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false }))),
        ("another type", by(json!({ "alg": "ES256", "kid": "k1", "typ": "at+jwt" }))),
        ("a proof", by(json!({ "alg": "ES256", "kid": "k1", "typ": "dpop+jwt" }))),
        ("a secret event", by(json!({ "alg": "ES256", "kid": "k1", "typ": "secevent+jwt" }))),
    ] {
        assert_eq!(server.federate(&token, "a").await.refusal(), (401, "invalid_client"), "{why}");
        assert_eq!(server.federate_as_assertion(&token).await.refusal(), (400, "invalid_grant"), "{why}");
    }
    for header in [
        json!({ "alg": "ES256" }),
        json!({ "alg": "ES256", "kid": "k1", "jwk": jwk, "jku": "https://e.example" }),
    ] {
        server.federate(&by(header), "a").await.expect(200);
    }
    // The entry's algorithms bind also where the key could do more.
    let path = format!("/trusted-issuers/{issuer}");
    server.admin("PATCH", &path).json(json!({ "algorithms": ["RS256"] })).send().await.expect(200);
    assert_error(&server.federate(&platform.token(&server, &json!({})), "a").await, 401, "invalid_client");
}

#[tokio::test]
async fn what_is_presented_beside_it_is_refused() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    trusted(&server, &platform, json!({})).await;
    let token = platform.token(&server, &json!({}));
    let ask = async |more: &[(&str, &str)]| {
        let own = [("grant_type", "client_credentials"), ("client_assertion", token.as_str())];
        server.post("/oauth2/token").form(&[&own[..], more].concat()).send().await
    };
    assert_error(&ask(&[]).await, 400, "invalid_request");
    assert_error(&ask(&[("client_assertion_type", "urn:x")]).await, 400, "invalid_request");
    let typed = ("client_assertion_type", TYPE);
    assert_error(&ask(&[typed, ("client_secret", "x"), ("client_id", "y")]).await, 400, "invalid_request");
    assert_error(&ask(&[typed, ("client_id", SUBJECT)]).await, 401, "invalid_client");
    ask(&[typed]).await.expect(200);
    // A workload is no client: it neither looks at tokens nor ends them.
    for path in ["/oauth2/token/introspect", "/oauth2/token/revoke"] {
        let fresh = platform.token(&server, &json!({}));
        let form = [("token", "x"), ("client_assertion", &fresh), typed];
        assert_error(&server.post(path).form(&form).send().await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn the_state_of_entry_link_agent_and_tenant_is_asked_each_time() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let replica = server.replica().await;
    let (issuer, agent) = trusted(&server, &platform, json!({})).await;
    let path = format!("/trusted-issuers/{issuer}");
    let ask = async || replica.federate(&platform.token(&server, &json!({})), "a").await;
    let token = ask().await.token();
    server.admin("PATCH", &path).json(json!({ "is_active": false })).send().await.expect(200);
    assert_error(&ask().await, 401, "invalid_client");
    server.admin("PATCH", &path).json(json!({ "is_active": true })).send().await.expect(200);
    ask().await.expect(200);
    let subjects = server.admin("GET", &format!("{path}/subjects")).send().await.expect(200).body;
    let link = format!("{path}/subjects/{}", subjects["subjects"][0]["id"].as_str().unwrap());
    server.admin("DELETE", &link).send().await.expect(200);
    assert_error(&ask().await, 401, "invalid_client");
    server.link_subject(&issuer, SUBJECT, &agent).await.expect(201);
    ask().await.expect(200);
    for (way, status) in [("deactivate", "deactivated"), ("activate", "active")] {
        let answer =
            server.admin("POST", &format!("/agents/registry/{agent}/{way}")).send().await.expect(200);
        assert_eq!(answer.text_of("status"), status);
        let answer = ask().await;
        if way == "activate" { drop(answer.expect(200)) } else { assert_error(&answer, 400, "invalid_grant") }
    }
    let set = async |state: &str| {
        sqlx::query("update tenants set state = $1").bind(state).execute(&server.app.db).await.unwrap();
    };
    set("suspended").await;
    assert_error(&ask().await, 400, "invalid_grant");
    set("active").await;
    server.admin("DELETE", &path).send().await.expect(200);
    assert_error(&ask().await, 401, "invalid_client");
    assert_eq!(server.count("select count(*) from linked_subjects").await, 0);
    assert!(!server.is_active(&token).await, "the deactivation ended what came before");
}
