//! The cookie by which a browser says whose it is.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::kit::error::Result;
use crate::kit::secret::Secret;

/// How long browsers keep it, in seconds; the row says how long it counts.
const KEPT: u32 = 15 * 60;

/// Over https the name itself makes browsers refuse it from anything but this very host (RFC 6265bis section 4.1.3.2).
fn name(issuer: &str) -> &'static str {
    if is_secure(issuer) { "__Host-chancery-person" } else { "chancery-person" }
}

fn is_secure(issuer: &str) -> bool {
    issuer.starts_with("https://")
}

/// `Set-Cookie` for a browser that opened a link. Lax: the person comes from the client's page, and forms are guarded by
/// a token of their own.
pub fn set(issuer: &str, cookie: &Secret) -> Result<HeaderValue> {
    let secure = if is_secure(issuer) { "; Secure" } else { "" };
    let text = format!(
        "{}={}; Path=/; Max-Age={KEPT}; HttpOnly; SameSite=Lax{secure}",
        name(issuer),
        cookie.expose()
    );
    let mut value = HeaderValue::try_from(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The cookie of a request, "" where it has none.
pub fn presented<'a>(headers: &'a HeaderMap, issuer: &str) -> &'a str {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name(issuer)).map_or("", |(_, value)| value)
}
