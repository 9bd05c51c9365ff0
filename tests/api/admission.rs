//! More requests of the token path at the same time than the server has places for.

use chancery::kit::db::rows;
use chancery::tokens::{Found, TokenId, find_all};

use crate::server::Server;

#[tokio::test]
async fn who_finds_no_place_is_told_so_at_once_and_revocation_needs_none() {
    let server = Server::with(|config| config.limits.requests = 16).await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let take = |path| {
        let places: Vec<_> = (0..16).map(|_| server.app.admission.enter(path).ok().unwrap()).collect();
        assert!(places.iter().all(Option::is_some));
        places
    };
    let places = take("/oauth2/token");
    let refused = server.exchange(&key, "").await.expect(503);
    assert_eq!((refused.text_of("error"), refused.header("retry-after")), ("temporarily_unavailable", "1"));
    assert!(server.is_active(&token).await, "a look at a token has places of its own");
    drop(places);
    server.token(&key).await;

    let looks = take("/oauth2/token/introspect");
    server.post("/oauth2/token/introspect").form(&[("token", &token)]).send().await.expect(503);
    server.get("/oauth2/token/verify").bearer(&token).send().await.expect(503);
    server.post("/oauth2/token/revoke").form(&[("token", &token)]).send().await.expect(200);
    drop(looks);
    assert!(!server.is_active(&token).await);
    let rows = "select count(*) from audit_events where action = 'token.issued'";
    assert_eq!(server.count(rows).await, 2, "who found no place left nothing behind");
}

#[tokio::test]
async fn what_a_token_says_of_its_depth_changes_nothing_of_what_is_found() {
    let server = Server::new().await;
    let chain = server.chain_of(1).await;
    server.admin("POST", &format!("/credentials/{}/revoke", chain[0])).send().await.expect(200);
    let mut db = server.app.connection().await.unwrap();
    let id = |at: usize, is_root| TokenId { jti: chain[at].parse().unwrap(), is_root };
    for asked in [[id(0, true), id(1, false)], [id(1, true), id(0, false)], [id(1, true), id(0, true)]] {
        let found = find_all(&mut db, &asked).await.unwrap();
        let found = found.into_iter().map(|row| rows::read::<Found>(row).unwrap().unwrap());
        let found: Vec<_> = found.map(|found| (found.jti, found.revocation)).collect();
        let due = asked.map(|TokenId { jti, .. }| {
            let why = if jti.to_string() == chain[0] { "revoked" } else { "parent_revoked" };
            (jti, why.to_owned())
        });
        assert_eq!(found, due);
    }
}
