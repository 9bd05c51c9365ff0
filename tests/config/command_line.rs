//! Every form of the command line.
use chancery::cli::{AdminCommand, Cli, Command, CreateKeyArgs, HealthArgs, KeysCommand};
use chancery::kit::config::Overrides;
use clap::{CommandFactory, Parser};

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(line.split(' ')).unwrap()
}

#[test]
fn the_command_line_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn no_command_means_serve_in_development() {
    for (line, dev) in [("chancery", true), ("chancery serve", false), ("chancery serve --dev", true)] {
        let cli = parse(line);
        assert_eq!(cli.overrides(), Overrides { dev, ..Overrides::default() }, "{line}");
        assert!(matches!(cli.into_command(), Command::Serve(_)));
    }
}

#[test]
fn flags_become_overrides_before_and_after_the_command() {
    let expected = Overrides {
        dev: true,
        config: Some("c.toml".into()),
        data_dir: Some("/d".into()),
        listen: Some("127.0.0.1:1".parse().unwrap()),
    };
    let after = parse("chancery serve --dev --listen 127.0.0.1:1 --data-dir /d --config c.toml");
    let before = parse("chancery --dev --data-dir /d --config c.toml serve --listen 127.0.0.1:1");
    assert_eq!((after.overrides(), before.overrides()), (expected.clone(), expected));
    assert_eq!(parse("chancery doctor --data-dir /d").overrides().data_dir, Some("/d".into()));
}

#[test]
fn every_command_parses() {
    let key = |account: Option<&str>, project: Option<&str>, scopes: &[&str], days| Command::Admin {
        command: AdminCommand::CreateKey(CreateKeyArgs {
            name: "ci".into(),
            account: account.map(Into::into),
            project: project.map(Into::into),
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            allowed_networks: Vec::new(),
            expires_in_days: days,
        }),
    };
    for (line, expected) in [
        ("migrate", Command::Migrate),
        ("doctor", Command::Doctor),
        ("health", Command::Health(HealthArgs { url: None })),
        ("health --url http://h:1", Command::Health(HealthArgs { url: Some("http://h:1".into()) })),
        ("admin create-key --name ci", key(None, None, &[], None)),
        (
            "admin create-key --name ci --account a --project p --scope x:1 --scope y --expires-in-days 30",
            key(Some("a"), Some("p"), &["x:1", "y"], Some(30)),
        ),
        ("admin list-keys", Command::Admin { command: AdminCommand::ListKeys }),
        ("admin revoke-key k1", Command::Admin { command: AdminCommand::RevokeKey { id: "k1".into() } }),
        ("keys list", Command::Keys { command: KeysCommand::List }),
    ] {
        assert_eq!(parse(&format!("chancery {line}")).into_command(), expected, "{line}");
    }
}

#[test]
fn misused_commands_are_refused() {
    for line in [
        "chancery fly",
        "chancery serve --listen here",
        "chancery admin",
        "chancery keys",
        "chancery admin create-key",
        "chancery admin create-key --name ci --account a",
        "chancery admin create-key --name ci --project p",
        "chancery admin create-key --name ci --expires-in-days 0",
        "chancery admin create-key --name= --account a --project p",
        "chancery admin revoke-key",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}
