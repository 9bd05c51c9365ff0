//! Several servers on one database while something happens to them: keys rotate, the database goes away and comes back,
//! is restored elsewhere; and what none of them may ever write down. Real processes, a real database.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the verifier and the bounds of waiting have a clock of their own"
)]
#![expect(clippy::print_stdout, reason = "the figures are part of what is shown")]

#[expect(dead_code, reason = "the tests of the process use more of it")]
#[path = "../process/http.rs"]
mod http;
#[expect(dead_code, reason = "the tests of the process use more of it")]
#[path = "../support/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests of the process use more of it")]
#[path = "../process/support.rs"]
mod support;

mod canary;
mod outage;
mod refreshing;
mod restore;
mod rotation;
mod scene;
mod together;
mod verifier;
