//! The private Postgres, tried against real processes: starts, crashes, adoption and refusals.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at the first surprise")]

mod crashes;
mod helper;
mod refusals;
mod starts;
mod support;
