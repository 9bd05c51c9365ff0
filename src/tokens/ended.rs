//! Whether a mark ended a credential, for reports on many at once: what the view `credential_history` says of one, told
//! from rows that were read in one go. By row the view looks up every ancestor, which a list can't afford.

use uuid::Uuid;

use crate::kit::clock::Time;

/// What the view `credential_standing` says of a credential without its ancestors.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Standing {
    /// The credential.
    pub jti: Uuid,
    /// Those it was derived from, the root first and the parent last.
    pub ancestors: Vec<Uuid>,
    /// "" while it stands.
    pub standing: String,
    /// Whether it is over for good.
    pub is_marked: bool,
    /// When the mark was made, where that is known.
    pub mark_at: Option<Time>,
    /// Why, "" if unknown.
    pub mark_reason: String,
}

/// The mark that ended a credential, its own or the nearest one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When, where that is known.
    pub at: Option<Time>,
    /// Why; never empty.
    pub reason: String,
}

/// What ended a credential, if anything did. `known` finds every ancestor that is there; one that is missing counts
/// against the credential.
pub fn ended<'a>(of: &Standing, known: impl Fn(&Uuid) -> Option<&'a Standing>) -> Option<Ended> {
    let above = || of.ancestors.iter().rev().filter_map(&known);
    if let Some(own) = of.mark("") {
        return Some(own);
    }
    let inherited = above().find_map(|ancestor| ancestor.mark("parent_"));
    let complete = above().count() == of.ancestors.len();
    inherited.or_else(|| (!complete).then(|| Ended { at: None, reason: "parent_unknown".to_owned() }))
}

impl Standing {
    fn mark(&self, relation: &str) -> Option<Ended> {
        let reason = match self.mark_reason.as_str() {
            "" => format!("{relation}{}", self.standing),
            reason => reason.to_owned(),
        };
        self.is_marked.then_some(Ended { at: self.mark_at, reason })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const AT: Time = datetime!(2026-12-01 12:00:00 UTC);

    fn chain(marks: &[&str]) -> Vec<Standing> {
        let jtis: Vec<Uuid> = (0..marks.len()).map(|place| Uuid::from_u128(place as u128)).collect();
        let standing = |(place, mark): (usize, &&str)| Standing {
            jti: jtis[place],
            ancestors: jtis[..place].to_vec(),
            standing: mark.to_string(),
            is_marked: !mark.is_empty() && *mark != "identity_suspended",
            mark_at: (*mark == "revoked").then_some(AT),
            mark_reason: if *mark == "revoked" { format!("reason {place}") } else { String::new() },
        };
        marks.iter().enumerate().map(standing).collect()
    }

    fn last(chain: &[Standing]) -> Option<Ended> {
        ended(chain.last().unwrap(), |jti| chain.iter().find(|standing| standing.jti == *jti))
    }

    #[test]
    fn the_nearest_mark_is_told() {
        let with_reason = |place| Some(Ended { at: Some(AT), reason: format!("reason {place}") });
        assert_eq!(last(&chain(&["", "", ""])), None);
        assert_eq!(last(&chain(&["revoked", "", ""])), with_reason(0));
        assert_eq!(last(&chain(&["revoked", "revoked", ""])), with_reason(1));
        assert_eq!(last(&chain(&["revoked", "", "revoked"])), with_reason(2));
    }

    #[test]
    fn what_sleeps_has_not_ended() {
        assert_eq!(last(&chain(&["identity_suspended", "identity_suspended"])), None);
    }

    #[test]
    fn a_mark_without_a_reason_is_named_by_what_it_stands_on() {
        let reason = |chain: Vec<Standing>| last(&chain).unwrap().reason;
        assert_eq!(reason(chain(&["", "identity_tokens_revoked"])), "identity_tokens_revoked");
        assert_eq!(reason(chain(&["identity_tokens_revoked", ""])), "parent_identity_tokens_revoked");
    }

    #[test]
    fn a_missing_ancestor_counts_against_a_credential() {
        let unknown = Some(Ended { at: None, reason: "parent_unknown".to_owned() });
        assert_eq!(last(&chain(&["", "", ""])[1..]), unknown);
        assert_eq!(last(&chain(&["", "revoked", ""])[1..]).unwrap().reason, "reason 1");
    }
}
