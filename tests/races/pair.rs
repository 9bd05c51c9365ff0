//! Two servers over one database, and callers that set out at the same moment.

use std::future::Future;
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tokio::sync::{Barrier, Mutex, MutexGuard};

use crate::server::Server;

/// Connections of each server, so that nobody waits for one.
const CONNECTIONS: u32 = 36;

/// One test at a time: the races want the machine, and the cluster has a hundred connections.
static TURN: Mutex<()> = Mutex::const_new(());

/// Two replicas with one clock.
pub struct Pair {
    pub one: Arc<Server>,
    pub two: Arc<Server>,
    _turn: MutexGuard<'static, ()>,
}

impl Pair {
    /// When it is this test's turn.
    pub async fn new() -> Self {
        let turn = TURN.lock().await;
        let one = Server::with(|config| config.database.max_connections = CONNECTIONS).await;
        let two = one.replica().await;
        Self { one: Arc::new(one), two: Arc::new(two), _turn: turn }
    }

    /// The server of the caller with this number: they take turns.
    pub fn at(&self, number: usize) -> Arc<Server> {
        if number.is_multiple_of(2) { self.one.clone() } else { self.two.clone() }
    }

    /// Whether both servers call a token active; they must agree.
    #[track_caller]
    pub fn is_active<'a>(&'a self, token: &'a str) -> impl Future<Output = bool> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let (one, two) = tokio::join!(self.one.is_active(token), self.two.is_active(token));
            assert_eq!(one, two, "{caller}: the servers disagree");
            one
        }
    }
}

impl Server {
    /// Runs a statement that no route offers, and says how many rows it met.
    pub async fn sql(&self, sql: impl Into<String>) -> u64 {
        sqlx::query(AssertSqlSafe(sql.into())).execute(&self.app.db).await.unwrap().rows_affected()
    }
}

/// How many rounds a race is run: the environment says it, or else the test.
pub fn rounds(default: usize) -> usize {
    std::env::var("CHANCERY_TEST_ROUNDS").map_or(default, |rounds| rounds.parse().unwrap())
}

/// Runs the calls in parallel, each in a task of its own, and none before all stand ready. Answers in their order.
pub async fn at_once<C>(calls: impl IntoIterator<Item = C>) -> Vec<C::Output>
where
    C: Future<Output: Send + 'static> + Send + 'static,
{
    let calls: Vec<C> = calls.into_iter().collect();
    let ready = Arc::new(Barrier::new(calls.len()));
    let start = |call: C| {
        let ready = ready.clone();
        tokio::spawn(async move {
            ready.wait().await;
            call.await
        })
    };
    let tasks: Vec<_> = calls.into_iter().map(start).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}
