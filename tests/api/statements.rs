//! How many SQL statements a request costs: counted from what the driver reports.

use std::cell::Cell;

use serde_json::Value;
use tracing::Subscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::server::Server;
use crate::signer::Signer;

thread_local! {
    /// The statements of this thread; a test runs on one.
    static STATEMENTS: Cell<usize> = const { Cell::new(0) };
}

struct Count;

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            STATEMENTS.set(STATEMENTS.get() + 1);
        }
    }
}

/// Counts in every thread: a subscriber of one thread would miss what another thread's first event switched off.
fn listen() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Count)).unwrap();
    tracing::callsite::rebuild_interest_cache();
}

/// What a request costs, and its answer.
async fn cost<T>(request: impl Future<Output = T>) -> (usize, T) {
    let before = STATEMENTS.get();
    let answer = request.await;
    (STATEMENTS.get() - before, answer)
}

#[tokio::test]
async fn a_grant_is_one_read_and_one_write_and_a_look_at_a_token_is_one_read() {
    let server = Server::with(|config| config.trusted_proxies = "10.0.0.0/8".parse().unwrap()).await;
    let (_, key) = server.agent("fetcher").await;
    // A connection learns once what types the ledger's rows have.
    server.token(&key).await;
    listen();
    let (count, token) = cost(server.token(&key)).await;
    assert_eq!(count, 2, "an API key is exchanged in one read and one write");
    let (count, found) = cost(server.introspect(&token)).await;
    assert_eq!((count, &found["active"]), (1, &true.into()), "introspection is one read");
    let (count, _) = cost(server.get("/oauth2/token/verify").bearer(&token).send()).await;
    assert_eq!(count, 1, "forward authentication is one read");
    let (count, _) = cost(server.introspect("a.b.c")).await;
    assert_eq!(count, 0, "what can't be a token of ours costs no statement");
    let (count, _) = cost(server.exchange("zid_sk_unknown", "")).await;
    assert_eq!(count, 1, "an unknown key is one read");
    for path in ["/health", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        let (count, _) = cost(server.get(path).send()).await;
        assert_eq!(count, 0, "{path} needs no database");
    }
    grants_with_proofs_cost_one_read_and_one_write(&server).await;
    trees_cost_the_same_at_any_depth(&server).await;
}

/// What is used up goes along in the one write, where it is new.
async fn grants_with_proofs_cost_one_read_and_one_write(server: &Server) {
    let agent = server.party("planner", Value::Null).await;
    let program = server.program("planner-app", &agent.id, Value::Null).await;
    let (count, answer) = cost(server.client_credentials(&program, "a")).await;
    let subject = answer.token();
    assert_eq!(count, 2, "client credentials: the client's read is the grant's");
    let (count, answer) = cost(server.assert(&server.assertion(&agent), "a")).await;
    answer.expect(200);
    assert_eq!(count, 2, "an assertion");
    let (count, answer) = cost(server.delegate(&subject, &agent, "a")).await;
    let child = answer.token();
    assert_eq!(count, 2, "an exchange with an actor token");
    let (count, answer) = cost(server.delegate_to_client(&child, &program, "a")).await;
    answer.expect(200);
    assert_eq!(count, 3, "an exchange by a client: the client's read comes on top");
    let key = Signer::new();
    let (proof, now) = (server.proof(&key), server.app.clock.now());
    let (count, answer) = cost(server.prove(&agent.api_key, "a", &proof)).await;
    let bound = answer.token();
    assert_eq!(count, 2, "an API key with a proof of possession");
    let look = server.get("/oauth2/token/verify").with("Authorization", &format!("DPoP {bound}"));
    let look = look.from("10.0.0.1:1").with("X-Forwarded-Method", "GET").with("X-Forwarded-Proto", "http");
    let look = look.with("X-Forwarded-Host", "127.0.0.1:8899").with("X-Forwarded-Uri", "/x");
    let look = look.with("DPoP", &key.proof_for(&bound, "GET", "/x", now));
    let (count, answer) = cost(look.send()).await;
    answer.expect(200);
    assert_eq!(count, 2, "a look at a bound token remembers the proof");
    let form =
        [("token", child.as_str()), ("client_id", &program.client_id), ("client_secret", &program.secret)];
    let (count, answer) = cost(server.post("/oauth2/token/introspect").form(&form).send()).await;
    assert_eq!((count, &answer.body["active"]), (2, &true.into()), "introspection by a client, at any depth");
    let (count, found) = cost(server.introspect(&child)).await;
    assert_eq!((count, &found["active"]), (1, &true.into()), "introspection of a delegated token");
}

/// Each read is one or two statements, however deep and wide the tree.
async fn trees_cost_the_same_at_any_depth(server: &Server) {
    let jtis = server.chain_of(20).await;
    let holder = server.credential(&jtis[0]).await["identity_id"].as_str().unwrap().to_owned();
    for (path, most) in [
        (format!("/delegations/by-jti/{}", jtis[0]), 2),
        (format!("/delegations/by-jti/{}", jtis[20]), 2),
        (format!("/delegations/graph?identity_id={holder}"), 2),
        ("/delegations/chains".to_owned(), 1),
        (format!("/credentials/{}", jtis[0]), 1),
        (format!("/credentials/{}", jtis[20]), 2),
        (format!("/credentials?identity_id={holder}"), 2),
        (format!("/credentials?mission_id={}", jtis[0]), 2),
        ("/admin/may-act".to_owned(), 1),
    ] {
        let (count, answer) = cost(server.look(&path)).await;
        answer.expect(200);
        assert_eq!(count, most + 1, "{path}: and the commit");
    }
}
