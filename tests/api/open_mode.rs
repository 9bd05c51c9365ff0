//! The open mode of development, and that no web page reaches it: not by rebinding, not through a proxy.

use serde_json::json;

use crate::access::closed;
use crate::server::{Call, Server};
use crate::world::routes;

/// A request that something foreign had a hand in.
type Foreign = (&'static str, for<'a> fn(Call<'a>) -> Call<'a>);

const FOREIGN: [Foreign; 26] = [
    ("a foreign Host", |call| call.instead("Host", "evil.example")),
    ("a foreign Host with our port", |call| call.instead("Host", "evil.example:8899")),
    ("a Host that begins like ours", |call| call.instead("Host", "localhost.evil.example:8899")),
    ("a Host that ends like ours", |call| call.instead("Host", "evil-localhost:8899")),
    ("a Host that begins with our address", |call| call.instead("Host", "127.0.0.1.evil.example")),
    ("a Host with userinfo", |call| call.instead("Host", "localhost@evil.example")),
    ("a Host of the network", |call| call.instead("Host", "192.168.1.5:8899")),
    ("the unspecified address", |call| call.instead("Host", "0.0.0.0:8899")),
    ("an empty Host", |call| call.instead("Host", "")),
    ("two Hosts", |call| call.with("Host", "evil.example")),
    ("the same Host twice", |call| call.with("Host", "127.0.0.1:8899")),
    ("Origin null", |call| call.with("Origin", "null")),
    ("a foreign Origin", |call| call.with("Origin", "https://evil.example")),
    ("an Origin that begins like ours", |call| call.with("Origin", "http://localhost.evil.example")),
    ("our Origin and a foreign one", |call| {
        call.with("Origin", "http://localhost:8899").with("Origin", "https://evil.example")
    }),
    ("X-Forwarded-For", |call| call.with("X-Forwarded-For", "127.0.0.1")),
    ("X-Forwarded-Host", |call| call.with("X-Forwarded-Host", "localhost")),
    ("X-Forwarded-Proto", |call| call.with("X-Forwarded-Proto", "https")),
    ("X-Forwarded-Anything", |call| call.with("X-Forwarded-Prefix", "/")),
    ("Forwarded", |call| call.with("Forwarded", "for=127.0.0.1")),
    ("Via", |call| call.with("Via", "1.1 proxy")),
    ("X-Real-IP", |call| call.with("X-Real-IP", "127.0.0.1")),
    ("a peer on the network", |call| call.from("192.168.1.5:50000")),
    ("a peer on the network, mapped", |call| call.from("[::ffff:192.168.1.5]:50000")),
    ("a peer on the network of IPv6", |call| call.from("[2001:db8::1]:50000")),
    ("a link-local peer", |call| call.from("[fe80::1]:50000")),
];

#[tokio::test]
async fn what_comes_from_a_page_or_a_proxy_is_refused_on_every_admin_route() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let before = server.everything().await;
    let audited = server.audited().await;
    for (method, path, body) in routes(&id) {
        for (what, foreign) in FOREIGN {
            let answer = foreign(server.admin(method, &path).body(&body)).send().await;
            assert_eq!(answer.status, 403, "{what}: {method} {path}: {}", answer.text);
            answer.problem(403);
        }
        // An absolute target must name loopback as the Host does.
        for authority in ["evil.example", "localhost.evil.example:8899", "user@evil.example"] {
            let target = format!("http://{authority}{path}");
            server.admin(method, &target).body(&body).send().await.problem(403);
        }
    }
    assert_eq!(server.everything().await, before);
    assert_eq!(server.audited().await, audited, "nobody is known");
}

#[tokio::test]
async fn the_same_requests_with_a_proper_key_are_served() {
    let server = Server::new().await;
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    for (number, (what, foreign)) in FOREIGN.into_iter().enumerate() {
        let body = json!({ "name": "A", "external_id": format!("a{number}"), "created_by": "u-1" });
        let answer = foreign(server.call("POST", "/agents/register").bearer(&key).json(body)).send().await;
        assert_eq!(answer.status, 201, "{what}: {}", answer.text);
        let id = answer.body["identity"]["id"].as_str().unwrap();
        let call = server.call("GET", &format!("/api/v1/agents/registry/{id}")).bearer(&key);
        assert_eq!(foreign(call).send().await.expect(200).body, answer.body["identity"]);
    }
}

#[tokio::test]
async fn a_bad_credential_is_not_made_good_by_the_open_mode() {
    let server = Server::new().await;
    for (method, path, body) in routes("01890000-0000-7000-8000-000000000000") {
        server.admin(method, &path).bearer("sk_live_unknown").body(&body).send().await.problem(401);
    }
    assert_eq!(server.count("select count(*) from identities").await, 0);
}

#[tokio::test]
async fn what_is_local_is_served_under_every_loopback_name() {
    let server = Server::new().await;
    for host in [
        "localhost",
        "localhost:8899",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.1.2.3:8899",
        "[::1]:8899",
        "a.localhost",
    ] {
        server.admin("GET", "/agents/registry").instead("Host", host).send().await.expect(200);
    }
    for peer in ["127.0.0.1:1", "127.5.5.5:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        server.admin("GET", "/agents/registry").from(peer).send().await.expect(200);
    }
    for origin in ["http://localhost:3000", "http://127.0.0.1:8899", "http://[::1]"] {
        server.admin("GET", "/agents/registry").with("Origin", origin).send().await.expect(200);
    }
    server.admin("GET", "http://localhost:8899/agents/registry").send().await.expect(200);
}

#[tokio::test]
async fn the_open_mode_must_be_told_the_tenant() {
    let server = Server::new().await;
    for (method, path, body) in routes("01890000-0000-7000-8000-000000000000") {
        let answer = server.call(method, &path).body(&body).send().await.problem(401);
        assert!(answer.text_of("detail").contains("missing tenant context"), "{}", answer.text);
    }
    server.call("GET", "/agents/registry").with("X-Account-ID", "acme").send().await.problem(401);
    server.call("GET", "/agents/registry").tenant("acme", "").send().await.problem(401);
    server.admin("GET", "/agents/registry").with("X-Project-ID", "second").send().await.problem(400);
}

#[tokio::test]
async fn health_and_discovery_look_at_no_credential_and_a_closed_server_stays_closed() {
    let server = closed().await;
    for path in
        ["/health", "/ready", "/metrics", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"]
    {
        let call = server.get(path).instead("Host", "evil.example").bearer("nonsense");
        call.send().await.expect(200);
    }
    server.admin("GET", "/agents/registry").send().await.problem(401);
}
