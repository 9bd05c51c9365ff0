//! Changes of all kinds to the same few agents and clients at once: nobody waits for another in a circle.

use std::sync::{Arc, Mutex};

use chancery::keys;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use crate::pair::{Pair, at_once, rounds};
use crate::party::{Party, Program};
use crate::server::{Answer, Server};
use crate::world::jti;

const AGENTS: usize = 4;

/// Requests of one round.
const REQUESTS: usize = 80;

const ROUNDS: usize = 6;

const OWNER: &str = "crowd@company.example";

#[derive(Clone, Copy, Debug)]
enum Change {
    RotateKey,
    Deactivate,
    Activate,
    Suspend,
    PublicKey,
    RotateSecret,
    ClientTokens,
    ClientOff,
    ClientOn,
    Pattern,
    RevokeToken,
    RevokeCredential,
    RotateCredential,
    IssueCredential,
    ByKey,
    BySecret,
    Delegate,
    TokensOfAgent,
    Offboard,
    Usage,
    Expiry,
    Events,
}

const CHANGES: [Change; 22] = [
    Change::RotateKey,
    Change::Deactivate,
    Change::Activate,
    Change::Suspend,
    Change::PublicKey,
    Change::RotateSecret,
    Change::ClientTokens,
    Change::ClientOff,
    Change::ClientOn,
    Change::Pattern,
    Change::RevokeToken,
    Change::RevokeCredential,
    Change::RotateCredential,
    Change::IssueCredential,
    Change::ByKey,
    Change::BySecret,
    Change::Delegate,
    Change::TokensOfAgent,
    Change::Offboard,
    Change::Usage,
    Change::Expiry,
    Change::Events,
];

/// An agent with its client, and what was last handed out for them.
struct Member {
    party: Party,
    program: Mutex<Program>,
    api_key: Mutex<String>,
    token: Mutex<String>,
}

impl Member {
    async fn new(server: &Server, number: usize) -> Self {
        let more = json!({ "allowed_scopes": ["a", "b"], "created_by": OWNER });
        let party = server.party(&format!("crowd-{number}"), more).await;
        let program = server.program(&format!("crowd-client-{number}"), &party.id, Value::Null).await;
        let token = server.exchange(&party.api_key, "a").await.token();
        Self {
            api_key: Mutex::new(party.api_key.clone()),
            program: Mutex::new(program),
            token: Mutex::new(token),
            party,
        }
    }

    fn program(&self) -> Program {
        let program = self.program.lock().unwrap();
        Program {
            id: program.id.clone(),
            client_id: program.client_id.clone(),
            secret: program.secret.clone(),
        }
    }

    fn token(&self) -> String {
        self.token.lock().unwrap().clone()
    }

    /// Keeps what an answer shows once.
    fn keep(&self, answer: &Answer) {
        for (member, place) in [("api_key", &self.api_key), ("access_token", &self.token)] {
            if let Some(text) = answer.body[member].as_str() {
                text.clone_into(&mut place.lock().unwrap());
            }
        }
        if let Some(text) = answer.body["client_secret"].as_str() {
            text.clone_into(&mut self.program.lock().unwrap().secret);
        }
        if let Some(text) = answer.body["token"]["access_token"].as_str() {
            text.clone_into(&mut self.token.lock().unwrap());
        }
    }

    /// One change, or a step of a worker.
    async fn undergo(&self, server: &Server, change: Change, other: &Self) -> Option<Answer> {
        let agent = |action: &str| format!("/agents/registry/{}{action}", self.party.id);
        let client = |action: &str| format!("/oauth/clients/{}{action}", self.program().id);
        let credential = |action: &str| format!("/credentials/{}/{action}", jti(&self.token()));
        let (method, path, body) = match change {
            Change::RotateKey => ("POST", agent("/rotate-key"), Value::Null),
            Change::Deactivate => ("POST", agent("/deactivate"), Value::Null),
            Change::Activate => ("POST", agent("/activate"), Value::Null),
            Change::Suspend => ("PATCH", agent(""), json!({ "status": "suspended" })),
            Change::PublicKey => {
                ("PATCH", agent(""), json!({ "public_key_pem": self.party.signer.pem(), "status": "active" }))
            }
            Change::RotateSecret => ("POST", client("/rotate-secret"), Value::Null),
            Change::ClientTokens => ("POST", client("/revoke-tokens"), Value::Null),
            Change::ClientOff => ("PATCH", client(""), json!({ "is_active": false })),
            Change::ClientOn => ("PATCH", client(""), json!({ "is_active": true, "name": "on" })),
            Change::Pattern => (
                "POST",
                "/admin/oauth/revoke-by-pattern".to_owned(),
                json!({ "client_id_pattern": "crowd-*" }),
            ),
            Change::RevokeCredential => ("POST", credential("revoke"), Value::Null),
            Change::RotateCredential => ("POST", credential("rotate"), Value::Null),
            Change::IssueCredential => {
                ("POST", "/credentials/issue".to_owned(), json!({ "identity_id": self.party.id }))
            }
            Change::TokensOfAgent => {
                ("POST", format!("/agents/{}/tokens/revoke-all", self.party.id), Value::Null)
            }
            Change::Offboard => {
                ("POST", "/identities/offboard-by-owner".to_owned(), json!({ "owner_user_id": OWNER }))
            }
            _ => return self.protocol(server, change, other).await,
        };
        Some(server.change(method, &path, &body).await)
    }

    async fn protocol(&self, server: &Server, change: Change, other: &Self) -> Option<Answer> {
        match change {
            Change::RevokeToken => {
                let token = self.token();
                Some(server.post("/oauth2/token/revoke").form(&[("token", &token)]).send().await)
            }
            Change::ByKey => {
                let key = self.api_key.lock().unwrap().clone();
                Some(server.exchange(&key, "a").await)
            }
            Change::BySecret => Some(server.client_credentials(&self.program(), "a").await),
            Change::Delegate => Some(server.delegate(&self.token(), &other.party, "a").await),
            Change::Usage => {
                note_uses(server).await;
                chancery::api_keys::flush(&server.app).await.unwrap();
                None
            }
            Change::Events => {
                chancery::tokens::worker::announce(&server.app).await.unwrap();
                None
            }
            _ => {
                chancery::agents::worker::expire(&server.app).await.unwrap();
                None
            }
        }
    }
}

/// As if every key had just been used at this server.
async fn note_uses(server: &Server) {
    let keys: Vec<Uuid> =
        sqlx::query_scalar("select id from api_keys").fetch_all(&server.app.db).await.unwrap();
    for key in keys {
        server.app.usage.note(key, server.app.clock.now(), None);
    }
}

/// What must be true whatever the order: an agent has at most one key that works, and each epoch that ended has its mark.
async fn check(server: &Server) {
    let twice = "select count(*) from (select from api_keys where revoked_at is null and replaced_at is null
                 group by identity_id having count(*) > 1) as several";
    assert_eq!(server.count(twice).await, 0, "agents with several live keys");
    let unmarked = "select count(*) from (select 'client' as anchor, id, epoch from oauth_clients
                    union all select 'identity', id, epoch from identities) as e
                    where epoch <> (select count(*) from revocations r where r.anchor = e.anchor and r.anchor_id = e.id)";
    assert_eq!(server.count(unmarked).await, 0, "epochs without their marks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn changes_of_all_kinds_at_once_are_answered_without_a_fault() {
    let pair = Pair::new().await;
    let mut members = Vec::new();
    for number in 0..AGENTS {
        members.push(Member::new(&pair.one, number).await);
    }
    let members = Arc::new(members);
    let (mut done, mut refused) = (0, 0);
    for round in 0..rounds(ROUNDS) {
        let calls = (0..REQUESTS).map(|number| {
            let (server, members) = (pair.at(number + round), members.clone());
            async move {
                let change = CHANGES[(number * 7 + round * 3) % CHANGES.len()];
                let member = &members[(number / 3 + round) % AGENTS];
                server.app.clock.advance(Duration::microseconds(150));
                let answer = member.undergo(&server, change, &members[number % AGENTS]).await?;
                assert!(answer.status.as_u16() < 500, "{change:?}: {} {}", answer.status, answer.text);
                member.keep(&answer);
                Some(answer.status.is_success())
            }
        });
        let answers = at_once(calls).await;
        done += answers.iter().filter(|answer| **answer == Some(true)).count();
        refused += answers.iter().filter(|answer| **answer == Some(false)).count();
        check(&pair.one).await;
        pair.one.app.clock.advance(Duration::seconds(1));
        // Rounds go on for longer than a server may sign without having looked at its keys.
        for server in [&pair.one, &pair.two] {
            keys::worker::refresh(&server.app).await.unwrap();
        }
    }
    println!("{done} changes done, {refused} refused");
    assert!(done > 0 && refused > 0);
}
