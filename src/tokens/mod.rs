//! Tokens: what is claimed in them, the one place that signs, the ledger that makes them durable, and whether one still
//! stands.
mod claims;
mod issue;
pub mod ledger;
mod of_agent;
mod revoke;
mod store;
mod tree;
mod verify;
pub mod worker;

pub use issue::{Grant, Issued, issue};
pub use of_agent::{AgentToken, of_agent};
pub use revoke::{Anchor, note, note_all, revoke, revoke_by_id};
pub use tree::{DryRun, changed_by};
pub use verify::{Found, claims_of, find, verify};
