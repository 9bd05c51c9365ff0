//! The states that stand against a credential: what brings each about, on which replica, and what takes it back.

use chancery::agents::worker::expire;
use serde_json::json;
use time::Duration;

use super::rule::Rule;
use super::scene::{Proof, Scene};
use super::trust::Trust;
use super::way::Part;
use crate::server::Server;

/// A state of something that a credential rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    TenantSuspended,
    AgentDiscovered,
    AgentPending,
    AgentSuspended,
    AgentDeactivated,
    AgentExpired,
    /// Past its end, and no worker has seen it.
    AgentPastItsEnd,
    /// Its owner has left, so all his agents were deactivated.
    OwnerOffboarded,
    ClientInactive,
    ClientDeleted,
    ClientWrongSecret,
    /// The secret before a rotation, after the overlap, or a key that was replaced.
    ClientOldSecret,
    ClientWithoutGrant,
    ClientWithoutScopes,
    ClientPublic,
    KeyRevoked,
    KeyReplaced,
    KeyExpired,
    KeyUnknown,
    /// Of the agent's policy.
    Policy(Rule),
    /// Of the API key's policy.
    KeyPolicy(Rule),
    ParentRevoked,
    ParentExpired,
    ParentAgentSuspended,
    ParentAgentDeactivated,
    /// Every token of its agent was revoked.
    ParentAgentInNewEpoch,
    ParentClientInactive,
    ParentClientRevoked,
    ParentKeyRevoked,
    ParentSigningKeyRevoked,
    GrandparentRevoked,
    GrandparentAgentSuspended,
    AncestorMissing,
    GrantRevoked,
    GrantExpired,
    GrantMissing,
    GrantTheOtherWay,
    GrantOfOtherScopes,
    GrantOutOfHops,
    PersonInactive,
    /// Deactivated, and made usable again.
    PersonInNewEpoch,
    ConsentRevoked,
    /// Of the trusted issuer.
    Issuer(Trust),
}

/// The server's time, as SQL writes it.
fn sql_time(server: &Server) -> String {
    format!("to_timestamp({})", server.app.clock.now().unix_timestamp())
}

use State as S;

impl State {
    /// Every state.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            S::TenantSuspended,
            S::AgentDiscovered,
            S::AgentPending,
            S::AgentSuspended,
            S::AgentDeactivated,
            S::AgentExpired,
            S::AgentPastItsEnd,
            S::OwnerOffboarded,
            S::ClientInactive,
            S::ClientDeleted,
            S::ClientWrongSecret,
            S::ClientOldSecret,
            S::ClientWithoutGrant,
            S::ClientWithoutScopes,
            S::ClientPublic,
            S::KeyRevoked,
            S::KeyReplaced,
            S::KeyExpired,
            S::KeyUnknown,
            S::ParentRevoked,
            S::ParentExpired,
            S::ParentAgentSuspended,
            S::ParentAgentDeactivated,
            S::ParentAgentInNewEpoch,
            S::ParentClientInactive,
            S::ParentClientRevoked,
            S::ParentKeyRevoked,
            S::ParentSigningKeyRevoked,
            S::GrandparentRevoked,
            S::GrandparentAgentSuspended,
            S::AncestorMissing,
            S::GrantRevoked,
            S::GrantExpired,
            S::GrantMissing,
            S::GrantTheOtherWay,
            S::GrantOfOtherScopes,
            S::GrantOutOfHops,
            S::PersonInactive,
            S::PersonInNewEpoch,
            S::ConsentRevoked,
        ];
        all.extend(Rule::ALL.map(S::Policy));
        all.extend(Rule::ALL.map(S::KeyPolicy));
        all.extend(Trust::ALL.map(S::Issuer));
        all
    }

    /// Whose state it is.
    pub fn part(self) -> Part {
        match self {
            S::TenantSuspended => Part::Tenant,
            S::AgentDiscovered
            | S::AgentPending
            | S::AgentSuspended
            | S::AgentDeactivated
            | S::AgentExpired
            | S::AgentPastItsEnd
            | S::OwnerOffboarded => Part::Agent,
            S::ClientInactive
            | S::ClientDeleted
            | S::ClientWrongSecret
            | S::ClientOldSecret
            | S::ClientWithoutGrant
            | S::ClientWithoutScopes
            | S::ClientPublic => Part::Client,
            S::KeyRevoked | S::KeyReplaced | S::KeyExpired | S::KeyUnknown => Part::ApiKey,
            S::Policy(_) => Part::Policy,
            S::KeyPolicy(_) => Part::KeyPolicy,
            S::ParentRevoked
            | S::ParentExpired
            | S::ParentAgentSuspended
            | S::ParentAgentDeactivated
            | S::ParentAgentInNewEpoch
            | S::ParentClientInactive
            | S::ParentClientRevoked
            | S::ParentKeyRevoked
            | S::ParentSigningKeyRevoked
            | S::GrandparentRevoked
            | S::GrandparentAgentSuspended
            | S::AncestorMissing => Part::Parent,
            S::GrantRevoked
            | S::GrantExpired
            | S::GrantMissing
            | S::GrantTheOtherWay
            | S::GrantOfOtherScopes
            | S::GrantOutOfHops => Part::MayAct,
            S::PersonInactive | S::PersonInNewEpoch | S::ConsentRevoked => Part::Person,
            S::Issuer(_) => Part::Issuer,
        }
    }

    /// Whether the subject token must itself be a delegated one.
    pub fn needs_grandparent(self) -> bool {
        matches!(
            self,
            S::GrandparentRevoked | S::GrandparentAgentSuspended | S::AncestorMissing | S::GrantOutOfHops
        )
    }

    /// Brings it about, through this server where a route does.
    pub async fn set(self, server: &Server, scene: &mut Scene) {
        match self.part() {
            Part::Tenant => {
                server.change("update tenants set state = 'suspended' where account_id = 'acme'").await;
            }
            Part::Agent => self.set_agent(server, scene).await,
            Part::Client => self.set_client(server, scene).await,
            Part::ApiKey => self.set_key(server, scene).await,
            Part::Policy | Part::KeyPolicy => self.set_policy(server, scene).await,
            Part::Parent => self.set_parent(server, scene).await,
            Part::MayAct => self.set_may_act(server, scene).await,
            Part::Person => self.set_person(server, scene).await,
            Part::Issuer => self.set_trust(server, scene).await,
        }
    }

    async fn set_agent(self, server: &Server, scene: &Scene) {
        let id = &scene.agent.id;
        match self {
            S::AgentDiscovered => server.force_status(id, "discovered").await,
            S::AgentPending => server.force_status(id, "pending").await,
            S::AgentSuspended => server.suspend(id).await,
            S::AgentDeactivated => drop(server.act(id, "deactivate").await.expect(200)),
            S::OwnerOffboarded => {
                let owner = &scene.owner;
                server
                    .change(format!(
                        "with gone as (update identities set status = 'deactivated', epoch = epoch + 1
                                       where owner_user_id = '{owner}' returning id)
                         update api_keys set revoked_at = now() where identity_id in (select id from gone)"
                    ))
                    .await;
            }
            _ => {
                let end = sql_time(server);
                server.change(format!("update identities set expires_at = {end} where id = '{id}'")).await;
                if self == S::AgentExpired {
                    expire(&server.app).await.unwrap();
                }
            }
        }
    }

    async fn set_client(self, server: &Server, scene: &mut Scene) {
        let agent = scene.agent.id.clone();
        let Some(caller) = &mut scene.caller else { return };
        let id = &caller.id;
        match self {
            S::ClientInactive => {
                server.patch_client(id, json!({ "is_active": false })).await.expect(200);
            }
            S::ClientDeleted => {
                server.admin("DELETE", &format!("/oauth/clients/{id}")).send().await.expect(200);
            }
            S::ClientWithoutGrant => {
                server
                    .patch_client(id, json!({ "grant_types": ["urn:openid:params:grant-type:ciba"] }))
                    .await
                    .expect(200);
            }
            S::ClientWithoutScopes => {
                server.patch_client(id, json!({ "scopes": [] })).await.expect(200);
            }
            S::ClientPublic => {
                caller.proof = Proof::Nothing;
                server
                    .change(format!(
                        "update oauth_clients set client_type = 'public', token_endpoint_auth_method = 'none',
                             secret_hash = null, pepper_id = null, jwks = null where id = '{id}'"
                    ))
                    .await;
            }
            S::ClientWrongSecret => {
                caller.secret.push('x');
                std::mem::swap(&mut caller.signer, &mut caller.other);
            }
            _ => match caller.proof {
                Proof::ClientKey => {
                    let keys = json!({ "keys": [caller.other.jwk()] });
                    server.patch_client(id, json!({ "jwks": keys })).await.expect(200);
                }
                Proof::AgentKey => {
                    let key = json!({ "public_key_pem": caller.other.pem() });
                    server.patch(&agent, key).await.expect(200);
                }
                _ => {
                    let path = format!("/oauth/clients/{id}/rotate-secret");
                    let answer =
                        server.admin("POST", &path).json(json!({ "overlap_seconds": 1 })).send().await;
                    answer.expect(200).text_of("client_secret").clone_into(&mut caller.next_secret);
                    server.app.clock.advance(Duration::seconds(1));
                }
            },
        }
    }

    async fn set_key(self, server: &Server, scene: &mut Scene) {
        let (id, now) = (scene.agent.id.clone(), sql_time(server));
        let of_agent = format!("where identity_id = '{id}'");
        match self {
            S::KeyRevoked => {
                server.change(format!("update api_keys set revoked_at = {now} {of_agent}")).await;
            }
            S::KeyExpired => {
                server.change(format!("update api_keys set expires_at = {now} {of_agent}")).await;
            }
            S::KeyReplaced => {
                let answer = server.act(&id, "rotate-key").await.expect(200);
                answer.text_of("api_key").clone_into(&mut scene.next_key);
            }
            _ => server.change(format!("delete from api_keys {of_agent}")).await,
        }
    }

    async fn set_policy(self, server: &Server, scene: &Scene) {
        let (policy, rule) = match self {
            S::Policy(rule) => (&scene.policy, rule),
            S::KeyPolicy(rule) => (&scene.key_policy, rule),
            _ => return,
        };
        let change = match rule {
            Rule::Inactive => "is_active = false".to_owned(),
            Rule::Expired => format!("expires_at = {}", sql_time(server)),
            Rule::OtherGrant => "allowed_grant_types = array['urn:openid:params:grant-type:ciba']".to_owned(),
            Rule::NoGrant => "allowed_grant_types = '{}'".to_owned(),
            Rule::Trust => "required_trust_level = 'first_party'".to_owned(),
            Rule::Attestation => "required_attestation = 'software'".to_owned(),
            Rule::Depth => "max_delegation_depth = 0".to_owned(),
        };
        server.change(format!("update credential_policies set {change} where id = '{policy}'")).await;
    }

    async fn set_parent(self, server: &Server, scene: &Scene) {
        let (jti, holder, now) = (scene.subject_jti(), scene.holder().id.clone(), sql_time(server));
        let client = scene.subject_client();
        let root = scene.root.as_ref().map(|root| root.id.as_str()).unwrap_or_default();
        let above = format!("where jti = (select parent_jti from credentials where jti = '{jti}')");
        match self {
            S::ParentRevoked => {
                let form = [("token", scene.subject.as_str())];
                server.post("/oauth2/token/revoke").form(&form).send().await.expect(200);
            }
            S::ParentAgentSuspended => server.suspend(&holder).await,
            S::ParentAgentDeactivated => drop(server.act(&holder, "deactivate").await.expect(200)),
            S::ParentClientInactive => {
                server.patch_client(client, json!({ "is_active": false })).await.expect(200);
            }
            S::ParentClientRevoked => {
                let path = format!("/oauth/clients/{client}/revoke-tokens");
                server.admin("POST", &path).send().await.expect(200);
            }
            S::GrandparentAgentSuspended => server.suspend(root).await,
            _ => {
                server
                    .change(match self {
                        S::ParentExpired => {
                            format!("update credentials set expires_at = {now} where jti = '{jti}'")
                        }
                        S::ParentAgentInNewEpoch => {
                            format!("update identities set epoch = epoch + 1 where id = '{holder}'")
                        }
                        S::ParentKeyRevoked => {
                            format!("update api_keys set revoked_at = {now} where identity_id = '{holder}'")
                        }
                        S::ParentSigningKeyRevoked => format!(
                            "update signing_keys set revoked_at = {now}
                             where kid = (select kid from credentials where jti = '{jti}')"
                        ),
                        S::GrandparentRevoked => format!("update credentials set revoked_at = {now} {above}"),
                        _ => format!("delete from credentials {above}"),
                    })
                    .await;
            }
        }
    }

    async fn set_trust(self, server: &Server, scene: &Scene) {
        if let S::Issuer(trust) = self {
            trust.set(server, scene).await;
        }
    }

    async fn set_person(self, server: &Server, scene: &Scene) {
        let person = &scene.person;
        if self == S::ConsentRevoked {
            let path = format!("/admin/oauth/consents?user_id={person}");
            let consents = server.admin("GET", &path).send().await.expect(200).body;
            let path = format!("/admin/oauth/consents/{}", consents["data"][0]["id"].as_str().unwrap());
            server.admin("DELETE", &path).send().await.expect(200);
            return;
        }
        server.admin("DELETE", &format!("/users/{person}")).send().await.expect(204);
        if self == S::PersonInNewEpoch {
            server.admin("POST", &format!("/users/{person}/activate")).send().await.expect(200);
        }
    }

    async fn set_may_act(self, server: &Server, scene: &Scene) {
        let (grant, now) = (&scene.may_act, sql_time(server));
        let update = |change: &str| format!("update may_act_grants set {change} where id = '{grant}'");
        match self {
            S::GrantRevoked => {
                server.admin("DELETE", &format!("/admin/may-act/{grant}")).send().await.expect(200);
            }
            S::GrantExpired => server.change(update(&format!("expires_at = {now}"))).await,
            S::GrantMissing => {
                server.change(format!("delete from may_act_grants where id = '{grant}'")).await;
            }
            S::GrantTheOtherWay => server.change(update("from_id = to_id, to_id = from_id")).await,
            S::GrantOfOtherScopes => server.change(update("scopes = array['z']")).await,
            // The subject has one actor already, and the grant allows one.
            _ => server.change(update("max_hops = 1")).await,
        }
    }
}
