//! What a way needs, made anew for every cell: an agent with its key, policies, a client, and for an exchange the
//! token above it with what that rests on.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::trust::Vouching;
use super::way::Way;
use crate::party::{Party, Program};
use crate::people::{Ask, CALLBACK};
use crate::server::Server;
use crate::signer::{Signer, with};
use crate::tools::claims;

/// What every client of a scene may use.
pub const GRANTS: [&str; 5] =
    ["client_credentials", "api_key", "token_exchange", "authorization_code", "refresh_token"];

static SCENES: AtomicU32 = AtomicU32::new(0);

/// How a client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Basic,
    Post,
    ClientKey,
    AgentKey,
    /// Not at all: it is public.
    Nothing,
}

/// The client of the request.
pub struct Caller {
    pub id: String,
    pub client_id: String,
    pub secret: String,
    pub signer: Signer,
    pub proof: Proof,
    /// The secret after a rotation, and a key that is not the client's or not yet.
    pub next_secret: String,
    pub other: Signer,
}

impl Caller {
    fn program(&self) -> Program {
        let Self { id, client_id, secret, .. } = self;
        Program { id: id.clone(), client_id: client_id.clone(), secret: secret.clone() }
    }
}

/// The scene of one cell.
pub struct Scene {
    /// Sets this scene's names apart from those of others.
    pub number: u32,
    /// Who obtains the credential.
    pub agent: Party,
    pub owner: String,
    pub api_key: String,
    /// The API key after a rotation.
    pub next_key: String,
    pub policy: String,
    pub key_policy: String,
    pub caller: Option<Caller>,
    /// The credential that is to be rotated.
    pub credential: String,
    /// The token that is to be exchanged.
    pub subject: String,
    /// Who holds that token, the client that obtained it, and who holds the one above it.
    pub planner: Option<Party>,
    pub planner_client: Option<Program>,
    pub root: Option<Party>,
    pub may_act: String,
    /// The person who let the client act, and the code that came of it.
    pub person: String,
    pub code: String,
    /// The newest token of a refresh family.
    pub refresh_token: String,
    /// The issuer outside that vouches for the agent, for the holder of the subject token, or for the person.
    pub vouching: Option<Vouching>,
}

impl Scene {
    /// A scene in which `way` works. Below a `grandparent` the subject token is a delegated one.
    pub async fn new(server: &Server, way: Way, grandparent: bool) -> Self {
        let number = SCENES.fetch_add(1, Ordering::SeqCst);
        let owner = format!("owner-{number}@company.example");
        let agent = server.party(&format!("agent-{number}"), json!({ "created_by": owner })).await;
        let policy = server.full_policy(&format!("own-{number}")).await;
        let key_policy = server.full_policy(&format!("key-{number}")).await;
        let id = &agent.id;
        let own = format!("update identities set credential_policy_id = '{policy}' where id = '{id}'");
        let keys =
            format!("update api_keys set credential_policy_id = '{key_policy}' where identity_id = '{id}'");
        assert_eq!((server.run_sql(own).await, server.run_sql(keys).await), (1, 1));
        let mut scene = Self {
            number,
            api_key: agent.api_key.clone(),
            next_key: String::new(),
            agent,
            owner,
            policy,
            key_policy,
            caller: None,
            credential: String::new(),
            subject: String::new(),
            planner: None,
            planner_client: None,
            root: None,
            may_act: String::new(),
            person: String::new(),
            code: String::new(),
            refresh_token: String::new(),
            vouching: None,
        };
        if let Some(proof) = way.proof() {
            scene.caller = Some(scene.register(server, proof).await);
        }
        scene.trust(server, way).await;
        scene.rotatable(server, way).await;
        if way == Way::Refresh {
            scene.begin(server).await;
        }
        if way.is_exchange() {
            scene.above(server, way, grandparent).await;
        }
        scene
    }

    async fn register(&self, server: &Server, proof: Proof) -> Caller {
        let signer = if proof == Proof::AgentKey { self.agent.signer.clone() } else { Signer::new() };
        let grants = json!(GRANTS);
        let more = match proof {
            Proof::Basic => {
                json!({ "token_endpoint_auth_method": "client_secret_basic", "grant_types": grants })
            }
            Proof::ClientKey => json!({
                "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [signer.jwk()] }, "grant_types": grants,
            }),
            Proof::AgentKey => {
                json!({ "token_endpoint_auth_method": "private_key_jwt", "grant_types": grants })
            }
            Proof::Post | Proof::Nothing => {
                json!({ "token_endpoint_auth_method": "client_secret_post", "grant_types": grants })
            }
        };
        let client_id = format!("client-{}", self.number);
        let more = with(&more, &json!({ "redirect_uris": [CALLBACK] }));
        let Program { id, client_id, secret } = server.program(&client_id, &self.agent.id, more).await;
        Caller { id, client_id, secret, signer, proof, next_secret: String::new(), other: Signer::new() }
    }

    /// Has a person say yes to the client.
    pub async fn agree(&mut self, server: &Server) {
        let caller = self.caller.as_ref().unwrap();
        self.person = server.person(&format!("person-{}", self.number)).await;
        let cookie = server.cookie(&self.person).await;
        self.code = server.code(&Ask::of(&caller.client_id), &cookie).await;
    }

    /// Redeems what a person said yes to: the first token of a refresh family.
    async fn begin(&mut self, server: &Server) {
        self.agree(server).await;
        let Caller { client_id, secret, .. } = self.caller.as_ref().unwrap();
        let answer = server.redeem(client_id, &self.code, &[("client_secret", secret)]).await;
        self.refresh_token = answer.tokens().refresh;
    }

    /// Trusts an issuer outside where the way needs one: for the agent, or for a person who agrees to the client. What
    /// lies above a subject token is trusted with it.
    async fn trust(&mut self, server: &Server, way: Way) {
        if way == Way::IdToken {
            self.person = server.person(&format!("person-{}", self.number)).await;
            let client = &self.caller.as_ref().unwrap().client_id;
            let consent = json!({ "user_id": self.person, "client_id": client, "scope": "a b" });
            server.admin("POST", "/admin/consents").json(consent).send().await.expect(201);
            let link = json!({ "user_id": self.person });
            self.vouching = Some(Vouching::begin(server, self.number, link).await);
        } else if way == Way::RotateWorkloads || way.presents_outside() {
            let link = json!({ "identity_id": self.agent.id });
            self.vouching = Some(Vouching::begin(server, self.number, link).await);
        }
    }

    /// The credential that a rotation replaces.
    async fn rotatable(&mut self, server: &Server, way: Way) {
        let token = match way {
            Way::RotateKeys => server.exchange(&self.api_key, "a").await.token(),
            Way::RotateClients => {
                let caller = self.register(server, Proof::Post).await;
                let token = server.client_credentials(&caller.program(), "a").await.token();
                self.caller = Some(caller);
                token
            }
            Way::RotateWorkloads => {
                let token = self.vouching.as_ref().unwrap().token(server);
                server.federate(&token, "a").await.token()
            }
            _ => return,
        };
        claims(&token)["jti"].as_str().unwrap().clone_into(&mut self.credential);
    }

    /// The subject token: of an API key beside a client, held by another agent or, where a client exchanges its own, by
    /// the agent itself. With a grandparent it was delegated to them.
    async fn above(&mut self, server: &Server, way: Way, grandparent: bool) {
        let number = self.number;
        if way != Way::Own {
            let planner = server.party(&format!("planner-{number}"), json!({})).await;
            let more = json!({ "grant_types": ["api_key"] });
            let client = server.program(&format!("planner-client-{number}"), &planner.id, more).await;
            self.subject = if grandparent {
                let root = self.root(server, way).await;
                server.delegate(&root, &planner, "a b").await.token()
            } else if way == Way::BelowWorkload {
                self.of_workload(server, &planner).await
            } else {
                key_beside_client(server, &planner.api_key, &client.client_id, &client.secret).await
            };
            if way == Way::MayAct {
                self.may_act = self.permit(server, &planner.id).await;
            }
            (self.planner, self.planner_client) = (Some(planner), Some(client));
            return;
        }
        let program = self.caller.as_ref().unwrap().program();
        self.subject = if grandparent {
            let root = self.root(server, way).await;
            let holder = self.root.as_ref().unwrap().id.clone();
            self.permit(server, &holder).await;
            server.delegate_to_client(&root, &program, "a b").await.token()
        } else {
            key_beside_client(server, &self.api_key, &program.client_id, &program.secret).await
        };
    }

    /// A token of a further agent, at the root.
    async fn root(&mut self, server: &Server, way: Way) -> String {
        let root = server.party(&format!("root-{}", self.number), json!({})).await;
        let token = match way {
            Way::BelowWorkload => self.of_workload(server, &root).await,
            _ => server.exchange(&root.api_key, "a b").await.token(),
        };
        self.root = Some(root);
        token
    }

    /// A token that this agent obtains as a workload.
    async fn of_workload(&mut self, server: &Server, agent: &Party) -> String {
        let vouching = Vouching::begin(server, self.number, json!({ "identity_id": agent.id })).await;
        let token = vouching.token(server);
        self.vouching = Some(vouching);
        server.federate(&token, "a b").await.token()
    }

    /// Lets the client act for somebody.
    async fn permit(&self, server: &Server, to: &str) -> String {
        let from = &self.caller.as_ref().unwrap().client_id;
        let body = json!({ "from_id": from, "to_id": to, "max_hops": 2 });
        let answer = server.admin("POST", "/admin/may-act").json(body).send().await.expect(201);
        answer.text_of("id").to_owned()
    }

    /// The parameters by which the client proves itself.
    pub fn authentication(&self, server: &Server) -> Vec<(&'static str, String)> {
        let Some(caller) = &self.caller else { return Vec::new() };
        let id = ("client_id", caller.client_id.clone());
        match caller.proof {
            Proof::Basic => Vec::new(),
            Proof::Nothing => vec![id],
            Proof::Post => vec![id, ("client_secret", caller.secret.clone())],
            Proof::ClientKey | Proof::AgentKey => {
                let assertion = caller.signer.assertion(&caller.client_id, server.app.clock.now());
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                vec![("client_assertion", assertion), ("client_assertion_type", kind.to_owned())]
            }
        }
    }

    /// The same as a header.
    pub fn authorization(&self) -> Option<String> {
        let caller = self.caller.as_ref().filter(|caller| caller.proof == Proof::Basic)?;
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", caller.client_id, caller.secret))))
    }

    /// The jti of the subject token, or of what it comes from.
    pub fn subject_jti(&self) -> String {
        claims(&self.subject)["jti"].as_str().unwrap().to_owned()
    }

    /// Who holds the subject token.
    pub fn holder(&self) -> &Party {
        self.planner.as_ref().unwrap_or(&self.agent)
    }

    /// The row of the client that obtained the subject token.
    pub fn subject_client(&self) -> &str {
        match (&self.planner_client, &self.caller) {
            (Some(client), _) => &client.id,
            (None, Some(caller)) => &caller.id,
            (None, None) => "",
        }
    }
}

/// A token by an API key that rests on a client too.
async fn key_beside_client(server: &Server, api_key: &str, client_id: &str, secret: &str) -> String {
    let form = [
        ("grant_type", "api_key"),
        ("api_key", api_key),
        ("client_id", client_id),
        ("client_secret", secret),
        ("scope", "a b"),
    ];
    server.post("/oauth2/token").form(&form).send().await.token()
}

impl Server {
    /// A policy of acme/demo that allows everything.
    pub async fn full_policy(&self, name: &str) -> String {
        self.text_from_sql(format!(
            "insert into credential_policies (id, account_id, project_id, name, max_ttl_seconds, allowed_grant_types,
                 max_delegation_depth, created_at, updated_at)
             values (gen_random_uuid(), 'acme', 'demo', '{name}', 3600,
                 array['api_key', 'client_credentials', 'jwt_bearer', 'token_exchange', 'authorization_code',
                     'refresh_token'], 5, now(), now())
             returning id::text"
        ))
        .await
    }

    /// Changes rows by SQL; at least one must change.
    pub async fn change(&self, sql: impl Into<String>) {
        let sql = sql.into();
        assert!(self.run_sql(sql.clone()).await > 0, "no row was changed by: {sql}");
    }

    /// Puts an agent of acme/demo to sleep.
    pub async fn suspend(&self, id: &str) {
        self.patch(id, json!({ "status": "suspended" })).await.expect(200);
    }
}
