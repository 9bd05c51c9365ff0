//! The matrix: every way to a credential, by every state of what it rests on, at every moment. It is generated, so a new
//! grant or state without a verdict does not pass.
mod rule;
mod scene;
mod state;
mod trust;
mod undo;
mod verdict;
mod way;

use std::sync::Arc;

use serde_json::json;

use crate::server::{Answer, Server};
use crate::tools::credentials;
use scene::Scene;
use state::State;
use undo::After;
use verdict::{Verdict, verdict};
use way::Way;

/// When the state comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Before the first request.
    Start,
    /// Between two requests of the same caller, on another replica.
    Between,
    /// Between the person's yes and the client's redemption of the code, on another replica.
    Redeem,
}

impl Moment {
    const ALL: [Self; 3] = [Self::Start, Self::Between, Self::Redeem];
}

/// How many cells there were, and what is wrong with them.
#[derive(Clone, Debug, Default)]
struct Report {
    refused: usize,
    passed: usize,
    senseless: usize,
    /// Of those refused: which passed again, and which stayed refused, once the state was taken back.
    revived: usize,
    stayed_over: usize,
    faults: Vec<String>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.passed += other.passed;
        self.senseless += other.senseless;
        self.revived += other.revived;
        self.stayed_over += other.stayed_over;
        self.faults.extend(other.faults);
    }
}

struct Cell {
    way: Way,
    state: State,
    moment: Moment,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_grant_asks_for_every_state_at_every_moment() {
    let mut all = Report::default();
    // A few at a time: each has servers with connections of their own.
    for ways in Way::ALL.chunks(3) {
        let runs: Vec<_> = ways.iter().map(|way| tokio::spawn(run(*way))).collect();
        for run in runs {
            all.add(run.await.unwrap());
        }
    }
    let cells = all.refused + all.passed + all.senseless;
    println!(
        "matrix: {cells} cells: {} refused, {} let through, {} that make no sense; of those refused {} pass again and {} \
         stay refused once the state is taken back",
        all.refused, all.passed, all.senseless, all.revived, all.stayed_over
    );
    assert!(all.faults.is_empty(), "{} faults:\n{}", all.faults.len(), all.faults.join("\n"));
    assert_eq!(cells, Way::ALL.len() * State::all().len() * Moment::ALL.len());
    assert_eq!(cells, 21 * 61 * 3);
}

#[tokio::test]
async fn every_grant_of_the_token_endpoint_has_its_cells() {
    let server = Server::new().await;
    let metadata = server.get("/.well-known/oauth-authorization-server").send().await.expect(200).body;
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    assert!(!grants.is_empty());
    for grant in grants {
        assert!(Way::ALL.iter().any(|way| way.grant() == grant.as_str()), "{grant} has no cells");
    }
    for way in Way::ALL.iter().filter_map(|way| way.grant()) {
        assert!(grants.contains(&json!(way)), "{way} is not offered");
    }
}

/// Every cell of one way, on two replicas of its own.
async fn run(way: Way) -> Report {
    let server = Arc::new(Server::new().await);
    let replica = server.replica().await;
    let mut report = Report::default();
    for state in State::all() {
        for moment in Moment::ALL {
            let cell = Cell { way, state, moment };
            let outcome = match verdict(way, state, moment) {
                Verdict::Senseless(_) => {
                    report.senseless += 1;
                    continue;
                }
                Verdict::Passes(_) => {
                    report.passed += 1;
                    cell.passes(&server, &replica).await.map(|()| After::NoWayBack)
                }
                refused @ Verdict::Refused { .. } => {
                    report.refused += 1;
                    cell.refused(&server, &replica, refused).await
                }
            };
            match outcome {
                Ok(After::Passes) => report.revived += 1,
                Ok(After::StaysOver) => report.stayed_over += 1,
                Ok(After::NoWayBack) => {}
                Err(fault) => report.faults.push(format!("{way:?} × {state:?} × {moment:?}: {fault}")),
            }
        }
    }
    report
}

impl Cell {
    /// Makes the scene and the state. Between two requests, the first one passes.
    async fn prepare(&self, server: &Server, replica: &Server) -> Result<Scene, String> {
        let mut scene = Scene::new(server, self.way, self.state.needs_grandparent()).await;
        if self.moment == Moment::Between {
            good(&self.way.ask(server, &mut scene).await, "before")?;
        }
        if self.moment == Moment::Redeem {
            scene.agree(server).await;
        }
        self.state.set(replica, &mut scene).await;
        Ok(scene)
    }

    async fn passes(&self, server: &Server, replica: &Server) -> Result<(), String> {
        let mut scene = self.prepare(server, replica).await?;
        good(&self.way.ask(server, &mut scene).await, "in spite of it")
    }

    /// Requires the refusal with its row and without a credential. Then the state is taken back.
    async fn refused(&self, server: &Server, replica: &Server, wanted: Verdict) -> Result<After, String> {
        let mut scene = self.prepare(server, replica).await?;
        let refused = self.refuse(server, &mut scene, wanted).await;
        // Taken back in any case: the next cell meets the same server.
        let after = self.state.undo(replica, &mut scene, self.way).await;
        refused?;
        match after {
            After::Passes => good(&self.way.ask(server, &mut scene).await, "after")?,
            After::StaysOver => {
                let before = credentials(server).await;
                let answer = self.way.ask(server, &mut scene).await;
                if !answer.status.is_client_error() || credentials(server).await != before {
                    return Err(format!("what was over came back: {}", answer.text));
                }
            }
            After::NoWayBack => {}
        }
        Ok(after)
    }

    async fn refuse(&self, server: &Server, scene: &mut Scene, wanted: Verdict) -> Result<(), String> {
        let (before, rows) = (credentials(server).await, refusals(server).await);
        let answer = self.way.ask(server, scene).await;
        let new: Vec<_> = refusals(server).await.into_iter().filter(|row| !rows.contains(row)).collect();
        let Verdict::Refused { status, code, row } = wanted else { return Ok(()) };
        let found = (answer.status.as_u16(), answer.text_of("error"));
        let kinds: Vec<_> = new.iter().map(|(_, kind)| kind.as_str()).collect();
        if found != (status, code) || kinds != Vec::from_iter(row) {
            return Err(format!("{wanted:?}, but {found:?} and {kinds:?}: {}", answer.text));
        }
        if credentials(server).await != before {
            return Err("a credential was written".to_owned());
        }
        if self.way.grant().is_some() && answer.header("cache-control") != "no-store" {
            return Err("the answer may be stored".to_owned());
        }
        Ok(())
    }
}

fn good(answer: &Answer, when: &str) -> Result<(), String> {
    if answer.status.is_success() { Ok(()) } else { Err(format!("refused {when}: {}", answer.text)) }
}

/// The refusals in the audit log, each with the kind of whom it names.
async fn refusals(server: &Server) -> Vec<(String, String)> {
    sqlx::query_as("select id::text, actor_type from audit_events where outcome = 'refused'")
        .fetch_all(&server.app.db)
        .await
        .unwrap()
}
