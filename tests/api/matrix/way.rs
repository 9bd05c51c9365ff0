//! The ways by which a credential comes to be. A new grant is a new way: the compiler then asks for its cells.

use axum::http::StatusCode;
use serde_json::json;

use super::scene::{Proof, Scene};
use crate::federation::TYPE as ASSERTION_TYPE;
use crate::outside_subject::{ID_TOKEN, JWT};
use crate::party::{JWT_BEARER, TOKEN_EXCHANGE};
use crate::people::{CALLBACK, VERIFIER};
use crate::server::{Answer, Server};

/// A way to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `api_key`.
    ApiKey,
    /// `api_key` beside a client that authenticates.
    ApiKeyNamed,
    /// `client_credentials`, the secret in the header.
    SecretBasic,
    /// `client_credentials`, the secret in the body.
    SecretPost,
    /// `client_credentials` by an assertion that a key of the client's own signed.
    ClientKey,
    /// `client_credentials` by an assertion that the key of the client's agent signed.
    AgentKey,
    /// `authorization_code`, by a client with a secret that acts as an agent in a person's name.
    Code,
    /// `jwt_bearer`.
    JwtBearer,
    /// `refresh_token`, by a client with a secret that acts as an agent in a person's name.
    Refresh,
    /// `token_exchange` with an assertion of the actor.
    Actor,
    /// `token_exchange` by a client that a may-act grant lets act.
    MayAct,
    /// `token_exchange` by a client of a token of its own.
    Own,
    /// `client_credentials` by a workload, with the token of its platform.
    WorkloadClient,
    /// `jwt_bearer` by a workload.
    WorkloadJwt,
    /// `token_exchange` by a workload.
    WorkloadExchange,
    /// `token_exchange` with an assertion of the actor, of what a workload obtained.
    BelowWorkload,
    /// `token_exchange` of a person's ID token by a client that they agreed to.
    IdToken,
    /// An administrator's `/credentials/issue`.
    Issue,
    /// An administrator's `/credentials/{id}/rotate` of what an API key obtained.
    RotateKeys,
    /// The same of what a client obtained.
    RotateClients,
    /// The same of what a workload obtained.
    RotateWorkloads,
}

/// What a credential may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Tenant,
    Agent,
    Client,
    ApiKey,
    Policy,
    KeyPolicy,
    Parent,
    MayAct,
    Person,
    Issuer,
}

impl Way {
    pub const ALL: [Self; 21] = [
        Self::ApiKey,
        Self::ApiKeyNamed,
        Self::SecretBasic,
        Self::SecretPost,
        Self::ClientKey,
        Self::AgentKey,
        Self::Code,
        Self::JwtBearer,
        Self::Refresh,
        Self::Actor,
        Self::MayAct,
        Self::Own,
        Self::WorkloadClient,
        Self::WorkloadJwt,
        Self::WorkloadExchange,
        Self::BelowWorkload,
        Self::IdToken,
        Self::Issue,
        Self::RotateKeys,
        Self::RotateClients,
        Self::RotateWorkloads,
    ];

    /// The grant on the wire; `None` for an administrator's way.
    pub fn grant(self) -> Option<&'static str> {
        match self {
            Self::ApiKey | Self::ApiKeyNamed => Some("api_key"),
            Self::SecretBasic
            | Self::SecretPost
            | Self::ClientKey
            | Self::AgentKey
            | Self::WorkloadClient => Some("client_credentials"),
            Self::Code => Some("authorization_code"),
            Self::JwtBearer | Self::WorkloadJwt => Some(JWT_BEARER),
            Self::Refresh => Some("refresh_token"),
            Self::Actor
            | Self::MayAct
            | Self::Own
            | Self::WorkloadExchange
            | Self::BelowWorkload
            | Self::IdToken => Some(TOKEN_EXCHANGE),
            Self::Issue | Self::RotateKeys | Self::RotateClients | Self::RotateWorkloads => None,
        }
    }

    /// How the client of the request proves itself; `None` where there is none.
    pub fn proof(self) -> Option<Proof> {
        match self {
            Self::SecretBasic => Some(Proof::Basic),
            Self::ApiKeyNamed
            | Self::SecretPost
            | Self::Code
            | Self::Refresh
            | Self::MayAct
            | Self::Own
            | Self::IdToken => Some(Proof::Post),
            Self::ClientKey => Some(Proof::ClientKey),
            Self::AgentKey => Some(Proof::AgentKey),
            _ => None,
        }
    }

    /// Whether what comes of it hangs below another token.
    pub fn is_exchange(self) -> bool {
        matches!(self, Self::Actor | Self::MayAct | Self::Own | Self::BelowWorkload)
    }

    pub fn is_rotation(self) -> bool {
        matches!(self, Self::RotateKeys | Self::RotateClients | Self::RotateWorkloads)
    }

    /// Whether a token of a trusted issuer is presented.
    pub fn presents_outside(self) -> bool {
        matches!(self, Self::WorkloadClient | Self::WorkloadJwt | Self::WorkloadExchange | Self::IdToken)
    }

    pub fn rests_on(self, part: Part) -> bool {
        match part {
            Part::Tenant | Part::Agent | Part::Policy => true,
            Part::Client => self.proof().is_some() || self == Self::RotateClients,
            Part::ApiKey | Part::KeyPolicy => {
                matches!(self, Self::ApiKey | Self::ApiKeyNamed | Self::RotateKeys)
            }
            Part::Parent => self.is_exchange(),
            Part::MayAct => self == Self::MayAct,
            Part::Person => matches!(self, Self::Code | Self::Refresh | Self::IdToken),
            Part::Issuer => {
                self.presents_outside() || matches!(self, Self::BelowWorkload | Self::RotateWorkloads)
            }
        }
    }

    /// As whom the audit log knows whoever asks, once he has proved himself.
    pub fn principal(self) -> &'static str {
        match self {
            Self::ApiKey | Self::ApiKeyNamed => "api_key",
            Self::JwtBearer
            | Self::Actor
            | Self::WorkloadClient
            | Self::WorkloadJwt
            | Self::WorkloadExchange
            | Self::BelowWorkload => "agent",
            Self::Issue | Self::RotateKeys | Self::RotateClients | Self::RotateWorkloads => "open",
            _ => "client",
        }
    }

    /// Asks for a credential with the scope `a`.
    pub async fn ask(self, server: &Server, scene: &mut Scene) -> Answer {
        match self {
            Self::Issue => {
                let body = json!({ "identity_id": scene.agent.id, "scopes": ["a"] });
                server.admin("POST", "/credentials/issue").json(body).send().await
            }
            Self::RotateKeys | Self::RotateClients | Self::RotateWorkloads => {
                let path = format!("/credentials/{}/rotate", scene.credential);
                let answer = server.admin("POST", &path).send().await;
                if answer.status == StatusCode::CREATED {
                    answer.body["credential"]["id"].as_str().unwrap().clone_into(&mut scene.credential);
                }
                answer
            }
            _ => {
                let form = self.form(server, scene);
                let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let call = server.post("/oauth2/token").form(&form);
                let answer = match scene.authorization() {
                    Some(basic) => call.with("Authorization", &basic).send().await,
                    None => call.send().await,
                };
                if self == Self::Refresh && answer.status.is_success() {
                    answer.text_of("refresh_token").clone_into(&mut scene.refresh_token);
                }
                answer
            }
        }
    }

    fn form(self, server: &Server, scene: &Scene) -> Vec<(&'static str, String)> {
        let mut form = vec![("grant_type", self.grant().unwrap_or_default().to_owned())];
        form.push(("scope", "a".to_owned()));
        form.extend(scene.authentication(server));
        match self {
            Self::ApiKey | Self::ApiKeyNamed => form.push(("api_key", scene.api_key.clone())),
            Self::Code => form.extend([
                ("code", scene.code.clone()),
                ("redirect_uri", CALLBACK.to_owned()),
                ("code_verifier", VERIFIER.to_owned()),
            ]),
            Self::JwtBearer => form.push(("assertion", server.assertion(&scene.agent))),
            Self::Refresh => form.push(("refresh_token", scene.refresh_token.clone())),
            Self::Actor | Self::BelowWorkload => {
                form.push(("actor_token", server.assertion(&scene.agent)));
            }
            _ if self.presents_outside() => {
                form.extend(self.outside(&scene.vouching.as_ref().unwrap().token(server)));
            }
            _ => {}
        }
        if self.is_exchange() {
            form.push(("subject_token", scene.subject.clone()));
        }
        form
    }

    /// The token of a trusted issuer in its place.
    fn outside(self, token: &str) -> Vec<(&'static str, String)> {
        let named: &[(&'static str, &str)] = match self {
            Self::WorkloadClient => &[("client_assertion", token), ("client_assertion_type", ASSERTION_TYPE)],
            Self::WorkloadJwt => &[("assertion", token)],
            Self::IdToken => &[("subject_token", token), ("subject_token_type", ID_TOKEN)],
            _ => &[("subject_token", token), ("subject_token_type", JWT)],
        };
        named.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }
}
