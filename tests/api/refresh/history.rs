//! Random histories of rotations, repetitions and revocations against a small model of one family.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use time::Duration;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::refresher::Refresher;
use crate::server::Server;
use crate::tools::claims;

#[derive(Clone, Debug)]
enum Step {
    /// Presents the token with this number, counted from the newest, at the first or the second server.
    Present(usize, bool),
    /// The same by another client.
    Steal(usize),
    /// Lets so many seconds pass.
    Wait(i64),
    /// Ends the family.
    Revoke(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4_usize, any::<bool>()).prop_map(|(back, two)| Step::Present(back, two)),
        1 => (0..4_usize).prop_map(Step::Steal),
        4 => prop_oneof![1..9_i64, 9..12_i64, 28..32_i64].prop_map(Step::Wait),
        1 => (0..3_usize).prop_map(Step::Revoke),
    ];
    proptest::collection::vec(step, 1..14)
}

/// What must be true of the family by the papers.
struct Model {
    reuse: &'static str,
    /// When each was spent.
    spent: Vec<Option<i64>>,
    now: i64,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    New,
    /// The successor of this one once more.
    Again(usize),
    Refused,
}

impl Model {
    fn present(&mut self, number: usize) -> Outcome {
        if self.ended {
            return Outcome::Refused;
        }
        let Some(at) = self.spent[number] else {
            self.spent[number] = Some(self.now);
            self.spent.push(None);
            return Outcome::New;
        };
        let window = match self.reuse {
            "refuse" => 0,
            "quiet" => 10,
            _ => 30,
        };
        if self.now - at >= window {
            self.ended = true;
            return Outcome::Refused;
        }
        match (self.reuse, self.spent[number + 1]) {
            ("reissue", None) => Outcome::Again(number + 1),
            _ => Outcome::Refused,
        }
    }
}

async fn run(servers: [&Server; 2], who: &Refresher, other: &Refresher, reuse: &'static str, steps: &[Step]) {
    let [server, _] = servers;
    let first = server.begin(who).await;
    let (mut refresh, mut access) = (vec![first.refresh], vec![first.access]);
    let mut model = Model { reuse, spent: vec![None], now: 0, ended: false };
    for step in steps {
        let number = |back: usize, count: usize| (count - 1).saturating_sub(back);
        match *step {
            Step::Wait(seconds) => {
                model.now += seconds;
                server.app.clock.advance(Duration::seconds(seconds));
            }
            Step::Present(back, two) => {
                let number = number(back, refresh.len());
                let answer = servers[usize::from(two)].refresh(who, &refresh[number]).await;
                let expected = model.present(number);
                if expected == Outcome::Refused {
                    assert_eq!(answer.refusal(), (400, "invalid_grant"), "{step:?}: {}", answer.text);
                    continue;
                }
                let tokens = answer.tokens();
                match expected {
                    Outcome::Again(successor) => assert_eq!(tokens.refresh, refresh[successor]),
                    _ => refresh.push(tokens.refresh),
                }
                assert_eq!(claims(&tokens.access)["mission_id"], claims(&access[0])["mission_id"]);
                access.push(tokens.access);
            }
            Step::Steal(back) => {
                let answer = server.refresh(other, &refresh[number(back, refresh.len())]).await;
                assert_eq!(answer.refusal(), (400, "invalid_grant"));
            }
            Step::Revoke(back) => {
                let token = refresh[number(back, refresh.len())].as_str();
                let form = [("token", token), ("client_id", who.client_id.as_str())];
                server.post("/oauth2/token/revoke").form(&form).send().await.expect(200);
                model.ended = true;
            }
        }
    }
    for token in [&access[0], &access[access.len() - 1]] {
        assert_eq!(server.is_active(token).await, !model.ended, "{steps:?}");
    }
    let newest = refresh.len() - 1;
    let lives = server.refreshes(who, &refresh[newest]).await;
    assert_eq!(lives, !model.ended, "one line lives, or none: {steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_agree_with_the_model() {
    let one = Server::new().await;
    let two = one.replica().await;
    let other = one.public_refresher("other").await;
    for reuse in ["refuse", "quiet", "reissue"] {
        let who = one.refresher(reuse, json!({ "refresh_token_reuse": reuse })).await;
        let mut runner = TestRunner::new(ProptestConfig {
            cases: 40,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let case = |steps: Vec<Step>| {
            block_in_place(|| Handle::current().block_on(run([&one, &two], &who, &other, reuse, &steps)));
            Ok(())
        };
        runner.run(&steps(), case).unwrap();
    }
}
