//! How a person comes: by a link that an administrator makes for them. It opens once, and the browser that opened it is
//! that person's for a quarter of an hour.

use serde::{Deserialize, Serialize};
use time::Duration;
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Person, get, store};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::ids;
use crate::kit::secret::{Secret, SecretHash};

/// How long a link waits to be opened, if nothing else is asked for, and at the most.
const WAITS: i64 = 3600;
const WAITS_AT_MOST: i64 = 7 * 24 * 3600;

/// How long a browser is a person's.
const REMEMBERED: Duration = Duration::minutes(15);

/// Where a link may lead, by what it is for.
const AUTHORIZE: (&str, &str) = ("authorize", "/oauth2/authorize");

/// A link to be made.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewLink {
    /// What for: `authorize`.
    #[schema(required = true, pattern = "^authorize$")]
    pub purpose: String,
    /// Where to: path and query of this server.
    #[schema(required = true, pattern = "^/oauth2/authorize")]
    pub to: String,
    /// How long it waits to be opened, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    pub expires_in: Option<i64>,
}

/// A link as it is shown, once.
#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// Its id, for the audit log.
    pub id: Uuid,
    /// The address to hand to the person, and to nobody else.
    pub url: String,
    /// Until when it opens.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub expires_at: Time,
}

/// What is stored of a link.
#[derive(Debug)]
pub(super) struct Row {
    pub id: Uuid,
    pub person_id: Uuid,
    pub person_epoch: i32,
    pub target: String,
    pub hash: SecretHash,
    pub expires_at: Time,
}

/// A link that was opened just now.
#[derive(Debug)]
pub struct Opened {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub person: Person,
    /// Where to go on.
    pub target: String,
    /// What the browser presents from now on.
    pub cookie: Secret,
}

/// A browser that opened a link and presents its cookie.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub person: Person,
    /// The link that it opened.
    pub link_id: Uuid,
}

/// Makes a link for a person of the tenant.
pub async fn make_link(app: &App, cx: &mut Cx, person_id: Uuid, new: &NewLink) -> Result<Link> {
    let user = get(cx, person_id).await?;
    if !user.is_active {
        return Err(refuse(Kind::Conflict, "the user is not active"));
    }
    if new.purpose != AUTHORIZE.0 {
        return Err(refuse_at(Kind::InvalidRequest, "purpose is authorize", "body.purpose", ""));
    }
    check_target(app.config.issuer(), &new.to)?;
    let seconds = new.expires_in.unwrap_or(WAITS);
    if !(1..=WAITS_AT_MOST).contains(&seconds) {
        let why = format!("expires_in is a number of seconds from 1 to {WAITS_AT_MOST}");
        return Err(refuse_at(Kind::InvalidRequest, why, "body.expires_in", seconds.to_string()));
    }
    let secret = Secret::generate::<32>("")?;
    let row = Row {
        id: ids::new(cx.now)?,
        person_id,
        person_epoch: user.epoch,
        target: new.to.clone(),
        hash: app.keys.hash(secret.expose())?,
        expires_at: cx.now + Duration::seconds(seconds),
    };
    store::insert_link(cx, &row).await?;
    let url = format!("{}/links/{}", app.config.issuer(), secret.expose());
    Ok(Link { id: row.id, url, expires_at: row.expires_at })
}

/// Only paths of ours that a person has business at: a link must lead nowhere else.
fn check_target(issuer: &str, to: &str) -> Result<()> {
    let bad = || {
        refuse_at(Kind::InvalidRequest, "to is a path of this server, as /oauth2/authorize?…", "body.to", "")
    };
    let own = Url::parse(issuer).map_err(|_| bad())?;
    let plain = to.len() <= 8192 && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = own.join(to).map_err(|_| bad())?;
    let rest = to.strip_prefix(AUTHORIZE.1).filter(|rest| rest.is_empty() || rest.starts_with('?'));
    let same = url.origin() == own.origin() && url.path() == AUTHORIZE.1 && url.fragment().is_none();
    if plain && same && rest.is_some() { Ok(()) } else { Err(bad()) }
}

/// Opens a link, which works once. The database says who was first.
pub async fn open_link(app: &App, cx: &mut Cx, presented: &str) -> Result<Opened> {
    let cookie = Secret::generate::<32>("")?;
    let hash = app.keys.hash(cookie.expose())?;
    let opened = store::open_link(cx, &app.keys.hashes(presented), &hash.mac, cx.now + REMEMBERED).await?;
    let (id, target, person) = opened.ok_or_else(closed)?;
    super::usable(&person).map_err(|_| closed())?;
    Ok(Opened { id, person, target, cookie })
}

/// The tenant to which a link belongs, used or not.
pub async fn link_owner(app: &App, presented: &str) -> Result<Option<Person>> {
    let mut db = app.connection().await?;
    Ok(store::link_owner(&mut db, &app.keys.hashes(presented)).await?)
}

/// The person whose browser presents this cookie, if it still counts.
pub async fn session(app: &App, cookie: &str, now: Time) -> Result<Option<Session>> {
    let mut db = app.connection().await?;
    let found = store::session(&mut db, &app.keys.hashes(cookie), now).await?;
    let usable = |session: &Session| session.person.tenant_active && super::usable(&session.person).is_ok();
    Ok(found.filter(usable))
}

/// Unknown, opened, expired and void links are one answer.
fn closed() -> Error {
    let why = "the link is unknown, was opened before, or has expired; ask the administrator for a new one";
    refuse(Kind::NotFound, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_authorization_endpoint_of_this_server_and_nowhere_else() {
        let check = |to: &str| check_target("https://id.example", to);
        for good in ["/oauth2/authorize", "/oauth2/authorize?client_id=a&state=%2f"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "//evil.example/oauth2/authorize",
            "/\\evil.example/oauth2/authorize",
            "https://evil.example/oauth2/authorize",
            "https://id.example/oauth2/authorize",
            "/oauth2/authorize/../token",
            "/oauth2/authorizer",
            "/oauth2/authorize#x",
            "/oauth2/authorize?a b",
            "/oauth2/authorize?a\n",
            "/oauth2/token",
            "oauth2/authorize",
            "javascript:alert(1)",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
