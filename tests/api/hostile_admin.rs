//! Bad input on the admin routes: each gets its status and a problem document, changes nothing and repeats no secret.

use axum::body::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::Server;

const SECRET: &str = "PLANTED-S3CRET";

/// A body for a registration with one member replaced or added.
fn with(member: &str, value: Value) -> String {
    let mut body = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
    body[member] = value;
    body.to_string()
}

/// Bodies that are not JSON within the limits, for any route that reads one.
pub fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let deep = "[".repeat(33) + &"]".repeat(33);
    let bottomless = "[".repeat(200_000);
    let object = r#"{"a":"#.repeat(40) + "1" + &"}".repeat(40);
    let long: Vec<_> = (0..201).collect();
    let wide: serde_json::Map<_, _> = (0..201).map(|number| (format!("m{number}"), json!(number))).collect();
    vec![
        ("no bytes", b"".to_vec()),
        ("blank", b"  \n".to_vec()),
        ("cut off", br#"{"name": "A", "external_id": "a""#.to_vec()),
        ("cut off in a string", br#"{"name": "A"#.to_vec()),
        ("cut off in an escape", br#"{"name": "A\"#.to_vec()),
        ("two documents", with("x", json!(1)).repeat(2).into_bytes()),
        ("text after the end", (with("x", json!(1)) + SECRET).into_bytes()),
        ("no JSON at all", b"name=A&external_id=PLANTED-S3CRET".to_vec()),
        ("a bare word", b"NaN".to_vec()),
        ("a comment", br#"{"name":"A" /* PLANTED-S3CRET */}"#.to_vec()),
        ("a trailing comma", br#"{"name":"A",}"#.to_vec()),
        ("a byte order mark", "\u{feff}{\"name\":\"A\"}".as_bytes().to_vec()),
        ("broken UTF-8 in a member", b"{\"name\":\"\xff\xfe\"}".to_vec()),
        (
            "broken UTF-8 in an unknown member",
            b"{\"name\":\"A\",\"external_id\":\"a\",\"created_by\":\"u\",\"x\":\"\xc3\x28\"}".to_vec(),
        ),
        ("an overlong encoding", b"{\"name\":\"\xc0\xaf\"}".to_vec()),
        ("UTF-16", "{\"name\":\"A\"}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("NUL escaped", br#"{"name":"A\u0000B"}"#.to_vec()),
        ("NUL escaped in a key", br#"{"labels":{"a\u0000":1}}"#.to_vec()),
        ("NUL in the text", b"{\"name\":\"A\0\"}".to_vec()),
        ("a control character", b"{\"name\":\"A\x01\"}".to_vec()),
        ("a lone high surrogate", br#"{"name":"\ud800"}"#.to_vec()),
        ("a lone low surrogate", br#"{"name":"\udc00x"}"#.to_vec()),
        ("a lone surrogate in labels", br#"{"labels":{"\ud800":1}}"#.to_vec()),
        ("a lone surrogate in metadata", br#"{"metadata":{"a":["\udfff"]}}"#.to_vec()),
        ("an unknown escape", br#"{"name":"\x41"}"#.to_vec()),
        ("a number beyond all bounds", br#"{"metadata":{"a":1e999}}"#.to_vec()),
        ("deep lists", with("capabilities", serde_json::from_str(&deep).unwrap()).into_bytes()),
        ("deep objects", with("metadata", serde_json::from_str(&object).unwrap()).into_bytes()),
        ("lists without a bottom", bottomless.into_bytes()),
        ("a long list", with("capabilities", json!(long)).into_bytes()),
        ("a wide object", with("labels", Value::Object(wide)).into_bytes()),
        ("a long string", with("framework", json!("x".repeat(16_385))).into_bytes()),
    ]
}

#[tokio::test]
async fn a_body_that_can_not_be_read_is_a_bad_request_everywhere() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let before = server.everything().await;
    for (method, path) in
        [("POST", "/agents/register".to_owned()), ("PATCH", format!("/api/v1/agents/registry/{id}"))]
    {
        for (what, body) in unreadable() {
            let answer = server.admin(method, &path).raw("application/json", body).send().await;
            assert_eq!(answer.status, 400, "{method} {what}: {}", answer.text);
            assert!(!answer.problem(400).text.contains(SECRET), "{what}");
            assert_eq!(server.everything().await, before, "{what}");
        }
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large_whatever_it_holds() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let before = server.everything().await;
    for (method, path) in
        [("POST", "/agents/register".to_owned()), ("PATCH", format!("/agents/registry/{id}"))]
    {
        for body in [" ".repeat(1_048_577), format!("{{\"x\":\"{}\"}}", SECRET.repeat(100_000))] {
            let answer = server.admin(method, &path).raw("application/json", Body::from(body)).send().await;
            assert!(!answer.problem(413).text.contains(SECRET));
        }
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_body_of_another_type_is_not_read() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let before = server.everything().await;
    let body = with("name", json!("A"));
    for (method, path) in
        [("POST", "/agents/register".to_owned()), ("PATCH", format!("/agents/registry/{id}"))]
    {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
            "json",
            "",
        ] {
            server.admin(method, &path).raw(kind, body.clone()).send().await.problem(415);
        }
    }
    assert_eq!(server.everything().await, before);
    for (number, kind) in
        ["application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"].iter().enumerate()
    {
        let body = with("external_id", json!(format!("a{number}")));
        server.admin("POST", "/agents/register").raw(kind, body).send().await.expect(201);
    }
}

#[tokio::test]
async fn a_member_of_the_wrong_type_is_named_and_its_value_is_not_repeated() {
    let server = Server::new().await;
    let before = server.everything().await;
    let texts = [
        "name",
        "external_id",
        "framework",
        "version",
        "publisher",
        "description",
        "sub_type",
        "created_by",
        "public_key_pem",
        "credential_policy_id",
        "expires_at",
    ];
    let wrong = [json!(1), json!(true), json!([SECRET]), json!({ "x": SECRET }), json!(1.5)];
    let mut cases: Vec<(&str, Value)> =
        texts.iter().flat_map(|name| wrong.iter().map(|it| (*name, it.clone()))).collect();
    for value in [json!(SECRET), json!(1), json!({}), json!(null)] {
        cases.push(("capabilities", value.clone()));
        cases.push(("identity_type", value.clone()));
        cases.push(("trust_level", value));
    }
    for value in [json!(SECRET), json!(1), json!([]), json!(null)] {
        cases.push(("labels", value.clone()));
        cases.push(("metadata", value));
    }
    for (member, value) in cases {
        let answer = server
            .admin("POST", "/agents/register")
            .raw("application/json", with(member, value.clone()))
            .send()
            .await;
        assert_eq!(answer.status, 422, "{member} {value}: {}", answer.text);
        let answer = answer.problem(422);
        assert!(answer.text_of("detail").contains(member), "{}", answer.text);
        assert!(
            answer.body["errors"][0]["location"].as_str().unwrap().starts_with(&format!("body.{member}"))
        );
        assert!(!answer.text.contains(SECRET), "{}", answer.text);
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_body_of_the_wrong_shape_is_refused() {
    let server = Server::new().await;
    let before = server.everything().await;
    let full = r#""name":"A","external_id":"a","created_by":"u""#;
    for body in [
        "[]".to_owned(),
        "null".to_owned(),
        "7".to_owned(),
        format!("\"{SECRET}\""),
        format!("[{{{full}}}]"),
        "{}".to_owned(),
        r#"{"name":"A","created_by":"u"}"#.to_owned(),
        r#"{"external_id":"a","created_by":"u"}"#.to_owned(),
        r#"{"name":null,"external_id":"a","created_by":"u"}"#.to_owned(),
        r#"{"name":"  ","external_id":"a","created_by":"u"}"#.to_owned(),
        format!(r#"{{{full},"name":"{SECRET}"}}"#),
        format!(r#"{{{full},"external_id":"b"}}"#),
    ] {
        let answer =
            server.admin("POST", "/agents/register").raw("application/json", body.clone()).send().await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        assert!(!answer.problem(422).text.contains(SECRET), "{body}");
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_malformed_id_is_unprocessable_on_every_route() {
    let server = Server::new().await;
    server.agent("fetcher").await;
    let before = server.everything().await;
    for id in [
        "1",
        "nonsense",
        "00000000-0000-0000-0000-00000000000g",
        "%00",
        "%ff",
        "..%2f..",
        "'--",
        &"9".repeat(5000),
    ] {
        for (method, action) in [
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/activate"),
            ("POST", "/deactivate"),
            ("POST", "/rotate-key"),
        ] {
            let path = format!("/agents/registry/{id}{action}");
            let answer = server.admin(method, &path).json(json!({})).send().await;
            assert_eq!(answer.status, 422, "{method} {path}: {}", answer.text);
            assert_eq!(answer.problem(422).body["errors"][0]["location"], "path.id");
        }
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_long_text_is_refused_and_the_longest_is_kept() {
    let server = Server::new().await;
    for member in ["name", "framework", "version", "publisher", "description"] {
        server.register("long", json!({ member: "ä".repeat(4097) })).await.problem(400);
        let answer = server.register(member, json!({ member: "ä".repeat(4096) })).await.expect(201);
        assert_eq!(answer.body["identity"][member], "ä".repeat(4096));
    }
    server.register("long", json!({ "created_by": "u".repeat(256) })).await.problem(400);
    server.register("long", json!({ "capabilities": vec![1; 200] })).await.expect(201);
}

#[tokio::test]
async fn routes_that_read_no_body_take_any() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    for action in ["activate", "rotate-key", "deactivate"] {
        let path = format!("/agents/registry/{id}/{action}");
        server.admin("POST", &path).with("Content-Type", "application/json").send().await.expect(200);
        server.act(&id, "activate").await.expect(200);
        server.admin("POST", &path).raw("text/plain", "not JSON").send().await.expect(200);
        server.act(&id, "activate").await.expect(200);
    }
    server.admin("GET", "/agents/registry").with("Content-Type", "application/json").send().await.expect(200);
}

#[tokio::test]
async fn strange_but_lawful_json_is_kept_as_it_came() {
    let server = Server::new().await;
    let odd = json!({
        "❤": "\u{10ffff}\u{202e}", "": { "$ne": 1, "__proto__": [] }, "quote": "\"\\'; drop table identities; --", "null": null,
        "big": 1e300, "max": u64::MAX, "min": i64::MIN, "fraction": 0.1, "list": [[], {}, [null, false]],
    });
    let more = json!({ "name": "\u{202e}❤\u{7f} ", "metadata": odd, "labels": odd, "capabilities": [odd, null, 1, "x"] });
    let answer = server.register("strange", more.clone()).await.expect(201);
    let agent = server.read(answer.body["identity"]["id"].as_str().unwrap()).await;
    for member in ["name", "metadata", "labels", "capabilities"] {
        assert_eq!(agent[member], more[member], "{member}");
    }
    server.exchange(answer.text_of("api_key"), "").await.expect(200);
}

pub fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "(agent|service|active|first_party|2027-01-01T00:00:00Z|[a-z.]{1,9})".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn registration() -> impl Strategy<Value = Value> {
    let member = prop::sample::select(vec![
        "name",
        "external_id",
        "identity_type",
        "sub_type",
        "trust_level",
        "framework",
        "version",
        "publisher",
        "description",
        "capabilities",
        "labels",
        "metadata",
        "created_by",
        "public_key_pem",
        "allowed_scopes",
        "credential_policy_id",
        "api_key_credential_policy_id",
        "expires_at",
        "status",
        "updated_by",
    ]);
    let plain = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
    prop_oneof![
        1 => anything(),
        6 => prop::collection::vec((member, anything()), 0..3).prop_map(move |members| {
            let mut body = plain.clone();
            for (name, value) in members {
                body[name] = value;
            }
            body
        }),
    ]
}

#[test]
fn no_body_whatever_makes_the_server_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, id) = runtime.block_on(async {
        let server = Server::new().await;
        let (id, _) = server.agent("fetcher").await;
        (server, id)
    });
    let mut config = ProptestConfig::with_cases(150);
    config.failure_persistence = None;
    proptest!(config, |(body in registration())| {
        runtime.block_on(async {
            let path = format!("/agents/registry/{id}");
            for call in [server.admin("POST", "/agents/register"), server.admin("PATCH", &path)] {
                let answer = call.json(body.clone()).send().await;
                assert!(answer.status.as_u16() < 500, "{body}: {}", answer.text);
                if !answer.status.is_success() {
                    let status = answer.status.as_u16();
                    answer.problem(status);
                }
            }
        });
    });
}
