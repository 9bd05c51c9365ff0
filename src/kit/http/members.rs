//! Members that several bodies have: ids of other things, and ends.

use time::UtcOffset;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kit::clock::Time;
use crate::kit::error::{Kind, Result, refuse_at};

/// A name or a URI, for which a token may be meant.
#[derive(ToSchema)]
#[schema(pattern = r"^[!-~]+$")]
pub struct AudienceName(pub String);

/// A UUID; "" is none.
#[derive(ToSchema)]
#[schema(pattern = "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$")]
pub struct IdOrEmpty(pub String);

/// A time of RFC 3339; "" is none.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))?$"
)]
pub struct TimeOrEmpty(pub String);

/// The id that the member at `at` names; "" names none.
pub fn id(at: &'static str, text: Option<&str>) -> Result<Option<Uuid>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let malformed = |_| refuse_at(Kind::Invalid, format!("{at} is not a UUID"), at, "");
    Uuid::try_parse(text).map(Some).map_err(malformed)
}

/// The member `expires_at`: a moment that lies ahead, as RFC 3339; the empty text means none.
pub fn expires_at(text: &str, now: Time) -> Result<Option<Time>> {
    if text.is_empty() {
        return Ok(None);
    }
    // A moment of the last year may have none in UTC.
    let utc = |at: Time| at.checked_to_offset(UtcOffset::UTC);
    let at = Time::parse(text, &Rfc3339).ok().and_then(utc).ok_or_else(|| {
        let why = "expires_at is a time of RFC 3339, as 2030-01-31T00:00:00Z";
        refuse_at(Kind::Invalid, why, "body.expires_at", "")
    })?;
    if at <= now {
        return Err(refuse_at(Kind::InvalidRequest, "expires_at lies in the past", "body.expires_at", text));
    }
    Ok(Some(at))
}
