//! What leaves this server: everything it fetches goes through one module, and nothing else opens a socket outwards.
use crate::strata::{Named, named};
use crate::support::sources::Source;

/// The one client.
const CLIENT: &str = "src/kit/outbound/";

/// Other files that name a socket, each with what for.
const OTHERS: [(&str, &str); 2] = [
    // Takes what came in.
    ("src/kit/http/serve.rs", "tokio::net::TcpStream"),
    // The probe of a container asks its own server.
    ("src/cli/health.rs", "tokio::net::TcpStream"),
];

/// By what a socket is opened, a name resolved or TLS begun.
const NAMES: [&str; 10] = [
    "TcpStream",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "UnixDatagram",
    "lookup_host",
    "ToSocketAddrs",
    "TlsConnector",
    "ClientConfig",
    "socket2",
];

/// Parts of crates of which the rest does not reach outwards.
const PARTS: [(&str, &str); 3] = [("hyper", "client"), ("hyper_util", "client"), ("nix", "socket")];

/// Crates that are clients.
const CRATES: [&str; 9] =
    ["reqwest", "ureq", "isahc", "surf", "curl", "attohttpc", "minreq", "hyper_rustls", "hyper_tls"];

pub(crate) fn check(source: &Source) -> Vec<String> {
    if source.path.starts_with(CLIENT) {
        return Vec::new();
    }
    named(source).iter().filter_map(|name| fault(&source.path, name)).collect()
}

fn fault(path: &str, Named { line, path: name, from_root }: &Named) -> Option<String> {
    let shown = name.join("::");
    let has = |part: &str| name.iter().any(|found| found == part);
    let part = PARTS.iter().any(|(whole, part)| name[0] == *whole && has(part));
    let opens = !from_root && (part || NAMES.iter().chain(&CRATES).any(|found| has(found)));
    // A name that was imported under that path is excused with the import.
    let excused = |(file, full): &(&str, &str)| *file == path && (*full == shown || is_use(full, name));
    (opens && !OTHERS.iter().any(excused)).then(|| {
        format!("{path}:{line}: `{shown}` reaches outwards; fetch through {CLIENT}, or write the file down in OTHERS")
    })
}

/// Whether a path begins with what `full` imports: `TcpStream::connect` after `use tokio::net::TcpStream`.
fn is_use(full: &str, name: &[String]) -> bool {
    full.rsplit("::").next() == Some(&name[0])
}

/// The dependencies of the program that are clients.
pub(crate) fn check_manifest(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]"));
    let names = section.unwrap_or_default().lines().filter_map(|line| line.split(['=', '.', ' ']).next());
    let is_client = |name: &&str| CRATES.contains(&name.replace('-', "_").as_str());
    names.filter(is_client).map(|name| format!("Cargo.toml: `{name}` is a further HTTP client")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(path: &str, rust: &str) {
        assert_eq!(check(&Source::new(path, rust)).len(), 1, "{rust}");
    }

    #[test]
    fn what_opens_a_socket_is_refused_under_every_spelling() {
        for rust in [
            "use tokio::net::TcpStream;",
            "use tokio::net::{TcpListener, TcpStream as Wire};",
            "fn f() { std::net::TcpStream::connect(at); }",
            "use std::net::ToSocketAddrs;",
            "async fn f() { tokio::net::lookup_host(at).await; }",
            "use tokio::net::UnixStream;",
            "use hyper::client::conn::http1;",
            "use hyper_util::{client::legacy::Client, rt::TokioIo};",
            "use tokio_rustls::TlsConnector;",
            "fn f() { reqwest::get(url); }",
            "use nix::sys::socket::connect;",
        ] {
            refuses("src/issuers/keys.rs", rust);
            refuses("src/kit/outbound.rs", rust);
            assert_eq!(check(&Source::new("src/kit/outbound/exchange.rs", rust)), Vec::<String>::new());
        }
    }

    #[test]
    fn what_serves_is_not_meant_and_an_excuse_holds_for_one_file_and_name() {
        for (path, rust) in [
            ("src/cli/serve.rs", "use tokio::net::TcpListener;"),
            ("src/kit/http/serve.rs", "use hyper_util::server::graceful::GracefulShutdown;"),
            ("src/kit/http/serve.rs", "use tokio::net::{TcpListener, TcpStream};"),
            ("src/cli/health.rs", "use tokio::net::TcpStream; fn f() { TcpStream::connect(at); }"),
            (
                "src/kit/db/embedded/mod.rs",
                "use super::socket; fn f() { crate::kit::db::embedded::socket::f() }",
            ),
            ("src/tokens/mod.rs", "use crate::clients::Client; // reqwest::get in a comment"),
        ] {
            assert_eq!(check(&Source::new(path, rust)), Vec::<String>::new(), "{rust}");
        }
        refuses("src/cli/health.rs", "use std::net::TcpStream;");
        refuses("src/kit/http/serve.rs", "use tokio_rustls::TlsConnector;");
    }

    #[test]
    fn a_further_client_among_the_dependencies_is_refused() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nhyper = \"1\"\nreqwest = { version = \"1\" }\nureq.version = \"3\"\n";
        assert_eq!(check_manifest(manifest).len(), 2);
        assert!(
            check_manifest("[package]\n[dependencies]\nhyper = \"1\"\n[dev-dependencies]\nreqwest = \"1\"\n")
                .is_empty()
        );
    }
}
