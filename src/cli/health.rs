//! `chancery health`: what a container's probe runs. A plain request over loopback needs no HTTP client.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use super::arguments::HealthArgs;
use super::say;
use crate::kit::config::Config;
use crate::kit::error::Result;

/// How long the server may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn health(config: &Config, arguments: HealthArgs) -> Result<()> {
    let url = match arguments.url {
        Some(url) => url,
        None => format!("http://{}", reachable(config)),
    };
    let url = Url::parse(&url)?.join("/ready")?;
    let answer = tokio::time::timeout(WITHIN, ask(&url))
        .await
        .map_err(|_| anyhow::anyhow!("{url} did not answer within {} seconds", WITHIN.as_secs()))??;
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" {
        return say(format!("{url} is ready"));
    }
    Err(anyhow::anyhow!("{url} answered with status {status}; its log tells why").into())
}

/// A server that listens on every address is reached on loopback.
fn reachable(config: &Config) -> std::net::SocketAddr {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn ask(url: &Url) -> Result<String> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(anyhow::anyhow!("{url} names no host and port").into());
    };
    if url.scheme() != "http" {
        return Err(anyhow::anyhow!("the probe asks over http only; name the server's own address").into());
    }
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .map_err(|error| anyhow::anyhow!("{url} can't be reached: {error}"))?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n", url.path());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
