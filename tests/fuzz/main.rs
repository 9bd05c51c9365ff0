//! Every parser of outside input by itself, in process and without a database: one target for each, by its name. What is
//! accepted is judged by a second reading, written here and by another way. `make fuzz` is the long form.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "a long run says how many inputs there were")]

#[path = "../support/proof.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod proof;
mod server {
    /// Whom the signed texts are for.
    pub const ISSUER: &str = "https://chancery.example";
}
#[path = "../support/signer.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod signer;

mod dpop;
mod forms;
mod glob;
mod inputs;
mod json;
mod jwk;
mod jwt;
mod outbound;
mod redirects;
mod run;
mod scopes;
mod spiffe;
