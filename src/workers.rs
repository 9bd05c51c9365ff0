//! Background work: each worker is a step of some capability and a loop here that repeats it until the stop. Every
//! replica runs them all; a step that must not run twice at once takes a lock of the database.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kit::app::App;
use crate::kit::error::{Error, Result};
use crate::{access, agents, api_keys, authorizations, idempotency, keys, signals, tokens, users};

/// Starts every worker; they end at a step's end after `stop`.
pub fn start(app: &Arc<App>, stop: CancellationToken) -> TaskTracker {
    let run = Run { tracker: TaskTracker::new(), app: app.clone(), stop: stop.clone() };
    let refresh = Duration::from_secs(app.config.keys.refresh_seconds.into());
    run.every("keys_refresh", refresh, |app| async move { keys::worker::refresh(&app).await });
    run.every("keys_rotation", refresh * 6, |app| async move { keys::worker::rotate(&app).await });
    run.every("lockouts", refresh, |app| async move { access::refresh_lockouts(&app).await });
    run.every(
        "agents_expiry",
        Duration::from_secs(30),
        |app| async move { agents::worker::expire(&app).await },
    );
    run.every("api_keys_usage", Duration::from_secs(5), |app| async move { api_keys::flush(&app).await });
    run.every(
        "idempotency",
        Duration::from_mins(1),
        |app| async move { idempotency::worker::forget(&app).await },
    );
    run.every(
        "revocations",
        Duration::from_secs(1),
        |app| async move { tokens::worker::announce(&app).await },
    );
    run.every(
        "tokens_forgotten",
        Duration::from_mins(1),
        |app| async move { tokens::worker::forget(&app).await },
    );
    run.every("authorizations", Duration::from_mins(1), |app| async move {
        authorizations::worker::forget(&app).await?;
        users::worker::forget(&app).await
    });
    run.every("signals_forgotten", Duration::from_mins(1), |app| async move {
        signals::worker::forget(&app).await
    });
    let listening = stop.clone();
    run.every("signals_hint", Duration::from_secs(1), move |app| {
        let stop = listening.clone();
        async move { signals::worker::listen(&app, &stop).await }
    });
    run.every("credentials_partitions", Duration::from_hours(1), |app| async move {
        tokens::worker::maintain(&app).await
    });
    run.every("rates", Duration::from_secs(10), |app| async move {
        app.rates.prune();
        Ok(())
    });
    let gate = app.clone();
    run.tracker.spawn(async move { gate.gate.watch(stop).await });
    run.tracker.close();
    run.tracker
}

struct Run {
    tracker: TaskTracker,
    app: Arc<App>,
    stop: CancellationToken,
}

impl Run {
    /// Repeats `step`, beginning now. A step that fails is tried again at its next turn.
    fn every<F>(&self, name: &'static str, period: Duration, step: impl Fn(Arc<App>) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send,
    {
        let (app, stop) = (self.app.clone(), self.stop.clone());
        self.tracker.spawn(async move {
            loop {
                match step(app.clone()).await {
                    Ok(()) => app.metrics.worker_done(name),
                    Err(Error::Refused(refused)) => {
                        tracing::warn!(worker = name, why = %refused.why, "will try again");
                    }
                    Err(Error::Fault(fault)) => {
                        tracing::error!(worker = name, error = format!("{fault:#}"), "will try again");
                    }
                }
                if stop.run_until_cancelled(tokio::time::sleep(period)).await.is_none() {
                    return;
                }
            }
        });
    }
}
