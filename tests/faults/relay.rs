//! Stands between servers and their database, on a socket of its own, and spoils what passes when it is told to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// The name that clients of Postgres look for in the directory of its socket.
const SOCKET: &str = ".s.PGSQL.5432";

#[derive(Clone)]
pub struct Relay {
    directory: PathBuf,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// One in so many messages cuts its connection; 0 cuts none.
    one_in: AtomicU64,
    delay_milliseconds: AtomicU64,
    cuts: AtomicUsize,
    messages: AtomicU64,
}

/// What becomes of a message.
enum Fate {
    Passes,
    /// Cut before it arrives.
    Lost,
    /// It arrives, and what it brought about is told to nobody.
    Unanswered,
}

impl Relay {
    /// Listens in `directory` for those who look for a database there.
    pub fn start(directory: &Path, database: &Path) -> Result<Self> {
        let relay = Self { directory: directory.to_owned(), faults: Arc::default() };
        let listener = UnixListener::bind(directory.join(SOCKET))?;
        let (target, faults) = (database.join(SOCKET), relay.faults.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, faults) = (target.clone(), faults.clone());
                tokio::spawn(async move {
                    // A connection that is cut ends with an error, as it should.
                    let _ = pass(client, UnixStream::connect(target).await?, &faults).await;
                    anyhow::Ok(())
                });
            }
        });
        Ok(relay)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn cut_one_in(&self, messages: u64) {
        self.faults.one_in.store(messages, Ordering::SeqCst);
    }

    /// How many connections were cut since this was last asked.
    pub fn cuts(&self) -> usize {
        self.faults.cuts.swap(0, Ordering::SeqCst)
    }

    /// Holds every message back for so long.
    pub fn delay(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap();
        self.faults.delay_milliseconds.store(milliseconds, Ordering::SeqCst);
    }
}

impl Faults {
    fn fate(&self) -> Fate {
        let one_in = self.one_in.load(Ordering::SeqCst);
        let number = self.messages.fetch_add(1, Ordering::SeqCst);
        // A hash of the running number: which messages are hit doesn't follow the rhythm of the statements.
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        if one_in == 0 || !random.is_multiple_of(one_in) {
            return Fate::Passes;
        }
        self.cuts.fetch_add(1, Ordering::SeqCst);
        if (random / one_in).is_multiple_of(2) { Fate::Lost } else { Fate::Unanswered }
    }
}

async fn pass(client: UnixStream, server: UnixStream, faults: &Faults) -> Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_mute = AtomicBool::new(false);
    let there = async {
        let mut buffer = vec![0; 65536];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return anyhow::Ok(());
            }
            let delay = faults.delay_milliseconds.load(Ordering::SeqCst);
            if delay > 0 {
                sleep(Duration::from_millis(delay)).await;
            }
            match faults.fate() {
                Fate::Passes => to_server.write_all(&buffer[..read]).await?,
                Fate::Lost => return Ok(()),
                Fate::Unanswered => {
                    is_mute.store(true, Ordering::SeqCst);
                    to_server.write_all(&buffer[..read]).await?;
                    // Time enough for the database to do what it was told.
                    sleep(Duration::from_millis(20)).await;
                    return Ok(());
                }
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 65536];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 || is_mute.load(Ordering::SeqCst) {
                return anyhow::Ok(());
            }
            to_client.write_all(&buffer[..read]).await?;
        }
    };
    // Whichever side ends first, both connections close.
    tokio::select! { ended = there => ended, ended = back => ended }
}
