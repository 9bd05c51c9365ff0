//! The authorization endpoint (RFC 6749 section 3.1) and its consent page: a person says whether a client may act in their
//! name, and the client gets a code.
mod answer;
pub mod consent;
mod page;
mod request;

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::json;

pub use request::{PARAMETERS, check_pushed};

use super::error::OauthError;
use super::params::Params;
use super::requests::AuthorizationRequest;
use crate::access::origin;
use crate::audit::{self, Event};
use crate::authorizations::{self, Decided};
use crate::clients;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Refused, Result, refuse};
use crate::kit::ids;
use crate::kit::secret::Secret;
use crate::tokens::ledger::{self, Artefact, Outcome};
use crate::users::{self, Session};
use answer::Told;
use request::{Asked, Target};

/// Asks a person whether a client may act in their name.
///
/// The answer is a redirect to the client, the consent page, or a page or error here.
///
/// `GET`: the parameters are the query's (RFC 6749 section 4.1.1).
#[utoipa::path(get, path = "/oauth2/authorize", operation_id = "authorize",
    params(
        ("client_id" = String, Query, description = "The client."),
        ("response_type" = Option<String>, Query, description = "code"),
        ("redirect_uri" = Option<String>, Query, description = "Where the answer goes."),
        ("scope" = Option<String>, Query, description = "The scopes asked for."),
        ("state" = Option<String>, Query, description = "Comes back with the answer."),
        ("code_challenge" = Option<String>, Query, description = "PKCE (RFC 7636)."),
        ("code_challenge_method" = Option<String>, Query, description = "S256"),
        ("resource" = Option<String>, Query, description = "Where the token is to be used (RFC 8707)."),
        ("dpop_jkt" = Option<String>, Query, description = "The key whose proof must come with the code."),
        ("request_uri" = Option<String>, Query, description = "A pushed request."),
    ),
    responses(
        (status = 200, description = "The consent page.", body = String, content_type = "text/html"),
        (status = 302, description = "Goes back to the client."),
    ), security(()))]
pub async fn by_get(State(app): State<Arc<App>>, parts: Parts) -> Response {
    let visit = Visit::new(&app, &parts, true);
    let outcome = match Params::from_query(parts.uri.query().unwrap_or_default(), &app.config.limits) {
        Ok(params) => visit.authorize(&params).await,
        Err(error) => Err(error),
    };
    visit.conclude(outcome)
}

/// The same with its parameters in the body.
///
/// `POST`: the parameters are the body's, and errors are never told by a redirect.
#[utoipa::path(post, path = "/oauth2/authorize", operation_id = "authorize_by_form",
    request_body(content = AuthorizationRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The consent page.", body = String, content_type = "text/html"),
        (status = 303, description = "Goes back to the client."),
    ), security(()))]
pub async fn by_post(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Result<Params, OauthError>,
) -> Response {
    let visit = Visit::new(&app, &parts, false);
    match params {
        Ok(params) => visit.conclude(visit.authorize(&params).await),
        Err(error) => axum::response::IntoResponse::into_response(error),
    }
}

/// A browser, or a program, at one of the two pages.
struct Visit<'a> {
    app: &'a App,
    parts: &'a Parts,
    now: Time,
    /// Whether errors may be told to the client by a redirect.
    redirects: bool,
}

/// What stands between a request and its code: all that is known once the person is.
struct Ready {
    target: Target,
    session: Session,
    decided: Decided,
    /// The pushed request that is answered, if it is one.
    artefact: Option<Artefact>,
    /// The request as a form, by which the consent page names it.
    form: String,
}

/// How far a request came.
enum Step {
    /// The person decides, or has.
    Ready(Box<Ready>),
    /// It is answered.
    Done(Response),
}

impl<'a> Visit<'a> {
    fn new(app: &'a App, parts: &'a Parts, redirects: bool) -> Self {
        Self { app, parts, now: app.clock.now(), redirects }
    }

    async fn authorize(&self, params: &Params) -> Result<Response> {
        let ready = match self.ready(params).await? {
            Step::Ready(ready) => ready,
            Step::Done(response) => return Ok(response),
        };
        let mut cx = self.begin(&ready.session).await?;
        let (client, decided) = (&ready.target.evidence.client, &ready.decided);
        let known = authorizations::find(&mut cx, ready.target.between(&ready.session.person)).await?;
        let covered = known.is_some_and(|consent| consent.covers(&decided.scopes, &decided.resources));
        // Who answers at a loopback port or a private scheme is anybody on the device (RFC 8252 section 8.6).
        let is_sure = !client.is_public() || decided.redirect_uri.starts_with("https://");
        if covered && is_sure {
            return self.issue(cx, &ready, false).await;
        }
        cx.tx.commit().await?;
        page::consent(self.app, self.cookie(), &ready)
    }

    /// Everything that must hold before a person is asked. What is told to the client, is told only where the client and its
    /// redirect URI are good (RFC 9700 section 4.1).
    async fn ready(&self, params: &Params) -> Result<Step> {
        let asked = Asked::read(self.app, params, self.now).await?;
        let session = users::session(self.app, self.cookie(), self.now).await?;
        // A stranger does not make this server fetch a client's document.
        let is_described = |client_id: &str| clients::may_be_described(self.app, client_id);
        if session.is_none() && asked.params.get("client_id").is_some_and(is_described) {
            return Ok(Step::Done(page::come_by_link(self.parts)));
        }
        let target = request::target(self.app, &asked, self.now).await?;
        let wanted = match request::wanted(self.app, &asked.params, &target) {
            Ok(wanted) => wanted,
            Err(error) => return Ok(Step::Done(self.tell(&target, error)?)),
        };
        let Some(session) = session.filter(|session| target.is_for(&session.person)) else {
            return Ok(Step::Done(page::come_by_link(self.parts)));
        };
        let decided = match request::decide(&target, wanted) {
            Ok(decided) => decided,
            Err(error) => {
                let Error::Refused(refused) = &error else { return Err(error) };
                self.log_refusal(&session, &target, refused).await?;
                return Ok(Step::Done(self.tell(&target, error)?));
            }
        };
        let Asked { artefact, form, .. } = asked;
        Ok(Step::Ready(Box::new(Ready { target, session, decided, artefact, form })))
    }

    /// Issues the code. With `agreed` the person said yes just now.
    async fn issue(&self, mut cx: Cx, ready: &Ready, agreed: bool) -> Result<Response> {
        let Ready { target, session, decided, .. } = ready;
        if let Err(error) = use_up(&mut cx, ready.artefact.as_ref()).await {
            if let Error::Refused(refused) = &error {
                audit::record_refusal(&mut cx, target.refused(), refused).await?;
                cx.tx.commit().await?;
            }
            return Err(error);
        }
        let person = &session.person;
        let consent =
            authorizations::agree(&mut cx, target.between(person), &decided.scopes, &decided.resources)
                .await?;
        let facts = json!({
            "client_id": decided.client_id, "scope": decided.scopes.joined(), "resources": decided.resources,
        });
        if agreed {
            audit::record(&mut cx, Event::new("consent.granted", "consent", consent).with(facts.clone()))
                .await?;
        }
        let (id, code) = authorizations::issue_code(self.app, &mut cx, decided, person, consent).await?;
        audit::record(&mut cx, Event::new("code.issued", "code", id).with(facts)).await?;
        cx.tx.commit().await?;
        self.hand_over(target, &code)
    }

    fn hand_over(&self, target: &Target, code: &Secret) -> Result<Response> {
        answer::redirect(self.app.config.issuer(), target, &Told::Code(code), self.redirects)
    }

    /// Tells an error: by a redirect where that may be, else here.
    fn tell(&self, target: &Target, error: Error) -> Result<Response> {
        match &error {
            Error::Refused(refused) if self.redirects && target.takes_errors => {
                answer::redirect(self.app.config.issuer(), target, &Told::Refused(refused), true)
            }
            _ => Err(error),
        }
    }

    async fn log_refusal(&self, session: &Session, target: &Target, refused: &Refused) -> Result<()> {
        let mut cx = self.begin(session).await?;
        audit::record_refusal(&mut cx, target.refused(), refused).await?;
        Ok(cx.tx.commit().await?)
    }

    async fn begin(&self, session: &Session) -> Result<Cx> {
        Ok(Cx {
            tx: self.app.begin().await?,
            tenant: session.person.tenant.clone(),
            now: self.now,
            caller: users::caller(&session.person),
            origin: origin(self.parts),
        })
    }

    fn cookie(&self) -> &'a str {
        users::presented_cookie(&self.parts.headers, self.app.config.issuer())
    }

    fn conclude(&self, outcome: Result<Response>) -> Response {
        outcome.unwrap_or_else(|error| page::refusal(self.parts, error))
    }
}

/// A pushed request is answered once.
async fn use_up(cx: &mut Cx, artefact: Option<&Artefact>) -> Result<()> {
    let Some(artefact) = artefact else { return Ok(()) };
    let used = ledger::use_up(&mut cx.tx, &[(ids::new(cx.now)?, std::slice::from_ref(artefact))]).await?;
    match used.as_slice() {
        [Outcome::Written] => Ok(()),
        _ => Err(refuse(Kind::InvalidRequest, "the request_uri was used before; push the request again")),
    }
}
