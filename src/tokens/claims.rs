//! The claims of an access token. One set of facts; a profile decides their names and whose `sub` is.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::actor::{Hop, Principal};
use super::issue::Grant;
use crate::agents::Holder;
use crate::kit::clock::Time;
use crate::kit::config::Profile;

/// Claims in the order in which they are written. What is empty is left out, save what clients expect always.
// In the document of the API none is required: of a token that does not stand nothing is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenClaims)]
pub struct Claims<'a> {
    /// This server.
    #[schema(required = false)]
    iss: &'a str,
    /// Who presents it or, where the profile tells the chain, for whom it acts.
    #[schema(required = false)]
    sub: &'a str,
    /// For whom it is meant.
    #[schema(required = false)]
    aud: &'a [String],
    /// When it was issued, in seconds since 1970.
    #[schema(required = false)]
    iat: i64,
    /// When it ends, in seconds since 1970.
    #[schema(required = false)]
    exp: i64,
    /// Its id, which is that of its credential.
    #[schema(required = false)]
    jti: Uuid,
    /// With `project_id` the tenant.
    #[schema(required = false)]
    account_id: &'a str,
    /// See `account_id`.
    #[schema(required = false)]
    project_id: &'a str,
    /// How it was obtained, by the short name.
    #[schema(required = false)]
    grant_type: &'a str,
    /// The root of its tree.
    #[schema(required = false)]
    mission_id: Uuid,
    /// Of a chain that keeps its principal: `user` or `workload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_type: Option<&'static str>,
    /// The tenant's own id of the identity that `sub` names.
    #[schema(required = false)]
    external_id: &'a str,
    /// Its type.
    #[schema(required = false)]
    identity_type: &'a str,
    /// The finer kind of the holder.
    #[schema(required = false)]
    sub_type: &'a str,
    /// How far it is trusted.
    #[schema(required = false)]
    trust_level: &'a str,
    /// The status of the holder; here as it was then.
    #[schema(required = false)]
    status: &'a str,
    /// Who answers for the holder.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    owner_user_id: &'a str,
    /// What people call the holder, or the person.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    name: &'a str,
    /// What the holder is built with.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    framework: &'a str,
    /// Its version.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    version: &'a str,
    /// Who publishes it.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    publisher: &'a str,
    /// The tools it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<&'a Value>,
    /// What the token may do.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    #[schema(required = false)]
    scopes: &'a [String],
    /// The same, separated by spaces.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    scope: String,
    /// The client that obtained it.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    client_id: &'a str,
    /// The client to which the person said yes.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    application_id: &'a str,
    /// The identity of the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<Uuid>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_name: Option<&'a str>,
    /// How many delegations lie between it and its root.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    delegation_depth: i32,
    /// The person in whose name it speaks, or who made the API key.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    user_id: &'a str,
    /// Their address.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    user_email: &'a str,
    /// What people call them.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    user_name: &'a str,
    /// Who alone may act for its holder (RFC 8693 section 4.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    may_act: Option<&'a Value>,
    /// The key to which it is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation<'a>>,
    /// Who stands behind it, or who acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act<'a>>,
}

/// An actor (RFC 8693 section 4.1), with those before him where the profile nests them.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Actor)]
struct Act<'a> {
    /// Who.
    sub: &'a str,
    /// By whose word.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    /// The type of that identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_type: Option<&'a str>,
    /// How far it is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_level: Option<&'a str>,
    /// The tenant's own id for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    /// When it came in, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// What it might do.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    /// The key that it proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation<'a>>,
    /// Its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<Uuid>,
    /// Who acted before.
    #[serde(rename = "act", skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    before: Option<Box<Act<'a>>>,
}

/// The key to which something is bound (RFC 7800, RFC 9449 section 6).
#[derive(Debug, Serialize, ToSchema)]
struct Confirmation<'a> {
    /// The thumbprint of the key (RFC 9449 section 6.1).
    jkt: &'a str,
}

/// The part of a token that only issuing knows.
#[derive(Debug)]
pub struct Stamp {
    /// The token's id.
    pub jti: Uuid,
    /// The mission: a root's own id, or that of the first root of its refresh family.
    pub mission_id: Uuid,
    /// When it was issued, to the second.
    pub issued_at: Time,
    /// When it ends, to the second.
    pub expires_at: Time,
    /// For whom the chain acts; `None` for an identity's root.
    pub principal: Option<Principal>,
    /// Who acts, newest first; empty for a root, save that of an agent in a person's name.
    pub actors: Vec<Hop>,
}

impl<'a> Claims<'a> {
    /// What a grant's token says.
    pub fn of(issuer: &'a str, grant: &'a Grant, stamp: &'a Stamp) -> Self {
        let holder = grant.holder();
        let of_holder = |text: fn(&Holder) -> &str| holder.map_or("", text);
        let named = |tools: &&Value| {
            tools.as_array().is_some_and(|tools| !tools.is_empty() && tools.iter().all(Value::is_string))
        };
        let person = grant.person.as_ref();
        let chain = grant.profile != Profile::Zeroid;
        let principal = stamp.principal.as_ref().filter(|_| chain);
        let of_person = stamp.principal.as_ref().is_some_and(|principal| principal.person_id.is_some());
        let shark = holder.filter(|_| grant.profile == Profile::Shark);
        Self {
            iss: issuer,
            sub: subject(grant, stamp),
            aud: &grant.audience,
            iat: stamp.issued_at.unix_timestamp(),
            exp: stamp.expires_at.unix_timestamp(),
            jti: stamp.jti,
            account_id: &grant.tenant.account_id,
            project_id: &grant.tenant.project_id,
            grant_type: grant.grant_type,
            mission_id: stamp.mission_id,
            principal_type: matches!(grant.profile, Profile::Rfc8693 | Profile::Rfc9068)
                .then_some(if of_person { "user" } else { "workload" }),
            external_id: principal
                .map_or(of_holder(|own| &own.external_id), |principal| &principal.external_id),
            identity_type: principal
                .map_or(of_holder(|own| own.identity_type.as_str()), |principal| &principal.identity_type),
            sub_type: of_holder(|own| &own.sub_type),
            trust_level: principal
                .map_or(of_holder(|own| own.trust_level.as_str()), |principal| &principal.trust_level),
            status: of_holder(|own| own.status.as_str()),
            owner_user_id: of_holder(|own| &own.owner_user_id),
            name: holder.map_or(person.map_or("", |person| &person.name), |own| &own.identity_name),
            framework: of_holder(|own| &own.framework),
            version: of_holder(|own| &own.version),
            publisher: of_holder(|own| &own.publisher),
            capabilities: holder.map(|own| &own.capabilities).filter(named),
            scopes: grant.scopes.as_slice(),
            scope: grant.scopes.joined(),
            client_id: client_id(grant),
            application_id: person.and(grant.client.as_ref()).map_or("", |client| &client.client_id),
            agent_id: shark.map(|own| own.identity_id),
            agent_name: shark.map(|own| own.identity_name.as_str()),
            delegation_depth: grant.depth(),
            user_id: &grant.user_id,
            user_email: person.map_or("", |person| &person.email),
            user_name: person.map_or("", |person| &person.name),
            may_act: grant.may_act.as_ref(),
            cnf: grant.jkt.as_deref().map(|jkt| Confirmation { jkt }),
            act: act(issuer, grant, stamp),
        }
    }
}

/// The `sub` of a grant's token: who presents it or, where the profile tells the chain, for whom it acts. A root in a
/// person's name has that person.
pub fn subject<'a>(grant: &'a Grant, stamp: &'a Stamp) -> &'a str {
    if let Some(person) = &grant.person {
        return &person.user_id;
    }
    let holder = grant.holder().map_or("", |holder| &holder.wimse_uri);
    let own_client = grant.client.as_ref().map_or("", |client| &client.client_id);
    match (grant.profile, &stamp.principal) {
        (Profile::Rfc8693 | Profile::Rfc9068, Some(principal)) => &principal.sub,
        (Profile::Shark, Some(principal)) if principal.person_id.is_some() => &principal.sub,
        (Profile::Shark, Some(principal)) => or(&principal.client_id, &principal.sub),
        (Profile::Shark, None) => or(own_client, holder),
        (Profile::Zeroid, _) | (Profile::Rfc8693 | Profile::Rfc9068, None) => holder,
    }
}

/// The client that obtained the token. An agent that obtains one by itself is a client too, where the claim is required
/// (RFC 9068 section 2.2).
fn client_id(grant: &Grant) -> &str {
    match &grant.client {
        Some(client) => &client.client_id,
        None if grant.profile == Profile::Rfc9068 => grant.holder().map_or("", |holder| &holder.wimse_uri),
        None => "",
    }
}

fn act<'a>(issuer: &'a str, grant: &'a Grant, stamp: &'a Stamp) -> Option<Act<'a>> {
    match (grant.profile, &grant.parent) {
        (Profile::Zeroid, Some(parent)) => Some(Act { sub: &parent.subject, ..Act::default() }),
        // For a token from an API key: the person who made the key.
        (Profile::Zeroid, None) => {
            let creator = grant.person.is_none() && !grant.user_id.is_empty();
            creator.then(|| Act { sub: &grant.user_id, ..Act::default() })
        }
        (Profile::Rfc8693 | Profile::Rfc9068 | Profile::Shark, _) => {
            let mut act = nested(&stamp.actors, grant.profile)?;
            let names_holder = grant.profile != Profile::Shark;
            if let Some(holder) = grant.holder().filter(|_| names_holder) {
                act.iss = Some(issuer);
                act.identity_type = Some(holder.identity_type.as_str());
                act.trust_level = Some(holder.trust_level.as_str());
                act.external_id = Some(&holder.external_id);
            }
            Some(act)
        }
    }
}

fn nested(hops: &[Hop], profile: Profile) -> Option<Act<'_>> {
    let (hop, earlier) = hops.split_first()?;
    let shark = profile == Profile::Shark;
    Some(Act {
        sub: if shark { or(&hop.client_id, &hop.sub) } else { &hop.sub },
        iat: Some(hop.iat),
        scope: Some(&hop.scope),
        cnf: hop.jkt.as_deref().map(|jkt| Confirmation { jkt }),
        agent_id: shark.then_some(hop.agent_id),
        before: nested(earlier, profile).map(Box::new),
        ..Act::default()
    })
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(depth: &i32) -> bool {
    *depth == 0
}
