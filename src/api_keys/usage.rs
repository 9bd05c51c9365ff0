//! How often keys are used: counted in memory, written in batches, so that no exchange waits for a hot row.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::store;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::Result;

/// Uses since the last flush.
#[derive(Debug, Default)]
pub struct Usage(Mutex<HashMap<Uuid, Use>>);

/// What is known of one key's uses.
#[derive(Clone, Debug)]
pub struct Use {
    /// How many.
    pub count: i64,
    /// The last one.
    pub at: Time,
    /// From where, "" if unknown.
    pub address: String,
}

impl Usage {
    /// Notes one use.
    pub fn note(&self, key: Uuid, at: Time, address: Option<IpAddr>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let known = uses.entry(key).or_insert(Use { count: 0, at, address: String::new() });
        *known = Use { count: known.count + 1, at: known.at.max(at), address };
    }

    fn take(&self) -> HashMap<Uuid, Use> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts back what could not be written.
    fn restore(&self, lost: HashMap<Uuid, Use>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, lost) in lost {
            let known = uses.entry(key).or_insert(Use { count: 0, ..lost.clone() });
            known.count += lost.count;
        }
    }
}

/// Every replica: adds its counts to the rows. What fails is kept for the next time.
pub async fn flush(app: &App) -> Result<()> {
    let uses = app.usage.take();
    if uses.is_empty() {
        return Ok(());
    }
    let written = store::add_uses(&app.db, &uses).await;
    if written.is_err() {
        app.usage.restore(uses);
    }
    Ok(written?)
}
