//! An https server in this process, under an authority of its own, that answers whatever a test wants.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a path is answered with.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 and this document.
    Json(Value),
    /// The whole answer, as it goes over the wire.
    Raw(String),
    /// This beginning, and then nothing more.
    Silence(String),
    /// This beginning, and then this again and again.
    Endless(String, String),
}

/// A running server. It ends with the test.
pub struct Site {
    pub address: SocketAddr,
    hits: Arc<AtomicUsize>,
    replies: Arc<Mutex<Vec<(String, Reply)>>>,
}

/// The authority that signed the certificates of every site of this process, and its certificate in a file that is in no
/// folder any more: it goes with the process.
static AUTHORITY: LazyLock<(Issuer<'static, KeyPair>, File)> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let path = std::env::temp_dir().join(format!("chancery-ca-{}.pem", std::process::id()));
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    (Issuer::new(params, key), file)
});

/// The file with the authority's certificate, for `outbound.ca_file`. Whoever opens it reads it from its beginning.
pub fn ca_file() -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), AUTHORITY.1.as_raw_fd()))
}

impl Site {
    /// A site on 127.0.0.1.
    pub async fn start() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &["localhost", "127.0.0.1"]).await
    }

    /// A site on this address, whose certificate has these names.
    pub async fn at(address: SocketAddr, names: &[&str]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Self { address, hits: Arc::default(), replies: Arc::default() };
        let (hits, replies, tls) = (site.hits.clone(), site.replies.clone(), acceptor(names));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                hits.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, tls.clone(), replies.clone()));
            }
        });
        site
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Answers a path so from now on.
    pub fn set(&self, path: &str, reply: Reply) {
        let mut replies = self.replies.lock().unwrap();
        replies.retain(|(known, _)| known != path);
        replies.push((path.to_owned(), reply));
    }

    /// The same with a document.
    pub fn json(&self, path: &str, document: Value) {
        self.set(path, Reply::Json(document));
    }

    /// How many connections there were.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

/// An answer with this head and body.
pub fn raw(head: &str, body: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}"))
}

fn acceptor(names: &[&str]) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &AUTHORITY.0).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(stream: TcpStream, tls: TlsAcceptor, replies: Arc<Mutex<Vec<(String, Reply)>>>) {
    let Ok(mut stream) = tls.accept(stream).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let reply =
        replies.lock().unwrap().iter().find(|(known, _)| known == path).map(|(_, reply)| reply.clone());
    let text = match reply {
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        Some(Reply::Json(document)) => {
            let body = document.to_string();
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        }
        Some(Reply::Raw(text)) => text,
        Some(Reply::Silence(beginning)) => {
            let _ = stream.write_all(beginning.as_bytes()).await;
            // Until the other side goes away.
            let _ = tokio::time::timeout(Duration::from_mins(1), stream.read_u8()).await;
            return;
        }
        Some(Reply::Endless(beginning, again)) => {
            let mut next = beginning;
            while stream.write_all(next.as_bytes()).await.is_ok() {
                next.clone_from(&again);
            }
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// An address of this machine that is not 127.0.0.1.
pub const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
