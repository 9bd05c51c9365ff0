//! Tokens: what is claimed in them, the one place that signs, the ledger that makes them durable, and whether one still
//! stands.
mod claims;
mod credential;
mod ended;
mod issue;
pub mod ledger;
mod revoke;
pub mod routes;
mod store;
mod verify;
pub mod worker;

pub use credential::{IssuedCredential, Of, get, list};
pub use ended::{Ended, Standing, ended};
pub use issue::{Grant, Issued, issue};
pub use revoke::{Anchor, note, note_all, revoke, revoke_by_id};
pub use verify::{Found, claims_of, find, verify};
