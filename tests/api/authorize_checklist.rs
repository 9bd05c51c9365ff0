//! The authorization endpoint's checklist as one table: redirects (RFC 9700 section 4.1), PKCE (section 2.1.1), mix-up (section
//! 4.4), codes, consent. Each row is a client's request and redemption, and how far they come. The test prints the table.

use serde_json::json;
use time::Duration;

use crate::client_documents::fetching;
use crate::https::Site;
use crate::people::{Ask, CALLBACK, CHALLENGE, redemption};
use crate::server::{Answer, ISSUER, Server};
use crate::signer::Signer;

/// What is changed of a good request; an empty value takes a parameter away.
type Changes = &'static [(&'static str, &'static str)];

/// Name, changes of the request, changes of the redemption, and what comes of it: `asked` is the consent page, `here E` an error
/// without a redirect, `client E` one that is told to the client, `token E` a refusal of the code, `good` a token.
type Row = (&'static str, Changes, Changes, &'static str);

/// RFC 6749 section 3.1.2.3, RFC 8252 section 7.3: exactly the registered one, save the port on loopback.
const REDIRECTS: [Row; 27] = [
    ("the registered one", &[], &[], "good"),
    ("none", &[("redirect_uri", "")], &[], "here invalid_request"),
    ("one that is nobody's", &[("redirect_uri", "https://evil.example/cb")], &[], "here invalid_request"),
    ("a path below", &[("redirect_uri", "https://app.example/cb/x")], &[], "here invalid_request"),
    ("a slash more", &[("redirect_uri", "https://app.example/cb/")], &[], "here invalid_request"),
    ("another case", &[("redirect_uri", "https://app.example/CB")], &[], "here invalid_request"),
    ("a query more", &[("redirect_uri", "https://app.example/cb?x=1")], &[], "here invalid_request"),
    ("a fragment", &[("redirect_uri", "https://app.example/cb#x")], &[], "here invalid_request"),
    ("plain http", &[("redirect_uri", "http://app.example/cb")], &[], "here invalid_request"),
    ("another port", &[("redirect_uri", "https://app.example:8443/cb")], &[], "here invalid_request"),
    (
        "a parameter of the path",
        &[("redirect_uri", "https://app.example/..;/cb")],
        &[],
        "here invalid_request",
    ),
    ("dots in the path", &[("redirect_uri", "https://app.example/x/../cb")], &[], "here invalid_request"),
    ("escaped dots", &[("redirect_uri", "https://app.example/%2e%2e/cb")], &[], "here invalid_request"),
    ("an escaped letter", &[("redirect_uri", "https://app.example/%63b")], &[], "here invalid_request"),
    (
        "a backslash",
        &[("redirect_uri", "https://app.example\\@evil.example/cb")],
        &[],
        "here invalid_request",
    ),
    ("a user", &[("redirect_uri", "https://app.example@evil.example/cb")], &[], "here invalid_request"),
    (
        "a longer host",
        &[("redirect_uri", "https://app.example.evil.example/cb")],
        &[],
        "here invalid_request",
    ),
    ("a shorter host", &[("redirect_uri", "https://xapp.example/cb")], &[], "here invalid_request"),
    ("a script", &[("redirect_uri", "JavaScript:alert(1)")], &[], "here invalid_request"),
    ("data", &[("redirect_uri", "data:text/html,x")], &[], "here invalid_request"),
    ("twice", &[("+redirect_uri", "https://evil.example/cb")], &[], "here invalid_request"),
    ("loopback, another port", &[("redirect_uri", "http://127.0.0.1:9/cb")], &[], "good"),
    ("loopback, another of its names", &[("redirect_uri", "http://localhost:9/cb")], &[], "good"),
    ("loopback, another path", &[("redirect_uri", "http://127.0.0.1:9/x")], &[], "here invalid_request"),
    (
        "loopback's name and more",
        &[("redirect_uri", "http://localhost.evil:9/cb")],
        &[],
        "here invalid_request",
    ),
    (
        "loopback with a user",
        &[("redirect_uri", "http://localhost@evil.example/cb")],
        &[],
        "here invalid_request",
    ),
    (
        "another address of the device",
        &[("redirect_uri", "http://127.0.0.2:9/cb")],
        &[],
        "here invalid_request",
    ),
];

/// RFC 7636, from every client; a challenge and its verifier come together or not at all.
const PKCE: [Row; 11] = [
    ("no challenge", &[("code_challenge", "")], &[], "client invalid_request"),
    (
        "neither challenge nor method",
        &[("code_challenge", ""), ("code_challenge_method", "")],
        &[],
        "client invalid_request",
    ),
    ("no method, which means plain", &[("code_challenge_method", "")], &[], "client invalid_request"),
    ("plain", &[("code_challenge_method", "plain")], &[], "client invalid_request"),
    ("another case of the method", &[("code_challenge_method", "s256")], &[], "client invalid_request"),
    ("a challenge that is no digest", &[("code_challenge", "x")], &[], "client invalid_request"),
    ("two challenges", &[("+code_challenge", CHALLENGE)], &[], "here invalid_request"),
    ("no verifier", &[], &[("code_verifier", "")], "token invalid_request"),
    ("the challenge as its verifier", &[], &[("code_verifier", CHALLENGE)], "token invalid_grant"),
    ("a verifier too short", &[], &[("code_verifier", "dBjftJeZ4CVP")], "token invalid_grant"),
    (
        "a confidential client without",
        &[("client_id", "site"), ("code_challenge", "")],
        &[],
        "client invalid_request",
    ),
];

/// RFC 9207, RFC 9700 section 4.4: each answer names who gave it, whatever the request says; there is no other kind of answer.
const MIX_UP: [Row; 8] = [
    ("the request names another issuer", &[("iss", "https://evil.example")], &[], "good"),
    (
        "an error of such a request",
        &[("iss", "https://evil.example"), ("scope", "z")],
        &[],
        "client invalid_scope",
    ),
    ("a token in the answer", &[("response_type", "token")], &[], "client unsupported_response_type"),
    ("a code and a token", &[("response_type", "code token")], &[], "client unsupported_response_type"),
    ("an ID token", &[("response_type", "id_token")], &[], "client unsupported_response_type"),
    ("the answer in a fragment", &[("response_mode", "fragment")], &[], "client invalid_request"),
    ("the answer as a form", &[("response_mode", "form_post")], &[], "client invalid_request"),
    ("a request object", &[("request", "e30")], &[], "here invalid_request"),
];

/// RFC 6749 section 4.1.3, RFC 9449 section 10: a code is one client's, for one address, verifier and key, and one minute.
const CODES: [Row; 14] = [
    ("another client", &[], &[("client_id", "other")], "token invalid_grant"),
    ("a described client", &[], &[("client_id", "$DESCRIBED")], "token invalid_grant"),
    ("no client", &[], &[("client_id", "")], "token invalid_request"),
    ("another redirect URI", &[], &[("redirect_uri", "https://evil.example/cb")], "token invalid_grant"),
    (
        "a further registered redirect URI",
        &[],
        &[("redirect_uri", "http://127.0.0.1/cb")],
        "token invalid_grant",
    ),
    ("no redirect URI", &[], &[("redirect_uri", "")], "token invalid_request"),
    ("in its last moment", &[], &[("$WAIT", "59")], "good"),
    ("after a minute", &[], &[("$WAIT", "60")], "token invalid_grant"),
    ("without the key of dpop_jkt", &[("dpop_jkt", "$KEY")], &[], "token invalid_dpop_proof"),
    ("with another key", &[("dpop_jkt", "$KEY")], &[("$PROOF", "other")], "token invalid_dpop_proof"),
    ("with the key of dpop_jkt", &[("dpop_jkt", "$KEY")], &[("$PROOF", "own")], "good"),
    ("for more than was agreed to", &[], &[("scope", "b")], "token invalid_scope"),
    ("as a password", &[], &[("grant_type", "password")], "token unsupported_grant_type"),
    ("as a refresh token", &[], &[("grant_type", "refresh_token")], "token unauthorized_client"),
];

/// The person agreed to `diary`, `a`, this server. MCP's confused deputy: nobody else inherits that.
const CONSENT: [Row; 8] = [
    ("a second client of the same person", &[("client_id", "other")], &[], "asked"),
    ("a described client", &[("client_id", "$DESCRIBED")], &[], "asked"),
    ("more scopes", &[("scope", "a b")], &[], "asked"),
    ("all scopes", &[("scope", "")], &[], "asked"),
    ("another resource", &[("resource", "https://api.example/")], &[], "asked"),
    ("a program on the device, each time", &[("redirect_uri", "http://127.0.0.1:9/cb")], &[], "asked"),
    ("a client nobody knows", &[("client_id", "unknown")], &[], "here invalid_client"),
    ("another case of the client's name", &[("client_id", "Diary")], &[], "here invalid_client"),
];

/// OAuth Client ID Metadata Document: which URLs are clients, and what such a client never obtains.
const DESCRIBED: [Row; 9] = [
    ("a document", &[("client_id", "$DESCRIBED")], &[], "good"),
    (
        "its redirect URIs only",
        &[("client_id", "$DESCRIBED"), ("redirect_uri", "http://127.0.0.1/cb")],
        &[],
        "here invalid_request",
    ),
    (
        "no error by a redirect",
        &[("client_id", "$DESCRIBED"), ("code_challenge", "")],
        &[],
        "here invalid_request",
    ),
    ("a document of another name", &[("client_id", "$MISNAMED")], &[], "here invalid_client"),
    ("a private address", &[("client_id", "https://10.0.0.1/x")], &[], "here invalid_client"),
    ("plain http", &[("client_id", "http://127.0.0.1/x")], &[], "here invalid_client"),
    ("no path", &[("client_id", "https://127.0.0.1/")], &[], "here invalid_client"),
    ("a query", &[("client_id", "https://127.0.0.1/x?y")], &[], "here invalid_client"),
    (
        "token exchange",
        &[("client_id", "$DESCRIBED")],
        &[("grant_type", crate::party::TOKEN_EXCHANGE)],
        "token invalid_client",
    ),
];

struct Stage {
    server: Server,
    cookie: String,
    described: String,
    misnamed: String,
    key: Signer,
}

impl Stage {
    async fn new() -> Self {
        let (server, site) = (fetching().await, Site::start().await);
        let (described, misnamed) = (site.url("/app.json"), site.url("/other.json"));
        let document = json!({ "client_id": described, "client_name": "App", "redirect_uris": [CALLBACK], "scope": "a b" });
        site.json("/app.json", document.clone());
        site.json("/other.json", document);
        let uris = json!({ "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"] });
        server.program_of_people("diary", uris).await;
        server.program_of_people("other", json!({})).await;
        let secret = json!({ "confidential": true, "token_endpoint_auth_method": "client_secret_post" });
        server.program_of_people("site", secret).await;
        let cookie = server.cookie(&server.person("u-ada").await).await;
        server.code(&Ask::of("diary"), &cookie).await;
        Self { server, cookie, described, misnamed, key: Signer::new() }
    }

    fn value(&self, value: &str) -> String {
        match value {
            "$DESCRIBED" => self.described.clone(),
            "$MISNAMED" => self.misnamed.clone(),
            "$KEY" => self.key.jkt(),
            other => other.to_owned(),
        }
    }

    /// What comes of a row, in the words of its last column.
    async fn outcome(&self, (_, asked, redeemed, expected): &Row) -> String {
        let change = |ask: Ask, (name, value): &(&str, &str)| match name.strip_prefix('+') {
            Some(name) => ask.and(name, &self.value(value)),
            None => ask.with(name, &self.value(value)),
        };
        let ask = asked.iter().fold(Ask::of("diary"), change);
        let answer = self.server.ask(&ask, &self.cookie).await;
        let answer = match answer.status.as_u16() {
            302 => answer,
            200 if *expected == "asked" => return "asked".to_owned(),
            200 => self.server.press(&answer, &self.cookie, "allow").await,
            _ => return format!("here {}", error_of(&answer)),
        };
        let told = answer.told();
        let location = answer.header("location");
        let whose = (told["iss"].as_str(), location.matches("iss=").count(), told["state"].as_str());
        assert_eq!(whose, (ISSUER, 1, "s t&a=te"), "{location}");
        match told.get("error") {
            Some(error) => format!("client {error}"),
            None => self.redeem(&ask, &told["code"], redeemed).await,
        }
    }

    async fn redeem(&self, ask: &Ask, code: &str, changes: &[(&str, &str)]) -> String {
        let (mut more, mut proof) = (Vec::new(), None);
        for (name, value) in changes {
            match *name {
                "$WAIT" => self.server.app.clock.advance(Duration::seconds(value.parse().unwrap())),
                "$PROOF" => proof = Some(if *value == "own" { self.key.clone() } else { Signer::new() }),
                name => more.push((name, self.value(value))),
            }
        }
        let said = |name: &str| {
            form_urlencoded::parse(ask.query().as_bytes())
                .find(|(known, _)| known == name)
                .unwrap()
                .1
                .into_owned()
        };
        for name in ["client_id", "redirect_uri"] {
            if more.iter().all(|(known, _)| *known != name) {
                more.push((name, said(name)));
            }
        }
        let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let form = redemption("", code, &more);
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let call = self.server.post("/oauth2/token").form(&form);
        let call = match &proof {
            Some(key) => call.with("DPoP", &self.server.proof(key)),
            None => call,
        };
        let answer = call.send().await;
        if answer.status.is_success() {
            "good".to_owned()
        } else {
            format!("token {}", answer.text_of("error"))
        }
    }
}

/// The error that a page tells; nobody may be sent anywhere.
fn error_of(answer: &Answer) -> String {
    assert!(answer.status.is_client_error() && answer.header("location").is_empty(), "{}", answer.text);
    let (_, rest) = answer.text.split_once("Error: <code>").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_row_of_the_checklist_holds() {
    let tables: [(&str, &[Row]); 6] = [
        ("redirect URI", &REDIRECTS),
        ("PKCE", &PKCE),
        ("mix-up", &MIX_UP),
        ("code", &CODES),
        ("consent", &CONSENT),
        ("client document", &DESCRIBED),
    ];
    let mut wrong = Vec::new();
    for (subject, rows) in tables {
        // A person's browser is known for a quarter of an hour, and what one table agreed to is nothing to the next.
        let stage = Stage::new().await;
        for row in rows {
            let outcome = stage.outcome(row).await;
            println!("{subject:<16} {:<40} {outcome}", row.0);
            if outcome != row.3 {
                wrong.push(format!("{subject}, {}: {outcome}, not {}", row.0, row.3));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// RFC 6749 section 4.1.2: a second use is refused and ends what the first one obtained.
#[tokio::test]
async fn a_code_of_the_checklist_works_once() {
    let stage = Stage::new().await;
    for client in ["diary", "$DESCRIBED"] {
        let ask = Ask::of(&stage.value(client));
        let code = stage.server.code(&ask, &stage.cookie).await;
        let token = stage.server.redeem(&stage.value(client), &code, &[]).await.token();
        assert!(stage.server.is_active(&token).await);
        assert_eq!(stage.redeem(&ask, &code, &[]).await, "token invalid_grant");
        assert!(!stage.server.is_active(&token).await);
    }
}
