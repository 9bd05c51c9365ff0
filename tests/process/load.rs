//! Clients that register, obtain tokens and revoke them, and note what was answered; one of them strikes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::http::{Answer, Client};

const CLIENTS: usize = 4;

/// How many answers must come after a strike that the server outlives.
const AFTERWARDS: u64 = 40;

/// How long the server may take to work again.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which processes are killed, in this order, when this many answers were seen.
#[derive(Clone, Debug)]
pub struct Strike {
    pub after: u64,
    pub victims: Vec<i32>,
    /// Whether the server is among them.
    pub final_blow: bool,
}

/// What was answered with a 2xx.
#[derive(Debug, Default)]
pub struct Kept {
    pub agents: Vec<String>,
    pub tokens: Vec<Token>,
}

#[derive(Debug)]
pub struct Token {
    pub text: String,
    pub state: State,
}

#[derive(Debug, PartialEq, Eq)]
pub enum State {
    Issued,
    /// Its revocation was sent and got no answer: it may stand or not.
    Unknown,
    Revoked,
}

struct Load {
    url: String,
    strike: Strike,
    answers: AtomicU64,
}

/// Works on the server at `url` until the strike is over, and answers what must be there from now on.
pub async fn run(url: &str, name: &str, strike: Strike) -> Result<Kept> {
    let load = Arc::new(Load { url: url.to_owned(), strike, answers: AtomicU64::new(0) });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(work(Arc::clone(&load), format!("{name}-{number}"))))
        .collect();
    let mut all = Kept::default();
    for client in clients {
        let kept = tokio::time::timeout(PATIENCE, client).await???;
        all.agents.extend(kept.agents);
        all.tokens.extend(kept.tokens);
    }
    ensure!(load.answers.load(Ordering::SeqCst) >= load.strike.after, "the load ended before the strike");
    Ok(all)
}

async fn work(load: Arc<Load>, name: String) -> Result<Kept> {
    let mut kept = Kept::default();
    let mut turn = 0;
    while !load.is_over() {
        // A connection of its own for every chain of turns without a failure.
        let outcome = async {
            let mut client = Client::connect(&load.url).await?;
            while !load.is_over() {
                turn += 1;
                load.turn(&mut client, &format!("{name}-{turn}"), &mut kept).await?;
            }
            anyhow::Ok(())
        };
        if let Err(error) = outcome.await {
            ensure!(load.has_struck(), "before the strike: {error:#}");
            // The server is given a moment before the next try, as any client would.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(kept)
}

impl Load {
    fn has_struck(&self) -> bool {
        self.answers.load(Ordering::SeqCst) >= self.strike.after
    }

    fn is_over(&self) -> bool {
        let answers = self.answers.load(Ordering::SeqCst);
        let more = if self.strike.final_blow { 0 } else { AFTERWARDS };
        answers >= self.strike.after + more
    }

    /// One agent, two tokens, one of them revoked.
    async fn turn(&self, client: &mut Client, external_id: &str, kept: &mut Kept) -> Result<()> {
        let agent = self.success(client.register(external_id).await?)?;
        kept.agents.push(agent.text("/identity/id")?);
        let api_key = agent.text("/api_key")?;
        for _ in 0..2 {
            let token = self.success(client.exchange(&api_key).await?)?;
            kept.tokens.push(Token { text: token.text("/access_token")?, state: State::Issued });
        }
        let Some(token) = kept.tokens.last_mut() else { bail!("no token") };
        token.state = State::Unknown;
        let body = json!({ "token": token.text });
        self.success(client.post("/oauth2/token/revoke", &body).await?)?;
        token.state = State::Revoked;
        Ok(())
    }

    /// Counts a 2xx answer, and strikes when its turn has come; others are in the middle of a request then.
    fn success(&self, answer: Answer) -> Result<Answer> {
        let (status, body) = (answer.status, &answer.body);
        ensure!(
            (200..300).contains(&status) || status >= 500,
            "a fault became the caller's: {status} {body}"
        );
        ensure!(status < 300, "{status} {body}");
        if self.answers.fetch_add(1, Ordering::SeqCst) + 1 == self.strike.after {
            for victim in &self.strike.victims {
                kill(Pid::from_raw(*victim), Signal::SIGKILL)?;
            }
        }
        Ok(answer)
    }
}
