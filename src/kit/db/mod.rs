//! The database: the pool, and a private Postgres run as a child process when none is configured.
