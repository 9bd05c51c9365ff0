//! Grants, a file each: evidence in, a decision out. A grant neither signs nor writes.
pub mod api_key;

use crate::kit::cx::Tenant;
use crate::kit::error::Error;

/// A refusal on the token path, with the principal if one was recognised by then.
#[derive(Debug)]
pub struct Denial {
    /// Why.
    pub error: Error,
    /// Who, for the audit log.
    pub principal: Option<Principal>,
}

/// Who asked for a token.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Whose log it goes to.
    pub tenant: Tenant,
    /// `agent` or `api_key`.
    pub kind: &'static str,
    /// The id of that kind.
    pub id: String,
}

impl From<Error> for Denial {
    fn from(error: Error) -> Self {
        Self { error, principal: None }
    }
}
