//! The command line: one file per command. Each loads the configuration by the server's own rules.
mod admin;
mod arguments;
mod database;
mod doctor;
mod health;
mod keys;
mod logs;
mod serve;

use std::io::Write;

pub use arguments::{
    AdminCommand, Cli, Command, CommonArgs, CreateKeyArgs, HealthArgs, KeysCommand, ServeArgs,
};

use crate::kit::config;
use crate::kit::error::{Error, Result};

/// Runs one command to its end.
pub async fn run(cli: Cli) -> Result<()> {
    let config = config::load(&cli.overrides(), config::environment())?;
    logs::start(&config)?;
    match cli.into_command() {
        Command::Serve(_) => serve::serve(config).await,
        Command::Migrate => database::migrate(&config).await,
        Command::Doctor => doctor::doctor(config).await,
        Command::Health(arguments) => health::health(&config, arguments).await,
        Command::Admin { command } => admin::run(config, command).await,
        Command::Keys { command: KeysCommand::List } => keys::list(&config).await,
    }
}

/// What a command says when it fails.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Refused(refused) => refused.why.to_string(),
        Error::Fault(fault) => format!("{fault:#}"),
    }
}

/// Writes a line of a command's answer to standard output.
fn say(line: impl AsRef<str>) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{}", line.as_ref())?)
}
