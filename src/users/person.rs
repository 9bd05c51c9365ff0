//! A person as issuing reads them, and the one place that says no for their state.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::kit::cx::{Authority, Caller, Tenant};
use crate::kit::error::{Kind, Result, refuse};

/// What issuing asks of a person and writes into claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The row's id.
    pub id: Uuid,
    /// Whose.
    pub tenant: Tenant,
    /// Whether the tenant is active.
    pub tenant_active: bool,
    /// What tokens call them.
    pub user_id: String,
    /// "" where none is known.
    pub email: String,
    /// "" where none is known.
    pub name: String,
    /// Nothing is issued in the name of an inactive one.
    pub is_active: bool,
    /// Credentials of an earlier epoch are dead.
    pub epoch: i32,
}

/// From columns that begin with `person_`.
impl FromRow<'_, PgRow> for Person {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("person_id")?,
            tenant: Tenant {
                account_id: row.try_get("person_account_id")?,
                project_id: row.try_get("person_project_id")?,
            },
            tenant_active: row.try_get("person_tenant_active")?,
            user_id: row.try_get("person_user_id")?,
            email: row.try_get("person_email")?,
            name: row.try_get("person_name")?,
            is_active: row.try_get("person_is_active")?,
            epoch: row.try_get("person_epoch")?,
        })
    }
}

/// Whether something may be issued in a person's name. The only place that says no for their state.
pub fn usable(person: &Person) -> Result<()> {
    if person.is_active {
        return Ok(());
    }
    Err(refuse(Kind::InvalidGrant, "the person is not active"))
}

/// A person as the one who acts, for the audit log.
pub fn caller(person: &Person) -> Caller {
    Caller {
        kind: "person",
        id: person.user_id.clone(),
        user: Some(person.user_id.clone()),
        across_tenants: false,
        authority: Authority::Scopes(Vec::new()),
    }
}
