//! Token exchange (RFC 8693): an agent acts for the holder of a token, with no more than the token allows.

use serde_json::Value;

use super::{Denial, Principal, Request, client_credentials, flawed, outside, verify_assertion};
use crate::access;
use crate::access::scope::{Scopes, intersect, narrow_beside};
use crate::agents::{Holder, Holding};
use crate::delegations::{self, MayAct, Question};
use crate::issuers;
use crate::kit::assertion::Assertion;
use crate::kit::config::Profile;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::audience;
use crate::oauth::client_auth::Authenticated;
use crate::tokens::exchange::{self, ActorNames, Evidence, Subject};
use crate::tokens::ledger::Artefact;
use crate::tokens::{Grant, claims_of};

/// The grant's `grant_type`.
pub const URN: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The grant's short name.
pub const NAME: &str = "token_exchange";

/// The type of what is exchanged and issued (RFC 8693 section 3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Who acts, and by what right.
struct Actor {
    holding: Holding,
    /// The assertion by which he proved himself; a client that authenticated has none.
    artefact: Option<Artefact>,
    /// Every name by which a grant or claim may call him.
    names: Vec<String>,
    principal: Principal,
}

/// Decides on a subject token and an actor: one who signed an actor token, or the client that authenticated.
pub async fn redeem(request: &Request<'_>) -> Result<(Grant, Principal), Denial> {
    let Request { app, params, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    check_types(request)?;
    let token = params.required("subject_token")?;
    let limits = &app.config.limits;
    if is_outside(request, token)? {
        let token =
            Assertion::parse(token, limits.token_bytes).map_err(|flaw| flawed("subject_token", flaw))?;
        return outside::redeem(request, NAME, "subject_token", &token).await;
    }
    let assertion = params.get("actor_token").map(|text| Assertion::parse(text, limits.token_bytes));
    let assertion = assertion.transpose().map_err(|flaw| flawed("actor_token", flaw))?;
    let names = names(request.client, assertion.as_ref())?;
    let evidence = exchange::evidence(app, token, names, now).await?;
    let Some(Evidence { subject: Some(subject), actor, may_act }) = evidence else {
        access::count_failure(app, from.address, now).await?;
        return Err(dead().into());
    };
    let actor = match assertion {
        Some(assertion) => by_assertion(request, &assertion, actor).await?,
        None => by_client(request.client)?,
    };
    let principal = actor.principal.clone();
    match decide(request, token, subject, actor, &may_act) {
        Ok(grant) => Ok((grant, principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

/// Only access tokens come of it. What is exchanged is an access token of ours or, where the type says so, a token of a
/// trusted issuer (RFC 8693 section 2.1).
fn check_types(request: &Request<'_>) -> Result<()> {
    for (name, known) in [
        ("subject_token_type", &[ACCESS_TOKEN, JWT, ID_TOKEN][..]),
        ("requested_token_type", &[ACCESS_TOKEN, JWT]),
        ("actor_token_type", &[JWT]),
    ] {
        if request.params.get(name).is_some_and(|value| !known.contains(&value)) {
            let why = format!("{name} is not supported; it is one of: {}", known.join(" "));
            return Err(refuse(Kind::InvalidRequest, why));
        }
    }
    if request.params.get("actor_token").is_none() && request.params.get("actor_token_type").is_some() {
        return Err(refuse(Kind::InvalidRequest, "actor_token_type stands without actor_token"));
    }
    Ok(())
}

/// Whether the subject token is somebody else's, by what it says of itself. Its type must allow that: no access token of
/// another server is one here. With it comes no actor's: the workload acts itself, for a person the client.
fn is_outside(request: &Request<'_>, token: &str) -> Result<bool> {
    let said = request.params.get("subject_token_type").unwrap_or(ACCESS_TOKEN);
    let issuer = claims_of(token).and_then(|claims| claims.get("iss")?.as_str().map(str::to_owned));
    let foreign = issuer.is_some_and(|issuer| issuers::is_foreign(request.app, &issuer));
    if said == ACCESS_TOKEN || (said == JWT && !foreign) {
        return Ok(false);
    }
    if !foreign {
        let why = "the subject_token is no ID token of another issuer, as its subject_token_type says";
        return Err(refuse(Kind::InvalidRequest, why));
    }
    if request.params.get("actor_token").is_some() {
        let why = "a token of a trusted issuer takes no actor_token: exchange what is obtained with it";
        return Err(refuse(Kind::InvalidRequest, why));
    }
    Ok(true)
}

/// By which names the one who wants to act is looked up.
fn names(client: Option<&Authenticated>, assertion: Option<&Assertion<'_>>) -> Result<ActorNames> {
    if let Some(assertion) = assertion {
        let uri = assertion.unverified().iss.clone().unwrap_or_default();
        return Ok(ActorNames { uri, names: Vec::new() });
    }
    let why = "the parameter actor_token is missing, and no client authenticated that could act instead";
    let known = client.filter(|known| known.proven).ok_or_else(|| refuse(Kind::InvalidRequest, why))?;
    Ok(ActorNames { uri: String::new(), names: client_names(known) })
}

/// Every name of an agent.
fn agent_names(holder: &Holder) -> Vec<String> {
    vec![holder.identity_id.to_string(), holder.wimse_uri.clone(), holder.external_id.clone()]
}

/// Every name of a client, with those of the agent it is bound to.
pub fn client_names(known: &Authenticated) -> Vec<String> {
    let agent = known.holding.as_ref().map(|holding| agent_names(&holding.holder));
    agent.into_iter().flatten().chain([known.client.client_id.clone()]).collect()
}

async fn by_assertion(
    request: &Request<'_>,
    assertion: &Assertion<'_>,
    actor: Option<Holding>,
) -> Result<Actor, Denial> {
    let artefact = match verify_assertion(request, assertion, actor.as_ref()) {
        Ok(artefact) => artefact,
        Err(flaw) => {
            access::count_failure(request.app, request.from.address, request.now).await?;
            return Err(flawed("actor_token", flaw).into());
        }
    };
    let holding = actor.ok_or_else(|| refuse(Kind::InvalidGrant, "unknown actor"))?;
    let principal =
        Principal { tenant: holding.tenant.clone(), kind: "agent", id: holding.holder.wimse_uri.clone() };
    if let Err(error) = check_own(request.client, &holding, "the actor_token was not signed by the agent") {
        return Err(principal.denied(error));
    }
    let names = request.client.map_or_else(|| agent_names(&holding.holder), client_names);
    Ok(Actor { holding, artefact: Some(artefact), names, principal })
}

/// A client that authenticates beside an agent is that agent's own.
pub fn check_own(client: Option<&Authenticated>, agent: &Holding, what: &str) -> Result<()> {
    let own = |known: &Authenticated| {
        known.holding.as_ref().is_some_and(|its| its.holder.identity_id == agent.holder.identity_id)
    };
    if client.is_none_or(own) {
        return Ok(());
    }
    Err(refuse(Kind::InvalidRequest, format!("{what} that the client is bound to")))
}

/// Nothing is delegated by default, and nothing is no delegation.
pub fn check_scopes(asked: &Scopes, granted: &Scopes) -> Result<()> {
    if asked.is_empty() {
        let why = "name the scopes to delegate: nothing is delegated by default";
        return Err(refuse(Kind::InvalidScope, why));
    }
    if granted.is_empty() {
        return Err(refuse(Kind::InvalidScope, "no requested scope can be delegated"));
    }
    Ok(())
}

fn by_client(client: Option<&Authenticated>) -> Result<Actor, Denial> {
    let known = client.ok_or_else(dead)?;
    let principal = client_credentials::principal(known);
    match known.holding.clone() {
        Some(holding) => Ok(Actor { holding, artefact: None, names: client_names(known), principal }),
        None => {
            let why = "the client is bound to no agent that could act";
            Err(principal.denied(refuse(Kind::UnauthorizedClient, why)))
        }
    }
}

fn decide(
    request: &Request<'_>,
    token: &str,
    subject: Subject,
    actor: Actor,
    may_act: &[MayAct],
) -> Result<Grant> {
    if actor.holding.tenant != subject.tenant || !subject.is_active(request.now) {
        return Err(dead());
    }
    let right = right(request, token, &subject, &actor, may_act)?;
    let right = possess(request, &subject, &actor, may_act, right)?;
    let layers = [
        Some(Scopes::stored(subject.scopes.clone())),
        request.client_ceiling(),
        right.and_then(MayAct::ceiling),
    ];
    let own = intersect(actor.holding.ceilings());
    let scopes = narrow_beside(&request.scopes, own, layers)?;
    check_scopes(&request.scopes, &scopes)?;
    Ok(Grant {
        scopes,
        audience: audience::granted(request, Some(&subject.audience))?,
        profile: profile(request, &subject),
        artefacts: actor.artefact.into_iter().collect(),
        user_id: subject
            .parent
            .principal
            .person_id
            .map(|_| subject.parent.principal.sub.clone())
            .unwrap_or_default(),
        parent: Some(subject.parent),
        ..Grant::root(request.app, NAME, actor.holding)
    })
}

/// By what right the actor acts. Whoever presents the token together with an actor's own assertion was given both. A
/// client alone needs a may-act grant, unless it narrows a token of its own; the grant bounds hops and scopes. Where the
/// token itself names who may act (RFC 8693 section 4.4), nobody else may.
fn right<'g>(
    request: &Request<'_>,
    token: &str,
    subject: &Subject,
    actor: &Actor,
    may_act: &'g [MayAct],
) -> Result<Option<&'g MayAct>> {
    let claim = claims_of(token).and_then(|mut claims| claims.remove("may_act"));
    if is_named(claim.as_ref(), &actor.names)? {
        return Ok(None);
    }
    let holder = &actor.holding.holder;
    let own = subject.identity_id == Some(holder.identity_id)
        || request.client.is_some_and(|known| subject.oauth_client_id == Some(known.client.id));
    if actor.artefact.is_some() || own {
        return Ok(None);
    }
    authorize(request, subject, actor, may_act).map(Some)
}

/// What is bound to a key is exchanged by whoever proves that key, or by an actor whom a may-act grant lets act for the
/// subject. He then proves a key of his own, so that a binding is never dropped.
fn possess<'g>(
    request: &Request<'_>,
    subject: &Subject,
    actor: &Actor,
    may_act: &'g [MayAct],
    right: Option<&'g MayAct>,
) -> Result<Option<&'g MayAct>> {
    let Some(jkt) = &subject.jkt else { return Ok(right) };
    let unproven = |why: &'static str| refuse(Kind::InvalidDpopProof, why);
    let absent = "the subject_token is bound to a key; send a proof by it in the header DPoP or, under a may-act grant, a \
                  proof by a key of the actor";
    let proof = request.proof.ok_or_else(|| unproven(absent))?;
    if proof.jkt == *jkt || right.is_some() {
        return Ok(right);
    }
    let why = "the DPoP proof is not by the key that the subject_token is bound to, and no may-act grant lets the actor \
               exchange it with a key of its own";
    authorize(request, subject, actor, may_act).map(Some).map_err(|_| unproven(why))
}

/// The live may-act grant by which the actor may act for the subject.
fn authorize<'g>(
    request: &Request<'_>,
    subject: &Subject,
    actor: &Actor,
    may_act: &'g [MayAct],
) -> Result<&'g MayAct> {
    let actor_names: Vec<&str> = actor.names.iter().map(String::as_str).collect();
    let principal_names = subject.names();
    let question = Question {
        actor: &actor_names,
        principal: &principal_names.iter().map(String::as_str).collect::<Vec<_>>(),
        depth: subject.parent.actors.len(),
        now: request.now,
    };
    delegations::authorize(may_act, &question)
}

/// Whether the subject token names who may act for its subject, and it is this one; another one may not.
pub fn is_named(may_act: Option<&Value>, names: &[String]) -> Result<bool> {
    let Some(claim) = may_act else { return Ok(false) };
    if names_one(claim, &|name: &str| names.iter().any(|known| known == name)) {
        return Ok(true);
    }
    Err(refuse(Kind::Forbidden, "the subject token names who may act for its subject: another one"))
}

/// Whether a `may_act` claim names somebody: as a string, as an object with `sub`, or in a list of these.
fn names_one(claim: &Value, is: &impl Fn(&str) -> bool) -> bool {
    match claim {
        Value::String(name) => is(name),
        Value::Object(members) => members.get("sub").and_then(Value::as_str).is_some_and(is),
        Value::Array(all) => all.iter().any(|one| names_one(one, is)),
        _ => false,
    }
}

/// What the client is registered for, else what the subject token has: a chain keeps its shape.
fn profile(request: &Request<'_>, subject: &Subject) -> Profile {
    let of_client = request.client.and_then(|known| known.client.token_profile.as_deref());
    of_client.and_then(Profile::of).unwrap_or(subject.profile)
}

/// Unknown, expired, revoked and another tenant's subject tokens are one answer.
fn dead() -> Error {
    refuse(Kind::InvalidGrant, "the subject_token is unknown, expired or revoked")
}
