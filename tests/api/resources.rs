//! For whom tokens are meant: resource indicators (RFC 8707) with every grant, and what a client may address.

use serde_json::{Value, json};

use crate::party::{JWT_BEARER, Program, TOKEN_EXCHANGE};
use crate::server::{Answer, ISSUER, Server};
use crate::tools::{assert_error, claims};

const ONE: &str = "https://one.example/mcp";
const TWO: &str = "https://two.example";

type Form<'a> = Vec<(&'a str, &'a str)>;

fn aud(answer: Answer) -> Value {
    claims(&answer.token())["aud"].clone()
}

async fn client(server: &Server, allowed: &[&str]) -> Program {
    let (agent, _) = server.agent("worker-agent").await;
    server.program("worker", &agent, json!({ "allowed_audiences": allowed })).await
}

/// Asks by client credentials with these further parameters.
async fn ask(server: &Server, program: &Program, more: &[(&str, &str)]) -> Answer {
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", &program.client_id),
        ("client_secret", &program.secret),
    ];
    server.post("/oauth2/token").form(&[&own, more].concat()).send().await
}

#[tokio::test]
async fn rfc8707_s2_2_every_grant_puts_the_resource_into_the_audience() {
    let server = Server::new().await;
    let party = server.party("planner", json!({})).await;
    let program = client(&server, &[]).await;
    let assertion = server.assertion(&party);
    let grants: [Form; 3] = [
        vec![("grant_type", "api_key"), ("api_key", &party.api_key)],
        vec![("grant_type", JWT_BEARER), ("assertion", &assertion)],
        vec![
            ("grant_type", "client_credentials"),
            ("client_id", &program.client_id),
            ("client_secret", &program.secret),
        ],
    ];
    for mut form in grants {
        form.extend([("resource", ONE), ("resource", TWO), ("resource", ONE)]);
        let token = server.post("/oauth2/token").form(&form).send().await.token();
        assert_eq!(claims(&token)["aud"], json!([ONE, TWO]), "{}", form[0].1);
        assert_eq!(server.introspect(&token).await["aud"], json!([ONE, TWO]));
        server.get("/agents/registry").bearer(&token).send().await.expect(401);
    }
}

#[tokio::test]
async fn without_a_resource_a_token_is_for_this_server() {
    let server = Server::new().await;
    let program = client(&server, &[]).await;
    for more in [&[][..], &[("resource", "")], &[("audience", ""), ("resource", "")]] {
        assert_eq!(aud(ask(&server, &program, more).await), json!([ISSUER]));
    }
    let slash = format!("{ISSUER}/");
    for named in [ISSUER, &slash] {
        assert_eq!(aud(ask(&server, &program, &[("resource", named)]).await), json!([ISSUER]), "{named}");
    }
    let path = format!("{ISSUER}/mcp");
    assert_eq!(aud(ask(&server, &program, &[("resource", &path)]).await), json!([path]));
}

#[tokio::test]
async fn rfc8707_s2_a_resource_is_an_absolute_uri_without_fragment() {
    let server = Server::new().await;
    let program = client(&server, &[]).await;
    let long = format!("https://one.example/{}", "x".repeat(5000));
    for bad in [
        "one",
        "/mcp",
        "//one.example",
        "https://one.example/#",
        "https://one.example#a",
        "https://",
        "a b:c",
        &long,
    ] {
        assert_error(&ask(&server, &program, &[("resource", bad)]).await, 400, "invalid_target");
        let both = [("resource", ONE), ("resource", bad)];
        assert_error(&ask(&server, &program, &both).await, 400, "invalid_target");
    }
    for good in ["urn:example:cooperation", "https://one.example/a?b=c", "spiffe://x/y"] {
        assert_eq!(aud(ask(&server, &program, &[("resource", good)]).await), json!([good]));
    }
    for bad in ["a b", "\u{e4}"] {
        assert_error(&ask(&server, &program, &[("audience", bad)]).await, 400, "invalid_target");
    }
    let many: Vec<String> = (0..201).map(|at| format!("https://{at}.example")).collect();
    let many: Form = many.iter().map(|one| ("resource", one.as_str())).collect();
    assert_error(&ask(&server, &program, &many).await, 400, "invalid_target");
    assert_eq!(ask(&server, &program, &many[..200]).await.status, 200);
}

#[tokio::test]
async fn names_and_resources_go_together_and_json_takes_lists() {
    let server = Server::new().await;
    let program = client(&server, &[]).await;
    let more = [("audience", "billing"), ("resource", ONE), ("audience", "mail")];
    assert_eq!(aud(ask(&server, &program, &more).await), json!([ONE, "billing", "mail"]));
    let mut body = json!({
        "grant_type": "client_credentials", "client_id": program.client_id, "client_secret": program.secret,
        "resource": [ONE, TWO], "audience": "billing",
    });
    let answer = server.post("/oauth2/token").json(&body).send().await;
    assert_eq!(aud(answer), json!([ONE, TWO, "billing"]));
    for bad in [json!([1]), json!({}), json!(1), json!([[ONE]])] {
        body["resource"] = bad;
        assert_error(&server.post("/oauth2/token").json(&body).send().await, 400, "invalid_request");
    }
    let twice = [("scope", "a"), ("scope", "a")];
    assert_error(&ask(&server, &program, &twice).await, 400, "invalid_request");
}

#[tokio::test]
async fn rfc8707_s2_a_client_addresses_what_it_may_and_nothing_else() {
    let server = Server::new().await;
    let program = client(&server, &[ONE, TWO]).await;
    assert_eq!(aud(ask(&server, &program, &[("resource", TWO)]).await), json!([TWO]));
    assert_eq!(aud(ask(&server, &program, &[]).await), json!([ONE, TWO]), "nothing named is all it may");
    for bad in [ISSUER, "https://one.example/mcp/", "https://one.example", "https://ONE.example/mcp"] {
        assert_error(&ask(&server, &program, &[("resource", bad)]).await, 400, "invalid_target");
        let both = [("resource", ONE), ("audience", bad)];
        assert_error(&ask(&server, &program, &both).await, 400, "invalid_target");
    }
    let refused = server.audit().await.into_iter().filter(|row| row.0 == "token.refused").count();
    assert_eq!(refused, 8, "each refusal leaves a row");
    // It narrows beside another grant too.
    let (_, key) = server.agent("fetcher").await;
    let path = format!("/oauth/clients/{}", program.id);
    let grants = json!({ "grant_types": ["client_credentials", "api_key"] });
    server.admin("PATCH", &path).json(grants).send().await.expect(200);
    let own = [("client_id", program.client_id.as_str()), ("client_secret", &program.secret)];
    let beside = async |resource: &str| {
        let form =
            [("grant_type", "api_key"), ("api_key", key.as_str()), ("resource", resource), own[0], own[1]];
        server.post("/oauth2/token").form(&form).send().await
    };
    assert_eq!(aud(beside(ONE).await), json!([ONE]));
    assert_error(&beside(ISSUER).await, 400, "invalid_target");
    server.admin("PATCH", &path).json(json!({ "allowed_audiences": [] })).send().await.expect(200);
    assert_eq!(aud(beside(ISSUER).await), json!([ISSUER]), "an empty list is no limit");
}

#[tokio::test]
async fn rfc8693_s2_1_an_exchange_only_narrows() {
    let server = Server::new().await;
    let party = server.party("planner", json!({})).await;
    let actor = server.party("actor", json!({})).await;
    let exchange = async |subject: &str, more: &[(&str, &str)]| {
        let proof = server.assertion(&actor);
        let own = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("actor_token", &proof),
            ("scope", "a"),
        ];
        server.post("/oauth2/token").form(&[&own, more].concat()).send().await
    };
    let form = [
        ("grant_type", "api_key"),
        ("api_key", &party.api_key),
        ("resource", ONE),
        ("resource", TWO),
        ("scope", "a"),
    ];
    let scoped = server.post("/oauth2/token").form(&form).send().await.token();
    assert_error(&exchange(&scoped, &[("resource", ISSUER)]).await, 400, "invalid_target");
    assert_eq!(aud(exchange(&scoped, &[]).await), json!([ONE, TWO]));
    let child = exchange(&scoped, &[("resource", TWO)]).await.token();
    assert_eq!(claims(&child)["aud"], json!([TWO]));
    for wider in [ONE, ISSUER, "https://three.example"] {
        assert_error(&exchange(&child, &[("resource", wider)]).await, 400, "invalid_target");
        assert_error(
            &exchange(&child, &[("resource", TWO), ("audience", wider)]).await,
            400,
            "invalid_target",
        );
    }
}

#[tokio::test]
async fn an_exchange_stays_within_what_the_client_may_address() {
    let server = Server::new().await;
    let program = client(&server, &[TWO]).await;
    let own = json!({ "from_id": "worker", "to_id": "planner", "max_hops": 3 });
    server.admin("POST", "/admin/may-act").json(own).send().await.expect(201);
    let party = server.party("planner", json!({})).await;
    let subject = async |resources: &[&str]| {
        let mut form = vec![("grant_type", "api_key"), ("api_key", party.api_key.as_str()), ("scope", "a")];
        form.extend(resources.iter().map(|one| ("resource", *one)));
        server.post("/oauth2/token").form(&form).send().await.token()
    };
    let both = subject(&[ONE, TWO]).await;
    assert_eq!(aud(server.delegate_to_client(&both, &program, "a").await), json!([TWO]));
    let one = subject(&[ONE]).await;
    assert_error(&server.delegate_to_client(&one, &program, "a").await, 400, "invalid_target");
}

#[tokio::test]
async fn a_resource_looks_at_the_tokens_that_are_meant_for_it() {
    let server = Server::new().await;
    let program = client(&server, &[]).await;
    let (agent, _) = server.agent("mcp-agent").await;
    let resource = server.program("mcp", &agent, json!({ "resources": [ONE] })).await;
    let look = async |token: &str| {
        let form =
            [("token", token), ("client_id", &resource.client_id), ("client_secret", &resource.secret)];
        server.post("/oauth2/token/introspect").form(&form).send().await.expect(200).body["active"] == true
    };
    let mine = ask(&server, &program, &[("resource", ONE)]).await.token();
    let other = ask(&server, &program, &[("resource", TWO)]).await.token();
    assert!(look(&mine).await && !look(&other).await);
    let path = format!("/oauth/clients/{}", resource.id);
    server.admin("PATCH", &path).json(json!({ "resources": [TWO] })).send().await.expect(200);
    assert!(!look(&mine).await && look(&other).await);
    // Another tenant's client of the same resource sees nothing.
    let body = json!({ "client_id": "foreign", "name": "F", "confidential": true, "resources": [ONE, TWO] });
    let foreign =
        server.call("POST", "/oauth/clients").tenant("other", "demo").json(body).send().await.expect(201);
    let form = [
        ("token", mine.as_str()),
        ("client_id", "foreign"),
        ("client_secret", foreign.text_of("client_secret")),
    ];
    let seen = server.post("/oauth2/token/introspect").form(&form).send().await.expect(200);
    assert_eq!(seen.body, json!({ "active": false }));
}

#[tokio::test]
async fn a_rotated_credential_keeps_what_its_client_may_still_address() {
    let server = Server::new().await;
    let program = client(&server, &[]).await;
    let rotate = async |token: &str| {
        let path = format!("/credentials/{}/rotate", claims(token)["jti"].as_str().unwrap());
        server.admin("POST", &path).send().await
    };
    let token = ask(&server, &program, &[("resource", ONE), ("resource", TWO)]).await.token();
    let path = format!("/oauth/clients/{}", program.id);
    let only = |audience: &str| server.admin("PATCH", &path).json(json!({ "allowed_audiences": [audience] }));
    only(TWO).send().await.expect(200);
    let rotated = rotate(&token).await.expect(201);
    let rotated = rotated.body["token"]["access_token"].as_str().unwrap();
    assert_eq!(claims(rotated)["aud"], json!([TWO]));
    only(ISSUER).send().await.expect(200);
    rotate(rotated).await.expect(400);
    assert!(server.is_active(rotated).await, "what was refused ended nothing");
}

#[tokio::test]
async fn the_lists_of_a_client_hold_names_and_uris() {
    let server = Server::new().await;
    let program = client(&server, &[]).await;
    let path = format!("/oauth/clients/{}", program.id);
    for member in ["allowed_audiences", "resources"] {
        for bad in [json!(["a b"]), json!([""]), json!(["\u{e4}"])] {
            let answer = server.admin("PATCH", &path).json(json!({ member: bad })).send().await.expect(400);
            assert_eq!(answer.body["errors"][0]["location"], format!("body.{member}"));
        }
        server.admin("PATCH", &path).json(json!({ member: [ONE, "name"] })).send().await.expect(200);
        let read = server.admin("GET", &path).send().await.expect(200).body;
        assert_eq!(read[member], json!([ONE, "name"]));
    }
}
