//! The sections of the configuration, with their defaults.
use super::{DatabaseUrl, LogFormat, Networks};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The database and its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Where the database is; empty runs the embedded one.
    pub url: DatabaseUrl,
    /// The schema owner's connection for migrations; empty uses `url` for both.
    pub owner_url: DatabaseUrl,
    /// Most connections that one server opens.
    pub max_connections: u32,
    /// How many of them only revocation may use.
    pub reserved_connections: u32,
    /// Longest wait for a free connection, in seconds.
    pub acquire_timeout_seconds: u64,
    /// Longest run of one statement, in seconds.
    pub statement_timeout_seconds: u64,
    /// Directory that holds `initdb` and `postgres`; empty searches the usual places.
    pub postgres_bin_dir: PathBuf,
}

/// Signing keys and the key that seals them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// File with the master key; use [`super::Config::master_key_file`].
    pub master_key_file: PathBuf,
    /// How long others may cache the JWKS, in seconds: a new key is published this long before it signs.
    pub jwks_lifetime_seconds: u32,
    /// How long a key signs before the next one takes over, in seconds.
    pub rotation_seconds: u32,
    /// How often a server reads keys and clock from the database, in seconds.
    pub refresh_seconds: u32,
}

/// Lifetimes of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// Lifetime of a token when nothing else says, in seconds.
    pub default_ttl_seconds: u32,
    /// Longest lifetime that any request or policy can reach, in seconds.
    pub max_ttl_seconds: u32,
    /// How long the row of a token is kept after the token can no longer live, in days.
    pub retention_days: u32,
    /// Lifetime of a refresh token from when it is issued, where its client has none of its own, in seconds.
    pub refresh_ttl_seconds: u32,
    /// How long refreshing may go on after the grant it began with, in seconds.
    pub refresh_family_ttl_seconds: u32,
    /// How the claims of a token are written where neither its client nor the token it comes from says.
    pub profile: Profile,
}

/// How the claims of a token tell its facts. The same facts, other names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// `sub` is the agent that presents the token; `act` names the one it acts for, one level deep.
    #[default]
    Zeroid,
    /// `sub` is the principal at every hop; `act` nests every actor, the newest outermost (RFC 8693 section 4.1).
    Rfc8693,
    /// As `Rfc8693`, with client ids for names.
    Shark,
    /// As `Rfc8693`, with the header and the claims that RFC 9068 asks of every access token.
    Rfc9068,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Zeroid, Self::Rfc8693, Self::Shark, Self::Rfc9068];

    /// As it stands in rows and requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zeroid => "zeroid",
            Self::Rfc8693 => "rfc8693",
            Self::Shark => "shark",
            Self::Rfc9068 => "rfc9068",
        }
    }

    /// The profile of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == name)
    }
}

/// OAuth clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// How long the old secret of a client works beside the new one, in seconds; 0 ends it at once.
    pub secret_overlap_seconds: u32,
    /// Whether an https URL without a row may be a client, described by the document that stands there.
    pub metadata_documents: bool,
    /// Hosts of such documents, separated by commas; empty means any.
    pub metadata_document_hosts: String,
}

impl Clients {
    /// Whether a document at this URL may describe a client.
    pub fn may_describe(&self, url: &str) -> bool {
        let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let mut hosts =
            self.metadata_document_hosts.split(',').map(str::trim).filter(|name| !name.is_empty()).peekable();
        hosts.peek().is_none() || hosts.any(|name| host.as_deref() == Some(name))
    }
}

/// What is fetched from other servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Networks that are not public and may be fetched from all the same.
    pub allow_private: Networks,
    /// Certificates of authorities that are trusted beside those that browsers trust.
    pub ca_file: PathBuf,
    /// Longest time for one document, in seconds.
    pub timeout_seconds: u32,
}

/// Signals: what follows from one that comes from outside, and the bounds of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signals {
    /// What a low signal does to the identity that it names.
    pub low: Reaction,
    /// What a medium one does.
    pub medium: Reaction,
    /// What a high one does.
    pub high: Reaction,
    /// What a critical one does.
    pub critical: Reaction,
    /// How long signals are kept, in days.
    pub retention_days: u32,
    /// Most streams that one server has open.
    pub streams: u32,
    /// How often a stream looks for new signals when nothing wakes it, in milliseconds.
    pub poll_milliseconds: u64,
    /// How often a stream says that it is alive, in seconds.
    pub heartbeat_seconds: u64,
    /// How long a stream waits for a reader who does not read, in seconds.
    pub stall_seconds: u64,
}

/// What a signal from outside does to the identity that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reaction {
    /// It is kept and told, no more.
    None,
    /// Every token of the identity ends, with everything below it.
    Revoke,
    /// The same, and the identity is suspended until somebody activates it.
    Suspend,
}

/// Sizes beyond which input is refused before it is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// Largest set of request headers, in bytes.
    pub header_bytes: usize,
    /// Deepest nesting of arrays and objects in a JSON body.
    pub json_depth: usize,
    /// Longest presented token, in bytes.
    pub token_bytes: usize,
    /// Most scopes in one request.
    pub scopes: usize,
    /// Most items of any other list in one request.
    pub list_items: usize,
    /// Longest text field, in characters.
    pub text_characters: usize,
    /// Most requests for tokens, and as many looks at tokens, that are worked on at the same time.
    pub requests: usize,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or a list of `target=level` as tracing's filter reads it.
    pub level: String,
    /// The shape of log lines; use [`super::Config::log_json`].
    pub format: LogFormat,
}

/// How the server stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long to keep accepting while readiness is red, in seconds; use [`super::Config::drain`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u64>,
    /// Longest wait for requests in flight, in seconds.
    pub grace_seconds: u64,
}

/// How many requests one server takes; a burst may be twice the figure. 0 sets no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// From one address, a second.
    pub per_address: u32,
    /// With one API key, admin key or token, a second.
    pub per_key: u32,
}

/// When wrong credentials lock an address out, on every server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lockout {
    /// How many within the window; 0 locks nobody out.
    pub failures: u32,
    /// The window, in seconds.
    pub window_seconds: u32,
    /// How long the address stays out, in seconds.
    pub lock_seconds: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            owner_url: DatabaseUrl::default(),
            max_connections: 16,
            reserved_connections: 4,
            acquire_timeout_seconds: 3,
            statement_timeout_seconds: 10,
            postgres_bin_dir: PathBuf::new(),
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            master_key_file: PathBuf::new(),
            jwks_lifetime_seconds: 300,
            rotation_seconds: 2_592_000,
            refresh_seconds: 5,
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            default_ttl_seconds: 3600,
            max_ttl_seconds: 7_776_000,
            retention_days: 30,
            refresh_ttl_seconds: 7_776_000,
            refresh_family_ttl_seconds: 31_536_000,
            profile: Profile::default(),
        }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            secret_overlap_seconds: 3600,
            metadata_documents: true,
            metadata_document_hosts: String::new(),
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self { allow_private: Networks::default(), ca_file: PathBuf::new(), timeout_seconds: 5 }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            low: Reaction::None,
            medium: Reaction::None,
            high: Reaction::Revoke,
            critical: Reaction::Suspend,
            retention_days: 90,
            streams: 100,
            poll_milliseconds: 1000,
            heartbeat_seconds: 15,
            stall_seconds: 30,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1_048_576,
            header_bytes: 32_768,
            json_depth: 32,
            token_bytes: 16_384,
            scopes: 100,
            list_items: 200,
            text_characters: 4096,
            requests: 512,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_seconds: None, grace_seconds: 30 }
    }
}

impl Default for Lockout {
    fn default() -> Self {
        Self { failures: 100, window_seconds: 60, lock_seconds: 60 }
    }
}
