//! The status machine and what entering a state ends; rotation of keys; the one place that says no for state.

use uuid::Uuid;

use super::types::{Agent, Status};
use super::update::check_takeover;
use super::{get, lock, store};
use crate::api_keys::{self, Replaced};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::secret::Secret;
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
    Ok(ended)
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
    check_takeover(cx, &agent, "body.allowed_scopes").await?;
    let replaced = Replaced {
        identity_id: agent.id,
        name: format!("Agent: {}", agent.name),
        credential_policy_id: agent.credential_policy_id,
        expires_at: agent.expires_at,
        created_by: agent.created_by,
    };
    let secret = api_keys::replace_all(app, cx, replaced).await?;
    Ok((get(cx, id).await?, secret))
}
