//! The one place that says yes: every grant's outcome is checked, clamped, signed and turned into a record here.

use serde_json::Value;
use time::Duration;
use uuid::Uuid;

use super::actor::{Hop, Parent, Principal};
use super::claims::{Claims, Stamp, subject};
use super::ledger::{Artefact, Credential};
use super::refresh::{Made, Refresh};
use crate::access::scope::Scopes;
use crate::agents::{self, Holder, Holding};
use crate::keys::Typ;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Profile;
use crate::kit::cx::Tenant;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::{ids, secret};
use crate::policies::{self, Policy, Question};
use crate::users::{self, Person};

/// What a grant found and decided: evidence in, this out. It neither signs nor writes.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Short name of the grant type.
    pub grant_type: &'static str,
    /// Whose.
    pub tenant: Tenant,
    /// The identity that holds it, under which policy. A person's client may act as none.
    pub holding: Option<Holding>,
    /// The person in whose name it speaks; only a root names one.
    pub person: Option<Person>,
    /// By which consent it does.
    pub consent_id: Option<Uuid>,
    /// A further policy over it, as the API key's.
    pub key_policy: Option<Policy>,
    /// What it may do, already narrowed.
    pub scopes: Scopes,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// A lifetime that was asked for, in seconds; the server's default where there is none.
    pub ttl_seconds: Option<u32>,
    /// An end it must not outlive, as the API key's.
    pub not_after: Option<Time>,
    /// The API key it rests on.
    pub api_key_id: Option<Uuid>,
    /// The client it rests on.
    pub client: Option<ClientStamp>,
    /// The credential it comes from.
    pub parent: Option<Parent>,
    /// The thumbprint of the key it is bound to (RFC 9449 section 6.1).
    pub jkt: Option<String>,
    /// How its claims are written.
    pub profile: Profile,
    /// The person behind it, "" if unknown.
    pub user_id: String,
    /// Who alone may act for its subject (RFC 8693 section 4.4).
    pub may_act: Option<Value>,
    /// Who outside vouched for the holder or the person.
    pub outside: Option<Outside>,
    /// The linked subject of a trusted issuer that it rests on, and the epoch of that.
    pub linked_subject: Option<(Uuid, i32)>,
    /// What is used up by it.
    pub artefacts: Vec<Artefact>,
    /// The refresh token that is to go out beside it.
    pub refresh: Option<Refresh>,
}

/// By whose word a token was obtained, for the audit log.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The trusted issuer.
    pub issuer_id: Uuid,
    /// The `sub` there.
    pub subject: String,
}

/// The client that obtains a token, as the decision saw it.
#[derive(Clone, Debug)]
pub struct ClientStamp {
    /// The row's id; one that a document describes has none.
    pub id: Option<Uuid>,
    /// The name by which it authenticated.
    pub client_id: String,
    /// The epoch that the decision saw.
    pub epoch: i32,
}

/// A signed token, not yet durable: write the record before the answer leaves.
#[derive(Debug)]
pub struct Issued {
    /// The compact JWS.
    pub token: String,
    /// Its row.
    pub credential: Credential,
    /// The refresh token beside it.
    pub refresh: Option<Made>,
}

/// No chain is longer, whatever a policy says: a token lists every credential it rests on.
pub const DEEPEST: i32 = 64;

impl Grant {
    /// A root for this holder, with the server's defaults.
    pub fn root(app: &App, grant_type: &'static str, holding: Holding) -> Self {
        Self { holding: Some(holding.clone()), ..Self::plain(app, grant_type, holding.tenant) }
    }

    /// The same in a person's name. A client that is bound to an identity holds it as that one.
    pub fn of_person(app: &App, grant_type: &'static str, person: Person, holding: Option<Holding>) -> Self {
        let plain = Self::plain(app, grant_type, person.tenant.clone());
        Self { user_id: person.user_id.clone(), person: Some(person), holding, ..plain }
    }

    fn plain(app: &App, grant_type: &'static str, tenant: Tenant) -> Self {
        Self {
            grant_type,
            tenant,
            holding: None,
            person: None,
            consent_id: None,
            key_policy: None,
            scopes: Scopes::default(),
            audience: vec![app.config.issuer().to_owned()],
            ttl_seconds: None,
            not_after: None,
            api_key_id: None,
            client: None,
            parent: None,
            jkt: None,
            profile: app.config.tokens.profile,
            user_id: String::new(),
            may_act: None,
            outside: None,
            linked_subject: None,
            artefacts: Vec::new(),
            refresh: None,
        }
    }

    /// How deep the credential will stand.
    pub fn depth(&self) -> i32 {
        self.parent.as_ref().map_or(0, |parent| parent.depth + 1)
    }

    /// Every policy over it.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.holding.iter().filter_map(|holding| holding.policy.as_ref()).chain(&self.key_policy)
    }

    /// The identity that holds it, if one does.
    pub fn holder(&self) -> Option<&Holder> {
        self.holding.as_ref().map(|holding| &holding.holder)
    }
}

/// Checks state and policies, clamps the lifetime and signs.
pub fn issue(app: &App, grant: &Grant, now: Time) -> Result<Issued> {
    check(grant, now)?;
    let (issued_at, expires_at) = lifetime(app, grant, now)?;
    let stamp = stamp(grant, now, (issued_at, expires_at))?;
    let ring = app.keys.ring();
    let key = ring.signer(now, app.config.keys.jwks_lifetime_seconds)?;
    let token = key.sign(typ(grant.profile), &Claims::of(app.config.issuer(), grant, &stamp))?;
    let refresh = grant.refresh.as_ref().map(|refresh| refresh.make(app, now)).transpose()?;
    let credential = Credential {
        jti: stamp.jti,
        tenant: grant.tenant.clone(),
        token_sha256: secret::sha256(token.as_bytes()),
        kid: key.kid().to_owned(),
        identity_id: grant.holder().map(|holder| holder.identity_id),
        agent_epoch: grant.holder().map_or(0, |holder| holder.epoch),
        api_key_id: grant.api_key_id,
        client: grant.client.clone(),
        person: grant.person.as_ref().map(|person| (person.id, person.epoch)),
        family_id: refresh.as_ref().map(|made| made.family_id),
        consent_id: grant.consent_id,
        linked_subject: grant.linked_subject,
        jkt: grant.jkt.clone(),
        parent_jti: grant.parent.as_ref().map(|parent| parent.jti),
        ancestors: grant.parent.as_ref().map(Parent::lineage).unwrap_or_default(),
        mission_id: stamp.mission_id,
        depth: grant.depth(),
        delegated_by: grant.parent.as_ref().map(|parent| parent.holder_uri.clone()).unwrap_or_default(),
        profile: grant.profile,
        grant_type: grant.grant_type,
        subject: subject(grant, &stamp).to_owned(),
        user_id: grant.user_id.clone(),
        scopes: grant.scopes.clone(),
        audience: grant.audience.clone(),
        issued_at,
        expires_at,
        principal: stamp.principal,
        actors: stamp.actors,
    };
    Ok(Issued { token, credential, refresh })
}

/// What the token's header says it is (RFC 9068 section 2.1).
fn typ(profile: Profile) -> Typ {
    match profile {
        Profile::Rfc9068 => Typ::AccessToken,
        Profile::Zeroid | Profile::Rfc8693 | Profile::Shark => Typ::Jwt,
    }
}

/// Tenant, person, identity and policies; each has one place that says no, and it is asked for every credential.
pub fn check(grant: &Grant, now: Time) -> Result<()> {
    let of_person = grant.person.as_ref().map(|person| (&person.tenant, person.tenant_active));
    let of_holder = grant.holding.as_ref().map(|holding| (&holding.tenant, holding.tenant_active));
    if of_person.is_none() && of_holder.is_none() {
        return Err(anyhow::anyhow!("a grant of {} is for nobody", grant.grant_type).into());
    }
    for (tenant, active) in of_person.into_iter().chain(of_holder) {
        if *tenant != grant.tenant {
            return Err(anyhow::anyhow!("a grant of {} joins two tenants", grant.grant_type).into());
        }
        if !active {
            return Err(refuse(Kind::InvalidGrant, "the tenant is suspended"));
        }
    }
    if let Some(person) = &grant.person {
        users::usable(person)?;
    }
    if let Some(Holding { holder, policy, .. }) = &grant.holding {
        agents::usable(holder.status, holder.identity_expires_at, now)?;
        agents::check_binding(holder, grant.jkt.as_deref())?;
        if policy.is_none() {
            return Err(anyhow::anyhow!("identity {} has no credential policy", holder.identity_id).into());
        }
    }
    let depth = grant.depth();
    if depth > DEEPEST {
        let why = format!("a chain of delegations has at most {DEEPEST} hops");
        return Err(refuse(Kind::PolicyViolation, why));
    }
    let trust_level = grant.holder().map(|holder| holder.trust_level).unwrap_or_default();
    let question = Question { grant_type: grant.grant_type, trust_level, depth, now };
    grant.policies().try_for_each(|policy| policies::check(policy, &question))
}

fn stamp(grant: &Grant, now: Time, times: (Time, Time)) -> Result<Stamp> {
    let (issued_at, expires_at) = times;
    let client_id = grant.client.as_ref().map(|client| client.client_id.as_str()).unwrap_or_default();
    let hop = |holder: &Holder| Hop {
        sub: holder.wimse_uri.clone(),
        client_id: client_id.to_owned(),
        agent_id: holder.identity_id,
        iat: issued_at.unix_timestamp(),
        scope: grant.scopes.joined(),
        jkt: grant.jkt.clone(),
    };
    let (principal, actors) = match (&grant.parent, &grant.person) {
        (Some(parent), _) => {
            let actors =
                grant.holder().map_or_else(|| parent.actors.clone(), |own| parent.actors_with(hop(own)));
            (Some(parent.principal.clone()), actors)
        }
        // An agent that a person lets act is the first actor.
        (None, Some(person)) => {
            (Some(Principal::person(person, client_id)), grant.holder().map(hop).into_iter().collect())
        }
        (None, None) => (None, Vec::new()),
    };
    let jti = ids::new(now)?;
    let of_parent = grant.parent.as_ref().map(|parent| parent.mission_id);
    let of_family = || grant.refresh.as_ref().and_then(Refresh::mission_id);
    let mission_id = of_parent.or_else(of_family).unwrap_or(jti);
    Ok(Stamp { jti, mission_id, issued_at, expires_at, principal, actors })
}

/// What was asked for or the default, or less where a policy, the identity's end, the parent or the grant's own bound
/// asks for it. Whole seconds: a token must not live longer than what it rests on.
fn lifetime(app: &App, grant: &Grant, now: Time) -> Result<(Time, Time)> {
    let issued_at = now.replace_nanosecond(0)?;
    let asked = grant.ttl_seconds.unwrap_or(app.config.tokens.default_ttl_seconds);
    let longest = [asked, app.config.tokens.max_ttl_seconds].map(i64::from);
    let policies = grant.policies().map(|policy| i64::from(policy.max_ttl_seconds));
    let seconds = longest.into_iter().chain(policies).min().unwrap_or_default();
    let mut expires_at = issued_at + Duration::seconds(seconds);
    let parent = grant.parent.as_ref().map(|parent| parent.active_until);
    for (bound, why) in [
        (grant.holder().and_then(|holder| holder.identity_expires_at), "identity_expired"),
        (grant.not_after, "credential_expired"),
        (parent, "credential_expired"),
    ] {
        let Some(bound) = bound else { continue };
        expires_at = expires_at.min(bound.replace_nanosecond(0)?);
        if expires_at <= now {
            return Err(refuse(Kind::InvalidGrant, why));
        }
    }
    Ok((issued_at, expires_at))
}
