//! The settings of one server: their types, their defaults and what follows from them.
//! `load` reads them from file, environment and flags; `validate` says what does not fit together.
//! `config/default.toml` explains each one to the people who set them.
mod load;
mod networks;
mod sections;
mod validate;

pub use load::{Overrides, default_data_dir, environment, load};
pub use networks::Networks;
pub use sections::{
    Clients, Database, Keys, Limits, Lockout, Log, Profile, Rate, Reaction, Shutdown, Signals, Tokens,
};
pub use validate::ConfigError;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be set. [`load()`] answers with one that is resolved and valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the HTTP listener.
    pub listen: SocketAddr,
    /// Directory of the embedded database and the development master key; absolute once loaded.
    pub data_dir: PathBuf,
    /// Origin that names this server in every token; use [`Config::issuer`].
    pub issuer: String,
    /// Lets production run with an `http` issuer.
    pub allow_http_issuer: bool,
    /// SPIFFE trust domain of every agent's URI: a lower-case DNS name.
    pub trust_domain: String,
    /// Who may call the admin API; use [`Config::admin_open`].
    pub admin_auth: AdminAuth,
    /// Who may introspect tokens; use [`Config::introspection_open`].
    pub introspection: Introspection,
    /// The name that `/health` reports.
    pub service_name: String,
    /// Networks of the proxies in front: what they say of the client's address is believed.
    pub trusted_proxies: Networks,
    /// The database and its pool.
    pub database: Database,
    /// Signing keys and the key that seals them.
    pub keys: Keys,
    /// Lifetimes of tokens.
    pub tokens: Tokens,
    /// OAuth clients.
    pub clients: Clients,
    /// Signals and their stream.
    pub signals: Signals,
    /// Sizes beyond which input is refused before it is parsed.
    pub limits: Limits,
    /// How many requests an address or key may send.
    pub rate: Rate,
    /// When wrong credentials lock an address out.
    pub lockout: Lockout,
    /// Logging.
    pub log: Log,
    /// How the server stops.
    pub shutdown: Shutdown,
    /// Chosen by `--dev` or `CHANCERY_DEV`, never by the file: a copied file must not open a server.
    #[serde(skip)]
    pub mode: Mode,
}

/// How strict the server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Loopback only, open admin API, anonymous introspection.
    Development,
    /// Named issuer, master key, authenticated admin API and introspection.
    #[default]
    Production,
}

/// Who may call the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminAuth {
    /// Open in development, required in production.
    Auto,
    /// Anybody on this machine; refused in production.
    Open,
    /// Holders of an admin key or an admin token.
    Required,
}

/// Who may introspect tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Introspection {
    /// Open in development, strict in production.
    Auto,
    /// Anybody who holds the token; refused in production.
    Open,
    /// Authenticated callers.
    Strict,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text in development, JSON in production.
    Auto,
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// A database URL. It may hold a password, so it is neither printed nor serialised.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DatabaseUrl(String);

impl Config {
    /// The canonical issuer: an origin without a trailing slash. Empty only before [`load()`] has resolved it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Takes the address really bound (port 0 asks the system for one); an issuer made from the address follows.
    pub fn listening_on(&mut self, bound: SocketAddr) {
        if self.issuer.is_empty() || self.issuer == http_origin(self.listen) {
            self.issuer = http_origin(bound);
        }
        self.listen = bound;
    }

    /// Whether this is development mode.
    pub fn is_development(&self) -> bool {
        self.mode == Mode::Development
    }

    /// Whether the admin API answers callers on this machine who show no key.
    pub fn admin_open(&self) -> bool {
        match self.admin_auth {
            AdminAuth::Auto => self.is_development(),
            AdminAuth::Open => true,
            AdminAuth::Required => false,
        }
    }

    /// Whether introspection answers callers who do not authenticate.
    pub fn introspection_open(&self) -> bool {
        match self.introspection {
            Introspection::Auto => self.is_development(),
            Introspection::Open => true,
            Introspection::Strict => false,
        }
    }

    /// The file with the master key. Development makes one in the data directory.
    pub fn master_key_file(&self) -> PathBuf {
        if self.keys.master_key_file.as_os_str().is_empty() {
            self.data_dir.join("master.key")
        } else {
            self.keys.master_key_file.clone()
        }
    }

    /// Whether log lines are JSON.
    pub fn log_json(&self) -> bool {
        match self.log.format {
            LogFormat::Auto => !self.is_development(),
            LogFormat::Text => false,
            LogFormat::Json => true,
        }
    }

    /// How long to keep accepting while readiness is red: time for a load balancer to look elsewhere.
    pub fn drain(&self) -> Duration {
        let by_mode = if self.is_development() { 0 } else { 5 };
        Duration::from_secs(self.shutdown.drain_seconds.unwrap_or(by_mode))
    }
}

/// The origin of an address, as browsers and clients write it: without the port when that is 80.
fn http_origin(address: SocketAddr) -> String {
    let text = format!("http://{address}");
    url::Url::parse(&text).map_or(text, |url| url.origin().ascii_serialization())
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8899)),
            data_dir: PathBuf::new(),
            issuer: String::new(),
            allow_http_issuer: false,
            trust_domain: "chancery.localhost".into(),
            admin_auth: AdminAuth::Auto,
            introspection: Introspection::Auto,
            service_name: "chancery".into(),
            trusted_proxies: Networks::default(),
            database: Database::default(),
            keys: Keys::default(),
            tokens: Tokens::default(),
            clients: Clients::default(),
            signals: Signals::default(),
            limits: Limits::default(),
            rate: Rate::default(),
            lockout: Lockout::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
            mode: Mode::default(),
        }
    }
}

impl DatabaseUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL itself, for the one place that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether no database is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn hidden(&self) -> &'static str {
        if self.is_empty() { "" } else { "…" }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({:?})", self.hidden())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hidden())
    }
}
