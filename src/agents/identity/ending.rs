//! What ends soon: identities, policies and API keys that still work and have an end.

use serde::Serialize;
use time::Duration;
use utoipa::ToSchema;

use super::{Identity, store};
use crate::api_keys::{self, ApiKey};
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::policies::{self, CredentialPolicy};

/// How many of each are answered at the most.
const MOST: i64 = 1000;

/// The longest time ahead.
const LONGEST: Duration = Duration::days(365);

/// What ends within a time, the nearest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ending {
    /// The time, as it was asked.
    pub within: String,
    /// Active identities.
    pub identities: Vec<Identity>,
    /// Active policies.
    pub credential_policies: Vec<CredentialPolicy>,
    /// Live keys.
    pub api_keys: Vec<ApiKey>,
}

/// What ends within a time such as `7d`, `2w` or `36h30m`.
pub async fn ending(cx: &mut Cx, within: &str) -> Result<Ending> {
    let span = duration(within).filter(|span| span.is_positive() && *span <= LONGEST).ok_or_else(|| {
        let why = "within is a time such as 7d, 2w or 36h30m, at most 365d";
        refuse_at(Kind::InvalidRequest, why, "query.within", "")
    })?;
    let until = cx.now + span;
    Ok(Ending {
        within: within.to_owned(),
        identities: store::ending(cx, until, MOST).await?,
        credential_policies: policies::ending(cx, until, MOST).await?,
        api_keys: api_keys::ending(cx, until, MOST).await?,
    })
}

/// Numbers, each with its unit: `w`, `d`, `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits =
            rest.find(|char: char| !char.is_ascii_digit()).filter(|digits| (1..=9).contains(digits))?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|char: char| char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let milliseconds = match unit {
            "w" => 604_800_000,
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        let number: i64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::milliseconds(number.checked_mul(milliseconds)?))?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        for (text, expected) in [
            ("7d", Duration::days(7)),
            ("2w", Duration::weeks(2)),
            ("36h30m", Duration::minutes(36 * 60 + 30)),
            ("1h0m5s", Duration::seconds(3605)),
            ("1500ms", Duration::milliseconds(1500)),
        ] {
            assert_eq!(duration(text), Some(expected), "{text}");
        }
        for bad in ["7", "d", "-7d", "7 d", "7y", "1.5h", "9999999999d", "7dd", "ä"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
