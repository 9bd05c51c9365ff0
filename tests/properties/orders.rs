//! The few things that end or wake an agent, in every order up to some length and in random longer ones. Nothing that ended
//! comes back, and nothing new is killed by what was ended before: after each of them the agent asks for more.

use proptest::prelude::*;

use crate::model::{Rules, Status};
use crate::ops::{Actor, AgentSpec, ClientSpec, Op, Pick};
use crate::run::{asked, check, run};
use crate::scopes::{Grants, Scopes};
use crate::world::World;

/// Agents 0 and 1: a bystander, and the one to whom everything happens.
const ONE: usize = 1;

const LETTERS: [Op; 13] = [
    Op::Become(ONE, Status::Deactivated),
    Op::Become(ONE, Status::Active),
    Op::Become(ONE, Status::Suspended),
    Op::RotateKey(ONE),
    Op::RevokeKey(Pick::Last),
    Op::RotateCredential(Pick::Last),
    Op::RevokeCredential(Pick::Last),
    Op::RevokeAgentTokens(ONE),
    Op::Offboard(ONE),
    Op::ActivateClient(0, false),
    Op::ActivateClient(0, true),
    Op::Tenant(false),
    Op::Tenant(true),
];

fn furnish() -> Vec<Op> {
    let rules = Rules { ttl: 3600, grants: Grants::ALL, scopes: None, trust: 0, depth: 64, active: true };
    let agent = |owner| AgentSpec { policy: 0, key_policy: None, allowed: None, trust: 0, owner, ends: None };
    let client = ClientSpec { agent: ONE, scopes: Scopes::of(["a", "b"]), grants: Grants::ALL, ttl: 0 };
    vec![Op::NewPolicy(rules), Op::Register(agent(0)), Op::Register(agent(ONE)), Op::NewClient(client)]
}

/// A token by the key and one by the client, each with one that the bystander derives from it.
fn more() -> [Op; 4] {
    let scopes = Scopes::of(["a", "b"]);
    let (subject, actor) = (Pick::Last, Actor::Agent(Pick::Any(0)));
    let derived = Op::Exchange { subject, actor, scopes, audience: None };
    [
        Op::ByKey { key: Pick::Last, client: None, scopes },
        derived,
        Op::ByClient { client: Pick::Any(0), old_secret: false, scopes },
        derived,
    ]
}

fn spelled(letters: &[usize]) -> Vec<Op> {
    let said = letters.iter().flat_map(|letter| [LETTERS[*letter]].into_iter().chain(more()));
    furnish().into_iter().chain(more()).chain(said).collect()
}

async fn goes(world: &mut World<'_>, letters: &[usize]) -> Result<(), String> {
    world.run(&spelled(letters)).await?;
    world.check_nothing_comes_back().await
}

/// Every word of the length.
fn words(length: u32) -> impl Iterator<Item = Vec<usize>> {
    let all = LETTERS.len();
    (0..all.pow(length)).map(move |number| (0..length).map(|place| number / all.pow(place) % all).collect())
}

#[test]
fn in_every_order_nothing_comes_back_and_nothing_new_is_killed() {
    let length = match asked() {
        Some(cases) if cases >= 10_000 => 4,
        Some(cases) if cases >= 500 => 3,
        _ => 2,
    };
    run(async |site| {
        for word in words(length) {
            goes(&mut site.world(), &word).await?;
        }
        Ok(())
    });
}

#[test]
fn the_same_holds_in_longer_orders() {
    check(16, prop::collection::vec(0..LETTERS.len(), 3..=12), &async |world, word| {
        goes(world, &word).await?;
        world.check_agreement().await
    });
}
