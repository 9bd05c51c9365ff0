//! Pages for people: plain HTML from the binary, without scripts, that no other page can frame.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::kit::secret::sha256;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:36rem;\
margin:3rem auto;padding:0 1rem}h1{font-size:1.5rem;line-height:1.25}code{overflow-wrap:anywhere}\
button{font:inherit;padding:.5rem 1.5rem;margin:0 1rem 0 0;border:2px solid #0b4f9e;border-radius:.25rem;\
cursor:pointer}button[value=allow]{background:#0b4f9e;color:#fff}button[value=deny]{background:#fff;color:#0b4f9e}\
button:focus-visible{outline:3px solid #1a1a1a;outline-offset:2px}";

/// Text as it may stand in an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What turns the direction of text or hides in it could make a page say something else than it does.
            _ if is_invisible(char) => drop(write!(out, "&#xfffd;")),
            _ => out.push(char),
        }
    }
    out
}

fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether the caller is a browser that shows pages, rather than a program.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).any(|kind| kind.trim_start().starts_with("text/html"))
}

/// A page. `title` is text, `body` is HTML; its forms may lead to this server and on to `form_target`, a CSP source.
pub fn page(status: StatusCode, title: &str, body: &str, form_target: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    );
    let style = STANDARD.encode(sha256(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self' {form_target}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Nothing but CSP sources get into it, which are plain text; a policy that is none would allow everything.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("<a href=\"x\" b='y'>&amp;</a>"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;"
        );
        assert_eq!(escape("Größe 漢字 🙂"), "Größe 漢字 🙂");
        assert_eq!(escape("a\u{202e}b\u{0}c\nd\u{200b}"), "a&#xfffd;b&#xfffd;c&#xfffd;d&#xfffd;");
    }
}
