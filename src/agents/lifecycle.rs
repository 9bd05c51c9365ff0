//! The status machine and what entering a state ends; rotation of keys; the one place that says no for state.

use uuid::Uuid;

use super::holder::Holder;
use super::types::{Agent, Status};
use super::update::{ceiling, check_takeover};
use super::{get, lock, store};
use crate::access::scope;
use crate::api_keys::{self, NewApiKey, Settings};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::ids;
use crate::kit::secret::Secret;
use crate::policies;
use crate::signals::{self, Lifecycle};
use crate::tokens::{self, Anchor};

/// Whether an identity may obtain a token: active and not past its end. The only place that says no for state.
pub fn usable(status: Status, expires_at: Option<Time>, now: Time) -> Result<()> {
    if status == Status::Expired || expires_at.is_some_and(|at| at <= now) {
        return Err(refuse(Kind::InvalidGrant, "identity_expired"));
    }
    if status != Status::Active {
        return Err(refuse(
            Kind::InvalidGrant,
            format!("the identity is not active: it is {}", status.as_str()),
        ));
    }
    Ok(())
}

/// Whether what is issued to an agent is bound to the key that it registered for that. The only place that says no for it.
pub fn check_binding(holder: &Holder, jkt: Option<&str>) -> Result<()> {
    let Some(registered) = holder.dpop_jkt.as_deref() else { return Ok(()) };
    match jkt {
        Some(jkt) if jkt == registered => Ok(()),
        Some(_) => {
            let why = "the DPoP proof is not by the key that is registered for the agent's tokens";
            Err(refuse(Kind::InvalidDpopProof, why))
        }
        None => {
            let why =
                "the agent's tokens are bound to a registered key; send a proof by it in the header DPoP";
            Err(refuse(Kind::InvalidDpopProof, why))
        }
    }
}

/// Makes an agent usable. Keys and tokens of before a deactivation stay dead.
pub async fn activate(cx: &mut Cx, id: Uuid) -> Result<Agent> {
    step(cx, id, Status::Active).await
}

/// Ends an agent with its keys and tokens. Doing it again changes nothing.
pub async fn deactivate(cx: &mut Cx, id: Uuid) -> Result<Agent> {
    step(cx, id, Status::Deactivated).await
}

/// Deletion is deactivation: the row and its `external_id` stay.
pub async fn delete(cx: &mut Cx, id: Uuid) -> Result<Agent> {
    deactivate(cx, id).await
}

/// Deactivates an agent and answers which credentials that ended: for whoever only wants to know, and undoes it.
pub async fn rehearse_deactivation(cx: &mut Cx, id: Uuid) -> Result<Vec<Uuid>> {
    let agent = lock(cx, id).await?;
    let ended = match agent.status {
        Status::Deactivated => Vec::new(),
        _ => tokens::changed_by(cx, &[agent.anchor()]).await?,
    };
    deactivate(cx, id).await?;
    Ok(ended)
}

/// Ends every credential that an agent holds, with all below them, and answers which. Its state and its keys stay.
pub async fn revoke_tokens(cx: &mut Cx, id: Uuid) -> Result<Vec<Uuid>> {
    let agent = lock(cx, id).await?;
    let ended = tokens::changed_by(cx, &[agent.anchor()]).await?;
    store::begin_epoch(cx, id).await?;
    tokens::note(cx, agent.anchor(), "agent_tokens_revoked").await?;
    signals::tell(cx, id, Lifecycle::TokensRevoked("agent_tokens_revoked")).await?;
    Ok(ended)
}

/// What a signal about an identity does to it: every credential that it holds ends, and it sleeps where that is wanted.
/// Whether the tenant has such an identity.
pub async fn contain(cx: &mut Cx, id: Uuid, suspend: bool, reason: &str) -> Result<bool> {
    let Some(agent) = store::lock(cx, id).await? else { return Ok(false) };
    store::begin_epoch(cx, id).await?;
    tokens::note(cx, agent.anchor(), reason).await?;
    if suspend && agent.status == Status::Active {
        store::set_status(cx, &[id], Status::Suspended).await?;
    }
    Ok(true)
}

async fn step(cx: &mut Cx, id: Uuid, next: Status) -> Result<Agent> {
    let agent = lock(cx, id).await?;
    check_step(&agent, next)?;
    enter(cx, &agent, next).await?;
    get(cx, id).await
}

/// Refuses a step that the machine does not know.
pub(super) fn check_step(agent: &Agent, next: Status) -> Result<()> {
    if !agent.status.may_become(next) {
        let why = format!("an agent that is {} can't become {}", agent.status.as_str(), next.as_str());
        return Err(refuse_at(Kind::InvalidRequest, why, "body.status", next.as_str()));
    }
    if next == Status::Active && agent.owner_user_id.is_empty() {
        return Err(refuse(Kind::InvalidRequest, "an agent without an owner can't become active"));
    }
    Ok(())
}

/// Enters a state the step to which was checked. Its own state again has no effect.
pub(super) async fn enter(cx: &mut Cx, agent: &Agent, next: Status) -> Result<()> {
    if agent.status == next {
        return Ok(());
    }
    store::set_status(cx, &[agent.id], next).await?;
    if next.ends_credentials() {
        let reason = if next == Status::Expired { "expired" } else { "identity_deactivated" };
        end(cx, &[agent.anchor()], &[agent.id], reason).await?;
        let what = if next == Status::Expired { Lifecycle::Expired } else { Lifecycle::Retired(reason) };
        signals::tell(cx, agent.id, what).await?;
    }
    Ok(())
}

/// What goes with the beginning of a new epoch: the marks of the former ones, and the end of the keys.
pub(super) async fn end(cx: &mut Cx, epochs: &[Anchor], ids: &[Uuid], reason: &str) -> Result<()> {
    tokens::note_all(cx, epochs, reason).await?;
    api_keys::revoke_all(cx, ids, "system:identity_revocation", reason).await
}

/// Replaces every live key of an agent by one new key with the newest one's scopes, policy and creator.
pub async fn rotate_key(app: &App, cx: &mut Cx, id: Uuid) -> Result<(Agent, Secret)> {
    let agent = lock(cx, id).await?;
    if usable(agent.status, agent.expires_at, cx.now).is_err() {
        let state = if agent.status == Status::Active { Status::Expired } else { agent.status };
        let why = format!("the key of an agent that is {} can't be rotated", state.as_str());
        return Err(refuse(Kind::InvalidRequest, why));
    }
    let plain = Settings::plain(agent.credential_policy_id, agent.created_by.clone());
    let settings = api_keys::newest(cx, agent.id).await?.unwrap_or(plain);
    let policy = policies::by_id(cx, settings.credential_policy_id, "credential_policy_id").await?;
    let own = ceiling(cx, &agent).await?;
    check_takeover(cx, "path.id", own, scope::intersect([settings.ceiling(), policy.ceiling()]))?;
    let key = NewApiKey {
        id: ids::new(cx.now)?,
        identity_id: agent.id,
        name: format!("Agent: {}", agent.name),
        expires_at: agent.expires_at,
        settings,
    };
    let secret = api_keys::replace_all(app, cx, key).await?;
    signals::tell(cx, id, Lifecycle::KeyChanged("api_key")).await?;
    Ok((get(cx, id).await?, secret))
}

/// The identity that is to get a further API key, locked so that a deactivation comes before or after, never between.
/// One that sleeps or is not released yet may have keys: they obtain nothing until it is active.
pub async fn for_further_key(cx: &mut Cx, id: Uuid) -> Result<Agent> {
    let at = "body.identity_id";
    let unknown = || refuse_at(Kind::InvalidRequest, "there is no identity with this id", at, id.to_string());
    let agent = store::lock(cx, id).await?.ok_or_else(unknown)?;
    let past = agent.expires_at.is_some_and(|end| end <= cx.now);
    let state = if past { Status::Expired } else { agent.status };
    if matches!(state, Status::Active | Status::Suspended | Status::Pending) {
        return Ok(agent);
    }
    let why = format!("an identity that is {} gets no API key", state.as_str());
    Err(refuse_at(Kind::InvalidRequest, why, at, id.to_string()))
}
