//! Extractors whose rejections are problem documents: JSON bodies, ids in paths, queries.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::limits::{check_json, read_body};
use super::problem::Problem;
use crate::kit::app::App;
use crate::kit::config::Limits;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};

/// A JSON body. Wrong syntax is 400, a wrong member 422.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (_, text) = read_json(request, app).await?;
        Ok(Self(parse(&text, &app.config.limits)?))
    }
}

/// A JSON body that may be missing where every member is optional. Clients then send no content type either.
#[derive(Debug)]
pub struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let text = read_body(body, &app.config.limits).await?;
        if text.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(&parts.headers)?;
        Ok(Self(parse(&text, &app.config.limits)?))
    }
}

/// The headers and the text of a request whose body is JSON, not parsed yet.
pub async fn read_json(request: Request, app: &App) -> Result<(HeaderMap, Bytes)> {
    let (parts, body) = request.into_parts();
    let text = read_body(body, &app.config.limits).await?;
    require_json(&parts.headers)?;
    Ok((parts.headers, text))
}

fn require_json(headers: &HeaderMap) -> Result<()> {
    if is_json(headers) {
        return Ok(());
    }
    Err(refuse(Kind::UnsupportedMediaType, "send the body as application/json"))
}

/// Whether the headers name JSON as the body's type.
pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media| media == "application/json" || media.ends_with("+json"))
}

/// The media type of the body, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// Parses JSON within the limits. The error never repeats a value of the input.
pub fn parse<T: DeserializeOwned>(text: &[u8], limits: &Limits) -> Result<T> {
    check_json(text, limits)?;
    let text =
        std::str::from_utf8(text).map_err(|_| refuse(Kind::InvalidRequest, "the body is not UTF-8"))?;
    // A derived decoder would take a list for the members in their order.
    if text.trim_start().starts_with('[') {
        return Err(refuse_at(Kind::Invalid, "the body is not a JSON object", "body", ""));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let Object(value) =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| explain(&error, text))?;
    reader.end().map_err(|_| refuse(Kind::InvalidRequest, "text follows the end of the JSON body"))?;
    Ok(value)
}

/// What is read from a JSON object. Left alone, serde takes a list too, as members in the order of their declaration.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>, text: &str) -> Error {
    let inner = error.inner();
    let message = if inner.is_data() {
        without_input(&inner.to_string())
    } else if serde_json::from_str::<serde_json::Value>(text).is_err() {
        let (line, column) = (inner.line(), inner.column());
        return refuse(Kind::InvalidRequest, format!("the body is not JSON (line {line}, column {column})"));
    } else {
        // serde_json calls a number where an enum is expected bad syntax, though the text is lawful JSON.
        "the value is of the wrong type".to_owned()
    };
    match error.path().to_string().as_str() {
        "." => refuse_at(Kind::Invalid, message, "body", ""),
        path => refuse_at(Kind::Invalid, format!("{path}: {message}"), format!("body.{path}"), ""),
    }
}

/// Keeps of a decoder's message only what comes from our own types: the value it met may be a secret.
fn without_input(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(before, _)| before);
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => message.to_owned(),
    }
}

/// The `{id}` of a path. What is no UUID is 422.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub Uuid);

impl FromRequestParts<Arc<App>> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let malformed = || refuse_at(Kind::Invalid, "the id in the path is not a UUID", "path.id", "");
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| malformed())?;
        let text = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value);
        Ok(Self(text.and_then(|text| Uuid::try_parse(text).ok()).ok_or_else(malformed)?))
    }
}

/// The query as it came, for filters that may be repeated.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=1&b=2`; refuses what Postgres can't hold.
    pub fn parse(text: &str) -> Result<Self> {
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(refuse(Kind::InvalidRequest, "the query holds the NUL character"));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter that may stand once; an empty value counts as absent.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            let why = format!("the query parameter {name} stands more than once");
            return Err(refuse_at(Kind::InvalidRequest, why, format!("query.{name}"), ""));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    /// Every value of a parameter that may be repeated or hold several, separated by commas.
    pub fn many(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(key, _)| key == name).flat_map(|(_, value)| value.split(','));
        values.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// The values of a filter, each of which must be a word of the enum `T`.
    pub fn words<T: DeserializeOwned>(&self, name: &'static str) -> Result<Vec<String>> {
        let values = self.many(name);
        for value in &values {
            if serde_json::from_value::<T>(json!(value)).is_err() {
                let why = format!("{name} has no such value");
                return Err(refuse_at(Kind::InvalidRequest, why, format!("query.{name}"), value.as_str()));
            }
        }
        Ok(values)
    }

    /// `key:value` as the JSON object that must be contained.
    pub fn pair(&self, name: &'static str) -> Result<Option<Value>> {
        match self.one(name)?.map(|text| (text, text.split_once(':'))) {
            None => Ok(None),
            Some((_, Some((key, value)))) if !key.is_empty() => Ok(Some(json!({ key: value }))),
            Some((text, _)) => {
                let why = format!("{name} is of the form key:value");
                Err(refuse_at(Kind::InvalidRequest, why, format!("query.{name}"), text))
            }
        }
    }

    /// `true` or `false`; anything else is refused.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>> {
        match self.one(name)? {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => {
                let why = format!("{name} is true or false");
                Err(refuse_at(Kind::InvalidRequest, why, format!("query.{name}"), other))
            }
        }
    }
}

impl FromRequestParts<Arc<App>> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_message_is_stripped_of_the_input() {
        assert_eq!(
            without_input(
                "invalid type: string \"s3cret, expected x\", expected a boolean at line 1 column 5"
            ),
            "expected a boolean"
        );
        assert_eq!(without_input("missing field `name` at line 1 column 2"), "missing field `name`");
    }
}
