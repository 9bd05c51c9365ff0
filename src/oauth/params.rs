//! The parameters of an OAuth request, as a form or as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use super::error::OauthError;
use crate::kit::app::App;
use crate::kit::config::Limits;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::extract::{is_json, media_type, parse};
use crate::kit::http::limits::read_body;

/// Parameters by name. An empty value counts as absent (RFC 6749 section 3.2), an unknown one is ignored.
/// `Debug` is left out: the values hold secrets.
pub struct Params(BTreeMap<String, Vec<String>>);

impl Params {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a parameter that may be repeated, in the order in which they came.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The value of a parameter that must be there.
    pub fn required(&self, name: &'static str) -> Result<&str> {
        self.get(name).ok_or_else(|| refuse(Kind::InvalidRequest, format!("the parameter {name} is missing")))
    }

    /// The parameters of a query, or of a request that was kept as one.
    pub fn from_query(text: &str, limits: &Limits) -> Result<Self> {
        Self::from_form(text.as_bytes(), limits)
    }

    /// Those of these names.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        Self(kept.map(|(name, values)| (name.clone(), values.clone())).collect())
    }

    /// The same as a form, in the order of the names.
    pub fn form(&self, names: &[&str]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for name in names {
            form.extend_pairs(self.all(name).map(|value| (name, value)));
        }
        form.finish()
    }

    /// The same for a client that authenticated: it need not name itself again, but names nobody else.
    pub fn naming(self, client_id: &str) -> Result<Self> {
        let other = || refuse(Kind::InvalidRequest, "client_id is not the client that authenticated");
        self.saying("client_id", client_id, other)
    }

    /// The same for a key that was proved: it need not be named too, but no other one is.
    pub fn naming_key(self, jkt: &str) -> Result<Self> {
        let other = || refuse(Kind::InvalidDpopProof, "the DPoP proof is not by the key that dpop_jkt names");
        self.saying("dpop_jkt", jkt, other)
    }

    fn saying(mut self, name: &str, value: &str, other: impl FnOnce() -> Error) -> Result<Self> {
        if self.get(name).is_some_and(|said| said != value) {
            return Err(other());
        }
        self.0.insert(name.to_owned(), vec![value.to_owned()]);
        Ok(self)
    }

    fn from_form(text: &[u8], limits: &Limits) -> Result<Self> {
        let mut params: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let raw = std::str::from_utf8(text).map_err(|_| not_text())?;
        for (name, value) in pairs(raw) {
            // The decoder puts the replacement character where the bytes were no UTF-8.
            if [&name, &value].into_iter().any(|text| text.contains('\0') || text.contains('\u{fffd}')) {
                return Err(not_text());
            }
            check_length(&value, limits)?;
            let repeats = REPEATED.contains(&name.as_ref());
            let values = params.entry(name.into_owned()).or_default();
            if !values.is_empty() && !repeats {
                return Err(refuse(Kind::InvalidRequest, "a parameter stands more than once"));
            }
            values.push(value.into_owned());
        }
        Ok(Self::without_empty(params))
    }

    /// Members that are no strings are left out here: no parameter that we read has another type, save that a number
    /// or a flag in the place of a string must not pass as absent.
    fn from_json(text: &[u8], limits: &Limits) -> Result<Self> {
        let body: Map<String, Value> = parse(text, limits).map_err(|error| match error {
            Error::Refused(refused) if refused.kind == Kind::Invalid => {
                refuse(Kind::InvalidRequest, "the body is not a JSON object")
            }
            other => other,
        })?;
        let mut params = BTreeMap::new();
        for (name, value) in body {
            match value {
                Value::String(text) => {
                    check_length(&text, limits)?;
                    params.insert(name, vec![text]);
                }
                Value::Array(texts) if REPEATED.contains(&name.as_str()) => {
                    params.insert(name, strings(texts, limits)?);
                }
                Value::Null => {}
                _ if KNOWN.contains(&name.as_str()) => {
                    return Err(refuse(
                        Kind::InvalidRequest,
                        format!("the parameter {name} is not a string"),
                    ));
                }
                _ => {}
            }
        }
        Ok(Self::without_empty(params))
    }

    fn without_empty(mut params: BTreeMap<String, Vec<String>>) -> Self {
        for values in params.values_mut() {
            values.retain(|value| !value.is_empty());
        }
        Self(params)
    }
}

/// The pairs of a form. Most have nothing to decode, and to find that out value by value takes a tenth of an introspection.
fn pairs(form: &str) -> Box<dyn Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> + '_> {
    if form.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Box::new(form_urlencoded::parse(form.as_bytes()));
    }
    let pairs = form.split('&').filter(|pair| !pair.is_empty());
    Box::new(
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.into(), value.into())),
    )
}

/// The parameters that may be repeated (RFC 8707 section 2, RFC 8693 section 2.1); in JSON each may be a list.
const REPEATED: [&str; 2] = ["audience", "resource"];

/// The parameters that some endpoint reads.
const KNOWN: [&str; 34] = [
    "grant_type",
    "api_key",
    "scope",
    "token",
    "token_type_hint",
    "dry_run",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "account_id",
    "project_id",
    "assertion",
    "subject",
    "subject_token",
    "refresh_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "audience",
    "resource",
    "code",
    "code_verifier",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "request_uri",
    "request",
    "csrf",
    "decision",
];

impl FromRequest<Arc<App>> for Params {
    type Rejection = OauthError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, OauthError> {
        let limits = &app.config.limits;
        let (parts, body) = request.into_parts();
        let text = read_body(body, limits).await?;
        if is_json(&parts.headers) {
            return Ok(Self::from_json(&text, limits)?);
        }
        match media_type(&parts.headers).as_deref() {
            Some("application/x-www-form-urlencoded") => Ok(Self::from_form(&text, limits)?),
            _ => {
                let why = "send the parameters as application/x-www-form-urlencoded or application/json";
                Err(refuse(Kind::UnsupportedMediaType, why).into())
            }
        }
    }
}

fn check_length(value: &str, limits: &Limits) -> Result<()> {
    if value.len() > limits.token_bytes {
        let why = format!("a parameter is longer than {} bytes", limits.token_bytes);
        return Err(refuse(Kind::InvalidRequest, why));
    }
    Ok(())
}

fn strings(values: Vec<Value>, limits: &Limits) -> Result<Vec<String>> {
    let text = |value| match value {
        Value::String(text) => check_length(&text, limits).map(|()| text),
        _ => Err(refuse(Kind::InvalidRequest, "resource and audience hold strings only")),
    };
    values.into_iter().map(text).collect()
}

fn not_text() -> Error {
    refuse(Kind::InvalidRequest, "the body is not UTF-8 text or holds the NUL character")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_refuse_repetition_and_what_is_no_text() {
        let limits = Limits::default();
        let form = |text: &str| Params::from_form(text.as_bytes(), &limits);
        let params = form("grant_type=api_key&scope=&x=a%20b").ok().unwrap();
        assert_eq!(
            (params.get("grant_type"), params.get("scope"), params.get("x")),
            (Some("api_key"), None, Some("a b"))
        );
        for bad in ["a=1&a=1", "a=&a=1", "a=%ff", "a=%00"] {
            assert!(form(bad).is_err(), "{bad}");
        }
        let params = form("resource=a&audience=c&resource=&resource=b").ok().unwrap();
        assert_eq!(params.all("resource").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((params.all("audience").count(), params.all("x").count()), (1, 0));
        assert!(Params::from_form(b"a=\xff", &limits).is_err());
    }

    #[test]
    fn forms_with_nothing_to_decode_are_read_like_others() {
        for form in ["", "&&", "a", "=", "=b", "a==b=", "a=b&&c&", "ä=ö;c=d", "a=%62", "a+b=c"] {
            assert!(pairs(form).eq(form_urlencoded::parse(form.as_bytes())), "{form}");
        }
    }

    #[test]
    fn json_refuses_other_types_in_the_place_of_a_parameter() {
        let limits = Limits::default();
        let json = |text: &str| Params::from_json(text.as_bytes(), &limits);
        assert!(json(r#"{"grant_type":"api_key","extra":{"a":1},"scope":null}"#).is_ok());
        let listed = json(r#"{"resource":["a","b"],"audience":"c"}"#).ok().unwrap();
        assert_eq!((listed.all("resource").count(), listed.get("audience")), (2, Some("c")));
        let bad = [r#"{"grant_type":1}"#, r#"{"api_key":["x"]}"#, "[]", "1", "", r#"{"a":1"#];
        for bad in
            bad.into_iter().chain([r#"{"resource":[1]}"#, r#"{"audience":[null]}"#, r#"{"resource":{}}"#])
        {
            assert!(json(bad).is_err(), "{bad}");
        }
    }
}
