//! What a client may see of a token and end: RFC 7662 section 4, RFC 7009 section 2.1. One table of tokens by clients, in
//! the open and in the strict mode.

use chancery::kit::config::Introspection;
use serde_json::{Value, json};

use crate::party::Program;
use crate::server::{Answer, ISSUER, Server};
use crate::tools::{assert_error, claims};

const INTROSPECT: &str = "/oauth2/token/introspect";
const REVOKE: &str = "/oauth2/token/revoke";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A client of acme/demo, bound to an agent.
    Worker,
    /// Another one of the same tenant.
    Neighbour,
    /// A client of another tenant.
    Foreigner,
    /// A public client of acme/demo.
    Public,
}

const ASKERS: [Asker; 4] = [Asker::Worker, Asker::Neighbour, Asker::Foreigner, Asker::Public];

/// The tokens, and who sees each.
const TOKENS: [(&str, &[Asker]); 9] = [
    ("of the worker, meant for this server", &[Asker::Worker, Asker::Neighbour]),
    ("of the worker, meant for others", &[Asker::Worker]),
    ("of the worker's agent by its key, meant for others", &[Asker::Worker]),
    ("of another agent, meant for this server", &[Asker::Worker, Asker::Neighbour]),
    ("of another agent, meant for others", &[]),
    ("of another agent, meant for the neighbour", &[Asker::Neighbour]),
    ("of the public client, meant for others", &[Asker::Public]),
    ("of another tenant, meant for this server", &[Asker::Foreigner]),
    ("of another tenant, meant for the worker", &[]),
];

struct Stage {
    server: Server,
    worker: Program,
    neighbour: Program,
    foreigner: Program,
    agent: String,
    other: String,
    other_key: String,
    abroad: String,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::new().await;
        let (agent, _) = server.agent("agent").await;
        let (other, other_key) = server.agent("other").await;
        let (next, _) = server.agent("next").await;
        let worker = server.program("worker", &agent, json!({})).await;
        let neighbour = server.program("neighbour", &next, json!({})).await;
        let public =
            json!({ "client_id": "phone", "name": "Phone", "grant_types": ["api_key"], "scopes": ["a"] });
        server.admin("POST", "/oauth/clients").json(public).send().await.expect(201);
        let abroad = |path: &'static str| server.call("POST", path).tenant("other", "demo");
        let body = json!({ "name": "A", "external_id": "abroad", "created_by": "x" });
        let registered = abroad("/agents/register").json(body).send().await.expect(201);
        let id = registered.body["identity"]["id"].as_str().unwrap().to_owned();
        let body = json!({ "client_id": "foreigner", "name": "F", "confidential": true, "scopes": ["a"] });
        let made = abroad("/oauth/clients").json(body).send().await.expect(201);
        let foreigner = Program {
            id: made.body["client"]["id"].as_str().unwrap().to_owned(),
            client_id: "foreigner".to_owned(),
            secret: made.text_of("client_secret").to_owned(),
        };
        Self { server, worker, neighbour, foreigner, agent, other, other_key, abroad: id }
    }

    /// Makes the token of a row of the table.
    async fn token(&self, row: usize) -> String {
        let elsewhere = "https://elsewhere.example";
        match row {
            0 => self.server.client_credentials(&self.worker, "a").await.token(),
            1 => self.meant_for(&self.server.client_credentials(&self.worker, "a").await.token()).await,
            2 => self.issue("acme", &self.agent, elsewhere).await,
            3 => self.issue("acme", &self.other, ISSUER).await,
            4 => self.issue("acme", &self.other, elsewhere).await,
            5 => self.issue("acme", &self.other, "neighbour").await,
            6 => {
                let form = [("grant_type", "api_key"), ("api_key", &self.other_key), ("client_id", "phone")];
                let token = self.server.post("/oauth2/token").form(&form).send().await.token();
                self.meant_for(&token).await
            }
            7 => self.issue("other", &self.abroad, ISSUER).await,
            _ => self.issue("other", &self.abroad, "worker").await,
        }
    }

    /// The same token, meant for others: no client asks for that yet, so the row says it.
    async fn meant_for(&self, token: &str) -> String {
        let jti = claims(token)["jti"].as_str().unwrap().to_owned();
        let sql =
            format!("update credentials set audience = '{{https://elsewhere.example}}' where jti = '{jti}'");
        assert_eq!(self.server.run_sql(sql).await, 1);
        token.to_owned()
    }

    async fn issue(&self, account: &str, id: &str, audience: &str) -> String {
        let body = json!({ "identity_id": id, "scopes": ["a"], "audience": [audience] });
        let call = self.server.call("POST", "/credentials/issue").tenant(account, "demo");
        let answer = call.json(body).send().await.expect(201);
        answer.body["token"]["access_token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, server: &Server, asker: Asker, path: &str, token: &str) -> Answer {
        let program = match asker {
            Asker::Worker => &self.worker,
            Asker::Neighbour => &self.neighbour,
            Asker::Foreigner => &self.foreigner,
            Asker::Public => {
                let form = [("token", token), ("client_id", "phone")];
                return server.post(path).form(&form).send().await;
            }
        };
        let form = [("token", token), ("client_id", &program.client_id), ("client_secret", &program.secret)];
        server.post(path).form(&form).send().await
    }
}

/// Every client by every token: who sees it is told all of it, others learn and change nothing.
#[expect(clippy::print_stdout, reason = "prints how many cells there are")]
async fn table(stage: &Stage, server: &Server) {
    let mut cells = 0;
    for (row, (what, seen_by)) in TOKENS.iter().enumerate() {
        for asker in ASKERS {
            let sees = seen_by.contains(&asker);
            let token = stage.token(row).await;
            let looked = stage.ask(server, asker, INTROSPECT, &token).await.expect(200).body;
            if sees {
                assert_eq!(looked, stage.server.introspect(&token).await, "{asker:?}: a token {what}");
                assert_eq!(looked["active"], true, "{asker:?}: a token {what}");
            } else {
                assert_eq!(looked, json!({ "active": false }), "{asker:?}: a token {what}");
            }
            let revoked = stage.ask(server, asker, REVOKE, &token).await.expect(200).body;
            assert_eq!(revoked, json!({ "revoked": true }), "{asker:?}: a token {what}");
            assert_eq!(stage.server.is_active(&token).await, !sees, "{asker:?}: a token {what}");
            cells += 1;
        }
    }
    println!("inspection: {cells} cells");
    assert_eq!(cells, TOKENS.len() * ASKERS.len());
}

#[tokio::test]
async fn rfc7662_s4_a_client_sees_and_ends_what_it_owns_or_what_is_meant_for_it() {
    let stage = Stage::new().await;
    table(&stage, &stage.server).await;
}

#[tokio::test]
async fn the_strict_mode_keeps_the_same_table() {
    let stage = Stage::new().await;
    let strict = stage.server.replica_with(|config| config.introspection = Introspection::Strict).await;
    table(&stage, &strict).await;
    let token = stage.token(0).await;
    for path in [INTROSPECT, REVOKE] {
        let anonymous = strict.post(path).form(&[("token", &token)]).send().await;
        assert_error(&anonymous, 401, "invalid_client");
    }
    assert!(stage.server.is_active(&token).await);
}

#[tokio::test]
async fn a_client_that_does_not_authenticate_learns_and_ends_nothing() {
    let stage = Stage::new().await;
    let strict = stage.server.replica_with(|config| config.introspection = Introspection::Strict).await;
    let token = stage.token(0).await;
    for server in [&stage.server, &strict] {
        for more in [
            &[("client_id", "worker"), ("client_secret", "wrong")][..],
            &[("client_id", "worker")],
            &[("client_id", "nobody"), ("client_secret", &stage.worker.secret)],
            &[("client_id", "phone"), ("client_secret", "x")],
            &[("client_secret", &stage.worker.secret)],
        ] {
            for path in [INTROSPECT, REVOKE] {
                for token in [token.as_str(), "x"] {
                    let form = [&[("token", token)], more].concat();
                    let answer = server.post(path).form(&form).send().await;
                    assert_error(&answer, 401, "invalid_client");
                    assert!(!answer.text.contains(&stage.worker.secret));
                }
            }
        }
    }
    assert!(stage.server.is_active(&token).await);
    assert_eq!(stage.server.count("select count(*) from revocations").await, 0);
}

#[tokio::test]
async fn a_client_that_is_off_sees_nothing_even_of_its_own() {
    let stage = Stage::new().await;
    let token = stage.token(2).await;
    stage.server.patch_client(&stage.worker.id, json!({ "is_active": false })).await.expect(200);
    for path in [INTROSPECT, REVOKE] {
        let answer = stage.ask(&stage.server, Asker::Worker, path, &token).await;
        assert_error(&answer, 401, "invalid_client");
    }
    assert!(stage.server.is_active(&token).await, "it was the agent's own, by no client");
}

#[tokio::test]
async fn a_revocation_names_the_client_in_the_audit_log() {
    let stage = Stage::new().await;
    let token = stage.token(0).await;
    for _ in 0..2 {
        stage.ask(&stage.server, Asker::Worker, REVOKE, &token).await.expect(200);
    }
    let rows: Vec<(String, String, Value)> = sqlx::query_as(
        "select actor_type, actor_id, metadata from audit_events where action = 'token.revoked'",
    )
    .fetch_all(&stage.server.app.db)
    .await
    .unwrap();
    assert_eq!(rows, [("client".into(), "worker".into(), json!({ "reason": "oauth2_revocation" }))]);
}

#[tokio::test]
async fn what_a_client_obtained_by_exchange_is_its_own_and_the_subject_token_is_not() {
    let stage = Stage::new().await;
    let server = &stage.server;
    let subject = stage.issue("acme", &stage.other, "https://elsewhere.example").await;
    let grant = json!({ "from_id": "worker", "to_id": stage.other });
    server.admin("POST", "/admin/may-act").json(grant).send().await.expect(201);
    let child = server.delegate_to_client(&subject, &stage.worker, "a").await.token();
    let active = async |token: &str| {
        stage.ask(server, Asker::Worker, INTROSPECT, token).await.expect(200).body["active"] == true
    };
    assert!(active(&child).await && !active(&subject).await);
    stage.ask(server, Asker::Worker, REVOKE, &subject).await.expect(200);
    assert!(server.is_active(&subject).await && server.is_active(&child).await);
    stage.ask(server, Asker::Worker, REVOKE, &child).await.expect(200);
    assert!(server.is_active(&subject).await && !server.is_active(&child).await);
}
