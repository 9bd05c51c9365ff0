//! The words that identities are described by, and how many of the tenant's go by which.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::store;
use crate::agents::{IdentityType, Status, TrustLevel};
use crate::kit::cx::Cx;
use crate::kit::error::Result;

/// How many identities go by which word.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Facets {
    /// By type.
    identity_types: Vec<Count>,
    /// By trust level.
    trust_levels: Vec<Count>,
    /// By status.
    statuses: Vec<Count>,
    /// Code agents, and others.
    identity_classes: Vec<Count>,
    /// By who made them, the most frequent.
    created_by: Vec<Count>,
    /// By how they came to be known.
    origins: Vec<Count>,
    /// How many nobody answers for.
    ownerless: i64,
    /// How many nobody took in.
    discovered: i64,
}

/// How many there are of a value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacetCount)]
struct Count {
    /// The value.
    value: String,
    /// How many.
    count: i64,
}

/// Counts the tenant's identities.
pub async fn facets(cx: &mut Cx) -> Result<Facets> {
    let mut facets = Facets::default();
    for (facet, value, count) in store::facets(cx).await? {
        let list = match facet.as_str() {
            "identity_types" => &mut facets.identity_types,
            "trust_levels" => &mut facets.trust_levels,
            "statuses" => &mut facets.statuses,
            "identity_classes" => &mut facets.identity_classes,
            "created_by" => &mut facets.created_by,
            "origins" => &mut facets.origins,
            "ownerless" => {
                facets.ownerless = count;
                continue;
            }
            _ => {
                facets.discovered = count;
                continue;
            }
        };
        list.push(Count { value, count });
    }
    Ok(facets)
}

/// The words, for whoever draws a form.
pub fn schema() -> Value {
    let types =
        [IdentityType::Agent, IdentityType::Application, IdentityType::McpServer, IdentityType::Service];
    let levels = [TrustLevel::Unverified, TrustLevel::VerifiedThirdParty, TrustLevel::FirstParty];
    let statuses = [
        Status::Discovered,
        Status::Pending,
        Status::Active,
        Status::Suspended,
        Status::Deactivated,
        Status::Expired,
    ];
    let with_sub_types = |kind: IdentityType| {
        let mut shown = word(kind.as_str());
        shown["sub_types"] = kind.sub_types().iter().map(|name| word(name)).collect();
        shown
    };
    json!({
        "identity_types": types.map(with_sub_types),
        "trust_levels": levels.map(|level| word(level.as_str())),
        "statuses": statuses.map(|status| word(status.as_str())),
        "origins": [word("native"), word("external")],
    })
}

/// A word as it stands in requests, as people read it, and what it means.
fn word(value: &str) -> Value {
    let mut label = value.replace('_', " ");
    if let Some(first) = label.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    json!({ "value": value, "label": label, "description": meaning(value) })
}

fn meaning(value: &str) -> &'static str {
    match value {
        "agent" => "acts on its own or for somebody",
        "application" => "is used by people",
        "mcp_server" => "offers tools to agents",
        "service" => "anything else that holds credentials",
        "unverified" => "nobody has vouched for it",
        "verified_third_party" => "another party has vouched for it",
        "first_party" => "it is the tenant's own",
        "discovered" => "seen somewhere, not yet taken in",
        "pending" => "taken in, not yet released",
        "active" => "usable",
        "suspended" => "asleep: its tokens wake with it",
        "deactivated" => "ended: its keys and tokens stay dead",
        "expired" => "past its end",
        "native" => "registered here",
        "external" => "reported by a source",
        _ => "",
    }
}
