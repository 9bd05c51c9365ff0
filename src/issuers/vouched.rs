//! A token that an issuer outside signed: whether the tenant trusts that issuer, whether the issuer's rules let the token
//! pass, and as which agent its holder acts, or which person it speaks of.

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
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
use crate::users::Person;

/// The kind under which tokens of trusted issuers are used up, wherever they are accepted.
pub const OUTSIDE_TOKEN: &str = "workload_token";

/// Longest `aud` that is looked at.
const MOST_AUDIENCES: usize = 16;

/// Somebody for whom a trusted issuer vouches.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// The trusted issuer.
    pub issuer_id: Uuid,
    /// The `sub` there.
    pub subject: String,
    /// The link of that subject, and its epoch.
    pub link: (Uuid, i32),
    /// Whose it is here.
    pub who: Who,
    /// The thumbprint of the key that whoever presents the token must prove (RFC 7800, RFC 9449 section 6.1).
    pub jkt: Option<String>,
    /// The token, to be used up.
    pub artefact: Artefact,
}

/// To whom a subject is linked.
#[derive(Clone, Debug)]
pub enum Who {
    /// The agent as which a workload acts.
    Agent(Box<Holding>),
    /// The person of whom an identity provider speaks.
    Person(Person),
}

/// A trusted issuer that a token may mean, and the link of its subject.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    issuer: TrustedIssuer,
    linked: Option<((Uuid, i32), Who)>,
}

impl FromRow<'_, PgRow> for Candidate {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let sqlx::types::Json(issuer) = row.try_get("trusted_issuer")?;
        let agent = Holding::joined(row)?.map(|holding| Who::Agent(Box::new(holding)));
        let who = match row.try_get::<Option<Uuid>, _>("person_id")? {
            Some(_) => Some(Who::Person(Person::from_row(row)?)),
            None => agent,
        };
        let link = || Ok::<_, sqlx::Error>((row.try_get("link_id")?, row.try_get("link_epoch")?));
        Ok(Self { issuer, linked: who.map(|who| Ok::<_, sqlx::Error>((link()?, who))).transpose()? })
    }
}

/// Whether an `iss`, not to be believed yet, is a URL of somebody else: agents and clients have other names.
pub fn is_foreign(app: &App, issuer: &str) -> bool {
    issuer.starts_with("https://") && issuer != app.config.issuer()
}

/// Verifies a token of somebody else. Holds no connection of the database while keys are fetched.
pub async fn verify(app: &App, assertion: &Assertion<'_>, now: Time) -> Result<Result<Vouched, Flaw>> {
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
fn decide(candidate: Candidate, assertion: &Assertion<'_>, keys: &[Key], now: Time) -> Result<Vouched, Flaw> {
    let Candidate { issuer, linked } = candidate;
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
    let (link, who) = linked.ok_or(Flaw("its sub is linked to no agent and no person"))?;
    if matches!(who, Who::Person(_)) {
        check_party(assertion, &issuer.audience)?;
    }
    let jkt = confirmation(assertion)?;
    let artefact = Artefact { kind: OUTSIDE_TOKEN, key: once.key, until: once.until };
    Ok(Vouched { issuer_id: issuer.id, subject, link, who, jkt, artefact })
}

/// An ID token says to whom it was issued, where it is meant for others too (OpenID Connect Core 1.0 section 3.1.3.7).
fn check_party(assertion: &Assertion<'_>, audience: &str) -> Result<(), Flaw> {
    match assertion.claim("azp") {
        None if assertion.unverified().audiences().len() == 1 => Ok(()),
        Some(Value::String(party)) if party == audience => Ok(()),
        _ => {
            Err(Flaw("its azp is not the audience of the trusted issuer's entry, and it is meant for others"))
        }
    }
}

/// The key to which the token is bound, if it is.
fn confirmation(assertion: &Assertion<'_>) -> Result<Option<String>, Flaw> {
    let Some(cnf) = assertion.claim("cnf") else { return Ok(None) };
    let jkt = cnf.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("jkt"));
    let jkt = jkt.and_then(Value::as_str);
    jkt.map(|jkt| Some(jkt.to_owned())).ok_or(Flaw("it is bound to a key in a way that can't be proven here"))
}
