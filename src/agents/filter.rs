//! Which agents a list shows, as its query says.

use serde_json::json;

use super::types::{IdentityType, TrustLevel};
use super::{Filter, Status};
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::Query;

/// Reads the filter.
pub(super) fn of(query: &Query) -> Result<Filter> {
    let (metadata_key, metadata) = match query.one("metadata")? {
        Some(text) if text.contains(':') => (None, query.pair("metadata")?),
        key => (key.map(str::to_owned), None),
    };
    let code_agent = match query.one("identity_class")? {
        None => None,
        Some("custom") => Some(false),
        Some("code_agent") => Some(true),
        Some(other) => {
            let why = "identity_class is custom or code_agent";
            return Err(refuse_at(Kind::InvalidRequest, why, "query.identity_class", other));
        }
    };
    Ok(Filter {
        identity_types: query.words::<IdentityType>("identity_type")?,
        statuses: query.words::<Status>("status")?,
        trust_levels: query.words::<TrustLevel>("trust_level")?,
        label: query.pair("label")?,
        product: query.one("product")?.map(|product| json!({ "product": product })),
        metadata_key,
        metadata,
        is_active: query.flag("is_active")?,
        search: query.one("search")?.map(str::to_owned),
        code_agent,
        origin: query.one("origin")?.map(str::to_owned),
        owner_user_id: query.one("owner_user_id")?.map(str::to_owned),
        ownerless: query.flag("ownerless")?.unwrap_or(false),
    })
}
