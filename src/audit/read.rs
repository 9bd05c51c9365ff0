//! Reading the log: pages, newest first, and one row.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::http::members::TimeOrEmpty;
use crate::kit::secret::sha256;
use crate::kit::{ids, timestamp};

/// How long a page token works. Whoever comes later begins anew.
const TOKEN_LIVES: Duration = Duration::DAY;

/// A row as the API shows it. No member is ever null.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = AuditRow)]
pub struct Row {
    /// A UUID of version 7.
    pub id: Uuid,
    /// What happened; `action` says the same.
    pub event: String,
    /// What happened.
    pub action: String,
    /// What kind of caller did it.
    pub actor_type: String,
    /// Which one.
    pub actor_id: String,
    /// To what kind of thing.
    pub target_type: String,
    /// To which.
    pub target_id: String,
    /// `success` or `failure`.
    pub status: String,
    /// Why it was refused; "" when it was not.
    pub reason: String,
    /// The client's address.
    pub ip: String,
    /// The answer's `X-Request-ID`.
    pub request_id: String,
    /// Further facts.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
}

/// Which rows to show. An absent filter lets all through. `resource` is another word for the target; no row has an
/// `org_id` or a `session_id`, so a filter that names one finds none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = AuditFilter)]
pub struct Filter {
    /// Which caller.
    pub actor_id: Option<String>,
    /// What kind of caller.
    pub actor_type: Option<String>,
    /// What happened; several are separated by commas.
    pub action: Option<String>,
    /// To which thing.
    #[serde(alias = "resource_id")]
    pub target_id: Option<String>,
    /// To what kind of thing.
    #[serde(alias = "resource_type")]
    pub target_type: Option<String>,
    /// `success` or `failure`.
    #[schema(pattern = "^(success|failure|refused)?$")]
    pub status: Option<String>,
    /// From which address.
    pub ip: Option<String>,
    /// Of which may-act grant, as the metadata tell.
    pub grant_id: Option<String>,
    /// No row has one.
    pub org_id: Option<String>,
    /// No row has one.
    pub session_id: Option<String>,
    /// Not before this moment.
    #[serde(alias = "from")]
    #[schema(value_type = Option<TimeOrEmpty>)]
    pub since: Option<String>,
    /// Not after this moment.
    #[serde(alias = "to")]
    #[schema(value_type = Option<TimeOrEmpty>)]
    pub until: Option<String>,
}

/// A filter whose members were read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As it was asked.
    pub filter: Filter,
    /// Any of these.
    pub actions: Vec<String>,
    /// `success` or `refused`.
    pub outcome: Option<&'static str>,
    /// From this moment on.
    pub since: Option<Time>,
    /// To this moment, and in it.
    pub until: Option<Time>,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditPage)]
pub struct Page {
    /// The rows, newest first.
    pub data: Vec<Row>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

impl Filter {
    /// Reads the members; what can't be read is refused.
    pub fn read(self) -> Result<Wanted> {
        let words = |text: &String| -> Vec<String> {
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let outcome = match self.status.as_deref() {
            None | Some("") => None,
            Some("success") => Some("success"),
            Some("failure" | "refused") => Some("refused"),
            Some(_) => return Err(wrong("status", "status is success or failure")),
        };
        if self.ip.as_ref().is_some_and(|ip| !ip.is_empty() && ip.parse::<IpAddr>().is_err()) {
            return Err(wrong("ip", "ip is an address of IPv4 or IPv6"));
        }
        Ok(Wanted {
            actions: self.action.as_ref().map(words).unwrap_or_default(),
            outcome,
            since: moment("since", self.since.as_deref())?,
            until: moment("until", self.until.as_deref())?,
            filter: self,
        })
    }
}

fn moment(name: &'static str, text: Option<&str>) -> Result<Option<Time>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time =
        timestamp::parse(text).ok_or_else(|| wrong(name, "a time is of the form 2030-01-31T00:00:00Z"))?;
    Ok(Some(time))
}

fn wrong(name: &'static str, why: &'static str) -> Error {
    refuse_at(Kind::InvalidRequest, why, format!("query.{name}"), "")
}

/// A page of the tenant's log.
pub async fn list(app: &App, cx: &mut Cx, wanted: &Wanted, cursor: Option<&str>, limit: i64) -> Result<Page> {
    let place = Place::of(&cx.tenant, wanted)?;
    let before = cursor.map(|token| place.open(app, token, cx.now)).transpose()?;
    let mut data = store::page(&mut cx.tx, &cx.tenant, wanted, before, limit + 1).await?;
    let has_more = i64::try_from(data.len())? > limit;
    data.truncate(usize::try_from(limit)?);
    let last = data.last().filter(|_| has_more);
    let next_cursor = last.map(|row| place.seal(app, row.id, cx.now)).transpose()?;
    Ok(Page { data, next_cursor, has_more })
}

/// One row of the tenant's log.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<Row> {
    let row = store::get(cx, id).await?;
    row.ok_or_else(|| refuse(Kind::NotFound, "there is no row with this id in the audit log"))
}

/// What a page token is good for: this list of this tenant with this filter, and nothing else.
struct Place(String);

impl Place {
    fn of(tenant: &Tenant, wanted: &Wanted) -> Result<Self> {
        let filter = sha256(&serde_json::to_vec(&wanted.filter)?);
        Ok(Self(format!("page of audit-logs {}/{} {filter:02x?}", tenant.account_id, tenant.project_id)))
    }

    fn seal(&self, app: &App, last: Uuid, now: Time) -> Result<String> {
        // The second id tells when the token was made.
        let plain = [last.into_bytes(), ids::lower_bound(now).into_bytes()].concat();
        Ok(URL_SAFE_NO_PAD.encode(app.keys.seal(&self.0, &plain)?))
    }

    fn open(&self, app: &App, token: &str, now: Time) -> Result<Uuid> {
        let stale = || {
            let why = "the cursor is not one of this list with this filter, or it is too old: begin anew without it";
            refuse_at(Kind::InvalidRequest, why, "query.cursor", "")
        };
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| stale())?;
        let plain = app.keys.open_sealed(&self.0, &sealed).map_err(|_| stale())?;
        let (last, made) = plain.split_at_checked(16).ok_or_else(stale)?;
        let made = Uuid::from_slice(made).map_err(|_| stale())?;
        if made < ids::lower_bound(now - TOKEN_LIVES) {
            return Err(stale());
        }
        Uuid::from_slice(last).map_err(|_| stale())
    }
}
