//! Suspension and return while tokens are issued: a suspended agent's tokens sleep and wake with it. None is lost, none is
//! awake while it must sleep, and what was revoked does not wake.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use time::Duration;
use tokio::sync::Semaphore;

use crate::pair::{Pair, at_once, rounds};
use crate::server::Server;
use crate::world::{WAYS, World};

/// Callers for each way to a token.
const CALLERS: usize = 2;

const ROUNDS: usize = 3;

/// How often the agent is suspended in one round.
const NAPS: usize = 3;

/// How many of the newest tokens are asked about after each step.
const LOOKED_AT: usize = 5;

struct Night {
    servers: [Arc<Server>; 2],
    world: World,
    over: AtomicBool,
    tokens: Mutex<Vec<String>>,
    answers: Semaphore,
    refused: Semaphore,
}

impl Night {
    fn server(&self, number: usize) -> &Server {
        &self.servers[number % 2]
    }

    async fn issue(&self, number: usize) {
        let way = WAYS[number % WAYS.len()];
        for turn in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let server = self.server(number / WAYS.len() + turn);
            server.app.clock.advance(Duration::microseconds(150));
            let answer = self.world.issue(server, way).await;
            if answer.status.is_success() {
                self.tokens.lock().unwrap().push(answer.token());
            } else {
                assert_eq!(answer.refusal(), (400, "invalid_grant"), "{way:?}: {}", answer.text);
                self.refused.add_permits(1);
            }
            self.answers.add_permits(1);
        }
    }

    async fn set(&self, server: usize, status: &str) {
        let path = format!("/agents/registry/{}", self.world.holder.id);
        self.server(server).change("PATCH", &path, &json!({ "status": status })).await.expect(200);
    }

    /// Waits for so many answers more.
    async fn answers(&self, many: u32) {
        self.answers.acquire_many(many).await.unwrap().forget();
    }

    /// Requires the newest tokens to be awake or asleep, on both servers.
    async fn look(&self, awake: bool) {
        let newest: Vec<String> = {
            let tokens = self.tokens.lock().unwrap();
            tokens.iter().rev().take(LOOKED_AT).cloned().collect()
        };
        for (number, token) in newest.iter().enumerate() {
            assert_eq!(self.server(number).is_active(token).await, awake, "right after the answer");
        }
    }

    /// Suspends the agent and lets it return; at last it is as `awake` says.
    async fn naps(&self, round: usize, awake: bool) {
        for nap in 0..NAPS {
            self.answers(15).await;
            self.set(round + nap, "suspended").await;
            self.look(false).await;
            self.answers(15).await;
            if awake || nap + 1 < NAPS {
                self.set(round + nap + 1, "active").await;
                self.look(true).await;
            }
        }
        self.over.store(true, Ordering::SeqCst);
    }
}

async fn night(pair: &Pair, round: usize) -> (usize, usize) {
    let ends_awake = round.is_multiple_of(2);
    let night = Arc::new(Night {
        servers: [pair.one.clone(), pair.two.clone()],
        world: World::new(pair, &format!("sleeper-{round}")).await,
        over: AtomicBool::new(false),
        tokens: Mutex::default(),
        answers: Semaphore::new(0),
        refused: Semaphore::new(0),
    });
    let issuers = (0..CALLERS * WAYS.len()).map(|number| {
        let night = night.clone();
        Box::pin(async move { night.issue(number).await }) as Pin<Box<dyn Future<Output = ()> + Send>>
    });
    let sleeper = night.clone();
    let naps: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(async move { sleeper.naps(round, ends_awake).await });
    at_once(issuers.chain([naps])).await;
    let night = Arc::into_inner(night).unwrap();
    let refused = night.refused.available_permits();
    (settle(pair, &night, ends_awake).await, refused)
}

/// With nobody else about: all tokens sleep or wake together, save one that is revoked in its sleep.
async fn settle(pair: &Pair, night: &Night, awake: bool) -> usize {
    let mut tokens = night.tokens.lock().unwrap().clone();
    let are = async |tokens: &[String]| {
        let asked = tokens.iter().map(|token| {
            let (one, two, token) = (pair.one.clone(), pair.two.clone(), token.clone());
            async move { [one.is_active(&token).await, two.is_active(&token).await] }
        });
        at_once(asked).await.concat()
    };
    assert!(are(&tokens).await.into_iter().all(|active| active == awake), "awake should be {awake}");
    if awake {
        night.set(0, "suspended").await;
        assert!(!are(&tokens).await.contains(&true), "awake while the agent is suspended");
    }
    for way in WAYS {
        let answer = night.world.issue(&pair.two, way).await;
        assert_eq!(answer.refusal(), (400, "invalid_grant"), "{way:?}");
    }
    let revoked = tokens.swap_remove(tokens.len() / 2);
    pair.one.post("/oauth2/token/revoke").form(&[("token", &revoked)]).send().await.expect(200);
    night.set(1, "active").await;
    assert!(!are(&tokens).await.contains(&false), "a token was lost");
    assert!(!pair.is_active(&revoked).await, "a revoked token woke");
    for way in WAYS {
        night.world.issue(&pair.one, way).await.token();
    }
    tokens.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn tokens_sleep_and_wake_with_their_agent_whenever_they_were_issued() {
    let pair = Pair::new().await;
    let (mut issued, mut refused) = (0, 0);
    for round in 0..rounds(ROUNDS) {
        let (more, denied) = night(&pair, round).await;
        issued += more;
        refused += denied;
    }
    println!("{issued} tokens issued, {refused} refused");
    assert!(issued > 0 && refused > 0);
}
