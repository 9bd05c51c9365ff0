//! The trust in an issuer outside: whose tokens a scene presents, and what takes the trust in them away and back.

use serde_json::{Value, json};

use super::scene::Scene;
use super::undo::After;
use super::way::Way;
use crate::federation::Platform;
use crate::server::{Answer, Server};
use crate::signer::Signer;

/// What became of the entry, or of the link of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Stopped,
    Forgotten,
    KeyReplaced,
    OtherAlgorithm,
    OtherPattern,
    OtherClaim,
    Unlinked,
}

/// An issuer that is trusted in one scene alone, with one linked subject.
pub struct Vouching {
    platform: Platform,
    entry: String,
    /// What the subject is linked to.
    link: Value,
}

const SUBJECT: &str = "someone";

impl Trust {
    pub const ALL: [Self; 7] = [
        Self::Stopped,
        Self::Forgotten,
        Self::KeyReplaced,
        Self::OtherAlgorithm,
        Self::OtherPattern,
        Self::OtherClaim,
        Self::Unlinked,
    ];

    /// Whether what was obtained before ends too. Rules and keys are asked when a token is presented, and not again.
    pub fn ends(self) -> bool {
        matches!(self, Self::Stopped | Self::Forgotten | Self::Unlinked)
    }

    pub async fn set(self, server: &Server, scene: &Scene) {
        let vouching = scene.vouching.as_ref().unwrap();
        let path = format!("/trusted-issuers/{}", vouching.entry);
        let patch = match self {
            Self::Stopped => json!({ "is_active": false }),
            Self::KeyReplaced => json!({ "jwks": { "keys": [Signer::new().jwk()] } }),
            Self::OtherAlgorithm => json!({ "algorithms": ["RS256"] }),
            Self::OtherPattern => json!({ "subject_pattern": "somebody*" }),
            Self::OtherClaim => json!({ "required_claims": { "environment": "production" } }),
            Self::Forgotten => return drop(server.admin("DELETE", &path).send().await.expect(200)),
            Self::Unlinked => {
                let all = server.admin("GET", &format!("{path}/subjects")).send().await.expect(200).body;
                let link = format!("{path}/subjects/{}", all["subjects"][0]["id"].as_str().unwrap());
                return drop(server.admin("DELETE", &link).send().await.expect(200));
            }
        };
        server.admin("PATCH", &path).json(patch).send().await.expect(200);
    }

    pub async fn undo(self, server: &Server, scene: &Scene, way: Way) -> After {
        let vouching = scene.vouching.as_ref().unwrap();
        let patch = match self {
            Self::Forgotten => return After::NoWayBack,
            Self::Unlinked => {
                vouching.link(server).await.expect(201);
                json!({})
            }
            Self::Stopped => json!({ "is_active": true }),
            Self::KeyReplaced => json!({ "jwks": vouching.platform.jwks() }),
            Self::OtherAlgorithm => json!({ "algorithms": ["ES256"] }),
            Self::OtherPattern => json!({ "subject_pattern": "" }),
            Self::OtherClaim => json!({ "required_claims": {} }),
        };
        let path = format!("/trusted-issuers/{}", vouching.entry);
        server.admin("PATCH", &path).json(patch).send().await.expect(200);
        if way.presents_outside() { After::Passes } else { After::StaysOver }
    }
}

impl Vouching {
    /// Trusts an issuer and links its subject.
    pub async fn begin(server: &Server, number: u32, link: Value) -> Self {
        let platform = Platform::new(&format!("https://platform-{number}.example"));
        let entry = server.trust(&platform, json!({})).await.expect(201).text_of("id").to_owned();
        let vouching = Self { platform, entry, link };
        vouching.link(server).await.expect(201);
        vouching
    }

    async fn link(&self, server: &Server) -> Answer {
        let mut body = self.link.clone();
        body["subject"] = json!(SUBJECT);
        let path = format!("/trusted-issuers/{}/subjects", self.entry);
        server.admin("POST", &path).json(body).send().await
    }

    /// A fresh token of the subject.
    pub fn token(&self, server: &Server) -> String {
        self.platform.token(server, &json!({ "sub": SUBJECT }))
    }
}
