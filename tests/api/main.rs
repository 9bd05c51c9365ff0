//! The HTTP API in process: the real router, a real Postgres, a database per test, time moved by hand.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/https.rs"]
mod https;
#[path = "../support/party.rs"]
mod party;
#[path = "../support/people.rs"]
mod people;
#[path = "../support/proof.rs"]
mod proof;
#[path = "../support/refresher.rs"]
mod refresher;
#[path = "../support/routes.rs"]
mod routes;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/signer.rs"]
mod signer;
mod world;

mod access;
mod access_token_jwt;
mod acting;
mod admission;
mod advertised;
mod agent_tokens;
mod agents;
mod api_key_limits;
mod api_key_revocation;
mod api_keys;
mod audit;
mod audit_reads;
mod authorize;
mod authorize_checklist;
mod authorize_refused;
mod bad_jwts;
mod ceilings;
mod client_auth;
mod client_credentials;
mod client_documents;
mod client_evidence;
mod client_grants;
mod client_key_uris;
mod client_life;
mod client_patch;
mod client_patterns;
mod client_reach;
mod clients;
mod clients_at_token;
mod clients_refused;
mod codes;
mod consents;
mod cors;
mod credentials;
mod delegation_graph;
mod delegation_reads;
mod described;
mod discovery;
mod dpop;
mod dry_run;
mod enrolment;
mod events;
mod exchange;
mod federated_attacks;
mod federation;
mod first;
mod forest;
mod forward_auth;
mod fuzz;
mod hostile_admin;
mod hostile_policies;
mod hostile_requests;
mod hostile_tokens;
mod idempotency;
mod identities;
mod inspection;
mod introspection;
mod issue_and_rotate;
mod issuer_keys;
mod jwt_bearer;
mod large_trees;
mod lifecycle;
mod limits;
mod links;
mod marks;
mod master_keys;
mod matrix;
mod may_act;
mod metadata;
mod metrics;
mod offboard;
mod offline;
mod open_mode;
mod openapi;
mod outbound;
mod outside_person;
mod outside_subject;
mod p384;
mod patch;
mod person_tokens;
mod policies;
mod policy_changes;
mod policy_effects;
mod policy_races;
mod policy_scopes;
mod private_key_jwt;
mod profiles;
mod pushed;
mod refresh;
mod registry_filters;
mod resources;
mod revocation;
mod rfc;
mod rotation;
mod signal_stream;
mod signals;
mod signed_introspection;
mod statements;
mod sweep;
mod tenancy;
mod token_lifetimes;
mod token_refusals;
mod token_scopes;
mod tokens;
mod tools;
mod trees;
mod trusted_issuers;
mod users;
mod waiting;
mod workers;
