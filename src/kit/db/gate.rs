//! Whether the database answers. While it does not, requests are refused at once instead of waiting in line.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How often a database that answers is asked, one that does not, and how long an answer may take.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_WHILE_AWAY: Duration = Duration::from_millis(250);
const WITHIN: Duration = Duration::from_secs(2);

/// How long one look is trusted.
const BETWEEN: Duration = Duration::from_millis(250);

/// Shared by everything that asks for a connection.
#[derive(Debug)]
pub struct Gate {
    options: PgConnectOptions,
    away: watch::Sender<bool>,
    suspected: Notify,
}

impl Gate {
    /// A gate before the database behind these options. It begins open.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, away: watch::Sender::new(false), suspected: Notify::new() }
    }

    /// Whether the database was found away and has not been seen since.
    pub fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    /// Ends when a look finds the database away. A statement on a connection that hangs would else be waited for as long
    /// as it hangs.
    pub async fn lost(&self) {
        let mut away = self.away.subscribe();
        while away.changed().await.is_ok() {
            if *away.borrow_and_update() {
                return;
            }
        }
    }

    /// Somebody got no answer: look now.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Looks at the database until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.look()).await;
    }

    async fn look(&self) {
        loop {
            let answers = matches!(tokio::time::timeout(WITHIN, self.ask()).await, Ok(Ok(())));
            let was_away = self.away.send_replace(!answers);
            match (was_away, answers) {
                (false, false) => {
                    tracing::error!("the database does not answer; requests that need it get 503");
                }
                (true, true) => tracing::info!("the database answers again"),
                _ => {}
            }
            if answers {
                // Overload makes many suspicious; one look now and then answers them all.
                tokio::time::sleep(BETWEEN).await;
                let _ = tokio::time::timeout(EVERY, self.suspected.notified()).await;
            } else {
                tokio::time::sleep(EVERY_WHILE_AWAY).await;
            }
        }
    }

    /// A connection of its own: the pool's may all be busy, which is another matter.
    async fn ask(&self) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        connection.ping().await?;
        connection.close().await
    }
}
