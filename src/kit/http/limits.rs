//! Limits that stand before the parsers: what is too large or too deep is refused before it costs anything.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::kit::config::Limits;
use crate::kit::error::{Kind, Result, refuse, refuse_at};

/// How long a client may take to send a body: as long as for its headers.
const BODY_WITHIN: Duration = Duration::from_secs(15);

/// Reads a body up to the limit.
pub async fn read_body(body: Body, limits: &Limits) -> Result<Bytes> {
    read_within(BODY_WITHIN, body, limits.body_bytes).await
}

/// Who sends a byte now and then must not hold a connection for ever.
async fn read_within(within: Duration, body: Body, most: usize) -> Result<Bytes> {
    match tokio::time::timeout(within, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(refuse(Kind::TooLarge, format!("the body is larger than {most} bytes")))
        }
        Ok(Err(_)) => Err(refuse(Kind::InvalidRequest, "the body broke off before its end")),
        Err(_) => {
            let why = format!("the body was not complete after {} seconds", within.as_secs());
            Err(refuse(Kind::TooSlow, why))
        }
    }
}

/// Near here a number that Postgres has stored and written out again can't be read.
const TOO_GREAT: f64 = 1e308;

/// Walks over JSON text without building anything and refuses what is nested too deeply, has too many items in one
/// list or object, a string too long, the NUL character, which Postgres can't hold, or a number too great.
pub fn check_json(text: &[u8], limits: &Limits) -> Result<()> {
    let mut scan = Scan { limits, items: Vec::new() };
    let mut position = 0;
    while let Some(&byte) = text.get(position) {
        match byte {
            b'"' => position = scan.string(text, position + 1)?,
            b'-' | b'0'..=b'9' => position = number(text, position)?,
            _ => {
                scan.structure(byte)?;
                position += 1;
            }
        }
    }
    Ok(())
}

/// Reads a number that begins at `start`; answers where the text goes on. What is no number is the parser's to refuse.
fn number(text: &[u8], start: usize) -> Result<usize> {
    let digits = text[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .count();
    let end = start + digits;
    let value = std::str::from_utf8(&text[start..end]).ok().and_then(|text| text.parse::<f64>().ok());
    if value.is_some_and(|value| value.abs() >= TOO_GREAT) {
        return Err(refuse(Kind::InvalidRequest, "a number has a magnitude of 1e308 or more"));
    }
    Ok(end)
}

struct Scan<'a> {
    limits: &'a Limits,
    /// For each open list or object, how many commas it has shown.
    items: Vec<usize>,
}

impl Scan<'_> {
    fn structure(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'[' | b'{' => {
                self.items.push(1);
                if self.items.len() > self.limits.json_depth {
                    let why = format!("the body is nested more than {} levels deep", self.limits.json_depth);
                    return Err(refuse(Kind::InvalidRequest, why));
                }
            }
            b']' | b'}' => {
                self.items.pop();
            }
            b',' => {
                if let Some(count) = self.items.last_mut() {
                    *count += 1;
                    if *count > self.limits.list_items {
                        let why = format!("a list or object has more than {} items", self.limits.list_items);
                        return Err(refuse(Kind::InvalidRequest, why));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a string whose first byte is at `start`; answers where the text goes on.
    fn string(&self, text: &[u8], start: usize) -> Result<usize> {
        let mut position = start;
        loop {
            match text.get(position) {
                None => return Ok(position),
                Some(b'"') => break,
                Some(b'\\') => {
                    if text.get(position + 1..position + 6) == Some(b"u0000") {
                        return Err(refuse(Kind::InvalidRequest, "a string holds the NUL character"));
                    }
                    position += 2;
                }
                Some(_) => position += 1,
            }
            if position - start > self.limits.token_bytes {
                let why = format!("a string is longer than {} bytes", self.limits.token_bytes);
                return Err(refuse(Kind::InvalidRequest, why));
            }
        }
        Ok(position + 1)
    }
}

/// Refuses a text that is longer than the limit for ordinary members; `name` says which.
pub fn check_text(name: &'static str, text: &str, limits: &Limits) -> Result<()> {
    if text.chars().count() > limits.text_characters {
        let why = format!("{name} is longer than {} characters", limits.text_characters);
        return Err(refuse(Kind::InvalidRequest, why));
    }
    Ok(())
}

/// Refuses a list of what tokens are meant for that is too long or holds what is neither a name nor a URI.
pub fn check_names(names: &[String], at: &'static str, limits: &Limits) -> Result<()> {
    if names.len() <= limits.list_items && names.iter().all(|name| is_name(name, limits)) {
        return Ok(());
    }
    let member = at.rsplit('.').next().unwrap_or_default();
    let why = format!("{member} is a list of names or URIs without spaces");
    Err(refuse_at(Kind::InvalidRequest, why, at, ""))
}

/// Whether a text can name what a token is meant for.
pub fn is_name(text: &str, limits: &Limits) -> bool {
    (1..=limits.text_characters).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::error::Error;

    fn limits() -> Limits {
        Limits { json_depth: 3, list_items: 4, token_bytes: 10, ..Limits::default() }
    }

    /// Sends nothing and never ends.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let read = read_within(Duration::from_millis(1), Body::new(Silent), 10).await;
        assert!(matches!(read, Err(Error::Refused(refused)) if refused.kind == Kind::TooSlow));
        let read = read_within(Duration::from_secs(15), Body::from("0123456789"), 10).await;
        assert!(read.is_ok_and(|bytes| &bytes[..] == b"0123456789"));
    }

    #[test]
    fn limits_hold_at_their_edge_and_not_before() {
        for good in [
            r#"{"a":[[1,2,3,4]]}"#,
            r#""0123456789""#,
            r#"["\\u0000"]"#,
            r#"{"a":",,,,,,"}"#,
            r#"["[[[["]"#,
            "[-9.99e307,0.5e-400]",
            r#"["1e301"]"#,
            "",
            "\"open",
        ] {
            assert!(check_json(good.as_bytes(), &limits()).is_ok(), "{good}");
        }
        let digits = "9".repeat(309);
        for bad in [
            r#"{"a":[[[1]]]}"#,
            "[1,2,3,4,5]",
            r#""01234567890""#,
            r#"["\u0000"]"#,
            r#"["\\\u0000"]"#,
            "[-1e308]",
            r#"{"a":1e999}"#,
            &digits,
        ] {
            assert!(check_json(bad.as_bytes(), &limits()).is_err(), "{bad}");
        }
    }
}
