//! Which commands and options exist, and what they change in the configuration.
use crate::kit::config::Overrides;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Chancery, an identity server for AI agents.
///
/// Without a command it runs `serve --dev`: a server on this machine with its own database and an open admin API.
/// Every setting can also come from the file or from a CHANCERY_… variable; a flag wins over both.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "chancery", version)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do; nothing means `serve --dev`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CommonArgs {
    /// Read settings from this TOML file [env: CHANCERY_CONFIG]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Common options")]
    pub config: Option<PathBuf>,
    /// Keep the embedded database and the development key here [env: CHANCERY_DATA_DIR]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Common options")]
    pub data_dir: Option<PathBuf>,
    /// Use development mode: this machine only, open admin API [env: CHANCERY_DEV]
    #[arg(long, global = true, help_heading = "Common options")]
    pub dev: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server: HTTP, background work and migrations
    Serve(ServeArgs),
    /// Bring the database schema up to date, then exit
    Migrate,
    /// Check configuration, database, clock and keys, and say how to mend what is wrong
    Doctor,
    /// Ask a running server whether it is well; exits with 0 if so
    Health(HealthArgs),
    /// Make, list and revoke admin keys
    Admin {
        /// What to do with admin keys.
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Make the master key file if there is none, bring the schema up to date, then exit
    Init,
    /// Print the document of the HTTP API in the form of OpenAPI
    Openapi {
        /// Print it as a collection of Postman instead
        #[arg(long)]
        postman: bool,
    },
    /// Look after signing keys and master keys
    Keys {
        /// What to do with signing keys.
        #[command(subcommand)]
        command: KeysCommand,
    },
}

/// Options of `serve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ServeArgs {
    /// Listen on this address and port [env: CHANCERY_LISTEN] [default: 127.0.0.1:8899]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Options of `health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct HealthArgs {
    /// Ask the server at this base URL instead of the one at the configured listen address
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// What to do with admin keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminCommand {
    /// Make an admin key and print it once; without account and project it is an operator key for all tenants
    CreateKey(CreateKeyArgs),
    /// List the admin keys, without their secrets
    ListKeys,
    /// Revoke an admin key at once
    RevokeKey {
        /// The key's id, as list-keys shows it
        #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
}

/// Options of `admin create-key`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateKeyArgs {
    /// A name to recognise the key by
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: String,
    /// The account that the key belongs to
    #[arg(long, value_name = "ACCOUNT", requires = "project", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// The project that the key belongs to
    #[arg(long, value_name = "PROJECT", requires = "account", value_parser = NonEmptyStringValueParser::new())]
    pub project: Option<String>,
    /// A scope that the key holds; repeat for more
    #[arg(long = "scope", value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
    pub scopes: Vec<String>,
    /// Let the key be used only from these networks, such as 10.0.0.0/8; repeat for more
    #[arg(long = "allow-network", value_name = "NETWORK")]
    pub allowed_networks: Vec<String>,
    /// Let the key expire after this many days; otherwise it never does
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub expires_in_days: Option<u32>,
}

/// What to do with signing keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// List the signing keys and their states
    List,
    /// Let the next signing key take over as soon as every verifier knows it
    Rotate,
    /// End a leaked signing key: every token it signed is refused at once
    Revoke {
        /// The key's id, as list shows it
        #[arg(value_name = "KID", allow_hyphen_values = true, value_parser = NonEmptyStringValueParser::new())]
        kid: String,
    },
    /// Put a new master key above those in the master key file; run rewrap when every server has the file
    AddMasterKey,
    /// Seal everything again under the current master key; may be interrupted and run again
    Rewrap,
}

impl Cli {
    /// Reads this process's arguments; prints help or a usage error and exits where that is the answer.
    pub fn parse() -> Self {
        Parser::parse()
    }

    /// What the arguments change in the configuration.
    pub fn overrides(&self) -> Overrides {
        let listen = match &self.command {
            Some(Command::Serve(serve)) => serve.listen,
            _ => None,
        };
        Overrides {
            // Typing just the program's name must work on any machine, so it means development.
            dev: self.common.dev || self.command.is_none(),
            config: self.common.config.clone(),
            data_dir: self.common.data_dir.clone(),
            listen,
        }
    }

    /// The command to run. Take [`Cli::overrides`] first: only they know that no command means development.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(ServeArgs::default()))
    }
}
