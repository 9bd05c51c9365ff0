//! Identities that a source outside reports: taken in as `discovered`, then adopted or dismissed by a person. Reporting one
//! again refreshes what it says of itself and nothing that a person decided.

mod store;

pub mod routes;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::identity::{self, Identity, wimse_uri};
use super::register::{self, NewAgent, check_owner};
use super::types::{Status, TrustLevel};
use super::{lifecycle, lock, store as rows};
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::http::members::IdOrEmpty;
use crate::kit::timestamp;
use crate::policies;
use crate::signals::{self, Lifecycle};
use crate::tokens::Anchor;

/// The origin of what was registered here.
pub(super) const NATIVE: &str = "native";

/// What a source says of an identity.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Sighting {
    /// Where it was seen: a word in lower case, not `native`.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    pub origin: String,
    /// Which source of that origin.
    #[serde(default)]
    pub source_id: String,
    /// Who answers for it, if that is known.
    #[serde(default)]
    pub owner_user_id: String,
    /// Whether owner and trust are to be taken over, also where they are empty.
    #[serde(default)]
    pub owner_resolved: bool,
    /// The rest, as of an agent.
    #[serde(flatten)]
    pub rest: NewAgent,
}

/// A list of sightings. Each is read by itself, so that one that can't be read spoils no other.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = SightingBatch)]
pub struct Batch {
    /// 1 to 1000, or as many as the limit on lists allows.
    #[schema(value_type = Vec<Sighting>, min_items = 1, max_items = 1000)]
    pub agents: Vec<Value>,
}

/// What became of a batch.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = SightingsTaken)]
pub struct Taken {
    /// How many were new.
    pub created: usize,
    /// How many were known.
    pub reconciled: usize,
    /// Those that were refused.
    pub failed: Vec<Failed>,
}

/// A sighting that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SightingFailed)]
pub struct Failed {
    /// Which; "" where it names none.
    pub external_id: String,
    /// Why.
    pub error: String,
}

/// All that a source reported.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Source {
    /// Where.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    pub origin: String,
    /// Which source.
    pub source_id: String,
}

/// What is to go of that.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Pruning {
    /// From where.
    #[serde(flatten)]
    pub source: Source,
    /// Those not reported since then go.
    #[serde(default)]
    #[schema(required = true, format = DateTime)]
    pub not_seen_since: String,
}

/// Takes in what a source reports, and answers whether it was new.
pub async fn discover(app: &App, cx: &mut Cx, sighting: Sighting) -> Result<(Identity, bool)> {
    check_origin(&sighting.origin)?;
    if sighting.rest.trust_level == TrustLevel::FirstParty {
        let why =
            "a source may say unverified or verified_third_party; only an administrator says first_party";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.trust_level", "first_party"));
    }
    let owner = match sighting.owner_user_id.as_str() {
        "" => String::new(),
        named => check_owner("body.owner_user_id", named)?,
    };
    let named = std::slice::from_ref(&sighting.rest.external_id);
    if let Some(known) = rows::by_external_ids(cx, named).await?.pop() {
        reconcile(app, cx, known.id, sighting, owner).await?;
        return Ok((identity::get(cx, known.id).await?, false));
    }
    let Sighting { origin, source_id, rest, .. } = sighting;
    // What is not the source's to say is left out.
    let rest = NewAgent {
        public_key_pem: None,
        allowed_scopes: Vec::new(),
        credential_policy_id: None,
        api_key_credential_policy_id: None,
        expires_at: None,
        ..rest
    };
    let (created_by, seen_at) = (cx.caller.name().to_owned(), Some(cx.now));
    let status = Status::Discovered;
    let shape = |row| rows::Row { status, origin, source_id, seen_at, created_by, ..row };
    let entered = register::enter(app, cx, rest, owner, shape).await?;
    Ok((identity::get(cx, entered.id).await?, true))
}

/// Refreshes what a source says of itself. Owner and trust follow only while nobody has taken the identity in, and the
/// type too, with the URI that it is a part of.
async fn reconcile(app: &App, cx: &mut Cx, id: Uuid, sighting: Sighting, owner: String) -> Result<()> {
    let agent = lock(cx, id).await?;
    if agent.origin == NATIVE {
        let why = "external_id is taken by an identity that was registered here";
        return Err(refuse_at(Kind::Conflict, why, "body.external_id", id.to_string()));
    }
    let Sighting { source_id, owner_resolved, rest, .. } = sighting;
    register::check_texts(&rest, &app.config.limits)?;
    let is_open = agent.status == Status::Discovered;
    if is_open {
        register::check_type(&rest)?;
    }
    let uri = wimse_uri(&app.config.trust_domain, &cx.tenant, rest.identity_type, &rest.external_id);
    let seen = store::Seen {
        source_id,
        uri: is_open.then_some(uri),
        judged: (is_open && owner_resolved).then_some((owner, rest.trust_level)),
        rest,
    };
    Ok(store::reconcile(cx, id, &seen).await?)
}

/// Takes in a list: what is refused is named and spoils nothing else.
pub async fn discover_all(app: &App, cx: &mut Cx, batch: Batch) -> Result<Taken> {
    if batch.agents.is_empty() || batch.agents.len() > 1000 {
        return Err(refuse_at(Kind::Invalid, "agents has 1 to 1000 items", "body.agents", ""));
    }
    let mut taken = Taken::default();
    for agent in batch.agents {
        let external_id = agent["external_id"].as_str().unwrap_or_default().chars().take(255).collect();
        let unreadable = |_| refuse(Kind::Invalid, "a member is missing or of the wrong type");
        let result = match serde_json::from_value(agent).map_err(unreadable) {
            Ok(sighting) => discover(app, cx, sighting).await,
            Err(error) => Err(error),
        };
        match result {
            Ok((_, true)) => taken.created += 1,
            Ok((_, false)) => taken.reconciled += 1,
            Err(Error::Refused(refused)) => {
                taken.failed.push(Failed { external_id, error: refused.why.into_owned() });
            }
            Err(fault @ Error::Fault(_)) => return Err(fault),
        }
    }
    Ok(taken)
}

/// Deactivates what a source no longer reports and nobody adopted; how many that were.
pub async fn prune(cx: &mut Cx, pruning: &Pruning) -> Result<usize> {
    let Pruning { source, not_seen_since } = pruning;
    check_origin(&source.origin)?;
    let since = timestamp::parse(not_seen_since).filter(|since| *since <= cx.now).ok_or_else(|| {
        let why = "not_seen_since is a time that lies in the past, as 2030-01-31T00:00:00Z";
        refuse_at(Kind::InvalidRequest, why, "body.not_seen_since", "")
    })?;
    let found = store::lock_unseen(cx, source, since).await?;
    if found.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = found.iter().map(|(id, _)| *id).collect();
    let epochs: Vec<Anchor> = found.iter().map(|(id, epoch)| Anchor::Identity(*id, *epoch)).collect();
    rows::set_status(cx, &ids, Status::Deactivated).await?;
    lifecycle::end(cx, &epochs, &ids, "not_seen").await?;
    signals::tell_all(cx, &ids, Lifecycle::Retired("not_seen")).await?;
    Ok(ids.len())
}

/// Forgets which source reported what, so that another may; how many that were.
pub async fn release(cx: &mut Cx, source: &Source) -> Result<u64> {
    check_origin(&source.origin)?;
    Ok(store::release(cx, source).await?)
}

/// What an adoption says.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Adoption {
    /// Who answers for it from now on.
    #[schema(required = true, min_length = 1, max_length = 255, pattern = r"^\S([\s\S]*\S)?$")]
    pub owner_user_id: String,
    /// The policy over everything issued to it.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub credential_policy_id: Option<String>,
}

/// Takes a discovered identity in: somebody answers for it, and it waits to be released.
pub async fn adopt(cx: &mut Cx, id: Uuid, adoption: Adoption) -> Result<Identity> {
    let agent = lock(cx, id).await?;
    let owner = check_owner("body.owner_user_id", &adoption.owner_user_id)?;
    if agent.status != Status::Discovered {
        let why = format!("an identity that is {} can't be adopted", agent.status.as_str());
        return Err(refuse(Kind::InvalidRequest, why));
    }
    let at = "body.credential_policy_id";
    let policy = policies::named(cx, at, adoption.credential_policy_id.as_deref()).await?;
    let policy = policy.map_or(agent.credential_policy_id, |policy| policy.id);
    store::set_owner(cx, id, &owner, policy).await?;
    rows::set_status(cx, &[id], Status::Pending).await?;
    signals::tell(cx, id, Lifecycle::OwnerChanged(&agent.owner_user_id, &owner)).await?;
    identity::get(cx, id).await
}

/// Sends an identity back: a pending one is only discovered again, a discovered one is deactivated.
pub async fn dismiss(cx: &mut Cx, id: Uuid) -> Result<Identity> {
    let agent = lock(cx, id).await?;
    match agent.status {
        Status::Deactivated => {}
        Status::Discovered => lifecycle::enter(cx, &agent, Status::Deactivated).await?,
        Status::Pending => {
            let policy = policies::default(cx).await?;
            store::set_owner(cx, id, "", policy.id).await?;
            rows::set_status(cx, &[id], Status::Discovered).await?;
        }
        Status::Active | Status::Suspended | Status::Expired => {
            let why = format!("an identity that is {} can't be dismissed", agent.status.as_str());
            return Err(refuse(Kind::InvalidRequest, why));
        }
    }
    identity::get(cx, id).await
}

/// Ends an identity as if its end had come.
pub async fn expire(cx: &mut Cx, id: Uuid) -> Result<Identity> {
    let agent = lock(cx, id).await?;
    lifecycle::check_step(&agent, Status::Expired)?;
    lifecycle::enter(cx, &agent, Status::Expired).await?;
    identity::get(cx, id).await
}

fn check_origin(origin: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=64).contains(&origin.len()) && origin.bytes().all(plain) && origin != NATIVE {
        return Ok(());
    }
    let why = "origin holds 1 to 64 of the characters a-z 0-9 _ - and is not \"native\"";
    Err(refuse_at(Kind::InvalidRequest, why, "body.origin", ""))
}
