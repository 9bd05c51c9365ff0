//! The token of a workload as the subject token of an exchange: one of its own agent comes of it.

use serde_json::{Value, json};

use crate::federation::{GITHUB, Platform, SUBJECT, trusted};
use crate::party::{Program, TOKEN_EXCHANGE};
use crate::server::{Answer, ISSUER, Server};
use crate::signer::Signer;
use crate::tools::{assert_error, claims, credentials};

pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

impl Server {
    /// Exchanges a token from outside; `more` is added.
    pub async fn exchange_outside(&self, token: &str, kind: &str, more: &[(&str, &str)]) -> Answer {
        let own = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", kind),
            ("scope", "a"),
        ];
        let kept = own.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let form: Vec<_> = kept.chain(more.iter().copied()).collect();
        self.post("/oauth2/token").form(&form).send().await
    }

    /// The same by a client with a secret.
    pub async fn exchange_outside_by(&self, program: &Program, token: &str, more: &[(&str, &str)]) -> Answer {
        let own = [("client_id", program.client_id.as_str()), ("client_secret", program.secret.as_str())];
        self.exchange_outside(token, ID_TOKEN, &[&own[..], more].concat()).await
    }
}

#[tokio::test]
async fn a_workload_exchanges_its_token_for_one_of_its_agent() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let (issuer, agent) = trusted(&server, &platform, json!({})).await;
    for kind in [JWT, ID_TOKEN] {
        let answer =
            server.exchange_outside(&platform.token(&server, &json!({})), kind, &[("scope", "a z")]).await;
        let answer = answer.expect(200);
        assert_eq!(answer.text_of("issued_token_type"), "urn:ietf:params:oauth:token-type:access_token");
        assert_eq!((answer.text_of("scope"), answer.text_of("external_id")), ("a", "shop"));
        let token = answer.token();
        let said = claims(&token);
        assert_eq!(said["grant_type"], "token_exchange");
        assert!(said.get("delegation_depth").is_none() && said.get("act").is_none(), "it is the agent's own");
        assert!(server.is_active(&token).await);
    }
    let facts: Value =
        sqlx::query_scalar("select metadata from audit_events where action = 'token.issued' limit 1")
            .fetch_one(&server.app.db)
            .await
            .unwrap();
    assert_eq!(
        (&facts["identity_id"], &facts["trusted_issuer_id"], &facts["external_subject"]),
        (&json!(agent), &json!(issuer), &json!(SUBJECT))
    );
}

#[tokio::test]
async fn nothing_is_granted_by_default_and_nobody_else_stands_beside_a_workload() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let (_, agent) = trusted(&server, &platform, json!({})).await;
    let (other, _) = server.agent("other").await;
    let (own, foreign) =
        (server.program("own", &agent, json!({})).await, server.program("foreign", &other, json!({})).await);
    let fresh = || platform.token(&server, &json!({}));
    for scope in ["", "z"] {
        let answer = server.exchange_outside(&fresh(), JWT, &[("scope", scope)]).await;
        assert_error(&answer, 400, "invalid_scope");
    }
    assert_error(&server.exchange_outside_by(&foreign, &fresh(), &[]).await, 400, "invalid_request");
    let actor = server.party("actor", json!({})).await;
    let assertion = server.assertion(&actor);
    let answer = server.exchange_outside(&fresh(), JWT, &[("actor_token", &assertion)]).await;
    assert_error(&answer, 400, "invalid_request");
    server.exchange_outside_by(&own, &fresh(), &[]).await.expect(200);
    // What the policy of the agent does not allow.
    let narrow =
        "update credential_policies set allowed_grant_types = '{client_credentials}' where name = 'all'";
    assert_eq!(server.run_sql(narrow).await, 1);
    let answer = server.exchange_outside(&fresh(), JWT, &[]).await;
    assert_error(&answer, 400, "policy_violation");
    server.federate(&fresh(), "a").await.expect(200);
}

/// One token works once, whatever it is presented as.
#[tokio::test]
async fn a_token_is_used_up_across_all_grants_and_servers() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let replica = server.replica().await;
    trusted(&server, &platform, json!({})).await;
    let once = platform.token(&server, &json!({}));
    let answers = tokio::join!(
        server.exchange_outside(&once, JWT, &[]),
        replica.exchange_outside(&once, ID_TOKEN, &[]),
        server.federate(&once, "a"),
        replica.federate_as_assertion(&once),
    );
    let answers = <[Answer; 4]>::from(answers);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.refusal() == (400, "invalid_grant")).count(), 3);
    assert_error(&replica.exchange_outside(&once, JWT, &[]).await, 400, "invalid_grant");
    assert_eq!(credentials(&server).await, 1);
}

#[tokio::test]
async fn every_rule_of_the_entry_binds_a_subject_token_too() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let rules = json!({
        "algorithms": ["ES256"], "max_lifetime_seconds": 600, "max_age_seconds": 120, "subject_pattern": "repo:acme/*",
        "required_claims": { "repository_owner_id": "1234567" },
    });
    trusted(&server, &platform, rules).await;
    let at = server.app.clock.now().unix_timestamp();
    let mallory = Signer::new();
    let by = |header: Value| platform.signer.jws(&header, &platform.claims(&server));
    let changed = |changes: Value| platform.token(&server, &changes);
    let ours = server.token(&server.agent("other").await.1).await;
    let tokens = [
        ("an unknown issuer", changed(json!({ "iss": "https://other.example" }))),
        ("another audience", changed(json!({ "aud": "https://neighbour.example" }))),
        ("another tenant's audience", changed(json!({ "aud": format!("{ISSUER}/tenants/evil/corp") }))),
        ("no audience", changed(json!({ "aud": null }))),
        ("its end", changed(json!({ "iat": at - 100, "exp": at - 30 }))),
        ("no end", changed(json!({ "exp": null }))),
        ("too long a life", changed(json!({ "exp": at + 601 }))),
        ("too old", changed(json!({ "iat": at - 150 }))),
        ("not yet", changed(json!({ "nbf": at + 31 }))),
        ("another owner", changed(json!({ "repository_owner_id": "7654321" }))),
        ("no owner", changed(json!({ "repository_owner_id": null }))),
        ("an unmatched subject", changed(json!({ "sub": "repo:evil/shop" }))),
        ("an unlinked subject", changed(json!({ "sub": "repo:acme/other" }))),
        ("a key that is bound otherwise", changed(json!({ "cnf": { "x5t#S256": "x" } }))),
        ("another key", mallory.jws(&json!({ "alg": "ES256", "kid": "k1" }), &platform.claims(&server))),
        (
            "a key in the header",
            mallory.jws(&json!({ "alg": "ES256", "jwk": mallory.jwk() }), &platform.claims(&server)),
        ),
        ("no algorithm", by(json!({ "alg": "none", "kid": "k1" }))),
        ("a symmetric one", by(json!({ "alg": "HS256", "kid": "k1" }))),
        ("an algorithm of another key", by(json!({ "alg": "RS256", "kid": "k1" }))),
        ("an unknown kid", by(json!({ "alg": "ES256", "kid": "k2" }))),
        ("an access token by its type", by(json!({ "alg": "ES256", "kid": "k1", "typ": "at+jwt" }))),
        (
            "no signature",
            by(json!({ "alg": "ES256" })).rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap(),
        ),
    ];
    let before = credentials(&server).await;
    for (why, token) in &tokens {
        for kind in [JWT, ID_TOKEN] {
            let answer = server.exchange_outside(token, kind, &[]).await;
            assert_eq!(answer.refusal(), (400, "invalid_grant"), "{why} {kind}: {}", answer.text);
            assert!(!answer.text.contains(token.as_str()));
        }
    }
    // Our own is no ID token, and somebody else's is no access token here.
    assert_error(&server.exchange_outside(&ours, ID_TOKEN, &[]).await, 400, "invalid_request");
    let good = changed(json!({}));
    let access = "urn:ietf:params:oauth:token-type:access_token";
    let shop = server.admin("GET", "/agents/registry").send().await.expect(200).body;
    let shop =
        shop["agents"].as_array().unwrap().iter().find(|one| one["external_id"] == "shop").unwrap()["id"]
            .clone();
    let client = server.program("own", shop.as_str().unwrap(), json!({})).await;
    let answer = server.exchange_outside_by(&client, &good, &[("subject_token_type", access)]).await;
    assert_error(&answer, 400, "invalid_grant");
    let untyped = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", &good),
        ("scope", "a"),
        ("client_id", "own"),
        ("client_secret", &client.secret),
    ];
    assert_error(&server.post("/oauth2/token").form(&untyped).send().await, 400, "invalid_grant");
    assert_eq!(credentials(&server).await, before, "none of it obtained anything");
    server.exchange_outside(&good, JWT, &[]).await.expect(200);
}

#[tokio::test]
async fn another_tenants_issuer_is_nobodys_here() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let key = server.admin_key(Some(("evil", "corp")), &["nhi:manage"]).await;
    trusted(&server, &platform, json!({})).await;
    let forger = Platform::new(GITHUB);
    let body = json!({ "issuer": GITHUB, "jwks": forger.jwks() });
    server.call("POST", "/trusted-issuers").bearer(&key).json(body).send().await.expect(201);
    for aud in [json!(ISSUER), json!([ISSUER, format!("{ISSUER}/tenants/evil/corp")])] {
        let token = forger.token(&server, &json!({ "aud": aud }));
        assert_error(&server.exchange_outside(&token, JWT, &[]).await, 400, "invalid_grant");
    }
}

/// Whatever takes the trust back ends what it obtained, with all below, on every server.
#[tokio::test]
async fn what_a_subject_obtained_ends_with_the_trust_in_it() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let replica = server.replica().await;
    let (issuer, agent) = trusted(&server, &platform, json!({})).await;
    let path = format!("/trusted-issuers/{issuer}");
    let actor = server.party("actor", json!({})).await;
    let obtain = async || {
        let fresh = || platform.token(&server, &json!({}));
        let root = server.exchange_outside(&fresh(), JWT, &[]).await.token();
        let below = server.delegate(&root, &actor, "a").await.token();
        let jti = claims(&root)["jti"].as_str().unwrap().to_owned();
        let rotated = server.federate(&fresh(), "a").await.token();
        let rotated = format!("/credentials/{}/rotate", claims(&rotated)["jti"].as_str().unwrap());
        let rotated = server.admin("POST", &rotated).send().await.expect(201);
        let tokens = [
            root,
            below,
            server.federate_as_assertion(&fresh()).await.token(),
            rotated.body["token"]["access_token"].as_str().unwrap().to_owned(),
        ];
        (tokens, jti)
    };
    let expect = async |tokens: &[String; 4], stand: bool, when: &str| {
        for (at, token) in tokens.iter().enumerate() {
            assert_eq!(replica.is_active(token).await, stand, "{when}: {at}");
        }
    };
    for (reason, method) in [
        ("trusted_issuer_stopped", "PATCH"),
        ("subject_unlinked", "UNLINK"),
        ("trusted_issuer_deleted", "DELETE"),
    ] {
        let (tokens, jti) = obtain().await;
        expect(&tokens, true, reason).await;
        match method {
            "PATCH" => {
                // What does not stop it ends nothing, and trusting it again wakes nothing.
                server
                    .admin("PATCH", &path)
                    .json(json!({ "name": "x", "is_active": true }))
                    .send()
                    .await
                    .expect(200);
                expect(&tokens, true, "renamed").await;
                for is_active in [false, true] {
                    let patch = json!({ "is_active": is_active });
                    server.admin("PATCH", &path).json(patch).send().await.expect(200);
                }
            }
            "UNLINK" => {
                let all = server.admin("GET", &format!("{path}/subjects")).send().await.expect(200).body;
                let link = all["subjects"][0]["id"].as_str().unwrap().to_owned();
                server.admin("DELETE", &format!("{path}/subjects/{link}")).send().await.expect(200);
                server.link_subject(&issuer, SUBJECT, &agent).await.expect(201);
            }
            _ => drop(server.admin("DELETE", &path).send().await.expect(200)),
        }
        expect(&tokens, false, reason).await;
        let row = server.admin("GET", &format!("/credentials/{jti}")).send().await.expect(200).body;
        assert_eq!((&row["is_revoked"], &row["revoke_reason"]), (&json!(true), &json!(reason)));
        // Nothing more hangs itself below.
        assert_error(&server.delegate(&tokens[0], &actor, "a").await, 400, "invalid_grant");
    }
    chancery::tokens::worker::announce(&server.app).await.unwrap();
    let events = "select count(*) from outbox where event_type = 'credential.revoked'";
    // Three times four, and the one that each rotation replaced.
    assert_eq!(server.count(events).await, 15);
}

#[tokio::test]
async fn a_token_bound_to_a_key_needs_its_proof() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    trusted(&server, &platform, json!({})).await;
    let (own, other) = (Signer::new(), Signer::new());
    let bound = || platform.token(&server, &json!({ "cnf": { "jkt": own.jkt() } }));
    assert_error(&server.exchange_outside(&bound(), JWT, &[]).await, 400, "invalid_dpop_proof");
    assert_error(&server.federate(&bound(), "a").await, 400, "invalid_dpop_proof");
    let ask = async |signer: &Signer| {
        let token = bound();
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &token),
            ("subject_token_type", JWT),
            ("scope", "a"),
        ];
        server
            .post("/oauth2/token")
            .with("DPoP", &signer.proof("POST", "/oauth2/token", server.app.clock.now()))
            .form(&form)
            .send()
            .await
    };
    assert_error(&ask(&other).await, 400, "invalid_dpop_proof");
    assert_eq!(ask(&own).await.expect(200).text_of("token_type"), "DPoP");
}

/// Whatever comes first at the database: no token outlives the trust that ended while it was issued.
#[tokio::test]
async fn a_token_that_is_issued_while_the_trust_ends_does_not_stand() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let replica = server.replica().await;
    let (issuer, agent) = trusted(&server, &platform, json!({})).await;
    let path = format!("/trusted-issuers/{issuer}");
    let (mut issued, mut refused) = (0, 0);
    for round in 0..12 {
        let fresh = || platform.token(&server, &json!({}));
        let (one, two, three) = (fresh(), fresh(), fresh());
        let end = async {
            if round % 2 == 0 {
                let patch = json!({ "is_active": false });
                server.admin("PATCH", &path).json(patch).send().await.expect(200);
            } else {
                let all = server.admin("GET", &format!("{path}/subjects")).send().await.expect(200).body;
                let link = format!("{path}/subjects/{}", all["subjects"][0]["id"].as_str().unwrap());
                server.admin("DELETE", &link).send().await.expect(200);
            }
        };
        let (a, b, (), c) = tokio::join!(
            replica.exchange_outside(&one, JWT, &[]),
            server.federate(&two, "a"),
            end,
            replica.federate_as_assertion(&three),
        );
        for answer in [a, b, c] {
            if answer.status == 200 {
                issued += 1;
                assert!(!replica.is_active(answer.text_of("access_token")).await, "round {round}");
            } else {
                refused += 1;
                assert!(answer.status.is_client_error(), "{}", answer.text);
            }
        }
        if round % 2 == 0 {
            server.admin("PATCH", &path).json(json!({ "is_active": true })).send().await.expect(200);
        } else {
            server.link_subject(&issuer, SUBJECT, &agent).await.expect(201);
        }
    }
    println!("{issued} were issued and did not stand, {refused} were refused");
    assert_eq!(issued + refused, 36);
    server.federate(&platform.token(&server, &json!({})), "a").await.expect(200);
}
