//! File, then environment, then flags: each layer replaces single settings of the one below and is checked
//! setting by setting, so that a complaint names the key and where it came from.
use super::{Config, ConfigError, Mode, http_origin};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Settings that may be absent, which is why the defaults do not show them: dotted key and a value of their type.
const OPTIONAL: [(&str, Value); 1] = [("shutdown.drain_seconds", Value::Integer(0))];

/// What the command line says; it wins over environment and file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--dev`; when false, `CHANCERY_DEV` decides.
    pub dev: bool,
    /// `--config`; when absent, `CHANCERY_CONFIG` decides.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
}

type Environment = BTreeMap<String, String>;

/// Reads, resolves and validates the configuration. `environment` is a parameter so that tests can invent one.
pub fn load(
    overrides: &Overrides,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let environment: Environment = environment.collect();
    let mut settings = Settings::defaults()?;
    let variable_file = variable(&environment, "CHANCERY_CONFIG").map(PathBuf::from);
    if let Some(file) = overrides.config.clone().or(variable_file) {
        settings.overlay_file(&file)?;
    }
    settings.overlay_environment(&environment);
    let mut config = settings.into_config()?;
    config.mode = mode(overrides, &environment)?;
    config.listen = overrides.listen.unwrap_or(config.listen);
    if let Some(directory) = &overrides.data_dir {
        config.data_dir.clone_from(directory);
    }
    if config.data_dir.as_os_str().is_empty() {
        config.data_dir = default_data_dir(nix::unistd::Uid::effective().is_root(), &environment)?;
    }
    // The embedded database runs in a directory of its own, where a relative path would mean another place.
    config.data_dir = std::path::absolute(&config.data_dir)
        .map_err(|error| ConfigError::new(format!("data_dir cannot be made absolute: {error}.")))?;
    if config.issuer.is_empty() && config.is_development() {
        config.issuer = http_origin(config.listen);
    }
    config.validate()?;
    Ok(config)
}

/// This process's environment, for [`load`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    // `std::env::vars` panics on a variable that is not UTF-8, even on one that does not concern us.
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// Where data lives when nobody says: a system directory for root, the user's own for everyone else.
pub fn default_data_dir(
    is_root: bool,
    environment: &BTreeMap<String, String>,
) -> Result<PathBuf, ConfigError> {
    if is_root {
        return Ok(PathBuf::from("/var/lib/chancery"));
    }
    // The XDG specification tells to ignore a relative path.
    let directory =
        |name| variable(environment, name).map(PathBuf::from).filter(|directory| directory.is_absolute());
    directory("XDG_DATA_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("chancery"))
        .ok_or_else(|| {
            ConfigError::new(
                "No data directory: neither HOME nor XDG_DATA_HOME is set. Set data_dir or --data-dir.",
            )
        })
}

/// A variable's value; an empty one counts as not set, as container tools cannot leave a variable out.
fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn mode(overrides: &Overrides, environment: &Environment) -> Result<Mode, ConfigError> {
    let wanted = match variable(environment, "CHANCERY_DEV") {
        _ if overrides.dev => true,
        None => false,
        Some(text) => parse_bool(text)
            .ok_or_else(|| ConfigError::new("CHANCERY_DEV (environment): expected true or false."))?,
    };
    Ok(if wanted { Mode::Development } else { Mode::Production })
}

/// The settings while layers are laid on them.
struct Settings {
    /// Every dotted key with a value of its type.
    known: BTreeMap<String, Value>,
    table: Table,
    problems: Vec<String>,
}

impl Settings {
    fn defaults() -> Result<Self, ConfigError> {
        let table = Table::try_from(Config::default())
            .map_err(|error| ConfigError::new(format!("The defaults cannot be written down: {error}.")))?;
        let optional = OPTIONAL.map(|(key, value)| (key.to_string(), value));
        let known = flatten(&table).into_iter().chain(optional).collect();
        Ok(Self { known, table, problems: Vec::new() })
    }

    fn into_config(self) -> Result<Config, ConfigError> {
        ConfigError::unless_empty(self.problems)?;
        self.table.try_into().map_err(|error: toml::de::Error| ConfigError::new(error.message()))
    }

    fn overlay_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(format!("The configuration file {file} cannot be read: {error}."))
        })?;
        // Only the message and the line: the error's own text quotes the line, which may hold a password.
        let table: Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::new(format!("{file}, line {line}: {}.", error.message()))
        })?;
        for (key, value) in flatten(&table) {
            if self.known.contains_key(&key) {
                self.set(&key, &value, &file.to_string());
            } else if self.is_section(&key) {
                // An empty section sets nothing.
                if !value.is_table() {
                    let hint = format!("write [{key}] above its settings");
                    self.problems.push(format!("{key} ({file}): this is a section; {hint}."));
                }
            } else {
                let hint = suggestion(&key, self.known.keys());
                self.problems.push(format!("{key} ({file}): there is no such setting.{hint}"));
            }
        }
        Ok(())
    }

    fn overlay_environment(&mut self, environment: &Environment) {
        let keys: BTreeMap<String, String> =
            self.known.keys().map(|key| (variable_name(key), key.clone())).collect();
        // Laid first, so that CHANCERY_DATABASE_URL replaces it.
        if let Some(url) = variable(environment, "DATABASE_URL") {
            self.set("database.url", &Value::String(url.into()), "DATABASE_URL");
        }
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("CHANCERY_")) {
            if let Some(key) = keys.get(name) {
                if !text.is_empty() {
                    self.set_from_text(key, text, name);
                }
            } else if !matches!(name.as_str(), "CHANCERY_CONFIG" | "CHANCERY_DEV")
                && !is_service_link(name, text)
            {
                let hint = suggestion(name, keys.keys());
                self.problems.push(format!("{name} (environment): there is no such setting.{hint}"));
            }
        }
    }

    fn set_from_text(&mut self, key: &str, text: &str, variable: &str) {
        let source = format!("environment variable {variable}");
        let Some(kind) = self.known.get(key) else { return };
        let value = match kind {
            Value::Boolean(_) => parse_bool(text).map(Value::Boolean),
            Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
            // What was not UTF-8 arrives with replacement characters: a path or name nobody meant.
            _ => (!text.contains('\u{fffd}')).then(|| Value::String(text.into())),
        };
        match value {
            Some(value) => self.set(key, &value, &source),
            None => {
                self.problems.push(format!("{key} ({source}): expected {}.", expectation(key, kind)));
            }
        }
    }

    /// Replaces one setting, or notes why it cannot be. The value is never part of our own words: it may be secret.
    fn set(&mut self, key: &str, value: &Value, source: &str) {
        let Some(kind) = self.known.get(key) else { return };
        if !kind.same_type(value) {
            let expected = expectation(key, kind);
            self.problems.push(format!("{key} ({source}): expected {expected}, found {}.", value.type_str()));
            return;
        }
        // Tried on its own over valid settings, so that what the types refuse is known to be this one.
        let mut trial = self.table.clone();
        put(&mut trial, key, value.clone());
        let problem = match trial.clone().try_into::<Config>() {
            Ok(_) => {
                self.table = trial;
                return;
            }
            Err(_) if key == "listen" => format!("expected {}", expectation(key, kind)),
            // The error would speak of Rust's integer types.
            Err(_) if value.is_integer() => format!("{value} is out of range"),
            Err(error) => error.message().to_string(),
        };
        self.problems.push(format!("{key} ({source}): {problem}."));
    }

    fn is_section(&self, key: &str) -> bool {
        self.known.keys().any(|known| known.split_once('.').is_some_and(|(section, _)| section == key))
    }
}

/// Settings by dotted key. Only one level of sections exists; what is deeper stays a table, which no setting is.
fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut settings = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) if !section.is_empty() => {
                settings.extend(section.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
            }
            _ => settings.push((name.clone(), value.clone())),
        }
    }
    settings
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
        }
        Some((section, name)) => {
            if let Some(Value::Table(section)) = table.get_mut(section) {
                section.insert(name.into(), value);
            }
        }
    }
}

fn variable_name(key: &str) -> String {
    format!("CHANCERY_{}", key.replace('.', "_").to_ascii_uppercase())
}

fn expectation(key: &str, kind: &Value) -> &'static str {
    match kind {
        _ if key == "listen" => "an address and port such as 127.0.0.1:8899",
        Value::Boolean(_) => "true or false",
        Value::Integer(_) => "a whole number",
        _ => "a text",
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Kubernetes gives each pod such variables for every service of its namespace. A service named `chancery` must
/// not keep the server from starting.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT")
            && (value.contains("://") || name.contains("_TCP") || name.contains("_UDP")))
}

/// A hint at the known name that resembles the unknown one most, if any does.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let in_section = format!(".{name}");
    known
        .map(|known| {
            (if known.ends_with(&in_section) { 1.0 } else { strsim::jaro_winkler(name, known) }, known)
        })
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map_or_else(String::new, |(_, known)| format!(" Did you mean {known}?"))
}
