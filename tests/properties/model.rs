//! A plain model of one tenant. Where the servers mark a row and derive the rest, it ends every token one by one, so it
//! shares no idea with them but the rules themselves.

use std::collections::BTreeSet;

use chancery::kit::clock::Time;

use crate::scopes::{Ceiling, Grant, Grants, Scopes};

/// Everything that decides what is granted and what stands. Members of lists refer to each other by position.
#[derive(Clone, Debug)]
pub struct Model {
    pub now: Time,
    pub tenant_active: bool,
    pub policies: Vec<Policy>,
    pub agents: Vec<Agent>,
    pub keys: Vec<Key>,
    pub clients: Vec<Client>,
    pub may_acts: Vec<MayAct>,
    pub tokens: Vec<Token>,
    /// Which tokens a mark ended before their time. Each has one event, sooner or later.
    pub marked: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub id: String,
    pub rules: Rules,
    pub ends: Option<Time>,
}

/// What a policy says.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub ttl: i64,
    pub grants: Grants,
    pub scopes: Ceiling,
    pub trust: usize,
    pub depth: i32,
    pub active: bool,
}

/// Levels of trust in ascending order.
pub const TRUST: [&str; 3] = ["unverified", "verified_third_party", "first_party"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Suspended,
    Deactivated,
    Expired,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Expired => "expired",
        }
    }

    /// Whether an administrator may take the step.
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::Active => self != Self::Expired,
            Self::Suspended => matches!(self, Self::Active | Self::Suspended),
            Self::Deactivated => true,
            Self::Expired => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub id: String,
    pub external_id: String,
    pub uri: String,
    pub owner: usize,
    pub status: Status,
    pub allowed: Ceiling,
    pub trust: usize,
    pub policy: usize,
    pub ends: Option<Time>,
    /// Which of the signers is registered.
    pub signer: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    Live,
    Replaced,
    Revoked,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub agent: usize,
    pub scopes: Ceiling,
    pub policy: usize,
    pub ends: Option<Time>,
    pub state: KeyState,
}

#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub name: String,
    pub agent: usize,
    pub scopes: Scopes,
    pub grants: Grants,
    /// 0 leaves it to the server.
    pub ttl: i64,
    pub active: bool,
    pub deleted: bool,
    /// Which of the secrets works, and the one before it until a time.
    pub secret: usize,
    pub old_secret: Option<(usize, Time)>,
}

/// The agent `actor` may act, as a client, for `principal`.
#[derive(Clone, Debug)]
pub struct MayAct {
    pub id: String,
    pub actor: usize,
    pub principal: usize,
    pub hops: usize,
    pub scopes: Ceiling,
    pub live: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub jti: String,
    /// The key that signed it.
    pub kid: String,
    pub grant: Grant,
    pub holder: usize,
    pub key: Option<usize>,
    pub client: Option<usize>,
    pub parent: Option<usize>,
    pub depth: i32,
    /// How many acted so far, not counting who narrowed his own.
    pub actors: usize,
    pub scopes: Scopes,
    pub audience: Vec<&'static str>,
    /// Who alone may act for its holder, where it says so.
    pub may_act: Option<usize>,
    pub issued: Time,
    pub expires: Time,
    /// Whether anything ended it for good. Never taken back.
    pub ended: bool,
}

impl Model {
    /// An empty tenant.
    pub fn new(now: Time) -> Self {
        Self {
            now,
            tenant_active: true,
            policies: Vec::new(),
            agents: Vec::new(),
            keys: Vec::new(),
            clients: Vec::new(),
            may_acts: Vec::new(),
            tokens: Vec::new(),
            marked: BTreeSet::new(),
        }
    }

    /// The token and everything above it.
    pub fn chain(&self, token: usize) -> impl Iterator<Item = &Token> {
        let parent = |at: &usize| self.tokens[*at].parent;
        std::iter::successors(Some(token), parent).map(|at| &self.tokens[at])
    }

    /// The position of the root of its chain.
    pub fn root(&self, token: usize) -> usize {
        self.tokens[token].parent.map_or(token, |parent| self.root(parent))
    }

    /// Whether the token stands now. What ended is over; what sleeps, sleeps with whatever it comes from.
    pub fn is_active(&self, token: usize) -> bool {
        let wakes = |agent: &Agent| agent.status == Status::Active && !self.is_past(agent.ends);
        self.tenant_active
            && self
                .chain(token)
                .all(|one| !one.ended && one.expires > self.now && wakes(&self.agents[one.holder]))
    }

    pub fn is_past(&self, end: Option<Time>) -> bool {
        end.is_some_and(|end| end <= self.now)
    }

    /// When the first of the things that a token rests on will end by itself.
    pub fn stands_until(&self, token: usize) -> Time {
        let ends = |one: &Token| self.agents[one.holder].ends.map_or(one.expires, |end| end.min(one.expires));
        self.chain(token).map(ends).min().unwrap()
    }

    /// Ends the tokens that are meant and all below them by a mark, and says which had neither ended nor expired.
    pub fn end(&mut self, meant: impl Fn(usize, &Token) -> bool) -> BTreeSet<String> {
        let changed = self.end_silently(meant);
        self.marked.extend(changed.iter().cloned());
        changed
    }

    /// The same without a mark that anybody tells of, as when a signing key is revoked.
    pub fn end_silently(&mut self, meant: impl Fn(usize, &Token) -> bool) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for at in 0..self.tokens.len() {
            let token = &self.tokens[at];
            let below = token.parent.is_some_and(|parent| self.tokens[parent].ended);
            if !token.ended && (below || meant(at, token)) {
                if token.expires > self.now {
                    changed.insert(token.jti.clone());
                }
                self.tokens[at].ended = true;
            }
        }
        changed
    }

    /// Enters a state, with what that ends.
    pub fn enter(&mut self, agent: usize, next: Status) -> BTreeSet<String> {
        let before = std::mem::replace(&mut self.agents[agent].status, next);
        if before == next || matches!(next, Status::Active | Status::Suspended) {
            return BTreeSet::new();
        }
        for key in self.keys.iter_mut().filter(|key| key.agent == agent) {
            key.state = KeyState::Revoked;
        }
        self.end(|_, token| token.holder == agent)
    }

    /// Whether the agent may obtain anything.
    pub fn is_usable(&self, agent: usize) -> bool {
        self.agents[agent].status == Status::Active && !self.is_past(self.agents[agent].ends)
    }

    /// Whether the client may authenticate with this secret.
    pub fn accepts(&self, client: usize, secret: usize) -> bool {
        let known = &self.clients[client];
        let old = known.old_secret.is_some_and(|(old, until)| old == secret && until > self.now);
        self.tenant_active && known.active && !known.deleted && (known.secret == secret || old)
    }
}
