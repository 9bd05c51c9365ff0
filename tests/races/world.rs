//! An agent with everything that tokens rest on, the ways to tokens of it, and what may end them.

use serde_json::{Value, json};

use crate::pair::Pair;
use crate::party::{Party, Program};
use crate::server::{Answer, Server};

/// A way to a token that rests on the agent.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Its API key.
    ApiKey,
    /// An assertion that it signs.
    Assertion,
    /// The client that is bound to it.
    Client,
    /// Another agent exchanges its token.
    Delegated,
    /// A third agent exchanges what came of that.
    Deeper,
    /// Its client exchanges its token.
    ByClient,
    /// It exchanges another one's token.
    Acting,
}

pub const WAYS: [Way; 7] =
    [Way::ApiKey, Way::Assertion, Way::Client, Way::Delegated, Way::Deeper, Way::ByClient, Way::Acting];

/// What may happen to the agent and its tokens.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Its API key is revoked.
    Key,
    /// Its client's tokens are.
    ClientTokens,
    /// They are, by a pattern.
    Pattern,
    /// Its client is made inactive.
    ClientInactive,
    /// Its client is deleted.
    ClientDeleted,
    /// The agent is deactivated.
    Deactivated,
    /// It is deleted.
    Deleted,
    /// Whoever answers for it leaves.
    Offboarded,
    /// All its tokens are revoked.
    TokensOfAgent,
    /// Its token is revoked by whoever holds it.
    Token,
    /// Its token is revoked by an administrator.
    Credential,
    /// What another agent got for its token is revoked.
    Middle,
}

/// What becomes of the tokens that came one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They stand, and more are issued.
    Stands,
    /// They end, and new ones are issued.
    Renewed,
    /// They end, and no more are issued.
    Ended,
}

impl End {
    /// The fates, in the order of the ways.
    pub fn fates(self) -> [Fate; WAYS.len()] {
        use Fate::{Ended as E, Renewed as R, Stands as S};
        match self {
            Self::Key => [E, S, S, E, E, E, S],
            Self::ClientTokens | Self::Pattern => [S, S, R, S, S, R, S],
            Self::ClientInactive | Self::ClientDeleted => [S, S, E, S, S, E, S],
            Self::Deactivated | Self::Deleted | Self::Offboarded => [E; WAYS.len()],
            Self::TokensOfAgent => [R, R, R, E, E, E, R],
            Self::Token | Self::Credential => [S, S, S, E, E, E, S],
            Self::Middle => [S, S, S, S, E, S, S],
        }
    }

    /// Whether listeners hear of it. No route revokes a key alone, and so nothing tells of it.
    pub fn is_told(self) -> bool {
        !matches!(self, Self::Key)
    }

    /// Brings it about at this server; when the answer is there it has happened.
    pub async fn strike(self, server: &Server, world: &World) {
        let (agent, client) = (&world.holder.id, &world.program.id);
        let (method, path, body) = match self {
            Self::Key => {
                let sql = format!("update api_keys set revoked_at = now() where identity_id = '{agent}'");
                assert_eq!(server.sql(sql).await, 1);
                return;
            }
            Self::Token | Self::Middle => {
                let token = if matches!(self, Self::Token) { &world.root } else { &world.middle };
                server.post("/oauth2/token/revoke").form(&[("token", token)]).send().await.expect(200);
                return;
            }
            Self::Credential => ("POST", format!("/credentials/{}/revoke", jti(&world.root)), Value::Null),
            Self::ClientTokens => ("POST", format!("/oauth/clients/{client}/revoke-tokens"), Value::Null),
            Self::Pattern => {
                let body = json!({ "client_id_pattern": world.program.client_id, "reason": "race" });
                ("POST", "/admin/oauth/revoke-by-pattern".to_owned(), body)
            }
            Self::ClientInactive => {
                ("PATCH", format!("/oauth/clients/{client}"), json!({ "is_active": false }))
            }
            Self::ClientDeleted => ("DELETE", format!("/oauth/clients/{client}"), Value::Null),
            Self::Offboarded => {
                let body = json!({ "owner_user_id": world.owner });
                ("POST", "/identities/offboard-by-owner".to_owned(), body)
            }
            Self::TokensOfAgent => ("POST", format!("/agents/{agent}/tokens/revoke-all"), Value::Null),
            Self::Deactivated => ("POST", format!("/agents/registry/{agent}/deactivate"), Value::Null),
            Self::Deleted => ("DELETE", format!("/agents/registry/{agent}"), Value::Null),
        };
        server.change(method, &path, &body).await.expect(200);
    }
}

/// The agent and those it has to do with.
pub struct World {
    /// Who answers for the agent, and for nothing else.
    owner: String,
    pub holder: Party,
    pub program: Program,
    actor: Party,
    helper: Party,
    /// The agent's own token, by its API key.
    pub root: String,
    /// What the actor got for it.
    pub middle: String,
    /// A token of somebody else.
    foreign: String,
}

impl World {
    /// A new agent whose names end in `name`.
    pub async fn new(pair: &Pair, name: &str) -> Self {
        let server = &pair.one;
        let owner = format!("{name}@company.example");
        let scopes = json!({ "allowed_scopes": ["a", "b", "c"] });
        let owned = json!({ "allowed_scopes": ["a", "b", "c"], "created_by": owner });
        let holder = server.party(&format!("holder-{name}"), owned).await;
        let actor = server.party(&format!("actor-{name}"), scopes.clone()).await;
        let helper = server.party(&format!("helper-{name}"), scopes).await;
        let program = server.program(&format!("client-{name}"), &holder.id, Value::Null).await;
        let root = server.exchange(&holder.api_key, "a b").await.token();
        let middle = server.delegate(&root, &actor, "a b").await.token();
        let foreign = server.exchange(&helper.api_key, "a").await.token();
        Self { owner, holder, program, actor, helper, root, middle, foreign }
    }

    /// Asks a server for a token.
    pub async fn issue(&self, server: &Server, way: Way) -> Answer {
        match way {
            Way::ApiKey => server.exchange(&self.holder.api_key, "a").await,
            Way::Assertion => server.assert(&server.assertion(&self.holder), "a").await,
            Way::Client => server.client_credentials(&self.program, "a").await,
            Way::Delegated => server.delegate(&self.root, &self.actor, "a").await,
            Way::Deeper => server.delegate(&self.middle, &self.helper, "a").await,
            Way::ByClient => server.delegate_to_client(&self.root, &self.program, "a").await,
            Way::Acting => server.delegate(&self.foreign, &self.holder, "a").await,
        }
    }
}

/// The id of a token.
pub fn jti(token: &str) -> String {
    let claims = chancery::tokens::claims_of(token).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

impl Server {
    /// An administrator's request; a body that is null is none.
    pub async fn change(&self, method: &str, path: &str, body: &Value) -> Answer {
        let call = self.admin(method, path);
        if body.is_null() { call.send().await } else { call.json(body).send().await }
    }
}
