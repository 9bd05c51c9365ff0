//! Delegation: who may act for whom, and what has come of it, as chains and trees of credentials.
mod lineage;
mod may_act;
mod store;

pub mod routes;

pub use lineage::{Chain, Edge, Graph, Lineage, Node, by_jti, chains, graph};
pub use may_act::{MayAct, NewMayAct, Question, authorize, create, list, revoke};
pub use store::MayActFilter;
