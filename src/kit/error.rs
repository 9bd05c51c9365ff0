//! One error inside: a refusal, which is a decision and is committed, or a fault, which is ours and is rolled back.
//! Each surface owns a table from [`Kind`] to its status and code.

use std::borrow::Cow;

/// What every verb returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request did not succeed.
#[derive(Debug)]
pub enum Error {
    /// The caller was told no, with a reason meant for him.
    Refused(Refused),
    /// Something of ours broke; the reason is for the log only.
    Fault(anyhow::Error),
}

/// A decision against the caller.
#[derive(Debug)]
pub struct Refused {
    /// Which row of a surface's error table.
    pub kind: Kind,
    /// A sentence for the caller: what is wrong and what to do. Never holds a secret from the input.
    pub why: Cow<'static, str>,
    /// The member of the request that is wrong, as `body.external_id`, with a value the caller may see.
    pub at: Option<(Cow<'static, str>, String)>,
    /// After how many seconds another try may succeed.
    pub retry_after: Option<u32>,
}

impl Refused {
    /// Whether it decides anything about the caller, which then is committed. That a nonce is to be repeated, or that we
    /// can't answer now, decides nothing, and the transaction in which we found out may be of no use any more.
    pub fn is_decision(&self) -> bool {
        !matches!(self.kind, Kind::Unavailable | Kind::UseDpopNonce)
    }
}

/// What went wrong, in words no surface owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request can't be read or contradicts itself.
    InvalidRequest,
    /// The request was read and a member has the wrong type or value.
    Invalid,
    /// No credential came where one is needed.
    MissingCredential,
    /// The credential presented is not accepted.
    InvalidToken,
    /// The credential is good and lacks a scope.
    InsufficientScope,
    /// The credential is good and does not reach this far.
    Forbidden,
    /// Not there, or another tenant's: the answer is the same.
    NotFound,
    /// The path knows other methods.
    MethodNotAllowed,
    /// It exists already, or its state stands against it.
    Conflict,
    /// The body is larger than the limit.
    TooLarge,
    /// The body was not sent within the time for it.
    TooSlow,
    /// The body is of a type this route does not read.
    UnsupportedMediaType,
    /// OAuth: the grant (key, assertion, code) is unknown, revoked, expired or its holder is not usable.
    InvalidGrant,
    /// OAuth: the client did not authenticate.
    InvalidClient,
    /// OAuth: the client may not use this grant.
    UnauthorizedClient,
    /// OAuth: no scope that was asked for may be granted.
    InvalidScope,
    /// OAuth: the audience or resource that was asked for may not be granted (RFC 8693 section 2.2.2, RFC 8707).
    InvalidTarget,
    /// OAuth: the response type is not one of ours.
    UnsupportedResponseType,
    /// OAuth: a person is needed, and none is known at this browser.
    LoginRequired,
    /// OAuth: the grant type is not one of ours.
    UnsupportedGrantType,
    /// A credential policy stands against it.
    PolicyViolation,
    /// The proof of possession is missing, wrong, used before, or of another key (RFC 9449 section 4.3).
    InvalidDpopProof,
    /// The proof of possession has to repeat the nonce that goes with this answer (RFC 9449 section 8).
    UseDpopNonce,
    /// Too many requests or too many wrong credentials.
    TooManyRequests,
    /// We can't answer now; another try may succeed.
    Unavailable,
}

/// A refusal of `kind` with a sentence for the caller.
pub fn refuse(kind: Kind, why: impl Into<Cow<'static, str>>) -> Error {
    let retry_after = (kind == Kind::Unavailable).then_some(1);
    Error::Refused(Refused { kind, why: why.into(), at: None, retry_after })
}

/// A refusal of one who asks too often.
pub fn refuse_for(seconds: u32, why: impl Into<Cow<'static, str>>) -> Error {
    Error::Refused(Refused {
        kind: Kind::TooManyRequests,
        why: why.into(),
        at: None,
        retry_after: Some(seconds),
    })
}

/// A refusal that names the member of the request at fault. `value` is shown to the caller: never pass a secret.
pub fn refuse_at(
    kind: Kind,
    why: impl Into<Cow<'static, str>>,
    at: impl Into<Cow<'static, str>>,
    value: impl Into<String>,
) -> Error {
    Error::Refused(Refused { kind, why: why.into(), at: Some((at.into(), value.into())), retry_after: None })
}

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        let error = error.into();
        if database_is_away(&error) {
            tracing::warn!(error = format!("{error:#}"), "the database did not answer");
            return refuse(
                Kind::Unavailable,
                "the database does not answer at the moment; try again shortly",
            );
        }
        Self::Fault(error)
    }
}

/// Whether the failure is one that a later try may not meet: no connection, or the server going down or coming up.
fn database_is_away(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<sqlx::Error>() {
        Some(
            // A connection that breaks off while it is made may end in the middle of a message.
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => true,
        // Classes 08 (connection), 53 (resources), 57P (shutdown, crash, starting up) of the SQLSTATE table, and a
        // statement or lock that was given up because it took too long.
        Some(sqlx::Error::Database(database)) => database.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || code == "57014"
                || code == "55P03"
        }),
        _ => false,
    }
}
