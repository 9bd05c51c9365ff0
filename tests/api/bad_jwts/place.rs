//! The places that accept a JWT, and how each refuses one.

use super::maker::{Bad, Passes};
use super::neighbours::Kind;
use crate::server::Answer;

/// Where a client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Token,
    Introspect,
    Revoke,
}

/// By which key a client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One of its own set, by its name.
    Set,
    /// That of the agent it is bound to.
    Agent,
}

/// A place that accepts a JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `assertion` of the jwt-bearer grant.
    Assertion,
    /// Its older name `subject`.
    Subject,
    ActorToken,
    ClientAssertion(Endpoint, By),
    NewKeyProof,
    CurrentKeyProof,
    SubjectToken,
    /// A bearer on the admin routes; `hostile_tokens` has each of them.
    AdminBearer,
    /// A bearer of an agent that calls for itself.
    OwnBearer,
    /// A bearer of which a proxy asks.
    ForwardedBearer,
    IntrospectedToken,
    RevokedToken,
    /// A proof of possession beside a bound token.
    DpopProof,
}

impl Place {
    pub const ALL: [Self; 18] = [
        Self::Assertion,
        Self::Subject,
        Self::ActorToken,
        Self::ClientAssertion(Endpoint::Token, By::Set),
        Self::ClientAssertion(Endpoint::Token, By::Agent),
        Self::ClientAssertion(Endpoint::Introspect, By::Set),
        Self::ClientAssertion(Endpoint::Introspect, By::Agent),
        Self::ClientAssertion(Endpoint::Revoke, By::Set),
        Self::ClientAssertion(Endpoint::Revoke, By::Agent),
        Self::NewKeyProof,
        Self::CurrentKeyProof,
        Self::SubjectToken,
        Self::AdminBearer,
        Self::OwnBearer,
        Self::ForwardedBearer,
        Self::IntrospectedToken,
        Self::RevokedToken,
        Self::DpopProof,
    ];

    pub fn is_header(self) -> bool {
        matches!(self, Self::AdminBearer | Self::OwnBearer | Self::ForwardedBearer | Self::DpopProof)
    }

    pub fn is_proof(self) -> bool {
        matches!(self, Self::NewKeyProof | Self::CurrentKeyProof)
    }

    /// Whether our own tokens are accepted there, which are recognised by their digest.
    pub fn is_for_ours(self) -> bool {
        let bearer = matches!(self, Self::AdminBearer | Self::OwnBearer | Self::ForwardedBearer);
        bearer || matches!(self, Self::SubjectToken | Self::IntrospectedToken | Self::RevokedToken)
    }

    /// Whether a token of this kind is meant for it, or is the business of another test.
    pub fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Assertion | Self::Subject => {
                matches!(kind, Kind::AgentAssertion | Kind::ForeignAssertion | Kind::OtherAgentAssertion)
            }
            Self::ActorToken => matches!(kind, Kind::AgentAssertion | Kind::OtherAgentAssertion),
            Self::ClientAssertion(..) => {
                matches!(kind, Kind::SetClientAssertion | Kind::AgentClientAssertion)
            }
            Self::NewKeyProof => kind == Kind::NewKeyProof,
            Self::CurrentKeyProof => kind == Kind::CurrentKeyProof,
            Self::DpopProof => false,
            Self::SubjectToken => matches!(kind, Kind::AccessToken | Kind::DelegatedToken),
            Self::OwnBearer => matches!(kind, Kind::AccessToken | Kind::ForeignToken),
            Self::AdminBearer | Self::ForwardedBearer | Self::IntrospectedToken | Self::RevokedToken => {
                matches!(kind, Kind::AccessToken | Kind::DelegatedToken | Kind::ForeignToken)
            }
        }
    }

    /// Whether a token of the table is good here after all.
    pub fn lets_pass(self, bad: &Bad) -> bool {
        let by_name = matches!(self, Self::ClientAssertion(_, By::Set));
        match bad.passes {
            Passes::Nowhere => false,
            Passes::WithoutKeyNames => !by_name && !self.is_for_ours(),
            Passes::WithoutIssuer => self.is_proof(),
        }
    }

    /// Whether it is any refusal at all.
    pub fn refuses(self, answer: &Answer) -> bool {
        match self {
            Self::IntrospectedToken | Self::RevokedToken if answer.status == 200 => {
                [r#"{"active":false}"#, r#"{"revoked":true}"#].contains(&answer.text.as_str())
            }
            _ => answer.status.is_client_error(),
        }
    }

    /// Requires the place's own refusal.
    pub fn check(self, bad: &Bad, answer: &Answer) -> Result<(), String> {
        let oversized = bad.token.len() > 16_384;
        let (status, wanted) = match self {
            Self::AdminBearer | Self::OwnBearer | Self::DpopProof => (401, "application/problem+json"),
            Self::ForwardedBearer => (401, r#"{"error":"invalid_token"}"#),
            _ if oversized && self.is_proof() => (400, "application/problem+json"),
            Self::NewKeyProof | Self::CurrentKeyProof => (403, "application/problem+json"),
            _ if oversized => (400, "invalid_request"),
            Self::ClientAssertion(..) => (401, "invalid_client"),
            Self::IntrospectedToken => (200, r#"{"active":false}"#),
            Self::RevokedToken => (200, r#"{"revoked":true}"#),
            _ => (400, "invalid_grant"),
        };
        let is = [answer.text_of("error"), answer.header("content-type"), &answer.text].contains(&wanted);
        if answer.status != status || !is {
            return Err(format!("{} {}, not {status} {wanted}", answer.status, answer.text));
        }
        let signature = bad.token.rsplit('.').next().unwrap_or_default();
        if signature.len() >= 20 && answer.text.contains(signature) {
            return Err("the answer shows a part of the token".to_owned());
        }
        Ok(())
    }
}
