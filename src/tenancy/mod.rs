//! Tenants: the pair of account and project that every row belongs to. Made on first use by those who may work across
//! tenants.
mod store;

use sqlx::PgConnection;

use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Kind, Result, refuse, refuse_at};

/// Checks a part of a tenant or another segment of a SPIFFE path: `[A-Za-z0-9._-]`, not `.` or `..`, at most 255 long.
pub fn check_segment(at: &'static str, value: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=255).contains(&value.len()) && value.bytes().all(plain) && value != "." && value != ".." {
        return Ok(());
    }
    let name = at.trim_start_matches("body.");
    let why =
        format!("{name} holds 1 to 255 of the characters A-Z a-z 0-9 . _ - and is neither \".\" nor \"..\"");
    // The value is an identifier the caller chose, never a secret, but it may be long or unprintable.
    Err(refuse_at(Kind::InvalidRequest, why, at, value.chars().take(64).collect::<String>()))
}

/// A tenant from its two parts.
pub fn tenant(account_id: &str, project_id: &str) -> Result<Tenant> {
    check_segment("account_id", account_id)?;
    check_segment("project_id", project_id)?;
    Ok(Tenant { account_id: account_id.to_owned(), project_id: project_id.to_owned() })
}

/// Makes the tenant's row on first use, and refuses a tenant that is not active.
pub async fn ensure(cx: &mut Cx) -> Result<()> {
    if cx.caller.across_tenants {
        store::insert(&mut cx.tx, &cx.tenant, cx.now).await?;
    }
    check(&mut cx.tx, &cx.tenant).await
}

/// Refuses a tenant that is not there or not active.
pub async fn check(db: &mut PgConnection, tenant: &Tenant) -> Result<()> {
    match store::state(db, tenant).await?.as_deref() {
        Some("active") => Ok(()),
        Some(_) => Err(refuse(Kind::Forbidden, "the tenant is suspended")),
        None => {
            Err(refuse(Kind::Forbidden, "the tenant does not exist; an operator key makes it on first use"))
        }
    }
}
