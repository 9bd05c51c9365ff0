//! Issuing while what the tokens rest on is revoked. After the answer to the revocation nothing is active that was issued
//! before or meanwhile, in whatever order the two were committed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use time::Duration;
use tokio::sync::Semaphore;

use crate::pair::{Pair, at_once, rounds};
use crate::server::{Answer, Server};
use crate::standing::{Standing, settle, standing};
use crate::world::{End, Fate, WAYS, World};

/// Callers for each way to a token.
const CALLERS: usize = 2;

/// Where the revocation is: not sent, sent, answered.
const BEFORE: u8 = 0;
const MEANWHILE: u8 = 1;
const AFTER: u8 = 2;

/// An answer of the token endpoint, and where the revocation was when it was asked for and when it came.
struct Outcome {
    way: usize,
    asked: u8,
    got: u8,
    answer: Answer,
}

impl Outcome {
    fn token(&self) -> Option<&str> {
        self.answer.body["access_token"].as_str()
    }
}

/// Callers at both servers and one who revokes.
pub struct Race {
    servers: [Arc<Server>; 2],
    world: World,
    end: End,
    moment: AtomicU8,
    outcomes: Mutex<Vec<Outcome>>,
    issued: Semaphore,
}

/// How many tokens were issued: before the revocation, beside it, and after it; and what was refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    before: usize,
    pub beside: usize,
    after: usize,
    refused: usize,
}

impl Tally {
    /// Adds those of another race.
    pub fn add(&mut self, other: Self) {
        self.before += other.before;
        self.beside += other.beside;
        self.after += other.after;
        self.refused += other.refused;
    }
}

impl Race {
    /// Runs it to the end; look at the outcomes with `check`.
    pub async fn run(pair: &Pair, world: World, end: End, round: usize) -> Self {
        let race = Arc::new(Self {
            servers: [pair.one.clone(), pair.two.clone()],
            world,
            end,
            moment: AtomicU8::new(BEFORE),
            outcomes: Mutex::default(),
            issued: Semaphore::new(0),
        });
        let issuers = (0..CALLERS * WAYS.len()).map(|number| {
            let race = race.clone();
            Box::pin(async move { race.issue(number).await }) as Pin<Box<dyn Future<Output = ()> + Send>>
        });
        let striker = race.clone();
        let answers = u32::try_from(1 + round * 7 % 30).unwrap();
        let strike: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { striker.revoke(answers, round).await });
        at_once(issuers.chain([strike])).await;
        Arc::into_inner(race).unwrap()
    }

    fn server(&self, number: usize) -> &Server {
        &self.servers[number % 2]
    }

    /// Asks for tokens until one was asked for after the revocation.
    async fn issue(&self, number: usize) {
        let way = number % WAYS.len();
        for turn in 0.. {
            let asked = self.moment.load(Ordering::SeqCst);
            let server = self.server(number / WAYS.len() + turn);
            server.app.clock.advance(Duration::microseconds(150));
            let answer = self.world.issue(server, WAYS[way]).await;
            let got = self.moment.load(Ordering::SeqCst);
            assert!(answer.status.as_u16() < 500, "{:?} while {:?}: {}", WAYS[way], self.end, answer.text);
            self.outcomes.lock().unwrap().push(Outcome { way, asked, got, answer });
            self.issued.add_permits(1);
            if asked == AFTER {
                return;
            }
        }
    }

    /// Revokes when so many answers were given, and at once asks the other server about tokens it has seen.
    async fn revoke(&self, answers: u32, number: usize) {
        let _ = self.issued.acquire_many(answers).await.unwrap();
        self.moment.store(MEANWHILE, Ordering::SeqCst);
        self.end.strike(self.server(number), &self.world).await;
        self.moment.store(AFTER, Ordering::SeqCst);
        for token in self.ended_so_far() {
            let active = self.server(number + 1).is_active(&token).await;
            assert!(!active, "{:?}: active on the other server right after the answer", self.end);
        }
    }

    fn ended_so_far(&self) -> Vec<String> {
        let fates = self.end.fates();
        let outcomes = self.outcomes.lock().unwrap();
        let ended = outcomes.iter().filter(|outcome| fates[outcome.way] == Fate::Ended);
        ended.rev().filter_map(Outcome::token).take(8).map(str::to_owned).collect()
    }
}

async fn race(pair: &Pair, end: End, round: usize) -> Tally {
    let world = World::new(pair, &format!("{end:?}-{round}").to_lowercase()).await;
    let race = Race::run(pair, world, end, round).await;
    check(pair, race).await
}

/// Requires that every token stands as it must, and that listeners were told of its end.
pub async fn check(pair: &Pair, race: Race) -> Tally {
    let mut tally = Tally::default();
    let outcomes = race.outcomes.into_inner().unwrap();
    let tokens: Vec<String> = outcomes.iter().filter_map(Outcome::token).map(str::to_owned).collect();
    settle(pair).await;
    let mut standing = standing(pair, &tokens).await.into_iter();
    for outcome in &outcomes {
        let fate = race.end.fates()[outcome.way];
        let seen =
            format!("{:?} {:?}, asked {} got {}", race.end, WAYS[outcome.way], outcome.asked, outcome.got);
        if outcome.token().is_none() {
            assert_eq!(fate, Fate::Ended, "{seen}: {}", outcome.answer.text);
            assert_ne!(outcome.got, BEFORE, "{seen}: {}", outcome.answer.text);
            assert!(matches!(outcome.answer.refusal(), (400, "invalid_grant") | (401, "invalid_client")));
            tally.refused += 1;
            continue;
        }
        let Standing { active, of_this_epoch, told } = standing.next().unwrap();
        assert!(told <= i64::from(!active), "{seen}, told {told} times");
        if !active && outcome.got == BEFORE && race.end.is_told() {
            assert_eq!(told, 1, "{seen}: listeners don't know");
        }
        match fate {
            Fate::Stands => assert!(active, "{seen}"),
            Fate::Ended => assert!(!active && outcome.asked != AFTER, "{seen}"),
            // What was asked for meanwhile may have seen the agent before or after the mark.
            Fate::Renewed => {
                assert_eq!(active, of_this_epoch, "{seen}");
                assert!(active || outcome.asked != AFTER, "{seen}");
                assert!(!active || outcome.got != BEFORE, "{seen}");
            }
        }
        match (outcome.asked, outcome.got) {
            (_, BEFORE) => tally.before += 1,
            (AFTER, _) => tally.after += 1,
            _ => tally.beside += 1,
        }
    }
    tally
}

/// Races the ends in turn; there must have been something to race with.
async fn races(ends: &[End]) {
    let pair = Pair::new().await;
    let mut total = Tally::default();
    for round in 0..rounds(2 * ends.len()) {
        total.add(race(&pair, ends[round % ends.len()], round).await);
    }
    println!("{ends:?}: {total:?}");
    let mut fates = ends.iter().flat_map(|end| end.fates());
    assert!(total.before > 0 && total.beside > 0 && total.refused > 0, "{total:?}");
    assert!(total.after > 0 || fates.all(|fate| fate == Fate::Ended), "{total:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_api_key_that_is_revoked_while_tokens_are_issued() {
    races(&[End::Key]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_client_that_is_revoked_while_tokens_are_issued() {
    races(&[End::ClientTokens, End::ClientInactive, End::Pattern, End::ClientDeleted]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_agent_that_is_revoked_while_tokens_are_issued() {
    races(&[End::Deactivated, End::TokensOfAgent, End::Offboarded, End::Deleted]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_parent_that_is_revoked_while_tokens_are_issued() {
    races(&[End::Token, End::Credential, End::Middle]).await;
}
