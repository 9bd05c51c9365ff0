//! Who acts for whom in a delegated token: the facts, of which each profile of claims shows its own picture.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agents::Holder;
use crate::kit::clock::Time;
use crate::users::Person;

/// For whom a chain of delegations acts: the holder of its root, or the person in whose name that one acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The root's holder, as a URI; a person by the name that rows call them.
    pub sub: String,
    /// The person's id, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_id: Option<Uuid>,
    /// The same by its id; rows of before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<Uuid>,
    /// The client that obtained the root, "" if none did.
    #[serde(default)]
    pub client_id: String,
    /// The tenant's own id for the holder.
    pub external_id: String,
    /// What kind of thing it is.
    pub identity_type: String,
    /// How far it was trusted.
    pub trust_level: String,
}

/// One hop of a chain: an agent that was let act, when, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The actor, as a URI.
    pub sub: String,
    /// The client as which it authenticated, "" if it did not.
    #[serde(default)]
    pub client_id: String,
    /// The actor's id.
    pub agent_id: Uuid,
    /// When, in seconds since 1970.
    pub iat: i64,
    /// What it was given at this hop, space-separated.
    pub scope: String,
    /// The key to which the hop's token is bound (RFC 7638), if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
}

/// The credential from which a delegated one comes.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its jti.
    pub jti: Uuid,
    /// Its `sub`.
    pub subject: String,
    /// Its holder, as a URI.
    pub holder_uri: String,
    /// Those above it, the root first.
    pub ancestors: Vec<Uuid>,
    /// The root of the tree.
    pub mission_id: Uuid,
    /// How deep it stands; a root has 0.
    pub depth: i32,
    /// When it ends, or something that it rests on.
    pub active_until: Time,
    /// For whom the chain acts.
    pub principal: Principal,
    /// Who acted so far, newest first.
    pub actors: Vec<Hop>,
}

impl Parent {
    /// The ancestors of a child of it, the root first.
    pub fn lineage(&self) -> Vec<Uuid> {
        self.ancestors.iter().copied().chain([self.jti]).collect()
    }

    /// The actors of a token that `hop` obtains from it. Who narrows his own token is no further actor.
    pub fn actors_with(&self, hop: Hop) -> Vec<Hop> {
        if self.holder_uri == hop.sub {
            return self.actors.clone();
        }
        [hop].into_iter().chain(self.actors.iter().cloned()).collect()
    }
}

impl Principal {
    /// A person, in whose name the client acts.
    pub fn person(person: &Person, client_id: &str) -> Self {
        Self {
            sub: person.user_id.clone(),
            person_id: Some(person.id),
            identity_id: None,
            client_id: client_id.to_owned(),
            external_id: String::new(),
            identity_type: String::new(),
            trust_level: String::new(),
        }
    }

    /// The principal of a chain that begins with this holder.
    pub fn of(holder: &Holder, client_id: &str) -> Self {
        Self {
            sub: holder.wimse_uri.clone(),
            person_id: None,
            identity_id: Some(holder.identity_id),
            client_id: client_id.to_owned(),
            external_id: holder.external_id.clone(),
            identity_type: holder.identity_type.as_str().to_owned(),
            trust_level: holder.trust_level.as_str().to_owned(),
        }
    }
}
