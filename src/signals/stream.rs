//! The stream: each open one reads the tenant's signals from the database in the order of commits and writes them as
//! server-sent events. Nothing is kept in memory, so a reader may go on at any server where he left off at another.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::channel::{Channel, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::store::{self, Placed, Position};
use crate::access::{Admin, ManageIdentities};
use crate::kit::app::App;
use crate::kit::config;
use crate::kit::error::{Result, refuse_for};

/// How many signals are read at once.
const PAGE: i64 = 200;

/// How many pages wait for a reader.
const WAITING: usize = 2;

/// How long a stream that was woken waits for more to come.
const TOGETHER: Duration = Duration::from_millis(20);

/// What a server knows of its streams.
#[derive(Debug)]
pub struct Streams {
    free: Arc<Semaphore>,
    hint: watch::Sender<()>,
}

impl Streams {
    /// None is open yet.
    pub fn new(bounds: &config::Signals) -> Self {
        let most = usize::try_from(bounds.streams).unwrap_or(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), hint: watch::Sender::new(()) }
    }

    /// How many more may be opened.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Lets every stream look for new signals before its time.
    pub(super) fn wake(&self) {
        self.hint.send_replace(());
    }
}

/// Opens a stream. It begins after the signal with the id `after`, or with what is committed from now on. An id that is
/// not known, or no longer, was before everything that is kept.
pub async fn open(app: Arc<App>, admin: Admin<ManageIdentities>, after: Option<Uuid>) -> Result<Body> {
    let slot = app.signals.free.clone().try_acquire_owned().map_err(|_| {
        refuse_for(5, "this server has as many streams open as it may; try again or ask another server")
    })?;
    let mut db = app.connection().await?;
    let position = match after {
        None => Position { transaction_id: store::now(&mut db).await?, id: Uuid::nil() },
        Some(id) => store::position(&mut db, admin.tenant(), id)
            .await?
            .unwrap_or(Position { transaction_id: "0".to_owned(), id: Uuid::nil() }),
    };
    drop(db);
    let (sender, body) = Channel::<Bytes>::new(WAITING);
    let hint = app.signals.hint.subscribe();
    tokio::spawn(Stream { app, admin, position, hint, sender, _slot: slot }.run());
    Ok(Body::new(body))
}

struct Stream {
    app: Arc<App>,
    admin: Admin<ManageIdentities>,
    position: Position,
    hint: watch::Receiver<()>,
    sender: Sender<Bytes>,
    _slot: OwnedSemaphorePermit,
}

impl Stream {
    /// Ends when the reader is gone or too slow, his credential no longer stands, the database does not answer, or the
    /// server is about to stop. The reader then opens another and goes on where he was.
    async fn run(mut self) {
        let draining = self.app.draining.clone();
        if let Some(Err(error)) = draining.run_until_cancelled(self.follow()).await {
            tracing::debug!(?error, "a stream of signals ended");
        }
    }

    async fn follow(&mut self) -> Result<()> {
        let bounds = self.app.config.signals.clone();
        let mut heartbeat = interval(Duration::from_secs(bounds.heartbeat_seconds));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        self.send("event: connected\ndata: {}\n\n".to_owned()).await?;
        loop {
            if self.next_page().await? {
                continue;
            }
            tokio::select! {
                // Many signals at once make one look.
                _ = self.hint.changed() => sleep(TOGETHER).await,
                () = sleep(Duration::from_millis(bounds.poll_milliseconds)) => {}
                _ = heartbeat.tick() => {
                    self.admin.check_again().await?;
                    self.send(": heartbeat\n\n".to_owned()).await?;
                }
            }
        }
    }

    /// Sends what is new; whether there may be more.
    async fn next_page(&mut self) -> Result<bool> {
        let mut db = self.app.connection().await?;
        let page = store::after(&mut db, self.admin.tenant(), &self.position, PAGE).await?;
        drop(db);
        let Some(last) = page.last() else { return Ok(false) };
        // A reader whose right was taken away gets nothing that was committed after that.
        self.admin.check_again().await?;
        self.position = Position { transaction_id: last.transaction_id.clone(), id: last.signal.id };
        self.send(frames(&page)?).await?;
        Ok(i64::try_from(page.len())? == PAGE)
    }

    async fn send(&mut self, frames: String) -> Result<()> {
        let patience = Duration::from_secs(self.app.config.signals.stall_seconds);
        Ok(timeout(patience, self.sender.send_data(Bytes::from(frames))).await??)
    }
}

fn frames(page: &[Placed]) -> Result<String> {
    let mut text = String::new();
    for Placed { signal, .. } in page {
        let data = serde_json::to_string(signal)?;
        write!(text, "event: signal\nid: {}\ndata: {data}\n\n", signal.id)?;
    }
    Ok(text)
}
