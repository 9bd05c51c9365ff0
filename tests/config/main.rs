//! Configuration and command line: what is read from where, what wins, and what is refused in which words.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop there")]

mod command_line;
mod validation;

use chancery::kit::config::{
    AdminAuth, Config, ConfigError, Introspection, LogFormat, Mode, Overrides, load,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use toml::Table;

const DEFAULT_FILE: &str = include_str!("../../config/default.toml");

/// A configuration file that is gone after the test.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chancery-config-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load_with(overrides: &Overrides, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let home = [("HOME", "/home/somebody")];
    load(overrides, home.iter().chain(variables).map(|(name, value)| ((*name).into(), (*value).into())))
}

fn development() -> Overrides {
    Overrides { dev: true, ..Overrides::default() }
}

fn load_file(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = ConfigFile::new(text);
    load_with(&Overrides { config: Some(file.0.clone()), ..development() }, variables)
}

/// The words of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

/// A valid production configuration.
const PRODUCTION: [(&str, &str); 2] =
    [("CHANCERY_ISSUER", "https://id.example.com"), ("CHANCERY_KEYS_MASTER_KEY_FILE", "/run/secrets/master")];

fn production(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_with(&Overrides::default(), &[&PRODUCTION, variables].concat())
}

/// The settings that have no value by default stand in the file as comments.
fn with_optional_settings() -> String {
    let is_setting = |line: &str| line.starts_with("# ") && line.split(' ').nth(2) == Some("=");
    DEFAULT_FILE
        .lines()
        .map(|line| if is_setting(line) { line.trim_start_matches("# ") } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn default_file_holds_exactly_the_defaults() {
    let file: Table = toml::from_str(DEFAULT_FILE).unwrap();
    assert_eq!(file, Table::try_from(Config::default()).unwrap());
    assert_eq!(toml::from_str::<Config>(DEFAULT_FILE).unwrap(), Config::default());

    let mut everything = Config::default();
    everything.shutdown.drain_seconds = Some(5);
    let file: Table = toml::from_str(&with_optional_settings()).unwrap();
    assert_eq!(file, Table::try_from(everything).unwrap());
}

#[test]
fn default_file_loads() {
    let loaded = load_file(DEFAULT_FILE, &[]).unwrap();
    assert_eq!(loaded, load_with(&development(), &[]).unwrap());
}

#[test]
fn every_setting_in_the_default_file_is_explained_above_it() {
    let text = with_optional_settings();
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in
        lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
    {
        let above = number.checked_sub(1).map_or("", |above| lines[above]);
        assert!(above.starts_with("# ") && above.ends_with('.'), "no sentence above {line:?}: {above:?}");
    }
}

#[test]
fn development_needs_nothing() {
    let config = load_with(&development(), &[]).unwrap();
    assert_eq!(config.mode, Mode::Development);
    assert_eq!(config.issuer(), "http://127.0.0.1:8899");
    assert!(config.admin_open() && config.introspection_open() && !config.log_json());
    assert_eq!(config.drain(), Duration::ZERO);
    assert_eq!(config.master_key_file(), config.data_dir.join("master.key"));
}

#[test]
fn production_is_closed_and_drains() {
    let config = production(&[]).unwrap();
    assert_eq!(config.mode, Mode::Production);
    assert_eq!(config.issuer(), "https://id.example.com");
    assert!(!config.admin_open() && !config.introspection_open() && config.log_json());
    assert_eq!(config.drain(), Duration::from_secs(5));
    assert_eq!(config.master_key_file(), Path::new("/run/secrets/master"));
    assert_eq!(production(&[("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "0")]).unwrap().drain(), Duration::ZERO);
}

#[test]
fn the_bound_address_becomes_the_development_issuer() {
    let mut config = load_with(&development(), &[("CHANCERY_LISTEN", "127.0.0.1:0")]).unwrap();
    config.listening_on("127.0.0.1:4711".parse().unwrap());
    assert_eq!(config.issuer(), "http://127.0.0.1:4711");

    let mut config = load_with(&development(), &[("CHANCERY_ISSUER", "http://localhost:8899")]).unwrap();
    config.listening_on("127.0.0.1:4711".parse().unwrap());
    assert_eq!(config.issuer(), "http://localhost:8899");

    let config = load_with(&development(), &[("CHANCERY_LISTEN", "[::1]:80")]).unwrap();
    assert_eq!(config.issuer(), "http://[::1]");
}

#[test]
fn environment_wins_over_file_and_flags_win_over_both() {
    let file = "listen = '127.0.0.1:1001'\nservice_name = 'file'\ndata_dir = '/file'\n[limits]\nscopes = 1\njson_depth = 11";
    let variables = [
        ("CHANCERY_LISTEN", "127.0.0.1:1002"),
        ("CHANCERY_SERVICE_NAME", "environment"),
        ("CHANCERY_DATA_DIR", "/environment"),
        ("CHANCERY_LIMITS_SCOPES", "2"),
    ];
    let config = load_file(file, &[]).unwrap();
    assert_eq!((config.listen.port(), config.data_dir.as_path()), (1001, Path::new("/file")));
    assert_eq!((config.limits.scopes, config.limits.json_depth, config.limits.list_items), (1, 11, 200));

    let config = load_file(file, &variables).unwrap();
    assert_eq!((config.listen.port(), config.data_dir.as_path()), (1002, Path::new("/environment")));
    assert_eq!((config.limits.scopes, config.limits.json_depth), (2, 11));
    assert_eq!(config.service_name, "environment");

    let flags = Overrides {
        listen: Some("127.0.0.1:1003".parse().unwrap()),
        data_dir: Some("/flag".into()),
        ..development()
    };
    let config = load_with(&flags, &variables).unwrap();
    assert_eq!((config.listen.port(), config.data_dir.as_path()), (1003, Path::new("/flag")));
}

#[test]
fn every_kind_of_setting_can_come_from_the_environment() {
    let config = production(&[
        ("CHANCERY_ISSUER", "http://id.internal"),
        ("CHANCERY_ALLOW_HTTP_ISSUER", "yes"),
        ("CHANCERY_ADMIN_AUTH", "required"),
        ("CHANCERY_INTROSPECTION", "strict"),
        ("CHANCERY_DATABASE_MAX_CONNECTIONS", "40"),
        ("CHANCERY_DATABASE_POSTGRES_BIN_DIR", "/opt/postgres/bin"),
        ("CHANCERY_LOG_FORMAT", "text"),
        ("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "9"),
        ("CHANCERY_TRUST_DOMAIN", ""),
        ("UNRELATED", "1"),
    ])
    .unwrap();
    assert!(config.allow_http_issuer);
    assert_eq!((config.admin_auth, config.introspection), (AdminAuth::Required, Introspection::Strict));
    assert_eq!(config.database.max_connections, 40);
    assert_eq!(config.database.postgres_bin_dir, Path::new("/opt/postgres/bin"));
    assert_eq!((config.log.format, config.shutdown.drain_seconds), (LogFormat::Text, Some(9)));
    assert_eq!(config.trust_domain, "chancery.localhost", "an empty variable counts as not set");
}

#[test]
fn the_file_and_the_mode_can_come_from_the_environment() {
    let file = ConfigFile::new("service_name = 'from-file'");
    let named = [("CHANCERY_CONFIG", file.name()), ("CHANCERY_DEV", "1")];
    let config = load_with(&Overrides::default(), &named).unwrap();
    assert_eq!((config.service_name.as_str(), config.mode), ("from-file", Mode::Development));

    let other = ConfigFile::new("service_name = 'from-flag'");
    let flag = Overrides { config: Some(other.0.clone()), ..development() };
    let config = load_with(&flag, &[("CHANCERY_CONFIG", file.name()), ("CHANCERY_DEV", "false")]).unwrap();
    assert_eq!((config.service_name.as_str(), config.mode), ("from-flag", Mode::Development));

    assert_eq!(production(&[("CHANCERY_DEV", "false")]).unwrap().mode, Mode::Production);
    let text = refusal(load_with(&Overrides::default(), &[("CHANCERY_DEV", "perhaps")]));
    assert_eq!(text, "CHANCERY_DEV (environment): expected true or false.");
    assert!(refusal(load_file("mode = 'development'", &[])).starts_with("mode ("), "never from the file");
}

#[test]
fn database_url_gives_way_to_the_longer_name() {
    let file = "[database]\nurl = 'postgres://file/a'";
    let url =
        |variables: &[(&str, &str)]| load_file(file, variables).unwrap().database.url.expose().to_string();
    let plain = ("DATABASE_URL", "postgres://plain/a");
    let own = ("CHANCERY_DATABASE_URL", "postgresql://own/a");
    assert_eq!(url(&[]), "postgres://file/a");
    assert_eq!(url(&[plain]), "postgres://plain/a");
    assert_eq!(url(&[plain, own]), "postgresql://own/a");
    assert_eq!(url(&[("DATABASE_URL", "")]), "postgres://file/a");
}

#[test]
fn unknown_settings_are_named_with_the_closest_known_one() {
    let file = ConfigFile::new(
        "isuer = 'x'\nmax_connections = 3\n[databse]\nurl = 'x'\n[database.pool]\nsize = 1\n[nothing]\n",
    );
    let overrides = Overrides { config: Some(file.0.clone()), ..development() };
    let problems = load_with(&overrides, &[("CHANCERY_DATABASE_MAX_CONECTIONS", "5"), ("CHANCERY_ZZZ", "")])
        .unwrap_err()
        .problems;
    let name = file.name();
    for expected in [
        format!("isuer ({name}): there is no such setting. Did you mean issuer?"),
        format!("max_connections ({name}): there is no such setting. Did you mean database.max_connections?"),
        format!("databse.url ({name}): there is no such setting. Did you mean database.url?"),
        format!("database.pool ({name}): there is no such setting."),
        format!("nothing ({name}): there is no such setting."),
        "CHANCERY_DATABASE_MAX_CONECTIONS (environment): there is no such setting. Did you mean \
         CHANCERY_DATABASE_MAX_CONNECTIONS?"
            .to_string(),
        "CHANCERY_ZZZ (environment): there is no such setting.".to_string(),
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(&expected)),
            "{expected}\nin {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn a_kubernetes_service_of_our_name_does_no_harm_but_a_wished_for_port_is_told() {
    let links = [
        ("CHANCERY_SERVICE_HOST", "10.0.0.1"),
        ("CHANCERY_SERVICE_PORT", "8899"),
        ("CHANCERY_SERVICE_PORT_HTTP", "8899"),
        ("CHANCERY_PORT", "tcp://10.0.0.1:8899"),
        ("CHANCERY_PORT_8899_TCP", "tcp://10.0.0.1:8899"),
        ("CHANCERY_PORT_8899_TCP_ADDR", "10.0.0.1"),
    ];
    load_with(&development(), &links).unwrap();
    let text = refusal(load_with(&development(), &[("CHANCERY_PORT", "9000")]));
    assert!(text.starts_with("CHANCERY_PORT (environment): there is no such setting."), "{text}");
}

#[test]
fn wrong_types_name_key_source_and_expectation() {
    let file = ConfigFile::new(
        "allow_http_issuer = 1\nlisten = 'here'\nadmin_auth = 'opne'\n[database]\nmax_connections = 'many'\nurl = 7\n[limits]\nscopes = -1\n",
    );
    let overrides = Overrides { config: Some(file.0.clone()), ..development() };
    let problems = load_with(
        &overrides,
        &[
            ("CHANCERY_TOKENS_MAX_TTL_SECONDS", "1h"),
            ("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "auto"),
            ("CHANCERY_ALLOW_HTTP_ISSUER", "maybe"),
            ("CHANCERY_LISTEN", "8899"),
            ("CHANCERY_LOG_FORMAT", "xml"),
            ("CHANCERY_SERVICE_NAME", "bad\u{fffd}bytes"),
        ],
    )
    .unwrap_err()
    .problems;
    let name = file.name();
    for expected in [
        format!("allow_http_issuer ({name}): expected true or false, found integer."),
        format!("listen ({name}): expected an address and port such as 127.0.0.1:8899."),
        format!("admin_auth ({name}): unknown variant `opne`, expected one of `auto`, `open`, `required`."),
        format!("database.max_connections ({name}): expected a whole number, found string."),
        format!("database.url ({name}): expected a text, found integer."),
        format!("limits.scopes ({name}): -1 is out of range."),
        "tokens.max_ttl_seconds (environment variable CHANCERY_TOKENS_MAX_TTL_SECONDS): expected a whole number.".into(),
        "shutdown.drain_seconds (environment variable CHANCERY_SHUTDOWN_DRAIN_SECONDS): expected a whole number.".into(),
        "allow_http_issuer (environment variable CHANCERY_ALLOW_HTTP_ISSUER): expected true or false.".into(),
        "listen (environment variable CHANCERY_LISTEN): expected an address and port such as 127.0.0.1:8899.".into(),
        "log.format (environment variable CHANCERY_LOG_FORMAT): unknown variant `xml`, expected one of `auto`, `text`, `json`.".into(),
        "service_name (environment variable CHANCERY_SERVICE_NAME): expected a text.".into(),
    ] {
        assert!(problems.contains(&expected), "{expected}\nin {problems:#?}");
    }
    assert_eq!(problems.len(), 12, "{problems:#?}");
    assert!(
        refusal(load_file("database = 'postgres://x/y'", &[]))
            .contains("write [database] above its settings")
    );
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named() {
    let missing = Overrides { config: Some("/nowhere/chancery.toml".into()), ..development() };
    assert!(refusal(load_with(&missing, &[])).contains("/nowhere/chancery.toml cannot be read"));
    let file = ConfigFile::new("listen = '127.0.0.1:1'\n\nissuer = = 'x'\n");
    let broken = Overrides { config: Some(file.0.clone()), ..development() };
    let text = refusal(load_with(&broken, &[]));
    assert!(text.starts_with(&format!("{}, line 3: ", file.name())), "{text}");
}
