//! The audit log: one row for every change and every refusal with a known principal, in the change's own transaction.
mod export;
mod read;
mod store;

pub mod routes;

use serde_json::Value;
use uuid::Uuid;

use crate::kit::clock::Time;
use crate::kit::cx::{Caller, Cx, Origin, Tenant};
use crate::kit::error::{Refused, Result};
use crate::kit::ids;

/// What happened, to what. Names are fixed words; ids and metadata never hold a secret.
#[derive(Clone, Debug)]
pub struct Event {
    /// Noun and verb, as `agent.registered`.
    pub action: &'static str,
    /// The kind of thing, as `agent`.
    pub target_type: &'static str,
    /// Its id.
    pub target_id: String,
    /// Facts a reader will want, as the names of changed members.
    pub metadata: Value,
}

/// A row of the log, ready to be written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// A UUID of version 7.
    pub id: Uuid,
    /// Whose log it is.
    pub tenant: Tenant,
    /// When.
    pub occurred_at: Time,
    /// What.
    pub event: Event,
    /// By whom: kind and id.
    pub actor: (&'static str, String),
    /// `None` for success, else why it was refused.
    pub refused: Option<String>,
    /// From where.
    pub origin: Origin,
}

impl Event {
    /// An event without further facts.
    pub fn new(action: &'static str, target_type: &'static str, target_id: impl std::fmt::Display) -> Self {
        Self {
            action,
            target_type,
            target_id: target_id.to_string(),
            metadata: Value::Object(serde_json::Map::new()),
        }
    }

    /// The same event with facts.
    #[must_use]
    pub fn with(self, metadata: Value) -> Self {
        Self { metadata, ..self }
    }
}

/// Records a success in the request's transaction, and answers the row's id.
pub async fn record(cx: &mut Cx, event: Event) -> Result<Uuid> {
    write(cx, event, None).await
}

/// Records many successes of one request.
pub async fn record_all(cx: &mut Cx, events: Vec<Event>) -> Result<()> {
    let entries = events.into_iter().map(|event| row(cx, event, None)).collect::<Result<Vec<_>>>()?;
    Ok(store::insert(&mut cx.tx, &entries).await?)
}

/// Records a refusal in the request's transaction, and answers the row's id.
pub async fn record_refusal(cx: &mut Cx, event: Event, refused: &Refused) -> Result<Uuid> {
    write(cx, event, Some(refused.why.to_string())).await
}

/// The row of a success, for a statement that writes it together with the change.
pub fn entry(cx: &Cx, event: Event) -> Result<Entry> {
    row(cx, event, None)
}

async fn write(cx: &mut Cx, event: Event, refused: Option<String>) -> Result<Uuid> {
    let entry = row(cx, event, refused)?;
    let id = entry.id;
    store::insert(&mut cx.tx, &[entry]).await?;
    Ok(id)
}

fn row(cx: &Cx, event: Event, refused: Option<String>) -> Result<Entry> {
    Ok(Entry {
        id: ids::new(cx.now)?,
        tenant: cx.tenant.clone(),
        occurred_at: cx.now,
        event,
        actor: actor(&cx.caller),
        refused,
        origin: cx.origin.clone(),
    })
}

fn actor(caller: &Caller) -> (&'static str, String) {
    (caller.kind, caller.id.clone())
}
