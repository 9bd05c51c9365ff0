//! A plain HTTP client: one connection, one request after the other.

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A connection to a server.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    credential: Option<String>,
    tenant: (&'static str, &'static str),
}

/// An answer; the body is null where it isn't JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// A string member of the body.
    pub fn text(&self, pointer: &str) -> Result<String> {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        Ok(found.with_context(|| format!("no {pointer} in {}", self.body))?.to_owned())
    }

    /// A header as text, "" where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    /// Connects to the server at this base URL; requests work in the tenant acme/demo.
    pub async fn connect(url: &str) -> Result<Self> {
        let host = url.strip_prefix("http://").context("an http URL")?.to_owned();
        let (sender, connection) = handshake(TokioIo::new(TcpStream::connect(&host).await?)).await?;
        // It ends with the connection; what broke shows at the sender.
        tokio::spawn(connection);
        Ok(Self { sender, host, credential: None, tenant: ("acme", "demo") })
    }

    /// Presents this credential from now on.
    pub fn bearer(mut self, credential: &str) -> Self {
        self.credential = Some(format!("Bearer {credential}"));
        self
    }

    /// Names this tenant from now on.
    pub fn tenant(mut self, account: &'static str, project: &'static str) -> Self {
        self.tenant = (account, project);
        self
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        self.send("POST", path, Some(body)).await
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", &self.host)
            .header("X-Account-ID", self.tenant.0)
            .header("X-Project-ID", self.tenant.1);
        if let Some(credential) = &self.credential {
            request = request.header("Authorization", credential);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header("Content-Type", "application/json").body(Full::from(body))?;
        let answer = self.raw(request).await?;
        let body = serde_json::from_slice(answer.body()).unwrap_or_default();
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
    }

    /// Sends a request as it is, and gives the answer as it is.
    pub async fn raw(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    /// Registers an agent under this external id.
    pub async fn register(&mut self, external_id: &str) -> Result<Answer> {
        let agent =
            json!({ "name": external_id, "external_id": external_id, "created_by": "dev@example.com" });
        self.post("/agents/register", &agent).await
    }

    /// Exchanges an API key.
    pub async fn exchange(&mut self, api_key: &str) -> Result<Answer> {
        self.post("/oauth2/token", &json!({ "grant_type": "api_key", "api_key": api_key })).await
    }

    /// Whether introspection says that the token stands.
    pub async fn is_active(&mut self, token: &str) -> Result<bool> {
        let answer = self.post("/oauth2/token/introspect", &json!({ "token": token })).await?;
        answer.body["active"].as_bool().with_context(|| format!("no answer: {answer:?}"))
    }
}
