//! `chancery serve`: the whole product. Binds first, so that a port in use is told before anything is made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::{explain, say};
use crate::access::{self, NewAdminKey};
use crate::keys::load_master_key;
use crate::kit::app::App;
use crate::kit::clock::Clock;
use crate::kit::config::{Config, Networks};
use crate::kit::error::Result;
use crate::kit::http::serve::{Bounds, serve as accept};
use crate::{api_keys, router, tokens, workers};

pub(super) async fn serve(mut config: Config) -> Result<()> {
    raise_file_limit();
    let listener = bind(config.listen).await?;
    config.listening_on(listener.local_addr()?);
    let stop = stop_signal()?;
    // The database first: it prepares the data directory, in which a development key is then written.
    let database = Database::open(&config).await?;
    let pool = database.pool(&config);
    let outcome = run(config, &database, &pool, (listener, stop)).await;
    database.close(pool).await;
    outcome
}

async fn run(
    config: Config,
    database: &Database,
    pool: &PgPool,
    (listener, stop): (TcpListener, CancellationToken),
) -> Result<()> {
    database.prepare(&config).await?;
    let master = load_master_key(&config)?;
    let app = App::open(config, Clock::system(), pool.clone(), master).await?;
    // The first token must find its month's partition.
    if let Err(error) = tokens::worker::maintain(&app).await {
        tracing::warn!(
            why = explain(&error),
            "the partitions of credentials could not be made now; the worker will try again"
        );
    }
    greet(&app, database.embedded.is_some()).await?;
    let bounds = Bounds {
        header_bytes: app.config.limits.header_bytes,
        grace: Duration::from_secs(app.config.shutdown.grace_seconds),
    };
    // First readiness turns red, then, when balancers had time to look elsewhere, nothing more is accepted, and what is
    // in flight is finished; the workers and the database stop last.
    let (refuse, halt) = (CancellationToken::new(), CancellationToken::new());
    let workers = workers::start(&app, halt.clone());
    let supervised = async {
        match &database.embedded {
            Some(embedded) => embedded.supervise(halt.clone()).await,
            None => halt.cancelled().await,
        }
    };
    let served = async {
        accept(listener, router::router(&app), bounds, refuse.clone()).await;
        halt.cancel();
    };
    let drained = async {
        stop.cancelled().await;
        app.draining.cancel();
        tokio::time::sleep(app.config.drain()).await;
        refuse.cancel();
    };
    tokio::join!(served, drained, supervised);
    workers.wait().await;
    api_keys::flush(&app).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Every connection is a file. The soft limit is often 1024; what the hard limit allows is taken.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        anyhow::anyhow!(
            "can't listen on {listen}: {error}; choose another address with --listen or CHANCERY_LISTEN"
        )
        .into()
    })
}

/// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if token.is_cancelled() {
                std::process::exit(1);
            }
            tracing::info!("stopping: requests in flight are finished first");
            token.cancel();
        }
    });
    Ok(stop)
}

/// Says where the server is. In development, on a new database, it makes an operator's key and shows it this once.
async fn greet(app: &Arc<App>, embedded: bool) -> Result<()> {
    let config = &app.config;
    tracing::info!(listen = %config.listen, issuer = config.issuer(), "serving");
    if !config.is_development() {
        return Ok(());
    }
    let base = format!("http://{}", config.listen);
    say(format!("\nChancery {} for development, on this machine only", env!("CARGO_PKG_VERSION")))?;
    say(format!("  listening   {base}"))?;
    if embedded {
        say(format!("  database    private Postgres in {}", config.data_dir.join("postgres").display()))?;
    }
    let mut authorization = String::new();
    if access::list(&app.db).await?.is_empty() {
        let new = NewAdminKey {
            name: "first key of the development server".to_owned(),
            tenant: None,
            scopes: Vec::new(),
            lifetime: None,
            allowed_networks: Networks::default(),
        };
        let secret = access::create(app, new).await?;
        say(format!("  admin key   {}   (shown this once)", secret.expose()))?;
        authorization = format!(" -H 'Authorization: Bearer {}'", secret.expose());
    } else {
        say("  admin key   chancery --dev admin create-key --name NAME makes another")?;
    }
    say(format!(
        "\nRegister an agent:\n  curl -s {base}/agents/register{authorization} \\\n    -H 'X-Account-ID: acme' -H \
         'X-Project-ID: demo' -H 'Content-Type: application/json' \\\n    -d '{{\"name\": \"Data Fetcher\", \
         \"external_id\": \"data-fetcher\", \"created_by\": \"me@example.com\"}}'\n"
    ))
}
