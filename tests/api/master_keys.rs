//! Changing the master key: what the old one sealed stays readable at every moment of the change.

use chancery::keys::rewrap;
use chancery::kit::seal::MasterKeys;

use crate::server::{START, Server};

#[tokio::test]
async fn everything_is_sealed_again_and_secrets_keep_their_hashes() {
    let server = Server::new().await;
    let (_, api_key) = server.agent("fetcher").await;
    let token = server.token(&api_key).await;
    let old = server.master().to_owned();
    let new = MasterKeys::generate().unwrap().expose().to_owned();
    let both = format!("{new}\n{old}");

    // A server that knows both keys starts before, during and after the change.
    let during = server.replica_under(&both).await.unwrap();
    let master = MasterKeys::parse(&both).unwrap();
    assert_eq!(rewrap(&server.app.db, &master, START).await.unwrap(), 3, "a pepper and two signing keys");
    assert_eq!(rewrap(&server.app.db, &master, START).await.unwrap(), 0, "a second run finds nothing to do");
    let after = server.replica_under(&new).await.unwrap();
    for server in [&server, &during, &after] {
        assert!(server.is_active(&token).await);
        let minted = server.token(&api_key).await;
        assert!(after.is_active(&minted).await, "the pepper survived: the API key is still recognised");
    }
    assert!(server.replica_under(&old).await.is_err(), "who knows only the former key must not start");
}

#[tokio::test]
async fn an_interrupted_rewrap_is_run_again() {
    let server = Server::new().await;
    let old = server.master().to_owned();
    let new = MasterKeys::generate().unwrap().expose().to_owned();
    let both = MasterKeys::parse(&format!("{new}\n{old}")).unwrap();
    // Interrupted after the first row: only the pepper was sealed again.
    let (id, sealed): (uuid::Uuid, Vec<u8>) =
        sqlx::query_as("select id, sealed from peppers").fetch_one(&server.app.db).await.unwrap();
    let context = format!("pepper {id}");
    let resealed = both.seal(&context, &both.open(&context, &sealed).unwrap()).unwrap();
    sqlx::query("update peppers set sealed = $1").bind(resealed).execute(&server.app.db).await.unwrap();
    assert!(server.replica_under(&format!("{new}\n{old}")).await.is_ok());
    assert!(server.replica_under(&new).await.is_err());
    assert_eq!(rewrap(&server.app.db, &both, START).await.unwrap(), 2);
    assert!(server.replica_under(&new).await.is_ok());
}
