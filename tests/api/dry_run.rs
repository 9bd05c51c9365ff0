//! A dry run names exactly what then ends, and leaves nothing; each ended credential has its event in the end.

use std::collections::{BTreeMap, BTreeSet};

use chancery::tokens::worker::announce;
use proptest::prelude::*;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use crate::events::{for_polls, settle};
use crate::forest::Node;
use crate::server::Server;

/// A credential of a random forest.
#[derive(Clone, Debug)]
struct Plan {
    /// Below which of those before it; a root where there is none.
    parent: Option<prop::sample::Index>,
    holder: usize,
    expired: bool,
    dead: Option<bool>,
}

/// Three agents of a case, of which two have the same owner.
const AGENTS: usize = 3;

fn forest() -> impl Strategy<Value = Vec<Plan>> {
    let parent = prop::option::weighted(0.8, any::<prop::sample::Index>());
    let dead = prop::option::weighted(0.15, any::<bool>());
    let plan = (parent, 0..AGENTS, prop::bool::weighted(0.1), dead);
    let plan = plan.prop_map(|(parent, holder, expired, dead)| Plan { parent, holder, expired, dead });
    prop::collection::vec(plan, 1..12)
}

/// Agent, what to do with it, and for how many polls the worker then runs before it is killed.
fn steps() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    prop::collection::vec((0..AGENTS, 0..5_usize, 0..40_usize), 1..4)
}

struct Case {
    agents: Vec<(String, String)>,
    nodes: Vec<Node>,
}

impl Case {
    async fn plant(server: &Server, number: usize, plans: &[Plan]) -> Self {
        let mut agents = Vec::new();
        for agent in 0..AGENTS {
            let owner = format!("{}-{number}@x", if agent < 2 { "leaver" } else { "stayer" });
            let answer = server.register(&format!("a{number}-{agent}"), json!({ "created_by": owner })).await;
            let answer = answer.expect(201);
            agents.push((
                answer.body["identity"]["id"].as_str().unwrap().to_owned(),
                answer.text_of("api_key").to_owned(),
            ));
        }
        let mut nodes: Vec<Node> = Vec::new();
        for plan in plans {
            let (id, key) = &agents[plan.holder];
            let node = match &plan.parent {
                Some(parent) if !nodes.is_empty() => server.child(parent.get(&nodes), id).await,
                _ => server.root(key).await,
            };
            nodes.push(node);
        }
        let now = server.app.clock.now();
        for (plan, node) in plans.iter().zip(&nodes) {
            let holder = &agents[plan.holder].0;
            match plan.dead {
                Some(true) => {
                    server.alter(node, &format!("revoked_at = '{now}'")).await;
                    plant_mark(server, "credential", &node.jti.to_string(), "null").await;
                }
                Some(false) => {
                    server.alter(node, "agent_epoch = agent_epoch - 1").await;
                    plant_mark(server, "identity", holder, "-1").await;
                }
                None => {}
            }
            if plan.expired {
                server.alter(node, &format!("expires_at = '{now}'")).await;
            }
        }
        Self { agents, nodes }
    }

    /// Method, path, body and the reason that stands with what ends.
    fn change(
        &self,
        number: usize,
        agent: usize,
        action: usize,
    ) -> (&'static str, String, Value, &'static str) {
        let id = &self.agents[agent].0;
        let owner = json!({ "owner_user_id": format!("leaver-{number}@x"), "reason": "left" });
        match action {
            0 => ("POST", format!("/agents/{id}/tokens/revoke-all"), Value::Null, "agent_tokens_revoked"),
            1 => ("POST", format!("/agents/registry/{id}/deactivate"), Value::Null, "identity_deactivated"),
            2 => ("DELETE", format!("/agents/registry/{id}"), Value::Null, "identity_deactivated"),
            _ => ("POST", "/identities/offboard-by-owner".to_owned(), owner, "left"),
        }
    }

    async fn active(&self, server: &Server) -> BTreeSet<Uuid> {
        server.active(&self.nodes).await.into_iter().map(|place| self.nodes[place].jti).collect()
    }
}

/// A mark of the time before.
async fn plant_mark(server: &Server, anchor: &str, id: &str, epoch: &str) {
    let now = server.app.clock.now();
    let row = chancery::kit::ids::new(now).unwrap();
    server
        .run_sql(format!(
            "insert into revocations (id, account_id, project_id, anchor, anchor_id, epoch, reason, marked_at)
             values ('{row}', 'acme', 'demo', '{anchor}', '{id}', {epoch}, 'planted', '{now}') on conflict do nothing"
        ))
        .await;
}

/// The credentials that a dry run names; it leaves nothing.
async fn rehearse(server: &Server, (method, path, body): (&str, &str, &Value)) -> BTreeSet<Uuid> {
    let before = (server.everything().await, server.audited().await);
    let dry = server.admin(method, &format!("{path}?dry_run=true")).body(body).send().await.expect(200).body;
    assert_eq!((server.everything().await, server.audited().await), before);
    let jtis: BTreeSet<Uuid> = serde_json::from_value(dry["jtis"].clone()).unwrap();
    assert_eq!((&dry["dry_run"], &dry["revoked_count"]), (&json!(true), &json!(jtis.len())));
    jtis
}

async fn check(server: &Server, number: usize, plans: &[Plan], steps: &[(usize, usize, usize)]) {
    let case = Case::plant(server, number, plans).await;
    let mut told = BTreeMap::new();
    for (agent, action, polls) in steps {
        server.app.clock.advance(Duration::SECOND);
        if *action == 4 {
            server.patch(&case.agents[*agent].0, json!({ "status": "suspended" })).await;
        }
        let (method, path, body, reason) = case.change(number, *agent, *action);
        let (unended, active) = (server.unended().await, case.active(server).await);
        let named = rehearse(server, (method, &path, &body)).await;
        let done = server.admin(method, &path).body(&body).send().await.expect(200).body;
        for count in ["revoked_count", "credentials_revoked"] {
            assert!(done.get(count).is_none_or(|count| *count == json!(named.len())), "{done}");
        }
        let left: BTreeSet<Uuid> = server.unended().await.into_iter().collect();
        let ended: BTreeSet<Uuid> = unended.into_iter().filter(|jti| !left.contains(jti)).collect();
        assert_eq!(named, ended, "{plans:?} {steps:?}");
        let gone: BTreeSet<Uuid> = &active - &case.active(server).await;
        assert_eq!(gone, &active & &named, "{plans:?} {steps:?}");
        told.extend(named.into_iter().map(|jti| (jti, reason.to_owned())));
        for_polls(*polls, announce(&server.app)).await;
    }
    settle(server).await;
    let jtis: Vec<Uuid> = case.nodes.iter().map(|node| node.jti).collect();
    let events: Vec<(Uuid, String)> = sqlx::query_as(
        "select subject_id, payload ->> 'reason' from outbox
             where subject_id = any($1) and payload ->> 'reason' <> 'planted'",
    )
    .bind(jtis)
    .fetch_all(&server.app.db)
    .await
    .unwrap();
    assert_eq!(events.len(), told.len(), "{plans:?} {steps:?}");
    assert_eq!(events.into_iter().collect::<BTreeMap<_, _>>(), told, "{plans:?} {steps:?}");
}

#[test]
fn what_a_dry_run_names_is_what_ends_and_what_events_tell_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::new());
    let number = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(plans in forest(), steps in steps())| {
        number.set(number.get() + 1);
        runtime.block_on(check(&server, number.get(), &plans, &steps));
    });
}

#[tokio::test]
async fn a_dry_run_answers_in_one_shape_and_refuses_what_the_change_refuses() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let root = server.root(&key).await;
    let dry = json!({ "dry_run": true, "revoked_count": 1, "jtis": [root.jti] });
    let owner = json!({ "owner_user_id": "dev@company.example" });
    for (method, path) in [
        ("POST", format!("/agents/registry/{id}/deactivate")),
        ("DELETE", format!("/agents/registry/{id}")),
        ("POST", format!("/agents/{id}/tokens/revoke-all")),
    ] {
        for mount in crate::world::MOUNTS {
            let call = server.admin(method, &format!("{mount}{path}?dry_run=true"));
            assert_eq!(call.send().await.expect(200).body, dry);
        }
        let audited = server.audited().await;
        server.admin(method, &format!("{path}?dry_run=maybe")).send().await.problem(400);
        let unknown = path.replace(&id, "01890000-0000-7000-8000-000000000000");
        server.admin(method, &format!("{unknown}?dry_run=true")).send().await.problem(404);
        server.call(method, &format!("{path}?dry_run=1")).tenant("evil", "demo").send().await.problem(404);
        assert_eq!(server.audited().await, audited);
    }
    let path = "/identities/offboard-by-owner?dry_run=true";
    let body = server.admin("POST", path).json(&owner).send().await.expect(200).body;
    assert_eq!(
        body,
        json!({ "identities_deactivated": 1, "dry_run": true, "revoked_count": 1, "jtis": [root.jti] })
    );
    server.admin("POST", path).json(json!({ "owner_user_id": " " })).send().await.problem(400);
    server.admin("POST", path).raw("application/json", "{").send().await.problem(400);
    assert!(server.is_active(&root.token).await && server.key_works(&key).await);
    // An agent that is deactivated, or can't be, has nothing to end.
    server.act(&id, "deactivate").await.expect(200);
    let path = format!("/agents/registry/{id}/deactivate?dry_run=true");
    let none = json!({ "dry_run": true, "revoked_count": 0, "jtis": [] });
    assert_eq!(server.admin("POST", &path).send().await.expect(200).body, none);
}
