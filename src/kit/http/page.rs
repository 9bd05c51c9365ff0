//! Pages by limit and offset, as the native API's lists take them.

use super::extract::Query;
use crate::kit::error::{Kind, Result, refuse_at};

/// Which rows of a list to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many at the most.
    pub limit: i64,
    /// How many to pass over.
    pub offset: i64,
}

impl Page {
    /// Reads `limit` (1 to 100, default 20) and `offset` (default 0).
    pub fn of(query: &Query) -> Result<Self> {
        Ok(Self {
            limit: number(query, "limit", 20, 1..=100)?,
            offset: number(query, "offset", 0, 0..=i64::from(i32::MAX))?,
        })
    }

    /// The same for a list whose clients know no pages: it is answered whole unless it is longer than `most`.
    pub fn up_to(query: &Query, most: i64) -> Result<Self> {
        let offset = number(query, "offset", 0, 0..=i64::from(i32::MAX))?;
        Ok(Self { limit: number(query, "limit", most, 1..=most)?, offset })
    }
}

/// A whole number of the query within its range.
pub fn number(
    query: &Query,
    name: &'static str,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<i64> {
    let Some(text) = query.one(name)? else { return Ok(default) };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let why = format!("{name} is a whole number from {} to {}", range.start(), range.end());
        refuse_at(Kind::Invalid, why, format!("query.{name}"), text)
    })
}
