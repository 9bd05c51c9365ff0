//! `chancery serve`: the whole product. Binds first, so that a port in use is told before anything is made.

use std::net::SocketAddr;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::say;
use crate::access::{self, NewAdminKey};
use crate::keys::load_master_key;
use crate::kit::app::App;
use crate::kit::clock::Clock;
use crate::kit::config::Config;
use crate::kit::error::Result;
use crate::kit::http::serve::{Bounds, serve as accept};
use crate::{router, workers};

pub(super) async fn serve(mut config: Config) -> Result<()> {
    let listener = bind(config.listen).await?;
    config.listening_on(listener.local_addr()?);
    let stop = stop_signal()?;
    // The database first: it prepares the data directory, in which a development key is then written.
    let database = Database::open(&config).await?;
    let pool = database.pool(&config);
    let outcome = run(config, listener, &database, pool.clone(), stop).await;
    // Also after a failure: a private Postgres must not stay behind a server that never came up.
    database.close(pool).await;
    outcome
}

/// Serves on a database that is up, until the stop.
async fn run(
    config: Config,
    listener: TcpListener,
    database: &Database,
    pool: PgPool,
    stop: CancellationToken,
) -> Result<()> {
    let master = load_master_key(&config)?;
    let bounds = Bounds {
        header_bytes: config.limits.header_bytes,
        grace: std::time::Duration::from_secs(config.shutdown.grace_seconds),
    };
    let app = App::start(config, Clock::system(), pool, &master).await?;
    greet(&app, database.embedded.is_some()).await?;
    let workers = workers::start(&app, stop.clone());
    let supervised = async {
        match &database.embedded {
            Some(embedded) => embedded.supervise(stop.clone()).await,
            None => stop.cancelled().await,
        }
    };
    tokio::join!(accept(listener, router::router(&app), bounds, stop.clone()), supervised);
    workers.wait().await;
    tracing::info!("stopped");
    Ok(())
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
