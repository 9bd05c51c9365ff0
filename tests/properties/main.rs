//! Properties of the token path, in process: histories of a small world run against two servers over one database, beside a
//! plain model that ends tokens one by one where the servers mark and derive. `CHANCERY_TEST_CASES` sets how many.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../support/server.rs"]
mod server;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../support/signer.rs"]
mod signer;

mod agree;
mod changing;
mod ending;
mod histories;
mod issuing;
mod model;
mod ops;
mod orders;
mod rules;
mod run;
mod scopes;
mod trees;
mod world;
