//! What is refused for what it says, and that no refusal repeats a secret.
use super::{development, load_file, load_with, production, refusal};
use chancery::kit::config::{DatabaseUrl, Overrides, default_data_dir};
use std::collections::BTreeMap;
use std::path::Path;
use toml::Table;

#[test]
fn secrets_are_never_echoed() {
    let secret = "postgres://chancery:hunter2@db/chancery";
    let config = load_with(&development(), &[("DATABASE_URL", secret)]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!Table::try_from(&config).unwrap().to_string().contains("hunter2"));
    assert_eq!(format!("{:?}", DatabaseUrl::new(secret)), "DatabaseUrl(\"…\")");
    assert_eq!(format!("{:?}", DatabaseUrl::default()), "DatabaseUrl(\"\")");

    for refused in [
        load_file("[database]\nurl = 'postgres://a:hunter2@db", &[]),
        load_file("[database]\nurl = postgres://a:hunter2@db", &[]),
        load_file("[database]\nurl = ['postgres://a:hunter2@db']", &[]),
        load_file("[database]\nurl = 'x'\nurl = 'hunter2'", &[]),
        load_file("[database.url]\n'hunter2' = 1", &[]),
        load_file("database = 'postgres://a:hunter2@db'", &[]),
        load_with(&development(), &[("CHANCERY_DATABASE_URL", "mysql://a:hunter2@db/x")]),
        load_with(&development(), &[("CHANCERY_DATABASE_OWNER_URL", "hunter2")]),
        load_with(&development(), &[("CHANCERY_DATABSE_URL", "hunter2")]),
        load_with(&development(), &[("CHANCERY_DATABASE_MAX_CONNECTIONS", "hunter2")]),
        load_with(&development(), &[("CHANCERY_ISSUER", "https://a:hunter2@example.com")]),
        load_with(&development(), &[("CHANCERY_ISSUER", "hunter2")]),
    ] {
        let error = refused.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn issuers_have_one_spelling() {
    for good in
        ["https://id.example.com", "https://id.example.com:8443", "http://localhost:8899", "http://[::1]:1"]
    {
        let config = load_with(&development(), &[("CHANCERY_ISSUER", good)]).unwrap();
        assert_eq!(config.issuer(), good);
    }
    for bad in [
        "https://id.example.com/",
        "https://id.example.com/path",
        "https://ID.example.com",
        "HTTPS://id.example.com",
        "https://id.example.com:443",
        "https://id.example.com?q=1",
        "https://id.example.com#f",
        "https://user@id.example.com",
        " https://id.example.com",
        "https:id.example.com",
    ] {
        let text = refusal(load_with(&development(), &[("CHANCERY_ISSUER", bad)]));
        assert!(text.ends_with("Write it as https://id.example.com."), "{bad}: {text}");
    }
    for bad in ["id.example.com", "ftp://id.example.com", "https://", "spiffe://x", "https://a b"] {
        let text = refusal(load_with(&development(), &[("CHANCERY_ISSUER", bad)]));
        assert!(text.starts_with("issuer is not an http or https origin"), "{bad}: {text}");
    }
}

#[test]
fn production_refuses_what_would_leave_it_open() {
    let text = refusal(load_with(&Overrides::default(), &[]));
    assert!(text.contains("issuer is not set") && text.contains("keys.master_key_file is not set"), "{text}");

    let http = ("CHANCERY_ISSUER", "http://id.internal");
    assert!(refusal(production(&[http])).contains("allow_http_issuer = true"));
    assert_eq!(
        production(&[http, ("CHANCERY_ALLOW_HTTP_ISSUER", "true")]).unwrap().issuer(),
        "http://id.internal"
    );

    assert!(refusal(production(&[("CHANCERY_ADMIN_AUTH", "open")])).starts_with("admin_auth is \"open\""));
    assert!(
        refusal(production(&[("CHANCERY_INTROSPECTION", "open")])).starts_with("introspection is \"open\"")
    );
    production(&[("CHANCERY_LISTEN", "0.0.0.0:8899")]).unwrap();
}

#[test]
fn production_refuses_passwords_from_examples() {
    for (key, url) in [
        ("DATABASE_URL", "postgres://chancery:Changeme@db/chancery"),
        ("CHANCERY_DATABASE_URL", "postgres://chancery:postgres@db/chancery"),
    ] {
        let text = refusal(production(&[(key, url)]));
        assert!(text.starts_with("database.url holds a password that stands in examples"), "{text}");
        assert!(!text.contains("Changeme"));
        load_with(&development(), &[(key, url)]).unwrap();
    }
    let good = ("DATABASE_URL", "postgres://chancery:0f3c9a7be2@db/chancery");
    production(&[good]).unwrap();
    let owner = ("CHANCERY_DATABASE_OWNER_URL", "postgres://owner:secret@db/chancery");
    assert!(refusal(production(&[good, owner])).starts_with("database.owner_url holds a password"));
}

#[test]
fn development_listens_on_loopback_only() {
    for foreign in ["0.0.0.0:8899", "[::]:8899", "192.168.1.2:8899"] {
        let text = refusal(load_with(&development(), &[("CHANCERY_LISTEN", foreign)]));
        assert!(text.contains("listens on loopback only"), "{text}");
    }
    load_with(&development(), &[("CHANCERY_LISTEN", "127.0.0.2:1")]).unwrap();
}

#[test]
fn trust_domains_are_lower_case_dns_names() {
    let try_domain = |domain: &str| load_with(&development(), &[("CHANCERY_TRUST_DOMAIN", domain)]);
    for good in ["example.com", "a", "x--1.example", &"a".repeat(63)] {
        try_domain(good).unwrap();
    }
    let long = format!("{}a", "a.".repeat(127));
    for bad in [
        "Example.com",
        "example.com:80",
        "-a.b",
        "a-.b",
        "a..b",
        ".a",
        "a.",
        "a_b",
        "a/b",
        "spiffe://a",
        "10.0.0.1",
        &long,
        &"a".repeat(64),
    ] {
        assert!(refusal(try_domain(bad)).starts_with("trust_domain is "), "{bad}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (variable, value, start) in [
        ("DATABASE_MAX_CONNECTIONS", "3", "database.max_connections is 3; it must be between 4 and 1000."),
        ("DATABASE_ACQUIRE_TIMEOUT_SECONDS", "0", "database.acquire_timeout_seconds is 0;"),
        ("DATABASE_URL", "mysql://db/x", "database.url is not a database URL;"),
        ("DATABASE_OWNER_URL", "postgres://db/x", "database.owner_url is set without database.url"),
        ("KEYS_JWKS_LIFETIME_SECONDS", "0", "keys.jwks_lifetime_seconds is 0;"),
        ("TOKENS_DEFAULT_TTL_SECONDS", "0", "tokens.default_ttl_seconds is 0;"),
        ("TOKENS_DEFAULT_TTL_SECONDS", "7776001", "tokens.default_ttl_seconds (7776001) is longer than"),
        ("TOKENS_MAX_TTL_SECONDS", "31104001", "tokens.max_ttl_seconds is 31104001;"),
        ("LIMITS_BODY_BYTES", "0", "limits.body_bytes is 0;"),
        ("LIMITS_HEADER_BYTES", "0", "limits.header_bytes is 0;"),
        ("LIMITS_JSON_DEPTH", "128", "limits.json_depth is 128;"),
        ("LIMITS_TOKEN_BYTES", "0", "limits.token_bytes is 0;"),
        ("LIMITS_SCOPES", "0", "limits.scopes is 0;"),
        ("LIMITS_LIST_ITEMS", "0", "limits.list_items is 0;"),
        ("LIMITS_TEXT_CHARACTERS", "0", "limits.text_characters is 0;"),
        ("LIMITS_REQUESTS", "15", "limits.requests is 15;"),
        ("SHUTDOWN_DRAIN_SECONDS", "601", "shutdown.drain_seconds is 601;"),
        ("SHUTDOWN_GRACE_SECONDS", "0", "shutdown.grace_seconds is 0;"),
        ("SERVICE_NAME", "two\nlines", "service_name must have"),
        ("LOG_LEVEL", "inof", "log.level is \"inof\";"),
        ("LOG_LEVEL", "info,chancery=loud", "log.level is"),
    ] {
        let name = format!("CHANCERY_{variable}");
        let text = refusal(load_with(&development(), &[(&name, value)]));
        assert!(text.starts_with(start), "{name}={value}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    load_with(&development(), &[("CHANCERY_LOG_LEVEL", "WARN,chancery::kit=debug")]).unwrap();
}

#[test]
fn data_lives_in_the_system_for_root_and_at_home_for_others() {
    let variables = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let both = variables(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")]);
    assert_eq!(default_data_dir(true, &both).unwrap(), Path::new("/var/lib/chancery"));
    assert_eq!(default_data_dir(false, &both).unwrap(), Path::new("/data/chancery"));
    let relative = variables(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "data")]);
    assert_eq!(default_data_dir(false, &relative).unwrap(), Path::new("/home/a/.local/share/chancery"));
    assert!(refusal(default_data_dir(false, &variables(&[]))).contains("Set data_dir or --data-dir"));

    let config = load_with(&development(), &[("CHANCERY_DATA_DIR", "here")]).unwrap();
    assert_eq!(config.data_dir, std::env::current_dir().unwrap().join("here"));
}
