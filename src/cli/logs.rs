//! Logs go to standard error: readable in development, JSON in production.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::kit::config::Config;
use crate::kit::error::Result;

/// Starts logging for the whole process.
pub(super) fn start(config: &Config) -> Result<()> {
    // Postgres says that what exists is skipped at every start of a server; that is no news.
    let filter = EnvFilter::try_new(format!("sqlx::postgres::notice=warn,{}", config.log.level))?;
    // A line that can't be written, as on a full disk, is lost. To say so there would be a panic of whoever wrote it.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let started = if config.log_json() {
        logs.json().flatten_event(true).try_init()
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging can't start: {error}").into())
}
