//! What one token request leaves behind: the rows of the ledger, before they are written.

use uuid::Uuid;

use super::actor::{Hop, Principal};
use super::issue::ClientStamp;
use super::refresh::NewToken;
use crate::access::scope::Scopes;
use crate::audit::Entry;
use crate::kit::clock::Time;
use crate::kit::config::Profile;
use crate::kit::cx::Tenant;

/// A row of `credentials`.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The token's id and the row's key.
    pub jti: Uuid,
    /// Whose.
    pub tenant: Tenant,
    /// The digest of the token as issued, by which it is recognised.
    pub token_sha256: [u8; 32],
    /// The key that signed it.
    pub kid: String,
    /// Who holds it; a person's token may have no agent behind it.
    pub identity_id: Option<Uuid>,
    /// The holder's epoch that the decision saw.
    pub agent_epoch: i32,
    /// The API key it rests on.
    pub api_key_id: Option<Uuid>,
    /// The client it rests on.
    pub client: Option<ClientStamp>,
    /// The person in whose name it speaks, and that person's epoch.
    pub person: Option<(Uuid, i32)>,
    /// The refresh family it rests on.
    pub family_id: Option<Uuid>,
    /// The consent it rests on.
    pub consent_id: Option<Uuid>,
    /// The linked subject of a trusted issuer that it rests on, and the epoch of that.
    pub linked_subject: Option<(Uuid, i32)>,
    /// The thumbprint of the key it is bound to (RFC 9449 section 6.1).
    pub jkt: Option<String>,
    /// The credential it comes from.
    pub parent_jti: Option<Uuid>,
    /// Everything above it, the root first.
    pub ancestors: Vec<Uuid>,
    /// The root of its tree.
    pub mission_id: Uuid,
    /// How deep it stands; a root has 0.
    pub depth: i32,
    /// The holder of the one it comes from, "" for a root.
    pub delegated_by: String,
    /// How its claims are written.
    pub profile: Profile,
    /// Short name of the grant.
    pub grant_type: &'static str,
    /// Its `sub`.
    pub subject: String,
    /// The person behind it, "" if unknown.
    pub user_id: String,
    /// What it may do.
    pub scopes: Scopes,
    /// For whom it is meant; no member holds a space.
    pub audience: Vec<String>,
    /// When it was issued.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
    /// For whom the chain acts; `None` for an identity's root.
    pub principal: Option<Principal>,
    /// Who acts, newest first; empty for a root.
    pub actors: Vec<Hop>,
}

/// Something that works once. The kind is part of its key, so it passes for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// What it is.
    pub kind: &'static str,
    /// By what it is recognised.
    pub key: [u8; 32],
    /// From when on it is refused anyway, so that its row may go.
    pub until: Time,
}

/// The kind of authorization codes. A second use of one ends what the first use obtained (RFC 6749 section 4.1.2).
pub const CODE: &str = "authorization_code";

/// What its holder makes anew for every request: nobody misses one that was used up in vain.
const MADE_ANEW: [&str; 3] = ["assertion", "client_assertion", "dpop_proof"];

/// What one token request leaves behind.
#[derive(Clone, Debug)]
pub enum Record {
    /// A token, with the audit row that tells of it.
    Issue(Box<Credential>, Entry),
    /// A token that uses something up, or goes out beside a refresh token.
    IssueOnce(Box<Credential>, Entry, Box<Once>),
    /// A refusal with a known principal.
    Refusal(Entry),
    /// The same of something that was used before, and of a kind by which that ends what the first use obtained.
    Reuse(Entry, Artefact),
}

/// What a token uses up, and the entry that is written instead when another record was first.
#[derive(Clone, Debug)]
pub struct Once {
    /// What is used up.
    pub artefacts: Vec<Artefact>,
    /// Tells of the refusal, for each kind of what is used up. A kind without an entry leaves none: the request is decided
    /// again.
    pub refusals: Vec<(&'static str, Entry)>,
    /// The refresh token that goes out beside the access token.
    pub refresh: Option<NewToken>,
}

impl Once {
    /// The entry for the kind of artefact that was used before.
    fn refusal(&self, kind: &str) -> Option<&Entry> {
        self.refusals.iter().find(|(of, _)| *of == kind).map(|(_, entry)| entry)
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Written,
    /// An artefact of this kind was used before; the refusal is durable.
    Used(&'static str),
}

impl Record {
    pub(super) fn artefacts(&self) -> &[Artefact] {
        match self {
            Self::IssueOnce(_, _, once) => &once.artefacts,
            Self::Issue(..) | Self::Refusal(_) | Self::Reuse(..) => &[],
        }
    }

    /// Whether its client loses nothing but the request when the server dies between using up what works once and writing
    /// the rest.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::IssueOnce(_, _, once) => {
                once.refresh.is_none()
                    && once.artefacts.iter().all(|artefact| MADE_ANEW.contains(&artefact.kind))
            }
            Self::Issue(..) | Self::Refusal(_) => true,
            Self::Reuse(..) => false,
        }
    }

    /// The id under which the record's artefacts are used.
    pub(super) fn user(&self) -> Uuid {
        match self {
            Self::Issue(credential, _) | Self::IssueOnce(credential, ..) => credential.jti,
            Self::Refusal(entry) | Self::Reuse(entry, _) => entry.id,
        }
    }

    /// The credential with the refresh token that goes out beside it, if both are to be written.
    pub(super) fn refreshed(&self, outcome: Outcome) -> Option<(&Credential, &NewToken)> {
        match (self, outcome) {
            (Self::IssueOnce(credential, _, once), Outcome::Written) => {
                Some((&**credential, once.refresh.as_ref()?))
            }
            _ => None,
        }
    }

    /// The code that was used again, with what is written of it.
    pub(super) fn reused(&self, outcome: Outcome) -> Option<(&Artefact, &Entry)> {
        match (self, outcome) {
            (Self::Reuse(entry, artefact), _) => Some((artefact, entry)),
            (Self::IssueOnce(_, _, once), Outcome::Used(CODE)) => {
                once.artefacts.iter().find(|artefact| artefact.kind == CODE).zip(once.refusal(CODE))
            }
            _ => None,
        }
    }

    /// The rows to write, given the outcome.
    pub(super) fn rows(&self, outcome: Outcome) -> (Option<&Credential>, Option<&Entry>) {
        match (self, outcome) {
            (Self::IssueOnce(_, _, once), Outcome::Used(kind)) => (None, once.refusal(kind)),
            (Self::Issue(credential, entry) | Self::IssueOnce(credential, entry, ..), _) => {
                (Some(credential), Some(entry))
            }
            (Self::Refusal(entry) | Self::Reuse(entry, _), _) => (None, Some(entry)),
        }
    }
}
