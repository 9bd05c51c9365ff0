//! The log as a file: counted first, so that it is refused before it begins, then sent a page at a time while the client
//! takes it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use utoipa::ToSchema;
use uuid::Uuid;

use super::read::{Filter, Row, Wanted};
use super::store;
use crate::kit::app::App;
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Kind, Result, refuse, refuse_at};

/// How many rows one file has at the most.
pub const MOST: i64 = 100_000;

/// How many rows are read at once.
const PAGE: i64 = 1000;

/// How long a client may take for a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shape of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AuditExportFormat)]
pub enum Format {
    /// A line of JSON for each row.
    #[default]
    #[serde(alias = "jsonl")]
    Ndjson,
    /// One list.
    Json,
    /// RFC 4180, with a first line of names.
    Csv,
}

/// What to export.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(as = AuditExport)]
pub struct Order {
    /// The shape of the file.
    #[serde(default)]
    pub format: Format,
    /// Which rows; both ends of the time must be there.
    #[serde(flatten)]
    pub filter: Filter,
}

/// A file that may be sent.
#[derive(Debug)]
pub struct Export {
    /// Its shape.
    pub format: Format,
    /// How many rows it has.
    pub rows: i64,
    wanted: Wanted,
    tenant: Tenant,
}

/// Checks the order and counts the rows.
pub async fn prepare(cx: &mut Cx, order: Order) -> Result<Export> {
    let wanted = order.filter.read()?;
    if wanted.since.is_none() || wanted.until.is_none() {
        let why = "name the time to export: since and until";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.since", ""));
    }
    let rows = store::count(cx, &wanted, MOST + 1).await?;
    if rows > MOST {
        let why = format!("more than {MOST} rows match: export a shorter time");
        return Err(refuse(Kind::InvalidRequest, why));
    }
    Ok(Export { format: order.format, rows, wanted, tenant: cx.tenant.clone() })
}

impl Export {
    /// The media type and the name of the file.
    pub fn head(&self) -> (&'static str, String) {
        let (media, ending) = match self.format {
            Format::Ndjson => ("application/x-ndjson", "ndjson"),
            Format::Json => ("application/json", "json"),
            Format::Csv => ("text/csv; charset=utf-8", "csv"),
        };
        let day =
            |at: Option<crate::kit::clock::Time>| at.map(|at| at.date().to_string()).unwrap_or_default();
        let name = format!("audit-{}-{}.{ending}", day(self.wanted.since), day(self.wanted.until));
        (media, name)
    }

    /// The file, without the row that tells of the export itself. One that breaks off ends without its proper end, so
    /// that the client notices.
    pub fn send(self, app: Arc<App>, own: Uuid) -> Body {
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
        tokio::spawn(async move {
            if self.write(&app, &mut sender, own).await.is_err() {
                sender.abort(std::io::Error::other("the export broke off"));
            }
        });
        Body::new(body)
    }

    async fn write(&self, app: &App, sender: &mut Sender<Bytes, std::io::Error>, own: Uuid) -> Result<()> {
        let mut text = match self.format {
            Format::Ndjson => String::new(),
            Format::Json => "[".to_owned(),
            Format::Csv => format!("{}\r\n", COLUMNS.join(",")),
        };
        let (mut before, mut is_first, mut is_last) = (None, true, false);
        while !is_last {
            let mut db = app.connection().await?;
            let page = store::page(&mut db, &self.tenant, &self.wanted, before, PAGE).await?;
            drop(db);
            is_last = i64::try_from(page.len())? < PAGE;
            before = page.last().map(|row| row.id);
            for row in page.iter().filter(|row| row.id != own) {
                self.push(row, is_first, &mut text)?;
                is_first = false;
            }
            if is_last && self.format == Format::Json {
                text.push(']');
            }
            timeout(PATIENCE, sender.send_data(Bytes::from(std::mem::take(&mut text)))).await??;
        }
        Ok(())
    }

    fn push(&self, row: &Row, is_first: bool, text: &mut String) -> Result<()> {
        match self.format {
            Format::Ndjson => {
                text.push_str(&serde_json::to_string(row)?);
                text.push('\n');
            }
            Format::Json => {
                text.push_str(if is_first { "" } else { "," });
                text.push_str(&serde_json::to_string(row)?);
            }
            Format::Csv => text.push_str(&line(row)?),
        }
        Ok(())
    }
}

const COLUMNS: [&str; 12] = [
    "id",
    "created_at",
    "actor_id",
    "actor_type",
    "action",
    "target_type",
    "target_id",
    "status",
    "reason",
    "ip",
    "request_id",
    "metadata",
];

fn line(row: &Row) -> Result<String> {
    let cells = [
        row.id.to_string(),
        row.created_at.format(&Rfc3339)?,
        row.actor_id.clone(),
        row.actor_type.clone(),
        row.action.clone(),
        row.target_type.clone(),
        row.target_id.clone(),
        row.status.clone(),
        row.reason.clone(),
        row.ip.clone(),
        row.request_id.clone(),
        row.metadata.to_string(),
    ];
    Ok(format!("{}\r\n", cells.map(|text| cell(&text)).join(",")))
}

/// A cell of RFC 4180. What a spreadsheet would take for a formula gets a quote in front.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_no_formula() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@sum(a,b)", "\"'@sum(a,b)\""),
            ("-1", "'-1"),
            ("\tx", "'\tx"),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
