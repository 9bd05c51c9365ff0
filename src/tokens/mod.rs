//! Tokens: what is claimed in them, the one place that signs, the ledger that makes them durable, and whether one still
//! stands.
pub mod actor;
mod admin;
mod answer;
mod claims;
mod credential;
mod ended;
pub mod exchange;
mod issue;
pub mod ledger;
mod of_agent;
mod record;
pub mod refresh;
mod revoke;
pub mod routes;
mod rows;
mod store;
mod tree;
mod verify;
pub mod worker;

pub use actor::{Parent, Principal};
pub use admin::{NewCredential, issue_for, rotate};
pub use answer::AccessToken;
pub use claims::Claims;
pub use credential::{IssuedCredential, Of, get, list};
pub use ended::{Ended, Standing, ended};
pub use issue::{ClientStamp, DEEPEST, Grant, Issued, Outside, check, issue};
pub use of_agent::{AgentToken, of_agent};
pub use refresh::Reuse;
pub use revoke::{Anchor, note, note_all, revoke, revoke_by_id};
pub use store::use_once;
pub use tree::{DryRun, Tried, changed_by};
pub use verify::{Found, TokenId, claims_of, find, find_all, payload, raw_claims, verify, verify_by};
