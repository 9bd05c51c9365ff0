//! Chancery: an identity server for AI agents over Postgres. `ARCHITECTURE.md` walks through it.
pub mod cli;
pub mod kit;
