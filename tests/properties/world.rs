//! A tenant of its own on two servers, with the model beside it. Requests go to either server in turn.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use time::Duration;

use crate::model::{KeyState, Model};
use crate::ops::{Op, Pick};
use crate::server::{Answer, Call, Server};
use crate::signer::Signer;

/// Two servers over one database.
pub struct Site {
    pub servers: [Server; 2],
    worlds: Cell<usize>,
    /// Signing keys that were revoked, whoever did it.
    pub leaked: RefCell<BTreeSet<String>>,
}

impl Site {
    pub async fn new() -> Self {
        let first = Server::new().await;
        let second = first.replica().await;
        Self { servers: [first, second], worlds: Cell::new(0), leaked: RefCell::default() }
    }

    /// An empty tenant. The clock goes on from where the last world left it.
    pub fn world(&self) -> World<'_> {
        self.worlds.set(self.worlds.get() + 1);
        self.project(format!("world-{}", self.worlds.get()), "demo")
    }

    /// Another project of the same account.
    pub fn neighbour(&self, of: &World<'_>) -> World<'_> {
        self.project(of.account.clone(), "other")
    }

    fn project(&self, account: String, project: &'static str) -> World<'_> {
        let now = self.servers[0].app.clock.now();
        World {
            site: self,
            account,
            project,
            model: Model::new(now),
            tokens: Vec::new(),
            keys: Vec::new(),
            signers: Vec::new(),
            secrets: Vec::new(),
            turn: Cell::new(0),
            told: Vec::new(),
        }
    }
}

/// What came of a step, in words; or what is wrong.
pub type Done = Result<String, String>;

/// A tenant, with the secrets that were given out, by the positions that the model knows.
pub struct World<'a> {
    pub site: &'a Site,
    pub account: String,
    pub project: &'static str,
    pub model: Model,
    pub tokens: Vec<String>,
    pub keys: Vec<String>,
    pub signers: Vec<Signer>,
    pub secrets: Vec<String>,
    turn: Cell<usize>,
    told: Vec<String>,
}

impl<'a> World<'a> {
    /// The server whose turn it is.
    fn server(&self) -> &'a Server {
        self.turn.set(self.turn.get() + 1);
        &self.site.servers[self.turn.get() % 2]
    }

    /// A request of an administrator.
    pub fn admin(&self, method: &str, path: &str) -> Call<'a> {
        self.server().call(method, path).tenant(&self.account, self.project)
    }

    /// A request without a tenant.
    pub fn call(&self, method: &str, path: &str) -> Call<'a> {
        self.server().call(method, path)
    }

    /// Runs a statement that no route offers; `$1` and `$2` are the tenant. It must meet a row.
    pub async fn sql(&self, statement: &'static str, binds: &[&str]) {
        let mut query = sqlx::query(statement).bind(&self.account).bind(self.project);
        for bind in binds {
            query = query.bind((*bind).to_owned());
        }
        let done = query.execute(&self.site.servers[0].app.db).await.unwrap();
        assert!(done.rows_affected() > 0, "no row was changed by: {statement}");
    }

    /// Moves the clock of both servers.
    pub fn advance(&mut self, by: Duration) {
        self.site.servers[0].app.clock.advance(by);
        self.model.now = self.site.servers[0].app.clock.now();
    }

    /// Takes in what happened outside of the tenant: time went on, and signing keys may have been revoked.
    pub fn follow(&mut self) {
        self.model.now = self.site.servers[0].app.clock.now();
        let leaked = self.site.leaked.borrow();
        self.model.end_silently(|_, token| leaked.contains(&token.kid));
    }

    /// A whole history. The error shows it as far as it went.
    pub async fn run(&mut self, history: &[Op]) -> Result<(), String> {
        for op in history {
            self.step(op).await?;
        }
        Ok(())
    }

    /// One thing happens, to the servers and to the model; afterwards they agree on what stands.
    pub async fn step(&mut self, op: &Op) -> Result<(), String> {
        self.follow();
        let done = match op {
            Op::ByKey { .. }
            | Op::ByClient { .. }
            | Op::BySignature { .. }
            | Op::Issue { .. }
            | Op::Exchange { .. }
            | Op::RotateCredential(_) => self.issue(op).await,
            _ => self.change(op).await,
        };
        let done = done.map_err(|why| self.story(&format!("{op:?}: {why}")))?;
        self.told.push(format!("{op:?}: {done}"));
        self.check_standing().await.map_err(|why| self.story(&why))
    }

    /// The history so far, with what is wrong at its end.
    pub fn story(&self, why: &str) -> String {
        let steps: Vec<String> =
            self.told.iter().enumerate().map(|(at, step)| format!("{at:3} {step}")).collect();
        format!("{}\n==> {why}\n", steps.join("\n"))
    }

    /// The rows of the tenant are the model's tokens, no more and no fewer, and the predicate says of each what the model
    /// says.
    pub async fn check_standing(&self) -> Result<(), String> {
        let agents: Vec<&str> = self.model.agents.iter().map(|agent| agent.id.as_str()).collect();
        let rows: Vec<(String, bool, bool)> = sqlx::query_as(
            "select jti::text, revocation = '' and active_until > $3, is_revoked from credential_history
             where account_id = $1 and project_id = $4 and identity_id = any($2::text[]::uuid[])",
        )
        .bind(&self.account)
        .bind(&agents)
        .bind(self.model.now)
        .bind(self.project)
        .fetch_all(&self.site.servers[0].app.db)
        .await
        .unwrap();
        let rows: BTreeMap<String, (bool, bool)> =
            rows.into_iter().map(|(jti, active, revoked)| (jti, (active, revoked))).collect();
        let known: BTreeMap<String, (bool, bool)> = (0..self.model.tokens.len())
            .map(|at| (&self.model.tokens[at], self.model.is_active(at)))
            .map(|(token, active)| (token.jti.clone(), (active, token.ended)))
            .collect();
        if rows == known {
            return Ok(());
        }
        let mut faults = Vec::new();
        for (at, token) in self.model.tokens.iter().enumerate() {
            let (row, meant) = (rows.get(&token.jti), known.get(&token.jti));
            if row != meant {
                faults.push(format!("token {at} is (active, ended) {row:?} and not {meant:?}: {token:?}"));
            }
        }
        faults.extend(rows.keys().filter(|jti| !known.contains_key(*jti)).map(|jti| format!("row {jti}")));
        Err(faults.join("\n"))
    }

    /// The position of a token: one that stands where that is wanted and there is one.
    pub fn token(&self, pick: Pick) -> Option<usize> {
        let live: Vec<usize> = (0..self.tokens.len()).filter(|at| self.model.is_active(*at)).collect();
        one_of(pick, &live, self.tokens.len())
    }

    /// The position of an agent: one that is usable where that is wanted and there is one.
    pub fn agent(&self, pick: Pick) -> Option<usize> {
        let usable: Vec<usize> =
            (0..self.model.agents.len()).filter(|at| self.model.is_usable(*at)).collect();
        one_of(pick, &usable, self.model.agents.len())
    }

    /// The position of an API key: a live one of a usable agent where that is wanted and there is one.
    pub fn key(&self, pick: Pick) -> Option<usize> {
        let keys = &self.model.keys;
        let live = |at: &usize| keys[*at].state == KeyState::Live && self.model.is_usable(keys[*at].agent);
        let live: Vec<usize> = (0..keys.len()).filter(live).collect();
        one_of(pick, &live, keys.len())
    }

    /// The position of a client: one that works where that is wanted and there is one.
    pub fn client(&self, pick: Pick) -> Option<usize> {
        let clients = &self.model.clients;
        let works = |at: &usize| {
            clients[*at].active && !clients[*at].deleted && self.model.is_usable(clients[*at].agent)
        };
        let working: Vec<usize> = (0..clients.len()).filter(works).collect();
        one_of(pick, &working, clients.len())
    }
}

fn one_of(pick: Pick, useful: &[usize], all: usize) -> Option<usize> {
    match pick {
        _ if all == 0 => None,
        Pick::Last => Some(all - 1),
        Pick::Useful(at) if !useful.is_empty() => Some(useful[at % useful.len()]),
        Pick::Useful(at) | Pick::Any(at) => Some(at % all),
    }
}

/// A position among so many; `None` where there are none.
pub fn place(at: usize, all: usize) -> Option<usize> {
    (all > 0).then(|| at % all)
}

/// Requires one of these statuses.
pub fn expect(answer: &Answer, statuses: &[u16]) -> Result<(), String> {
    if statuses.contains(&answer.status.as_u16()) {
        return Ok(());
    }
    Err(format!("answered {} and not {statuses:?}: {}", answer.status, answer.text))
}

/// A part of a token, believed without a check: 0 is the header, 1 the claims.
pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Requires two values to be the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, meant: &T) -> Result<(), String> {
    if is == meant { Ok(()) } else { Err(format!("{what} is {is:?} and not {meant:?}")) }
}

/// Words of a JSON array.
pub fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().unwrap_or_default()).collect()
}
