//! What the server fetches: from checked addresses only, without redirects, within a size and a time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chancery::kit::config;
use chancery::kit::outbound::{Failed, Outbound, Resolver};
use serde_json::json;

use crate::https::{OTHER, Reply, Site, ca_file, raw};

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A client that may fetch from these networks, with a resolver that answers in turn.
fn outbound(networks: &str, answers: &[&[IpAddr]]) -> (Outbound, Arc<AtomicUsize>) {
    let config = config::Outbound {
        allow_private: networks.parse().unwrap(),
        ca_file: ca_file(),
        ..config::Outbound::default()
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, answers) = (asked.clone(), answers.iter().map(|one| one.to_vec()).collect::<Vec<_>>());
    let given = move |_: &str| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        answers.get(turn).or(answers.last()).cloned().unwrap_or_default()
    };
    (Outbound::open(&config).unwrap().with(Resolver::Given(Arc::new(given)), LONG), asked)
}

/// A client that may fetch from this machine.
fn local() -> Outbound {
    outbound("127.0.0.0/8", &[&[LOOPBACK]]).0
}

#[tokio::test]
async fn a_document_is_fetched_with_what_its_owner_says_of_keeping_it() {
    let site = Site::start().await;
    site.json("/a?b=c", json!({ "a": 1 }));
    let head = "200 OK\r\nContent-Type: application/jwk-set+json; charset=utf-8\r\nCache-Control: public, Max-Age=60";
    site.set("/kept", raw(head, "{}"));
    site.set("/not", raw("200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store", "{}"));
    let fetched = local().get(&site.url("/a?b=c"), 7).await.unwrap();
    assert_eq!((&fetched.body[..], fetched.max_age), (&br#"{"a":1}"#[..], None));
    assert_eq!(local().get(&site.url("/kept"), 2).await.unwrap().max_age, Some(60));
    assert_eq!(local().get(&site.url("/not"), 2).await.unwrap().max_age, Some(0));
    let by_name = format!("https://localhost:{}/a?b=c", site.address.port());
    assert_eq!(local().get(&by_name, 7).await.unwrap(), fetched);
}

#[tokio::test]
async fn a_name_that_turns_private_is_asked_once_and_the_checked_address_is_taken() {
    let site = Site::at(SocketAddr::new(OTHER, 0), &["rebind.example"]).await;
    let inside = Site::at(SocketAddr::new(LOOPBACK, site.address.port()), &["rebind.example"]).await;
    site.json("/x", json!({ "from": "outside" }));
    inside.json("/x", json!({ "from": "inside" }));
    let url = format!("https://rebind.example:{}/x", site.address.port());
    let (outbound, asked) = outbound("127.0.0.2/32", &[&[OTHER], &[LOOPBACK]]);
    assert_eq!(outbound.get(&url, 99).await.unwrap().body, r#"{"from":"outside"}"#);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // Now the name is private, as it is for a client that resolves twice.
    assert_eq!(outbound.get(&url, 99).await, Err(Failed::Refused));
    assert_eq!((site.hits(), inside.hits()), (1, 0));
}

#[tokio::test]
async fn one_private_address_among_public_ones_spoils_the_name() {
    let site = Site::at(SocketAddr::new(OTHER, 0), &["mixed.example"]).await;
    site.json("/x", json!({}));
    let url = format!("https://mixed.example:{}/x", site.address.port());
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    for answer in [&[OTHER, LOOPBACK][..], &[LOOPBACK, OTHER], &[OTHER, metadata], &[metadata]] {
        assert_eq!(outbound("127.0.0.2/32", &[answer]).0.get(&url, 99).await, Err(Failed::Refused));
    }
    assert_eq!(outbound("127.0.0.2/32", &[&[]]).0.get(&url, 99).await, Err(Failed::Unreachable));
    assert_eq!(site.hits(), 0);
}

#[tokio::test]
async fn private_addresses_are_never_reached() {
    let site = Site::start().await;
    site.json("/", json!({}));
    let port = site.address.port();
    let (guarded, asked) = outbound("", &[&[LOOPBACK]]);
    let hosts = [
        "127.0.0.1",
        "127.0.0.2",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fc00::1]",
        "localhost",
        "localhost.",
        "x.localhost",
        "user@127.0.0.1",
        "a.example@127.0.0.1",
    ];
    for host in hosts {
        for url in [format!("https://{host}:{port}/"), format!("https://{host}/")] {
            assert_eq!(guarded.get(&url, 99).await, Err(Failed::Refused), "{url}");
            assert!(guarded.check(&url).is_err(), "{url}");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "what the text tells needs no resolver");
    for name in ["internal.example", "metadata.google.internal"] {
        assert_eq!(guarded.get(&format!("https://{name}/"), 99).await, Err(Failed::Refused), "{name}");
    }
    assert_eq!(site.hits(), 0);
}

#[tokio::test]
async fn elsewhere_only_the_ports_of_https_are_asked() {
    let public: IpAddr = "1.1.1.1".parse().unwrap();
    let (guarded, _) = outbound("", &[&[public]]);
    for port in [22, 25, 80, 444, 5432, 6379, 65535] {
        assert_eq!(
            guarded.get(&format!("https://a.example:{port}/"), 9).await,
            Err(Failed::Refused),
            "{port}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (site, inside) = (Site::start().await, Site::start().await);
    inside.json("/keys", json!({ "keys": [] }));
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        site.set(
            "/",
            raw(
                &format!("{status}\r\nLocation: {}\r\nContent-Type: application/json", inside.url("/keys")),
                "{}",
            ),
        );
        assert_eq!(local().get(&site.url("/"), 99).await, Err(Failed::Refused), "{status}");
    }
    assert_eq!((site.hits(), inside.hits()), (5, 0));
}

#[tokio::test]
async fn what_is_too_long_too_slow_or_no_json_is_given_up() {
    let site = Site::start().await;
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let ok = "200 OK\r\nContent-Type: application/json";
    let endless = |head: &str, again: &str| Reply::Endless(head.to_owned(), again.repeat(1000));
    for (path, reply, expected) in [
        ("/large", raw(ok, &"x".repeat(1001)), Failed::Refused),
        ("/says-large", Reply::Silence(format!("{json}Content-Length: 1001\r\n\r\n")), Failed::Refused),
        ("/endless", endless(&format!("{json}\r\n"), "x"), Failed::Refused),
        (
            "/chunks",
            endless(&format!("{json}Transfer-Encoding: chunked\r\n\r\n"), "1\r\nx\r\n"),
            Failed::Refused,
        ),
        ("/head", endless(json, "X-A: 1\r\n"), Failed::Unreachable),
        ("/long-header", endless(&format!("{json}X-A: "), "a"), Failed::Unreachable),
        (
            "/informs",
            endless("HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"),
            Failed::Unreachable,
        ),
        ("/broken", raw(&format!("{ok}\r\nContent-Length: 9"), "{}"), Failed::Refused),
        ("/gzip", raw(&format!("{ok}\r\nContent-Encoding: gzip"), "{}"), Failed::Refused),
        ("/html", raw("200 OK\r\nContent-Type: text/html", "<html>"), Failed::Refused),
        ("/text", raw("200 OK\r\nContent-Type: text/plain; application/json", "{}"), Failed::Refused),
        ("/no-type", raw("200 OK\r\nContent-Length: 2", "{}"), Failed::Refused),
        ("/partial", raw("206 Partial Content\r\nContent-Type: application/json", "{}"), Failed::Refused),
        ("/created", raw("201 Created\r\nContent-Type: application/json", "{}"), Failed::Refused),
        ("/none", raw("404 Not Found\r\nContent-Type: application/json", "{}"), Failed::Refused),
        ("/busy", raw("503 Busy\r\nContent-Type: application/json", "{}"), Failed::Unreachable),
        ("/rate", raw("429 Slow\r\nContent-Type: application/json", "{}"), Failed::Unreachable),
        ("/silent", Reply::Silence(String::new()), Failed::Unreachable),
        ("/slow-head", Reply::Silence(json.to_owned()), Failed::Unreachable),
        ("/slow-body", Reply::Silence(format!("{json}Content-Length: 9\r\n\r\n{{")), Failed::Unreachable),
        ("/garbage", Reply::Raw("SSH-2.0-OpenSSH\r\n\r\n".to_owned()), Failed::Unreachable),
    ] {
        let soon = local().with(Resolver::System, SOON);
        site.set(path, reply);
        let failed = soon.get(&site.url(path), 1000).await.unwrap_err();
        assert_eq!(failed, expected, "{path}");
        assert_eq!(failed.to_string(), "the document could not be fetched", "one answer for all");
    }
}

#[tokio::test]
async fn the_certificate_must_be_trusted_and_name_the_host() {
    let site = Site::at(SocketAddr::new(LOOPBACK, 0), &["other.example"]).await;
    site.json("/", json!({}));
    let url = |host: &str| format!("https://{host}:{}/", site.address.port());
    assert_eq!(local().get(&url("good.example"), 9).await, Err(Failed::Unreachable));
    assert_eq!(local().get(&url("127.0.0.1"), 9).await, Err(Failed::Unreachable));
    local().get(&url("other.example"), 9).await.unwrap();
    let config =
        config::Outbound { allow_private: "127.0.0.1".parse().unwrap(), ..config::Outbound::default() };
    let without = Outbound::open(&config).unwrap().with(Resolver::Given(Arc::new(|_| vec![LOOPBACK])), LONG);
    assert_eq!(without.get(&url("other.example"), 9).await, Err(Failed::Unreachable));
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move { while plain.accept().await.is_ok() {} });
    assert_eq!(local().get(&format!("https://{address}/"), 9).await, Err(Failed::Unreachable));
}

#[test]
fn a_file_of_authorities_that_is_none_is_told() {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("chancery-no-ca-{}.pem", std::process::id()));
    std::fs::write(&file, "no certificate").unwrap();
    for path in [file.clone(), folder.join("chancery-not-there.pem")] {
        let config = config::Outbound { ca_file: path, ..config::Outbound::default() };
        let error = Outbound::open(&config).unwrap_err();
        assert!(error.to_string().starts_with("outbound.ca_file: "), "{error}");
    }
    std::fs::remove_file(file).unwrap();
}
