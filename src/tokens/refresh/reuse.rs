//! What becomes of a refresh token that was spent and comes again. Either its answer was lost on the way, or two hold it:
//! nobody can tell which (RFC 9700 section 4.14.2).

use std::str::FromStr;

use serde::Serialize;
use time::Duration;
use utoipa::ToSchema;

use crate::kit::clock::Time;

/// How a client wants it. All of them end the family when the token comes again after the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[schema(as = RefreshTokenReuse)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Reuse {
    /// There is no window: the family ends at once.
    Refuse,
    /// For 10 seconds the token is refused and nothing else happens, as for callers who refreshed at the same time.
    #[default]
    Quiet,
    /// For 30 seconds the answer is given again, with the same successor, as long as nobody has used that. Later, or once
    /// it was used, as above.
    Reissue,
}

/// What is done with one that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Refuse it, and nothing else.
    Refuse,
    /// Refuse it, and end the family.
    EndFamily,
    /// Answer with the successor that was made for it.
    Again,
}

impl Reuse {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Quiet, Self::Reissue];

    /// As it stands on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Quiet => "quiet",
            Self::Reissue => "reissue",
        }
    }

    /// How long after the rotation the spent token may come again.
    pub fn window(self) -> Duration {
        match self {
            Self::Refuse => Duration::ZERO,
            Self::Quiet => Duration::seconds(10),
            Self::Reissue => Duration::seconds(30),
        }
    }

    /// What becomes of a token that was spent at `rotated_at`.
    pub fn judge(self, rotated_at: Time, successor_spent: bool, now: Time) -> Verdict {
        let in_window = now < rotated_at + self.window();
        match self {
            Self::Reissue if in_window && !successor_spent => Verdict::Again,
            Self::Quiet | Self::Reissue if in_window => Verdict::Refuse,
            _ => Verdict::EndFamily,
        }
    }
}

impl FromStr for Reuse {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|reuse| reuse.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const AT: Time = datetime!(2026-12-01 12:00:00 UTC);

    #[test]
    fn the_window_ends_at_its_last_moment() {
        use Verdict::{Again, EndFamily, Refuse};
        for (reuse, seconds, unspent, spent) in [
            (Reuse::Refuse, -1, EndFamily, EndFamily),
            (Reuse::Refuse, 0, EndFamily, EndFamily),
            (Reuse::Quiet, -1, Refuse, Refuse),
            (Reuse::Quiet, 9, Refuse, Refuse),
            (Reuse::Quiet, 10, EndFamily, EndFamily),
            (Reuse::Reissue, -1, Again, Refuse),
            (Reuse::Reissue, 29, Again, Refuse),
            (Reuse::Reissue, 30, EndFamily, EndFamily),
        ] {
            let judge = |spent| reuse.judge(AT, spent, AT + Duration::seconds(seconds));
            assert_eq!((judge(false), judge(true)), (unspent, spent), "{reuse:?} after {seconds} s");
        }
    }
}
