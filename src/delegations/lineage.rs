//! Where a credential comes from and what hangs together with it: edges are credentials, nodes their holders.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse};
use crate::tokens::{Ended, Standing, ended};

/// The most edges that a graph shows.
pub(super) const MOST_EDGES: usize = 500;

/// A credential with its holder, as one read finds them.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Link {
    pub parent_jti: Option<Uuid>,
    pub mission_id: Uuid,
    pub identity_id: Option<Uuid>,
    pub grant_type: String,
    pub delegation_depth: i32,
    pub scopes: Vec<String>,
    pub issued_at: Time,
    pub expires_at: Time,
    #[sqlx(flatten)]
    pub standing: Standing,
    #[sqlx(flatten)]
    pub holder: Node,
}

/// An identity in a chain. A client that has none, or one that is gone, is no node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = DelegationNode)]
pub struct Node {
    /// A UUID of version 7.
    pub id: String,
    /// Its SPIFFE-style URI.
    pub wimse_uri: String,
    /// What people call it.
    pub name: String,
    /// What kind of thing it is.
    pub identity_type: String,
    /// How far it is trusted.
    pub trust_level: String,
    /// Where it is in its life now, not when a token was issued.
    pub status: String,
}

/// A credential as a step from its parent's holder to its own. No member is ever null: clients refuse that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DelegationEdge)]
pub struct Edge {
    /// The credential.
    pub jti: Uuid,
    /// The one it was derived from, "" for a root.
    pub parent_jti: String,
    /// Who held the parent, "" for a root.
    pub from: String,
    /// Who holds it, "" for a client without an identity.
    pub to: String,
    /// The root of its tree.
    pub mission_id: Uuid,
    /// When it was issued.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub issued_at: Time,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub expires_at: Time,
    /// Short name of the grant.
    pub grant_type: String,
    /// How many delegations lie between it and its root.
    pub delegation_depth: i32,
    /// What the parent may do; a root's own scopes.
    pub scopes_in: Vec<String>,
    /// What it may do.
    pub scopes_out: Vec<String>,
    /// What the parent may do and it may not.
    pub attenuated: Vec<String>,
    /// Whether a mark ended it, its own or one above it, or it does not stand for a reason that no node shows.
    pub is_revoked: bool,
    /// When it was revoked, where that is known.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub revoked_at: Option<Time>,
    /// Why, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_reason: Option<String>,
}

/// A chain from the root to the credential that was asked for, or the trees of a graph, each root first.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DelegationLineage)]
pub struct Lineage {
    /// Each identity once.
    pub nodes: Vec<Node>,
    /// Every credential.
    pub edges: Vec<Edge>,
}

/// The trees that touch an identity.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DelegationGraph)]
pub struct Graph {
    /// The identity that was asked for.
    pub focal_id: Uuid,
    /// Nodes and edges.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// Whether there is more than is shown.
    pub truncated: bool,
}

/// What happened in one tree within the time that was asked for.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = DelegationChain)]
pub struct Chain {
    /// The tree's mission.
    pub chain_id: Uuid,
    /// When the first of the credentials was issued.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub started_at: Time,
    /// When the last one was.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub last_activity_at: Time,
    /// How many there are.
    pub credential_count: i64,
    /// The deepest delegation among them.
    pub max_depth: i32,
}

/// The chain of one credential, whatever has become of it.
pub async fn by_jti(cx: &mut Cx, jti: Uuid) -> Result<Lineage> {
    let unknown = || refuse(Kind::NotFound, "there is no credential with this jti");
    let chain = store::chain_of(cx, jti).await?.ok_or_else(unknown)?;
    Ok(Lineage::of(&store::links(cx, &chain).await?))
}

/// The whole trees in which the identity holds a credential, the newest first, down to `depth` generations below the
/// root. An unknown identity has none.
pub async fn graph(cx: &mut Cx, identity_id: Uuid, depth: i64) -> Result<Graph> {
    let mut trees = store::trees_of(cx, identity_id, depth, MOST_EDGES + 1).await?;
    let truncated = trees.len() > MOST_EDGES;
    trees.truncate(MOST_EDGES);
    let lineage = Lineage::of(&store::links(cx, &trees).await?);
    Ok(Graph { focal_id: identity_id, lineage, truncated })
}

/// The trees in which credentials were issued from `since` to `until`, the latest activity first.
pub async fn chains(cx: &mut Cx, since: Time, until: Time, limit: i64) -> Result<Vec<Chain>> {
    Ok(store::chains(cx, since, until, limit).await?)
}

impl Lineage {
    /// Of credentials together with all their ancestors, in such an order that no parent follows its child.
    fn of(links: &[Link]) -> Self {
        let mut seen = HashSet::new();
        let nodes = links.iter().map(|link| &link.holder).filter(|node| !node.id.is_empty());
        let nodes = nodes.filter(|node| seen.insert(&node.id)).cloned().collect();
        let places: HashMap<Uuid, &Link> = links.iter().map(|link| (link.standing.jti, link)).collect();
        let parent = |link: &Link| link.parent_jti.and_then(|parent| places.get(&parent).copied());
        let edges = links.iter().map(|link| Edge::of(link, parent(link), link.end(&places))).collect();
        Self { nodes, edges }
    }
}

impl Link {
    /// What ended the credential. What keeps it from standing and shows in no node's status counts too: whoever reads a
    /// chain has nothing else to go by.
    fn end(&self, places: &HashMap<Uuid, &Link>) -> Option<Ended> {
        let shown = ["", "identity_suspended", "identity_deactivated", "identity_expired"];
        let standing = &self.standing.standing;
        let hidden = || Ended { at: None, reason: standing.clone() };
        let known = |jti: &Uuid| places.get(jti).map(|link| &link.standing);
        ended(&self.standing, known).or_else(|| (!shown.contains(&standing.as_str())).then(hidden))
    }
}

impl Edge {
    fn of(link: &Link, parent: Option<&Link>, end: Option<Ended>) -> Self {
        let scopes_in = parent.unwrap_or(link).scopes.clone();
        let attenuated = scopes_in.iter().filter(|scope| !link.scopes.contains(scope)).cloned().collect();
        Self {
            jti: link.standing.jti,
            parent_jti: text(link.parent_jti),
            from: text(parent.and_then(|parent| parent.identity_id)),
            to: text(link.identity_id),
            mission_id: link.mission_id,
            issued_at: link.issued_at,
            expires_at: link.expires_at,
            grant_type: link.grant_type.clone(),
            delegation_depth: link.delegation_depth,
            scopes_in,
            scopes_out: link.scopes.clone(),
            attenuated,
            is_revoked: end.is_some(),
            revoked_at: end.as_ref().and_then(|end| end.at),
            revoke_reason: end.map(|end| end.reason),
        }
    }
}

fn text(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
