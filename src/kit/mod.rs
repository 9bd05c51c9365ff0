//! What every stratum stands on: configuration, time, ids, secrets, errors, the database and HTTP. Knows no domain word.
pub mod config;
pub mod db;
