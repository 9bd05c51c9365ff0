//! What every stratum stands on: configuration, time, ids, secrets, errors, the database and HTTP. Knows no domain
//! word.
pub mod app;
pub mod assertion;
pub mod clock;
pub mod config;
pub mod cx;
pub mod db;
pub mod dpop;
pub mod error;
pub mod http;
pub mod ids;
pub mod jwk;
pub mod jws;
pub mod metrics;
pub mod seal;
pub mod secret;
pub mod timestamp;
