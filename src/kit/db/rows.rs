//! Rows of a grouped read. The group hands each to whoever asked for it and goes on; they read it for themselves, at the same
//! time and not one after the other.

use std::sync::Arc;

use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Decode, FromRow, Row as _, Type};

/// A row that several may have asked for.
pub type Row = Arc<PgRow>;

/// For each that was asked, the row whose key, in this column, is its own.
pub fn to_askers<A, K>(
    rows: Vec<PgRow>,
    column: &str,
    asked: &[A],
    is_of: impl Fn(&K, &A) -> bool,
) -> sqlx::Result<Vec<Option<Row>>>
where
    K: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    let keyed = |row: PgRow| sqlx::Result::Ok((row.try_get::<K, _>(column)?, Arc::new(row)));
    let rows: Vec<_> = rows.into_iter().map(keyed).collect::<sqlx::Result<_>>()?;
    let find = |one: &A| rows.iter().find(|(key, _)| is_of(key, one)).map(|(_, row)| row.clone());
    Ok(asked.iter().map(find).collect())
}

/// What a row says.
pub fn read<T: for<'r> FromRow<'r, PgRow>>(row: Option<Row>) -> sqlx::Result<Option<T>> {
    row.map(|row| T::from_row(&row)).transpose()
}
