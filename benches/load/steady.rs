//! Requests at a fixed rate, whether the ones before were answered or not: what stalls the server shows in the time of every
//! request that should have begun meanwhile, not only of those that were in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use chancery::kit::clock::Stopwatch;
use tokio_util::sync::CancellationToken;

use crate::traffic::{Connection, Request, Run, count};

/// Connections, more than are busy at once unless the server stalls. A request that finds none free waits, and its time
/// runs from when it should have begun.
const CONNECTIONS: usize = 64;

/// What the connections share.
struct Schedule {
    address: SocketAddr,
    per_second: f64,
    requests: Vec<Request>,
    next: AtomicUsize,
    watch: Stopwatch,
    stop: CancellationToken,
}

/// Sends the requests in turn until `stop`.
pub(crate) async fn steady(
    address: SocketAddr,
    per_second: f64,
    requests: Vec<Request>,
    stop: CancellationToken,
) -> Result<Run> {
    let (next, watch) = (AtomicUsize::new(0), Stopwatch::start());
    let schedule = Arc::new(Schedule { address, per_second, requests, next, watch, stop });
    let workers: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(take_turns(schedule.clone()))).collect();
    let mut run = Run::default();
    for worker in workers {
        let part = worker.await?;
        run.times.extend(part.times);
        run.failures.extend(part.failures);
    }
    ensure!(!run.times.is_empty(), "no request was answered: {:?}", run.failures.first());
    run.seconds = schedule.watch.seconds();
    run.times.sort_by(f64::total_cmp);
    Ok(run)
}

async fn take_turns(schedule: Arc<Schedule>) -> Run {
    let mut connection = Connection::new(schedule.address);
    let mut run = Run::default();
    loop {
        let turn = schedule.next.fetch_add(1, Ordering::Relaxed);
        let due = count(turn) / schedule.per_second;
        let mut began = due;
        if let Ok(early) = Duration::try_from_secs_f64(due - schedule.watch.seconds()) {
            if schedule.stop.run_until_cancelled(tokio::time::sleep(early)).await.is_none() {
                return run;
            }
            // A timer that fires late is the generator's fault, not the server's.
            began = schedule.watch.seconds();
        }
        if schedule.stop.is_cancelled() {
            return run;
        }
        match connection.send(&schedule.requests[turn % schedule.requests.len()]).await {
            Ok(_) => run.times.push(schedule.watch.seconds() - began),
            Err(error) => run.failures.push(format!("{error:#}")),
        }
    }
}
