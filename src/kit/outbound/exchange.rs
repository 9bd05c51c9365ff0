//! One request over one connection, with nothing that a general client would do besides: no redirect, no proxy, no
//! cookie, no decompression, no second use.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;
use url::Host;

use super::target::Target;
use super::{Broken, Fetched, refused, unreachable};

/// How long one of several addresses may take to answer before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(2);

/// Largest head of an answer, in bytes, and most headers in it.
const HEAD_BYTES: usize = 32_768;
const HEADERS: usize = 64;

const AGENT: &str = concat!("chancery/", env!("CARGO_PKG_VERSION"));

/// Asks one of the addresses for the target and reads a JSON document of at most `most` bytes.
pub(super) async fn get(
    tls: &TlsConnector,
    target: &Target,
    addresses: &[SocketAddr],
    most: usize,
) -> Result<Fetched, Broken> {
    let stream = secure(tls, target, connect(addresses).await?).await?;
    let broken = |error: hyper::Error| unreachable(format!("the connection broke: {error}"));
    let mut settings = http1::Builder::new();
    settings.max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    let (mut sender, connection) = settings.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(target.path_and_query())
        .header(header::HOST, target.authority())
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| refused(format!("it makes no request: {error}")))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    check_head(answer.status(), answer.headers())?;
    let max_age = max_age(answer.headers());
    if answer.body().size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(refused(format!("its body is longer than {most} bytes")));
    }
    let body = Limited::new(answer.into_body(), most).collect().await;
    let body =
        body.map_err(|error| refused(format!("its body is longer than {most} bytes or broke off: {error}")))?;
    Ok(Fetched { body: body.to_bytes(), max_age })
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Broken> {
    let mut why = String::new();
    for address in addresses {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no connection"),
        }
    }
    Err(unreachable(why))
}

/// The certificate must name the host of the URL, whatever the address.
async fn secure(
    tls: &TlsConnector,
    target: &Target,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Broken> {
    let name = match target.host() {
        Host::Domain(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| refused("its host is no DNS name"))?
        }
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
    };
    tls.connect(name, stream).await.map_err(|error| unreachable(format!("TLS: {error}")))
}

/// Only a plain 200 with JSON is read; what is compressed could unfold to anything.
fn check_head(status: StatusCode, headers: &HeaderMap) -> Result<(), Broken> {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(unreachable(format!("it answered {status}")));
    }
    if status != StatusCode::OK {
        return Err(refused(format!("it answered {status}")));
    }
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(refused("its body is compressed"));
    }
    let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    if media_type != "application/json"
        && !(media_type.starts_with("application/") && media_type.ends_with("+json"))
    {
        return Err(refused("its Content-Type is not JSON"));
    }
    Ok(())
}

/// What `Cache-Control` says (RFC 9111 section 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        values.flat_map(|value| value.split(',')).map(|one| one.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|one| one == "no-store" || one == "no-cache") {
        return Some(0);
    }
    directives.iter().find_map(|one| one.strip_prefix("max-age=")?.parse().ok())
}
