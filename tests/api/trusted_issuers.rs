//! The registration of trusted issuers, and who may not come in between a tenant and its workloads.

use serde_json::{Value, json};

use crate::federation::{GITHUB, Platform, SUBJECT, open_policy, trusted};
use crate::server::{Answer, ISSUER, Server};
use crate::signer::with;
use crate::tools::assert_error;

#[tokio::test]
async fn an_issuer_is_registered_read_changed_and_forgotten() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let made = server.trust(&platform, json!({ "name": "GitHub" })).await.expect(201);
    let path = format!("/trusted-issuers/{}", made.text_of("id"));
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body, made.body);
    let listed = server.admin("GET", "/api/v1/trusted-issuers").send().await.expect(200).body;
    assert_eq!(listed, json!({ "trusted_issuers": [made.body], "total": 1 }));
    let patch = json!({ "jwks_uri": "https://keys.example/jwks", "is_active": false, "max_age_seconds": 60 });
    let changed = server.admin("PATCH", &path).json(patch).send().await.expect(200).body;
    assert_eq!(changed["jwks_uri"], "https://keys.example/jwks");
    assert!(changed.get("jwks").is_none(), "an address takes the place of the keys");
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body, changed);
    let back =
        server.admin("PATCH", &path).json(json!({ "jwks": platform.jwks() })).send().await.expect(200).body;
    assert!(back.get("jwks_uri").is_none() && back["jwks"] == made.body["jwks"]);
    insta::assert_json_snapshot!("entry", made.body, {
        ".id" => "[id]", ".jwks.keys[].x" => "[x]", ".jwks.keys[].y" => "[y]",
    });
    server.admin("DELETE", &path).send().await.expect(200);
    server.admin("GET", &path).send().await.expect(404);
    server.trust(&platform, json!({})).await.expect(201);
    let actions: Vec<String> = server.audit().await.into_iter().map(|row| row.0).collect();
    let expected =
        ["created", "updated", "updated", "deleted", "created"].map(|what| format!("trusted_issuer.{what}"));
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn subjects_are_linked_to_one_agent_listed_and_unlinked() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let (issuer, agent) = trusted(&server, &platform, json!({})).await;
    let (other, _) = server.agent("other").await;
    server.link_subject(&issuer, SUBJECT, &other).await.expect(409);
    server.app.clock.advance(time::Duration::SECOND);
    let second = server.link_subject(&issuer, "repo:acme/tool", &other).await.expect(201).body;
    let path = format!("/trusted-issuers/{issuer}/subjects");
    let listed = server.admin("GET", &path).send().await.expect(200).body;
    assert_eq!((&listed["total"], &listed["subjects"][0]), (&json!(2), &second));
    assert_eq!(listed["subjects"][1]["identity_id"], json!(agent));
    let one = format!("{path}/{}", second["id"].as_str().unwrap());
    assert_eq!(server.admin("DELETE", &one).send().await.expect(200).body, second);
    server.admin("DELETE", &one).send().await.expect(404);
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body["total"], 1);
    for (subject, identity) in
        [("", other.as_str()), ("a\u{0}", &other), ("x", "019b0000-0000-7000-8000-000000000000")]
    {
        server.link_subject(&issuer, subject, identity).await.expect(400);
    }
}

#[tokio::test]
async fn what_could_not_be_fetched_or_verified_is_refused_at_every_mutation() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let made = server.trust(&platform, json!({})).await.expect(201);
    let path = format!("/trusted-issuers/{}", made.text_of("id"));
    let private = with(&platform.signer.jwk(), &json!({ "d": "AAAA" }));
    let unfit = [
        json!({ "jwks_uri": "http://keys.example/jwks" }),
        json!({ "jwks_uri": "https://127.0.0.1/jwks" }),
        json!({ "jwks_uri": "https://169.254.169.254/latest/meta-data" }),
        json!({ "jwks_uri": "https://[::1]/jwks" }),
        json!({ "jwks_uri": "https://2130706433/jwks" }),
        json!({ "jwks_uri": "https://localhost/jwks" }),
        json!({ "jwks_uri": "https://user:hunter2@keys.example/jwks" }),
        json!({ "jwks_uri": "https://10.0.0.1/jwks" }),
        json!({ "jwks_uri": "https://1.1.1.1:6443/jwks" }),
        json!({ "jwks_uri": "https://keys.example/jwks", "jwks": platform.jwks() }),
        json!({ "jwks": { "keys": [] } }),
        json!({ "jwks": { "keys": [private] } }),
        json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }),
        json!({ "algorithms": [] }),
        json!({ "algorithms": ["HS256"] }),
        json!({ "algorithms": ["none"] }),
        json!({ "algorithms": ["ES256", "RS1"] }),
        json!({ "max_lifetime_seconds": 59 }),
        json!({ "max_lifetime_seconds": 86_401 }),
        json!({ "max_age_seconds": 0 }),
        json!({ "max_age_seconds": -1 }),
        json!({ "required_claims": { "a": 1 } }),
        json!({ "required_claims": { "a": ["x"] } }),
        json!({ "subject_pattern": "x".repeat(5000) }),
    ];
    for body in &unfit {
        let answer = server.admin("PATCH", &path).json(body).send().await;
        assert_eq!(answer.status, 400, "PATCH {body}: {}", answer.text);
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        let whole = with(&json!({ "issuer": "https://new.example", "jwks": platform.jwks() }), body);
        let whole = if body.get("jwks_uri").is_some() && body.get("jwks").is_none() {
            with(&whole, &json!({ "jwks": null }))
        } else {
            whole
        };
        let answer = server.admin("POST", "/trusted-issuers").json(&whole).send().await;
        assert_eq!(answer.status, 400, "POST {whole}: {}", answer.text);
    }
    for issuer in [
        "",
        "new.example",
        "http://new.example",
        "https://New.example",
        "https://new.example/#x",
        "https://new.example/?x",
        ISSUER,
    ] {
        let body = json!({ "issuer": issuer, "jwks": platform.jwks() });
        server.admin("POST", "/trusted-issuers").json(body).send().await.expect(400);
    }
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body, made.body, "nothing of it stuck");
    // Issuer and audience are what an entry is.
    let patch = json!({ "issuer": "https://evil.example", "audience": "x", "account_id": "evil" });
    assert_eq!(server.admin("PATCH", &path).json(patch).send().await.expect(200).body["issuer"], GITHUB);
}

/// What an administrator of evil/corp sends.
struct Evil<'a> {
    server: &'a Server,
    key: String,
}

impl Evil<'_> {
    async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.server.call(method, path).bearer(&self.key).json(body).send().await
    }
}

/// Each attack by which another tenant might take a tenant's workload or stand in its way.
#[tokio::test]
async fn another_tenant_neither_takes_nor_blocks_a_workload() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let (entry, agent) = trusted(&server, &platform, json!({})).await;
    let evil = Evil { server: &server, key: server.admin_key(Some(("evil", "corp")), &["nhi:manage"]).await };
    let own = format!("{ISSUER}/tenants/evil/corp");
    let body = json!({ "name": "e", "external_id": "e", "created_by": "e@evil.example" });
    let theirs = evil.send("POST", "/agents/register", body).await.expect(201).body["identity"]["id"].clone();
    let mut board = Vec::new();
    let mut note = |attack: &str, answer: &Answer, status: u16| {
        assert_eq!(answer.status.as_u16(), status, "{attack}: {}", answer.text);
        board.push(format!("{attack}: {status}"));
    };
    let new = |more: Value| with(&json!({ "issuer": GITHUB, "jwks": platform.jwks() }), &more);
    for (attack, audience) in [
        ("the server's issuer as the audience", ISSUER.to_owned()),
        ("the victim's own audience", format!("{ISSUER}/tenants/acme/demo")),
        ("an audience of his choice", "https://evil.example".to_owned()),
    ] {
        note(attack, &evil.send("POST", "/trusted-issuers", new(json!({ "audience": audience }))).await, 403);
    }
    let mine = evil.send("POST", "/trusted-issuers", new(json!({}))).await;
    note("the same issuer with the same keys", &mine, 201);
    assert_eq!(mine.text_of("audience"), own);
    let mine = mine.text_of("id").to_owned();
    let link = json!({ "subject": SUBJECT, "identity_id": theirs });
    note(
        "the same subject for an agent of his",
        &evil.send("POST", &format!("/trusted-issuers/{mine}/subjects"), link.clone()).await,
        201,
    );
    let to_victim = json!({ "subject": "repo:evil/x", "identity_id": agent });
    note(
        "a subject of his for the victim's agent",
        &evil.send("POST", &format!("/trusted-issuers/{mine}/subjects"), to_victim).await,
        400,
    );
    for (attack, method, path, body) in [
        ("a subject at the victim's entry", "POST", format!("/trusted-issuers/{entry}/subjects"), link),
        ("its list of subjects", "GET", format!("/trusted-issuers/{entry}/subjects"), Value::Null),
        ("its keys", "PATCH", format!("/trusted-issuers/{entry}"), json!({ "jwks": platform.jwks() })),
        ("its end", "DELETE", format!("/trusted-issuers/{entry}"), Value::Null),
        ("a look at it", "GET", format!("/trusted-issuers/{entry}"), Value::Null),
    ] {
        note(attack, &evil.send(method, &path, body).await, 404);
    }
    // The victim's workload still acts as the victim's agent.
    let answer = server.federate(&platform.token(&server, &json!({})), "a").await.expect(200);
    assert_eq!((answer.text_of("account_id"), answer.text_of("external_id")), ("acme", "shop"));
    board.push("the victim's token: the victim's agent".to_owned());
    // What his own workload says is his.
    let token = platform.token(&server, &json!({ "aud": own, "sub": SUBJECT }));
    assert_eq!(server.federate(&token, "").await.expect(200).text_of("account_id"), "evil");
    // A token that names both tenants says not whose it is.
    let both = platform.token(&server, &json!({ "aud": [own, ISSUER] }));
    let answer = server.federate(&both, "a").await;
    assert_error(&answer, 401, "invalid_client");
    board.push("a token for both: 401".to_owned());
    // With keys of his own he signs what he likes, and burns no token of the victim's by it.
    let forger = Platform::new(GITHUB);
    evil.send("PATCH", &format!("/trusted-issuers/{mine}"), json!({ "jwks": forger.jwks() }))
        .await
        .expect(200);
    assert_error(&server.federate(&forger.token(&server, &json!({})), "a").await, 401, "invalid_client");
    let good = platform.claims(&server);
    let burnt = forger.token(&server, &json!({ "aud": own, "jti": good["jti"] }));
    assert_eq!(server.federate(&burnt, "").await.expect(200).text_of("account_id"), "evil");
    let same = platform.token(&server, &json!({ "jti": good["jti"] }));
    assert_eq!(server.federate(&same, "a").await.expect(200).text_of("account_id"), "acme");
    board.push("the victim's jti, signed by him and used first: the victim's token still passes".to_owned());
    println!("{}", board.join("\n"));
}

#[tokio::test]
async fn issuer_and_audience_belong_to_one_tenant_whoever_asks() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    server.trust(&platform, json!({})).await.expect(201);
    server.trust(&platform, json!({})).await.expect(409);
    let body = json!({ "issuer": GITHUB, "jwks": platform.jwks() });
    let elsewhere = |body: Value| server.post("/trusted-issuers").tenant("acme", "other").json(body).send();
    elsewhere(body.clone()).await.expect(409);
    for audience in [format!("{ISSUER}/tenants/acme/demo"), "a b".to_owned(), format!("{ISSUER}/tenants/x/y")]
    {
        elsewhere(with(&body, &json!({ "audience": audience }))).await.expect(400);
    }
    let own = format!("{ISSUER}/tenants/acme/other");
    assert_eq!(
        elsewhere(with(&body, &json!({ "audience": own }))).await.expect(201).text_of("audience"),
        own
    );
    // Many at once: one row.
    let other = json!({ "issuer": "https://other.example", "jwks": platform.jwks() });
    let at =
        |project: &'static str| server.post("/trusted-issuers").tenant("acme", project).json(&other).send();
    let answers = tokio::join!(at("p1"), at("p2"), at("p3"), at("p4"));
    let statuses = <[Answer; 4]>::from(answers).map(|answer| answer.status.as_u16());
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 3, "{statuses:?}");
}

#[tokio::test]
async fn nobody_links_or_rekeys_his_way_to_a_reserved_scope() {
    let (server, platform) = (Server::new().await, Platform::new(GITHUB));
    let policy = open_policy(&server).await;
    let more = json!({ "allowed_scopes": ["credentials:manage"], "credential_policy_id": policy });
    let mighty =
        server.register("mighty", more).await.expect(201).body["identity"]["id"].as_str().unwrap().to_owned();
    let entry = server.trust(&platform, json!({})).await.expect(201).text_of("id").to_owned();
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let weak = Evil { server: &server, key };
    let (path, subjects) =
        (format!("/trusted-issuers/{entry}"), format!("/trusted-issuers/{entry}/subjects"));
    let link = json!({ "subject": SUBJECT, "identity_id": mighty });
    weak.send("POST", &subjects, link.clone()).await.expect(403);
    weak.send("PATCH", &path, json!({ "jwks": platform.jwks() })).await.expect(200);
    server.admin("POST", &subjects).json(link).send().await.expect(201);
    for patch in [
        json!({ "jwks": platform.jwks() }),
        json!({ "jwks_uri": "https://evil.example/jwks" }),
        json!({ "algorithms": ["RS256"] }),
        json!({ "subject_pattern": "" }),
        json!({ "required_claims": {} }),
        json!({ "is_active": true }),
    ] {
        let answer = weak.send("PATCH", &path, patch.clone()).await;
        assert_eq!(answer.status, 403, "{patch}: {}", answer.text);
    }
    weak.send("PATCH", &path, json!({ "name": "x", "is_active": false })).await.expect(200);
}
