//! Requests under `/oauth2` that are wrong before any grant runs: each is refused in the shape of OAuth, repeats no secret
//! and is never a fault.

use axum::body::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::server::{Answer, Server};
use crate::tools::{assert_error, credentials};

const FORM: &str = "application/x-www-form-urlencoded";
const READERS: [&str; 3] = ["/oauth2/token", "/oauth2/token/introspect", "/oauth2/token/revoke"];

async fn send(server: &Server, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
    server.post(path).raw(content_type, body.into()).send().await
}

#[tokio::test]
async fn forms_that_cannot_be_read_are_refused() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let good = format!("grant_type=api_key&api_key={key}&token=x");
    let twice =
        ["grant_type=api_key", "api_key=x", "token=x", "scope=a&scope=b", "extra=1&extra=1", "scope=&scope="];
    let mut bodies: Vec<Vec<u8>> = twice.iter().map(|more| format!("{good}&{more}").into_bytes()).collect();
    for tail in ["&x=%ff", "&x=%00", "&%ff=x", "&scope=%c3%28", "&x=%ed%a0%80"] {
        bodies.push(format!("{good}{tail}").into_bytes());
    }
    bodies.push([good.as_bytes(), b"&scope=\xff\xfe"].concat());
    bodies.push([good.as_bytes(), b"&scope=a\0b"].concat());
    bodies.push(format!("{good}&scope={}", "a".repeat(16_385)).into_bytes());
    for body in bodies {
        for path in READERS {
            let answer = send(&server, path, FORM, body.clone()).await;
            assert_error(&answer, 400, "invalid_request");
            assert!(!answer.text.contains(&key));
        }
    }
    assert_eq!(credentials(&server).await, 0);
    server.post(READERS[0]).raw(FORM, good).send().await.expect(200);
}

#[tokio::test]
async fn json_that_cannot_be_read_is_refused() {
    let server = Server::new().await;
    let deep = format!("{{\"token\":\"x\",\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let deeper = "[".repeat(100_000);
    let wide = format!("{{\"token\":\"x\",\"a\":[{}1]}}", "1,".repeat(300));
    for body in [
        "",
        "[]",
        "1",
        "null",
        "\"token\"",
        "[{\"token\":\"x\"}]",
        "{",
        "{\"token\":\"x\"",
        "{\"token\":\"x\"} more",
        "{\"token\":\"x\",}",
        "{'token':'x'}",
        "{\"token\":1,\"grant_type\":1}",
        "{\"token\":true,\"grant_type\":true}",
        "{\"token\":[\"x\"],\"grant_type\":[\"api_key\"]}",
        "{\"token\":{\"x\":1},\"grant_type\":{}}",
        "{\"token\":\"\\u0000\"}",
        "{\"token\":\"x\",\"grant_type\":\"api_key\",\"scope\":[\"a\"]}",
        "{\"token\":\"x\",\"grant_type\":\"api_key\",\"client_id\":7}",
        "{\"token\":\"\\ud800\"}",
        "token=x&grant_type=api_key",
        deep.as_str(),
        deeper.as_str(),
        wide.as_str(),
    ] {
        for path in READERS {
            let answer = send(&server, path, "application/json", body.to_owned()).await;
            assert_error(&answer, 400, "invalid_request");
        }
    }
    for bytes in [&b"{\"token\":\"\xff\"}"[..], b"\xef\xbb\xbf{\"token\":\"x\"}", b"\xff\xfe{\x00", b"\0"] {
        for path in READERS {
            assert_error(&send(&server, path, "application/json", bytes).await, 400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let server = Server::new().await;
    for media in
        ["text/plain", "multipart/form-data; boundary=x", "application/xml", "", "application", "*/*"]
    {
        for path in READERS {
            let answer = send(&server, path, media, "token=x&grant_type=api_key").await;
            assert_error(&answer, 415, "invalid_request");
        }
    }
    for path in READERS {
        assert_error(&server.post(path).send().await, 415, "invalid_request");
    }
}

#[tokio::test]
async fn media_types_are_read_without_case_and_parameters() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let form = format!("grant_type=api_key&api_key={key}");
    for media in ["application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded"] {
        send(&server, READERS[0], media, form.clone()).await.expect(200);
    }
    let body = json!({ "grant_type": "api_key", "api_key": key }).to_string();
    for media in ["application/json;charset=utf-8", "APPLICATION/JSON"] {
        send(&server, READERS[0], media, body.clone()).await.expect(200);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whatever_it_is() {
    let server = Server::new().await;
    let body = Bytes::from(vec![b'a'; 1_048_577]);
    for path in READERS {
        for media in [FORM, "application/json", "text/plain"] {
            assert_error(&send(&server, path, media, body.clone()).await, 413, "invalid_request");
        }
    }
}

#[tokio::test]
async fn parameters_in_the_query_are_ignored() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let query = format!("grant_type=api_key&api_key={key}&scope=a&token=x");
    for path in READERS {
        let answer = server.post(&format!("{path}?{query}")).form(&[]).send().await;
        assert_error(&answer, 400, "invalid_request");
    }
    let answer =
        server.post(&format!("/oauth2/token?{query}")).form(&[("grant_type", "api_key")]).send().await;
    assert_error(&answer, 400, "invalid_request");
    let form = [("grant_type", "api_key"), ("api_key", key.as_str()), ("scope", "b")];
    let answer = server.post(&format!("/oauth2/token?{query}")).form(&form).send().await.expect(200);
    assert_eq!(answer.body["scope"], "b");
}

#[tokio::test]
async fn a_missing_grant_type_is_invalid_and_an_unknown_one_is_unsupported() {
    let server = Server::new().await;
    for form in [&[][..], &[("grant_type", "")], &[("api_key", "x")], &[("GRANT_TYPE", "api_key")]] {
        assert_error(&server.post(READERS[0]).form(form).send().await, 400, "invalid_request");
    }
    let missing = server.post(READERS[0]).form(&[("grant_type", "api_key")]).send().await;
    assert_error(&missing, 400, "invalid_request");
    for grant in ["password", "implicit", "API_KEY", " api_key", "jwt_bearer", "token_exchange"] {
        let answer = server.post(READERS[0]).form(&[("grant_type", grant), ("api_key", "x")]).send().await;
        assert_error(&answer, 400, "unsupported_grant_type");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_answer_in_the_shape_of_oauth() {
    let server = Server::new().await;
    for path in
        ["/oauth2/nothing", "/oauth2/", "/oauth2/token/", "/oauth2/token/introspect/x", "/oauth2//token"]
    {
        assert_error(&server.get(path).send().await, 404, "invalid_request");
        assert_error(&server.post(path).form(&[("token", "x")]).send().await, 404, "invalid_request");
    }
    for path in READERS {
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            let answer = server.call(method, path).send().await;
            assert_error(&answer, 405, "invalid_request");
            assert_eq!(answer.header("allow"), "POST", "{method} {path}");
        }
    }
    assert_error(&server.post("/oauth2/token/verify").send().await, 405, "invalid_request");
}

#[tokio::test]
async fn no_refusal_repeats_a_secret() {
    let server = Server::new().await;
    let canary = "CANARY-7f3a";
    for (grant, name) in [
        ("api_key", "api_key"),
        ("api_key", "scope"),
        ("api_key", "client_secret"),
        ("CANARY-7f3a", "api_key"),
        ("refresh_token", "refresh_token"),
    ] {
        let form = [("grant_type", grant), (name, canary)];
        let json = json!({ "grant_type": grant, name: canary });
        let wrong = json!({ "grant_type": [canary], name: { canary: canary } });
        let broken = format!("{{\"{name}\":\"{canary}\" \"{canary}\"}}");
        let twice = format!("{name}={canary}&{name}={canary}&{canary}={canary}&{canary}=2");
        for path in READERS {
            let answers = [
                server.post(path).form(&form).send().await,
                server.post(path).json(json.clone()).send().await,
                server.post(path).json(wrong.clone()).send().await,
                send(&server, path, "application/json", broken.clone()).await,
                send(&server, path, FORM, twice.clone()).await,
                server.post(&format!("{path}?{name}={canary}")).bearer(canary).form(&form).send().await,
                server.get(&format!("{path}/{canary}")).bearer(canary).send().await,
            ];
            for answer in answers {
                assert!(answer.status.is_client_error(), "{}", answer.text);
                let shown = format!("{} {:?}", answer.text, answer.headers);
                assert!(!shown.contains(canary), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_is_not_stored() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    for path in READERS {
        let form = [("grant_type", "api_key"), ("api_key", key.as_str()), ("token", token.as_str())];
        for (given, form) in [("req-1.a_B", &form[..]), ("req-2", &[])] {
            let answer = server.post(path).with("X-Request-ID", given).form(form).send().await;
            assert_eq!(answer.header("x-request-id"), given);
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
        for strange in ["", "a b", "ä", "<script>", "a\tb", &"x".repeat(129)] {
            let answer = server.post(path).with("X-Request-ID", strange).form(&[]).send().await;
            assert!(!answer.header("x-request-id").is_empty());
            assert_ne!(answer.header("x-request-id"), strange);
        }
    }
}

#[tokio::test]
async fn random_forms_and_bodies_are_never_a_fault() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let name = prop_oneof![
        Just("grant_type".to_owned()),
        Just("api_key".to_owned()),
        Just("token".to_owned()),
        Just("scope".to_owned()),
        Just("client_id".to_owned()),
        "\\PC{0,8}",
    ];
    let value = prop_oneof![Just("api_key".to_owned()), Just(key), Just("a b".to_owned()), ".{0,40}"];
    let pairs = proptest::collection::vec((name, value), 0..6);
    let requests = (pairs, proptest::collection::vec(any::<u8>(), 0..60), 0..3_usize, any::<bool>(), 0..4_u8);
    let mut runner = TestRunner::deterministic();
    for _ in 0..400 {
        let (pairs, bytes, reader, as_json, kind) = requests.new_tree(&mut runner).unwrap().current();
        let body: Vec<u8> = match (kind, as_json) {
            (0, _) => bytes,
            (_, true) => {
                let object: serde_json::Map<_, _> =
                    pairs.into_iter().map(|(name, value)| (name, json!(value))).collect();
                serde_json::to_vec(&object).unwrap()
            }
            (_, false) => {
                form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
            }
        };
        let shown = String::from_utf8_lossy(&body).into_owned();
        let media = if as_json { "application/json" } else { FORM };
        let answer = send(&server, READERS[reader], media, body).await;
        assert!(!answer.status.is_server_error(), "{shown}: {}", answer.text);
        assert!(answer.body.is_object(), "{shown}: {}", answer.text);
    }
}
