//! What holds of every trusted issuer, however it came to be as it is.

use serde_json::Value;

use super::store;
use super::types::TrustedIssuer;
use crate::agents;
use crate::kit::app::App;
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Error, Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::jwk::ALGORITHMS;
use crate::kit::jwks;
use crate::kit::outbound::Target;

/// What bounds of time may be set, in seconds. A spent token is remembered for as long as it lives.
const SECONDS: std::ops::RangeInclusive<i32> = 60..=86_400;

/// Most claims that are compared.
const MOST_CLAIMS: usize = 32;

fn bad(why: impl Into<String>, at: &'static str) -> Error {
    refuse_at(Kind::InvalidRequest, why.into(), at, "")
}

/// The issuer with its keys in the form in which they are stored, or why it can't be.
pub fn check(app: &App, mut issuer: TrustedIssuer) -> Result<TrustedIssuer> {
    let limits = &app.config.limits;
    check_text("name", &issuer.name, limits)?;
    check_text("subject_pattern", &issuer.subject_pattern, limits)?;
    issuer.jwks_uri = issuer.jwks_uri.filter(|uri| !uri.is_empty());
    issuer.jwks = issuer.jwks.as_ref().map(jwks::public).transpose()?.flatten();
    if issuer.jwks_uri.is_some() == issuer.jwks.is_some() {
        return Err(bad("send either jwks_uri or jwks with at least one key", "body.jwks_uri"));
    }
    if let Some(uri) = &issuer.jwks_uri {
        let unfit = |why| bad(format!("nothing can be fetched from jwks_uri: {why}"), "body.jwks_uri");
        app.outbound.check(uri).map_err(unfit)?;
    }
    let known = |name: &String| ALGORITHMS.contains(&name.as_str());
    if issuer.algorithms.is_empty() || !issuer.algorithms.iter().all(known) {
        let why = format!("algorithms is a list of some of: {}", ALGORITHMS.join(", "));
        return Err(bad(why, "body.algorithms"));
    }
    issuer.algorithms.sort_unstable();
    issuer.algorithms.dedup();
    for (seconds, at) in [
        (issuer.max_lifetime_seconds, "body.max_lifetime_seconds"),
        (issuer.max_age_seconds, "body.max_age_seconds"),
    ] {
        if !SECONDS.contains(&seconds) {
            return Err(bad("it is a number of seconds from 60 to 86400", at));
        }
    }
    let texts = |claims: &serde_json::Map<String, Value>| {
        claims.len() <= MOST_CLAIMS && claims.values().all(Value::is_string)
    };
    if !issuer.required_claims.as_object().is_some_and(texts) {
        let why = format!("required_claims has at most {MOST_CLAIMS} members, and each is a text");
        return Err(bad(why, "body.required_claims"));
    }
    Ok(issuer)
}

/// What a token says in `iss`: an https URL in one spelling, and not this server's.
pub fn check_issuer(app: &App, issuer: &str) -> Result<()> {
    let at = "body.issuer";
    let target = Target::parse(issuer).map_err(|why| bad(format!("issuer is not fit: {why}"), at))?;
    if target.url().query().is_some() {
        return Err(bad("issuer has no query", at));
    }
    if issuer == app.config.issuer() {
        return Err(bad("issuer is this server, whose tokens are accepted without that", at));
    }
    Ok(())
}

/// The audience that no other tenant can have.
fn own_audience(app: &App, tenant: &Tenant) -> String {
    format!("{}/tenants/{}/{}", app.config.issuer(), tenant.account_id, tenant.project_id)
}

/// What tokens must say in `aud`. Whoever could choose another tenant's audience could take its workloads, or stand in
/// their way; so a tenant has one of its own, and any other one, this server's issuer among them, is an operator's to
/// give.
pub fn audience(app: &App, cx: &Cx, asked: &str) -> Result<String> {
    let (at, own) = ("body.audience", own_audience(app, &cx.tenant));
    if asked == own {
        return Ok(own);
    }
    if !cx.caller.across_tenants {
        if asked.is_empty() {
            return Ok(own);
        }
        let why =
            format!("only an operator can give an audience other than the tenant's own, which is {own}");
        return Err(refuse_at(Kind::Forbidden, why, at, ""));
    }
    if asked.is_empty() {
        return Ok(app.config.issuer().to_owned());
    }
    check_text("audience", asked, &app.config.limits)?;
    if asked.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return Err(bad("audience holds no space", at));
    }
    if asked.starts_with(&format!("{}/tenants/", app.config.issuer())) {
        return Err(bad("audience is another tenant's own", at));
    }
    Ok(asked.to_owned())
}

/// Whoever sets an issuer's keys or rules can act as every agent that is linked to it. That must not give him a reserved
/// scope he does not hold.
pub async fn check_reach(cx: &mut Cx, issuer: &TrustedIssuer, at: &'static str) -> Result<()> {
    for id in store::identities(cx, issuer.id).await? {
        if let Some(agent) = agents::find(cx, id).await? {
            let own = agents::ceiling(cx, &agent).await?;
            agents::check_takeover(cx, at, own, None)?;
        }
    }
    Ok(())
}
