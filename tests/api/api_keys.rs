//! Making, reading and listing API keys.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;
use crate::tools::{claims, members};

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// What every answer with a key has; `product`, `expires_at`, `revoked_at` and `last_used_at` only when there is one.
const MEMBERS: [&str; 23] = [
    "account_id",
    "created_at",
    "created_by",
    "credential_policy_id",
    "description",
    "environment",
    "id",
    "identity_id",
    "ip_allowlist",
    "key_prefix",
    "key_version",
    "last_used_ip",
    "metadata",
    "name",
    "project_id",
    "rate_limit_rps",
    "replaced_by",
    "revoke_reason",
    "revoked_by",
    "scopes",
    "state",
    "updated_at",
    "usage_count",
];

impl Server {
    /// A page of keys as acme/demo lists them.
    async fn keys(&self, query: &str) -> Value {
        self.admin("GET", &format!("/api-keys{query}")).send().await.expect(200).body
    }
}

/// The names of a list's keys.
fn names(list: &Value) -> Vec<&str> {
    list["keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_key_is_made_for_an_agent_and_its_secret_is_shown_once() {
    let server = Server::new().await;
    let (agent, first) = server.agent("fetcher").await;
    server.app.clock.advance(Duration::seconds(1));
    let body = json!({
        "name": "CI", "description": "For the pipeline.", "identity_id": agent, "scopes": ["b", "a", "b"],
        "environment": "test", "expires_in_days": 30, "metadata": { "team": ["core", null] },
        "ip_allowlist": ["127.0.0.0/8", "::1"],
    });
    let mut made = server.make_key(body.clone()).await.expect(201).body;
    let secret = made.as_object_mut().unwrap().remove("key").unwrap();
    let secret = secret.as_str().unwrap();
    assert!(secret.starts_with("zid_sk_") && secret.len() == 39);
    assert_eq!(made["key_prefix"], secret[..16]);
    let expected = json!({
        "name": "CI", "description": "For the pipeline.", "identity_id": agent, "scopes": ["b", "a"],
        "environment": "test", "expires_at": "2026-12-31T12:00:01.123456Z", "metadata": body["metadata"],
        "ip_allowlist": ["127.0.0.0/8", "::1/128"], "state": "active", "account_id": "acme", "project_id": "demo",
        "credential_policy_id": server.default_policy().await, "key_version": 1, "usage_count": 0, "rate_limit_rps": 0,
        "created_by": "", "revoked_by": "", "revoke_reason": "", "replaced_by": "", "last_used_ip": "",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let id = made["id"].as_str().unwrap();
    assert_eq!(server.read_key(id).await, made);
    assert_eq!(server.keys("?limit=1").await["keys"], json!([made]));
    assert!(!server.everything().await.contains(&secret[16..]), "only its keyed hash is kept");
    // It obtains tokens of the agent, under its own limit; the agent's other key goes on.
    let token = server.token(secret).await;
    assert_eq!(
        (&claims(&token)["external_id"], &claims(&token)["scope"]),
        (&json!("fetcher"), &json!("b a"))
    );
    assert!(server.key_works(&first).await);
}

#[tokio::test]
async fn a_key_without_an_identity_gets_one_of_its_own() {
    let server = Server::new().await;
    let made = server.make_key(json!({ "name": "Robot" })).await.expect(201).body;
    let mut named = members(&made);
    named.retain(|name| *name != "key");
    assert_eq!(named, MEMBERS, "nothing is null");
    let agent = server.read(made["identity_id"].as_str().unwrap()).await;
    let expected = json!({
        "identity_type": "service", "sub_type": "", "name": "Robot", "external_id": made["id"], "status": "active",
        "trust_level": "unverified", "credential_policy_id": made["credential_policy_id"], "labels": {},
        "api_key_prefix": made["key_prefix"],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&agent[name], value, "{name}");
    }
    let token = server.token(made["key"].as_str().unwrap()).await;
    assert_eq!(claims(&token)["sub"], agent["wimse_uri"]);
    assert!(server.is_active(&token).await);
    // It is an identity like any other.
    server.act(agent["id"].as_str().unwrap(), "deactivate").await.expect(200);
    assert!(!server.is_active(&token).await);
    let empty = json!({ "name": "Other", "identity_id": "", "credential_policy_id": "", "product": "", "scopes": [],
        "environment": "", "metadata": null, "ip_allowlist": [], "expires_in_days": null, "description": null });
    let made = server.make_key(empty).await.expect(201).body;
    assert_eq!((&made["environment"], &made["metadata"]), (&json!("live"), &json!({})));
}

#[tokio::test]
async fn who_makes_a_key_stands_behind_it_and_its_identity() {
    let server = Server::new().await;
    let admin = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let admin_id = server.text_from_sql("select id::text from admin_keys").await;
    let (_, agent) = server.agent_with_scopes("boss", &["nhi:manage"]).await;
    for (credential, who) in [(&admin, admin_id.as_str()), (&agent, "dev@company.example")] {
        let call = server.call("POST", "/api-keys").bearer(credential).json(json!({ "name": "k" }));
        let made = call.send().await.expect(201).body;
        assert_eq!(made["created_by"], who);
        let identity = server.read(made["identity_id"].as_str().unwrap()).await;
        assert_eq!((&identity["owner_user_id"], &identity["created_by"]), (&json!(who), &json!(who)));
        let token = server.exchange(made["key"].as_str().unwrap(), "").await.expect(200);
        assert_eq!(token.text_of("user_id"), who);
    }
}

#[tokio::test]
async fn a_keys_policy_is_the_identitys_unless_one_within_it_is_named() {
    let server = Server::new().await;
    let grants = json!(["api_key", "jwt_bearer"]);
    let policy = async |name: &str, more: Value| {
        let mut body = json!({ "name": name, "allowed_grant_types": grants });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.make_policy(body).await.expect(201).text_of("id").to_owned()
    };
    let rules = json!({ "max_ttl_seconds": 600, "allowed_scopes": ["a", "b"], "max_delegation_depth": 2,
        "required_trust_level": "verified_third_party", "required_attestation": "platform" });
    let own = policy("own", rules.clone()).await;
    let agent = server.register("fetcher", json!({ "credential_policy_id": own })).await.expect(201);
    let id = agent.body["identity"]["id"].as_str().unwrap();
    let make = async |policy: &str| {
        server.make_key(json!({ "name": "k", "identity_id": id, "credential_policy_id": policy })).await
    };
    let made = server.make_key(json!({ "name": "k", "identity_id": id })).await.expect(201);
    assert_eq!(made.text_of("credential_policy_id"), own);
    assert_eq!(make(&own).await.expect(201).text_of("credential_policy_id"), own);
    let before = server.everything().await.len();
    for (number, (broader, narrower)) in [
        (json!({ "max_ttl_seconds": 601 }), json!({ "max_ttl_seconds": 599 })),
        (json!({ "allowed_scopes": ["a", "c"] }), json!({ "allowed_scopes": ["b"] })),
        (json!({ "allowed_scopes": [] }), json!({ "allowed_scopes": ["b", "a"] })),
        (json!({ "max_delegation_depth": 3 }), json!({ "max_delegation_depth": 0 })),
        (json!({ "required_trust_level": "unverified" }), json!({ "required_trust_level": "first_party" })),
        (json!({ "required_trust_level": "" }), json!({ "required_trust_level": "first_party" })),
        (json!({ "required_attestation": "software" }), json!({ "required_attestation": "hardware" })),
        (
            json!({ "allowed_grant_types": ["api_key", "refresh_token"] }),
            json!({ "allowed_grant_types": [] }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        for (name, change, status) in [("broad", broader, 400), ("narrow", narrower, 201)] {
            let mut body = rules.clone();
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let named = policy(&format!("{name} {number}"), body).await;
            let answer = make(&named).await;
            assert_eq!(answer.status, status, "{change}: {}", answer.text);
        }
    }
    assert!(server.everything().await.len() > before);
    assert_eq!(server.count("select count(*) from api_keys").await, 11);
}

#[tokio::test]
async fn a_list_is_paged_newest_first() {
    let server = Server::new().await;
    assert_eq!(server.keys("").await, json!({ "keys": [], "total": 0, "page": 1, "limit": 20 }));
    let (agent, _) = server.agent("fetcher").await;
    for number in 0..24 {
        server.app.clock.advance(Duration::seconds(1));
        let body = json!({ "name": format!("key {number}"), "identity_id": agent });
        server.make_key(body).await.expect(201);
    }
    let all: Vec<String> = (0..24)
        .rev()
        .map(|number| format!("key {number}"))
        .chain(["Agent: Agent fetcher".to_owned()])
        .collect();
    let mut seen = Vec::new();
    for page in 1..=4 {
        let list = server.keys(&format!("?page={page}&limit=7")).await;
        assert_eq!((&list["total"], &list["page"], &list["limit"]), (&json!(25), &json!(page), &json!(7)));
        seen.extend(names(&list).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, all);
    assert_eq!(names(&server.keys("").await), all[..20]);
    assert_eq!(names(&server.keys("?page=2").await), all[20..]);
    let beyond = server.keys("?page=2147483647&limit=100").await;
    assert_eq!((names(&beyond).len(), &beyond["total"]), (0, &json!(25)));
    for bad in ["page=0", "page=-1", "page=x", "page=2147483648", "limit=0", "limit=101", "limit=1.5"] {
        server.admin("GET", &format!("/api-keys?{bad}")).send().await.problem(422);
    }
    server.admin("GET", "/api-keys?page=1&page=2").send().await.problem(400);
}

#[tokio::test]
async fn keys_that_came_at_the_same_moment_keep_their_order_over_pages() {
    let server = Server::new().await;
    for number in 0..9 {
        server.make_key(json!({ "name": format!("{number}") })).await.expect(201);
    }
    let all = server.keys("").await;
    let mut seen = Vec::new();
    for page in 1..=5 {
        seen.extend(server.keys(&format!("?limit=2&page={page}")).await["keys"].as_array().unwrap().clone());
    }
    assert_eq!(&json!(seen), &all["keys"]);
}

#[tokio::test]
async fn a_list_is_filtered_by_state_identity_label_and_product() {
    let server = Server::new().await;
    let labels = json!({ "labels": { "team": "data", "product": "search" }, "allowed_scopes": [] });
    let agent = server.register("fetcher", labels).await.expect(201).body["identity"]["id"].clone();
    let make = async |body: Value| server.make_key(body).await.expect(201).text_of("id").to_owned();
    make(json!({ "name": "live", "identity_id": agent })).await;
    make(json!({ "name": "brief", "identity_id": agent, "expires_in_days": 1 })).await;
    let revoked = make(json!({ "name": "revoked", "product": "mail" })).await;
    server.admin("POST", &format!("/api-keys/{revoked}/revoke")).send().await.expect(200);
    let (other, _) = server.agent("other").await;
    server.act(&other, "rotate-key").await.expect(200);
    server.app.clock.advance(Duration::days(1));
    let filtered = async |query: String| {
        let list = server.keys(&query).await;
        let mut found: Vec<String> = names(&list).into_iter().map(str::to_owned).collect();
        assert_eq!(list["total"], found.len(), "{query}");
        found.sort();
        found
    };
    let (first, turned) = ("Agent: Agent fetcher", "Agent: Agent other");
    for (query, expected) in [
        ("?state=active".to_owned(), &[first, turned, "live"][..]),
        ("?state=revoked".to_owned(), &["revoked"]),
        ("?state=replaced".to_owned(), &[turned]),
        ("?state=expired".to_owned(), &["brief"]),
        ("?state=expired,revoked".to_owned(), &["brief", "revoked"]),
        ("?state=expired&state=replaced".to_owned(), &[turned, "brief"]),
        (format!("?application_id={}", agent.as_str().unwrap()), &[first, "brief", "live"]),
        (format!("?application_id={UNKNOWN}"), &[]),
        ("?label=team:data".to_owned(), &[first, "brief", "live"]),
        ("?label=team:other".to_owned(), &[]),
        ("?product=search&state=active".to_owned(), &[first, "live"]),
        ("?product=mail".to_owned(), &["revoked"]),
        (
            "?state=&application_id=&label=&product=&page=&limit=".to_owned(),
            &[first, turned, turned, "brief", "live", "revoked"],
        ),
    ] {
        assert_eq!(filtered(query.clone()).await, expected, "{query}");
    }
    let states = server.keys("?product=mail").await;
    assert_eq!(
        (&states["keys"][0]["state"], &states["keys"][0]["product"]),
        (&json!("revoked"), &json!("mail"))
    );
    for (bad, status) in
        [("state=asleep", 400), ("label=team", 400), ("label=:x", 400), ("application_id=x", 422)]
    {
        server.admin("GET", &format!("/api-keys?{bad}")).send().await.problem(status);
    }
}

#[tokio::test]
async fn uses_are_shown_when_they_were_written() {
    let server = Server::new().await;
    let made = server.make_key(json!({ "name": "k" })).await.expect(201);
    server.app.clock.advance(Duration::seconds(5));
    for _ in 0..3 {
        server.token(made.text_of("key")).await;
    }
    chancery::api_keys::flush(&server.app).await.unwrap();
    let read = server.read_key(made.text_of("id")).await;
    assert_eq!((&read["usage_count"], &read["last_used_ip"]), (&json!(3), &json!("127.0.0.1")));
    assert_eq!(read["last_used_at"], "2026-12-01T12:00:05.123456Z");
}

#[tokio::test]
async fn a_creation_that_is_repeated_makes_one_key_and_one_identity() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let first = server.make_key(json!({ "name": "one" })).await.expect(201).body;
    let again =
        replica.admin("POST", "/api-keys").json(json!({ "name": "one" })).with("X-Idempotency-Key", "1");
    assert_eq!(again.send().await.expect(201).body, first, "the same key, on the other replica");
    let send = || async {
        let call = server.admin("POST", "/api-keys").json(json!({ "name": "two" }));
        call.with("Idempotency-Key", "order-17").send().await.expect(201).body
    };
    let (a, b, c) = tokio::join!(send(), send(), send());
    assert!(a == b && b == c);
    // A name is no key: without a header there is another one.
    server.make_key(json!({ "name": "one" })).await.expect(201);
    assert_eq!(server.count("select count(*) from api_keys").await, 3);
    assert_eq!(server.count("select count(*) from identities").await, 3);
}
