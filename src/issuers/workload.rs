//! A workload's token: who signed it, whether its issuer's rules let it pass, and as which agent its holder acts.

use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use time::Duration;
use uuid::Uuid;

use super::store;
use super::types::TrustedIssuer;
use crate::agents::Holding;
use crate::kit::app::App;
use crate::kit::assertion::{Assertion, Expected, Flaw, Key, NOT_SIGNED};
use crate::kit::clock::Time;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::glob::Glob;
use crate::tokens::ledger::Artefact;

/// The kind under which workloads' tokens are used up, wherever they are accepted.
pub const WORKLOAD_TOKEN: &str = "workload_token";

/// Longest `aud` that is looked at.
const MOST_AUDIENCES: usize = 16;

/// A workload that its issuer vouches for.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The trusted issuer.
    pub issuer_id: Uuid,
    /// Its `sub` there.
    pub subject: String,
    /// The agent as which it acts.
    pub holding: Holding,
    /// Its token, to be used up.
    pub artefact: Artefact,
}

/// A trusted issuer that a token may mean, and the agent to which its subject is linked.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    issuer: TrustedIssuer,
    holding: Option<Holding>,
}

impl FromRow<'_, PgRow> for Candidate {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let sqlx::types::Json(issuer) = sqlx::Row::try_get(row, "trusted_issuer")?;
        Ok(Self { issuer, holding: Holding::joined(row)? })
    }
}

/// Whether a token's `iss`, not to be believed yet, is a URL of somebody else: agents and clients have other names.
pub fn is_foreign(app: &App, assertion: &Assertion<'_>) -> bool {
    let issuer = assertion.unverified().iss.as_deref().unwrap_or_default();
    issuer.starts_with("https://") && issuer != app.config.issuer()
}

/// Verifies a workload's token. Holds no connection of the database while keys are fetched.
pub async fn workload(app: &App, assertion: &Assertion<'_>, now: Time) -> Result<Result<Workload, Flaw>> {
    let claims = assertion.unverified();
    let (Some(iss), Some(sub)) = (claims.iss.as_deref(), claims.sub.as_deref()) else {
        return Ok(Err(NOT_SIGNED));
    };
    let audiences = claims.audiences();
    if audiences.len() > MOST_AUDIENCES || audiences.iter().any(|name| name.contains('\0')) {
        return Ok(Err(Flaw("its aud is not this server")));
    }
    let mut db = app.connection().await?;
    let mut candidates = store::candidates(&mut db, iss, &audiences, sub).await?;
    drop(db);
    // Issuer and audience lead to one tenant. A token that is meant for several says not whose it is.
    let (Some(candidate), true) = (candidates.pop(), candidates.is_empty()) else {
        return Ok(Err(NOT_SIGNED));
    };
    if !candidate.issuer.is_active {
        return Ok(Err(NOT_SIGNED));
    }
    let keys = keys(app, &candidate.issuer, assertion, now).await?;
    Ok(decide(candidate, assertion, &keys, now))
}

async fn keys(app: &App, issuer: &TrustedIssuer, assertion: &Assertion<'_>, now: Time) -> Result<Vec<Key>> {
    // Before anything is fetched for it.
    if !issuer.algorithms.iter().any(|name| name == assertion.algorithm()) {
        return Ok(Vec::new());
    }
    match (&issuer.jwks, &issuer.jwks_uri) {
        (Some(set), _) => Ok(Key::from_set(set, assertion.kid())),
        (None, Some(uri)) => {
            let why = "the keys of the token's issuer could not be fetched; try again shortly";
            let keys = app.key_sets.keys(&app.outbound, (issuer.id, uri), assertion.kid(), now).await;
            keys.map_err(|_| refuse(Kind::Unavailable, why))
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// The issuer's rules (RFC 7523 section 3, RFC 8725 sections 3.8 and 3.9).
fn decide(
    candidate: Candidate,
    assertion: &Assertion<'_>,
    keys: &[Key],
    now: Time,
) -> Result<Workload, Flaw> {
    let Candidate { issuer, holding } = candidate;
    let seconds = |count: i32| Duration::seconds(count.into());
    let expected =
        Expected { audience: &issuer.audience, longest: seconds(issuer.max_lifetime_seconds), now };
    let place = issuer.id.to_string();
    let once = assertion.verify_of_issuer(keys, &expected, (seconds(issuer.max_age_seconds), &place))?;
    let subject = assertion.unverified().sub.clone().unwrap_or_default();
    if !issuer.subject_pattern.is_empty() && !Glob::new(&issuer.subject_pattern).matches(&subject) {
        return Err(Flaw("its sub does not match the pattern of the trusted issuer"));
    }
    let required = issuer.required_claims.as_object().into_iter().flatten();
    let stand = |(name, wanted): (&String, &Value)| assertion.claim(name).as_ref() == Some(wanted);
    if !required.into_iter().all(stand) {
        return Err(Flaw(
            "it lacks a claim that the trusted issuer's entry requires, or has another value there",
        ));
    }
    let holding = holding.ok_or(Flaw("its sub is linked to no agent"))?;
    let artefact = Artefact { kind: WORKLOAD_TOKEN, key: once.key, until: once.until };
    Ok(Workload { issuer_id: issuer.id, subject, holding, artefact })
}
