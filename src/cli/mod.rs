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

use crate::kit::config::{self, Config};
use crate::kit::error::{Error, Result};

/// Runs one command to its end.
pub async fn run(cli: Cli) -> Result<()> {
    // The document is the same under every configuration, also under none.
    if let Some(Command::Openapi { postman }) = cli.command {
        return openapi(postman);
    }
    let config = config::load(&cli.overrides(), config::environment())?;
    logs::start(&config)?;
    match cli.into_command() {
        Command::Serve(_) => serve::serve(config).await,
        Command::Migrate => database::migrate(&config).await,
        Command::Doctor => doctor::doctor(config).await,
        Command::Health(arguments) => health::health(&config, arguments).await,
        Command::Admin { command } => admin::run(config, command).await,
        Command::Init => init(&config).await,
        Command::Keys { command } => keys::run(config, command).await,
        Command::Openapi { postman } => openapi(postman),
    }
}

/// `chancery init`: what a deployment runs once, before its servers start.
async fn init(config: &Config) -> Result<()> {
    let master = crate::keys::create_master_key(config)?;
    say(format!("master key {} is in {}", master.id(), config.master_key_file().display()))?;
    database::migrate(config).await
}

/// `chancery openapi`: the document of the API, to be read by other programs.
fn openapi(postman: bool) -> Result<()> {
    let document = crate::openapi::document();
    say(format!("{:#}", if postman { crate::openapi::collection(&document) } else { document }))
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
