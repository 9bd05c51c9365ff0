//! Who may act for whom: the grants that an exchange by a client asks for, and the rule by which it reads them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::{self, MayActFilter};
use crate::access::scope::ScopeName;
use crate::access::scope::{Ceiling, Scopes, check_grantable};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::http::members::TimeOrEmpty;
use crate::kit::{ids, timestamp};
use crate::tenancy;

/// The most hops that a grant may allow.
const MOST_HOPS: i64 = 64;

/// A grant: its actor may act for its principal. A row, an answer, and what the token path reads as JSON.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct MayAct {
    /// A UUID of version 7.
    pub id: Uuid,
    /// The actor, who may act.
    pub from_id: String,
    /// The principal acted for.
    pub to_id: String,
    /// How many actors a chain may have, this one included.
    pub max_hops: i32,
    /// What may be asked for; empty means no limit.
    pub scopes: Vec<String>,
    /// When it ends, if ever.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub expires_at: Option<Time>,
    /// When it was taken back.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub revoked_at: Option<Time>,
    /// Who made it, "" if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
}

/// What an exchange asks of the grants. Either party goes by several names: id, URI, external id, `client_id`.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The names of whoever wants to act.
    pub actor: &'a [&'a str],
    /// The names of those he wants to act for: the subject and whoever delegated to it last.
    pub principal: &'a [&'a str],
    /// How many actors the subject's chain has already.
    pub depth: usize,
    /// When.
    pub now: Time,
}

impl MayAct {
    /// Whether it stands at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }

    /// What it allows to be granted.
    pub fn ceiling(&self) -> Ceiling {
        Scopes::ceiling(Some(self.scopes.clone()))
    }

    fn names(&self, question: &Question<'_>) -> bool {
        question.actor.contains(&self.from_id.as_str()) && question.principal.contains(&self.to_id.as_str())
    }

    fn has_hops_left(&self, depth: usize) -> bool {
        usize::try_from(self.max_hops).is_ok_and(|most| depth < most)
    }
}

/// The newest live grant by which the actor may act for the principal at this depth, or the refusal.
pub fn authorize<'a>(grants: &'a [MayAct], question: &Question<'_>) -> Result<&'a MayAct> {
    let live = || grants.iter().filter(|grant| grant.names(question) && grant.is_live(question.now));
    if live().next().is_none() {
        return Err(refuse(Kind::Forbidden, "no may-act grant lets the actor act for the subject"));
    }
    live()
        .filter(|grant| grant.has_hops_left(question.depth))
        .max_by_key(|grant| (grant.created_at, grant.id))
        .ok_or_else(|| {
            let why = "the subject has been delegated as often as the may-act grant's max_hops allows";
            refuse(Kind::Forbidden, why)
        })
}

/// A grant to be made. Members it does not know are ignored.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct NewMayAct {
    /// The actor.
    #[serde(default)]
    #[schema(required = true, pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]+$")]
    pub from_id: String,
    /// The principal.
    #[serde(default)]
    #[schema(required = true, pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]+$")]
    pub to_id: String,
    /// 1 when absent or less.
    #[schema(maximum = 64)]
    pub max_hops: Option<i64>,
    /// Empty means no limit.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub scopes: Option<Vec<String>>,
    /// A time to come.
    #[schema(value_type = Option<TimeOrEmpty>)]
    pub expires_at: Option<String>,
}

impl NewMayAct {
    /// What the audit log keeps, within bounds: the values are the caller's.
    pub fn facts(&self) -> Value {
        let short = |text: &str| text.chars().take(255).collect::<String>();
        json!({ "from_id": short(&self.from_id), "to_id": short(&self.to_id) })
    }
}

/// Makes a grant.
pub async fn create(app: &App, cx: &mut Cx, new: NewMayAct) -> Result<MayAct> {
    let limits = &app.config.limits;
    for (name, at, id) in [("from_id", "body.from_id", &new.from_id), ("to_id", "body.to_id", &new.to_id)] {
        check_text(name, id, limits)?;
        if id.is_empty() || id.chars().any(|char| char.is_whitespace() || char.is_control()) {
            let why = format!("{name} is the id of an agent or a client: it is not empty and holds no space");
            return Err(refuse_at(Kind::InvalidRequest, why, at, ""));
        }
    }
    let scopes = new.scopes.unwrap_or_default();
    let scopes = Scopes::of(scopes.iter().map(String::as_str), limits.scopes)?;
    check_grantable(&scopes, "body.scopes", |scope| cx.caller.holds(scope))?;
    let grant = MayAct {
        id: ids::new(cx.now)?,
        from_id: new.from_id,
        to_id: new.to_id,
        max_hops: max_hops(new.max_hops.unwrap_or(1))?,
        scopes: scopes.as_slice().to_vec(),
        expires_at: new.expires_at.as_deref().map(|text| end(text, cx.now)).transpose()?.flatten(),
        revoked_at: None,
        created_by: cx.caller.name().to_owned(),
        created_at: cx.now,
    };
    // Only now is anything written: a refusal is committed, and must not leave a tenant behind.
    tenancy::ensure(cx).await?;
    Ok(store::insert_may_act(cx, &grant).await?)
}

fn max_hops(asked: i64) -> Result<i32> {
    let asked = asked.max(1);
    i32::try_from(asked).ok().filter(|_| asked <= MOST_HOPS).ok_or_else(|| {
        let why = format!("max_hops is {MOST_HOPS} at the most");
        refuse_at(Kind::InvalidRequest, why, "body.max_hops", asked.to_string())
    })
}

/// A moment that lies ahead; the empty text means none.
fn end(text: &str, now: Time) -> Result<Option<Time>> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = timestamp::parse(text).ok_or_else(|| {
        let why = "expires_at is a time of RFC 3339, as 2030-01-31T00:00:00Z";
        refuse_at(Kind::InvalidRequest, why, "body.expires_at", "")
    })?;
    if at <= now {
        return Err(refuse_at(Kind::InvalidRequest, "expires_at lies in the past", "body.expires_at", text));
    }
    Ok(Some(at))
}

/// The grants that match, newest first, and how many there are of them.
pub async fn list(cx: &mut Cx, filter: &MayActFilter) -> Result<(Vec<MayAct>, i64)> {
    Ok(store::list_may_act(cx, filter).await?)
}

/// Takes a grant back. Doing it again changes nothing. What was exchanged by it lives out its time.
pub async fn revoke(cx: &mut Cx, id: Uuid) -> Result<MayAct> {
    let unknown = || refuse(Kind::NotFound, "there is no may-act grant with this id");
    store::revoke_may_act(cx, id).await?.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::kit::error::Error;

    const NOW: Time = datetime!(2026-12-01 12:00:00 UTC);

    fn grant(from_id: &str, to_id: &str) -> MayAct {
        MayAct {
            id: ids::new(NOW).unwrap(),
            from_id: from_id.to_owned(),
            to_id: to_id.to_owned(),
            max_hops: 1,
            scopes: Vec::new(),
            expires_at: None,
            revoked_at: None,
            created_by: String::new(),
            created_at: NOW,
        }
    }

    fn question<'a>(actor: &'a [&'a str], principal: &'a [&'a str], depth: usize) -> Question<'a> {
        Question { actor, principal, depth, now: NOW }
    }

    fn why(result: Result<&MayAct>) -> (Kind, String) {
        match result {
            Err(Error::Refused(refused)) => (refused.kind, refused.why.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_grant_works_in_its_direction_and_under_any_name_of_both() {
        let grants = [grant("actor", "principal")];
        let names = question(&["id-1", "actor"], &["principal", "id-2"], 0);
        assert_eq!(authorize(&grants, &names).unwrap().id, grants[0].id);
        for (actor, principal) in [("principal", "actor"), ("actor", "actor"), ("actor", "other"), ("", "")] {
            let (kind, _) = why(authorize(&grants, &question(&[actor], &[principal], 0)));
            assert_eq!(kind, Kind::Forbidden, "{actor} for {principal}");
        }
        assert!(authorize(&grants, &question(&[], &[], 0)).is_err());
        assert!(authorize(&[], &names).is_err());
    }

    #[test]
    fn a_grant_that_has_ended_lets_nobody_act() {
        let ask = question(&["a"], &["p"], 0);
        for (expires_at, revoked_at, lives) in [
            (None, None, true),
            (Some(NOW + Duration::SECOND), None, true),
            (Some(NOW), None, false),
            (None, Some(NOW - Duration::SECOND), false),
            (Some(NOW + Duration::DAY), Some(NOW), false),
        ] {
            let grants = [MayAct { expires_at, revoked_at, ..grant("a", "p") }];
            assert_eq!(authorize(&grants, &ask).is_ok(), lives, "{expires_at:?} {revoked_at:?}");
        }
    }

    #[test]
    fn hops_are_counted_with_the_one_to_come() {
        for (max_hops, depth, allowed) in
            [(1, 0, true), (1, 1, false), (3, 2, true), (3, 3, false), (0, 0, false), (-1, 0, false)]
        {
            let grants = [MayAct { max_hops, ..grant("a", "p") }];
            let result = authorize(&grants, &question(&["a"], &["p"], depth));
            assert_eq!(result.is_ok(), allowed, "{max_hops} at {depth}");
        }
        let grants = [grant("a", "p")];
        assert!(why(authorize(&grants, &question(&["a"], &["p"], 1))).1.contains("max_hops"));
    }

    #[test]
    fn of_several_the_newest_that_allows_the_depth_decides() {
        let older = MayAct { max_hops: 3, created_at: NOW - Duration::HOUR, ..grant("a", "p") };
        let newer = MayAct { scopes: vec!["read".to_owned()], ..grant("a", "p") };
        let dead = MayAct { revoked_at: Some(NOW), created_at: NOW + Duration::HOUR, ..grant("a", "p") };
        let grants = [older.clone(), newer.clone(), dead];
        let found = |depth| authorize(&grants, &question(&["a"], &["p"], depth)).unwrap().id;
        assert_eq!(found(0), newer.id);
        assert_eq!(found(1), older.id);
        assert_eq!(older.ceiling(), None);
        assert_eq!(newer.ceiling(), Some(Scopes::parse("read", 1).unwrap()));
    }

    #[test]
    fn a_row_as_the_database_prints_it_is_read() {
        let row = json!({
            "id": "01890000-0000-7000-8000-000000000000", "account_id": "acme", "from_id": "a", "to_id": "p",
            "max_hops": 1, "scopes": [], "expires_at": null, "revoked_at": null, "created_by": "",
            "created_at": "2026-12-01T12:00:00.123456+00:00",
        });
        let read: MayAct = serde_json::from_value(row).unwrap();
        assert!(read.is_live(NOW));
        let shown = serde_json::to_value(&read).unwrap();
        assert_eq!(
            shown.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["created_at", "from_id", "id", "max_hops", "scopes", "to_id"]
        );
        assert_eq!(shown["created_at"], "2026-12-01T12:00:00.123456Z");
    }

    #[test]
    fn hops_and_ends_are_bounded() {
        assert_eq!([-5, 0, 1, 64].map(|asked| max_hops(asked).unwrap()), [1, 1, 1, 64]);
        for asked in [65, i64::MAX] {
            assert!(max_hops(asked).is_err(), "{asked}");
        }
        assert_eq!(end("", NOW).unwrap(), None);
        assert_eq!(end("2027-01-01", NOW).unwrap(), Some(datetime!(2027-01-01 00:00:00 UTC)));
        for text in ["2026-12-01T12:00:00Z", "2020-01-01", "tomorrow"] {
            assert!(end(text, NOW).is_err(), "{text}");
        }
    }
}
