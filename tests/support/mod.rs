//! What `tidy.rs` and `sql.rs` share: reading the sources as text, recognising SQL in them, and the list of tables.
pub(crate) mod sources;
pub(crate) mod sql;
