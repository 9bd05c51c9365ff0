//! What must hold between settings, each refusal a sentence that says how to mend it.
use super::{Config, DatabaseUrl, Introspection};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use url::Url;

/// What is wrong with the configuration: every problem found, each a sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<String>,
}

impl ConfigError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    /// An error when there is something to tell.
    pub(super) fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Twelve months of thirty days beside the present one, the two that stand ready and the default: 16 parts.
const MOST_DAYS: u64 = 360;

impl Config {
    /// Refuses settings that contradict each other or would leave the server useless or open; tells all of them at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_mode(&mut problems);
        self.check_issuer(&mut problems);
        self.check_names(&mut problems);
        self.check_database(&mut problems);
        self.check_ranges(&mut problems);
        if self.tokens.default_ttl_seconds > self.tokens.max_ttl_seconds {
            problems.push(format!(
                "tokens.default_ttl_seconds ({}) is longer than tokens.max_ttl_seconds ({}): lower the first or raise the second.",
                self.tokens.default_ttl_seconds, self.tokens.max_ttl_seconds
            ));
        }
        self.check_retention(&mut problems);
        ConfigError::unless_empty(problems)
    }

    /// The table of credentials is kept in months of thirty days and must not fall into more than 16 parts.
    fn check_retention(&self, problems: &mut Vec<String>) {
        let days = u64::from(self.tokens.max_ttl_seconds) / 86_400 + u64::from(self.tokens.retention_days);
        // What is out of its own range is told there.
        if days > MOST_DAYS && u64::from(self.tokens.max_ttl_seconds) <= MOST_DAYS * 86_400 {
            problems.push(format!(
                "tokens.max_ttl_seconds and tokens.retention_days keep rows for {days} days; together they may keep \
                 them for {MOST_DAYS}: lower one of them."
            ));
        }
        let keys = &self.keys;
        if keys.refresh_seconds >= keys.jwks_lifetime_seconds && keys.jwks_lifetime_seconds > 0 {
            problems.push(format!(
                "keys.refresh_seconds is {} and must be less than keys.jwks_lifetime_seconds, which is {}: a server \
                 whose keys are older does not sign.",
                keys.refresh_seconds, keys.jwks_lifetime_seconds
            ));
        }
    }

    fn check_mode(&self, problems: &mut Vec<String>) {
        if self.is_development() {
            if !self.listen.ip().to_canonical().is_loopback() {
                problems.push(format!(
                    "listen is {}, but development mode has an open admin API and listens on loopback only: \
                     use 127.0.0.1 or [::1], or run without --dev.",
                    self.listen
                ));
            }
            return;
        }
        if self.admin_open() {
            problems.push(
                "admin_auth is \"open\", which production refuses: use \"required\" or \"auto\", or run with --dev."
                    .into(),
            );
        }
        if self.introspection == Introspection::Open {
            problems.push(
                "introspection is \"open\", which production refuses: use \"strict\" or \"auto\", or run with --dev."
                    .into(),
            );
        }
        if self.keys.master_key_file.as_os_str().is_empty() {
            problems.push(
                "keys.master_key_file is not set: production needs the file with the master key that seals its \
                 secrets; for a trial run with --dev."
                    .into(),
            );
        }
    }

    fn check_issuer(&self, problems: &mut Vec<String>) {
        if self.issuer.is_empty() {
            // Development resolves an empty issuer from the listen address.
            if !self.is_development() {
                problems.push(
                    "issuer is not set: production needs the public origin of this server, such as \
                     https://id.example.com; for a trial run with --dev."
                        .into(),
                );
            }
        } else if let Err(problem) = canonical_issuer(&self.issuer) {
            problems.push(problem);
        } else if self.issuer.starts_with("http://") && !self.is_development() && !self.allow_http_issuer {
            problems.push(format!(
                "issuer is {}, and production wants https; set allow_http_issuer = true if nothing but a trusted \
                 network carries its traffic.",
                self.issuer
            ));
        }
    }

    fn check_names(&self, problems: &mut Vec<String>) {
        if !is_dns_name(&self.trust_domain) {
            problems.push(format!(
                "trust_domain is {:?}; it must be a lower-case DNS name such as agents.example.com, without scheme, \
                 port or path.",
                self.trust_domain
            ));
        }
        let name_length = self.service_name.chars().count();
        if !(1..=64).contains(&name_length) || self.service_name.chars().any(char::is_control) {
            problems.push("service_name must have 1 to 64 printable characters.".into());
        }
        if !is_log_filter(&self.log.level) {
            problems.push(format!(
                "log.level is {:?}; it must be off, error, warn, info, debug or trace, or a list such as \
                 info,chancery=debug.",
                self.log.level
            ));
        }
    }

    fn check_database(&self, problems: &mut Vec<String>) {
        for (key, url) in
            [("database.url", &self.database.url), ("database.owner_url", &self.database.owner_url)]
        {
            if !url.is_empty() && !is_postgres_url(url) {
                problems.push(format!(
                    "{key} is not a database URL; it looks like postgres://user:password@host:5432/database."
                ));
            }
            if !self.is_development() && has_sample_password(url) {
                problems.push(format!(
                    "{key} holds a password that stands in examples, which production refuses: give the role a \
                     random one."
                ));
            }
        }
        if self.database.url.is_empty() && !self.database.owner_url.is_empty() {
            problems.push("database.owner_url is set without database.url: set both or neither.".into());
        }
        let (most, reserved) = (self.database.max_connections, self.database.reserved_connections);
        if reserved == 0 || (reserved >= most && most >= 4) {
            problems.push(format!(
                "database.reserved_connections is {reserved}; it must be at least 1 and less than \
                 database.max_connections, which is {most}."
            ));
        }
    }

    fn check_ranges(&self, problems: &mut Vec<String>) {
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let limits = &self.limits;
        let ranges: [(&str, u64, RangeInclusive<u64>); 32] = [
            // Enough for requests beside the workers, and some to reserve.
            ("database.max_connections", self.database.max_connections.into(), 4..=1000),
            ("database.acquire_timeout_seconds", self.database.acquire_timeout_seconds, 1..=60),
            ("database.statement_timeout_seconds", self.database.statement_timeout_seconds, 1..=600),
            ("keys.rotation_seconds", self.keys.rotation_seconds.into(), 60..=315_360_000),
            ("keys.refresh_seconds", self.keys.refresh_seconds.into(), 1..=60),
            ("tokens.retention_days", self.tokens.retention_days.into(), 0..=300),
            ("tokens.refresh_ttl_seconds", self.tokens.refresh_ttl_seconds.into(), 1..=315_360_000),
            (
                "tokens.refresh_family_ttl_seconds",
                self.tokens.refresh_family_ttl_seconds.into(),
                1..=315_360_000,
            ),
            ("rate.per_address", self.rate.per_address.into(), 0..=1_000_000),
            ("rate.per_key", self.rate.per_key.into(), 0..=1_000_000),
            ("lockout.window_seconds", self.lockout.window_seconds.into(), 1..=86_400),
            ("lockout.lock_seconds", self.lockout.lock_seconds.into(), 1..=86_400),
            ("keys.jwks_lifetime_seconds", self.keys.jwks_lifetime_seconds.into(), 1..=86_400),
            ("tokens.default_ttl_seconds", self.tokens.default_ttl_seconds.into(), 1..=31_536_000),
            ("tokens.max_ttl_seconds", self.tokens.max_ttl_seconds.into(), 1..=MOST_DAYS * 86_400),
            ("clients.secret_overlap_seconds", self.clients.secret_overlap_seconds.into(), 0..=2_592_000),
            ("outbound.timeout_seconds", self.outbound.timeout_seconds.into(), 1..=30),
            ("signals.retention_days", self.signals.retention_days.into(), 1..=3650),
            ("signals.streams", self.signals.streams.into(), 0..=100_000),
            ("signals.poll_milliseconds", self.signals.poll_milliseconds, 10..=60_000),
            ("signals.heartbeat_seconds", self.signals.heartbeat_seconds, 1..=300),
            ("signals.stall_seconds", self.signals.stall_seconds, 1..=300),
            ("limits.body_bytes", count(limits.body_bytes), 1024..=67_108_864),
            ("limits.header_bytes", count(limits.header_bytes), 1024..=1_048_576),
            // The JSON parser itself stops at 128.
            ("limits.json_depth", count(limits.json_depth), 4..=127),
            ("limits.token_bytes", count(limits.token_bytes), 1024..=1_048_576),
            ("limits.scopes", count(limits.scopes), 1..=10_000),
            ("limits.list_items", count(limits.list_items), 1..=100_000),
            ("limits.text_characters", count(limits.text_characters), 64..=1_048_576),
            ("limits.requests", count(limits.requests), 16..=65_536),
            ("shutdown.drain_seconds", self.drain().as_secs(), 0..=600),
            ("shutdown.grace_seconds", self.shutdown.grace_seconds, 1..=3600),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                problems.push(format!("{key} is {value}; it must be between {least} and {most}."));
            }
        }
    }
}

/// Clients compare issuers byte by byte, so only the one spelling that URL parsers agree on is accepted.
fn canonical_issuer(issuer: &str) -> Result<(), String> {
    let parsed = Url::parse(issuer).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    // The text is not echoed: a rejected one may hold a password in its userinfo.
    let Some(url) = parsed else {
        return Err("issuer is not an http or https origin, such as https://id.example.com.".into());
    };
    let origin = url.origin().ascii_serialization();
    if origin == issuer {
        return Ok(());
    }
    Err(format!(
        "issuer is not canonical: it is an origin only, in lower case, without user, default port, trailing slash, \
         path, query or fragment. Write it as {origin}."
    ))
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && name.parse::<Ipv4Addr>().is_err()
}

/// Tracing takes a misspelt level for the name of a target and would then log nothing of ours.
fn is_log_filter(filter: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    filter.split(',').all(|directive| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
    })
}

/// Passwords that are copied from examples. Whoever tries to get in tries these first.
const SAMPLE_PASSWORDS: [&str; 10] = [
    "admin",
    "change-me",
    "changeit",
    "changeme",
    "chancery",
    "example",
    "password",
    "postgres",
    "secret",
    "test",
];

fn has_sample_password(url: &DatabaseUrl) -> bool {
    let password = Url::parse(url.expose()).ok().and_then(|url| url.password().map(str::to_ascii_lowercase));
    password.is_some_and(|password| SAMPLE_PASSWORDS.contains(&password.as_str()))
}

fn is_postgres_url(url: &DatabaseUrl) -> bool {
    Url::parse(url.expose()).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
}
