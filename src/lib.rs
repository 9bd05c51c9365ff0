//! Chancery: an identity server for AI agents over Postgres. `ARCHITECTURE.md` walks through it.
pub mod kit;

pub mod access;
pub mod agents;
pub mod api_keys;
pub mod audit;
pub mod authorizations;
pub mod clients;
pub mod delegations;
pub mod idempotency;
pub mod keys;
pub mod outbox;
pub mod policies;
pub mod signals;
pub mod tenancy;
pub mod tokens;
pub mod users;

pub mod oauth;

pub mod cli;
pub mod openapi;
pub mod router;
pub mod workers;
