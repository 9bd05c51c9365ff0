//! What surrounds every request: its id, its measurement, its one line in the log when something of ours broke.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::kit::app::App;
use crate::kit::clock::Stopwatch;
use crate::kit::error::{Kind, Refused};
use crate::kit::{dpop, ids, jwk};

/// The header that carries a request's id in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request in hand.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// A fault on its way to the log: it rides on the response, so that it is logged once, with the request's id.
#[derive(Clone, Debug)]
pub struct Fault(Arc<anyhow::Error>);

impl Fault {
    /// Wraps what broke.
    pub fn new(error: anyhow::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// Says that the answer is to carry a fresh nonce for the client's next proof (RFC 9449 section 8). It rides on the
/// response; the header is written here, where the keys are known.
#[derive(Clone, Copy, Debug)]
pub struct FreshNonce;

/// What a 401 or 403 tells of the credential (RFC 6750 section 3, RFC 9449 section 7.1). It rides on the response; the
/// header is written here, where the issuer is known.
#[derive(Clone, Debug)]
pub struct Challenge {
    scheme: &'static str,
    error: Option<&'static str>,
    description: String,
}

impl Challenge {
    /// The challenge that belongs to a refusal, if any.
    pub fn of(refused: &Refused) -> Option<Self> {
        let (scheme, error) = match refused.kind {
            Kind::MissingCredential => ("Bearer", None),
            Kind::InvalidToken => ("Bearer", Some("invalid_token")),
            Kind::InsufficientScope => ("Bearer", Some("insufficient_scope")),
            Kind::InvalidDpopProof => ("DPoP", Some("invalid_dpop_proof")),
            Kind::UseDpopNonce => ("DPoP", Some("use_dpop_nonce")),
            _ => return None,
        };
        Some(Self { scheme, error, description: refused.why.replace(['"', '\\'], "'") })
    }

    /// No `error` when no credential came at all: only the hint where to learn how to get one (RFC 9728 section 5.1).
    pub fn header(&self, issuer: &str) -> Option<HeaderValue> {
        let mut parts = Vec::new();
        if let Some(error) = self.error {
            parts.push(format!("error=\"{error}\""));
            parts.push(format!("error_description=\"{}\"", self.description));
        }
        if self.scheme == "DPoP" {
            parts.push(format!("algs=\"{}\"", jwk::ALGORITHMS.join(" ")));
        }
        parts.push(format!("resource_metadata=\"{issuer}/.well-known/oauth-protected-resource\""));
        HeaderValue::try_from(format!("{} {}", self.scheme, parts.join(", "))).ok()
    }
}

/// The outermost layer.
pub async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let id = request_id(&app, request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    request.extensions_mut().insert(RequestId(id.clone()));
    let address = address(&app, &request);
    request.extensions_mut().insert(Client(address));
    let mut response = next.run(request).await;
    finish(&app, &mut response, &id);
    let status = response.status();
    if let Some(fault) = response.extensions().get::<Fault>() {
        tracing::error!(request_id = id, %method, route, error = format!("{:#}", fault.0), "fault");
    } else {
        tracing::debug!(request_id = id, %method, route, status = status.as_u16(), ms = watch.milliseconds());
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        app.gate.suspect();
    }
    app.metrics.request(known(&method), route, status.as_u16(), watch.seconds());
    response
}

fn finish(app: &App, response: &mut Response, id: &str) {
    let challenge = response.extensions().get::<Challenge>().and_then(|it| it.header(app.config.issuer()));
    let needs_challenge = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let wants_nonce = response.extensions().get::<FreshNonce>().is_some();
    let nonce = wants_nonce.then(|| app.keys.nonce(app.clock.now()).ok()).flatten();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    if let (Some(value), true) = (challenge, needs_challenge) {
        headers.entry(header::WWW_AUTHENTICATE).or_insert(value);
    }
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        headers.insert(dpop::NONCE_HEADER, nonce);
    }
    if app.draining.is_cancelled() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The caller's own id when it is a short plain word, else a new one.
fn request_id(app: &App, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        !id.is_empty()
            && id.len() <= 128
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match given.filter(plain) {
        Some(id) => id.to_owned(),
        None => ids::new(app.clock.now()).map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// Metric labels are bounded: a made-up method is `OTHER`.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// The client's address: the connection's own, or what a trusted proxy says of it.
#[derive(Clone, Copy, Debug)]
struct Client(Option<IpAddr>);

/// The client's address, as the outermost layer found it.
pub fn client(extensions: &axum::http::Extensions) -> Option<IpAddr> {
    extensions.get::<Client>().and_then(|client| client.0)
}

/// The right-most hop that is no trusted proxy: everything to its left was written by strangers.
fn address(app: &App, request: &Request) -> Option<IpAddr> {
    let peer = peer(request.extensions())?;
    let trusted = &app.config.trusted_proxies;
    if !trusted.contains(peer) {
        return Some(peer);
    }
    let values = request.headers().get_all("x-forwarded-for").iter();
    let hops: Vec<&str> =
        values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    let mut nearest = peer;
    for hop in hops.iter().rev() {
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        nearest = hop.to_canonical();
        if !trusted.contains(nearest) {
            break;
        }
    }
    Some(nearest)
}

/// The address the connection came from.
pub fn peer(extensions: &axum::http::Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}
