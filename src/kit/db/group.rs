//! Statements of many requests, grouped into one: while a batch is in flight, what arrives waits for the next, which
//! takes all. No timer, no minimum: a request that comes alone is a batch of one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::grouped;
use crate::kit::config::Database;
use crate::kit::error::{Error, Kind, Result, refuse};

/// The future of one batch.
pub type Batch<'a, O> = Pin<Box<dyn Future<Output = sqlx::Result<Vec<O>>> + Send + 'a>>;

/// Runs a batch and answers each item at its place. It must be safe to run again after an outcome that is not known.
pub type Run<I, O> = for<'a> fn(&'a mut PgConnection, &'a [I]) -> Batch<'a, O>;

/// How many items one batch takes at the most.
const MOST: usize = 64;

/// A batch with fewer lets those come along that are about to ask.
const FEW: usize = 16;

/// How many items may wait. Beyond that the honest answer is that we can't.
const WAITING: usize = 2048;

/// How often an item is tried whose outcome is not known.
const TRIES: usize = 3;

/// How long a batch that writes waits for a lock that another session holds. Longer than a commit takes, and shorter than the
/// others of the batch should wait for one of them.
const LOCKED: &str = "20ms";

/// A way to the database on which items travel together.
pub struct Group<I, O> {
    queue: mpsc::Sender<Item<I, O>>,
    pool: PgPool,
}

struct Item<I, O> {
    input: I,
    answer: oneshot::Sender<sqlx::Result<O>>,
}

/// One connection of a group, and what it needs to be made anew.
struct Lane<I, O> {
    queue: Arc<Mutex<mpsc::Receiver<Item<I, O>>>>,
    run: Run<I, O>,
    options: PgConnectOptions,
    pool: PgPool,
    connection: Option<PgConnection>,
    longest: Duration,
}

impl<I, O> fmt::Debug for Group<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} free)", self.queue.capacity())
    }
}

impl<I, O> Group<I, O>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    /// A group with `lanes` connections, each made when first needed. An item that spoils a batch is tried alone on the
    /// pool. The group ends when it is dropped.
    pub fn start(pool: &PgPool, bounds: &Database, lanes: usize, run: Run<I, O>) -> Self {
        Self::open(pool, bounds, lanes, run, &[])
    }

    /// The same for items that write: one that must wait for another session's lock counts as one that spoils its batch.
    pub fn start_writing(pool: &PgPool, bounds: &Database, lanes: usize, run: Run<I, O>) -> Self {
        Self::open(pool, bounds, lanes, run, &[("lock_timeout", LOCKED)])
    }

    fn open(pool: &PgPool, bounds: &Database, lanes: usize, run: Run<I, O>, more: &[(&str, &str)]) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let options = grouped((*pool.connect_options()).clone(), bounds).options(more.iter().copied());
        for _ in 0..lanes {
            let lane = Lane {
                queue: waiting.clone(),
                run,
                options: options.clone(),
                pool: pool.clone(),
                connection: None,
                longest: Duration::from_secs(bounds.statement_timeout_seconds + 1),
            };
            tokio::spawn(lane.work());
        }
        Self { queue, pool: pool.clone() }
    }

    /// Waits for the item's turn and its outcome.
    pub async fn run(&self, input: I) -> Result<O> {
        if self.pool.is_closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        let (answer, outcome) = oneshot::channel();
        match self.queue.try_send(Item { input, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(refuse(
                    Kind::Unavailable,
                    "too many requests wait for the database; try again shortly",
                ));
            }
            Err(TrySendError::Closed(_)) => return Err(stopped()),
        }
        Ok(outcome.await.map_err(|_| stopped())??)
    }
}

impl<I, O> Lane<I, O>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    async fn work(mut self) {
        while let Some(batch) = self.next().await {
            self.serve(batch).await;
        }
    }

    /// The first item that comes, and all that wait behind it. `None` when the group is gone.
    async fn next(&self) -> Option<Vec<Item<I, O>>> {
        let mut queue = self.queue.lock().await;
        let mut batch = vec![queue.recv().await?];
        take(&mut queue, &mut batch);
        if batch.len() < FEW {
            // Whoever is about to ask does so first: the larger the batch, the less each item costs. Not when many wait
            // already, since then the round through all that can run takes long.
            tokio::task::yield_now().await;
            take(&mut queue, &mut batch);
        }
        Some(batch)
    }

    async fn serve(&mut self, batch: Vec<Item<I, O>>) {
        let (inputs, answers): (Vec<I>, Vec<_>) =
            batch.into_iter().map(|item| (item.input, item.answer)).unzip();
        if let Ok(outcomes) = self.try_batch(&inputs).await {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Nobody waits any more when the request was given up; what was done stays done.
                let _ = answer.send(Ok(outcome));
            }
            return;
        }
        // One of them spoiled it, or nobody knows what became of it: each alone, away from this lane, so that no other
        // batch waits for them.
        for (input, answer) in inputs.into_iter().zip(answers) {
            tokio::spawn(alone(self.pool.clone(), self.run, input, answer));
        }
    }

    async fn try_batch(&mut self, inputs: &[I]) -> sqlx::Result<Vec<O>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        // A connection that died without a word answers nothing and refuses nothing.
        let outcome = tokio::time::timeout(self.longest, (self.run)(&mut connection, inputs)).await;
        let outcome = outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if outcome.as_ref().err().is_none_or(is_of_an_item) {
            self.connection = Some(connection);
        } else {
            // Whatever state it is in, the next batch begins on a new one.
            let _ = connection.close_hard().await;
        }
        outcome
    }
}

/// What waits, as far as the batch has room.
fn take<T>(queue: &mut mpsc::Receiver<T>, batch: &mut Vec<T>) {
    while batch.len() < MOST {
        let Ok(item) = queue.try_recv() else { break };
        batch.push(item);
    }
}

/// One item on a connection of the pool; again while its outcome is not known.
async fn alone<I, O>(pool: PgPool, run: Run<I, O>, input: I, answer: oneshot::Sender<sqlx::Result<O>>) {
    let mut last = sqlx::Error::PoolClosed;
    for _ in 0..TRIES {
        let outcome = match pool.acquire().await {
            Ok(mut connection) => run(&mut connection, std::slice::from_ref(&input)).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(outcomes) => {
                let outcome = outcomes.into_iter().next().ok_or(sqlx::Error::RowNotFound);
                let _ = answer.send(outcome);
                return;
            }
            Err(error) if is_unknown(&error) => last = error,
            Err(error) => {
                last = error;
                break;
            }
        }
    }
    let _ = answer.send(Err(last));
}

/// Whether the outcome is not known, or another try may meet a better moment: the connection broke, or the database
/// gave up on one of two that waited for each other.
fn is_unknown(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            code.starts_with("08") || code.starts_with("57P") || code == "40P01" || code == "40001"
        }),
        _ => false,
    }
}

/// Whether an item is to blame and not the connection: a value that is none, a constraint that it breaks, a lock for which it
/// would have to wait. To connect again costs more than many a batch.
fn is_of_an_item(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23") || code == "55P03")
}

fn stopped() -> Error {
    refuse(Kind::Unavailable, "the server is stopping; try again on another one")
}
