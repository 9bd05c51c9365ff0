//! Which tenant an admin request works in. With a credential of one tenant the headers only confirm it.

use axum::http::HeaderMap;

use crate::kit::cx::Tenant;
use crate::kit::error::{Kind, Result, refuse};
use crate::tenancy;

/// What clients send when their user named no tenant.
const UNSET: &str = "default";

/// Chooses the tenant from the credential's own and the headers `X-Account-ID` and `X-Project-ID`.
pub(super) fn select(headers: &HeaderMap, own: Option<&Tenant>) -> Result<Tenant> {
    let account = one(headers, "x-account-id")?;
    let project = one(headers, "x-project-id")?;
    let Some(own) = own else {
        let (Some(account), Some(project)) = (account, project) else {
            return Err(refuse(
                Kind::MissingCredential,
                "missing tenant context: send the headers X-Account-ID and X-Project-ID",
            ));
        };
        return tenancy::tenant(account, project);
    };
    let unset = account == Some(UNSET) && project == Some(UNSET);
    let agrees = account.is_none_or(|account| account == own.account_id)
        && project.is_none_or(|project| project == own.project_id);
    if unset || agrees {
        return Ok(own.clone());
    }
    Err(refuse(Kind::Forbidden, "the credential belongs to another tenant than the headers name"))
}

fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(refuse(Kind::InvalidRequest, format!("the header {name} stands more than once")));
    }
    let text = first.map(|value| value.to_str().map_err(|_| unreadable(name))).transpose()?;
    Ok(text.filter(|value| !value.is_empty()))
}

fn unreadable(name: &'static str) -> crate::kit::error::Error {
    refuse(Kind::InvalidRequest, format!("the header {name} is not plain text"))
}
