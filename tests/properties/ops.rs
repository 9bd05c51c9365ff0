//! What can happen in the world, and how a history of it is drawn. Positions are taken modulo what there is, so that a
//! history stays one when parts of it are left out.

use proptest::prelude::*;

use crate::model::{Rules, Status};
use crate::scopes::{Ceiling, Grant, Grants, Scopes};

/// One of a kind: of those that are of use where there are any, or of all, or the newest.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    Useful(usize),
    Any(usize),
    Last,
}

#[derive(Clone, Copy, Debug)]
pub struct AgentSpec {
    pub policy: usize,
    pub key_policy: Option<usize>,
    pub allowed: Ceiling,
    pub trust: usize,
    pub owner: usize,
    /// Seconds until it ends.
    pub ends: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub struct ClientSpec {
    pub agent: usize,
    pub scopes: Scopes,
    pub grants: Grants,
    pub ttl: i64,
}

/// Who exchanges.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// An agent that signs.
    Agent(Pick),
    /// The subject's own holder, who narrows.
    Holder,
    /// A client that authenticates.
    Client(Pick),
    /// A client, beside its agent's signature.
    Both(Pick),
    /// A client, beside any agent's signature.
    Mixed(Pick, usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Change {
    Ttl(i64),
    Grants(Grants),
    Scopes(Ceiling),
    Depth(i32),
    Trust(usize),
    Active(bool),
    /// Seconds until it ends.
    Ends(i64),
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    NewPolicy(Rules),
    Register(AgentSpec),
    RegisterAgain(usize),
    NewClient(ClientSpec),
    ByKey {
        key: Pick,
        client: Option<usize>,
        scopes: Scopes,
    },
    ByClient {
        client: Pick,
        old_secret: bool,
        scopes: Scopes,
    },
    BySignature {
        agent: Pick,
        old_key: bool,
        client: Option<usize>,
        scopes: Scopes,
    },
    Issue {
        agent: Pick,
        grant: Grant,
        seconds: i64,
        scopes: Scopes,
        audience: usize,
        may_act: Option<usize>,
    },
    Exchange {
        subject: Pick,
        actor: Actor,
        scopes: Scopes,
        audience: Option<usize>,
    },
    RotateCredential(Pick),
    RevokeToken(Pick),
    RevokeCredential(Pick),
    NewKey {
        agent: usize,
        policy: Option<usize>,
        scopes: Ceiling,
    },
    KeyEnds {
        key: usize,
        seconds: i64,
    },
    RevokeKey(Pick),
    RotateKey(usize),
    RotateSecret {
        client: usize,
        overlap: i64,
    },
    ChangeClient {
        client: usize,
        scopes: Scopes,
        grants: Grants,
    },
    ActivateClient(usize, bool),
    RevokeClientTokens(usize),
    RevokeByPattern(bool),
    DeleteClient(usize),
    ClientAgain(usize),
    RevokeAgentTokens(usize),
    Offboard(usize),
    Become(usize, Status),
    Delete(usize),
    NewSigner(usize),
    Trust(usize, usize),
    Allow(usize, Ceiling),
    Move(usize, usize),
    ChangePolicy(usize, Change),
    MayAct {
        actor: usize,
        principal: usize,
        hops: usize,
        scopes: Ceiling,
    },
    MayNotAct(usize),
    Tenant(bool),
    Advance(i64),
    /// The very end of a token, or a microsecond before it.
    MeetEnd(Pick, bool),
    /// The worker that ends agents past their end.
    Expire,
    /// The worker that tells of what ended.
    Announce,
    /// The key that signs has leaked.
    RevokeSigningKey,
}

/// A history: first the world is furnished, then anything happens.
pub fn history(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    let furnish = (
        prop::collection::vec(rules().prop_map(Op::NewPolicy), 1..=3),
        prop::collection::vec(agent().prop_map(Op::Register), 2..=4),
        prop::collection::vec(client().prop_map(Op::NewClient), 2),
    );
    (furnish, prop::collection::vec(op(), 1..=longest)).prop_map(|((policies, agents, clients), rest)| {
        policies.into_iter().chain(agents).chain(clients).chain(rest).collect()
    })
}

fn small() -> std::ops::Range<usize> {
    0..8
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![4 => (0..32_usize).prop_map(Pick::Useful), 1 => (0..32_usize).prop_map(Pick::Any)]
}

fn scopes() -> impl Strategy<Value = Scopes> {
    let any = (0..Scopes::SETS).prop_map(Scopes::numbered);
    prop_oneof![1 => Just(Scopes::default()), 4 => any, 4 => Just(Scopes::numbered(Scopes::SETS - 1))]
}

/// An empty list does not restrict, so it is none.
fn ceiling() -> impl Strategy<Value = Ceiling> {
    prop_oneof![3 => Just(None), 1 => (1..Scopes::SETS).prop_map(|number| Some(Scopes::numbered(number)))]
}

fn grants() -> impl Strategy<Value = Grants> {
    prop_oneof![4 => Just(Grants::ALL), 1 => (0..16_u8).prop_map(Grants::numbered)]
}

fn some_grants() -> impl Strategy<Value = Grants> {
    grants().prop_filter("a client has a grant", |grants| !grants.is_empty())
}

fn ttl() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(3600_i64), 2 => Just(600), 1 => Just(60), 1 => Just(1)]
}

fn trust() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0_usize), 1 => 0..3_usize]
}

fn rules() -> impl Strategy<Value = Rules> {
    let parts = (ttl(), grants(), ceiling(), trust(), 0..7_i32, prop::bool::weighted(0.95));
    parts.prop_map(|(ttl, grants, scopes, trust, depth, active)| Rules {
        ttl,
        grants,
        scopes,
        trust,
        depth,
        active,
    })
}

fn agent() -> impl Strategy<Value = AgentSpec> {
    let ends = prop_oneof![4 => Just(None), 1 => (1..4000_i64).prop_map(Some)];
    let key_policy = prop_oneof![2 => Just(None), 1 => small().prop_map(Some)];
    (small(), key_policy, ceiling(), 0..3_usize, 0..2_usize, ends).prop_map(
        |(policy, key_policy, allowed, trust, owner, ends)| AgentSpec {
            policy,
            key_policy,
            allowed,
            trust,
            owner,
            ends,
        },
    )
}

fn client() -> impl Strategy<Value = ClientSpec> {
    let ttl = prop_oneof![2 => Just(0_i64), 1 => ttl()];
    (small(), scopes(), some_grants(), ttl).prop_map(|(agent, scopes, grants, ttl)| ClientSpec {
        agent,
        scopes,
        grants,
        ttl,
    })
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        6 => pick().prop_map(Actor::Agent),
        2 => Just(Actor::Holder),
        4 => pick().prop_map(Actor::Client),
        2 => pick().prop_map(Actor::Both),
        1 => (pick(), small()).prop_map(|(client, agent)| Actor::Mixed(client, agent)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        ttl().prop_map(Change::Ttl),
        grants().prop_map(Change::Grants),
        ceiling().prop_map(Change::Scopes),
        (0..7_i32).prop_map(Change::Depth),
        (0..3_usize).prop_map(Change::Trust),
        prop::bool::weighted(0.7).prop_map(Change::Active),
        (1..900_i64).prop_map(Change::Ends),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![12 => issuance(), 4 => ending(), 3 => state(), 3 => administration()]
}

fn issuance() -> impl Strategy<Value = Op> {
    let client = || prop_oneof![3 => Just(None), 1 => small().prop_map(Some)];
    let audience = prop_oneof![4 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    let grant = (0..4_usize).prop_map(|at| Grant::ALL[at]);
    let old = || prop::bool::weighted(0.1);
    prop_oneof![
        3 => (pick(), client(), scopes()).prop_map(|(key, client, scopes)| Op::ByKey { key, client, scopes }),
        2 => (pick(), old(), scopes())
            .prop_map(|(client, old_secret, scopes)| Op::ByClient { client, old_secret, scopes }),
        2 => (pick(), old(), client(), scopes())
            .prop_map(|(agent, old_key, client, scopes)| Op::BySignature { agent, old_key, client, scopes }),
        1 => (pick(), grant, prop_oneof![2 => Just(0_i64), 1 => ttl()], scopes(), 0..3_usize, client()).prop_map(
            |(agent, grant, seconds, scopes, audience, may_act)| {
                Op::Issue { agent, grant, seconds, scopes, audience, may_act }
            }
        ),
        6 => (pick(), actor(), scopes(), audience).prop_map(
            |(subject, actor, scopes, audience)| Op::Exchange { subject, actor, scopes, audience }
        ),
        1 => pick().prop_map(Op::RotateCredential),
    ]
}

pub fn ending() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => pick().prop_map(Op::RevokeToken),
        3 => pick().prop_map(Op::RevokeCredential),
        2 => pick().prop_map(Op::RevokeKey),
        2 => small().prop_map(Op::RevokeClientTokens),
        1 => any::<bool>().prop_map(Op::RevokeByPattern),
        1 => small().prop_map(Op::DeleteClient),
        2 => small().prop_map(Op::RevokeAgentTokens),
        1 => (0..3_usize).prop_map(Op::Offboard),
        2 => small().prop_map(|agent| Op::Become(agent, Status::Deactivated)),
        1 => small().prop_map(Op::Delete),
    ]
}

pub fn state() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => small().prop_map(|agent| Op::Become(agent, Status::Active)),
        2 => small().prop_map(|agent| Op::Become(agent, Status::Suspended)),
        1 => Just(Op::Tenant(false)),
        4 => Just(Op::Tenant(true)),
        2 => prop_oneof![0..3_i64, 10..90_i64, 300..1200_i64].prop_map(Op::Advance),
        1 => (pick(), any::<bool>()).prop_map(|(token, before)| Op::MeetEnd(token, before)),
        1 => Just(Op::Expire),
        1 => Just(Op::Announce),
        1 => Just(Op::RevokeSigningKey),
    ]
}

fn administration() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => agent().prop_map(Op::Register),
        1 => small().prop_map(Op::RegisterAgain),
        1 => small().prop_map(Op::ClientAgain),
        2 => small().prop_map(Op::RotateKey),
        2 => (small(), prop::option::of(small()), ceiling())
            .prop_map(|(agent, policy, scopes)| Op::NewKey { agent, policy, scopes }),
        1 => (small(), 0..900_i64).prop_map(|(key, seconds)| Op::KeyEnds { key, seconds }),
        1 => (small(), prop_oneof![Just(0_i64), Just(60)])
            .prop_map(|(client, overlap)| Op::RotateSecret { client, overlap }),
        1 => (small(), scopes(), some_grants())
            .prop_map(|(client, scopes, grants)| Op::ChangeClient { client, scopes, grants }),
        2 => (small(), prop::bool::weighted(0.7)).prop_map(|(client, on)| Op::ActivateClient(client, on)),
        1 => small().prop_map(Op::NewSigner),
        1 => (small(), 0..3_usize).prop_map(|(agent, level)| Op::Trust(agent, level)),
        2 => (small(), ceiling()).prop_map(|(agent, ceiling)| Op::Allow(agent, ceiling)),
        1 => (small(), small()).prop_map(|(agent, policy)| Op::Move(agent, policy)),
        3 => (small(), change()).prop_map(|(policy, change)| Op::ChangePolicy(policy, change)),
        2 => (small(), small(), 1..4_usize, ceiling()).prop_map(
            |(actor, principal, hops, scopes)| Op::MayAct { actor, principal, hops, scopes }
        ),
        1 => small().prop_map(Op::MayNotAct),
    ]
}
