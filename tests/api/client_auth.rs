//! Who may introspect and revoke: the table of what is presented and wrong, in the open and in the strict mode.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chancery::kit::config::Introspection;
use serde_json::json;

use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims};

const BOTH: [&str; 2] = ["/oauth2/token/introspect", "/oauth2/token/revoke"];
const TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
const CHALLENGE: &str = "Basic realm=\"chancery\", charset=\"UTF-8\"";

struct Case {
    authorization: Option<String>,
    body: &'static [(&'static str, &'static str)],
    error: Option<(u16, &'static str)>,
}

fn case(
    authorization: Option<&str>,
    body: &'static [(&'static str, &'static str)],
    error: Option<(u16, &'static str)>,
) -> Case {
    Case { authorization: authorization.map(str::to_owned), body, error }
}

fn basic(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn table() -> Vec<Case> {
    let unknown = Some((401, "invalid_client"));
    let malformed = Some((400, "invalid_request"));
    let good = basic("svc:s3cret-canary");
    vec![
        case(None, &[("client_id", "svc")], unknown),
        case(None, &[("client_secret", "s3cret-canary")], unknown),
        case(None, &[("client_id", "svc"), ("client_secret", "s3cret-canary")], unknown),
        case(None, &[("client_assertion", "a.b.c")], malformed),
        case(None, &[("client_assertion", "a.b.c"), ("client_assertion_type", "saml")], malformed),
        case(None, &[("client_assertion", "a.b.c"), TYPE], unknown),
        case(None, &[("client_assertion", "a.b.c"), TYPE, ("client_secret", "s3cret-canary")], malformed),
        case(Some(&good), &[], unknown),
        case(Some(&good.replace("Basic", "bAsIc")), &[], unknown),
        case(Some(&basic(":")), &[], unknown),
        case(Some(&basic("svc:")), &[], unknown),
        case(Some(&good), &[("client_id", "svc")], unknown),
        case(Some(&good), &[("client_id", "other")], malformed),
        case(Some(&good), &[("client_secret", "s3cret-canary")], malformed),
        case(Some(&good), &[("client_assertion", "a.b.c")], malformed),
        case(Some("Basic"), &[], malformed),
        case(Some("Basic "), &[], malformed),
        case(Some("Basic !!!"), &[], malformed),
        case(Some("Basic c3Zj"), &[], malformed),
        case(Some(&basic(b"\xff:\xfe")), &[], malformed),
        case(Some("Basic c3ZjOng=="), &[], malformed),
        case(Some("Basic a b"), &[], malformed),
    ]
}

async fn present(server: &Server, path: &str, token: &str, case: &Case) -> Answer {
    let mut form = vec![("token", token)];
    form.extend(case.body);
    let mut call = server.post(path).form(&form);
    if let Some(authorization) = &case.authorization {
        call = call.with("Authorization", authorization);
    }
    call.send().await
}

async fn check(server: &Server, cases: &[Case]) {
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    for (at, case) in cases.iter().enumerate() {
        for path in BOTH {
            let answer = present(server, path, &token, case).await;
            match case.error {
                None => assert_eq!(answer.status, 200, "case {at}: {}", answer.text),
                Some((status, error)) => assert_error(&answer, status, error),
            }
            assert!(!answer.text.contains("canary"), "case {at}");
            let challenged = answer.status == 401 && case.authorization.is_some();
            assert_eq!(
                answer.header("www-authenticate"),
                if challenged { CHALLENGE } else { "" },
                "case {at}"
            );
        }
    }
    let revoked = server.count("select count(*) from credentials where revoked_at is not null").await;
    assert_eq!(revoked, 0);
}

fn strict() -> impl FnOnce(&mut chancery::kit::config::Config) {
    |config| config.introspection = Introspection::Strict
}

#[tokio::test]
async fn the_open_mode_refuses_whatever_is_presented_and_wrong() {
    check(&Server::new().await, &table()).await;
}

#[tokio::test]
async fn the_strict_mode_refuses_the_same_and_anonymous_callers_too() {
    let server = Server::with(strict()).await;
    let mut cases = table();
    cases.push(case(None, &[], Some((401, "invalid_client"))));
    check(&server, &cases).await;
}

#[tokio::test]
async fn the_open_mode_lets_an_anonymous_caller_in_and_ignores_what_is_no_client_authentication() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    for authorization in ["Bearer x", "bearer", "Bearer", "Digest username=\"a\"", "DPoP x", "x"] {
        let call = server.post("/oauth2/token/introspect").with("Authorization", authorization);
        let answer = call.form(&[("token", &token)]).send().await.expect(200);
        assert_eq!(answer.body["active"], true, "{authorization}");
    }
    let empty = [("token", token.as_str()), ("client_id", ""), ("client_secret", "")];
    let answer = server.post("/oauth2/token/introspect").form(&empty).send().await.expect(200);
    assert_eq!(answer.body["active"], true);
}

#[tokio::test]
async fn the_strict_mode_takes_no_bearer_for_a_client_not_even_an_administrator() {
    let server = Server::with(strict()).await;
    let key = server.admin_key(None, &["nhi:manage"]).await;
    let (_, api_key) = server.agent("fetcher").await;
    let token = server.token(&api_key).await;
    for bearer in [key.as_str(), token.as_str()] {
        for path in BOTH {
            let answer = server.post(path).bearer(bearer).form(&[("token", &token)]).send().await;
            assert_error(&answer, 401, "invalid_client");
        }
    }
}

#[tokio::test]
async fn strictness_is_the_default_of_production() {
    let server = Server::with(|config| config.mode = chancery::kit::config::Mode::Production).await;
    for path in BOTH {
        assert_error(&server.post(path).form(&[("token", "x")]).send().await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_are_one_answer_before_the_token_is_looked_at() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let answer = |token: String, id: &'static str| {
        let form = [("token", token), ("client_id", id.to_owned()), ("client_secret", "x".to_owned())];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        server.post(BOTH[0]).raw("application/x-www-form-urlencoded", body).send()
    };
    let first = answer(token.clone(), "svc").await.text;
    for (token, id) in
        [(token, "https://client.example/id"), ("x".to_owned(), "svc"), (String::new(), "other")]
    {
        assert_eq!(answer(token, id).await.text, first);
    }
}

#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let server = Server::new().await;
    let call = server.post(BOTH[0]).with("Authorization", "Bearer x").with("Authorization", &basic("a:b"));
    assert_error(&call.form(&[("token", "x")]).send().await, 400, "invalid_request");
}

#[tokio::test]
async fn clients_in_a_json_body_are_read_too() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    assert_eq!(claims(&token)["grant_type"], "api_key");
    for body in [
        json!({ "token": token, "client_id": "svc", "client_secret": "s3cret-canary" }),
        json!({ "token": token, "client_secret": "s3cret-canary" }),
    ] {
        let answer = server.post("/oauth2/token/revoke").json(body).send().await;
        assert_error(&answer, 401, "invalid_client");
    }
    assert!(server.is_active(&token).await);
}

#[tokio::test]
async fn clients_look_at_tokens_and_end_them_while_every_ordinary_connection_is_taken() {
    let server = Server::with(|config| {
        config.introspection = Introspection::Strict;
        (config.database.max_connections, config.database.reserved_connections) = (4, 1);
    })
    .await;
    let agent = server.party("planner", json!({})).await;
    let client = server.program("svc", &agent.id, json!({})).await;
    let token = server.client_credentials(&client, "a").await.token();
    let mut taken = Vec::new();
    for _ in 0..server.app.db.options().get_max_connections() {
        taken.push(server.app.db.acquire().await.unwrap());
    }
    let form = [("token", token.as_str()), ("client_id", "svc"), ("client_secret", &client.secret)];
    let ask = async |path: &str| server.post(path).form(&form).send().await.expect(200).body;
    assert_eq!(ask(BOTH[0]).await["active"], true);
    assert_eq!(ask(BOTH[1]).await, json!({ "revoked": true }));
    assert_eq!(ask(BOTH[0]).await, json!({ "active": false }));
}
