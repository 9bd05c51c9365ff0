//! The built program as an operator meets it: starts, stops, crashes, commands, logs. Real processes, a real database.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/process.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod process;

mod admin;
mod agree;
mod cli;
mod crash;
mod http;
mod load;
mod logs;
mod newcomer;
mod roles;
mod start;
mod support;
