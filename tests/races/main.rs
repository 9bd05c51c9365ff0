//! Races: callers that really run at the same time, on two servers over one database. `CHANCERY_TEST_ROUNDS` says how many
//! rounds each race is run; `make races` runs a thousand.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures are part of what is shown")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/party.rs"]
mod party;
#[expect(dead_code, reason = "the tests of the API use the rest")]
#[path = "../support/people.rs"]
mod people;
#[expect(dead_code, reason = "the tests of the API use the rest")]
#[path = "../support/proof.rs"]
mod proof;
#[expect(dead_code, reason = "the tests of the API use the rest")]
#[path = "../support/refresher.rs"]
mod refresher;
#[expect(dead_code, reason = "the tests of the API use the rest")]
#[path = "../support/server.rs"]
mod server;
#[path = "../support/signer.rs"]
mod signer;

mod cascade;
mod codes;
mod issuing;
mod mixed;
mod once;
mod pair;
mod proofs;
mod refreshing;
mod sleeping;
mod staged;
mod standing;
mod tree;
mod world;
