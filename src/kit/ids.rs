//! Ids are UUIDs of version 7, made from the request's time, so that rows are stored in the order in which they came.

use uuid::{Builder, Uuid};

use super::clock::Time;
use super::error::Result;
use super::secret;

/// A new id whose leading 48 bits are `now` in milliseconds; the other 74 are random.
pub fn new(now: Time) -> Result<Uuid> {
    let random = secret::random::<10>()?;
    Ok(Builder::from_unix_timestamp_millis(milliseconds(now), &random).into_uuid())
}

/// The smallest id that can be made at `at`: the lower bound of a time range over ids.
pub fn lower_bound(at: Time) -> Uuid {
    Builder::from_unix_timestamp_millis(milliseconds(at), &[0; 10]).into_uuid()
}

fn milliseconds(at: Time) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let early = Time::from_unix_timestamp(1_790_000_000).unwrap();
        let late = early + time::Duration::milliseconds(1);
        assert!(new(early).unwrap() < new(late).unwrap());
        assert!(lower_bound(late) > new(early).unwrap());
        assert!(lower_bound(late) <= new(late).unwrap());
        assert_eq!(new(early).unwrap().get_version_num(), 7);
    }
}
