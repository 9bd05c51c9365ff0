//! Tokens: what is claimed in them, the one place that signs, the ledger that makes them durable, and whether one still
//! stands.
pub mod actor;
mod admin;
mod answer;
mod claims;
pub mod exchange;
mod issue;
pub mod ledger;
mod revoke;
mod store;
mod verify;
pub mod worker;

pub use actor::{Parent, Principal};
pub use admin::{NewCredential, issue_for, rotate};
pub use answer::AccessToken;
pub use issue::{ClientStamp, DEEPEST, Grant, Issued, issue};
pub use revoke::{Anchor, note, revoke};
pub use verify::{Found, claims_of, find, verify};
