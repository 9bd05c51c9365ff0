//! A tree of ten thousand credentials that ends by one mark, while exchanges go on in it and beside it.

use std::pin::pin;
use std::task::Poll;

use chancery::kit::clock::Stopwatch;
use chancery::kit::cx::{Cx, Tenant};
use chancery::tokens::worker::announce;
use chancery::tokens::{Anchor, changed_by};
use serde_json::Value;
use uuid::Uuid;

use crate::issuing::{Race, Tally, check};
use crate::pair::{Pair, rounds};
use crate::server::Server;
use crate::standing::settle;
use crate::tree::{Set, cut_links, grow, holders, tree_of};
use crate::world::{End, World, jti};

/// Each takes a tree of its own, so there are no thousands of rounds.
const MOST_ROUNDS: usize = 30;

const ENDS: [End; 3] = [End::Token, End::Credential, End::Deactivated];

/// What the end would change, asked beforehand. A token's revocation has no dry run on the wire; its walk is the same.
async fn rehearse(server: &Server, end: End, world: &World) -> Vec<Uuid> {
    if matches!(end, End::Deactivated) {
        let path = format!("/agents/registry/{}/deactivate?dry_run=true", world.holder.id);
        let answer = server.change("POST", &path, &Value::Null).await.expect(200);
        return serde_json::from_value(answer.body["jtis"].clone()).unwrap();
    }
    let tenant = Tenant { account_id: "acme".to_owned(), project_id: "demo".to_owned() };
    let mut cx = Cx::command_line(server.app.begin().await.unwrap(), Some(tenant), server.app.clock.now());
    let root = jti(&world.root).parse().unwrap();
    changed_by(&mut cx, &[Anchor::Credential(root)]).await.unwrap()
}

/// The text of every row but those of the tree that was there at a moment.
async fn rows_beside(server: &Server, tree: &str, known: &Set) -> String {
    let known: Vec<Uuid> = known.iter().copied().collect();
    let sql = format!(
        "select md5(coalesce(string_agg(c::text, '|' order by jti), '')) from credentials c
         where jti = any($1) and not {tree}"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(known).fetch_one(&server.app.db).await.unwrap()
}

/// Runs a future for this many polls and drops it then, as a kill would.
async fn for_polls<F: Future>(mut polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Lets the workers of both servers begin together and be killed later and later; answers how often that left a part of
/// the events written. Then they come to the end.
async fn tell_under_kills(pair: &Pair) -> usize {
    let events = "select count(*) from outbox";
    let unannounced = "select count(*) from revocations where announced_at is null";
    let begun_with = pair.one.count(events).await;
    let mut partial = 0;
    for polls in (2..1000).step_by(31) {
        let workers =
            (for_polls(polls, announce(&pair.one.app)), for_polls(polls + 4, announce(&pair.two.app)));
        let (one, two) = tokio::join!(workers.0, workers.1);
        one.transpose().and(two.transpose()).unwrap();
        if pair.one.count(unannounced).await == 0 {
            break;
        }
        partial += usize::from(pair.one.count(events).await > begun_with);
    }
    settle(pair).await;
    partial
}

/// The credentials of which events tell; none is told of twice.
async fn told(server: &Server) -> Set {
    let rows: Vec<Uuid> =
        sqlx::query_scalar("select subject_id from outbox where event_type = 'credential.revoked'")
            .fetch_all(&server.app.db)
            .await
            .unwrap();
    let set: Set = rows.iter().copied().collect();
    assert_eq!(rows.len(), set.len(), "two events for one credential");
    set
}

async fn cascade(pair: &Pair, end: End, (round, below): (usize, i64)) -> (Tally, usize) {
    let world = World::new(pair, &format!("cascade-{round}")).await;
    let beside = World::new(pair, &format!("beside-{round}")).await;
    grow(pair, &world.root, below * 6 / 10).await;
    grow(pair, &world.middle, below * 4 / 10).await;
    grow(pair, &beside.root, 400).await;
    cut_links(pair, &world.root, 50).await;
    cut_links(pair, &beside.root, 20).await;
    let tree = tree_of(&world.root);
    let (one, two) = (&pair.one, &pair.two);
    let (known, told_before) = (one.set("true").await, told(one).await);
    let ending = one.standing(&tree).await;
    let others = format!("{} or not {tree} and subject not like '%holds-%'", tree_of(&beside.root));
    let standing_beside = one.standing(&others).await;
    let text_beside = rows_beside(one, &tree, &known).await;
    let whole = i64::try_from(one.set(&tree).await.len()).unwrap();
    let ended_before = whole - i64::try_from(ending.len()).unwrap();
    assert_eq!(whole, below + 2, "with the root and the real one below it");
    assert!(ended_before > 0 && ended_before < below / 2, "{ended_before} had ended before");
    let rehearsed = rehearse(two, end, &world).await;
    assert_eq!(rehearsed.len(), ending.len());
    assert_eq!(rehearsed.into_iter().collect::<Set>(), ending, "the dry run names what stands");
    let race = Race::run(pair, world, end, round).await;
    assert!(one.standing(&tree).await.is_empty(), "{end:?}: something in the tree stands");
    assert!(standing_beside.is_subset(&two.standing(&others).await), "{end:?}: something beside ended");
    assert_eq!(rows_beside(one, &tree, &known).await, text_beside, "{end:?}: rows beside the tree changed");
    let partial = Box::pin(tell_under_kills(pair)).await;
    let news: Set = told(two).await.difference(&told_before).copied().collect();
    let of_known: Set = news.intersection(&known).copied().collect();
    assert_eq!(of_known, ending, "{end:?}: events tell of what the dry run named");
    (check(pair, race).await, partial)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_tree_of_ten_thousand_ends_at_once_while_exchanges_go_on() {
    let pair = Pair::new().await;
    holders(&pair).await;
    let (mut total, mut kills) = (Tally::default(), 0);
    let many = rounds(ENDS.len()).min(MOST_ROUNDS);
    for round in 0..many {
        // The short form grows one tree to its full size.
        let below = if round == 0 || many > ENDS.len() { 10_000 } else { 1000 };
        let (tally, partial) = Box::pin(cascade(&pair, ENDS[round % ENDS.len()], (round, below))).await;
        total.add(tally);
        kills += partial;
    }
    println!("{ENDS:?}: {total:?}; killed half-way {kills} times");
    assert!(total.beside > 0, "no token was issued beside the mark");
    assert!(kills > 0, "no kill came half-way");
}

/// How many rows of each table the transaction of the newest mark wrote.
async fn written(server: &Server) -> Vec<(&'static str, i64)> {
    let mark = "(select xmin from revocations order by id desc limit 1)";
    let mut rows = Vec::new();
    for table in
        ["credentials", "identities", "api_keys", "oauth_clients", "revocations", "outbox", "audit_events"]
    {
        rows.push((table, server.number(&format!("select count(*) from {table} where xmin = {mark}")).await));
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_mark_writes_as_many_rows_whatever_hangs_below() {
    let pair = Pair::new().await;
    holders(&pair).await;
    for end in ENDS {
        let mut rows = Vec::new();
        for below in [10, 1000, 10_000] {
            let world = World::new(&pair, &format!("{end:?}-{below}").to_lowercase()).await;
            // What is measured is not the first of its kind on its connection.
            let warm = World::new(&pair, &format!("warm-{end:?}-{below}").to_lowercase()).await;
            end.strike(&pair.one, &warm).await;
            // One of them is there already.
            grow(&pair, &world.root, below - 1).await;
            pair.one.sql("analyze credentials").await;
            let watch = Stopwatch::start();
            let rehearsed = rehearse(&pair.one, end, &world).await.len();
            let counting = watch.seconds() * 1000.0;
            let watch = Stopwatch::start();
            end.strike(&pair.one, &world).await;
            let marking = watch.seconds() * 1000.0;
            assert_eq!(i64::try_from(rehearsed).unwrap(), below + 1, "with the root itself");
            assert!(pair.two.standing(&tree_of(&world.root)).await.is_empty());
            rows.push(written(&pair.one).await);
            println!("{end:?} above {below:>6}: mark {marking:.1} ms, dry run {counting:.1} ms");
            pair.one.app.clock.advance(time::Duration::seconds(1));
        }
        assert!(rows.iter().all(|each| *each == rows[0]), "{end:?}: {rows:?}");
        assert_eq!(
            rows[0].iter().map(|(_, count)| count).sum::<i64>(),
            if matches!(end, End::Deactivated) { 4 } else { 3 }
        );
    }
}
