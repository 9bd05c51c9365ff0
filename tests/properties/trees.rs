//! Random trees of delegations: a dry run names exactly what ends, its count is the one that the change answers, and the
//! events afterwards tell of the same.

use proptest::prelude::*;

use crate::model::Rules;
use crate::ops::{self, Actor, AgentSpec, ClientSpec, Op, Pick};
use crate::run::check;
use crate::scopes::{Grants, Scopes};

/// Everybody may delegate everything to everybody.
fn furnish() -> Vec<Op> {
    let rules = Rules { ttl: 3600, grants: Grants::ALL, scopes: None, trust: 0, depth: 64, active: true };
    let agent = |owner| {
        Op::Register(AgentSpec { policy: 0, key_policy: None, allowed: None, trust: 0, owner, ends: None })
    };
    let client = |agent| {
        Op::NewClient(ClientSpec { agent, scopes: Scopes::of(["a", "b"]), grants: Grants::ALL, ttl: 0 })
    };
    vec![Op::NewPolicy(rules), agent(0), agent(1), agent(0), client(0), client(1)]
}

fn growth() -> impl Strategy<Value = Op> {
    let (scopes, audience) = (Scopes::of(["a"]), None);
    let root = move |key| Op::ByKey { key: Pick::Useful(key), client: None, scopes };
    let by_client = move |client| Op::ByClient { client: Pick::Useful(client), old_secret: false, scopes };
    let actor = prop_oneof![
        3 => (0..8_usize).prop_map(|agent| Actor::Agent(Pick::Useful(agent))),
        1 => (0..8_usize).prop_map(|client| Actor::Both(Pick::Useful(client))),
    ];
    let subject = prop_oneof![2 => (0..64_usize).prop_map(Pick::Useful), 1 => Just(Pick::Last)];
    prop_oneof![
        1 => (0..8_usize).prop_map(root),
        1 => (0..8_usize).prop_map(by_client),
        8 => (subject, actor)
            .prop_map(move |(subject, actor)| Op::Exchange { subject, actor, scopes, audience }),
    ]
}

#[test]
fn a_dry_run_names_exactly_what_ends() {
    let grown = prop::collection::vec(growth(), 1..=60);
    let pruned =
        prop::collection::vec(prop_oneof![3 => ops::ending(), 2 => ops::state(), 3 => growth()], 1..=30);
    check(10, (grown, pruned), &async |world, (grown, pruned)| {
        let history: Vec<Op> = furnish().into_iter().chain(grown).chain(pruned).collect();
        world.run(&history).await?;
        world.check_agreement().await
    });
}
