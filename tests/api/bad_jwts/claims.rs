//! The right key signs claims that are wrong.

use serde_json::{Value, json};

use super::maker::{Maker, Passes, Rows};
use crate::server::ISSUER;

const TEXTS: [&str; 3] = ["iss", "sub", "jti"];
const TIMES: [&str; 3] = ["exp", "nbf", "iat"];

/// The last second that a time here can name.
const LAST_SECOND: i64 = 253_402_300_799;

/// Every row.
pub fn rows(maker: &Maker, rows: &mut Rows) {
    types(maker, rows);
    missing(maker, rows);
    parties(maker, rows);
    times(maker, rows);
    texts(maker, rows);
    payloads(maker, rows);
}

/// A claim of the wrong type counts as wrong, never as absent (CVE-2026-25537).
fn types(maker: &Maker, rows: &mut Rows) {
    for claim in TEXTS {
        let good = maker.claim(claim);
        for wrong in [
            json!(""),
            json!(1.5),
            json!(-1),
            json!(1e300),
            json!(null),
            json!([good]),
            json!({ "value": good }),
            json!(true),
        ] {
            // Where nobody asks who says it, an empty text says nothing either.
            let passes = if claim == "iss" && wrong == "" { Passes::WithoutIssuer } else { Passes::Nowhere };
            let token = maker.with_claims(&json!({ claim: wrong }));
            rows.add_but(format!("{claim} is {wrong}"), token, passes);
        }
    }
    let good = maker.claim("exp").as_i64().unwrap();
    for claim in TIMES {
        for wrong in [
            json!(good.to_string()),
            json!(1_796_126_401.5),
            json!(-1),
            json!(i64::MIN),
            json!(1e300),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(LAST_SECOND),
            json!(LAST_SECOND + 1),
            json!(null),
            json!([good]),
            json!({ "value": good }),
            json!(true),
            json!(false),
        ] {
            rows.add(format!("{claim} is {wrong}"), maker.with_claims(&json!({ claim: wrong })));
        }
    }
    let aud = maker.claim("aud");
    for wrong in [
        json!(""),
        json!(1.5),
        json!(-1),
        json!(1e300),
        json!(null),
        json!([]),
        json!([1]),
        json!([null]),
        json!([[aud]]),
        json!({ "0": aud }),
        json!(true),
    ] {
        rows.add(format!("aud is {wrong}"), maker.with_claims(&json!({ "aud": wrong })));
    }
}

fn missing(maker: &Maker, rows: &mut Rows) {
    for claim in ["exp", "aud", "sub", "jti"] {
        rows.add(format!("no {claim}"), maker.without(claim));
    }
    rows.add_but("no iss", maker.without("iss"), Passes::WithoutIssuer);
    rows.add("no claims at all", maker.jws(&maker.header, &json!({})));
}

/// Another server, another issuer, another subject.
fn parties(maker: &Maker, rows: &mut Rows) {
    let aud = maker.claim("aud").as_str().unwrap_or(ISSUER).to_owned();
    for wrong in [
        json!("https://neighbour.example"),
        json!(["https://neighbour.example", "https://other.example"]),
        json!(format!("{aud}/")),
        json!(format!("{aud}/oauth2/token")),
        json!(format!("{aud}.evil.example")),
        json!(aud.to_uppercase()),
        json!(&aud[..aud.len() - 1]),
        json!(format!(" {aud}")),
        json!(format!("{aud},https://neighbour.example")),
    ] {
        rows.add(format!("aud is {wrong}"), maker.with_claims(&json!({ "aud": wrong })));
    }
    let sub = maker.claim("sub").as_str().unwrap().to_owned();
    let others = [
        "https://neighbour.example".to_owned(),
        format!("{sub}x"),
        sub[..sub.len() - 1].to_owned(),
        format!("{sub}/"),
        sub.to_uppercase(),
        format!("{sub}\0"),
        "%".to_owned(),
        "' or '1'='1".to_owned(),
    ];
    for other in others {
        rows.add(format!("sub is {other:?}"), maker.with_claims(&json!({ "sub": other })));
        // The NUL character is refused wherever it stands.
        let passes = if other.contains('\0') { Passes::Nowhere } else { Passes::WithoutIssuer };
        rows.add_but(format!("iss is {other:?}"), maker.with_claims(&json!({ "iss": other })), passes);
        rows.add(
            format!("iss and sub are {other:?}"),
            maker.with_claims(&json!({ "iss": other, "sub": other })),
        );
    }
}

fn times(maker: &Maker, rows: &mut Rows) {
    let now = maker.claim("iat").as_i64().unwrap();
    let longest = maker.longest;
    let cases: [(&str, Value); 9] = [
        ("exp before iat", json!({ "iat": now + 20, "exp": now + 19 })),
        ("expired", json!({ "iat": now - 120, "exp": now - 30 })),
        ("expired long ago", json!({ "iat": 1, "exp": 60 })),
        ("a life too long", json!({ "exp": now + longest + 1 })),
        ("a life too long, in the past", json!({ "iat": now - longest, "exp": now + 1 })),
        ("an iat to come", json!({ "iat": now + 31, "exp": now + 60 })),
        ("an nbf to come", json!({ "nbf": now + 31 })),
        ("an nbf after exp", json!({ "nbf": now + 1_000_000 })),
        ("a life of years", json!({ "exp": now + 100_000_000 })),
    ];
    for (what, changes) in cases {
        rows.add(what, maker.with_claims(&changes));
    }
}

fn texts(maker: &Maker, rows: &mut Rows) {
    rows.add("a jti of 513 characters", maker.with_claims(&json!({ "jti": "x".repeat(513) })));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let claims = maker.claims.to_string();
    let inner = &claims[1..claims.len() - 1];
    let header = maker.header.to_string();
    let mut add = |what: String, text: String| {
        rows.add(what, maker.jws_of(header.as_bytes(), text.as_bytes()));
    };
    add(
        "an aud 200 levels deep".to_owned(),
        format!("{{\"aud\":{deep},{}}}", inner.replace("\"aud\"", "\"x\"")),
    );
    for claim in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        let good = maker.claim(claim);
        add(format!("{claim} twice, the same"), format!("{{\"{claim}\":{good},{inner}}}"));
        add(format!("{claim} twice, first another"), format!("{{\"{claim}\":\"x\",{inner}}}"));
        add(format!("{claim} twice, then another"), format!("{{{inner},\"{claim}\":null}}"));
    }
    add("nbf twice".to_owned(), format!("{{\"nbf\":1,\"nbf\":2,{inner}}}"));
    let escaped = inner.replacen("\"sub\"", "\"\\u0073ub\"", 1);
    add("sub twice, once escaped".to_owned(), format!("{{\"sub\":\"x\",{escaped}}}"));
}

/// A payload that is no set of claims.
fn payloads(maker: &Maker, rows: &mut Rows) {
    let (header, claims) = (maker.header.to_string(), maker.claims.to_string());
    let nested = maker.good[0].as_bytes();
    let broken = claims.len() - 1;
    for (what, text) in [
        ("a list", format!("[{claims}]").as_bytes()),
        ("text", b"\"x\""),
        ("a number", b"7"),
        ("null", b"null"),
        ("nothing", b""),
        ("a JWT", nested),
        ("a JWT as text", json!(maker.good[0]).to_string().as_bytes()),
        ("an object that breaks off", &claims.as_bytes()[..broken]),
        ("an object with more after it", format!("{claims}x").as_bytes()),
        ("two objects", format!("{claims}{claims}").as_bytes()),
        ("no UTF-8", &[&claims.as_bytes()[..broken], b",\"x\":\"\xff\"}"].concat()),
        ("a byte order mark and an object", format!("\u{feff}{claims}").as_bytes()),
        ("single quotes", claims.replace('"', "'").as_bytes()),
        ("a comment", format!("/**/{claims}").as_bytes()),
    ] {
        rows.add(format!("the payload is {what}"), maker.jws_of(header.as_bytes(), text));
    }
}
