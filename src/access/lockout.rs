//! Lock-outs: an address that presents too many wrong credentials is refused for a while, on every replica. Failures are
//! counted in rows; who is locked out is read every few seconds and known at once where it happened.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use super::store;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::{Result, refuse_for};
use crate::kit::http::rate::network;

/// The addresses that are locked out, and until when.
#[derive(Debug, Default)]
pub struct Lockouts(RwLock<HashMap<IpAddr, Time>>);

impl Lockouts {
    fn until(&self, address: IpAddr) -> Option<Time> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&address).copied()
    }

    fn add(&self, address: IpAddr, until: Time) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(address, until);
    }

    fn replace(&self, locked: HashMap<IpAddr, Time>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = locked;
    }
}

/// Refuses an address that is locked out, whatever it presents.
pub fn check_lockout(app: &App, address: Option<IpAddr>, now: Time) -> Result<()> {
    match address.and_then(|address| app.lockouts.until(network(address))) {
        Some(until) if until > now => {
            let seconds = u32::try_from((until - now).whole_seconds()).unwrap_or(u32::MAX).saturating_add(1);
            Err(refuse_for(seconds, "too many wrong credentials came from this address; try again later"))
        }
        _ => Ok(()),
    }
}

/// Counts a wrong credential. Loopback is this machine, or a proxy that nobody named: it is never locked out.
pub async fn count_failure(app: &App, address: Option<IpAddr>, now: Time) -> Result<()> {
    let settings = &app.config.lockout;
    let Some(address) = address.filter(|address| settings.failures > 0 && !address.is_loopback()) else {
        return Ok(());
    };
    let address = network(address);
    let mut db = app.connection().await?;
    if let Some(until) = store::count_failure(&mut db, address, settings, now).await? {
        app.lockouts.add(address, until);
    }
    Ok(())
}

/// Every replica: reads who is locked out, and forgets old counts.
pub async fn refresh(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut db = app.db.acquire().await?;
    store::forget_failures(&mut db, &app.config.lockout, now).await?;
    let locked = store::locked(&mut db, now).await?;
    let parsed = locked.into_iter().filter_map(|(address, until)| Some((address.parse().ok()?, until)));
    app.lockouts.replace(parsed.collect());
    Ok(())
}
