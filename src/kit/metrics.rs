//! Counters for `/metrics`. They belong to one [`App`](super::app::App), so two servers in one process don't mix.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::Registry;

use super::clock::Stopwatch;

const LATENCY_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Every series the server exposes.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
    tokens: Family<TokenLabels, Counter>,
    pool: Family<PoolLabels, Gauge>,
    lag: Family<WorkerLabels, Gauge<f64, AtomicU64>>,
    /// When each worker last finished a step.
    workers: Mutex<BTreeMap<&'static str, Stopwatch>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WorkerLabels {
    worker: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    grant: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("chancery");
        let requests = Family::default();
        registry.register("http_requests", "Requests by method, route and status", requests.clone());
        let latency: Family<RouteLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(LATENCY_SECONDS));
        registry.register("http_request_seconds", "Time to answer, by route", latency.clone());
        let tokens = Family::default();
        registry.register("token_requests", "Token requests by grant and outcome", tokens.clone());
        let pool = Family::default();
        registry.register("database_connections", "Connections of the pool, by state", pool.clone());
        let lag = Family::default();
        registry.register("worker_lag_seconds", "Seconds since a worker last finished a step", lag.clone());
        Self { registry, requests, latency, tokens, pool, lag, workers: Mutex::default() }
    }
}

impl Metrics {
    /// Counts one answer.
    pub fn request(&self, method: &'static str, route: &str, status: u16, seconds: f64) {
        self.requests.get_or_create(&RequestLabels { method, route: route.to_owned(), status }).inc();
        self.latency.get_or_create(&RouteLabels { route: route.to_owned() }).observe(seconds);
    }

    /// Counts one token request: `outcome` is `issued` or the OAuth error code.
    pub fn token(&self, grant: &'static str, outcome: &'static str) {
        self.tokens.get_or_create(&TokenLabels { grant, outcome }).inc();
    }

    /// Notes that a worker finished a step.
    pub fn worker_done(&self, worker: &'static str) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, Stopwatch::start());
    }

    /// The exposition text, with the pool as it is now.
    pub fn render(&self, pools: [(&'static str, &sqlx::PgPool); 2]) -> String {
        for (name, pool) in pools {
            let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
            self.pool.get_or_create(&PoolLabels { pool: name, state: "idle" }).set(idle);
            self.pool
                .get_or_create(&PoolLabels { pool: name, state: "busy" })
                .set(i64::from(pool.size()) - idle);
        }
        for (worker, done) in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.lag.get_or_create(&WorkerLabels { worker }).set(done.seconds());
        }
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}
