//! The claims of a chain of three clients in each profile: one set of facts, three pictures.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use crate::party::Program;
use crate::server::Server;
use crate::tools::claims;

/// A root that a client obtained and two exchanges by further clients, 100 seconds apart, with less scope each time.
async fn chain(server: &Server, profile: &str) -> [String; 3] {
    let mut programs: Vec<Program> = Vec::new();
    for name in ["planner", "fetcher", "writer"] {
        let more = json!({ "trust_level": "first_party" });
        let agent = server.register(&format!("{name}-agent"), more).await.expect(201);
        let id = agent.body["identity"]["id"].as_str().unwrap().to_owned();
        programs.push(server.program(name, &id, json!({ "token_profile": profile })).await);
        let grant = json!({ "from_id": name, "to_id": "planner", "max_hops": 3 });
        server.admin("POST", "/admin/may-act").json(grant).send().await.expect(201);
    }
    let root = server.client_credentials(&programs[0], "a b c").await.token();
    server.app.clock.advance(Duration::seconds(100));
    let first = server.delegate_to_client(&root, &programs[1], "a b").await.token();
    server.app.clock.advance(Duration::seconds(100));
    let second = server.delegate_to_client(&first, &programs[2], "a").await.token();
    [root, first, second]
}

/// The claims with what differs from run to run put aside.
fn shown(tokens: &[String]) -> Value {
    json!(tokens.iter().map(|token| claims(token)).collect::<Vec<_>>())
}

/// Introspection tells the same of each token as the token itself.
async fn assert_introspected(server: &Server, tokens: &[String]) {
    for token in tokens {
        let (looked, said) = (server.introspect(token).await, claims(token));
        assert_eq!(looked["active"], true);
        for name in ["sub", "act", "client_id", "principal_type", "mission_id", "jti", "exp"] {
            assert_eq!(looked.get(name), said.get(name), "{name}");
        }
    }
}

#[tokio::test]
async fn rfc8693_s4_1_the_principal_stays_and_the_newest_actor_is_outermost() {
    let server = Server::new().await;
    let tokens = chain(&server, "rfc8693").await;
    assert_json_snapshot!(shown(&tokens), { "[].jti" => "[jti]", "[].mission_id" => "[mission]" });
    assert_introspected(&server, &tokens).await;
    let act = &claims(&tokens[2])["act"];
    let issued = |token: &String| claims(token)["iat"].clone();
    assert_eq!((&act["iat"], &act["act"]["iat"]), (&issued(&tokens[2]), &issued(&tokens[1])));
}

#[tokio::test]
async fn the_shark_profile_names_clients_at_every_hop() {
    let server = Server::new().await;
    let tokens = chain(&server, "shark").await;
    assert_json_snapshot!(shown(&tokens), {
        "[].jti" => "[jti]", "[].mission_id" => "[mission]", "[].**.agent_id" => "[agent]",
    });
    assert_introspected(&server, &tokens).await;
    assert!(!shown(&tokens).to_string().contains("null"), "its readers can't read null");
    let act = &claims(&tokens[2])["act"];
    for (hop, name) in [(act, "writer-agent"), (&act["act"], "fetcher-agent")] {
        let id = hop["agent_id"].as_str().unwrap();
        assert_eq!(server.read(id).await["external_id"], name);
    }
}

#[tokio::test]
async fn the_zeroid_profile_shows_the_last_hop_alone() {
    let server = Server::new().await;
    let tokens = chain(&server, "zeroid").await;
    let uri = |name: &str| format!("spiffe://chancery.localhost/acme/demo/agent/{name}-agent");
    let [root, first, second] = [0, 1, 2].map(|at| claims(&tokens[at]));
    assert!(root.get("act").is_none());
    assert_eq!((&first["sub"], &first["act"]), (&json!(uri("fetcher")), &json!({ "sub": uri("planner") })));
    assert_eq!((&second["sub"], &second["act"]), (&json!(uri("writer")), &json!({ "sub": uri("fetcher") })));
    assert!([&root, &first, &second].iter().all(|claims| claims.get("principal_type").is_none()));
    assert_introspected(&server, &tokens).await;
}

#[tokio::test]
async fn a_chain_keeps_its_profile_where_the_actor_has_none() {
    let server = Server::new().await;
    let tokens = chain(&server, "rfc8693").await;
    let reader = server.party("reader", json!({})).await;
    let last = claims(&server.delegate(&tokens[2], &reader, "a").await.token());
    assert_eq!(last["sub"], claims(&tokens[0])["sub"]);
    assert_eq!(
        (&last["act"]["sub"], &last["act"]["act"]["sub"]),
        (&json!(reader.uri), &claims(&tokens[2])["act"]["sub"])
    );
    assert_eq!(last["external_id"], "planner-agent");
}

#[tokio::test]
async fn whoever_narrows_his_own_token_is_no_further_actor() {
    let server = Server::new().await;
    let tokens = chain(&server, "rfc8693").await;
    let writer = server.text_from_sql("select id::text from oauth_clients where client_id = 'writer'").await;
    let path = format!("/oauth/clients/{writer}/rotate-secret");
    let rotated = server.admin("POST", &path).send().await.expect(200);
    let program = Program {
        id: writer,
        client_id: "writer".to_owned(),
        secret: rotated.text_of("client_secret").to_owned(),
    };
    let narrowed = claims(&server.delegate_to_client(&tokens[2], &program, "a").await.token());
    assert_eq!(narrowed["act"], claims(&tokens[2])["act"]);
    assert_eq!(narrowed["delegation_depth"], 3);
}
