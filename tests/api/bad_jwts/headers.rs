//! The right key signs, and the header asks for something else.

use serde_json::{Value, json};

use super::maker::{Maker, Passes, Rows};

/// Every row.
pub fn rows(maker: &Maker, rows: &mut Rows) {
    for typ in [
        "oauth-id-jag+jwt",
        "dpop+jwt",
        "at+jwt",
        "application/at+jwt",
        "wimse-proof+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "kb+jwt",
        "JOSE",
        "JOSE+JSON",
        "JWT ",
        "",
    ] {
        // A proof of possession has a type of its own; any other token that has it is refused.
        if maker.header["typ"] != typ {
            rows.add(format!("typ {typ:?}"), maker.with_header(&json!({ "typ": typ })));
        }
    }
    let cases: [(&str, Value); 16] = [
        ("typ is null", json!({ "typ": null })),
        ("typ is a number", json!({ "typ": 7 })),
        ("typ is a list", json!({ "typ": ["JWT"] })),
        ("crit names exp", json!({ "crit": ["exp"], "exp": 1 })),
        ("crit names b64", json!({ "crit": ["b64"], "b64": true })),
        ("crit names what is not there", json!({ "crit": ["https://evil.example/x"] })),
        ("crit names what is there", json!({ "crit": ["https://e.example/x"], "https://e.example/x": true })),
        ("crit is empty", json!({ "crit": [] })),
        ("crit is null", json!({ "crit": null })),
        ("crit is text", json!({ "crit": "exp" })),
        ("b64 is true", json!({ "b64": true })),
        ("b64 is false", json!({ "b64": false })),
        ("b64 is null", json!({ "b64": null })),
        ("b64 is text", json!({ "b64": "false" })),
        ("a JWE's header", json!({ "alg": "dir", "enc": "A256GCM" })),
        ("a wrapped key's header", json!({ "alg": "ECDH-ES+A256KW", "enc": "A256GCM" })),
    ];
    for (what, changes) in cases {
        rows.add(what, maker.with_header(&changes));
    }
    key_names(maker, rows);
    texts(maker, rows);
}

/// A name is looked up among the registered ones and nowhere else.
fn key_names(maker: &Maker, rows: &mut Rows) {
    for kid in ["elsewhere", "../../../../dev/null", "' or '1'='1", "https://evil.example/key", "a\0b", ""] {
        let token = maker.with_header(&json!({ "kid": kid }));
        rows.add_but(format!("kid {kid:?}"), token, Passes::WithoutKeyNames);
    }
    for kid in [json!(["a"]), json!(7), json!(null), json!({ "a": 1 }), json!(true)] {
        rows.add(format!("kid is {kid}"), maker.with_header(&json!({ "kid": kid })));
    }
}

/// What is not one JSON object, each member once.
fn texts(maker: &Maker, rows: &mut Rows) {
    let header = maker.header.to_string();
    let inner = &header[1..header.len() - 1];
    let claims = maker.claims.to_string();
    for (what, text) in [
        ("a header that is a list", format!("[{header}]")),
        ("a list of what a header would hold", json!([maker.header["alg"], maker.header["typ"]]).to_string()),
        ("a header that is text", "\"ES256\"".to_owned()),
        ("an empty header", String::new()),
        ("an empty object for a header", "{}".to_owned()),
        ("a header that breaks off", header[..header.len() - 1].to_owned()),
        ("a header with more after it", format!("{header}{header}")),
        ("a header with a byte order mark", format!("\u{feff}{header}")),
        ("alg twice", format!("{{\"alg\":\"none\",{inner}}}")),
        ("alg twice, the other way", format!("{{{inner},\"alg\":\"none\"}}")),
        ("typ twice", format!("{{\"typ\":\"dpop+jwt\",{inner}}}")),
        ("crit twice", format!("{{\"crit\":null,\"crit\":[\"exp\"],{inner}}}")),
        ("kid twice", format!("{{\"kid\":\"a\",\"kid\":\"b\",{inner}}}")),
    ] {
        rows.add(what, maker.jws_of(text.as_bytes(), claims.as_bytes()));
    }
    let text = [&header.as_bytes()[..header.len() - 2], b"\xff\"}"].concat();
    rows.add("a header that is no UTF-8", maker.jws_of(&text, claims.as_bytes()));
}
