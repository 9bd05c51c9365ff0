//! The one way to fetch something that another server publishes: by https, from an address that was checked, without
//! redirects, within a size and a time. Whoever asked for it learns that it failed, and the log why.
mod address;
mod exchange;
mod key_sets;
mod slots;
mod target;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Host;

use super::config::{self, Networks};

pub use address::is_public;
pub use key_sets::KeySets;
pub use slots::{Slot, Slots};
pub use target::Target;

/// How many fetches run at a time. The others wait within their own time.
const AT_ONCE: usize = 32;

/// The client.
pub struct Outbound {
    tls: TlsConnector,
    private: Networks,
    resolver: Resolver,
    longest: Duration,
    places: Semaphore,
}

/// Finds the addresses of a name.
#[derive(Clone)]
pub enum Resolver {
    /// As the system does.
    System,
    /// As a test says.
    Given(Arc<Given>),
}

/// Says the addresses of a name.
pub type Given = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// JSON, as its `Content-Type` says; nobody has parsed it.
    pub body: Bytes,
    /// For how many seconds its owner lets it be kept, if he says.
    pub max_age: Option<u64>,
}

/// Why nothing was fetched. The words are the same whatever happened: a caller must not learn what is behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document could not be fetched")]
pub enum Failed {
    /// It is not to be had in this way, and a repetition will not change that soon.
    Refused,
    /// Nobody answered in time.
    Unreachable,
}

/// A failure with its reason, which only the log is told.
struct Broken {
    failed: Failed,
    why: String,
}

fn refused(why: impl Into<String>) -> Broken {
    Broken { failed: Failed::Refused, why: why.into() }
}

fn unreachable(why: impl Into<String>) -> Broken {
    Broken { failed: Failed::Unreachable, why: why.into() }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("private", &self.private).finish_non_exhaustive()
    }
}

impl Outbound {
    /// The client as configured.
    pub fn open(config: &config::Outbound) -> anyhow::Result<Self> {
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls(config)?)),
            private: config.allow_private.clone(),
            resolver: Resolver::System,
            longest: Duration::from_secs(config.timeout_seconds.into()),
            places: Semaphore::new(AT_ONCE),
        })
    }

    /// The same with another resolver and another bound of time.
    #[must_use]
    pub fn with(self, resolver: Resolver, longest: Duration) -> Self {
        Self { resolver, longest, ..self }
    }

    /// What can be told from a URL's text alone: whether it could be fetched, or why not.
    pub fn check(&self, url: &str) -> Result<Target, &'static str> {
        let target = Target::parse(url)?;
        match target.host() {
            Host::Ipv4(address) => self.check_address(address.into(), target.port())?,
            Host::Ipv6(address) => self.check_address(address.into(), target.port())?,
            Host::Domain(name) if address::is_local_name(name) && self.private.is_empty() => {
                return Err("its host names this machine");
            }
            Host::Domain(_) => {}
        }
        Ok(target)
    }

    /// Fetches a JSON document of at most `most` bytes.
    pub async fn get(&self, url: &str, most: usize) -> Result<Fetched, Failed> {
        let fetched = async {
            let target = self.check(url).map_err(refused)?;
            let _place = self.places.acquire().await.map_err(|_| unreachable("the server stops"))?;
            let addresses = self.resolve(&target).await?;
            exchange::get(&self.tls, &target, &addresses, most).await
        };
        let outcome = tokio::time::timeout(self.longest, fetched).await;
        outcome.unwrap_or_else(|_| Err(unreachable("it took too long"))).map_err(|Broken { failed, why }| {
            tracing::warn!(url, why, "a document could not be fetched");
            failed
        })
    }

    /// The addresses of the target, every one of them checked: the connection goes to one of these and asks nobody again.
    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Broken> {
        let mut addresses = match target.host() {
            Host::Ipv4(address) => vec![IpAddr::from(address)],
            Host::Ipv6(address) => vec![IpAddr::from(address)],
            Host::Domain(name) => self
                .resolver
                .addresses(name)
                .await
                .map_err(|error| unreachable(format!("its name could not be resolved: {error}")))?,
        };
        if addresses.is_empty() {
            return Err(unreachable("its name has no address"));
        }
        for address in &addresses {
            self.check_address(*address, target.port())
                .map_err(|why| refused(format!("{why}: {address} port {}", target.port())))?;
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, target.port())).collect())
    }

    /// Private addresses only in the networks that are configured, and there any port.
    fn check_address(&self, address: IpAddr, port: u16) -> Result<(), &'static str> {
        if self.private.contains(address.to_canonical()) {
            return Ok(());
        }
        if !is_public(address) {
            return Err("its address is not a public one");
        }
        if !target::PORTS.contains(&port) {
            return Err("its port is neither 443 nor 8443");
        }
        Ok(())
    }
}

impl Resolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()),
            Self::Given(given) => Ok(given(name)),
        }
    }
}

/// The roots that browsers trust, and those of the configured file. A session is never resumed: a server whose certificate
/// is not trusted any more must not come in on an old one.
fn tls(config: &config::Outbound) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if !config.ca_file.as_os_str().is_empty() {
        let shown = config.ca_file.display();
        let pem =
            fs::read(&config.ca_file).with_context(|| format!("outbound.ca_file: {shown} can't be read"))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map_err(anyhow::Error::from).and_then(|one| Ok(roots.add(one)?));
            added.with_context(|| format!("outbound.ca_file: {shown} holds what is no certificate"))?;
            count += 1;
        }
        anyhow::ensure!(count > 0, "outbound.ca_file: {shown} holds no certificate in PEM");
    }
    let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls.resumption = Resumption::disabled();
    Ok(tls)
}
