//! The container's files agree with each other and with the program: paths, settings, commands, ports. Needs no Docker.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may stop where it stands")]

#[path = "container/compose.rs"]
mod compose;
#[path = "container/dockerfile.rs"]
mod dockerfile;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chancery::cli::Cli;
use chancery::kit::config::{self, Config};
use clap::Parser;
use compose::Compose;
use dockerfile::Dockerfile;

/// A file of this crate.
fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The configuration that the program makes of these arguments and this environment.
#[track_caller]
fn configuration(arguments: &[String], environment: &BTreeMap<String, String>) -> Config {
    let cli = Cli::try_parse_from(std::iter::once("chancery".to_owned()).chain(arguments.iter().cloned()));
    let overrides = cli.unwrap_or_else(|error| panic!("{arguments:?}: {error}")).overrides();
    config::load(&overrides, environment.clone().into_iter())
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// Every service that runs our image, with the configuration that its server or command gets.
fn configurations(compose: &Compose, dockerfile: &Dockerfile) -> BTreeMap<String, Config> {
    let ours = compose.services().filter(|(_, service)| service["image"] == "chancery");
    ours.map(|(name, service)| {
        let mut environment = dockerfile.environment.clone();
        environment.extend(compose::environment(service));
        (name.to_owned(), configuration(&compose::strings(&service["command"]), &environment))
    })
    .collect()
}

#[test]
fn the_image_is_built_from_what_is_here() {
    let dockerfile = Dockerfile::parse(&read("Dockerfile"));
    let sent = read(".dockerignore");
    let sent: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(!dockerfile.copied.is_empty());
    for path in &dockerfile.copied {
        assert!(exists(path), "{path} is copied and not there");
        assert!(sent.contains(&path.as_str()), "{path} is copied and kept from the builder");
    }
    for path in sent {
        assert!(dockerfile.copied.iter().any(|copied| copied == path), "{path} is sent and not used");
    }
    // What the manifest names must be there when cargo reads it, in the layer of the dependencies as well.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for target in manifest["bench"].as_array().unwrap() {
        assert!(dockerfile.text.contains(target["path"].as_str().unwrap()), "{target}");
    }
    assert_eq!(dockerfile.taken, ["/build/target/release/chancery"]);
    assert_eq!(dockerfile.program, ["/usr/local/bin/chancery"]);
}

#[test]
fn the_image_runs_without_root_and_asks_itself_for_its_health() {
    let dockerfile = Dockerfile::parse(&read("Dockerfile"));
    let (uid, gid) = dockerfile.user.split_once(':').unwrap();
    assert!(uid.parse::<u32>().unwrap() > 0);
    for made in
        [format!("useradd --uid {uid} --gid {gid} "), format!("install -d -o {uid} -g {gid} -m 0700 ")]
    {
        assert!(dockerfile.text.contains(&made), "{made}");
    }
    let health = dockerfile.health.strip_prefix(dockerfile.program.as_slice()).unwrap();
    assert_eq!(health, ["health"]);
    let mut environment = dockerfile.environment.clone();
    environment.insert("CHANCERY_ISSUER".to_owned(), "https://id.example.com".to_owned());
    for arguments in [health, dockerfile.arguments.as_slice()] {
        let config = configuration(arguments, &environment);
        assert_eq!(config.listen.port(), dockerfile.port);
        assert!(config.listen.ip().is_unspecified());
        assert!(!config.is_development());
    }
}

#[test]
fn every_service_of_ours_has_a_valid_production_configuration() {
    let (compose, dockerfile) =
        (Compose::parse(&read("docker-compose.yml")), Dockerfile::parse(&read("Dockerfile")));
    let configurations = configurations(&compose, &dockerfile);
    assert_eq!(configurations.keys().collect::<Vec<_>>(), ["chancery-1", "chancery-2", "init"]);
    for (name, config) in &configurations {
        let service = &compose.service(name);
        assert!(!config.is_development());
        assert_eq!(config.database.owner_url.is_empty(), name != "init", "{name}: only init is the owner");
        let key = config.keys.master_key_file.parent().unwrap().display().to_string();
        let mount = if name == "init" { format!("keys:{key}") } else { format!("keys:{key}:ro") };
        assert_eq!(compose::strings(&service["volumes"]), [mount]);
        let subnet = compose.text("/networks/inside/ipam/config/0/subnet");
        let inside = subnet.split_once('/').unwrap().0.parse().unwrap();
        assert!(config.trusted_proxies.contains(inside), "{name} does not trust {subnet}");
        if name != "init" {
            let grace =
                service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse::<u64>().unwrap();
            assert!(grace > config.drain().as_secs() + config.shutdown.grace_seconds);
        }
    }
}

#[test]
fn nothing_in_the_composition_is_left_to_guess() {
    let compose = Compose::parse(&read("docker-compose.yml"));
    let names: Vec<&str> = compose.services().map(|(name, _)| name).collect();
    for (name, service) in compose.services() {
        for needed in compose::names(&service["depends_on"]) {
            assert!(names.contains(&needed.as_str()), "{name} needs {needed}");
        }
        for volume in compose::strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            let known = if source.starts_with('.') {
                exists(source)
            } else {
                compose.has(&format!("/volumes/{source}"))
            };
            assert!(known, "{name} mounts {source}");
        }
        assert_eq!(compose::strings(&service["networks"]), ["inside"], "{name}");
    }
    // A password that somebody could forget to change would stand here as a default.
    for line in compose.raw.lines().filter(|line| line.contains("PASSWORD") && !line.starts_with('#')) {
        let value = line.split_once(": ").unwrap().1;
        assert!(value.contains("PASSWORD:?"), "{line}");
    }
    assert_eq!(compose.required, ["APPLICATION_PASSWORD", "ISSUER", "POSTGRES_PASSWORD"]);
}

#[test]
fn ports_agree_from_the_client_to_the_server() {
    let (compose, dockerfile) =
        (Compose::parse(&read("docker-compose.yml")), Dockerfile::parse(&read("Dockerfile")));
    let servers = configurations(&compose, &dockerfile);
    let haproxy = compose.service("haproxy");
    let environment = compose::environment(haproxy);
    let bound = environment["BIND"].trim_start_matches(':');
    for port in compose::strings(&haproxy["ports"]) {
        assert_eq!(port.rsplit(':').next(), Some(bound));
    }
    for variable in ["SERVER_1", "SERVER_2"] {
        let (name, port) = environment[variable].split_once(':').unwrap();
        assert_eq!(servers[name].listen.port().to_string(), port, "{variable}");
        assert_eq!(dockerfile.port.to_string(), port, "{variable}");
    }
    let text = read("config/haproxy.cfg");
    let used: std::collections::BTreeSet<&str> =
        text.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    assert_eq!(used, environment.keys().map(String::as_str).collect());
    let mounted = compose::strings(&haproxy["volumes"]);
    assert_eq!(mounted, ["./config/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro"]);
    let url = url::Url::parse(&compose::environment(compose.service("init"))["CHANCERY_DATABASE_OWNER_URL"])
        .unwrap();
    let postgres = compose::environment(compose.service(url.host_str().unwrap()));
    assert_eq!(url.username(), postgres["POSTGRES_USER"]);
    assert_eq!(url.path(), format!("/{}", postgres["POSTGRES_DB"]));
}

#[test]
fn haproxy_accepts_its_configuration() {
    let checked = Command::new("/usr/sbin/haproxy")
        .args(["-c", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/config/haproxy.cfg")])
        .envs([("BIND", "127.0.0.1:8080"), ("STATS", "127.0.0.1:8404")])
        .envs([("SERVER_1", "127.0.0.1:1"), ("SERVER_2", "127.0.0.1:2")])
        .output();
    match checked {
        Ok(checked) => {
            let text = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success() && !text.contains("[WARNING]"), "{text}");
        }
        Err(error) => println!("SKIPPED: HAProxy can't be run ({error}); scripts/setup installs it"),
    }
}
