//! What takes a state back, and whether the same request then passes again.

use serde_json::json;

use super::scene::{GRANTS, Scene};
use super::state::State;
use super::way::{Part, Way};
use crate::server::Server;

/// What comes of taking a state back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The request passes again.
    Passes,
    /// What it ended stays ended: the request is refused as before or otherwise.
    StaysOver,
    /// Nothing takes it back.
    NoWayBack,
}

use State as S;

impl State {
    /// Takes it back, where anything does.
    pub async fn undo(self, server: &Server, scene: &mut Scene, way: Way) -> After {
        let passes_if = |passes: bool| if passes { After::Passes } else { After::StaysOver };
        match self.part() {
            Part::Tenant => {
                server.change("update tenants set state = 'active' where account_id = 'acme'").await;
                After::Passes
            }
            Part::Agent => self.undo_agent(server, scene, way).await,
            Part::Client => self.undo_client(server, scene, way).await,
            Part::ApiKey => match self {
                S::KeyReplaced => {
                    scene.api_key.clone_from(&scene.next_key);
                    passes_if(way != Way::RotateKeys)
                }
                S::KeyExpired => {
                    let id = &scene.agent.id;
                    let sql = format!("update api_keys set expires_at = null where identity_id = '{id}'");
                    server.change(sql).await;
                    After::Passes
                }
                _ => After::NoWayBack,
            },
            Part::Policy | Part::KeyPolicy => {
                let policy = if self.part() == Part::Policy { &scene.policy } else { &scene.key_policy };
                server
                    .change(format!(
                        "update credential_policies p set is_active = true, expires_at = null,
                             required_trust_level = '', required_attestation = '', max_delegation_depth = 5,
                             allowed_grant_types = array['api_key', 'client_credentials', 'jwt_bearer', 'token_exchange',
                                 'authorization_code', 'refresh_token']
                         where p.id = '{policy}'"
                    ))
                    .await;
                After::Passes
            }
            Part::Parent => self.undo_parent(server, scene, way).await,
            Part::MayAct => self.undo_may_act(server, scene).await,
            Part::Person => self.undo_person(server, scene, way).await,
            Part::Issuer => match self {
                S::Issuer(trust) => trust.undo(server, scene, way).await,
                _ => After::NoWayBack,
            },
        }
    }

    async fn undo_agent(self, server: &Server, scene: &Scene, way: Way) -> After {
        let id = &scene.agent.id;
        // Keys and tokens of before the end stay dead. What the agent obtains anew it may.
        let anew = matches!(way, Way::ApiKey | Way::ApiKeyNamed | Way::Code | Way::Own | Way::Refresh)
            || way.is_rotation();
        match self {
            S::AgentDiscovered | S::AgentPending | S::AgentSuspended => {
                let status = json!({ "status": "active" });
                server.patch(id, status).await.expect(200);
                After::Passes
            }
            S::AgentPastItsEnd => {
                server.change(format!("update identities set expires_at = null where id = '{id}'")).await;
                After::Passes
            }
            S::AgentDeactivated | S::OwnerOffboarded => {
                server.act(id, "activate").await.expect(200);
                if anew { After::StaysOver } else { After::Passes }
            }
            _ => After::NoWayBack,
        }
    }

    async fn undo_client(self, server: &Server, scene: &mut Scene, way: Way) -> After {
        let Some(caller) = &mut scene.caller else { return After::NoWayBack };
        match self {
            // Its earlier tokens stay dead: the one to be rotated or refreshed with, and the one to be exchanged if it is its
            // own.
            S::ClientInactive => {
                server.patch_client(&caller.id, json!({ "is_active": true })).await.expect(200);
                if matches!(way, Way::Own | Way::RotateClients | Way::Code | Way::Refresh) {
                    return After::StaysOver;
                }
            }
            S::ClientWrongSecret => {
                caller.secret.pop();
                std::mem::swap(&mut caller.signer, &mut caller.other);
            }
            S::ClientOldSecret => {
                caller.secret.clone_from(&caller.next_secret);
                std::mem::swap(&mut caller.signer, &mut caller.other);
            }
            S::ClientWithoutGrant => {
                let grants = json!(GRANTS);
                server.patch_client(&caller.id, json!({ "grant_types": grants })).await.expect(200);
            }
            S::ClientWithoutScopes => {
                server.patch_client(&caller.id, json!({ "scopes": ["a", "b"] })).await.expect(200);
            }
            _ => return After::NoWayBack,
        }
        After::Passes
    }

    async fn undo_parent(self, server: &Server, scene: &Scene, way: Way) -> After {
        let (jti, holder) = (scene.subject_jti(), &scene.holder().id);
        match self {
            S::ParentExpired => {
                let sql = format!(
                    "update credentials set expires_at = issued_at + interval '1 hour' where jti = '{jti}'"
                );
                server.change(sql).await;
                After::Passes
            }
            S::ParentSigningKeyRevoked => {
                server.change("update signing_keys set revoked_at = null").await;
                After::Passes
            }
            S::ParentAgentSuspended | S::GrandparentAgentSuspended => {
                let root = scene.root.as_ref().map(|root| &root.id);
                let id = if self == S::ParentAgentSuspended { holder } else { root.unwrap() };
                server.patch(id, json!({ "status": "active" })).await.expect(200);
                After::Passes
            }
            S::ParentAgentDeactivated => {
                server.act(holder, "activate").await.expect(200);
                After::StaysOver
            }
            S::ParentClientInactive => {
                let client = scene.subject_client();
                server.patch_client(client, json!({ "is_active": true })).await.expect(200);
                After::StaysOver
            }
            // A new token of the same client is another one.
            S::ParentClientRevoked if way == Way::Own => After::StaysOver,
            _ => After::NoWayBack,
        }
    }

    /// What the person agreed to before stays over.
    async fn undo_person(self, server: &Server, scene: &Scene, way: Way) -> After {
        if self != S::PersonInactive {
            return After::NoWayBack;
        }
        server.admin("POST", &format!("/users/{}/activate", scene.person)).send().await.expect(200);
        if way == Way::IdToken { After::Passes } else { After::StaysOver }
    }

    async fn undo_may_act(self, server: &Server, scene: &Scene) -> After {
        let grant = &scene.may_act;
        let change = match self {
            S::GrantExpired => "expires_at = null",
            S::GrantTheOtherWay => "from_id = to_id, to_id = from_id",
            S::GrantOfOtherScopes => "scopes = '{}'",
            S::GrantOutOfHops => "max_hops = 2",
            _ => return After::NoWayBack,
        };
        server.change(format!("update may_act_grants set {change} where id = '{grant}'")).await;
        After::Passes
    }
}
