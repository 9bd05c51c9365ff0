//! A good token in another form, cut, extended or with a letter changed.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::maker::{Maker, Rows};

/// Every row.
pub fn rows(maker: &Maker, rows: &mut Rows) {
    serializations(maker, rows);
    parts(maker, rows);
    alphabets(maker, rows);
    lengths(maker, rows);
    flips(maker, rows);
}

fn serializations(maker: &Maker, rows: &mut Rows) {
    let parts: Vec<&str> = maker.good[0].split('.').collect();
    let one = json!({ "protected": parts[0], "signature": parts[2] });
    rows.add(
        "the flattened serialization",
        json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string(),
    );
    rows.add(
        "the flattened serialization with an unprotected alg",
        json!({ "header": { "alg": "ES256" }, "payload": parts[1], "signature": parts[2] }).to_string(),
    );
    rows.add("the general serialization", json!({ "payload": parts[1], "signatures": [one] }).to_string());
    rows.add("a JSON string", json!(maker.good[0]).to_string());
    rows.add("a detached payload", format!("{}..{}", parts[0], parts[2]));
    let jwe = json!({ "alg": "dir", "enc": "A256GCM" }).to_string();
    let jwe = URL_SAFE_NO_PAD.encode(jwe);
    rows.add("a JWE", format!("{jwe}..AAAAAAAAAAAAAAAA.{}.AAAAAAAAAAAAAAAAAAAAAA", parts[1]));
    rows.add("a JWE's header before it", format!("{jwe}.{}.{}", parts[1], parts[2]));
}

fn parts(maker: &Maker, rows: &mut Rows) {
    let [good, other] = &maker.good;
    let parts: Vec<&str> = good.split('.').collect();
    let others: Vec<&str> = other.split('.').collect();
    for (what, token) in [
        ("a trailing dot", format!("{good}.")),
        ("two trailing dots", format!("{good}..")),
        ("a leading dot", format!(".{good}")),
        ("four parts", format!("{good}.AAAA")),
        ("five parts", format!("{good}.AAAA.AAAA")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("one part", parts[0].to_owned()),
        ("an empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("an empty header", format!(".{}.{}", parts[1], parts[2])),
        ("only the payload", format!(".{}.", parts[1])),
        ("only the signature", format!("..{}", parts[2])),
        ("only dots", "..".to_owned()),
        ("another token's payload", [parts[0], others[1], parts[2]].join(".")),
        ("another token's signature", [parts[0], parts[1], others[2]].join(".")),
        ("header and payload changed places", [parts[1], parts[0], parts[2]].join(".")),
        ("twice", format!("{good}{good}")),
        ("two with a comma", format!("{good},{other}")),
        ("two with a space", format!("{good} {other}")),
    ] {
        rows.add(what, token);
    }
}

fn alphabets(maker: &Maker, rows: &mut Rows) {
    let good = &maker.good[0];
    let parts: Vec<&str> = good.split('.').collect();
    for at in 0..3 {
        let mut padded: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        for what in ["padding", "double padding"] {
            padded[at].push('=');
            rows.add(format!("{what} of part {at}"), padded.join("."));
        }
        let mut spaced: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let middle = spaced[at].len() / 2;
        for inside in [" ", "\n", "\t", "%", "+", "\u{e9}"] {
            let mut changed = spaced.clone();
            changed[at].insert_str(middle, inside);
            rows.add(format!("{inside:?} inside part {at}"), changed.join("."));
        }
        spaced[at].clear();
        rows.add(format!("no part {at}"), spaced.join("."));
    }
    let bytes: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let joined = |encode: &dyn Fn(&Vec<u8>) -> String| bytes.iter().map(encode).collect::<Vec<_>>().join(".");
    rows.add("the other alphabet, padded", joined(&|part| STANDARD.encode(part)));
    // A letter that the alphabets do not share must be there; the part is then another one, which no key signed.
    let signature = [vec![0xfb, 0xff], bytes[2][2..].to_vec()].concat();
    rows.add(
        "the other alphabet",
        format!("{}.{}.{}", parts[0], parts[1], STANDARD_NO_PAD.encode(signature)),
    );
    rows.add(
        "hexadecimal",
        joined(&|part| part.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()),
    );
    rows.add("lower case", good.to_lowercase());
    rows.add("upper case", good.to_uppercase());
    rows.add("the unused bits of the signature set", with_unused_bits(good));
}

fn digit(half: u8) -> char {
    char::from_digit(half.into(), 16).unwrap()
}

/// The same bytes in another text: 64 bytes leave four bits of the last letter unused.
fn with_unused_bits(token: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *token.as_bytes().last().unwrap();
    let at = LETTERS.iter().position(|letter| *letter == last).unwrap();
    format!("{}{}", &token[..token.len() - 1], char::from(LETTERS[at | 1]))
}

fn lengths(maker: &Maker, rows: &mut Rows) {
    let good = &maker.good[0];
    for length in [1, 10, good.len() / 2, good.len() - 43, good.len() - 10, good.len() - 2, good.len() - 1] {
        rows.add(format!("cut to {length}"), good[..length].to_owned());
    }
    for tail in ["A", "AA", "AAAA", "\"", "%00", "%20", "?", "#", ".eyJ9", "~", "\u{1F512}"] {
        rows.add(format!("extended by {tail:?}"), format!("{good}{tail}"));
    }
    rows.add("oversized by its tail", format!("{good}{}", "A".repeat(17_000)));
    rows.add("oversized by a claim", maker.with_claims(&json!({ "more": "x".repeat(17_000) })));
    rows.add("oversized by its header", maker.with_header(&json!({ "more": "x".repeat(17_000) })));
}

/// Another letter at each place of the signature and at places of the other parts, one at a time. It differs in its
/// leading bit, so that the decoded bytes differ as well.
fn flips(maker: &Maker, rows: &mut Rows) {
    let good = &maker.good[0];
    let signature = good.rfind('.').unwrap() + 1;
    let places = (0..signature).step_by(7).chain(signature..good.len());
    for at in places.filter(|at| good.as_bytes()[*at] != b'.') {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = if bytes[at] < b'a' { b'z' } else { b'B' };
        rows.add(format!("another letter at {at}"), String::from_utf8(bytes).unwrap());
    }
}
