//! The pages of the authorization endpoint. Programs get the same in JSON.

use std::fmt::Write;

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::Ready;
use super::consent::csrf;
use crate::clients::Client;
use crate::kit::app::App;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::html::{self, escape};
use crate::oauth::error::{OauthError, code};

/// Asks the person.
pub fn consent(app: &App, cookie: &str, ready: &Ready) -> Result<Response> {
    let (client, decided) = (&ready.target.evidence.client, &ready.decided);
    let person = &ready.session.person;
    let you = [&person.name, &person.email, &person.user_id].into_iter().find(|text| !text.is_empty());
    let title = format!("Let {} act in your name?", client.name);
    let mut body = format!(
        "<p>You are <strong>{}</strong>. <strong>{}</strong> asks to act in your name. {}</p>\n",
        escape(you.map_or("", String::as_str)),
        escape(&client.name),
        known_by(client)
    );
    body.push_str("<h2>What it would be allowed to do</h2>\n");
    if decided.scopes.is_empty() {
        body.push_str("<p>Nothing but to say that you sent it.</p>\n");
    } else {
        list(&mut body, decided.scopes.iter());
    }
    body.push_str("<h2>Where</h2>\n");
    if decided.resources.is_empty() {
        body.push_str("<p>At this server.</p>\n");
    } else {
        list(&mut body, decided.resources.iter().map(String::as_str));
    }
    let (place, source) = place(&decided.redirect_uri);
    write!(
        body,
        "<p>Your answer goes to <strong>{}</strong>.{} You can take it back at any time: ask your administrator.</p>\n\
         <form method=\"post\" action=\"/oauth2/consent\" aria-label=\"Your answer\">\n\
         <input type=\"hidden\" name=\"request\" value=\"{}\">\n<input type=\"hidden\" name=\"csrf\" value=\"{}\">\n\
         <button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\n\
         <button type=\"submit\" name=\"decision\" value=\"deny\">Deny</button>\n</form>\n",
        escape(&place),
        warning(client, &decided.redirect_uri),
        escape(&ready.form),
        escape(&csrf(app, cookie, &ready.form)?)
    )?;
    Ok(html::page(StatusCode::OK, &title, &body, &source))
}

/// Who says that the client is who it says: whoever registered it here, or only the host of its document.
fn known_by(client: &Client) -> String {
    let client_id = escape(&client.client_id);
    if !client.is_described() {
        return format!("It is registered here as <code>{client_id}</code>.");
    }
    let host = Url::parse(&client.client_id).ok().and_then(|url| url.host_str().map(str::to_owned));
    format!(
        "Nobody registered it here. All that is known of it is what <strong>{}</strong> says at <code>{client_id}</code>.",
        escape(&host.unwrap_or_default())
    )
}

/// A name that everybody may use, at a place where every program may listen, is worth nothing.
fn warning(client: &Client, redirect_uri: &str) -> &'static str {
    let on_device = !redirect_uri.starts_with("https://");
    if client.is_described() && on_device {
        " Any program on this device can say that it is this one. Go on only if you started it just now."
    } else {
        ""
    }
}

fn list<'a>(body: &mut String, items: impl Iterator<Item = &'a str>) {
    body.push_str("<ul>\n");
    for item in items {
        body.push_str("<li><code>");
        body.push_str(&escape(item));
        body.push_str("</code></li>\n");
    }
    body.push_str("</ul>\n");
}

/// Where a redirect URI leads: in words, and as the CSP source by which a form may lead there.
fn place(redirect_uri: &str) -> (String, String) {
    let Ok(url) = Url::parse(redirect_uri) else { return (String::new(), String::new()) };
    let loopback = url.scheme() == "http";
    match url.host_str() {
        Some(_) if loopback => ("a program on this device".to_owned(), url.origin().ascii_serialization()),
        Some(host) if url.scheme() == "https" => (host.to_owned(), url.origin().ascii_serialization()),
        _ => (format!("a program on this device ({})", url.scheme()), format!("{}:", url.scheme())),
    }
}

/// Nobody is known to sit at the browser.
pub fn come_by_link(parts: &Parts) -> Response {
    let why = "no person is known here: ask an administrator for a link to this address (POST /users/{id}/links), and \
               open it in this browser";
    if !html::is_wanted(&parts.headers) {
        return OauthError::from(refuse(Kind::LoginRequired, why)).into_response();
    }
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let body = format!(
        "<p>This server does not know who you are. People come here by a link that works once, and your administrator \
         makes it.</p>\n<h2>What to ask for</h2>\n<p>Send the administrator this address and ask for a link to it:</p>\n\
         <p><code>{}</code></p>\n<p>Open the link in this browser within its time; it leads back here.</p>\n",
        escape(address)
    );
    html::page(StatusCode::UNAUTHORIZED, "Ask your administrator for a link", &body, "")
}

/// The person said no to a client that is told nothing.
pub fn denied() -> Response {
    let body = "<p>The program gets nothing. You may close this page.</p>\n";
    html::page(StatusCode::OK, "You said no", body, "")
}

/// An error that is told here and not at the client.
pub fn refusal(parts: &Parts, error: Error) -> Response {
    let refused = match error {
        Error::Refused(refused) if html::is_wanted(&parts.headers) => refused,
        other => return OauthError::from(other).into_response(),
    };
    let (name, status) = code(refused.kind);
    let body = format!(
        "<p>{}.</p>\n<p>Error: <code>{name}</code>. Tell it to the people who run the program that sent you here.</p>\n",
        escape(&refused.why)
    );
    html::page(status, "This request can't be answered", &body, "")
}
