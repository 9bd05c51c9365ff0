//! The one place that reads the time. Tests move the hand instead of waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use time::{Duration, OffsetDateTime};

/// A moment in UTC, to the microsecond (what Postgres keeps).
pub type Time = OffsetDateTime;

/// Where "now" comes from: read once per request, into `Cx::now`.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Local time plus the measured distance to the database's clock, in microseconds.
    System { offset: AtomicI64 },
    /// Microseconds since 1970; moves only when told.
    Fixed(AtomicI64),
}

impl Clock {
    /// The machine's clock; [`Clock::follow`] brings it onto the database's.
    pub fn system() -> Self {
        Self(Arc::new(Source::System { offset: AtomicI64::new(0) }))
    }

    /// A clock that stands still at `at`, for tests.
    pub fn fixed(at: Time) -> Self {
        Self(Arc::new(Source::Fixed(AtomicI64::new(micros(at)))))
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        match &*self.0 {
            Source::System { offset } => local() + Duration::microseconds(offset.load(Ordering::Relaxed)),
            Source::Fixed(at) => from_micros(at.load(Ordering::SeqCst)),
        }
    }

    /// Takes the database's time as right, so that replicas agree. The database was asked at `asked`, a time of
    /// [`local`], and answers just now, so its time is taken for the middle. What the journey may explain changes
    /// nothing: time must not jump back and forth with the load. A fixed clock stays where it is.
    pub fn follow(&self, asked: Time, database: Time) -> Duration {
        let answered = local();
        let journey = answered - asked;
        let drift: Duration = database + journey / 2 - answered;
        if let Source::System { offset } = &*self.0 {
            let known = Duration::microseconds(offset.load(Ordering::Relaxed));
            if (drift - known).abs() > journey.max(STEADY) {
                offset.store(i64::try_from(drift.whole_microseconds()).unwrap_or(0), Ordering::Relaxed);
            }
        }
        drift
    }

    /// How far the machine's clock was from the database's when last compared.
    pub fn drift(&self) -> Duration {
        match &*self.0 {
            Source::System { offset } => Duration::microseconds(offset.load(Ordering::Relaxed)),
            Source::Fixed(_) => Duration::ZERO,
        }
    }

    /// Moves a fixed clock; a system clock can't be moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Fixed(at) = &*self.0 {
            at.fetch_add(i64::try_from(by.whole_microseconds()).unwrap_or(0), Ordering::SeqCst);
        }
    }
}

/// Less distance to the database's clock than this is left alone.
const STEADY: Duration = Duration::milliseconds(20);

/// The machine's own clock, for [`Clock::follow`] only.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn local() -> Time {
    from_micros(micros(OffsetDateTime::now_utc()))
}

fn micros(at: Time) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

fn from_micros(micros: i64) -> Time {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Measures how long something took, for metrics only: no decision rests on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    /// Whole milliseconds since the start.
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_follows_the_database_but_not_the_journey() {
        let clock = Clock::system();
        let hour = Duration::hours(1);
        clock.follow(local(), local() + hour);
        assert!((clock.now() - local() - hour).abs() < Duration::seconds(1));
        let before = clock.drift();
        // Half a second on the way explains a quarter of a second.
        clock.follow(local() - Duration::milliseconds(500), local() + hour - Duration::milliseconds(100));
        assert_eq!(clock.drift(), before);
        clock.follow(local(), local());
        assert!(clock.drift().abs() < Duration::seconds(1));
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = Clock::fixed(Time::UNIX_EPOCH);
        clock.follow(local(), local());
        assert_eq!(clock.now(), Time::UNIX_EPOCH);
        clock.advance(Duration::SECOND);
        assert_eq!(clock.now(), Time::UNIX_EPOCH + Duration::SECOND);
    }
}
