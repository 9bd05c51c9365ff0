//! The HTTP API in process: the real router, a real Postgres, a database per test, time moved by hand.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/server.rs"]
mod server;
mod world;

mod access;
mod agents;
mod audit;
mod ceilings;
mod first;
mod hostile_admin;
mod lifecycle;
mod open_mode;
mod patch;
mod registry_filters;
mod tenancy;
